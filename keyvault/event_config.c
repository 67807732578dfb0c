#include "keyvault/events.h"

#include <string.h>
#include <strings.h>

#define AT(member) offsetof(struct kl_event_config, member)
#define SECONDS    INT64_C(1000)
#define HOURS      (3600 * SECONDS)

static enum kl_code check_url(const void *value, struct kl_err *err)
{
    const char *url = *(char *const *)value;
    if (url == NULL || strncasecmp(url, "https://", 8) == 0)
        return KL_OK;
    return kl_fail(err, KL_CONFIG, "url", "url must begin with https://");
}

static enum kl_code check_format(const void *value, struct kl_err *err)
{
    const char *format = *(char *const *)value;
    if (strcmp(format, "event-grid") == 0 || strcmp(format, "cloud-events") == 0)
        return KL_OK;
    return kl_fail(err, KL_CONFIG, "format", "format is one of event-grid, cloud-events");
}

static const struct kl_conf_row rows[] = {
    {.key = "url",
     .type = KL_CONF_TEXT,
     .offset = AT(url),
     .check = check_url,
     .help = "Where events are posted to (https only): new versions of keys, secrets and "
             "certificates, and those near or past their expiry. Absent: nobody but the audit log "
             "is told."},
    {.key = "format",
     .type = KL_CONF_TEXT,
     .offset = AT(format),
     .preset = "event-grid",
     .check = check_format,
     .help = "event-grid (Event Grid's schema, in an array of one) or cloud-events (CloudEvents "
             "1.0, structured JSON). Either way the receiver has to agree first: validation event "
             "or OPTIONS, as at Event Grid."},
    {.key = "ca-file",
     .type = KL_CONF_PATH,
     .offset = AT(ca_file),
     .help = "PEM certificates that vouch for the receiver. Absent: those of the system."},
    {.key = "secret-file",
     .type = KL_CONF_PATH,
     .offset = AT(secret_file),
     .help = "Holds the secret that deliveries are signed with (Standard Webhooks: "
             "webhook-signature, HMAC-SHA256); as plain text, or whsec_ and base64. Absent: they "
             "are not signed."},
    {.key = "timeout",
     .type = KL_CONF_DURATION,
     .offset = AT(timeout_ms),
     .min = 100,
     .max = 60 * SECONDS,
     .preset = "10s",
     .help = "For one delivery."},
    {.key = "retry-first",
     .type = KL_CONF_DURATION,
     .offset = AT(retry_first_ms),
     .min = 10,
     .max = HOURS,
     .preset = "10s",
     .help = "Pause after the first failed delivery; doubled after each further one."},
    {.key = "retry-most",
     .type = KL_CONF_DURATION,
     .offset = AT(retry_most_ms),
     .min = 10,
     .max = 24 * HOURS,
     .preset = "1h",
     .help = "Longest pause."},
    {.key = "lifetime",
     .type = KL_CONF_DURATION,
     .offset = AT(lifetime_ms),
     .min = SECONDS,
     .max = 30 * 24 * HOURS,
     .preset = "24h",
     .help = "After this an event that nobody took is given up, and the log says so."},
    {.key = "queue",
     .type = KL_CONF_INT,
     .offset = AT(most),
     .min = 1,
     .max = 1000000,
     .preset = "10000",
     .help = "Events that may wait, in the database. Beyond that, events of new versions are lost; "
             "rotations and expiries are always kept for the audit log."},
};

const struct kl_conf_section *kl_event_conf_section(void)
{
    static const struct kl_conf_section section = {
        .kind = "events",
        .size = sizeof(struct kl_event_config),
        .rows = rows,
        .row_count = KL_COUNT(rows),
        .help = "Who is told of new versions and of expiries."};
    return &section;
}
