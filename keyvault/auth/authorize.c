#include "keyvault/auth/origin.h"
#include "keyvault/auth/parts.h"
#include "keyvault/auth/policy.h"

#include "base/clock.h"

#include <string.h>

#define CLOUD_AUDIENCE "https://vault.azure.net"

static enum kl_code set_names(struct kl_authenticator *a, const struct kl_authenticator_config *c,
                              struct kl_err *err)
{
    enum kl_code code = kl_origin_parse(c->origin, &a->origin, err);
    if (code != KL_OK)
        return code;
    if (!kl_uuid_valid(c->tenant))
        return kl_fail(err, KL_CONFIG, "tenant", "the tenant is not a UUID");
    if (c->token_lifetime_s < 1 || c->token_lifetime_s > KL_JWT_LIFE_MAX_S)
        return kl_fail(err, KL_CONFIG, "token-lifetime", "tokens live from 1 s to 24 h");
    a->lifetime_s = c->token_lifetime_s;
    for (size_t i = 0; i <= KL_UUID_LEN; i++)
        a->tenant[i] =
            (char)(c->tenant[i] >= 'A' && c->tenant[i] <= 'F' ? c->tenant[i] + 32 : c->tenant[i]);
    struct kl_buf name = KL_BUF_INIT(sizeof a->issuer - 1);
    kl_origin_put(&name, &a->origin);
    kl_buf_printf(&name, "/%s/v2.0", a->tenant);
    bool fits = !kl_buf_failed(&name);
    (void)snprintf(a->issuer, sizeof a->issuer, "%s", kl_buf_text(&name));
    kl_buf_done(&name);
    return fits ? KL_OK : kl_fail(err, KL_CONFIG, "origin", "the service's origin is too long");
}

static enum kl_code set_keys(struct kl_authenticator *a, struct kl_key_version *key,
                             struct kl_err *err)
{
    a->issuer_key = kl_key_version_ref(key);
    kl_hex(key->ref.spki_hash, KL_SPKI_HASH_LEN, a->kid);
    a->own_keys = kl_jwks_new();
    a->cache = kl_token_cache_new();
    a->failures = kl_failures_new();
    a->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (a->own_keys == NULL || a->cache == NULL || a->failures == NULL || a->sha256 == NULL)
        return kl_fail(err, KL_NO_MEMORY, "authenticator", "out of memory");
    a->issuers[0] = (struct kl_jwt_issuer){a->issuer, a->tenant, a->own_keys};
    return kl_jwks_add(a->own_keys, a->kid, key->public_key, err);
}

enum kl_code kl_authenticator_new(const struct kl_authenticator_config *config,
                                  struct kl_authenticator **ret, struct kl_err *err)
{
    struct kl_authenticator *a = calloc(1, sizeof *a);
    if (a == NULL)
        return kl_fail(err, KL_NO_MEMORY, "authenticator", "out of memory");
    a->model = config->model;
    enum kl_code code = set_names(a, config, err);
    if (code == KL_OK)
        code = set_keys(a, config->issuer_key, err);
    if (code != KL_OK) {
        kl_authenticator_free(a);
        return code;
    }
    *ret = a;
    return KL_OK;
}

void kl_authenticator_free(struct kl_authenticator *a)
{
    if (a == NULL)
        return;
    kl_jwks_free(a->own_keys);
    kl_token_cache_free(a->cache);
    kl_failures_free(a->failures);
    EVP_MD_free(a->sha256);
    if (a->issuer_key != NULL)
        kl_key_version_unref(a->issuer_key);
    free(a);
}

