/* A thief who holds the user PIN and the module, but not the security officer's PIN, against the
 * keys and the domain key that kluis made on a SoftHSM token. What he may do is tested too: it is
 * said in doc/qualify.md. */
#include "base/encoding.h"
#include "tests/token/keys.h"
#include "tests/token/site.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <string.h>

#define ROW(type, value)                                                                           \
    {                                                                                              \
        (type), (void *)(uintptr_t) & (value), sizeof(value)                                       \
    }
#define COUNT(array) (sizeof(array) / sizeof *(array))

static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static const CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY, private_class = CKO_PRIVATE_KEY;
static const CK_KEY_TYPE rsa_type = CKK_RSA, aes_type = CKK_AES, generic_type = CKK_GENERIC_SECRET;
static const CK_ULONG aes_bytes = 32;

static struct site site;
static struct {
    CK_FUNCTION_LIST *f;
    CK_SESSION_HANDLE s;
    CK_OBJECT_HANDLE kek, fixed, domain, mac, own;
    uint8_t blob[4096]; /* the KEK under the domain key, as any backup has it */
    CK_ULONG blob_len;
} thief;

static CK_OBJECT_HANDLE find(CK_ATTRIBUTE *match, CK_ULONG count)
{
    CK_OBJECT_HANDLE found = CK_INVALID_HANDLE;
    CK_ULONG n = 0;
    assert_int_equal(thief.f->C_FindObjectsInit(thief.s, match, count), CKR_OK);
    assert_int_equal(thief.f->C_FindObjects(thief.s, &found, 1, &n), CKR_OK);
    assert_int_equal(thief.f->C_FindObjectsFinal(thief.s), CKR_OK);
    assert_int_equal(n, 1);
    return found;
}

static CK_OBJECT_HANDLE find_key(const struct test_key *k)
{
    CK_ATTRIBUTE match[] = {ROW(CKA_CLASS, private_class),
                            {CKA_ID, (void *)(uintptr_t)k->ref.id, KL_KEY_ID_LEN}};
    return find(match, COUNT(match));
}

static CK_OBJECT_HANDLE find_secret(const char *label)
{
    CK_ATTRIBUTE match[] = {ROW(CKA_CLASS, secret_class),
                            {CKA_LABEL, (void *)(uintptr_t)label, strlen(label)}};
    return find(match, COUNT(match));
}

static void make_keys(struct test_key *ret_kek, struct test_key *ret_fixed)
{
    struct kl_err err;
    struct kl_key_spec open = keys_rsa(2048, KL_PROFILE_DOMAIN, true, true);
    struct kl_key_spec closed = keys_rsa(2048, KL_PROFILE_FIXED, true, true);
    struct kl_token *t = site_open(&site);
    KL_AUTO(secret) mac = NULL;
    struct kl_token_request req = {.call = KL_CALL_MAC, .input = "x", .input_len = 1};
    assert_int_equal(keys_generate(t, &open, ret_kek, &err), KL_OK);
    assert_int_equal(keys_generate(t, &closed, ret_fixed, &err), KL_OK);
    assert_int_equal(kl_token_call(t, &req, &mac, NULL, &err), KL_OK);
    kl_token_close(t);
}

static void break_in(void)
{
    CK_SLOT_ID slots[4];
    CK_ULONG count = COUNT(slots);
    CK_C_GetFunctionList get;
    CK_MECHANISM gen = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE own[] = {ROW(CKA_TOKEN, no), ROW(CKA_WRAP, yes), ROW(CKA_UNWRAP, yes),
                          ROW(CKA_DECRYPT, yes), ROW(CKA_VALUE_LEN, aes_bytes)};
    void *symbol = dlsym(dlopen(site.module, RTLD_NOW | RTLD_LOCAL), "C_GetFunctionList");
    assert_non_null(symbol);
    memcpy(&get, &symbol, sizeof get);
    assert_int_equal(get(&thief.f), CKR_OK);
    assert_int_equal(thief.f->C_Initialize(NULL), CKR_OK);
    assert_int_equal(thief.f->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    assert_int_equal(
        thief.f->C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &thief.s),
        CKR_OK);
    assert_int_equal(
        thief.f->C_Login(thief.s, CKU_USER, (CK_BYTE *)(uintptr_t)SITE_PIN, strlen(SITE_PIN)),
        CKR_OK);
    assert_int_equal(thief.f->C_GenerateKey(thief.s, &gen, own, COUNT(own), &thief.own), CKR_OK);
    thief.domain = find_secret("kluis-domain");
    thief.mac = find_secret("kluis-domain-mac");
}

