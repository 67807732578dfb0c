#include "keyvault/config.h"

#include "keyvault/auth/issuers.h"
#include "keyvault/auth/origin.h"
#include "keyvault/events.h"
#include "keyvault/limit.h"

#include <string.h>

#define AT(member)       offsetof(struct kl_service_config, member)
#define AUDIT_AT(member) offsetof(struct kl_audit_config, member)
#define SECONDS          INT64_C(1000)
#define MINUTES          (60 * SECONDS)

static const char *const levels[] = {"debug", "info", "warning", "error"};

static enum kl_code check_origin(const void *value, struct kl_err *err)
{
    struct kl_origin origin;
    return kl_origin_parse(*(char *const *)value, &origin, err);
}

static enum kl_code check_tenant(const void *value, struct kl_err *err)
{
    const char *text = *(char *const *)value;
    if (text == NULL || kl_uuid_valid(text))
        return KL_OK;
    return kl_fail(err, KL_CONFIG, "tenant", "tenant must be a GUID");
}

/* Absent is fine. */
static enum kl_code check_domain(const void *value, struct kl_err *err)
{
    return *(char *const *)value == NULL ? KL_OK : check_origin(value, err);
}

static enum kl_code check_level(const void *value, struct kl_err *err)
{
    for (size_t i = 0; i < KL_COUNT(levels); i++)
        if (strcmp(*(char *const *)value, levels[i]) == 0)
            return KL_OK;
    return kl_fail(err, KL_CONFIG, "log-level", "log-level is one of debug, info, warning, error");
}

static const struct kl_conf_row service_rows[] = {
    {.key = "listen",
     .type = KL_CONF_TEXT,
     .offset = AT(listen),
     .preset = "127.0.0.1:8443",
     .help = "Address and port to serve HTTPS on; [::]:8443 for all interfaces."},
    {.key = "origin",
     .type = KL_CONF_TEXT,
     .offset = AT(origin),
     .preset = "https://localhost:8443",
     .check = check_origin,
     .help = "Public origin of the service itself: issuer of its tokens, base of /kluis. Vaults "
             "have origins of their own."},
    {.key = "vault-domain",
     .type = KL_CONF_TEXT,
     .offset = AT(vault_domain),
     .check = check_domain,
     .help = "host:port below which vaults that the management API makes (az keyvault create) get "
             "their addresses, NAME.host:port. Absent: vault.HOST of the origin."},
    {.key = "tenant",
     .type = KL_CONF_TEXT,
     .offset = AT(tenant),
     .check = check_tenant,
     .help = "GUID that clients name as tenant. Absent: made at the first start and kept."},
    {.key = "certificate",
     .type = KL_CONF_PATH,
     .offset = AT(certificate),
     .required = true,
     .help = "PEM certificate chain of the HTTPS listener. Read again at SIGHUP."},
    {.key = "private-key",
     .type = KL_CONF_PATH,
     .offset = AT(private_key),
     .required = true,
     .help = "PEM private key of the certificate; P-256 is fastest."},
    {.key = "database",
     .type = KL_CONF_PATH,
     .offset = AT(database),
     .preset = "/var/lib/kluis/kluis.db",
     .help = "SQLite file of vaults, keys and principals."},
    {.key = "state-dir",
     .type = KL_CONF_PATH,
     .offset = AT(state_dir),
     .preset = "/var/lib/kluis",
     .help = "Folder for the lock of the running service and other small state. Made when absent."},
    {.key = "client-certificates",
     .type = KL_CONF_BOOL,
     .offset = AT(client_certificates),
     .preset = "no",
     .help =
         "Ask TLS clients for a certificate. Who shows one that a principal has as a credential "
         "needs no access token; who shows none is served as before."},
    {.key = "client-ca",
     .type = KL_CONF_PATH,
     .offset = AT(client_ca),
     .help = "PEM certificates of the CAs whose client certificates may speak for a principal by a "
             "name that they carry ('kluis principal credential add --subject'). Read again at "
             "SIGHUP."},
    {.key = "io-threads",
     .type = KL_CONF_INT,
     .offset = AT(io_threads),
     .max = 64,
     .preset = "0",
     .help = "Threads that serve connections; 0 = as many as processors, 16 at most."},
    {.key = "job-threads",
     .type = KL_CONF_INT,
     .offset = AT(job_threads),
     .max = 256,
     .preset = "0",
     .help = "Threads for what may block: key creation, changes, listings; 0 = twice the "
             "processors, at least 4."},
    {.key = "max-body",
     .type = KL_CONF_BYTES,
     .offset = AT(max_body),
     .min = 1024,
     .max = INT64_C(64) << 20,
     .preset = "20M",
     .help = "Longest request body. The backup of a secret with 500 versions of 25 KB needs 18M."},
    {.key = "max-header",
     .type = KL_CONF_BYTES,
     .offset = AT(max_header),
     .min = 2048,
     .max = INT64_C(1) << 20,
     .preset = "32K",
     .help = "Longest request line with all headers."},
    {.key = "max-connections",
     .type = KL_CONF_INT,
     .offset = AT(max_connections),
     .min = 1,
     .max = 1000000,
     .preset = "4096",
     .help = "Connections at once; further ones are closed."},
    {.key = "max-per-address",
     .type = KL_CONF_INT,
     .offset = AT(max_per_address),
     .min = 1,
     .max = 1000000,
     .preset = "1024",
     .help = "The same for one client address."},
    {.key = "handshake-timeout",
     .type = KL_CONF_DURATION,
     .offset = AT(handshake_ms),
     .min = 100,
     .max = 10 * MINUTES,
     .preset = "10s",
     .help = "From accepting a connection to the first byte of a request."},
    {.key = "request-timeout",
     .type = KL_CONF_DURATION,
     .offset = AT(request_ms),
     .min = 100,
     .max = 10 * MINUTES,
     .preset = "30s",
     .help = "From the first byte of a request to its last, however slowly they drip."},
    {.key = "idle-timeout",
     .type = KL_CONF_DURATION,
     .offset = AT(idle_ms),
     .min = 100,
     .max = 60 * MINUTES,
     .preset = "2m",
     .help = "Between two requests of a connection."},
    {.key = "token-lifetime",
     .type = KL_CONF_DURATION,
     .offset = AT(token_lifetime_ms),
     .min = MINUTES,
     .max = 24 * 60 * MINUTES,
     .preset = "1h",
     .help = "How long an access token of the built-in token service is good."},
    {.key = "wrap-proof",
     .type = KL_CONF_DURATION,
     .offset = AT(wrap_proof_ms),
     .min = SECONDS,
     .max = 24 * 60 * MINUTES,
     .preset = "1m",
     .help = "Nothing is encrypted under a key whose private half did not prove itself on the "
             "token within this time."},
    {.key = "log-level",
     .type = KL_CONF_TEXT,
     .offset = AT(log_level),
     .preset = "info",
     .check = check_level,
     .help = "What goes to standard error: debug (every request), info (refused requests and "
             "events), warning, error."},
};

