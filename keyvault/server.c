#include "keyvault/request.h"

#include "base/clock.h"
#include "keyvault/limit.h"
#include "keyvault/ops.h"

#include <ctype.h>
#include <string.h>

/* Versions of the API that clients may ask for; each also with -preview or -preview.N. Fields are
 * read by name by all known clients, so nothing in the answers depends on it. */
static const char *const api_versions[] = {
    "2016-10-01", "7.0",        "7.1",        "7.2",        "7.3",
    "7.4",        "7.5",        "7.6",        "2025-06-01", "2025-07-01",
    "2026-01-01", "2026-03-01", "2026-04-01", "2026-05-01", "2026-07-01",
};
#define API_LATEST "2026-04-01"

static bool preview_suffix(const char *text)
{
    if (strncmp(text, "-preview", 8) != 0)
        return false;
    text += 8;
    if (*text == 0)
        return true;
    return *text == '.' && isdigit((unsigned char)text[1]) && text[2] == 0;
}

static enum kl_code check_api_version(struct kl_op *op)
{
    char asked[sizeof op->api_version];
    enum kl_code code = kl_op_query(op, "api-version", asked, sizeof asked, &op->err);
    if (code != KL_OK)
        return code;
    if (asked[0] == 0)
        return kl_fail(&op->err, KL_BAD_INPUT, "api-version",
                       "The query parameter api-version is required");
    for (size_t i = 0; i < KL_COUNT(api_versions); i++) {
        size_t n = strlen(api_versions[i]);
        if (strncmp(asked, api_versions[i], n) == 0 &&
            (asked[n] == 0 || preview_suffix(asked + n))) {
            memcpy(op->api_version, asked, sizeof asked);
            return KL_OK;
        }
    }
    return kl_fail(
        &op->err, KL_BAD_INPUT, "api-version",
        "The specified version (%s) is not recognized. Consider using the latest supported "
        "version (" API_LATEST ")",
        asked);
}

/* Host header -> lower-case name without port and brackets; *ret_port 0 when it names none. */
static bool parse_host(const char *header, char out[static KL_HOST_MAX + 1], unsigned *ret_port)
{
    const char *end = header + strcspn(header, ":");
    const char *start = header;
    if (header[0] == '[') {
        end = strchr(header, ']');
        if (end == NULL)
            return false;
        start++;
    }
    size_t n = (size_t)(end - start);
    if (n == 0 || n > KL_HOST_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        out[i] = (char)tolower((unsigned char)start[i]);
    out[n] = 0;
    const char *colon = strchr(end, ':');
    unsigned long port = colon != NULL ? strtoul(colon + 1, NULL, 10) : 0;
    *ret_port = port <= 65535 ? (unsigned)port : 0;
    return true;
}

/* The vault of the Host header and which of its origins was meant; else the service's own origin.
 */
static void find_vault(struct kl_op *op)
{
    char host[KL_HOST_MAX + 1];
    unsigned port;
    const char *header = kl_http_header(op->http, "Host");
    op->origin = op->service->origin;
    if (header == NULL || !parse_host(header, host, &port) ||
        kl_vault_by_host(op->service->model, host, &op->vault, NULL) != KL_OK)
        return;
    const struct kl_origin *best = NULL;
    for (size_t i = 0; i < op->vault->origin_count; i++) {
        const struct kl_origin *o = &op->vault->origins[i];
        if (strcmp(o->host, host) == 0 && (best == NULL || o->port == port))
            best = o;
    }
    if (best != NULL)
        op->origin = *best;
}

/* Only harmless characters go back into a header and into the records. */
static void take_client_request_id(struct kl_request *r)
{
    const char *id = kl_http_header(r->op.http, "x-ms-client-request-id");
    size_t n = id != NULL ? strlen(id) : 0;
    if (n == 0 || n >= sizeof r->client_request_id)
        return;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)id[i]) && strchr("-_.", id[i]) == NULL)
            return;
    memcpy(r->client_request_id, id, n + 1);
}

static void take_region(struct kl_request *r)
{
    const struct kl_vault *v = r->op.vault;
    (void)snprintf(r->region, sizeof r->region, "%.63s", v != NULL ? v->location : "default");
    for (char *p = r->region; *p != 0; p++)
        if (!isgraph((unsigned char)*p))
            *p = '-';
}

/* A vault that the row needs: by Host, or by {name}. None: kl_authorize says so, in the words that
 * do not tell it from a vault where the caller has no policy. */
static enum kl_code need_vault(struct kl_op *op)
{
    if (op->route->scope != KL_SCOPE_NAMED && op->route->scope != KL_SCOPE_NAMED_OR_NEW)
        return KL_OK;
    struct kl_vault *named = NULL;
    enum kl_code code =
        kl_vault_by_name(op->service->model, op->name, KL_STATE_ACTIVE, &named, &op->err);
    if (code != KL_OK && code != KL_VAULT_NOT_FOUND)
        return code;
    if (named != NULL && op->subscription[0] != 0 &&
        strcasecmp(named->subscription, op->subscription) != 0)
        kl_vault_unref(kl_take(named)); /* of another subscription: not there */
    kl_vault_unref(op->vault);
    op->vault = named;
    return KL_OK;
}

