#include "keyvault/boot.h"

#include "base/clock.h"
#include "base/http_server.h"
#include "base/log.h"
#include "base/tls.h"
#include "keyvault/auth/origin.h"
#include "keyvault/fair.h"
#include "keyvault/events.h"
#include "keyvault/gate.h"
#include "keyvault/housekeeping.h"
#include "keyvault/jobs.h"
#include "keyvault/limit.h"
#include "keyvault/request.h"
#include "keyvault/sealing.h"

#include <string.h>
#include <unistd.h>

#define TOKEN_WAIT_MS 30000 /* for tokens to leave KL_TOKEN_STARTING at the start */
/* Of a body whose sender showed no valid access token; token requests are far below. */
#define UNVOUCHED_BYTES 65536
#define JOBS_WAITING    1024
#define STOP_SLACK_MS   5000

struct kl_running {
    struct kl_service service;
    const struct kl_config *config;
    int lock;
    SSL_CTX *tls;
    struct kl_http_server *http;
    struct kl_housekeeping *housekeeping;
};

#define IO_THREADS_MOST 16 /* the token and the audit log are the limit long before */

static unsigned processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
}

/* The public operations of wrapKey and encrypt run on them: two on two processors made 22,000 of
 * them a second where one made 19,000, and an unwrapKey cost no more (SoftHSM, 16 connections). */
static unsigned default_io_threads(void)
{
    return processors() < IO_THREADS_MOST ? processors() : IO_THREADS_MOST;
}

static void wait_for_tokens(const struct kl_service *s)
{
    int64_t until = kl_clock_mono_ms() + TOKEN_WAIT_MS;
    for (size_t i = 0; i < s->token_count; i++) {
        struct kl_token_status status;
        kl_token_status(s->tokens[i], &status);
        while (status.state == KL_TOKEN_STARTING && kl_clock_mono_ms() < until) {
            (void)usleep(2000);
            kl_token_status(s->tokens[i], &status);
        }
        if (status.state != KL_TOKEN_READY)
            kl_log(KL_LOG_ERROR, "token not ready name=%s: %s", s->tokens[i]->name, status.text);
    }
}

KL_AUTO_DEFINE(paths, const char *, free);

#define FIXED 6 /* private files that are not a token's */

/* What no module may see, whatever user it runs as: the service's own files, every PIN file, and
 * the stores of other tokens. Returns how many. */
static size_t private_files(const struct kl_config *c, const struct kl_token_config *of,
                            const char **out)
{
    const char *const fixed[FIXED] = {c->service->database,  c->service->private_key,
                                      c->service->state_dir, c->audit->path,
                                      c->audit->head,        c->events->secret_file};
    size_t n = 0;
    for (size_t i = 0; i < FIXED; i++)
        if (fixed[i] != NULL)
            out[n++] = fixed[i];
    for (size_t i = 0; i < c->token_count; i++) {
        const struct kl_token_config *t = c->tokens[i];
        if (t->pin_source != NULL && t->pin_source[0] == '/')
            out[n++] = t->pin_source;
        if (t != of && t->store_dir != NULL &&
            (of->store_dir == NULL || strcmp(t->store_dir, of->store_dir) != 0))
            out[n++] = t->store_dir;
    }
    return n;
}

static bool same_token(const struct kl_token_caps *a, const struct kl_token_caps *b)
{
    return strcmp(a->label, b->label) == 0 && strcmp(a->serial, b->serial) == 0 &&
           strcmp(a->model, b->model) == 0 && strcmp(a->manufacturer, b->manufacturer) == 0;
}

/* Two sections must not mean one token, nor may a label alone say which of two tokens is meant: a
 * URI that fits both picks whatever is there when the other one is away. */
static enum kl_code check_pair(const struct kl_config *c, const struct kl_service *s, size_t a,
                               size_t b, struct kl_err *err)
{
    struct kl_token_status one, two;
    const struct kl_token_config *first = c->tokens[a], *second = c->tokens[b];
    if (strcmp(first->module, second->module) == 0 && strcmp(first->uri, second->uri) == 0)
        return kl_fail(err, KL_CONFIG, "token", "tokens %s and %s have the same module and uri",
                       first->name, second->name);
    kl_token_status(s->tokens[a], &one);
    kl_token_status(s->tokens[b], &two);
    if (one.generation == 0 || two.generation == 0)
        return KL_OK; /* never up: nothing is known of it */
    if (same_token(&one.caps, &two.caps))
        return kl_fail(err, KL_CONFIG, "token",
                       "tokens %s and %s are one and the same (label %s, serial %s); remove one of "
                       "the sections",
                       first->name, second->name, one.caps.label, one.caps.serial);
    if (strcmp(one.caps.label, two.caps.label) == 0 &&
        (strstr(first->uri, "serial=") == NULL || strstr(second->uri, "serial=") == NULL))
        return kl_fail(err, KL_CONFIG, "token",
                       "tokens %s and %s have the same label %s: let the uri of both say serial= "
                       "too (serial=%s and serial=%s)",
                       first->name, second->name, one.caps.label, one.caps.serial, two.caps.serial);
    return KL_OK;
}