static const struct kl_conf_row audit_rows[] = {
    {.key = "path",
     .type = KL_CONF_PATH,
     .offset = AUDIT_AT(path),
     .preset = "/var/lib/kluis/audit.log",
     .help = "The audit log. No answer leaves before its record is on this file's disk."},
    {.key = "head",
     .type = KL_CONF_PATH,
     .offset = AUDIT_AT(head),
     .preset = "/var/lib/kluis/audit.head",
     .help = "Small file with the newest record's number and hash; on another disk it also shows "
             "that the end of the log was cut off."},
    {.key = "checkpoint-records",
     .type = KL_CONF_INT,
     .offset = AUDIT_AT(checkpoint_records),
     .min = 1,
     .max = 1000000,
     .preset = "1000",
     .help = "After so many records the token signs the chain."},
    {.key = "checkpoint-interval",
     .type = KL_CONF_DURATION,
     .offset = AUDIT_AT(checkpoint_ms),
     .min = SECONDS,
     .max = 24 * 60 * MINUTES,
     .preset = "1m",
     .help = "Or so long after the first record that no signature covers."},
    {.key = "gather",
     .type = KL_CONF_DURATION,
     .offset = AUDIT_AT(gather_ms),
     .max = 100,
     .preset = "4ms",
     .help = "Longest that a record waits for others under way, so that one disk flush serves them "
             "all; an answer waits as long. Only under load: with few requests nothing waits. 0ms "
             "= flush each at once."},
};

#define KINDS 6

