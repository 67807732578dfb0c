#include "keyvault/audit.h"
#include "keyvault/fault.h"
#include "keyvault/jobs.h"
#include "keyvault/metrics.h"
#include "keyvault/ops.h"
#include "keyvault/wire.h"

#include "base/clock.h"
#include "base/log.h"

#include <strings.h>
#include <string.h>

#define JSON_TYPE     "application/json; charset=utf-8"
#define LINE_CEILING  16384
#define LINE_USUAL    1800 /* bytes: one allocation for most records */
#define CHALLENGE_MAX 700

static void request_free(struct kl_request *r)
{
    kl_vault_unref(r->op.vault);
    kl_key_version_unref(r->op.key);
    json_decref(r->op.body);
    free(r->location);
    kl_buf_wipe(&r->answer);
    free(r);
}

/* How the caller was seen; clients write it to their logs. */
static void put_network(const char *peer, char *out, size_t room)
{
    bool six = strchr(peer, ':') != NULL;
    (void)snprintf(out, room, "conn_type=%s;addr=%s;act_addr_fam=%s;", six ? "Ipv6" : "Ipv4", peer,
                   six ? "InterNetworkV6" : "InterNetwork");
}

/* The headers of every answer, as the real service sends them. */
static void send_answer(struct kl_request *r)
{
    char network[120];
    put_network(kl_http_peer(r->op.http), network, sizeof network);
    struct kl_http_header headers[16] = {
        {"Cache-Control", "no-cache, no-store"},
        {"Pragma", "no-cache"},
        {"Expires", "-1"},
        {"Strict-Transport-Security", "max-age=31536000;includeSubDomains"},
        {"X-Content-Type-Options", "nosniff"},
        {"x-ms-keyvault-service-version", KLUIS_VERSION},
        {"x-ms-keyvault-region", r->region},
        {"x-ms-request-id", r->op.request_id},
        {"x-ms-keyvault-network-info", network},
    };
    size_t n = 9;
    char challenge[CHALLENGE_MAX], wait[24];
    if (r->client_request_id[0] != 0)
        headers[n++] = (struct kl_http_header){"x-ms-client-request-id", r->client_request_id};
    if (r->status != 204)
        headers[n++] = (struct kl_http_header){"Content-Type", r->content_type};
    if (r->fault == KL_UNAUTHENTICATED) {
        kl_challenge(r->op.service->authenticator, &r->op.origin, challenge, sizeof challenge);
        headers[n++] = (struct kl_http_header){"WWW-Authenticate", challenge};
    }
    if (r->fault == KL_BAD_METHOD)
        headers[n++] = (struct kl_http_header){"Allow", r->allow};
    if (r->location != NULL && r->status == 202)
        headers[n++] = (struct kl_http_header){"Location", r->location};
    if (kl_fault_of(r->fault).retry || r->status == 429 || r->status == 503) {
        int64_t seconds = (r->wait_ms + 999) / 1000;
        (void)snprintf(wait, sizeof wait, "%lld", (long long)(seconds > 0 ? seconds : 1));
        headers[n++] = (struct kl_http_header){"Retry-After", wait};
    }
    kl_metrics_request(r->route_index, r->status, kl_clock_mono_ms() - r->op.started_ms);
    kl_http_reply(r->op.http, r->status, headers, n, kl_buf_text(&r->answer), r->answer.len);
    request_free(r);
}

static void answer_fault(struct kl_request *r, const struct kl_err *err)
{
    kl_buf_wipe(&r->answer);
    r->answer = KL_BUF_INIT(8192);
    r->fault = err->code;
    r->status = kl_fault_of(err->code).status;
    r->content_type = JSON_TYPE;
    kl_fault_put(&r->answer, err);
}

/* No durable record, no answer: what was done stays done, but nobody is told. */
static void answer_unaudited(struct kl_request *r, enum kl_code code)
{
    struct kl_err err;
    (void)kl_fail(&err, code == KL_THROTTLED ? code : KL_IO, "audit",
                  "The audit log cannot be written");
    kl_log(KL_LOG_ERROR, "audit record lost request=%s code=%s", r->op.request_id,
           kl_code_name(code));
    answer_fault(r, &err);
    send_answer(r);
}

