#include "tests/token/keys.h"

#include "base/encoding.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <openssl/ecdsa.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

struct kl_key_spec keys_rsa(uint32_t bits, enum kl_profile profile, bool decrypt, bool sign)
{
    return (struct kl_key_spec){.type = KL_KEY_RSA,
                                .bits = bits,
                                .profile = profile,
                                .may_decrypt = decrypt,
                                .may_sign = sign,
                                .label = "test rsa"};
}

struct kl_key_spec keys_ec(enum kl_curve curve, enum kl_profile profile)
{
    return (struct kl_key_spec){.type = KL_KEY_EC,
                                .curve = curve,
                                .profile = profile,
                                .may_sign = true,
                                .label = "test ec"};
}

enum kl_code keys_generate(struct kl_token *t, const struct kl_key_spec *spec, struct test_key *ret,
                           struct kl_err *err)
{
    KL_AUTO(secret) out = NULL;
    *ret = (struct test_key){.spec = *spec};
    kl_random(ret->ref.id, sizeof ret->ref.id);
    struct kl_token_request req = {.call = KL_CALL_GENERATE, .key = ret->ref, .spec = *spec};
    enum kl_code code = kl_token_call(t, &req, &out, NULL, err);
    if (code != KL_OK)
        return code;
    ret->spki_len = kl_secret_len(out);
    assert_true(ret->spki_len <= sizeof ret->spki);
    memcpy(ret->spki, kl_secret_bytes(out), ret->spki_len);
    kl_spki_hash(ret->spki, ret->spki_len, ret->ref.spki_hash);
    return KL_OK;
}

static const EVP_MD *md_of(enum kl_token_alg alg)
{
    switch (alg) {
    case KL_ALG_OAEP_SHA1:
        return EVP_sha1();
    case KL_ALG_OAEP_SHA384:
    case KL_ALG_RS384:
    case KL_ALG_PS384:
    case KL_ALG_ES384:
        return EVP_sha384();
    case KL_ALG_OAEP_SHA512:
    case KL_ALG_RS512:
    case KL_ALG_PS512:
    case KL_ALG_ES512:
        return EVP_sha512();
    default:
        return EVP_sha256();
    }
}

static EVP_PKEY *public_of(const struct test_key *k)
{
    const uint8_t *der = k->spki;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &der, (long)k->spki_len);
    assert_non_null(key);
    return key;
}

size_t keys_encrypt(const struct test_key *k, enum kl_token_alg alg, const void *plain, size_t n,
                    uint8_t out[static 512])
{
    size_t len = 512;
    EVP_PKEY *key = public_of(k);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    assert_true(EVP_PKEY_encrypt_init(ctx) > 0);
    assert_true(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) > 0);
    assert_true(EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md_of(alg)) > 0);
    assert_true(EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md_of(alg)) > 0);
    assert_true(EVP_PKEY_encrypt(ctx, out, &len, plain, n) > 0);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    return len;
}

enum kl_code keys_decrypt(struct kl_token *t, const struct test_key *k, enum kl_token_alg alg,
                          const uint8_t *cipher, size_t n, uint8_t *out, size_t *ret_len,
                          struct kl_err *err)
{
    KL_AUTO(secret) plain = NULL;
    struct kl_token_request req = {
        .call = KL_CALL_DECRYPT, .alg = alg, .key = k->ref, .input = cipher, .input_len = n};
    enum kl_code code = kl_token_call(t, &req, &plain, NULL, err);
    if (code != KL_OK)
        return code;
    *ret_len = kl_secret_len(plain);
    memcpy(out, kl_secret_bytes(plain), *ret_len);
    return KL_OK;
}

enum kl_code keys_round_trip(struct kl_token *t, const struct test_key *k, enum kl_token_alg alg,
                             struct kl_err *err)
{
    uint8_t plain[32], cipher[512], back[512];
    size_t got = 0;
    kl_random(plain, sizeof plain);
    size_t n = keys_encrypt(k, alg, plain, sizeof plain, cipher);
    enum kl_code code = keys_decrypt(t, k, alg, cipher, n, back, &got, err);
    if (code == KL_OK) {
        assert_int_equal(got, sizeof plain);
        assert_memory_equal(back, plain, sizeof plain);
    }
    return code;
}

static size_t to_der(const uint8_t *rs, size_t n, uint8_t *der)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    uint8_t *p = der;
    int half = (int)n / 2;
    assert_int_equal(
        ECDSA_SIG_set0(sig, BN_bin2bn(rs, half, NULL), BN_bin2bn(rs + half, half, NULL)), 1);
    int len = i2d_ECDSA_SIG(sig, &p);
    ECDSA_SIG_free(sig);
    assert_true(len > 0);
    return (size_t)len;
}

static bool verify(const struct test_key *k, enum kl_token_alg alg, const uint8_t *digest,
                   const uint8_t *sig, size_t n)
{
    const EVP_MD *md = md_of(alg);
    uint8_t der[256];
    EVP_PKEY *key = public_of(k);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    assert_true(EVP_PKEY_verify_init(ctx) > 0);
    assert_true(EVP_PKEY_CTX_set_signature_md(ctx, md) > 0);
    if (alg >= KL_ALG_ES256) {
        n = to_der(sig, n, der);
        sig = der;
    } else if (alg >= KL_ALG_PS256) {
        assert_true(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) > 0);
        assert_true(EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) > 0);
    }
    bool good = EVP_PKEY_verify(ctx, sig, n, digest, (size_t)EVP_MD_get_size(md)) == 1;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    return good;
}

enum kl_code keys_sign(struct kl_token *t, const struct test_key *k, enum kl_token_alg alg,
                       bool *ret_good, struct kl_err *err)
{
    KL_AUTO(secret) sig = NULL;
    uint8_t digest[64];
    kl_random(digest, sizeof digest);
    struct kl_token_request req = {.call = KL_CALL_SIGN,
                                   .alg = alg,
                                   .key = k->ref,
                                   .input = digest,
                                   .input_len = (size_t)EVP_MD_get_size(md_of(alg))};
    enum kl_code code = kl_token_call(t, &req, &sig, NULL, err);
    if (code == KL_OK)
        *ret_good = verify(k, alg, digest, kl_secret_bytes(sig), kl_secret_len(sig));
    return code;
}

enum kl_code keys_simple(struct kl_token *t, enum kl_token_call call, const struct test_key *k,
                         struct kl_err *err)
{
    struct kl_token_request req = {.call = call, .key = k->ref, .spec = k->spec};
    return kl_token_call(t, &req, NULL, NULL, err);
}
