#include "keyvault/events.h"

#include "base/clock.h"
#include "base/http_client.h"
#include "base/log.h"
#include "keyvault/audit.h"
#include "keyvault/auth/origin.h"
#include "keyvault/event_wire.h"

#include <pthread.h>
#include <string.h>

#define LOOK_MS         1000 /* how soon a retry that has come due is seen */
#define RECORD_PAUSE_MS 30000
#define ANSWER_MAX      65536
#define SECRET_MAX      1024
#define BODY_MAX        8192
#define RECORD_MAX      8192
#define NOTE            "events-receiver" /* whom the last handshake was with */

struct kl_events {
    struct kl_service *service;
    const struct kl_event_config *config;
    struct kl_http_client *http;
    struct kl_secret *key; /* NULL = not signed */
    char origin[KL_HOST_MAX + 1];
    char receiver[2048]; /* format and URL */
    bool agreed;         /* the receiver has shown that it wants events */
    int64_t failures;    /* handshakes in a row */
    int64_t pause_until; /* monotonic: it does not answer at all */
    int64_t record_from; /* monotonic: the audit log could not be written */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool running, stopping, recorded; /* recorded: the record under way has come back */
    enum kl_code record_code;
};

static bool cloud(const struct kl_events *e)
{
    return strcmp(e->config->format, "cloud-events") == 0;
}

/* --- audit records --- */

static void record_back(void *arg, enum kl_code code)
{
    struct kl_events *e = arg;
    (void)pthread_mutex_lock(&e->lock);
    e->recorded = true;
    e->record_code = code;
    (void)pthread_cond_broadcast(&e->wake);
    (void)pthread_mutex_unlock(&e->lock);
}

static enum kl_code record(struct kl_events *e, const struct kl_event *event, struct kl_err *err)
{
    struct kl_buf line = KL_BUF_INIT(RECORD_MAX);
    kl_audit_put_event(&line, event);
    e->recorded = false;
    enum kl_code code =
        kl_buf_failed(&line)
            ? KL_NO_MEMORY
            : kl_audit_log_append(e->service->audit, kl_buf_text(&line), line.len, record_back, e);
    kl_buf_done(&line);
    (void)pthread_mutex_lock(&e->lock);
    while (code == KL_OK && !e->recorded)
        (void)pthread_cond_wait(&e->wake, &e->lock);
    if (code == KL_OK)
        code = e->record_code;
    (void)pthread_mutex_unlock(&e->lock);
    return code == KL_OK ? KL_OK : kl_fail(err, code, "audit", "an event is not recorded yet");
}

static bool stopping(struct kl_events *e)
{
    (void)pthread_mutex_lock(&e->lock);
    bool yes = e->stopping;
    (void)pthread_mutex_unlock(&e->lock);
    return yes;
}

static void record_all(struct kl_events *e)
{
    struct kl_err err;
    enum kl_code code = KL_OK;
    if (kl_clock_mono_ms() < e->record_from)
        return;
    while (code == KL_OK && !stopping(e)) {
        struct kl_event event;
        code = kl_event_unrecorded(e->service->model, &event, &err);
        if (code != KL_OK)
            break;
        code = record(e, &event, &err);
        if (code == KL_OK)
            code = kl_event_set_recorded(e->service->model, &event, &err);
        kl_event_done(&event);
    }
    if (code != KL_OK && code != KL_NOT_FOUND) {
        kl_log_err(KL_LOG_WARNING, "events", &err);
        e->record_from = kl_clock_mono_ms() + RECORD_PAUSE_MS;
    }
}

/* --- the receiver --- */

static int64_t back_off(const struct kl_event_config *c, int64_t failures, int64_t asked_ms)
{
    int64_t pause = c->retry_first_ms;
    for (int64_t i = 0; i < failures && pause < c->retry_most_ms; i++)
        pause *= 2;
    pause = pause < c->retry_most_ms ? pause : c->retry_most_ms;
    return asked_ms > pause ? asked_ms : pause;
}

static enum kl_code shake_grid(struct kl_events *e, struct kl_http_exchange *x, struct kl_err *err)
{
    static const char *const headers[] = {"aeg-event-type: SubscriptionValidation"};
    char code_text[KL_UUID_LEN + 1];
    struct kl_buf body = KL_BUF_INIT(BODY_MAX);
    kl_uuid_new(code_text);
    kl_event_put_validation(&body, code_text);
    x->method = "POST";
    x->content_type = "application/json; charset=utf-8";
    x->body = kl_buf_text(&body);
    x->body_len = body.len;
    x->headers = headers;
    x->header_count = KL_COUNT(headers);
    enum kl_code code = kl_http_do(e->http, x, err);
    kl_buf_done(&body);
    if (code == KL_OK &&
        (x->status != 200 || !kl_event_validated((const char *)kl_secret_bytes(x->answer),
                                                 kl_secret_len(x->answer), code_text)))
        code = kl_fail_native(err, KL_HTTP_STATUS, KL_DOMAIN_HTTP, (unsigned long)x->status,
                              "validation",
                              "the receiver of events did not give the validation code back");
    return code;
}