/* Names of the management API become parts of ids and of a Location. */
static enum kl_code check_places(struct kl_op *op)
{
    static const char others[] = "-_.() ";
    const char *const texts[] = {op->subscription, op->place};
    for (size_t i = 0; i < KL_COUNT(texts); i++)
        for (const char *p = texts[i]; *p != 0; p++)
            if (!isalnum((unsigned char)*p) && strchr(others, *p) == NULL)
                return kl_fail(&op->err, KL_BAD_INPUT, "target",
                               "The request URI names a subscription, resource group or location "
                               "with characters that none has");
    return KL_OK;
}

static enum kl_code check_target(struct kl_op *op)
{
    if (op->subscription[0] != 0)
        return check_places(op);
    if (op->route->scope != KL_SCOPE_HOST)
        return KL_OK;
    if (op->name[0] != 0 && !kl_name_valid(op->name))
        return kl_fail(&op->err, KL_BAD_INPUT, "name",
                       "The request URI contains an invalid name: %.127s", op->name);
    return check_api_version(op);
}

/* Handlers on the I/O thread read their bodies themselves, most of them without a tree. */
static enum kl_code parse_body(struct kl_op *op)
{
    const char *method = kl_http_method(op->http);
    if (op->route->run == KL_RUN_LOOP || strcmp(method, "GET") == 0 ||
        strcmp(method, "DELETE") == 0)
        return KL_OK;
    return kl_op_parse_body(op);
}

/* An access token says who is calling; without one, a certificate of the TLS handshake may. */
static enum kl_code identify(struct kl_op *op)
{
    bool trusted = false;
    struct kl_authenticator *a = op->service->authenticator;
    const char *authorization = kl_http_header(op->http, "Authorization");
    X509 *certificate =
        authorization == NULL ? kl_http_client_certificate(op->http, &trusted) : NULL;
    return certificate != NULL
               ? kl_authenticate_certificate(a, certificate, trusted, &op->caller, &op->err)
               : kl_authenticate(a, authorization, &op->caller, &op->err);
}

/* Everything between the wire and the handler. A caller without a token learns nothing but the
 * challenge: not whether a path exists, not whether its body is well formed. */
static enum kl_code admit(struct kl_request *r)
{
    struct kl_op *op = &r->op;
    struct kl_route_match match;
    struct kl_err route_err = {.code = KL_OK};
    enum kl_code routed =
        kl_route_find(kl_http_method(op->http), kl_http_path(op->http), &match, &route_err);
    if (routed == KL_OK) {
        op->route = match.route;
        r->route_index = match.index;
        memcpy(op->name, match.name, sizeof op->name);
        memcpy(op->version, match.version, sizeof op->version);
        memcpy(op->subscription, match.subscription, sizeof op->subscription);
        memcpy(op->place, match.place, sizeof op->place);
        if (op->route->scope == KL_SCOPE_OPEN)
            return KL_OK;
    }
    enum kl_code code = identify(op);
    if (code != KL_OK)
        return code;
    if (routed != KL_OK) {
        op->err = route_err;
        if (routed == KL_BAD_METHOD)
            memcpy(r->allow, match.allow, sizeof r->allow);
        return routed;
    }
    code = need_vault(op);
    if (code == KL_OK)
        code = kl_authorize(&op->caller, op->route->scope, op->route->permission, op->vault,
                            op->route->audit, &op->err);
    if (code == KL_OK)
        code = kl_limit_request(op->service->limits, op, &r->wait_ms, &op->err);
    if (code == KL_OK)
        code = check_target(op);
    return code == KL_OK ? parse_body(op) : code;
}

bool kl_server_vouch(const char *authorization, void *arg)
{
    const struct kl_service *service = arg;
    struct kl_caller caller;
    return kl_authenticate(service->authenticator, authorization, &caller, NULL) == KL_OK;
}

void kl_server_handle(struct kl_http_request *http, void *arg)
{
    struct kl_request *r = calloc(1, sizeof *r);
    if (r == NULL) {
        kl_http_reply(http, 503, NULL, 0, "", 0);
        return;
    }
    r->op.http = http;
    r->op.service = arg;
    r->route_index = KL_NO_ROUTE_INDEX;
    r->op.started_ms = kl_clock_mono_ms();
    kl_uuid_new(r->op.request_id);
    find_vault(&r->op);
    take_client_request_id(r);
    take_region(r);
    if (!kl_op_ok(&r->op, admit(r)))
        return;
    if (r->op.route->run != KL_RUN_LOOP) {
        kl_op_to_job(&r->op, r->op.route->handler);
        return;
    }
    r->expected = true;
    kl_audit_log_expect(r->op.service->audit, 1);
    r->op.route->handler(&r->op);
}
