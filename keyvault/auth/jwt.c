#include "keyvault/auth/jwt.h"

#include <string.h>

#define TIME_MAX INT64_C(253402300799) /* the year 9999 */

static enum kl_code invalid(struct kl_err *err, const char *what)
{
    return kl_fail(err, KL_UNAUTHENTICATED, "jwt", "Error validating token: %s", what);
}

/* The claim as a string, NULL when it is absent or something else. */
static const char *text_claim(const json_t *claims, const char *name)
{
    return json_string_value(json_object_get(claims, name));
}

/* Row of the table that the iss claim names. Read before the signature is checked, as it decides
 * whose keys may check it. */
static enum kl_code find_issuer(const json_t *claims, const struct kl_jwt_rules *rules,
                                const struct kl_jwt_issuer **ret, struct kl_err *err)
{
    const char *iss = text_claim(claims, "iss");
    const char *tid = text_claim(claims, "tid");
    for (size_t i = 0; iss != NULL && tid != NULL && i < rules->issuer_count; i++) {
        if (strcmp(rules->issuers[i].name, iss) == 0 &&
            strcmp(rules->issuers[i].tenant, tid) == 0) {
            *ret = &rules->issuers[i];
            return KL_OK;
        }
    }
    return kl_fail(err, KL_UNAUTHENTICATED, "jwt",
                   "AKV10032: Invalid issuer. Expected one of %.200s",
                   rules->issuer_count > 0 ? rules->issuers[0].name : "(none)");
}

/* A NumericDate, whole seconds only. `missing` is what absence means. */
static bool time_claim(const json_t *claims, const char *name, int64_t missing, int64_t *ret)
{
    const json_t *value = json_object_get(claims, name);
    if (value == NULL) {
        *ret = missing;
        return true;
    }
    *ret = json_integer_value(value);
    return json_is_integer(value) && *ret > 0 && *ret <= TIME_MAX;
}

static enum kl_code check_times(const json_t *claims, int64_t now, struct kl_jwt_claims *ret,
                                struct kl_err *err)
{
    int64_t issued = 0;
    if (!time_claim(claims, "exp", -1, &ret->expires) || ret->expires < 0)
        return invalid(err, "IDX10225: it has no expiration time");
    if (!time_claim(claims, "iat", -1, &issued) || issued < 0)
        return invalid(err, "it does not say when it was issued");
    if (!time_claim(claims, "nbf", 0, &ret->not_before))
        return invalid(err, "its nbf is not a time");
    if (now >= ret->expires)
        return invalid(err, "IDX10223: Lifetime validation failed. The token is expired.");
    if (ret->not_before > now + KL_JWT_SKEW_S || issued > now + KL_JWT_SKEW_S)
        return invalid(err, "IDX10222: Lifetime validation failed. The token is not yet valid.");
    if (ret->expires - issued > KL_JWT_LIFE_MAX_S)
        return invalid(err, "it lives longer than a day");
    return KL_OK;
}

/* Of two names for one thing either may be there; both only when they agree. */
static const char *either(const json_t *claims, const char *one, const char *other)
{
    const json_t *a = json_object_get(claims, one);
    const json_t *b = json_object_get(claims, other);
    if (a != NULL && b != NULL && !json_equal(a, b))
        return NULL;
    return json_string_value(a != NULL ? a : b);
}

static enum kl_code check_identity(const json_t *claims, struct kl_jwt_claims *ret,
                                   struct kl_err *err)
{
    const char *oid = text_claim(claims, "oid");
    const char *app = either(claims, "appid", "azp");
    const char *id = text_claim(claims, "uti");
    if (id == NULL)
        id = text_claim(claims, "jti");
    if (oid == NULL || !kl_uuid_valid(oid))
        return invalid(err, "its oid is not an object id");
    if (app == NULL || !kl_uuid_valid(app))
        return invalid(err, "its appid is not a client id");
    if (id != NULL && strlen(id) > KL_JWT_ID_MAX)
        return invalid(err, "its uti is too long");
    memcpy(ret->object_id, oid, sizeof ret->object_id);
    memcpy(ret->app_id, app, sizeof ret->app_id);
    if (id != NULL)
        memcpy(ret->token_id, id, strlen(id) + 1);
    return KL_OK;
}

static enum kl_code check_claims(const json_t *claims, const struct kl_jwt_rules *rules,
                                 struct kl_jwt_claims *ret, struct kl_err *err)
{
    const char *audience = text_claim(claims, "aud");
    enum kl_code code = check_times(claims, rules->now, ret, err);
    if (code != KL_OK)
        return code;
    if (audience == NULL || !rules->audience_ok(rules->arg, audience))
        return kl_fail(err, KL_UNAUTHENTICATED, "jwt",
                       "AKV10022: Invalid audience. Expected https://vault.azure.net or an origin "
                       "of this service, found: %.120s",
                       audience != NULL ? audience : "none");
    return check_identity(claims, ret, err);
}

static enum kl_code verify_opened(const struct kl_jws *jws, const struct kl_jwt_rules *rules,
                                  struct kl_jwt_claims *ret, struct kl_err *err)
{
    KL_AUTO(json) claims = NULL;
    if (kl_json_parse((const char *)jws->payload, jws->payload_len, &claims, NULL) != KL_OK ||
        !json_is_object(claims))
        return invalid(err, "its payload is not a JSON object");
    struct kl_jwt_claims found = {0};
    enum kl_code code = find_issuer(claims, rules, &found.issuer, err);
    if (code == KL_OK)
        code = kl_jws_verify(jws, found.issuer->keys, err);
    if (code == KL_OK)
        code = check_claims(claims, rules, &found, err);
    if (code == KL_OK)
        *ret = found;
    return code;
}

enum kl_code kl_jwt_verify(const char *token, size_t n, const struct kl_jwt_rules *rules,
                           struct kl_jwt_claims *ret, struct kl_err *err)
{
    struct kl_jws jws;
    enum kl_code code = kl_jws_open(token, n, &jws, err);
    if (code != KL_OK)
        return code;
    code = verify_opened(&jws, rules, ret, err);
    kl_jws_done(&jws);
    return code;
}
