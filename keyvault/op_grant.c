/* The token endpoints: client credentials in a form, in HTTP Basic or in a managed identity's
 * header; an access token out. Runs on the I/O threads; the signature is awaited by a callback. */
#include "keyvault/op_admin.h"

#include "keyvault/auth/assertion.h"
#include "keyvault/auth/form.h"
#include "keyvault/auth/issuer.h"

#include "base/log.h"

#include <string.h>

#define ANSWER_MAX 32768
#define JSON_TYPE  "application/json; charset=utf-8"

enum field {
    GRANT_TYPE,
    CLIENT_ID,
    CLIENT_SECRET,
    ASSERTION_TYPE,
    ASSERTION,
    SCOPE,
    RESOURCE,
    FIELDS
};

/* One request for a token. */
struct grant {
    struct kl_form_field fields[FIELDS];
    char audience[KL_AUDIENCE_MAX];
    bool identity; /* answer as a managed-identity endpoint does */
    struct kl_op *op;
};

/* An OAuth 2.0 error (RFC 6749 section 5.2) with the numbers that MSAL and az print. */
struct refusal {
    int status;
    const char *error;
    int number;
    const char *text;
};

static const struct refusal bad_client = {
    401, "invalid_client", 7000215,
    "Invalid client secret provided, or no such client in this tenant."};
static const struct refusal bad_scope = {400, "invalid_scope", 70011,
                                         "The scope or resource is not one of this service."};
static const struct refusal bad_grant = {400, "unsupported_grant_type", 70003,
                                         "Only client_credentials is supported."};
static const struct refusal bad_tenant = {400, "invalid_request", 90002,
                                          "This service has one tenant, and not this one."};
static const struct refusal bad_form = {400, "invalid_request", 90014,
                                        "The request is malformed or lacks a required field."};
static const struct refusal no_secret = {401, "invalid_client", 7000218,
                                         "The request must contain a client_secret or a "
                                         "client_assertion."};
static const struct refusal expired_secret = {
    401, "invalid_client", 7000222,
    "The client secret has expired; 'kluis principal credential reset' makes a new one."};
static const struct refusal bad_assertion = {
    401, "invalid_client", 700027,
    "The client assertion is not valid; the service's log says why, under this Trace ID."};
static const struct refusal used_assertion = {401, "invalid_client", 700030,
                                              "The client assertion was used before."};
static const struct refusal too_many = {
    429, "temporarily_unavailable", 50196,
    "Too many failed attempts of this client; wait ten minutes."};
static const struct refusal no_token = {
    503, "temporarily_unavailable", 90033,
    "The service cannot sign a token at the moment. Try again."};

static void grant_free(struct grant *g)
{
    kl_form_done(g->fields, FIELDS);
    free(g);
}

KL_AUTO_DEFINE(grant, struct grant, grant_free);

static struct grant *grant_new(struct kl_op *op, bool identity)
{
    struct grant *g = calloc(1, sizeof *g);
    if (g == NULL)
        return NULL;
    g->fields[GRANT_TYPE].name = "grant_type";
    g->fields[CLIENT_ID].name = "client_id";
    g->fields[CLIENT_SECRET].name = "client_secret";
    g->fields[ASSERTION_TYPE].name = "client_assertion_type";
    g->fields[ASSERTION].name = "client_assertion";
    g->fields[SCOPE].name = "scope";
    g->fields[RESOURCE].name = "resource";
    g->identity = identity;
    g->op = op;
    return g;
}

static void refuse(struct kl_op *op, const struct refusal *r)
{
    if (op->err.text[0] != 0)
        kl_log(KL_LOG_INFO, "token refused request=%s peer=%s: %s", op->request_id,
               kl_http_peer(op->http), op->err.text);
    kl_admin_reply(
        op, r->status,
        json_pack("{s:s, s:o, s:[i], s:s, s:s}", "error", r->error, "error_description",
                  json_sprintf("AADSTS%d: %s Trace ID: %s", r->number, r->text, op->request_id),
                  "error_codes", r->number, "trace_id", op->request_id, "correlation_id",
                  op->request_id));
}

/* --- what was asked --- */

static bool is_form(const struct kl_op *op)
{
    static const char type[] = "application/x-www-form-urlencoded";
    const char *given = kl_http_header(op->http, "Content-Type");
    return given != NULL && strncasecmp(given, type, sizeof type - 1) == 0 &&
           strchr("; ", given[sizeof type - 1]) != NULL;
}

static const struct refusal *read_form(struct grant *g)
{
    size_t n = 0;
    const void *body = kl_http_body(g->op->http, &n);
    if (!is_form(g->op) || kl_form_parse(n > 0 ? body : "", n, g->fields, FIELDS, NULL) != KL_OK)
        return &bad_form;
    return NULL;
}

