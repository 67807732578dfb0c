#include "keyvault/auth/jwks.h"

#include "base/encoding.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <string.h>

#define BITS_MIN 2048
#define BITS_MAX 4096

struct kl_jwks {
    size_t count;
    struct {
        char kid[KL_KID_MAX + 1];
        EVP_PKEY *key;
    } keys[KL_JWKS_MAX_KEYS];
};

KL_AUTO_DEFINE(bignum, BIGNUM, BN_free);
KL_AUTO_DEFINE(pkey, EVP_PKEY, EVP_PKEY_free);
KL_AUTO_DEFINE(pkey_ctx, EVP_PKEY_CTX, EVP_PKEY_CTX_free);
KL_AUTO_DEFINE(param_bld, OSSL_PARAM_BLD, OSSL_PARAM_BLD_free);
KL_AUTO_DEFINE(params, OSSL_PARAM, OSSL_PARAM_free);

struct kl_jwks *kl_jwks_new(void)
{
    return calloc(1, sizeof(struct kl_jwks));
}

void kl_jwks_free(struct kl_jwks *set)
{
    if (set == NULL)
        return;
    for (size_t i = 0; i < set->count; i++)
        EVP_PKEY_free(set->keys[i].key);
    free(set);
}

/* Whether n mod p is a power of 65537 mod p. */
static bool is_power_of_f4(BN_ULONG residue, BN_ULONG p)
{
    BN_ULONG power = 1;
    do {
        if (power == residue)
            return true;
        power = power * (65537 % p) % p;
    } while (power != 1);
    return false;
}

/* Keys of the broken Infineon library have primes k*M + 65537^a mod M, so their modulus is a power
 * of 65537 modulo every small prime; an honest key passes all of these by chance once in 2^27.
 * Source: Nemec et al., "The Return of Coppersmith's Attack", CCS 2017. */
static bool has_roca_fingerprint(const BIGNUM *n)
{
    static const BN_ULONG primes[] = {
        3,  5,  7,  11, 13, 17,  19,  23,  29,  31,  37,  41,  43,  47,  53,  59,  61,  67,  71,
        73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167};
    for (size_t i = 0; i < KL_COUNT(primes); i++)
        if (!is_power_of_f4(BN_mod_word(n, primes[i]), primes[i]))
            return false;
    return true;
}

static enum kl_code check_key(EVP_PKEY *key, struct kl_err *err)
{
    KL_AUTO(bignum) n = NULL;
    KL_AUTO(bignum) e = NULL;
    if (!EVP_PKEY_is_a(key, "RSA"))
        return kl_fail(err, KL_BAD_INPUT, "jwks", "not an RSA key");
    if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n) != 1 ||
        EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) != 1)
        return kl_fail_ossl(err, "EVP_PKEY_get_bn_param", "the key lacks its public half");
    int bits = BN_num_bits(n);
    if (bits < BITS_MIN || bits > BITS_MAX || !BN_is_odd(n))
        return kl_fail(err, KL_BAD_INPUT, "jwks", "an RSA key of %d bits is not accepted", bits);
    if (!BN_is_odd(e) || BN_is_one(e) || BN_num_bits(e) > 32)
        return kl_fail(err, KL_BAD_INPUT, "jwks", "the RSA exponent is not accepted");
    if (has_roca_fingerprint(n))
        return kl_fail(err, KL_BAD_INPUT, "jwks", "the RSA key is of the breakable ROCA kind");
    return KL_OK;
}

enum kl_code kl_jwks_add(struct kl_jwks *set, const char *kid, EVP_PKEY *key, struct kl_err *err)
{
    size_t n = strlen(kid);
    if (n == 0 || n > KL_KID_MAX)
        return kl_fail(err, KL_BAD_INPUT, "jwks", "a key id has 1 to %d characters", KL_KID_MAX);
    if (kl_jwks_find(set, kid) != NULL)
        return kl_fail(err, KL_EXISTS, "jwks", "two keys have the same key id");
    if (set->count == KL_JWKS_MAX_KEYS)
        return kl_fail(err, KL_TOO_BIG, "jwks", "more than %d keys", KL_JWKS_MAX_KEYS);
    enum kl_code code = check_key(key, err);
    if (code != KL_OK)
        return code;
    if (EVP_PKEY_up_ref(key) != 1)
        return kl_fail_ossl(err, "EVP_PKEY_up_ref", "cannot keep the key");
    memcpy(set->keys[set->count].kid, kid, n + 1);
    set->keys[set->count++].key = key;
    return KL_OK;
}

EVP_PKEY *kl_jwks_find(const struct kl_jwks *set, const char *kid)
{
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->keys[i].kid, kid) == 0)
            return set->keys[i].key;
    return NULL;
}

/* A JWK's big number (RFC 7518 section 2: unpadded base64url, unsigned, big-endian). */
static enum kl_code read_number(const json_t *jwk, const char *name, BIGNUM **ret,
                                struct kl_err *err)
{
    unsigned char bytes[BITS_MAX / 8];
    size_t len = 0;
    const char *text = json_string_value(json_object_get(jwk, name));
    if (text == NULL || strchr(text, '=') != NULL ||
        kl_b64url_decode(text, strlen(text), bytes, sizeof bytes, &len) != KL_OK || len == 0)
        return kl_fail(err, KL_BAD_INPUT, "jwks", "member %s of a key is missing or malformed",
                       name);
    *ret = BN_bin2bn(bytes, (int)len, NULL);
    return *ret != NULL ? KL_OK : kl_fail_ossl(err, "BN_bin2bn", "cannot read a key");
}