static enum kl_code shake_cloud(struct kl_events *e, struct kl_http_exchange *x, struct kl_err *err)
{
    char origin[KL_HOST_MAX + 32];
    const char *const headers[] = {origin};
    (void)snprintf(origin, sizeof origin, "WebHook-Request-Origin: %s", e->origin);
    x->method = "OPTIONS";
    x->headers = headers;
    x->header_count = 1;
    enum kl_code code = kl_http_do(e->http, x, err);
    x->headers = NULL;
    const char *allowed = x->webhook_origin;
    if (code == KL_OK && (x->status / 100 != 2 ||
                          (strcmp(allowed, "*") != 0 && strcasecmp(allowed, e->origin) != 0)))
        code = kl_fail_native(err, KL_HTTP_STATUS, KL_DOMAIN_HTTP, (unsigned long)x->status,
                              "validation", "the receiver of events did not allow the origin %s",
                              e->origin);
    return code;
}

static void shake_hands(struct kl_events *e)
{
    struct kl_err err;
    struct kl_http_exchange x = {.url = e->config->url};
    enum kl_code code = cloud(e) ? shake_cloud(e, &x, &err) : shake_grid(e, &x, &err);
    kl_http_exchange_done(&x);
    e->agreed = code == KL_OK;
    if (e->agreed) {
        e->failures = 0;
        kl_log(KL_LOG_INFO, "events go to %s", e->config->url);
        if (kl_model_note_put(e->service->model, NOTE, e->receiver, &err) != KL_OK)
            kl_log_err(KL_LOG_WARNING, "events", &err);
        return;
    }
    e->pause_until = kl_clock_mono_ms() + back_off(e->config, e->failures++, x.retry_after_ms);
    kl_log_err(KL_LOG_WARNING, "events wait for their receiver", &err);
}

/* Who agreed before need not be asked again after a restart. */
static void remember_receiver(struct kl_events *e)
{
    KL_AUTO(char) note = NULL;
    (void)snprintf(e->receiver, sizeof e->receiver, "%s %s", e->config->format, e->config->url);
    e->agreed = kl_model_note_get(e->service->model, NOTE, &note, NULL) == KL_OK &&
                strcmp(note, e->receiver) == 0;
}

/* --- deliveries --- */

#define HEADER_MAX 128
#define HEADERS    4

static enum kl_code post(struct kl_events *e, const struct kl_event *event,
                         struct kl_http_exchange *x, struct kl_err *err)
{
    char id[HEADER_MAX], seconds[HEADER_MAX], signature[HEADER_MAX];
    char signed_with[KL_EVENT_SIGNATURE_MAX];
    const char *const headers[HEADERS] = {id, seconds, "aeg-event-type: Notification", signature};
    int64_t now = kl_clock_unix();
    enum kl_code code = KL_OK;
    struct kl_buf body = KL_BUF_INIT(BODY_MAX);
    (cloud(e) ? kl_event_put_cloud : kl_event_put_grid)(&body, event);
    (void)snprintf(id, sizeof id, "webhook-id: %s", event->id);
    (void)snprintf(seconds, sizeof seconds, "webhook-timestamp: %lld", (long long)now);
    if (kl_buf_failed(&body))
        code = kl_fail(err, KL_NO_MEMORY, "events", "no memory for an event");
    if (code == KL_OK && e->key != NULL)
        code = kl_event_sign(e->key, event->id, now, &body, signed_with, err);
    if (code == KL_OK) {
        if (e->key != NULL)
            (void)snprintf(signature, sizeof signature, "webhook-signature: %s", signed_with);
        x->method = "POST";
        x->content_type = cloud(e) ? "application/cloudevents+json; charset=utf-8"
                                   : "application/json; charset=utf-8";
        x->body = kl_buf_text(&body);
        x->body_len = body.len;
        x->headers = headers;
        x->header_count = e->key != NULL ? HEADERS : HEADERS - 1;
        code = kl_http_do(e->http, x, err);
        x->headers = NULL;
    }
    kl_buf_done(&body);
    return code;
}

/* Event Grid does not try again after these. */
static bool refused_for_good(long status)
{
    return status == 400 || status == 401 || status == 403 || status == 413;
}

