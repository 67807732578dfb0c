#include "keyvault/alg.h"

#include <string.h>

#define OAEP(text, alg, hash, len)                                                                 \
    {                                                                                              \
        .name = (text), .token = (alg), .use = KL_USE_CIPHER, .type = KL_KEY_RSA,                  \
        .digest = (hash), .digest_len = (len)                                                      \
    }
#define RSA_SIGNATURE(text, alg, hash, len, is_pss)                                                \
    {                                                                                              \
        .name = (text), .token = (alg), .use = KL_USE_SIGNATURE, .type = KL_KEY_RSA,               \
        .digest = (hash), .digest_len = (len), .pss = (is_pss)                                     \
    }
#define EC_SIGNATURE(text, alg, hash, len, on)                                                     \
    {                                                                                              \
        .name = (text), .token = (alg), .use = KL_USE_SIGNATURE, .type = KL_KEY_EC, .curve = (on), \
        .digest = (hash), .digest_len = (len)                                                      \
    }

static const struct kl_api_alg algs[] = {
    OAEP("RSA-OAEP-256", KL_ALG_OAEP_SHA256, "SHA256", 32),
    OAEP("RSA-OAEP", KL_ALG_OAEP_SHA1, "SHA1", 20),
    OAEP("RSA-OAEP-384", KL_ALG_OAEP_SHA384, "SHA384", 48),
    OAEP("RSA-OAEP-512", KL_ALG_OAEP_SHA512, "SHA512", 64),
    OAEP("RSA1_5", KL_ALG_RSA15, "SHA1", 20),
    RSA_SIGNATURE("RS256", KL_ALG_RS256, "SHA256", 32, false),
    RSA_SIGNATURE("RS384", KL_ALG_RS384, "SHA384", 48, false),
    RSA_SIGNATURE("RS512", KL_ALG_RS512, "SHA512", 64, false),
    RSA_SIGNATURE("PS256", KL_ALG_PS256, "SHA256", 32, true),
    RSA_SIGNATURE("PS384", KL_ALG_PS384, "SHA384", 48, true),
    RSA_SIGNATURE("PS512", KL_ALG_PS512, "SHA512", 64, true),
    EC_SIGNATURE("ES256", KL_ALG_ES256, "SHA256", 32, KL_CURVE_P256),
    EC_SIGNATURE("ES384", KL_ALG_ES384, "SHA384", 48, KL_CURVE_P384),
    EC_SIGNATURE("ES512", KL_ALG_ES512, "SHA512", 64, KL_CURVE_P521),
};

static const struct {
    const char *name;
    size_t bytes;
} curves[] = {
    [KL_CURVE_NONE] = {"", 0},
    [KL_CURVE_P256] = {"P-256", 32},
    [KL_CURVE_P384] = {"P-384", 48},
    [KL_CURVE_P521] = {"P-521", 66},
};

const struct kl_api_alg *kl_alg_find(const char *name)
{
    for (size_t i = 0; i < KL_COUNT(algs); i++)
        if (strcmp(algs[i].name, name) == 0)
            return &algs[i];
    return NULL;
}

const struct kl_api_alg *kl_alg_at(size_t index)
{
    return index < KL_COUNT(algs) ? &algs[index] : NULL;
}

/* A token that was never up has no capabilities yet; then the call itself will tell. */
static bool known_missing(const struct kl_token_caps *caps, enum kl_token_alg alg)
{
    return caps->algs != 0 && (caps->algs & (UINT32_C(1) << alg)) == 0;
}