static void audited(void *arg, enum kl_code code)
{
    struct kl_request *r = arg;
    kl_metrics_audit_done(code != KL_OK);
    if (code == KL_OK) {
        send_answer(r);
        return;
    }
    answer_unaudited(r, code);
}

static void no_longer_expected(struct kl_request *r)
{
    if (r->expected)
        kl_audit_log_expect(r->op.service->audit, -1);
    r->expected = false;
}

static void audit(struct kl_request *r, const char *message, int64_t duration_ms)
{
    struct kl_buf line = KL_BUF_INIT(LINE_CEILING);
    kl_buf_reserve(&line, LINE_USUAL);
    kl_audit_put(&line, r, message, duration_ms);
    enum kl_code code = KL_NO_MEMORY;
    kl_metrics_audit_queued();
    if (!kl_buf_failed(&line)) {
        /* from here on the request may be gone */
        code = kl_audit_log_append(r->op.service->audit, kl_buf_text(&line), line.len, audited, r);
    }
    kl_buf_done(&line);
    if (code != KL_OK) {
        kl_metrics_audit_done(true);
        answer_unaudited(r, code);
    }
}

/* The answer stands in r; log it, record it, send it. */
static void finish(struct kl_request *r, const struct kl_err *err)
{
    const struct kl_op *op = &r->op;
    int64_t duration_ms = kl_clock_mono_ms() - op->started_ms;
    /* whatever is wrong with a ciphertext, line and record say the same */
    bool uniform = r->fault == KL_DECRYPT_FAILED;
    bool named = op->route != NULL && op->route->audit != NULL;
    kl_log(
        err == NULL ? KL_LOG_DEBUG : KL_LOG_INFO,
        "request id=%s method=%s op=%s caller=%s name=%s version=%s status=%d code=%s native=0x%lx "
        "ms=%lld%s%s",
        op->request_id, kl_http_method(op->http), named ? op->route->audit : "-",
        op->caller.authenticated ? op->caller.who.object_id : "-", op->name,
        op->key != NULL ? op->key->version : op->version, r->status, kl_code_name(r->fault),
        err != NULL && !uniform ? err->native : 0UL, (long long)duration_ms,
        err != NULL && !uniform ? " text=" : "", err != NULL && !uniform ? err->text : "");
    no_longer_expected(r);
    if (named || op->route == NULL || r->status == 401)
        audit(r, err != NULL ? kl_fault_message(err) : "", duration_ms);
    else
        send_answer(r);
}

void kl_op_reply_buf(struct kl_op *op, int status, struct kl_buf *json)
{
    struct kl_request *r = kl_request_of(op);
    if (kl_buf_failed(json)) {
        kl_buf_wipe(json);
        (void)kl_fail(&op->err, KL_NO_MEMORY, "reply", "The answer did not fit");
        kl_op_fail(op, &op->err);
        return;
    }
    r->status = status;
    r->content_type = JSON_TYPE;
    r->answer = *json;
    *json = KL_BUF_INIT(0);
    finish(r, NULL);
}

void kl_op_reply_accepted_buf(struct kl_op *op, const char *location, struct kl_buf *json)
{
    kl_request_of(op)->location = strdup(location);
    kl_op_reply_buf(op, 202, json);
}

void kl_op_reply_accepted(struct kl_op *op, const char *location)
{
    struct kl_request *r = kl_request_of(op);
    r->location = strdup(location);
    kl_op_reply(op, 202, json_object());
}

void kl_op_reply(struct kl_op *op, int status, json_t *body)
{
    struct kl_buf text = KL_BUF_INIT(KL_ANSWER_CEILING);
    if (body != NULL) {
        size_t n = json_dumpb(body, NULL, 0, JSON_COMPACT);
        kl_buf_reserve(&text, n);
        if (n > 0 && !kl_buf_failed(&text)) {
            text.len = json_dumpb(body, text.bytes, n, JSON_COMPACT);
            text.bytes[text.len] = 0;
        }
        json_decref(body);
    }
    kl_op_reply_buf(op, status, &text);
}

