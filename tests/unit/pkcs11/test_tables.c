/* The tables: errors, mechanisms, quirks, settings; and the public key encoder beside OpenSSL's. */
#include "base/conf.h"
#include "base/encoding.h"
#include "pkcs11/worker/attr.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/mech.h"
#include "pkcs11/worker/quirk.h"
#include "pkcs11/worker/spki.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

static void test_pkcs11_tables__errors_have_the_class_of_the_field_reports(void **state)
{
    static const struct {
        CK_RV rv;
        enum kl_ckr_class class;
    } rows[] = {
        {CKR_OK, KL_CKR_GOOD},
        {CKR_ENCRYPTED_DATA_INVALID, KL_CKR_REQUEST},
        {CKR_GENERAL_ERROR, KL_CKR_AMBIGUOUS},
        {CKR_ARGUMENTS_BAD, KL_CKR_AMBIGUOUS},
        {CKR_FUNCTION_FAILED, KL_CKR_AMBIGUOUS},
        {CKR_DEVICE_ERROR, KL_CKR_SUSPECT},
        {CKR_VENDOR_DEFINED + 5, KL_CKR_SUSPECT},
        {0x12345, KL_CKR_SUSPECT},
        {CKR_SESSION_HANDLE_INVALID, KL_CKR_SESSION},
        {CKR_OPERATION_ACTIVE, KL_CKR_SESSION},
        {CKR_OBJECT_HANDLE_INVALID, KL_CKR_HANDLE},
        {CKR_KEY_HANDLE_INVALID, KL_CKR_HANDLE},
        {CKR_USER_NOT_LOGGED_IN, KL_CKR_HANDLE},
        {CKR_SESSION_COUNT, KL_CKR_LOAD},
        {CKR_DEVICE_REMOVED, KL_CKR_TOKEN},
        {CKR_TOKEN_NOT_PRESENT, KL_CKR_TOKEN},
        {CKR_CRYPTOKI_NOT_INITIALIZED, KL_CKR_LIBRARY},
        {CKR_PIN_INCORRECT, KL_CKR_PIN},
        {CKR_PIN_LOCKED, KL_CKR_PIN},
        {CKR_MECHANISM_PARAM_INVALID, KL_CKR_REFUSED},
        {CKR_BUFFER_TOO_SMALL, KL_CKR_OURS},
    };
    (void)state;
    for (size_t i = 0; i < KL_COUNT(rows); i++)
        assert_int_equal(kl_ckr_class(rows[i].rv), rows[i].class);
    assert_string_equal(kl_ckr_name(CKR_GENERAL_ERROR), "CKR_GENERAL_ERROR");
    assert_string_equal(kl_ckr_name(CKR_VENDOR_DEFINED | 1), "CKR_VENDOR_DEFINED");
}

static void test_pkcs11_tables__every_algorithm_has_a_row(void **state)
{
    (void)state;
    for (int alg = KL_ALG_NONE + 1; alg < KL_ALG_COUNT; alg++) {
        const struct kl_mech *m = kl_mech_get((enum kl_token_alg)alg);
        assert_non_null(m);
        assert_int_equal(m->alg, alg);
        assert_int_equal(m->digest_bytes, EVP_MD_get_size(m->md()));
    }
    assert_null(kl_mech_get(KL_ALG_NONE));
    assert_null(kl_mech_get(KL_ALG_COUNT));
}

/* RFC 8017 section 9.2: DigestInfo ::= SEQUENCE { AlgorithmIdentifier, OCTET STRING }. OpenSSL
 * parses ours as such. */