/* Credentials in the Authorization header take the place of those in the form; a client must not
 * send both (RFC 6749 section 2.3). */
static const struct refusal *read_basic(struct grant *g)
{
    struct kl_secret *id = NULL;
    struct kl_secret *secret = NULL;
    const char *authorization = kl_http_header(g->op->http, "Authorization");
    if (authorization == NULL)
        return NULL;
    if (g->fields[CLIENT_SECRET].value != NULL ||
        kl_form_basic(authorization, &id, &secret, NULL) != KL_OK)
        return &bad_form;
    kl_secret_free(g->fields[CLIENT_ID].value);
    g->fields[CLIENT_ID].value = id;
    g->fields[CLIENT_SECRET].value = secret;
    return NULL;
}

/* "CLIENT_ID:SECRET" in the header that the SDKs fill from IDENTITY_HEADER or MSI_SECRET. A
 * client_id beside it asks for a certain identity, so it must be this one. */
static const struct refusal *read_identity_header(struct grant *g, const char *name)
{
    struct kl_secret *id = NULL;
    struct kl_secret *secret = NULL;
    const char *value = kl_http_header(g->op->http, name);
    if (value == NULL)
        return &no_secret;
    if (kl_form_split_pair(value, strlen(value), false, &id, &secret, NULL) != KL_OK)
        return &bad_client;
    const char *wanted = kl_form_text(&g->fields[CLIENT_ID]);
    bool same = wanted[0] == 0 || strcasecmp(wanted, (const char *)kl_secret_bytes(id)) == 0;
    kl_secret_free(g->fields[CLIENT_ID].value);
    kl_secret_free(g->fields[CLIENT_SECRET].value);
    g->fields[CLIENT_ID].value = id;
    g->fields[CLIENT_SECRET].value = secret;
    return same ? NULL : &bad_client;
}

static const struct refusal *read_query(struct grant *g, enum field field)
{
    char value[KL_AUDIENCE_MAX];
    struct kl_form_field *f = &g->fields[field];
    if (kl_op_query(g->op, f->name, value, sizeof value, NULL) != KL_OK)
        return &bad_form;
    if (value[0] == 0)
        return NULL;
    f->value = kl_secret_new(sizeof value);
    return f->value != NULL && kl_secret_append(f->value, value, strlen(value)) == KL_OK
               ? NULL
               : &no_token;
}

static const struct refusal *read_audience(struct grant *g)
{
    const struct kl_authenticator *a = g->op->service->authenticator;
    bool is_scope = g->fields[SCOPE].value != NULL;
    const char *text = kl_form_text(&g->fields[is_scope ? SCOPE : RESOURCE]);
    if (text[0] == 0)
        return &bad_form;
    return kl_issuer_audience(a, text, is_scope, g->audience, NULL) == KL_OK ? NULL : &bad_scope;
}

/* --- the answer --- */

static enum kl_code put_answer(const struct grant *g, const struct kl_issued *issued,
                               struct kl_secret *out)
{
    struct kl_buf head = KL_BUF_INIT(ANSWER_MAX);
    kl_buf_puts(&head, "{\"token_type\":\"Bearer\",");
    if (g->identity)
        kl_buf_printf(&head,
                      "\"expires_in\":\"%lld\",\"expires_on\":\"%lld\",\"resource\":\"%s\","
                      "\"client_id\":\"%s\",",
                      (long long)issued->expires_in, (long long)issued->expires, g->audience,
                      g->op->caller.app_id);
    else
        kl_buf_printf(&head, "\"expires_in\":%lld,\"ext_expires_in\":%lld,",
                      (long long)issued->expires_in, (long long)issued->expires_in);
    kl_buf_puts(&head, "\"access_token\":\"");
    enum kl_code code = kl_buf_failed(&head) ? KL_NO_MEMORY : KL_OK;
    if (code == KL_OK)
        code = kl_secret_append(out, head.bytes, head.len);
    if (code == KL_OK)
        code = kl_secret_append(out, kl_secret_bytes(issued->token), kl_secret_len(issued->token));
    if (code == KL_OK)
        code = kl_secret_append(out, "\"}", 2);
    kl_buf_done(&head);
    return code;
}

static void issued(void *arg, const struct kl_issued *issued_token, const struct kl_err *err)
{
    KL_AUTO(grant) g = arg;
    KL_AUTO(secret) answer = kl_secret_new(ANSWER_MAX);
    struct kl_op *op = g->op;
    if (issued_token == NULL || answer == NULL || put_answer(g, issued_token, answer) != KL_OK) {
        op->err = *err;
        refuse(op, &no_token);
        return;
    }
    kl_op_reply_bytes(op, 200, JSON_TYPE, kl_secret_bytes(answer), kl_secret_len(answer));
}

