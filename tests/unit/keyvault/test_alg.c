#include "keyvault/alg.h"

#include "keyvault/public_op.h"
#include "tests/unit/keyvault/key_support.h"

#include <string.h>

static struct kl_token *token;

static int set_up(void **state)
{
    (void)state;
    token = fake_token_new("t", "d");
    return token != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    kl_token_close(token);
    return 0;
}

static struct kl_secret *ask(enum kl_token_call call, const struct kl_api_alg *alg,
                             const struct kl_key_version *key, const void *input, size_t n)
{
    struct kl_secret *out = NULL;
    const struct kl_token_request req = {
        .call = call, .alg = alg->token, .key = key->ref, .input = input, .input_len = n};
    assert_int_equal(kl_token_call(token, &req, &out, NULL, NULL), KL_OK);
    return out;
}

/* What is encrypted here opens on the token, up to the longest plaintext, and not a byte more fits.
 */
static void check_cipher(const struct kl_api_alg *alg, struct kl_key_version *key)
{
    uint8_t plain[512] = {0}, sealed[KL_MAX_MODULUS];
    size_t n = 0, longest = kl_alg_max_plain(alg, key->bits);
    const size_t lengths[] = {1, 32, longest};
    kl_random(plain, sizeof plain);
    plain[0] = 0;
    for (size_t i = 0; i < KL_COUNT(lengths); i++) {
        assert_int_equal(kl_public_encrypt(alg, key, plain, lengths[i], sealed, &n, NULL), KL_OK);
        assert_int_equal(n, key->bits / 8);
        struct kl_secret *back = ask(KL_CALL_DECRYPT, alg, key, sealed, n);
        assert_int_equal(kl_secret_len(back), lengths[i]);
        assert_memory_equal(kl_secret_bytes(back), plain, lengths[i]);
        kl_secret_free(back);
    }
    assert_int_equal(kl_public_encrypt(alg, key, plain, longest + 1, sealed, &n, NULL),
                     KL_BAD_INPUT);
    assert_int_equal(kl_public_encrypt(alg, key, plain, 0, sealed, &n, NULL), KL_BAD_INPUT);
}

/* A signature of the token verifies here; with any part changed, or cut, it does not. */
static void check_signature(const struct kl_api_alg *alg, struct kl_key_version *key)
{
    uint8_t digest[64], signature[KL_MAX_MODULUS];
    bool valid = false;
    kl_random(digest, sizeof digest);
    struct kl_secret *made = ask(KL_CALL_SIGN, alg, key, digest, alg->digest_len);
    size_t n = kl_secret_len(made);
    assert_int_equal(n, kl_alg_signature_len(key));
    memcpy(signature, kl_secret_bytes(made), n);
    kl_secret_free(made);
    for (int twice = 0; twice < 2; twice++) { /* the second time from the cache */
        assert_int_equal(kl_public_verify(alg, key, digest, signature, n, &valid, NULL), KL_OK);
        assert_true(valid);
        signature[n - 1] ^= 1;
        assert_int_equal(kl_public_verify(alg, key, digest, signature, n, &valid, NULL), KL_OK);
        assert_false(valid);
        signature[n - 1] ^= 1;
        assert_int_equal(kl_public_verify(alg, key, digest, signature, n - 1, &valid, NULL), KL_OK);
        assert_false(valid);
    }
    digest[0] ^= 1;
    assert_int_equal(kl_public_verify(alg, key, digest, signature, n, &valid, NULL), KL_OK);
    assert_false(valid);
}

static void test_keyvault_alg__every_row_works_with_the_token(void **state)
{
    (void)state;
    const struct kl_api_alg *alg;
    struct kl_key_version *rsa[] = {key_on(token, 2048, KL_CURVE_NONE),
                                    key_on(token, 3072, KL_CURVE_NONE)};
    for (size_t i = 0; (alg = kl_alg_at(i)) != NULL; i++) {
        if (alg->token == KL_ALG_NONE)
            continue;
        struct kl_key_version *key =
            alg->type == KL_KEY_RSA ? kl_key_version_ref(rsa[i % 2]) : key_on(token, 0, alg->curve);
        if (alg->use == KL_USE_CIPHER)
            check_cipher(alg, key);
        else
            check_signature(alg, key);
        kl_key_version_unref(key);
    }
    kl_key_version_unref(rsa[0]);
    kl_key_version_unref(rsa[1]);
}