static enum kl_code check_fit(const struct kl_api_alg *alg, enum kl_alg_use use,
                              const struct kl_key_version *key, struct kl_err *err)
{
    if (alg->use != use)
        return kl_fail(err, KL_BAD_INPUT, "alg", "Algorithm '%s' cannot be used for this operation",
                       alg->name);
    if (alg->token == KL_ALG_NONE)
        return kl_fail(err, KL_BAD_INPUT, "alg", "Algorithm '%s' is not supported on this vault",
                       alg->name);
    const char *type = key->type == KL_KEY_EC ? "EC" : "RSA";
    if (alg->type != key->type)
        return kl_fail(err, KL_ALG_MISMATCH, "alg",
                       "Key and %s algorithm are incompatible. The key is of type '%s', and "
                       "algorithm '%s' can only be used with a key of type '%s' or '%s-HSM'",
                       use == KL_USE_CIPHER ? "encryption" : "signing", type, alg->name,
                       alg->type == KL_KEY_EC ? "EC" : "RSA",
                       alg->type == KL_KEY_EC ? "EC" : "RSA");
    if (alg->curve != key->curve)
        return kl_fail(err, KL_ALG_MISMATCH, "alg",
                       "Key and signing algorithm are incompatible. The key is on curve '%s', and "
                       "algorithm '%s' can only be used with curve '%s'",
                       kl_curve_name(key->curve), alg->name, kl_curve_name(alg->curve));
    return KL_OK;
}

enum kl_code kl_alg_for_key(const char *name, enum kl_alg_use use, const struct kl_key_version *key,
                            const struct kl_api_alg **ret, struct kl_err *err)
{
    const struct kl_api_alg *alg = kl_alg_find(name);
    if (alg == NULL)
        return kl_fail(err, KL_BAD_INPUT, "alg", "Algorithm '%.40s' is not known", name);
    enum kl_code code = check_fit(alg, use, key, err);
    if (code != KL_OK)
        return code;
    *ret = alg;
    return KL_OK;
}

enum kl_code kl_alg_on_token(const struct kl_api_alg *alg, const struct kl_key_version *key,
                             struct kl_err *err)
{
    struct kl_token_status status;
    bool able = false;
    if (key->token == NULL && key->home_count == 0)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "token", "The token is not configured");
    for (size_t i = 0; i < key->home_count && !able; i++)
        if (key->homes[i].token != NULL) {
            kl_token_status(key->homes[i].token, &status);
            able = !known_missing(&status.caps, alg->token);
        }
    if (key->home_count == 0) {
        kl_token_status(key->token, &status);
        able = !known_missing(&status.caps, alg->token);
    }
    if (!able)
        return kl_fail(err, KL_BAD_INPUT, "alg",
                       "Algorithm '%s' is not supported by the token of this key", alg->name);
    return KL_OK;
}

enum kl_code kl_alg_token_fits(const struct kl_key_spec *spec, const struct kl_token_caps *caps,
                               struct kl_err *err)
{
    if (caps->algs == 0)
        return KL_OK;
    if (spec->type == KL_KEY_EC) {
        if (!caps->curves_ok[spec->curve])
            return kl_fail(err, KL_BAD_INPUT, "create",
                           "The token of this vault cannot make EC keys on curve %s",
                           kl_curve_name(spec->curve));
        return KL_OK;
    }
    if (!caps->rsa_bits_ok[spec->bits / 1024 - 2])
        return kl_fail(err, KL_BAD_INPUT, "create",
                       "The token of this vault cannot make RSA keys of %u bits", spec->bits);
    const uint32_t oaep = UINT32_C(1) << KL_ALG_OAEP_SHA1 | UINT32_C(1) << KL_ALG_OAEP_SHA256;
    if (spec->may_decrypt && (caps->algs & oaep) == 0)
        return kl_fail(err, KL_BAD_INPUT, "create",
                       "The token of this vault supports neither RSA-OAEP nor RSA-OAEP-256");
    return KL_OK;
}

size_t kl_alg_max_plain(const struct kl_api_alg *alg, uint32_t bits)
{
    size_t modulus = bits / 8;
    size_t taken = alg->token == KL_ALG_RSA15 ? 11 : 2 * alg->digest_len + 2;
    return modulus > taken ? modulus - taken : 0;
}

size_t kl_alg_signature_len(const struct kl_key_version *key)
{
    return key->type == KL_KEY_EC ? 2 * kl_curve_bytes(key->curve) : key->bits / 8;
}

size_t kl_curve_bytes(enum kl_curve curve)
{
    return curves[curve].bytes;
}

const char *kl_curve_name(enum kl_curve curve)
{
    return curves[curve].name;
}

enum kl_curve kl_curve_find(const char *name)
{
    for (size_t i = KL_CURVE_P256; i < KL_COUNT(curves); i++)
        if (strcmp(curves[i].name, name) == 0)
            return (enum kl_curve)i;
    return KL_CURVE_NONE;
}
