#include "keyvault/op_admin.h"

#include "keyvault/auth/issuer.h"

#include <string.h>

/* What the OpenID documents differ in. */
struct document {
    bool adfs; /* endpoints under /adfs instead of the tenant */
    const char *token, *authorize;
};

static json_t *url(const struct kl_op *op, const char *folder, const char *tail)
{
    struct kl_buf text = KL_BUF_INIT(2 * KL_AUDIENCE_MAX);
    kl_origin_put(&text, &op->origin);
    kl_buf_printf(&text, "/%s%s", folder, tail);
    json_t *value = json_string(kl_buf_text(&text));
    kl_buf_done(&text);
    return value;
}

/* The tenant may be spelled in either case; another one is not here. */
static bool is_our_tenant(struct kl_op *op)
{
    if (strcasecmp(op->name, kl_issuer_tenant(op->service->authenticator)) == 0)
        return true;
    kl_admin_reply(op, 400,
                   json_pack("{s:s, s:s, s:[i]}", "error", "invalid_tenant", "error_description",
                             "AADSTS90002: This service has one tenant, and not this one.",
                             "error_codes", 90002));
    return false;
}

/* Endpoints are given on the origin that the client used: it reached us there and trusts that name.
 * So is the issuer, since MSAL wants its host to be the one it asked; our tokens themselves always
 * say the service's own origin. MSAL refuses a document without authorization_endpoint, though
 * client credentials have no use for it; nothing answers there. Source: OpenID Connect
 * Discovery 1.0 section 3; @azure/msal-common 16.13.0, Authority: validateIssuer; Debian's
 * az 2.45.0: seen. */
static void reply_document(struct kl_op *op, const struct document *d)
{
    const struct kl_authenticator *a = op->service->authenticator;
    const char *tenant = kl_issuer_tenant(a);
    const char *folder = d->adfs ? "adfs" : tenant;
    kl_admin_reply(
        op, 200,
        json_pack("{s:o, s:o, s:o, s:o, s:[s], s:[s], s:[s], s:[sss], s:[ss], s:[s]}", "issuer",
                  url(op, tenant, "/v2.0"), "authorization_endpoint", url(op, folder, d->authorize),
                  "token_endpoint", url(op, folder, d->token), "jwks_uri",
                  url(op, tenant, "/discovery/v2.0/keys"), "response_types_supported", "token",
                  "subject_types_supported", "public", "id_token_signing_alg_values_supported",
                  "RS256", "token_endpoint_auth_methods_supported", "client_secret_post",
                  "client_secret_basic", "private_key_jwt",
                  "token_endpoint_auth_signing_alg_values_supported", "RS256", "PS256",
                  "grant_types_supported", "client_credentials"));
}

void kl_op_openid_v2(struct kl_op *op)
{
    static const struct document v2 = {false, "/oauth2/v2.0/token", "/oauth2/v2.0/authorize"};
    if (is_our_tenant(op))
        reply_document(op, &v2);
}

void kl_op_openid_v1(struct kl_op *op)
{
    static const struct document v1 = {false, "/oauth2/token", "/oauth2/authorize"};
    if (is_our_tenant(op))
        reply_document(op, &v1);
}

void kl_op_openid_adfs(struct kl_op *op)
{
    static const struct document adfs = {true, "/oauth2/token", "/oauth2/authorize"};
    reply_document(op, &adfs);
}

void kl_op_jwks(struct kl_op *op)
{
    if (is_our_tenant(op))
        kl_admin_reply(op, 200, kl_issuer_jwks(op->service->authenticator));
}
