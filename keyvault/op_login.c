/* An administrator hands a token its PIN (pin-source = prompt). The token that waits may be the one
 * that signs access tokens, so client credentials are taken beside a Bearer token. The PIN comes in
 * a form, whose values go from the request's wiped buffers into locked memory, and from there
 * straight to the worker. */
#include "keyvault/op_admin.h"
#include "keyvault/ops.h"

#include "keyvault/auth/form.h"
#include "keyvault/auth/issuer.h"

#include <string.h>

#define WAIT_MS 25000 /* below the 30 s of the command line's exchange */

enum field { CLIENT_ID, CLIENT_SECRET, PIN, FIELDS };

static enum kl_code check_client(struct kl_op *op, const struct kl_form_field *fields)
{
    struct kl_principal who;
    const char *client_id = kl_form_text(&fields[CLIENT_ID]);
    if (!kl_uuid_valid(client_id) || fields[CLIENT_SECRET].value == NULL)
        return kl_fail(&op->err, KL_UNAUTHENTICATED, "login",
                       "The form needs client_id and client_secret of an administrator");
    memcpy(op->caller.app_id, client_id, sizeof op->caller.app_id);
    enum kl_code code =
        kl_issuer_check_client(op->service->authenticator, client_id, fields[CLIENT_SECRET].value,
                               kl_http_peer(op->http), &who, &op->err);
    if (code == KL_OK) {
        op->caller.authenticated = true;
        op->caller.who = who;
        op->caller.method = kl_issuer_login_word(KL_LOGIN_SECRET);
    }
    return code == KL_OK || code == KL_THROTTLED
               ? code
               : kl_fail(&op->err, KL_UNAUTHENTICATED, "login",
                         "Invalid client secret provided, or no such client");
}

static enum kl_code authorize(struct kl_op *op, const struct kl_form_field *fields)
{
    const char *authorization = kl_http_header(op->http, "Authorization");
    enum kl_code code =
        authorization != NULL
            ? kl_authenticate(op->service->authenticator, authorization, &op->caller, &op->err)
            : check_client(op, fields);
    return code == KL_OK ? kl_authorize(&op->caller, KL_SCOPE_ADMIN, KL_MAY_NOTHING, NULL,
                                        op->route->audit, &op->err)
                         : code;
}

static enum kl_code read_form(struct kl_op *op, struct kl_form_field *fields)
{
    static const char type[] = "application/x-www-form-urlencoded";
    const char *given = kl_http_header(op->http, "Content-Type");
    size_t n = 0;
    const void *body = kl_http_body(op->http, &n);
    if (given == NULL || strncasecmp(given, type, sizeof type - 1) != 0)
        return kl_fail(&op->err, KL_BAD_INPUT, "login", "The body must be a form (%s)", type);
    return kl_form_parse(n > 0 ? body : "", n, fields, FIELDS, &op->err);
}

static struct kl_token *token_named(const struct kl_op *op)
{
    for (size_t i = 0; i < op->service->token_count; i++)
        if (strcmp(op->service->tokens[i]->name, op->name) == 0)
            return op->service->tokens[i];
    return NULL;
}

/* On a job thread, as it waits for the token. */
static void hand_over(struct kl_op *op)
{
    KL_AUTO(secret) pin = op->state;
    struct kl_token *token = token_named(op);
    op->state = NULL;
    enum kl_code code =
        token != NULL ? kl_token_login(token, pin, WAIT_MS, &op->err)
                      : kl_fail(&op->err, KL_NOT_FOUND, "token", "There is no token of this name");
    kl_secret_free(kl_take(pin)); /* before the answer is on its way */
    if (code == KL_TOKEN_PIN)     /* the caller's doing, no reason to come again */
        code = op->err.code = KL_CONFLICT;
    if (kl_op_ok(op, code))
        kl_op_token_get(op);
}

void kl_op_token_login(struct kl_op *op)
{
    struct kl_form_field fields[FIELDS] = {
        {.name = "client_id"}, {.name = "client_secret"}, {.name = "pin"}};
    enum kl_code code = read_form(op, fields);
    if (code == KL_OK)
        code = authorize(op, fields);
    if (code == KL_OK && fields[PIN].value == NULL)
        code = kl_fail(&op->err, KL_BAD_INPUT, "login", "The form needs a pin");
    if (code == KL_OK)
        op->state = kl_take(fields[PIN].value);
    kl_form_done(fields, FIELDS);
    if (kl_op_ok(op, code))
        kl_op_to_job(op, hand_over);
}
