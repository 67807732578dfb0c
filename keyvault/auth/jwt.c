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

static bool is_of(const struct kl_jwt_issuer *issuer, const char *iss, const char *tid)
{
    bool tenant_fits = issuer->tenant == NULL || (tid != NULL && strcmp(issuer->tenant, tid) == 0);
    return strcmp(issuer->name, iss) == 0 && tenant_fits;
}

/* Row of the table that the iss claim names. Read before the signature is checked, as it decides
 * whose keys may check it. */
static enum kl_code find_issuer(const json_t *claims, const struct kl_jwt_rules *rules,
                                const struct kl_jwt_issuer **ret, struct kl_err *err)
{
    const char *iss = text_claim(claims, "iss");
    const char *tid = text_claim(claims, "tid");
    *ret = NULL;
    if (iss != NULL && is_of(rules->own, iss, tid))
        *ret = rules->own;
    for (size_t i = 0; iss != NULL && *ret == NULL && i < rules->other_count; i++)
        if (is_of(&rules->others[i], iss, tid))
            *ret = &rules->others[i];
    return *ret != NULL
               ? KL_OK
               : kl_fail(err, KL_UNAUTHENTICATED, "jwt",
                         "AKV10032: Invalid issuer. Expected one of %.200s", rules->own->name);
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

enum kl_code kl_jwt_derive_id(const char *issuer, const char *subject,
                              char ret[static KL_UUID_LEN + 1], struct kl_err *err)
{
    static const char label[] = "kluis subject 1";
    uint8_t digest[EVP_MAX_MD_SIZE];
    char hex[33];
    if (kl_uuid_valid(subject)) {
        for (size_t i = 0; i <= KL_UUID_LEN; i++)
            ret[i] = (char)(subject[i] >= 'A' && subject[i] <= 'F' ? subject[i] + 32 : subject[i]);
        return KL_OK;
    }
    struct kl_buf text = KL_BUF_INIT(KL_JWS_MAX);
    kl_buf_put(&text, label, sizeof label);
    kl_buf_put(&text, issuer, strlen(issuer) + 1);
    kl_buf_puts(&text, subject);
    bool ok = !kl_buf_failed(&text) &&
              EVP_Digest(text.bytes, text.len, digest, NULL, EVP_sha256(), NULL) == 1;
    kl_buf_done(&text);
    if (!ok)
        return kl_fail(err, KL_NO_MEMORY, "jwt", "cannot hash a subject");
    digest[6] = (uint8_t)(0x80 | (digest[6] & 0x0f));
    digest[8] = (uint8_t)(0x80 | (digest[8] & 0x3f));
    kl_hex(digest, 16, hex);
    (void)snprintf(ret, KL_UUID_LEN + 1, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
                   hex + 16, hex + 20);
    return KL_OK;
}

static enum kl_code check_own_identity(const json_t *claims, struct kl_jwt_claims *ret,
                                       struct kl_err *err)
{
    const char *oid = text_claim(claims, "oid");
    const char *app = either(claims, "appid", "azp");
    if (oid == NULL || !kl_uuid_valid(oid))
        return invalid(err, "its oid is not an object id");
    if (app == NULL || !kl_uuid_valid(app))
        return invalid(err, "its appid is not a client id");
    memcpy(ret->object_id, oid, sizeof ret->object_id);
    memcpy(ret->app_id, app, sizeof ret->app_id);
    const char *acr = text_claim(claims, "appidacr");
    ret->login = acr != NULL && strlen(acr) == 1 ? acr[0] - '0' : 0;
    return KL_OK;
}

/* A provider that has more groups than fit a token leaves them out; more than we take is the same
 * as an attack on our time. */
static enum kl_code read_groups(const json_t *claims, struct kl_jwt_claims *ret, struct kl_err *err)
{
    const json_t *groups = json_object_get(claims, "groups");
    const json_t *group;
    size_t i;
    if (groups != NULL && (!json_is_array(groups) || json_array_size(groups) > KL_JWT_GROUPS_MAX))
        return invalid(err, "its groups are not a list of at most 256");
    json_array_foreach(groups, i, group)
    {
        if (!json_is_string(group))
            return invalid(err, "its groups are not texts");
        enum kl_code code =
            kl_jwt_derive_id(ret->issuer->name, json_string_value(group), ret->groups[i], err);
        if (code != KL_OK)
            return code;
    }
    ret->group_count = json_array_size(groups);
    return KL_OK;
}

static enum kl_code check_external_identity(const json_t *claims, struct kl_jwt_claims *ret,
                                            struct kl_err *err)
{
    const char *who = text_claim(claims, ret->issuer->object_claim);
    const char *app = either(claims, "appid", "azp");
    if (who == NULL || *who == 0)
        return invalid(err, "it does not say who the caller is");
    if (app != NULL && kl_uuid_valid(app))
        memcpy(ret->app_id, app, sizeof ret->app_id);
    enum kl_code code = kl_jwt_derive_id(ret->issuer->name, who, ret->object_id, err);
    return code == KL_OK ? read_groups(claims, ret, err) : code;
}

static enum kl_code check_identity(const json_t *claims, struct kl_jwt_claims *ret,
                                   struct kl_err *err)
{
    const char *id = text_claim(claims, "uti");
    if (id == NULL)
        id = text_claim(claims, "jti");
    if (id != NULL && strlen(id) > KL_JWT_ID_MAX && ret->issuer->registered == NULL)
        return invalid(err, "its uti is too long");
    if (id != NULL)
        (void)snprintf(ret->token_id, sizeof ret->token_id, "%s", id);
    return ret->issuer->registered == NULL ? check_own_identity(claims, ret, err)
                                           : check_external_identity(claims, ret, err);
}

static bool audience_fits(const char *audience, const struct kl_jwt_rules *rules,
                          const struct kl_jwt_issuer *issuer)
{
    if (issuer->audience_count == 0)
        return rules->audience_ok(rules->arg, audience);
    for (size_t i = 0; i < issuer->audience_count; i++)
        if (strcmp(issuer->audiences[i], audience) == 0)
            return true;
    return false;
}

/* Ours have one audience. Others may have a list of them (RFC 7519 section 4.1.3). */
static bool any_audience_fits(const json_t *aud, const struct kl_jwt_rules *rules,
                              const struct kl_jwt_issuer *issuer)
{
    const json_t *one;
    size_t i;
    if (json_is_string(aud))
        return audience_fits(json_string_value(aud), rules, issuer);
    if (issuer->registered == NULL || json_array_size(aud) > 16)
        return false;
    json_array_foreach(aud, i,
                       one) if (json_is_string(one) &&
                                audience_fits(json_string_value(one), rules, issuer)) return true;
    return false;
}

static enum kl_code check_claims(const json_t *claims, const struct kl_jwt_rules *rules,
                                 struct kl_jwt_claims *ret, struct kl_err *err)
{
    const char *audience = text_claim(claims, "aud");
    enum kl_code code = check_times(claims, rules->now, ret, err);
    if (code != KL_OK)
        return code;
    if (!any_audience_fits(json_object_get(claims, "aud"), rules, ret->issuer))
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
    const struct kl_jwt_issuer *issuer;
    enum kl_code code = find_issuer(claims, rules, &issuer, err);
    if (code == KL_OK)
        code = kl_jws_verify(jws, issuer->keys, err);
    if (code != KL_OK)
        return code;
    struct kl_jwt_claims found = {.issuer = issuer};
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