static enum kl_code check_tokens(const struct kl_config *c, const struct kl_service *s,
                                 struct kl_err *err)
{
    enum kl_code code = KL_OK;
    for (size_t a = 0; a < s->token_count; a++)
        for (size_t b = a + 1; b < s->token_count && code == KL_OK; b++)
            code = check_pair(c, s, a, b, err);
    return code;
}

/* All workers start side by side. */
static enum kl_code open_tokens(struct kl_running *r, struct kl_err *err)
{
    struct kl_service *s = &r->service;
    const struct kl_config *c = r->config;
    KL_AUTO(paths) hidden = calloc(FIXED + 2 * c->token_count, sizeof *hidden);
    s->tokens = calloc(c->token_count, sizeof(struct kl_token *));
    if (s->tokens == NULL || hidden == NULL)
        return kl_fail(err, KL_NO_MEMORY, "tokens", "No memory for the tokens");
    for (size_t i = 0; i < c->token_count; i++) {
        struct kl_token_config own = *c->tokens[i];
        if (own.state_dir == NULL)
            own.state_dir = c->service->state_dir;
        own.hidden = hidden;
        own.hidden_count = private_files(c, c->tokens[i], hidden);
        enum kl_code code = kl_token_open(&own, 0, &s->tokens[i], err);
        if (code != KL_OK)
            return code;
        s->token_count++;
    }
    wait_for_tokens(s);
    return check_tokens(c, s, err);
}

static enum kl_code open_model(struct kl_running *r, struct kl_err *err)
{
    struct kl_service *s = &r->service;
    const struct kl_service_config *c = r->config->service;
    const struct kl_model_config model_config = {
        .database = c->database, .tokens = s->tokens, .token_count = s->token_count};
    enum kl_code code = kl_model_open(&model_config, &s->model, err);
    if (code == KL_OK)
        kl_event_receiver(s->model, r->config->events->url != NULL, r->config->events->most);
    if (code == KL_OK && c->tenant != NULL)
        code = kl_model_set_tenant(s->model, c->tenant, err);
    return code == KL_OK ? kl_origin_parse(c->origin, &s->origin, err) : code;
}

/* Keys of the service itself live on the first token of the configuration. */
static enum kl_code open_system_keys(struct kl_service *s, struct kl_err *err)
{
    struct kl_token_status status;
    const struct kl_key_spec rsa = {
        .type = KL_KEY_RSA, .bits = 2048, .profile = KL_PROFILE_FIXED, .may_sign = true};
    const struct kl_key_spec ec = {
        .type = KL_KEY_EC, .curve = KL_CURVE_P256, .profile = KL_PROFILE_FIXED, .may_sign = true};
    kl_token_status(s->tokens[0], &status);
    bool has_ec = status.caps.curves_ok[KL_CURVE_P256] != 0 &&
                  (status.caps.algs & (UINT32_C(1) << KL_ALG_ES256)) != 0;
    enum kl_code code =
        kl_model_system_key(s->model, s->tokens[0], "issuer", &rsa, &s->issuer_key, err);
    if (code == KL_OK)
        code = kl_model_system_key(s->model, s->tokens[0], "audit", has_ec ? &ec : &rsa,
                                   &s->audit_key, err);
    return code == KL_OK ? KL_OK : kl_err_prefix(err, "the service's own keys");
}

/* A token has at a time what its workers are at, and as much for when they are done. */
static enum kl_code open_fair(struct kl_running *r, struct kl_err *err)
{
    struct kl_service *s = &r->service;
    unsigned *windows = calloc(s->token_count, sizeof *windows);
    if (windows == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "No memory for the queues before tokens");
    for (size_t i = 0; i < s->token_count; i++)
        windows[i] = 2 * (unsigned)r->config->tokens[i]->workers;
    enum kl_code code = kl_fair_new(s->tokens, windows, s->token_count, s->failover, &s->fair, err);
    free(windows);
    return code;
}