static int set_up(void **state)
{
    struct test_key kek, fixed;
    CK_MECHANISM how = {CKM_AES_KEY_WRAP_PAD, NULL, 0};
    (void)state;
    site_make(&site, true);
    make_keys(&kek, &fixed);
    break_in();
    thief.kek = find_key(&kek);
    thief.fixed = find_key(&fixed);
    thief.blob_len = sizeof thief.blob;
    return thief.f->C_WrapKey(thief.s, &how, thief.domain, thief.kek, thief.blob,
                              &thief.blob_len) == CKR_OK
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    (void)thief.f->C_Finalize(NULL);
    site_remove(&site);
    return 0;
}

static bool flag(CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL value = 2;
    CK_ATTRIBUTE attr = {type, &value, sizeof value};
    assert_int_equal(thief.f->C_GetAttributeValue(thief.s, key, &attr, 1), CKR_OK);
    return value == CK_TRUE;
}

static void test_token_attacks__nothing_secret_can_be_read(void **state)
{
    const CK_OBJECT_HANDLE keys[] = {thief.kek, thief.fixed, thief.domain, thief.mac};
    const CK_ATTRIBUTE_TYPE parts[] = {CKA_PRIVATE_EXPONENT, CKA_PRIME_1, CKA_VALUE};
    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++)
        for (size_t p = 0; p < COUNT(parts); p++) {
            uint8_t value[1024];
            CK_ATTRIBUTE attr = {parts[p], value, sizeof value};
            assert_int_not_equal(thief.f->C_GetAttributeValue(thief.s, keys[i], &attr, 1), CKR_OK);
        }
}

static void test_token_attacks__no_key_leaves_under_a_key_of_his_own(void **state)
{
    static uint8_t iv[16];
    const CK_MECHANISM ways[] = {{CKM_AES_KEY_WRAP_PAD, NULL, 0},
                                 {CKM_AES_KEY_WRAP, NULL, 0},
                                 {CKM_AES_CBC_PAD, iv, sizeof iv},
                                 {CKM_AES_CBC, iv, sizeof iv},
                                 {CKM_AES_ECB, NULL, 0}};
    const CK_OBJECT_HANDLE keys[] = {thief.kek, thief.fixed, thief.domain, thief.mac};
    (void)state;
    for (size_t k = 0; k < COUNT(keys); k++)
        for (size_t i = 0; i < COUNT(ways); i++) {
            CK_MECHANISM how = ways[i];
            uint8_t out[4096];
            CK_ULONG n = sizeof out;
            assert_int_not_equal(thief.f->C_WrapKey(thief.s, &how, thief.own, keys[k], out, &n),
                                 CKR_OK);
        }
}

/* Nor does a fixed key leave under the domain key. */
static void test_token_attacks__a_fixed_key_leaves_under_no_key(void **state)
{
    CK_MECHANISM how = {CKM_AES_KEY_WRAP_PAD, NULL, 0};
    uint8_t out[4096];
    CK_ULONG n = sizeof out;
    (void)state;
    assert_int_not_equal(thief.f->C_WrapKey(thief.s, &how, thief.domain, thief.fixed, out, &n),
                         CKR_OK);
}

static void test_token_attacks__he_makes_no_trusted_key(void **state)
{
    CK_MECHANISM gen = {CKM_AES_KEY_GEN, NULL, 0};
    uint8_t known[32] = {1};
    CK_OBJECT_HANDLE key;
    CK_ATTRIBUTE trusted = ROW(CKA_TRUSTED, yes);
    CK_ATTRIBUTE made[] = {ROW(CKA_TOKEN, no), ROW(CKA_WRAP, yes), ROW(CKA_VALUE_LEN, aes_bytes),
                           trusted};
    CK_ATTRIBUTE brought[] = {
        ROW(CKA_CLASS, secret_class), ROW(CKA_KEY_TYPE, aes_type),      ROW(CKA_TOKEN, no),
        ROW(CKA_WRAP, yes),           {CKA_VALUE, known, sizeof known}, trusted};
    (void)state;
    assert_int_not_equal(thief.f->C_GenerateKey(thief.s, &gen, made, COUNT(made), &key), CKR_OK);
    assert_int_not_equal(thief.f->C_CreateObject(thief.s, brought, COUNT(brought), &key), CKR_OK);
    assert_int_not_equal(thief.f->C_SetAttributeValue(thief.s, thief.own, &trusted, 1), CKR_OK);
    assert_false(flag(thief.own, CKA_TRUSTED));
}