/* True when the next one may be tried. */
static bool deliver(struct kl_events *e, const struct kl_event *event, struct kl_err *err)
{
    struct kl_model *m = e->service->model;
    struct kl_http_exchange x = {.url = e->config->url, .retry_after_ms = -1};
    int64_t now = kl_clock_unix_ms();
    enum kl_code code = post(e, event, &x, err);
    kl_http_exchange_done(&x);
    if (code == KL_OK && x.status / 100 == 2)
        return kl_event_forget(m, event, err) == KL_OK;
    if (code == KL_OK)
        (void)kl_fail_native(err, KL_HTTP_STATUS, KL_DOMAIN_HTTP, (unsigned long)x.status,
                             "webhook", "the receiver of events answered %ld", x.status);
    kl_log_err(KL_LOG_WARNING, "event not delivered", err);
    bool late = now - event->time_ms > e->config->lifetime_ms;
    if (late || (code == KL_OK && refused_for_good(x.status))) {
        kl_log(KL_LOG_ERROR, "event given up id=%s type=%s name=%s version=%s", event->id,
               kl_event_name(event->type)->event, event->name, event->version);
        return kl_event_forget(m, event, err) == KL_OK;
    }
    int64_t pause = back_off(e->config, event->tries, x.retry_after_ms);
    if (code != KL_OK)
        e->pause_until = kl_clock_mono_ms() + pause; /* nor would it answer for the others */
    return kl_event_set_tried(m, event, now + pause, err) == KL_OK && code == KL_OK;
}

static void deliver_all(struct kl_events *e)
{
    struct kl_err err;
    bool go_on = true;
    if (e->config->url == NULL || kl_clock_mono_ms() < e->pause_until)
        return;
    if (!e->agreed)
        shake_hands(e);
    while (go_on && e->agreed && !stopping(e)) {
        struct kl_event event;
        enum kl_code code = kl_event_ready(e->service->model, kl_clock_unix_ms(), &event, &err);
        if (code != KL_OK && code != KL_NOT_FOUND)
            kl_log_err(KL_LOG_WARNING, "events", &err);
        if (code != KL_OK)
            break;
        go_on = deliver(e, &event, &err);
        kl_event_done(&event);
    }
}

/* --- the thread --- */

static void *look_after(void *arg)
{
    struct kl_events *e = arg;
    while (!stopping(e)) {
        record_all(e);
        deliver_all(e);
        const struct timespec until = kl_clock_deadline(LOOK_MS * 1000);
        (void)pthread_mutex_lock(&e->lock);
        if (!e->stopping)
            (void)pthread_cond_timedwait(&e->wake, &e->lock, &until);
        (void)pthread_mutex_unlock(&e->lock);
    }
    return NULL;
}

static enum kl_code prepare(struct kl_events *e, struct kl_err *err)
{
    KL_AUTO(secret) text = NULL;
    const struct kl_event_config *c = e->config;
    if (c->url == NULL)
        return KL_OK;
    const struct kl_http_client_config http = {.ca_file = c->ca_file,
                                               .connect_ms = c->timeout_ms,
                                               .total_ms = c->timeout_ms,
                                               .max_answer_bytes = ANSWER_MAX,
                                               .user_agent = "kluis/" KLUIS_VERSION};
    enum kl_code code = kl_http_client_new(&http, &e->http, err);
    if (code == KL_OK && c->secret_file != NULL) {
        code = kl_secret_read_file(c->secret_file, SECRET_MAX, &text, err);
        if (code == KL_OK)
            code = kl_event_key(text, &e->key, err);
    }
    (void)snprintf(e->origin, sizeof e->origin, "%s", e->service->origin.host);
    remember_receiver(e);
    return code;
}

enum kl_code kl_events_start(struct kl_service *service, struct kl_events **ret, struct kl_err *err)
{
    struct kl_events *e = calloc(1, sizeof *e);
    pthread_condattr_t monotonic;
    if (e == NULL)
        return kl_fail(err, KL_NO_MEMORY, "events", "No memory for the events");
    e->service = service;
    e->config = service->config->events;
    (void)pthread_mutex_init(&e->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&e->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    enum kl_code code = prepare(e, err);
    if (code == KL_OK && pthread_create(&e->thread, NULL, look_after, e) != 0)
        code = kl_fail(err, KL_IO, "pthread_create", "The thread of events cannot be started");
    e->running = code == KL_OK;
    if (code == KL_OK)
        *ret = e;
    else
        kl_events_stop(e);
    return code;
}

void kl_events_wake(struct kl_events *e)
{
    (void)pthread_mutex_lock(&e->lock);
    (void)pthread_cond_broadcast(&e->wake);
    (void)pthread_mutex_unlock(&e->lock);
}

void kl_events_stop(struct kl_events *e)
{
    if (e == NULL)
        return;
    (void)pthread_mutex_lock(&e->lock);
    e->stopping = true;
    (void)pthread_cond_broadcast(&e->wake);
    (void)pthread_mutex_unlock(&e->lock);
    if (e->running)
        (void)pthread_join(e->thread, NULL);
    (void)pthread_cond_destroy(&e->wake);
    (void)pthread_mutex_destroy(&e->lock);
    kl_http_client_free(e->http);
    kl_secret_free(e->key);
    free(e);
}