bool kl_authenticator_audience_ok(const struct kl_authenticator *a, const char *audience)
{
    struct kl_vault **vaults = NULL;
    size_t count = 0;
    if (strcmp(audience, CLOUD_AUDIENCE) == 0 || strcmp(audience, CLOUD_AUDIENCE "/") == 0 ||
        kl_origin_is_audience(&a->origin, audience))
        return true;
    if (kl_vault_list(a->model, KL_STATE_ACTIVE, &vaults, &count, NULL) != KL_OK)
        return false;
    bool ok = false;
    for (size_t i = 0; i < count && !ok; i++)
        for (size_t k = 0; k < vaults[i]->origin_count && !ok; k++)
            ok = kl_origin_is_audience(&vaults[i]->origins[k], audience);
    kl_vault_list_free(vaults, count);
    return ok;
}

static bool audience_ok(void *arg, const char *audience)
{
    const struct kl_authenticator *a = arg;
    return kl_authenticator_audience_ok(a, audience);
}

/* The token behind "Bearer ", or NULL. */
static const char *bearer_token(const char *authorization)
{
    static const char scheme[] = "Bearer ";
    if (authorization == NULL || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return NULL;
    const char *token = authorization + sizeof scheme - 1;
    token += strspn(token, " ");
    return *token != 0 ? token : NULL;
}

static enum kl_code verify_cached(struct kl_authenticator *a, const char *authorization,
                                  const char *token, struct kl_jwt_claims *ret, struct kl_err *err)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    size_t n = strlen(token);
    if (n > KL_JWS_MAX)
        return kl_fail(err, KL_UNAUTHENTICATED, "jwt", "Error validating token: it is too long");
    struct kl_jwt_rules rules = {a->issuers, KL_COUNT(a->issuers), audience_ok, a, kl_clock_unix()};
    if (EVP_Digest(authorization, strlen(authorization), digest, NULL, a->sha256, NULL) != 1)
        return kl_fail_ossl(err, "EVP_Digest", "cannot hash the token");
    if (kl_token_cache_get(a->cache, digest, rules.now, ret))
        return KL_OK;
    enum kl_code code = kl_jwt_verify(token, n, &rules, ret, err);
    if (code == KL_OK)
        kl_token_cache_put(a->cache, digest, ret);
    return code;
}

enum kl_code kl_authenticate(struct kl_authenticator *a, const char *authorization,
                             struct kl_caller *ret, struct kl_err *err)
{
    const char *token = bearer_token(authorization);
    if (token == NULL)
        return kl_fail(err, KL_UNAUTHENTICATED, "authenticate",
                       "AKV10000: Request is missing a Bearer or PoP token.");
    struct kl_jwt_claims claims;
    enum kl_code code = verify_cached(a, authorization, token, &claims, err);
    if (code != KL_OK)
        return code;
    struct kl_caller caller = {.authenticated = true, .expires = claims.expires};
    /* Asked at every request, cached token or not: a principal that is removed or disabled is out
     * at once. The finder also knows names, a token must mean the object id. */
    if (kl_principal_find(a->model, claims.object_id, &caller.who, NULL) != KL_OK ||
        strcmp(caller.who.object_id, claims.object_id) != 0 ||
        strcmp(caller.who.client_id, claims.app_id) != 0 || caller.who.disabled)
        return kl_fail(err, KL_UNAUTHENTICATED, "authenticate",
                       "Error validating token: the principal is unknown or disabled");
    memcpy(caller.app_id, claims.app_id, sizeof caller.app_id);
    memcpy(caller.token_id, claims.token_id, sizeof claims.token_id);
    (void)snprintf(caller.issuer, sizeof caller.issuer, "%s", claims.issuer->name);
    *ret = caller;
    return KL_OK;
}

static enum kl_code forbid_role(const char *operation, const char *role, struct kl_err *err)
{
    return kl_fail(err, KL_FORBIDDEN, "authorize", "Operation %s needs the role %s", operation,
                   role);
}

/* A vault that nobody may set policies on any more (its last such principal was removed) would be
 * out of everyone's reach for good; an administrator may then read and set them. As long as one
 * principal has setPolicy, being administrator gives no way to a vault's data. */