static void test_pkcs11_tables__digest_info_is_what_the_standard_says(void **state)
{
    (void)state;
    for (int alg = KL_ALG_RS256; alg <= KL_ALG_RS512; alg++) {
        const struct kl_mech *m = kl_mech_get((enum kl_token_alg)alg);
        uint8_t der[128] = {0};
        memcpy(der, m->prefix, m->prefix_bytes);
        const uint8_t *p = der;
        X509_SIG *info = d2i_X509_SIG(NULL, &p, (long)(m->prefix_bytes + m->digest_bytes));
        assert_non_null(info);
        assert_ptr_equal(p, der + m->prefix_bytes + m->digest_bytes);
        const X509_ALGOR *algorithm;
        const ASN1_OCTET_STRING *digest;
        X509_SIG_get0(info, &algorithm, &digest);
        assert_int_equal(OBJ_obj2nid(algorithm->algorithm), EVP_MD_get_type(m->md()));
        assert_int_equal(ASN1_STRING_length(digest), m->digest_bytes);
        X509_SIG_free(info);
    }
}

static void test_pkcs11_tables__oaep_parameters_are_the_ones_every_module_takes(void **state)
{
    struct kl_mech_call call;
    (void)state;
    CK_MECHANISM *m = kl_mech_prepare(kl_mech_get(KL_ALG_OAEP_SHA256), &call);
    assert_int_equal(m->mechanism, CKM_RSA_PKCS_OAEP);
    assert_ptr_equal(m->pParameter, &call.oaep);
    assert_int_equal(call.oaep.hashAlg, CKM_SHA256);
    assert_int_equal(call.oaep.mgf, CKG_MGF1_SHA256);
    assert_int_equal(call.oaep.source, CKZ_DATA_SPECIFIED);
    assert_null(call.oaep.pSourceData);
    assert_int_equal(call.oaep.ulSourceDataLen, 0);
    m = kl_mech_prepare(kl_mech_get(KL_ALG_PS512), &call);
    assert_int_equal(call.pss.sLen, 64);
    m = kl_mech_prepare(kl_mech_get(KL_ALG_ES256), &call);
    assert_null(m->pParameter);
}

/* Library and model as the modules themselves say. */
static void test_pkcs11_tables__quirks_are_those_of_the_module_that_has_them(void **state)
{
    static const struct {
        const char *library, *model;
        unsigned flags;
    } rows[] = {
        {"SoftHSM", "SoftHSM v2", KL_QUIRK_NEVER_SYNCS},
        {"PKCS#11 Kit", "SoftHSM v2", KL_QUIRK_NEVER_SYNCS},
        {"IBM", "IBM SoftTok", KL_QUIRK_NEVER_SYNCS | KL_QUIRK_FORGETS_SENSITIVE},
        {"tpm2-software.github.io", "SW   TPM",
         KL_QUIRK_NO_SESSION_OBJECTS | KL_QUIRK_FALSE_REFUSED},
        {"Mozilla Foundation", "NSS 3", 0},
        {"SafeNet", "Luna K7", 0},
    };
    (void)state;
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        CK_TOKEN_INFO info;
        memset(&info, ' ', sizeof info);
        memcpy(info.model, rows[i].model, strlen(rows[i].model));
        assert_int_equal(kl_quirk_flags(rows[i].library, &info), rows[i].flags);
    }
}

static size_t rsa_der(unsigned bits, uint8_t *n, size_t *n_len, uint8_t **ret)
{
    EVP_PKEY *key = EVP_RSA_gen(bits);
    BIGNUM *modulus = NULL;
    assert_int_equal(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &modulus), 1);
    *n_len = (size_t)BN_bn2bin(modulus, n);
    BN_free(modulus);
    *ret = NULL;
    int len = i2d_PUBKEY(key, ret);
    EVP_PKEY_free(key);
    assert_true(len > 0);
    return (size_t)len;
}

