#include "keyvault/audit.h"

#include "base/clock.h"
#include "keyvault/auth/origin.h"
#include "keyvault/model/event.h"
#include "keyvault/wire.h"

#include <ctype.h>
#include <string.h>

#define TEXT_MAX 256 /* bytes kept of what a client may choose freely */

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {202, "Accepted"},
    {204, "No Content"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {409, "Conflict"},
    {413, "Request Entity Too Large"},
    {429, "Too Many Requests"},
    {500, "Internal Server Error"},
    {503, "Service Unavailable"},
};

static const char *reason_of(int status)
{
    for (size_t i = 0; i < KL_COUNT(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Other";
}

static void put_text(struct kl_buf *out, const char *text)
{
    kl_buf_put_json(out, text, strnlen(text, TEXT_MAX));
}

static void put_member(struct kl_buf *out, const char *head, const char *text)
{
    kl_buf_puts(out, head);
    put_text(out, text);
}

static void put_resource(struct kl_buf *out, const struct kl_vault *vault)
{
    char id[TEXT_MAX] = "";
    if (vault != NULL)
        (void)snprintf(id, sizeof id, "/SUBSCRIPTIONS/%.160s/VAULTS/%s", vault->subscription,
                       vault->name);
    for (char *p = id; *p != 0; p++)
        *p = (char)toupper((unsigned char)*p);
    put_member(out, ",\"resourceId\":", id);
}

static void put_identity(struct kl_buf *out, const struct kl_caller *caller)
{
    kl_buf_puts(out, ",\"identity\":{");
    if (caller->authenticated) {
        put_member(out, "\"claim\":{\"oid\":", caller->who.object_id);
        put_member(out, ",\"appid\":", caller->app_id);
        put_member(out, ",\"iss\":", caller->issuer != NULL ? caller->issuer : "");
        put_member(out, ",\"uti\":", caller->token_id);
        put_member(out, ",\"method\":", caller->method != NULL ? caller->method : "");
        kl_buf_putc(out, '}');
    }
    kl_buf_putc(out, '}');
}

/* The exact version where the operation reached one, else what the path says. */
static void put_object(struct kl_buf *out, const struct kl_op *op)
{
    struct kl_buf id = KL_BUF_INIT(1024);
    kl_origin_put(&id, &op->origin);
    if (op->key != NULL) {
        kl_buf_puts(&id, "/keys/");
        kl_buf_puts(&id, op->key->name);
        kl_buf_putc(&id, '/');
        kl_buf_puts(&id, op->key->version);
    } else if (op->exact[0] != 0) {
        kl_buf_putc(&id, '/');
        kl_buf_puts(&id, op->exact);
    } else {
        kl_buf_puts(&id, kl_http_path(op->http));
    }
    kl_buf_puts(out, "\"id\":");
    kl_buf_put_json(out, kl_buf_text(&id), id.len < 2 * TEXT_MAX ? id.len : 2 * TEXT_MAX);
    kl_buf_done(&id);
}

/* The query is left out but for api-version: clients may put anything there. */
static void put_request_uri(struct kl_buf *out, const struct kl_op *op)
{
    struct kl_buf uri = KL_BUF_INIT(8192);
    const char *path = kl_http_path(op->http);
    kl_origin_put(&uri, &op->origin);
    kl_buf_put(&uri, path, strnlen(path, 2 * TEXT_MAX));
    if (op->api_version[0] != 0) {
        kl_buf_puts(&uri, "?api-version=");
        kl_buf_puts(&uri, op->api_version);
    }
    kl_buf_puts(out, ",\"requestUri\":");
    kl_buf_put_json(out, kl_buf_text(&uri), uri.len);
    kl_buf_done(&uri);
}

static void put_properties(struct kl_buf *out, const struct kl_request *r)
{
    const struct kl_op *op = &r->op;
    const char *agent = kl_http_header(op->http, "User-Agent");
    kl_buf_puts(out, ",\"properties\":{");
    put_object(out, op);
    put_member(out, ",\"clientInfo\":", agent != NULL ? agent : "");
    put_request_uri(out, op);
    put_member(out, ",\"httpMethod\":", kl_http_method(op->http));
    kl_buf_printf(out, ",\"httpStatusCode\":%d", r->status);
    put_member(out, ",\"requestId\":", op->request_id);
    put_member(out, ",\"tlsVersion\":", kl_http_tls_version(op->http));
    if (op->key != NULL && op->key->origin != KL_ORIGIN_MADE)
        put_member(out, ",\"keyOrigin\":", kl_wire_origin(op->key->origin));
    if (r->fault != KL_OK)
        put_member(out, ",\"cause\":", kl_code_name(r->fault));
    kl_buf_putc(out, '}');
}

void kl_audit_put(struct kl_buf *out, const struct kl_request *r, const char *message,
                  int64_t duration_ms)
{
    const struct kl_op *op = &r->op;
    bool challenge = r->status == 401;
    char time[32];
    kl_clock_iso(kl_clock_unix_ms(), time);
    put_member(out, "\"time\":", time);
    put_resource(out, op->vault);
    put_member(out, ",\"operationName\":",
               challenge || op->route == NULL ? "Authentication" : op->route->audit);
    put_member(out, ",\"operationVersion\":", op->api_version);
    kl_buf_puts(out, ",\"category\":\"AuditEvent\",\"resultType\":\"Success\"");
    put_member(out, ",\"resultSignature\":", reason_of(r->status));
    put_member(out, ",\"resultDescription\":", message);
    kl_buf_printf(out, ",\"durationMs\":\"%lld\"", (long long)duration_ms);
    put_member(out, ",\"callerIpAddress\":", kl_http_peer(op->http));
    put_member(out, ",\"correlationId\":",
               r->client_request_id[0] != 0 ? r->client_request_id : op->request_id);
    put_identity(out, &op->caller);
    put_properties(out, r);
}

void kl_audit_put_event(struct kl_buf *out, const struct kl_event *e)
{
    const struct kl_event_name *name = kl_event_name(e->type);
    struct kl_buf id = KL_BUF_INIT(1024);
    char time[32];
    kl_clock_iso(e->time_ms, time);
    if (e->vault->origin_count > 0)
        kl_wire_put_id(&id, &e->vault->origins[0], name->collection, e->name, e->version);
    put_member(out, "\"time\":", time);
    put_resource(out, e->vault);
    put_member(out, ",\"operationName\":", name->audit);
    kl_buf_puts(out, ",\"operationVersion\":\"\",\"category\":\"AuditEvent\","
                     "\"resultType\":\"Success\",\"resultSignature\":\"OK\","
                     "\"resultDescription\":\"\",\"durationMs\":\"0\",\"callerIpAddress\":\"\"");
    put_member(out, ",\"correlationId\":", e->id);
    kl_buf_puts(out, ",\"identity\":{},\"properties\":{\"id\":");
    kl_buf_put_json(out, kl_buf_text(&id), id.len);
    kl_buf_done(&id);
    put_member(out, ",\"requestId\":", e->id);
    if (e->attrs.has_exp)
        kl_buf_printf(out, ",\"exp\":%lld", (long long)e->attrs.exp);
    kl_buf_putc(out, '}');
}
