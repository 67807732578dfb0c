/* Bearer tokens: from a header value to a caller. */
#include "base/clock.h"
#include "keyvault/auth/issuer.h"
#include "keyvault/auth/parts.h"

#include <string.h>

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

static enum kl_code unknown_or_disabled(struct kl_err *err)
{
    return kl_fail(err, KL_UNAUTHENTICATED, "authenticate",
                   "Error validating token: the principal is unknown or disabled");
}

/* The finder also knows names; a token must mean the object id. */
static bool find_by_object_id(const struct kl_authenticator *a, const char *object_id,
                              struct kl_principal *ret)
{
    return kl_principal_find(a->model, object_id, ret, NULL) == KL_OK &&
           strcmp(ret->object_id, object_id) == 0;
}

static enum kl_code own_caller(const struct kl_authenticator *a, const struct kl_jwt_claims *claims,
                               struct kl_caller *c, struct kl_err *err)
{
    if (!find_by_object_id(a, claims->object_id, &c->who) || c->who.disabled ||
        c->who.issuer[0] != 0 || strcmp(c->who.client_id, claims->app_id) != 0)
        return unknown_or_disabled(err);
    return KL_OK;
}

static enum kl_code add_groups(const struct kl_authenticator *a, const struct kl_jwt_claims *claims,
                               struct kl_caller *c, struct kl_err *err)
{
    for (size_t i = 0; i < claims->group_count; i++) {
        struct kl_principal group;
        if (!find_by_object_id(a, claims->groups[i], &group) || group.disabled ||
            group.kind != KL_PRINCIPAL_GROUP ||
            strcmp(group.issuer, claims->issuer->registered) != 0)
            continue;
        if (c->group_count == KL_CALLER_GROUPS_MAX)
            return kl_fail(err, KL_UNAUTHENTICATED, "authenticate",
                           "Error validating token: it names more than %d groups that are known "
                           "here",
                           KL_CALLER_GROUPS_MAX);
        memcpy(c->groups[c->group_count++], group.object_id, sizeof group.object_id);
    }
    return KL_OK;
}

/* Somebody of whom nothing is known here may still be in a group that is. An id that belongs to
 * another issuer, or to a principal of our own, is not his to use. */
static enum kl_code external_caller(const struct kl_authenticator *a,
                                    const struct kl_jwt_claims *claims, struct kl_caller *c,
                                    struct kl_err *err)
{
    bool known = find_by_object_id(a, claims->object_id, &c->who);
    if (known && (c->who.disabled || c->who.kind == KL_PRINCIPAL_GROUP ||
                  strcmp(c->who.issuer, claims->issuer->registered) != 0))
        return unknown_or_disabled(err);
    if (!known) {
        c->who = (struct kl_principal){.kind = KL_PRINCIPAL_USER};
        memcpy(c->who.object_id, claims->object_id, sizeof c->who.object_id);
        memcpy(c->who.client_id, claims->app_id, sizeof c->who.client_id);
        (void)snprintf(c->who.issuer, sizeof c->who.issuer, "%s", claims->issuer->registered);
    }
    return add_groups(a, claims, c, err);
}

const char *kl_issuer_login_word(int how)
{
    return how == KL_LOGIN_SECRET ? "secret" : how == KL_LOGIN_ASSERTION ? "assertion" : "bearer";
}

static enum kl_code make_caller(const struct kl_authenticator *a,
                                const struct kl_jwt_claims *claims, struct kl_caller *ret,
                                struct kl_err *err)
{
    struct kl_caller c = {.authenticated = true,
                          .issuer = claims->issuer->name,
                          .method = claims->issuer->registered != NULL
                                        ? "issuer"
                                        : kl_issuer_login_word(claims->login),
                          .expires = claims->expires};
    memcpy(c.app_id, claims->app_id, sizeof c.app_id);
    memcpy(c.token_id, claims->token_id, sizeof claims->token_id);
    enum kl_code code = claims->issuer->registered == NULL ? own_caller(a, claims, &c, err)
                                                           : external_caller(a, claims, &c, err);
    if (code == KL_OK)
        *ret = c;
    return code;
}

static enum kl_code verify(struct kl_authenticator *a, const char *token, size_t n, int64_t now,
                           struct kl_caller *ret, struct kl_err *err)
{
    struct kl_jwt_rules rules = {.own = &a->own, .audience_ok = audience_ok, .arg = a, .now = now};
    struct kl_jwt_claims claims;
    rules.others = kl_issuers_lock(a->others, &rules.other_count);
    enum kl_code code = kl_jwt_verify(token, n, &rules, &claims, err);
    kl_issuers_unlock(a->others);
    if (code == KL_OK)
        return make_caller(a, &claims, ret, err);
    if (rules.other_count > 0 && err != NULL && strstr(err->text, "AKV10046") != NULL)
        kl_issuers_look_again(a->others);
    return code;
}

enum kl_code kl_authenticate(struct kl_authenticator *a, const char *authorization,
                             struct kl_caller *ret, struct kl_err *err)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    const char *token = bearer_token(authorization);
    if (token == NULL)
        return kl_fail(err, KL_UNAUTHENTICATED, "authenticate",
                       "AKV10000: Request is missing a Bearer or PoP token.");
    size_t n = strlen(token);
    if (n > KL_JWS_MAX)
        return kl_fail(err, KL_UNAUTHENTICATED, "jwt", "Error validating token: it is too long");
    if (EVP_Digest(token, n, digest, NULL, a->sha256, NULL) != 1)
        return kl_fail_ossl(err, "EVP_Digest", "cannot hash the token");
    /* Read first: what is changed meanwhile makes what is found now worth nothing. */
    uint64_t generation = kl_principal_generation(a->model) + kl_issuers_generation(a->others);
    int64_t now = kl_clock_unix();
    if (kl_token_cache_get(a->cache, digest, generation, now, ret))
        return KL_OK;
    struct kl_caller caller;
    enum kl_code code = verify(a, token, n, now, &caller, err);
    if (code != KL_OK)
        return code;
    kl_token_cache_put(a->cache, digest, generation, &caller);
    *ret = caller;
    return KL_OK;
}

bool kl_authenticator_knows(const struct kl_authenticator *a, const char *issuer)
{
    return kl_issuers_find(a->others, issuer) != NULL;
}

enum kl_code kl_authenticator_subject_id(const struct kl_authenticator *a, const char *issuer,
                                         const char *subject, char ret[static KL_UUID_LEN + 1],
                                         struct kl_err *err)
{
    const char *iss = issuer != NULL ? kl_issuers_find(a->others, issuer) : NULL;
    if (iss == NULL)
        return kl_fail(err, KL_BAD_INPUT, "issuer",
                       "a subject needs the name of an [issuer NAME] of the configuration");
    return kl_jwt_derive_id(iss, subject, ret, err);
}