/* A request waits for all homes of its key no longer than for the most patient token alone. */
static enum kl_code open_failover(struct kl_running *r, struct kl_err *err)
{
    int64_t longest = 1;
    for (size_t i = 0; i < r->config->token_count; i++)
        if (r->config->tokens[i]->deadline_ms > longest)
            longest = r->config->tokens[i]->deadline_ms;
    enum kl_code code = kl_failover_new(longest, &r->service.failover, err);
    return code == KL_OK ? open_fair(r, err) : code;
}

/* Without a token nobody can tell; the housekeeping asks again. */
static enum kl_code check_access(struct kl_service *s, struct kl_mark_accept accept,
                                 struct kl_err *err)
{
    enum kl_code code = kl_mark_check(s, accept, err);
    if (code != KL_OK)
        return code;
    code = kl_sealing_check(s, accept.changed_access, err);
    if (code == KL_OK || code == KL_CORRUPT)
        return code;
    kl_log_err(KL_LOG_ERROR, "principals and policies not checked", err);
    return KL_OK;
}

static enum kl_code open_authenticator(struct kl_running *r, struct kl_err *err)
{
    struct kl_service *s = &r->service;
    struct kl_buf origin = KL_BUF_INIT(KL_HOST_MAX + 32);
    kl_origin_put(&origin, &s->origin);
    const struct kl_authenticator_config config = {.model = s->model,
                                                   .issuer_key = s->issuer_key,
                                                   .failover = s->failover,
                                                   .origin = kl_buf_text(&origin),
                                                   .tenant = kl_model_tenant(s->model),
                                                   .token_lifetime_s =
                                                       r->config->service->token_lifetime_ms / 1000,
                                                   .issuers = r->config->issuers,
                                                   .issuer_count = r->config->issuer_count};
    enum kl_code code = kl_authenticator_new(&config, &s->authenticator, err);
    kl_buf_done(&origin);
    return code;
}

static enum kl_code open_audit(struct kl_running *r, struct kl_mark_accept accept,
                               struct kl_err *err)
{
    enum kl_code code = kl_audit_log_open(r->config->audit, r->service.audit_key, accept.audit_loss,
                                          &r->service.audit, err);
    if (code == KL_OK)
        code = kl_sealing_record(&r->service, err);
    if (code == KL_CORRUPT)
        return kl_err_prefix(err,
                             "the audit log was tampered with or its end is missing (look at it "
                             "with kluis audit verify; --accept-audit-loss goes on after a "
                             "missing end)");
    return code;
}

static enum kl_code open_threads(struct kl_running *r, struct kl_err *err)
{
    const struct kl_service_config *c = r->config->service;
    unsigned threads = c->job_threads > 0 ? (unsigned)c->job_threads
                       : processors() > 2 ? 2 * processors()
                                          : 4;
    r->service.gate = kl_gate_new(c->wrap_proof_ms, r->service.failover);
    if (r->service.gate == NULL)
        return kl_fail(err, KL_NO_MEMORY, "gate", "No memory for the wrap gate");
    enum kl_code code = kl_jobs_start(threads, JOBS_WAITING, &r->service.jobs, err);
    if (code == KL_OK)
        code = kl_events_start(&r->service, &r->service.events, err);
    return code == KL_OK ? kl_housekeeping_run(r->housekeeping, err) : code;
}

/* With an expired certificate a service looks healthy from inside while every client turns away. */
static void warn_of_expiry(const SSL_CTX *ctx, const char *path)
{
    enum { SOON_DAYS = 14 };
    int64_t days = kl_tls_days_left(ctx);
    if (days < 0)
        kl_log(KL_LOG_WARNING,
               "certificate expired, clients refuse it: replace it, then SIGHUP file=%s", path);
    else if (days < SOON_DAYS)
        kl_log(KL_LOG_WARNING, "certificate expires in %lld days: replace it, then SIGHUP file=%s",
               (long long)days, path);
}

/* The context of the listener as the configuration's files now are. */
static enum kl_code make_tls(const struct kl_service_config *c, SSL_CTX **ret, struct kl_err *err)
{
    SSL_CTX *ctx = NULL;
    enum kl_code code = kl_tls_server(c->certificate, c->private_key, &ctx, err);
    if (code == KL_OK && c->client_certificates)
        code = kl_tls_ask_clients(ctx, c->client_ca, err);
    if (code != KL_OK) {
        SSL_CTX_free(ctx);
        return code;
    }
    warn_of_expiry(ctx, c->certificate);
    *ret = ctx;
    return KL_OK;
}