static void kinds_of_file(struct kl_conf_section kinds[static KINDS])
{
    kinds[0] = (struct kl_conf_section){.kind = "service",
                                        .size = sizeof(struct kl_service_config),
                                        .rows = service_rows,
                                        .row_count = KL_COUNT(service_rows),
                                        .help = "The key service."};
    kinds[1] = (struct kl_conf_section){.kind = "audit",
                                        .size = sizeof(struct kl_audit_config),
                                        .rows = audit_rows,
                                        .row_count = KL_COUNT(audit_rows),
                                        .help = "The audit log."};
    kinds[2] = *kl_token_conf_section();
    kinds[3] = *kl_issuer_conf_section();
    kinds[4] = *kl_limit_conf_section();
    kinds[5] = *kl_event_conf_section();
}

/* What no single row can see. */
static enum kl_code check_whole(const struct kl_config *c, const char *path, struct kl_err *err)
{
    if (c->token_count == 0)
        return kl_fail(err, KL_CONFIG, "config", "%s: there is no [token NAME] section", path);
    for (size_t i = 0; i < c->token_count; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(c->tokens[i]->name, c->tokens[k]->name) == 0)
                return kl_fail(err, KL_CONFIG, "config", "%s: there are two sections [token %s]",
                               path, c->tokens[i]->name);
    for (size_t i = 0; i < c->issuer_count; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(c->issuers[i]->name, c->issuers[k]->name) == 0 ||
                strcmp(c->issuers[i]->issuer, c->issuers[k]->issuer) == 0)
                return kl_fail(err, KL_CONFIG, "config",
                               "%s: two sections [issuer …] have the name %s or its issuer", path,
                               c->issuers[i]->name);
    return KL_OK;
}

enum kl_code kl_config_load(const char *path, struct kl_config **ret, struct kl_err *err)
{
    struct kl_conf_section *kinds = calloc(KINDS, sizeof *kinds);
    KL_AUTO(config) c = calloc(1, sizeof *c);
    if (c == NULL || kinds == NULL) {
        free(kinds);
        return kl_fail(err, KL_NO_MEMORY, "config", "No memory for the configuration");
    }
    kinds_of_file(kinds);
    c->kinds = kinds;
    enum kl_code code = kl_conf_load(path, kinds, KINDS, &c->file, err);
    if (code != KL_OK)
        return code;
    c->service = kl_conf_section(c->file, "service", 0);
    c->audit = kl_conf_section(c->file, "audit", 0);
    while (kl_conf_section(c->file, "token", c->token_count) != NULL)
        c->token_count++;
    while (kl_conf_section(c->file, "issuer", c->issuer_count) != NULL)
        c->issuer_count++;
    c->limits = kl_conf_section(c->file, "limits", 0);
    c->events = kl_conf_section(c->file, "events", 0);
    const struct kl_token_config **tokens =
        calloc(c->token_count + 1, sizeof(struct kl_token_config *));
    const struct kl_issuer_config **issuers =
        calloc(c->issuer_count + 1, sizeof(struct kl_issuer_config *));
    c->tokens = tokens;
    c->issuers = issuers;
    if (tokens == NULL || issuers == NULL)
        return kl_fail(err, KL_NO_MEMORY, "config", "No memory for the configuration");
    for (size_t i = 0; i < c->token_count; i++)
        tokens[i] = kl_conf_section(c->file, "token", i);
    for (size_t i = 0; i < c->issuer_count; i++)
        issuers[i] = kl_conf_section(c->file, "issuer", i);
    code = check_whole(c, path, err);
    if (code == KL_OK)
        *ret = kl_take(c);
    return code;
}

void kl_config_free(struct kl_config *c)
{
    if (c == NULL)
        return;
    kl_conf_free(c->file);
    free(c->kinds);
    free((void *)c->tokens);
    free((void *)c->issuers);
    free(c);
}

enum kl_log_level kl_config_log_level(const struct kl_config *c)
{
    size_t i = 0;
    while (strcmp(levels[i], c->service->log_level) != 0)
        i++;
    return (enum kl_log_level)i;
}

void kl_config_print(const struct kl_config *c, struct kl_buf *out)
{
    kl_conf_print(c->file, out);
}

void kl_config_sample(struct kl_buf *out)
{
    struct kl_conf_section kinds[KINDS];
    kinds_of_file(kinds);
    kl_conf_print_sample(kinds, KINDS, out);
}