static void test_token_attacks__no_flag_is_switched(void **state)
{
    const struct {
        CK_OBJECT_HANDLE key;
        CK_ATTRIBUTE_TYPE type;
        bool to;
    } rows[] = {
        {thief.kek, CKA_SENSITIVE, false},    {thief.kek, CKA_WRAP_WITH_TRUSTED, false},
        {thief.kek, CKA_UNWRAP, true},        {thief.kek, CKA_MODIFIABLE, true},
        {thief.fixed, CKA_EXTRACTABLE, true}, {thief.fixed, CKA_SENSITIVE, false},
        {thief.fixed, CKA_UNWRAP, true},      {thief.domain, CKA_DECRYPT, true},
        {thief.domain, CKA_ENCRYPT, true},    {thief.domain, CKA_EXTRACTABLE, true},
        {thief.domain, CKA_SENSITIVE, false}, {thief.domain, CKA_DERIVE, true},
        {thief.mac, CKA_EXTRACTABLE, true},   {thief.mac, CKA_SENSITIVE, false},
        {thief.mac, CKA_DECRYPT, true},       {thief.mac, CKA_DERIVE, true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        CK_BBOOL value = rows[i].to ? CK_TRUE : CK_FALSE;
        CK_ATTRIBUTE set[] = {{rows[i].type, &value, sizeof value}, ROW(CKA_TOKEN, no)};
        CK_OBJECT_HANDLE copy = CK_INVALID_HANDLE;
        if (thief.f->C_SetAttributeValue(thief.s, rows[i].key, set, 1) == CKR_OK ||
            flag(rows[i].key, rows[i].type) == rows[i].to)
            fail_msg("row %zu was switched", i);
        if (thief.f->C_CopyObject(thief.s, rows[i].key, set, 2, &copy) == CKR_OK &&
            flag(copy, rows[i].type) == rows[i].to)
            fail_msg("row %zu was switched in a copy", i);
    }
}

/* AES key wrap is undone by AES decryption: with that usage the domain key would give every key
 * away. */
static void test_token_attacks__the_domain_key_does_not_decrypt(void **state)
{
    static uint8_t iv[16];
    const CK_MECHANISM ways[] = {{CKM_AES_ECB, NULL, 0}, {CKM_AES_CBC, iv, sizeof iv}};
    (void)state;
    for (size_t i = 0; i < COUNT(ways); i++) {
        CK_MECHANISM how = ways[i];
        assert_int_not_equal(thief.f->C_DecryptInit(thief.s, &how, thief.domain), CKR_OK);
        assert_int_not_equal(thief.f->C_EncryptInit(thief.s, &how, thief.domain), CKR_OK);
    }
}

static CK_RV unwrap(CK_ATTRIBUTE *attrs, CK_ULONG count, CK_OBJECT_HANDLE *ret)
{
    CK_MECHANISM how = {CKM_AES_KEY_WRAP_PAD, NULL, 0};
    return thief.f->C_UnwrapKey(thief.s, &how, thief.domain, thief.blob, thief.blob_len, attrs,
                                count, ret);
}

static void test_token_attacks__a_backup_restores_into_nothing_weaker(void **state)
{
    CK_ATTRIBUTE readable[] = {ROW(CKA_CLASS, private_class),
                               ROW(CKA_KEY_TYPE, rsa_type),
                               ROW(CKA_TOKEN, no),
                               ROW(CKA_EXTRACTABLE, yes),
                               ROW(CKA_SENSITIVE, no),
                               ROW(CKA_WRAP_WITH_TRUSTED, yes)};
    CK_ATTRIBUTE wrappable[] = {
        ROW(CKA_CLASS, private_class), ROW(CKA_KEY_TYPE, rsa_type), ROW(CKA_TOKEN, no),
        ROW(CKA_EXTRACTABLE, yes),     ROW(CKA_SENSITIVE, yes),     ROW(CKA_WRAP_WITH_TRUSTED, no)};
    CK_ATTRIBUTE bytes[] = {ROW(CKA_CLASS, secret_class), ROW(CKA_KEY_TYPE, generic_type),
                            ROW(CKA_TOKEN, no), ROW(CKA_EXTRACTABLE, yes), ROW(CKA_SENSITIVE, no)};
    CK_OBJECT_HANDLE key;
    (void)state;
    assert_int_not_equal(unwrap(readable, COUNT(readable), &key), CKR_OK);
    assert_int_not_equal(unwrap(wrappable, COUNT(wrappable), &key), CKR_OK);
    assert_int_not_equal(unwrap(wrappable, COUNT(wrappable) - 1, &key), CKR_OK);
    assert_int_not_equal(unwrap(bytes, COUNT(bytes), &key), CKR_OK);
    assert_int_not_equal(unwrap(bytes, COUNT(bytes) - 1, &key), CKR_OK);
}

/* What came in as it should cannot be taken out either. */
static void test_token_attacks__a_restored_copy_is_no_way_out(void **state)
{
    CK_MECHANISM how = {CKM_AES_KEY_WRAP_PAD, NULL, 0};
    CK_ATTRIBUTE right[] = {ROW(CKA_CLASS, private_class),
                            ROW(CKA_KEY_TYPE, rsa_type),
                            ROW(CKA_TOKEN, no),
                            ROW(CKA_EXTRACTABLE, yes),
                            ROW(CKA_SENSITIVE, yes),
                            ROW(CKA_WRAP_WITH_TRUSTED, yes)};
    CK_ATTRIBUTE loosen[] = {ROW(CKA_WRAP_WITH_TRUSTED, no)};
    uint8_t out[4096];
    CK_ULONG n = sizeof out;
    CK_OBJECT_HANDLE key, copy;
    (void)state;
    assert_int_equal(unwrap(right, COUNT(right), &key), CKR_OK);
    assert_int_not_equal(thief.f->C_SetAttributeValue(thief.s, key, loosen, 1), CKR_OK);
    assert_int_not_equal(thief.f->C_CopyObject(thief.s, key, loosen, 1, &copy), CKR_OK);
    assert_int_not_equal(thief.f->C_WrapKey(thief.s, &how, thief.own, key, out, &n), CKR_OK);
}

/* A key of known value under the domain key's label, with a higher generation, changes nothing: it
 * is not TRUSTED. */
static void test_token_attacks__a_false_domain_key_is_passed_over(void **state)
{
    static const char label[] = "kluis-domain";
    uint8_t known[32] = {7}, id[KL_KEY_ID_LEN] = {0xff, 1};
    CK_OBJECT_HANDLE key;
    KL_AUTO(secret) rows = NULL;
    struct kl_err err;
    struct kl_token_request req = {.call = KL_CALL_DOMAIN};
    CK_ATTRIBUTE attrs[] = {
        ROW(CKA_CLASS, secret_class), ROW(CKA_KEY_TYPE, aes_type),
        ROW(CKA_TOKEN, yes),          ROW(CKA_PRIVATE, no),
        ROW(CKA_WRAP, yes),           ROW(CKA_UNWRAP, yes),
        ROW(CKA_SENSITIVE, yes),      ROW(CKA_EXTRACTABLE, no),
        ROW(CKA_DECRYPT, no),         {CKA_VALUE, known, sizeof known},
        {CKA_ID, id, sizeof id},      {CKA_LABEL, (void *)(uintptr_t)label, sizeof label - 1}};
    (void)state;
    assert_int_equal(thief.f->C_CreateObject(thief.s, attrs, COUNT(attrs), &key), CKR_OK);
    struct kl_token *t = site_open(&site);
    assert_int_equal(kl_token_call(t, &req, &rows, NULL, &err), KL_OK);
    assert_int_equal(kl_secret_len(rows), sizeof(struct kl_token_domain));
    struct kl_token_domain seen;
    memcpy(&seen, kl_secret_bytes(rows), sizeof seen);
    assert_int_equal(seen.generation, 1);
    assert_int_equal(seen.current, 1);
    assert_int_equal(seen.unwrap_template, 1);
    kl_token_close(t);
    assert_int_equal(thief.f->C_DestroyObject(thief.s, key), CKR_OK);
}

/* Not prevented, by SoftHSM as by the standard: he can use every key, and he can destroy them. The
 * last test, as it does it. */
static void test_token_attacks__he_can_destroy_the_domain_key(void **state)
{
    (void)state;
    assert_int_equal(thief.f->C_DestroyObject(thief.s, thief.domain), CKR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_attacks__nothing_secret_can_be_read),
        cmocka_unit_test(test_token_attacks__no_key_leaves_under_a_key_of_his_own),
        cmocka_unit_test(test_token_attacks__a_fixed_key_leaves_under_no_key),
        cmocka_unit_test(test_token_attacks__he_makes_no_trusted_key),
        cmocka_unit_test(test_token_attacks__no_flag_is_switched),
        cmocka_unit_test(test_token_attacks__the_domain_key_does_not_decrypt),
        cmocka_unit_test(test_token_attacks__a_backup_restores_into_nothing_weaker),
        cmocka_unit_test(test_token_attacks__a_restored_copy_is_no_way_out),
        cmocka_unit_test(test_token_attacks__a_false_domain_key_is_passed_over),
        cmocka_unit_test(test_token_attacks__he_can_destroy_the_domain_key),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