static void test_pkcs11_tables__rsa_spki_is_byte_for_byte_openssls(void **state)
{
    static const unsigned sizes[] = {1024, 1536, 2048, 3072};
    static const uint8_t e[] = {0, 1, 0, 1};
    (void)state;
    for (size_t i = 0; i < KL_COUNT(sizes); i++) {
        uint8_t n[513] = {0}, ours[KL_SPKI_MAX], *theirs;
        size_t n_len, len = rsa_der(sizes[i], n + 1, &n_len, &theirs);
        assert_int_equal(kl_spki_put_rsa(n, n_len + 1, e, sizeof e, ours), len);
        assert_memory_equal(ours, theirs, len);
        assert_int_equal(kl_spki_put_rsa(n + 1, n_len, e + 1, 3, ours), len);
        OPENSSL_free(theirs);
    }
    uint8_t big[513], out[KL_SPKI_MAX];
    memset(big, 0xff, sizeof big);
    assert_int_equal(kl_spki_put_rsa(big, 513, e, sizeof e, out), 0);
    assert_int_equal(kl_spki_put_rsa(big, 512, e, 1, out), 0);
    assert_true(kl_spki_put_rsa(big, 512, e, sizeof e, out) > 512);
}

static void test_pkcs11_tables__ec_spki_is_byte_for_byte_openssls(void **state)
{
    static const char *const names[] = {NULL, "P-256", "P-384", "P-521"};
    (void)state;
    for (int c = KL_CURVE_P256; c <= KL_CURVE_P521; c++) {
        EVP_PKEY *key = EVP_EC_gen(names[c]);
        uint8_t *der = NULL, point[160], wrapped[160], ours[KL_SPKI_MAX];
        int len = i2d_PUBKEY(key, &der);
        size_t n = 0, back_len = 0;
        assert_int_equal(
            EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &n),
            1);
        assert_int_equal(kl_spki_put_ec((enum kl_curve)c, point, n, ours), len);
        assert_memory_equal(ours, der, (size_t)len);
        size_t head = n < 128 ? 2 : 3; /* as CKA_EC_POINT, a DER OCTET STRING */
        wrapped[0] = 4;
        wrapped[1] = 0x81;
        wrapped[head - 1] = (uint8_t)n;
        memcpy(wrapped + head, point, n);
        assert_int_equal(kl_spki_put_ec((enum kl_curve)c, wrapped, n + head, ours), len);
        const uint8_t *back = kl_spki_point((enum kl_curve)c, ours, (size_t)len, &back_len);
        assert_int_equal(back_len, n);
        assert_memory_equal(back, point, n);
        ours[5] ^= 1;
        assert_null(kl_spki_point((enum kl_curve)c, ours, (size_t)len, &back_len));
        assert_int_equal(kl_spki_put_ec((enum kl_curve)c, point, n - 1, ours), 0);
        point[0] = 2;
        assert_int_equal(kl_spki_put_ec((enum kl_curve)c, point, n, ours), 0);
        OPENSSL_free(der);
        EVP_PKEY_free(key);
    }
}

static void test_pkcs11_tables__the_settings_fill_the_struct(void **state)
{
    (void)state;
    const struct kl_conf_section *s = kl_token_conf_section();
    assert_true(s->named);
    assert_int_equal(s->size, sizeof(struct kl_token_config));
    for (size_t i = 0; i < s->row_count; i++) {
        assert_true(s->rows[i].offset < s->size);
        assert_true(s->rows[i].help != NULL && s->rows[i].help[0] != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pkcs11_tables__errors_have_the_class_of_the_field_reports),
        cmocka_unit_test(test_pkcs11_tables__every_algorithm_has_a_row),
        cmocka_unit_test(test_pkcs11_tables__digest_info_is_what_the_standard_says),
        cmocka_unit_test(test_pkcs11_tables__oaep_parameters_are_the_ones_every_module_takes),
        cmocka_unit_test(test_pkcs11_tables__quirks_are_those_of_the_module_that_has_them),
        cmocka_unit_test(test_pkcs11_tables__rsa_spki_is_byte_for_byte_openssls),
        cmocka_unit_test(test_pkcs11_tables__ec_spki_is_byte_for_byte_openssls),
        cmocka_unit_test(test_pkcs11_tables__the_settings_fill_the_struct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