static bool is_orphan_rescue(const struct kl_caller *caller, enum kl_permission permission,
                             const struct kl_vault *vault)
{
    if ((caller->who.roles & KL_ROLE_ADMINISTRATOR) == 0 ||
        (permission != KL_MAY_VAULT_SETPOLICY && permission != KL_MAY_VAULT_GETPOLICY))
        return false;
    for (size_t i = 0; i < vault->policy_count; i++)
        if (kl_policy_allows(&vault->policies[i], KL_MAY_VAULT_SETPOLICY))
            return false;
    return true;
}

static enum kl_code authorize_vault(const struct kl_caller *caller, enum kl_permission permission,
                                    const struct kl_vault *vault, struct kl_err *err)
{
    bool administrator = (caller->who.roles & KL_ROLE_ADMINISTRATOR) != 0;
    if (vault == NULL && administrator)
        return kl_fail(err, KL_VAULT_NOT_FOUND, "authorize", "There is no such vault");
    const struct kl_policy *policy =
        vault != NULL ? kl_policy_of(vault, caller->who.object_id) : NULL;
    if (policy != NULL && kl_policy_allows(policy, permission))
        return KL_OK;
    if (vault != NULL && is_orphan_rescue(caller, permission, vault))
        return KL_OK;
    /* One text for "no such vault" and "no policy there": names of vaults cannot be probed. */
    if (policy == NULL)
        return kl_fail(
            err, KL_FORBIDDEN, "authorize",
            "The user, group or application 'appid=%s;oid=%s;iss=%.120s' was not found on "
            "any access policy of this key vault",
            caller->app_id, caller->who.object_id, caller->issuer);
    return kl_fail(err, KL_FORBIDDEN, "authorize",
                   "The user, group or application 'appid=%s;oid=%s;iss=%.80s' does not have %s %s "
                   "permission on key vault '%s'",
                   caller->app_id, caller->who.object_id, caller->issuer,
                   kl_permission_kind_word(kl_permission_kind_of(permission)),
                   kl_permission_word(permission), vault->name);
}

enum kl_code kl_authorize(const struct kl_caller *caller, enum kl_scope scope,
                          enum kl_permission permission, const struct kl_vault *vault,
                          const char *operation, struct kl_err *err)
{
    if (scope == KL_SCOPE_OPEN)
        return KL_OK;
    if (!caller->authenticated)
        return kl_fail(err, KL_UNAUTHENTICATED, "authorize",
                       "AKV10000: Request is missing a Bearer or PoP token.");
    switch (scope) {
    case KL_SCOPE_OPEN:
    case KL_SCOPE_CALLER:
        return KL_OK;
    case KL_SCOPE_HOST:
    case KL_SCOPE_NAMED:
        return authorize_vault(caller, permission, vault, err);
    case KL_SCOPE_ADMIN:
        return (caller->who.roles & KL_ROLE_ADMINISTRATOR) != 0
                   ? KL_OK
                   : forbid_role(operation, "administrator", err);
    case KL_SCOPE_AUDITOR:
        return (caller->who.roles & (KL_ROLE_ADMINISTRATOR | KL_ROLE_AUDITOR)) != 0
                   ? KL_OK
                   : forbid_role(operation, "administrator or auditor", err);
    }
    return kl_fail(err, KL_FORBIDDEN, "authorize", "Operation %s has no rule", operation);
}

void kl_challenge(const struct kl_authenticator *a, const struct kl_origin *origin, char *out,
                  size_t room)
{
    struct kl_origin parent = {.port = origin->port};
    (void)snprintf(parent.host, sizeof parent.host, "%s", kl_origin_parent(origin->host));
    struct kl_buf text = KL_BUF_INIT(1024);
    kl_buf_puts(&text, "Bearer authorization=\"");
    kl_origin_put(&text, origin);
    kl_buf_printf(&text, "/%s\", resource=\"", a->tenant);
    kl_origin_put(&text, &parent);
    kl_buf_puts(&text, "\"");
    (void)snprintf(out, room, "%s", kl_buf_text(&text));
    kl_buf_done(&text);
}
