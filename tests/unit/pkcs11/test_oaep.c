/* The software OAEP decoder alone, on blocks that OpenSSL's raw RSA made from Wycheproof's
 * ciphertexts. */
#include "pkcs11/worker/oaep.h"
#include "tests/token/vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

/* c^d mod n, k bytes; false when c is no number below n of the right length. */
static bool raw_decrypt(EVP_PKEY *key, const struct oaep_vector *v, uint8_t *em, size_t k)
{
    size_t n = 512;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    bool done = v->cipher_len == k && EVP_PKEY_decrypt_init(ctx) > 0 &&
                EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) > 0 &&
                EVP_PKEY_decrypt(ctx, em, &n, v->cipher, v->cipher_len) > 0 && n == k;
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return done;
}

static void check(const struct kl_mech *m, EVP_PKEY *key, const struct oaep_vector *v)
{
    static const uint8_t zeros[512];
    size_t k = (size_t)EVP_PKEY_get_size(key), n = 99;
    uint8_t em[512], out[512];
    if (!raw_decrypt(key, v, em, k))
        return; /* never reaches the decoder */
    memset(out, 0xaa, sizeof out);
    enum kl_code code = kl_oaep_unpad(m, em, k, out, &n);
    if (code != (v->good ? KL_OK : KL_DECRYPT_FAILED))
        fail_msg("vector %d: %s", v->id, kl_code_name(code));
    assert_int_equal(ERR_peek_error(), 0);
    if (!v->good) {
        assert_int_equal(n, 99);
        assert_memory_equal(out, zeros, k);
        return;
    }
    assert_int_equal(n, v->plain_len);
    assert_memory_equal(out, v->plain, n);
}

static void test_pkcs11_oaep__every_wycheproof_vector(void **state)
{
    (void)state;
    for (size_t i = 0; i < oaep_file_count; i++) {
        struct oaep_file f;
        vectors_read(oaep_files[i].name, &f);
        const uint8_t *der = f.key;
        EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &der, (long)f.key_len);
        assert_non_null(key);
        for (size_t v = 0; v < f.count; v++)
            check(kl_mech_get(oaep_files[i].alg), key, &f.vectors[v]);
        EVP_PKEY_free(key);
        vectors_done(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pkcs11_oaep__every_wycheproof_vector)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
