#include "keyvault/auth/form.h"

#include "tests/unit/keyvault/auth_support.h"

#include <openssl/evp.h>
#include <string.h>

enum { ID, SECRET, SCOPE, COUNT };

static enum kl_code parse_n(const char *body, size_t n, struct kl_form_field fields[static COUNT])
{
    fields[ID].name = "client_id";
    fields[SECRET].name = "client_secret";
    fields[SCOPE].name = "scope";
    return kl_form_parse(body, n, fields, COUNT, NULL);
}

static void test_auth_form__good(void **state)
{
    (void)state;
    static const struct {
        const char *body, *id, *secret, *scope;
    } rows[] = {
        {"client_id=a&client_secret=b&scope=c", "a", "b", "c"},
        {"scope=https%3A%2F%2F0.0.1%2F.default&client_id=x", "x", "", "https://0.0.1/.default"},
        {"client_id=a+b&x-client-SKU=%zz&client_secret=%2B%26%3D", "a b", "+&=", ""},
        {"&&client_id=a&", "a", "", ""},
        {"client_id", "", "", ""},
        {"client_id=", "", "", ""},
        {"", "", "", ""},
        {"CLIENT_ID=a&client_idx=b&client_i=c", "", "", ""},
        {"client_id=a=b", "a=b", "", ""},
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct kl_form_field f[COUNT];
        assert_int_equal(parse_n(rows[i].body, strlen(rows[i].body), f), KL_OK);
        assert_string_equal(kl_form_text(&f[ID]), rows[i].id);
        assert_string_equal(kl_form_text(&f[SECRET]), rows[i].secret);
        assert_string_equal(kl_form_text(&f[SCOPE]), rows[i].scope);
        kl_form_done(f, COUNT);
    }
}

static void test_auth_form__refusals(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "client_id=a&client_id=a", "client_id=%",   "client_id=%2",
        "client_id=%zz",           "client_id=%00", "client_id=&client_id=",
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct kl_form_field f[COUNT];
        assert_int_equal(parse_n(rows[i], strlen(rows[i]), f), KL_BAD_INPUT);
        kl_form_done(f, COUNT);
    }
    struct kl_form_field f[COUNT];
    assert_int_equal(parse_n("client_id=a\0b", 13, f), KL_BAD_INPUT);
    kl_form_done(f, COUNT);
}

/* n bytes: the start, then filler. */
static enum kl_code parse_filled(const char *start, char filler, size_t n)
{
    char *body = malloc(n);
    struct kl_form_field f[COUNT];
    memset(body, filler, n);
    memcpy(body, start, strlen(start));
    enum kl_code code = parse_n(body, n, f);
    kl_form_done(f, COUNT);
    free(body);
    return code;
}

static void test_auth_form__limits(void **state)
{
    (void)state;
    assert_int_equal(parse_filled("claims=", 'x', KL_FORM_MAX), KL_OK);
    assert_int_equal(parse_filled("claims=", 'x', KL_FORM_MAX + 1), KL_BAD_INPUT);
    assert_int_equal(parse_filled("scope=", 'x', 6 + KL_FORM_VALUE_MAX), KL_OK);
    assert_int_equal(parse_filled("scope=", 'x', 7 + KL_FORM_VALUE_MAX), KL_BAD_INPUT);
    assert_int_equal(parse_filled("", '&', KL_FORM_MAX_FIELDS), KL_OK);
    assert_int_equal(parse_filled("", '&', KL_FORM_MAX_FIELDS + 1), KL_BAD_INPUT);
}

static enum kl_code basic(const char *scheme, const char *pair, char *ret_id, char *ret_secret)
{
    struct kl_secret *id = NULL, *secret = NULL;
    struct kl_buf text = KL_BUF_INIT(4096);
    kl_buf_puts(&text, scheme);
    unsigned char coded[1024];
    assert_true(strlen(pair) < sizeof coded / 2);
    (void)EVP_EncodeBlock(coded, (const unsigned char *)pair, (int)strlen(pair));
    kl_buf_puts(&text, (const char *)coded);
    enum kl_code code = kl_form_basic(kl_buf_text(&text), &id, &secret, NULL);
    if (code == KL_OK) {
        (void)snprintf(ret_id, 64, "%s", (const char *)kl_secret_bytes(id));
        (void)snprintf(ret_secret, 64, "%s", (const char *)kl_secret_bytes(secret));
    }
    kl_secret_free(id);
    kl_secret_free(secret);
    kl_buf_done(&text);
    return code;
}

static void test_auth_form__basic(void **state)
{
    (void)state;
    char id[64], secret[64];
    assert_int_equal(basic("Basic ", "client:pass", id, secret), KL_OK);
    assert_string_equal(id, "client");
    assert_string_equal(secret, "pass");
    assert_int_equal(basic("bAsIc ", "a%3Ab:c:d+e", id, secret), KL_OK);
    assert_string_equal(id, "a:b");
    assert_string_equal(secret, "c:d e");
    static const char *const pairs[] = {"", ":", "a:", ":b", "ab", "a%zz:b", "a:%00"};
    for (size_t i = 0; i < KL_COUNT(pairs); i++)
        assert_int_equal(basic("Basic ", pairs[i], id, secret), KL_BAD_INPUT);
    assert_int_equal(basic("Bearer ", "a:b", id, secret), KL_BAD_INPUT);
    assert_int_equal(basic("Basic !", "a:b", id, secret), KL_BAD_INPUT);
    assert_int_equal(basic("Basic", "a:b", id, secret), KL_BAD_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auth_form__good),
        cmocka_unit_test(test_auth_form__refusals),
        cmocka_unit_test(test_auth_form__limits),
        cmocka_unit_test(test_auth_form__basic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