static enum kl_code read_rsa(const json_t *jwk, EVP_PKEY **ret, struct kl_err *err)
{
    KL_AUTO(bignum) n = NULL;
    KL_AUTO(bignum) e = NULL;
    KL_AUTO(param_bld) builder = OSSL_PARAM_BLD_new();
    KL_AUTO(params) params = NULL;
    KL_AUTO(pkey_ctx) ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    enum kl_code code = read_number(jwk, "n", &n, err);
    if (code == KL_OK)
        code = read_number(jwk, "e", &e, err);
    if (code != KL_OK)
        return code;
    if (builder != NULL && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        params = OSSL_PARAM_BLD_to_param(builder);
    if (ctx == NULL || params == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, ret, EVP_PKEY_PUBLIC_KEY, params) != 1)
        return kl_fail_ossl(err, "EVP_PKEY_fromdata", "cannot read a key");
    return KL_OK;
}

/* Absent, or a string of exactly this value. */
static bool absent_or(const json_t *jwk, const char *name, const char *value)
{
    const json_t *member = json_object_get(jwk, name);
    return member == NULL ||
           (json_is_string(member) && strcmp(json_string_value(member), value) == 0);
}

/* key_ops, when there, must contain "verify" (RFC 7517 section 4.3). */
static bool ops_allow_verify(const json_t *jwk)
{
    const json_t *ops = json_object_get(jwk, "key_ops");
    size_t i;
    const json_t *op;
    json_array_foreach(ops, i, op) if (json_is_string(op) &&
                                       strcmp(json_string_value(op), "verify") == 0) return true;
    return ops == NULL;
}

static enum kl_code parse_one(struct kl_jwks *set, const json_t *jwk, struct kl_err *err)
{
    const char *kty = json_string_value(json_object_get(jwk, "kty"));
    if (kty == NULL)
        return kl_fail(err, KL_BAD_INPUT, "jwks", "a key has no kty");
    if (strcmp(kty, "oct") == 0)
        return kl_fail(err, KL_BAD_INPUT, "jwks", "a set of public keys holds a symmetric key");
    if (strcmp(kty, "RSA") != 0 || !absent_or(jwk, "alg", "RS256") ||
        !absent_or(jwk, "use", "sig") || !ops_allow_verify(jwk))
        return KL_OK;
    const char *kid = json_string_value(json_object_get(jwk, "kid"));
    if (kid == NULL)
        return kl_fail(err, KL_BAD_INPUT, "jwks", "a key has no kid");
    KL_AUTO(pkey) key = NULL;
    enum kl_code code = read_rsa(jwk, &key, err);
    return code == KL_OK ? kl_jwks_add(set, kid, key, err) : code;
}

/* The same kid on two keys makes "the key of this kid" ambiguous even when one of them is of no use
 * here. */
static bool kids_differ(const json_t *keys)
{
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const json_t *kid = json_object_get(json_array_get(keys, i), "kid");
        for (size_t k = 0; kid != NULL && k < i; k++)
            if (json_equal(kid, json_object_get(json_array_get(keys, k), "kid")))
                return false;
    }
    return true;
}

enum kl_code kl_jwks_parse(const json_t *document, struct kl_jwks **ret, struct kl_err *err)
{
    const json_t *keys = json_object_get(document, "keys");
    if (!json_is_array(keys) || json_array_size(keys) > KL_JWKS_MAX_KEYS)
        return kl_fail(err, KL_BAD_INPUT, "jwks", "not a JWK set of at most %d keys",
                       KL_JWKS_MAX_KEYS);
    if (!kids_differ(keys))
        return kl_fail(err, KL_BAD_INPUT, "jwks", "two keys have the same key id");
    KL_AUTO(jwks) set = kl_jwks_new();
    if (set == NULL)
        return kl_fail(err, KL_NO_MEMORY, "jwks", "out of memory");
    size_t i;
    const json_t *jwk;
    json_array_foreach(keys, i, jwk)
    {
        enum kl_code code = parse_one(set, jwk, err);
        if (code != KL_OK)
            return code;
    }
    *ret = kl_take(set);
    return KL_OK;
}

static json_t *number_text(EVP_PKEY *key, const char *name)
{
    KL_AUTO(bignum) number = NULL;
    unsigned char bytes[BITS_MAX / 8];
    struct kl_buf text = KL_BUF_INIT(KL_B64URL_LEN(sizeof bytes) + 1);
    if (EVP_PKEY_get_bn_param(key, name, &number) != 1)
        return NULL;
    kl_b64url_put(&text, bytes, (size_t)BN_bn2bin(number, bytes));
    json_t *value = json_string(kl_buf_text(&text));
    kl_buf_done(&text);
    return value;
}

json_t *kl_jwks_format(const struct kl_jwks *set)
{
    json_t *keys = json_array();
    for (size_t i = 0; i < set->count; i++)
        (void)json_array_append_new(
            keys, json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "kty", "RSA", "use", "sig", "alg",
                            "RS256", "kid", set->keys[i].kid, "n",
                            number_text(set->keys[i].key, OSSL_PKEY_PARAM_RSA_N), "e",
                            number_text(set->keys[i].key, OSSL_PKEY_PARAM_RSA_E)));
    return json_pack("{s:o}", "keys", keys);
}
