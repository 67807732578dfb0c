#include "wrap/trust.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <string.h>
#include <cmocka.h>

static void test_wrap_trust__origins(void **state)
{
    (void)state;
    static const struct {
        const char *url, *origin, *rest;
    } rows[] = {
        {"https://Localhost:8443/keys/a", "localhost:8443", "/keys/a"},
        {"https://demo.vault.test", "demo.vault.test:443", ""},
        {"https://127.0.0.1:1/", "127.0.0.1:1", "/"},
        {"https://[::1]:8443/x?y=%20", "[::1]:8443", "/x?y=%20"},
        {"https://a?b", "a:443", "?b"},
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        char origin[KL_ORIGIN_MAX];
        const char *rest;
        assert_int_equal(kl_origin_of(rows[i].url, origin, &rest, NULL), KL_OK);
        assert_string_equal(origin, rows[i].origin);
        assert_string_equal(rest, rows[i].rest);
    }
}

static void test_wrap_trust__urls_that_parsers_read_differently(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        "http://a/",
        "HTTPS://a/",
        "https://",
        "https:///x",
        "https://a@b/",
        "https://a:b@c/",
        "https://a:8443@b/",
        "https://a:8443\\@b/",
        "https://a\\b",
        "https://a#b",
        "https://a/#b",
        "https://a:0/",
        "https://a:65536/",
        "https://a:123456/",
        "https://a:/",
        "https://a b/",
        "https://a/x y",
        "https://a/x\ny",
        "https://a/\xc3\xa9",
        "https://\xc3\xa9/",
        "https://a%2eb/",
        "https://[::1/",
        "https://[]x/",
        "https://a/x@b",
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        char origin[KL_ORIGIN_MAX];
        const char *rest;
        if (kl_origin_of(rows[i], origin, &rest, NULL) != KL_BAD_INPUT)
            fail_msg("%s was taken", rows[i]);
    }
}

static bool covers(const char *service, const char *vault, const char *url)
{
    struct kl_trust trust;
    assert_int_equal(kl_trust_init(service, vault, &trust, NULL), KL_OK);
    return kl_trust_check(&trust, url, NULL) == KL_OK;
}

static void test_wrap_trust__siblings(void **state)
{
    (void)state;
    static const struct {
        const char *vault, *url;
        bool trusted;
    } rows[] = {
        {NULL, "https://localhost:8443/keys", true},
        {NULL, "https://LOCALHOST:8443/keys", true},
        {NULL, "https://localhost/keys", false},
        {NULL, "https://evil.test:8443/", false},
        {NULL, "https://localhost.evil.test:8443/", false},
        {"https://demo.vault.localhost:8443", "https://demo.vault.localhost:8443/x", true},
        {"https://demo.vault.localhost:8443", "https://safe.vault.localhost:8443/x", true},
        {"https://demo.vault.localhost:8443", "https://safe.vault.localhost:443/x", false},
        {"https://demo.vault.localhost:8443", "https://a.b.vault.localhost:8443/x", false},
        {"https://demo.vault.localhost:8443", "https://vault.localhost:8443/x", false},
        {"https://demo.vault.localhost:8443", "https://evilvault.localhost:8443/x", false},
        {"https://demo.vault.localhost:8443", "https://safe.vault.localhost.evil.test:8443/",
         false},
        {"https://demo.vault.localhost:8443", "https://.vault.localhost:8443/x", false},
        {"https://kluis.example", "https://other.example/", false},
        {"https://kluis.co.uk", "https://other.co.uk/", false},
        {"https://demo.kluis.co.uk", "https://safe.kluis.co.uk/", true},
        {"https://localhost:8443", "https://x.localhost:8443/", false},
        {"https://10.1.2.3:8443", "https://99.1.2.3:8443/", false},
        {"https://[fe80::1.2.3.4]:1", "https://[fe80::2.2.3.4]:1/", false},
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++)
        if (covers("https://localhost:8443", rows[i].vault, rows[i].url) != rows[i].trusted)
            fail_msg("%s for vault %s", rows[i].url, rows[i].vault != NULL ? rows[i].vault : "-");
}

static void test_wrap_trust__refusal_names_host_and_variable(void **state)
{
    (void)state;
    struct kl_trust trust;
    struct kl_err err;
    assert_int_equal(kl_trust_init("https://localhost:8443", NULL, &trust, NULL), KL_OK);
    assert_int_equal(kl_trust_check(&trust, "https://evil.test/keys/k/1", &err), KL_FORBIDDEN);
    assert_non_null(strstr(err.text, "evil.test:443"));
    assert_non_null(strstr(err.text, "KLUIS_VAULT_URL"));
}

static void test_wrap_trust__configuration_errors_name_the_variable(void **state)
{
    (void)state;
    struct kl_trust trust;
    struct kl_err err;
    assert_int_equal(kl_trust_init("http://a", NULL, &trust, &err), KL_CONFIG);
    assert_non_null(strstr(err.text, "KLUIS_URL"));
    assert_int_equal(kl_trust_init("https://a", "b", &trust, &err), KL_CONFIG);
    assert_non_null(strstr(err.text, "KLUIS_VAULT_URL"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrap_trust__origins),
        cmocka_unit_test(test_wrap_trust__urls_that_parsers_read_differently),
        cmocka_unit_test(test_wrap_trust__siblings),
        cmocka_unit_test(test_wrap_trust__refusal_names_host_and_variable),
        cmocka_unit_test(test_wrap_trust__configuration_errors_name_the_variable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