/* The client is who it says it is: the audit record names it from here on. */
static void set_caller(struct kl_op *op, const struct kl_principal *who, enum kl_login how)
{
    op->caller.authenticated = true;
    op->caller.who = *who;
    op->caller.method = kl_issuer_login_word((int)how);
    memcpy(op->caller.app_id, who->client_id, sizeof op->caller.app_id);
}

static const struct refusal *check_assertion(struct grant *g, struct kl_principal *ret)
{
    struct kl_op *op = g->op;
    if (g->fields[CLIENT_SECRET].value != NULL ||
        strcmp(kl_form_text(&g->fields[ASSERTION_TYPE]), KL_ASSERTION_TYPE) != 0)
        return &bad_form;
    switch (kl_issuer_check_assertion(
        op->service->authenticator, kl_form_text(&g->fields[CLIENT_ID]),
        kl_form_text(&g->fields[ASSERTION]), &op->origin, kl_http_peer(op->http), ret, &op->err)) {
    case KL_OK:
        return NULL;
    case KL_THROTTLED:
        return &too_many;
    case KL_EXISTS:
        return &used_assertion;
    default:
        return &bad_assertion;
    }
}

static const struct refusal *check_client(struct grant *g, struct kl_principal *ret)
{
    struct kl_op *op = g->op;
    const char *client_id = kl_form_text(&g->fields[CLIENT_ID]);
    if (g->fields[ASSERTION].value != NULL)
        return check_assertion(g, ret);
    if (client_id[0] == 0)
        return &bad_form;
    if (g->fields[CLIENT_SECRET].value == NULL)
        return &no_secret;
    if (kl_uuid_valid(client_id))
        memcpy(op->caller.app_id, client_id, sizeof op->caller.app_id);
    switch (kl_issuer_check_client(op->service->authenticator, client_id,
                                   g->fields[CLIENT_SECRET].value, kl_http_peer(op->http), ret,
                                   &op->err)) {
    case KL_OK:
        return NULL;
    case KL_THROTTLED:
        return &too_many;
    case KL_KEY_EXPIRED:
        return &expired_secret;
    default:
        return &bad_client;
    }
}

/* Everything is read: check and sign. Takes g. */
static void decide(struct grant *taken, const struct refusal *fault)
{
    KL_AUTO(grant) g = taken;
    struct kl_op *op = g->op;
    struct kl_principal who;
    if (fault == NULL)
        fault = check_client(g, &who);
    if (fault == NULL)
        fault = read_audience(g);
    if (fault != NULL) {
        refuse(op, fault);
        return;
    }
    enum kl_login how = g->fields[ASSERTION].value != NULL ? KL_LOGIN_ASSERTION : KL_LOGIN_SECRET;
    set_caller(op, &who, how);
    if (kl_issuer_issue(op->service->authenticator, &who, how, g->audience, issued, g, &op->err) !=
        KL_OK) {
        refuse(op, &no_token);
        return;
    }
    g = NULL; /* the callback has it now, and may have freed it already */
}

static void grant_form(struct kl_op *op, bool any_tenant)
{
    struct grant *g = grant_new(op, false);
    if (g == NULL) {
        refuse(op, &no_token);
        return;
    }
    const struct refusal *fault = read_form(g);
    if (fault == NULL && strcmp(kl_form_text(&g->fields[GRANT_TYPE]), "client_credentials") != 0)
        fault = &bad_grant;
    if (fault == NULL)
        fault = read_basic(g);
    if (fault == NULL && !any_tenant &&
        strcasecmp(op->name, kl_issuer_tenant(op->service->authenticator)) != 0)
        fault = &bad_tenant;
    decide(g, fault);
}

void kl_op_token_tenant(struct kl_op *op)
{
    grant_form(op, false);
}

void kl_op_token_adfs(struct kl_op *op)
{
    grant_form(op, true);
}

/* Both forms of App Service: 2019-08-01, and with Secret 2017-09-01, which az 2.45 speaks (seen).
 */
void kl_op_identity_get(struct kl_op *op)
{
    static const char now[] = "X-IDENTITY-HEADER";
    struct grant *g = grant_new(op, true);
    if (g == NULL) {
        refuse(op, &no_token);
        return;
    }
    const struct refusal *fault = read_query(g, RESOURCE);
    if (fault == NULL)
        fault = read_query(g, CLIENT_ID);
    if (fault == NULL)
        fault = read_identity_header(g, kl_http_header(op->http, now) != NULL ? now : "Secret");
    decide(g, fault);
}

void kl_op_identity_post(struct kl_op *op)
{
    struct grant *g = grant_new(op, true);
    if (g == NULL) {
        refuse(op, &no_token);
        return;
    }
    const struct refusal *fault = read_form(g);
    if (fault == NULL)
        fault = read_identity_header(g, "Secret");
    decide(g, fault);
}