void kl_op_reply_bytes(struct kl_op *op, int status, const char *content_type, const void *bytes,
                       size_t n)
{
    struct kl_request *r = kl_request_of(op);
    r->answer = KL_BUF_INIT(KL_ANSWER_CEILING);
    kl_buf_put(&r->answer, bytes, n);
    r->status = status;
    r->content_type = content_type;
    finish(r, NULL);
}

void kl_op_fail(struct kl_op *op, const struct kl_err *err)
{
    struct kl_request *r = kl_request_of(op);
    struct kl_err kept = *err; /* may be op->err itself */
    answer_fault(r, &kept);
    finish(r, &kept);
}

bool kl_op_ok(struct kl_op *op, enum kl_code code)
{
    if (code == KL_OK)
        return true;
    op->err.code = code;
    kl_op_fail(op, &op->err);
    return false;
}

enum kl_code kl_op_parse_body(struct kl_op *op)
{
    size_t n;
    const char *bytes = kl_http_body(op->http, &n);
    if (n == 0 || op->body != NULL)
        return KL_OK;
    enum kl_code code = kl_json_parse(bytes, n, &op->body, &op->err);
    if (code == KL_OK && !json_is_object(op->body))
        code = kl_fail(&op->err, KL_BAD_INPUT, "body", "The request body must be a JSON object");
    return code;
}

enum kl_code kl_op_need_body(struct kl_op *op)
{
    enum kl_code code = kl_op_parse_body(op);
    if (code == KL_OK && op->body == NULL)
        code = kl_fail(&op->err, KL_BAD_INPUT, "body", "The request needs a body");
    return code;
}

void kl_op_reply_bundle(struct kl_op *op)
{
    struct kl_buf json = KL_BUF_INIT(KL_ANSWER_CEILING);
    kl_wire_put_bundle(&json, &op->origin, op->vault, op->key);
    kl_op_reply_buf(op, 200, &json);
}

struct handed {
    struct kl_op *op;
    kl_op_handler *handler;
};

static void run_handed(void *arg)
{
    struct handed h = *(struct handed *)arg;
    free(arg);
    h.handler(h.op);
}

static void to_job(struct kl_op *op, enum kl_job_kind kind, kl_op_handler *handler)
{
    no_longer_expected(kl_request_of(op)); /* a job may take its time */
    struct handed *h = malloc(sizeof *h);
    if (h != NULL) {
        *h = (struct handed){.op = op, .handler = handler};
        if (kl_jobs_add(op->service->jobs, kind, run_handed, h))
            return;
        free(h);
    }
    (void)kl_fail(&op->err, KL_THROTTLED, "jobs", "Too many operations are waiting");
    kl_op_fail(op, &op->err);
}

void kl_op_to_job(struct kl_op *op, kl_op_handler *handler)
{
    to_job(op, op->route->run == KL_RUN_READ ? KL_JOB_READ : KL_JOB_ANY, handler);
}

void kl_op_to_token_job(struct kl_op *op, kl_op_handler *handler)
{
    to_job(op, KL_JOB_ANY, handler);
}

enum kl_code kl_op_query(const struct kl_op *op, const char *name, char *out, size_t room,
                         struct kl_err *err)
{
    char decoded[64], value[2048];
    out[0] = 0;
    for (const char *p = kl_http_query(op->http); *p != 0;) {
        size_t len = strcspn(p, "&"), name_len = strcspn(p, "=&");
        const char *text = p + name_len + (p[name_len] == '=');
        size_t text_len = (size_t)(p + len - text);
        if (name_len < sizeof decoded) {
            if (kl_percent_decode(p, name_len, true, decoded) != KL_OK)
                return kl_fail(err, KL_BAD_INPUT, "query", "The query has a broken escape");
            if (strcasecmp(decoded, name) == 0) {
                if (text_len >= sizeof value || kl_percent_decode(text, text_len, true, value) ||
                    strlen(value) >= room)
                    return kl_fail(err, KL_BAD_INPUT, "query",
                                   "The value of query parameter %s is not valid", name);
                memcpy(out, value, strlen(value) + 1);
                return KL_OK;
            }
        }
        p += len + (p[len] == '&');
    }
    return KL_OK;
}