static enum kl_code open_http(struct kl_running *r, struct kl_err *err)
{
    const struct kl_service_config *c = r->config->service;
    enum kl_code code = make_tls(c, &r->tls, err);
    if (code != KL_OK)
        return code;
    const struct kl_http_server_config config = {
        .listen = c->listen,
        .io_threads = c->io_threads > 0 ? (unsigned)c->io_threads : default_io_threads(),
        .tls = r->tls,
        .max_header_bytes = (size_t)c->max_header,
        .max_body_bytes = (size_t)c->max_body,
        .max_connections = (unsigned)c->max_connections,
        .max_per_address = (unsigned)c->max_per_address,
        .handshake_ms = c->handshake_ms,
        .request_ms = c->request_ms,
        .idle_ms = c->idle_ms,
        .vouch = kl_server_vouch,
        .max_unvouched_bytes = UNVOUCHED_BYTES,
        .handler = kl_server_handle,
        .arg = &r->service};
    return kl_http_server_start(&config, &r->http, err);
}

enum kl_code kl_boot(const struct kl_config *config, struct kl_mark_accept accept,
                     struct kl_running **ret, struct kl_err *err)
{
    struct kl_running *r = calloc(1, sizeof *r);
    if (r == NULL)
        return kl_fail(err, KL_NO_MEMORY, "boot", "No memory for the service");
    r->config = r->service.config = config;
    r->service.started_unix = kl_clock_unix();
    r->lock = -1;
    enum kl_code code = kl_routes_compile(err);
    if (code == KL_OK)
        code = kl_boot_lock(config->service->state_dir, &r->lock, err);
    if (code == KL_OK)
        code = open_tokens(r, err);
    if (code == KL_OK)
        code = open_model(r, err);
    if (code == KL_OK)
        code = kl_housekeeping_new(&r->service, &r->housekeeping, err);
    if (code == KL_OK)
        code = check_access(&r->service, accept, err);
    if (code == KL_OK)
        code = open_system_keys(&r->service, err);
    if (code == KL_OK)
        code = open_failover(r, err);
    if (code == KL_OK)
        code = open_authenticator(r, err);
    if (code == KL_OK)
        code = kl_limits_new(config->limits, &r->service.limits, err);
    if (code == KL_OK)
        code = open_audit(r, accept, err);
    if (code == KL_OK)
        code = open_threads(r, err);
    if (code == KL_OK)
        code = open_http(r, err);
    if (code != KL_OK) {
        kl_boot_stop(r);
        return code;
    }
    kl_log(KL_LOG_INFO, "serving origin=%s port=%u tokens=%zu", config->service->origin,
           (unsigned)kl_http_server_port(r->http), r->service.token_count);
    *ret = r;
    return KL_OK;
}

void kl_boot_reload(struct kl_running *r)
{
    SSL_CTX *fresh = NULL;
    struct kl_err err;
    const struct kl_service_config *c = r->config->service;
    if (make_tls(c, &fresh, &err) != KL_OK) {
        kl_log_err(KL_LOG_ERROR, "certificate not reloaded", &err);
        return;
    }
    kl_http_server_set_tls(r->http, fresh);
    SSL_CTX_free(r->tls);
    r->tls = fresh;
    kl_log(KL_LOG_INFO, "certificate reloaded");
}

/* A request may wait for a token as long as the token's slow deadline. */
static int64_t longest_call_ms(const struct kl_config *c)
{
    int64_t longest = 0;
    for (size_t i = 0; i < c->token_count; i++)
        if (c->tokens[i]->slow_deadline_ms > longest)
            longest = c->tokens[i]->slow_deadline_ms;
    return longest + STOP_SLACK_MS;
}

/* What is not marked now is looked for from the last minute's mark on. */
static void close_audit(struct kl_service *s)
{
    struct kl_err err;
    bool open = s->audit != NULL;
    kl_audit_log_close(s->audit);
    if (open && kl_mark_set(s, &err) != KL_OK)
        kl_log_err(KL_LOG_WARNING, "the audit log's end is not marked", &err);
}

void kl_boot_stop(struct kl_running *r)
{
    struct kl_service *s = &r->service;
    if (r->http != NULL)
        kl_http_server_stop(r->http, longest_call_ms(r->config));
    kl_housekeeping_free(r->housekeeping);
    kl_jobs_stop(s->jobs);
    kl_events_stop(s->events);
    kl_authenticator_free(s->authenticator);
    kl_limits_free(s->limits);
    close_audit(s);
    kl_failover_stop(s->failover);
    for (size_t i = 0; i < s->token_count; i++)
        kl_token_close(s->tokens[i]);
    kl_gate_free(s->gate);
    kl_fair_free(s->fair);
    kl_failover_free(s->failover);
    kl_key_version_unref(s->issuer_key);
    kl_key_version_unref(s->audit_key);
    kl_model_close(s->model);
    free(s->tokens);
    SSL_CTX_free(r->tls);
    if (r->lock >= 0)
        (void)close(r->lock);
    free(r);
}