static void test_keyvault_alg__rows_are_found_by_name_and_once(void **state)
{
    (void)state;
    const struct kl_api_alg *alg;
    for (size_t i = 0; (alg = kl_alg_at(i)) != NULL; i++) {
        assert_ptr_equal(kl_alg_find(alg->name), alg);
        for (size_t k = 0; k < i; k++)
            assert_true(alg->token == KL_ALG_NONE || alg->token != kl_alg_at(k)->token);
    }
    assert_null(kl_alg_find("rsa-oaep"));
    assert_null(kl_alg_find(""));
}

static void test_keyvault_alg__fit(void **state)
{
    (void)state;
    const struct kl_api_alg *alg = NULL;
    struct kl_err err;
    struct kl_key_version *rsa = key_on(token, 2048, KL_CURVE_NONE);
    struct kl_key_version *ec = key_on(token, 0, KL_CURVE_P256);
    assert_int_equal(kl_alg_for_key("RSA-OAEP", KL_USE_CIPHER, rsa, &alg, &err), KL_OK);
    assert_int_equal(kl_alg_for_key("RSA-OAEP", KL_USE_SIGNATURE, rsa, &alg, &err), KL_BAD_INPUT);
    assert_int_equal(kl_alg_for_key("RSA-OAEP", KL_USE_CIPHER, ec, &alg, &err), KL_ALG_MISMATCH);
    assert_int_equal(kl_alg_for_key("ES256", KL_USE_SIGNATURE, rsa, &alg, &err), KL_ALG_MISMATCH);
    assert_non_null(strstr(err.text, "Key and signing algorithm are incompatible"));
    assert_int_equal(kl_alg_for_key("ES384", KL_USE_SIGNATURE, ec, &alg, &err), KL_ALG_MISMATCH);
    assert_int_equal(kl_alg_for_key("RSA1_5", KL_USE_CIPHER, rsa, &alg, &err), KL_OK);
    assert_int_equal(kl_alg_max_plain(alg, 2048), 245);
    assert_int_equal(kl_alg_for_key("RSA1_5", KL_USE_CIPHER, ec, &alg, &err), KL_ALG_MISMATCH);
    assert_int_equal(kl_alg_for_key("A256KW", KL_USE_CIPHER, rsa, &alg, &err), KL_BAD_INPUT);
    kl_key_version_unref(rsa);
    kl_key_version_unref(ec);
}

/* What the probe did not find is refused; what was never probed is not. */
static void test_keyvault_alg__token_capabilities(void **state)
{
    (void)state;
    struct kl_token_caps caps = {0};
    struct kl_err err;
    struct kl_key_version *rsa = key_on(token, 2048, KL_CURVE_NONE);
    struct kl_key_spec rsa_spec = {.type = KL_KEY_RSA, .bits = 4096, .may_decrypt = true};
    struct kl_key_spec ec_spec = {.type = KL_KEY_EC, .curve = KL_CURVE_P521};
    assert_int_equal(kl_alg_token_fits(&rsa_spec, &caps, &err), KL_OK);
    caps.algs = UINT32_C(1) << KL_ALG_RS256;
    fake_token_set_caps(token, &caps);
    assert_int_equal(kl_alg_on_token(kl_alg_find("RS256"), rsa, &err), KL_OK);
    assert_int_equal(kl_alg_on_token(kl_alg_find("RSA-OAEP-256"), rsa, &err), KL_BAD_INPUT);
    assert_int_equal(kl_alg_token_fits(&rsa_spec, &caps, &err), KL_BAD_INPUT);
    assert_int_equal(kl_alg_token_fits(&ec_spec, &caps, &err), KL_BAD_INPUT);
    caps.rsa_bits_ok[2] = 1;
    assert_int_equal(kl_alg_token_fits(&rsa_spec, &caps, &err), KL_BAD_INPUT);
    caps.algs |= UINT32_C(1) << KL_ALG_OAEP_SHA256;
    caps.curves_ok[KL_CURVE_P521] = 1;
    assert_int_equal(kl_alg_token_fits(&rsa_spec, &caps, &err), KL_OK);
    assert_int_equal(kl_alg_token_fits(&ec_spec, &caps, &err), KL_OK);
    kl_key_version_unref(rsa);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keyvault_alg__every_row_works_with_the_token),
        cmocka_unit_test(test_keyvault_alg__rows_are_found_by_name_and_once),
        cmocka_unit_test(test_keyvault_alg__fit),
        cmocka_unit_test(test_keyvault_alg__token_capabilities),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
