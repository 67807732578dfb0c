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
    a->replays = kl_replays_new();
    a->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (a->own_keys == NULL || a->cache == NULL || a->failures == NULL || a->replays == NULL ||
        a->sha256 == NULL)
        return kl_fail(err, KL_NO_MEMORY, "authenticator", "out of memory");
    a->own = (struct kl_jwt_issuer){.name = a->issuer, .tenant = a->tenant, .keys = a->own_keys};
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
    a->failover = config->failover;
    if (code == KL_OK)
        code = kl_issuers_new(config->issuers, config->issuer_count, &a->others, err);
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
    kl_issuers_free(a->others);
    kl_jwks_free(a->own_keys);
    kl_token_cache_free(a->cache);
    kl_failures_free(a->failures);
    kl_replays_free(a->replays);
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
    return !kl_vault_has_manager(vault, NULL);
}

/* One text for "no such vault" and "no policy there" (`vault` NULL): names of vaults cannot be
 * probed. */
static enum kl_code forbid_vault(const struct kl_caller *caller, enum kl_permission permission,
                                 const struct kl_vault *vault, struct kl_err *err)
{
    const char *issuer = caller->issuer != NULL ? caller->issuer : "";
    if (vault == NULL)
        return kl_fail(err, KL_FORBIDDEN, "authorize",
                       "The user, group or application 'appid=%s;oid=%s;numgroups=%u;iss=%.120s' "
                       "was not found on any access policy of this key vault",
                       caller->app_id, caller->who.object_id, caller->group_count, issuer);
    const char *kind = kl_permission_kind_word(kl_permission_kind_of(permission));
    const char *word = kl_permission_word(permission);
    if (vault->rbac)
        return kl_fail(err, KL_FORBIDDEN_RBAC, "authorize",
                       "Caller is not authorized to perform action on resource. Caller: "
                       "appid=%s;oid=%s;iss=%.80s Action: '%s/%s' Resource: '%s' Assignment: (not "
                       "found) DecisionReason: 'DeniedWithNoValidRBAC'",
                       caller->app_id, caller->who.object_id, issuer, kind, word, vault->name);
    return kl_fail(err, KL_FORBIDDEN, "authorize",
                   "The user, group or application 'appid=%s;oid=%s;numgroups=%u;iss=%.80s' does "
                   "not have %s %s permission on key vault '%s'",
                   caller->app_id, caller->who.object_id, caller->group_count, issuer, kind, word,
                   vault->name);
}

static enum kl_code authorize_vault(const struct kl_caller *caller, enum kl_permission permission,
                                    const struct kl_vault *vault, struct kl_err *err)
{
    bool administrator = (caller->who.roles & KL_ROLE_ADMINISTRATOR) != 0;
    if (vault == NULL && administrator)
        return kl_fail(err, KL_VAULT_NOT_FOUND, "authorize", "There is no such vault");
    struct kl_policy rights;
    bool any = vault != NULL && kl_rights_of(vault, caller, &rights);
    if (any && kl_policy_allows(&rights, permission))
        return KL_OK;
    if (vault != NULL && is_orphan_rescue(caller, permission, vault))
        return KL_OK;
    return forbid_vault(caller, permission, any ? vault : NULL, err);
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
    case KL_SCOPE_NAMED_OR_NEW:
        return vault == NULL && (caller->who.roles & KL_ROLE_ADMINISTRATOR) != 0
                   ? KL_OK
                   : authorize_vault(caller, permission, vault, err);
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
