#include "keyvault/auth/origin.h"

#include "tests/unit/keyvault/auth_support.h"

#include <string.h>

static void test_auth_origin__parse(void **state)
{
    (void)state;
    static const struct {
        const char *text, *url;
    } good[] = {
        {"localhost:8443", "https://localhost:8443"},
        {"https://Demo.Vault.LocalHost:8443/", "https://demo.vault.localhost:8443"},
        {"vault.example", "https://vault.example"},
        {"vault.example:443", "https://vault.example"},
        {"[::1]:8443", "https://[::1]:8443"},
        {"127.0.0.1:1", "https://127.0.0.1:1"},
        {"https://a-b.c", "https://a-b.c"},
    };
    for (size_t i = 0; i < KL_COUNT(good); i++) {
        struct kl_origin origin;
        struct kl_buf url = KL_BUF_INIT(400);
        assert_int_equal(kl_origin_parse(good[i].text, &origin, NULL), KL_OK);
        kl_origin_put(&url, &origin);
        assert_string_equal(kl_buf_text(&url), good[i].url);
        kl_buf_done(&url);
    }
}

static void test_auth_origin__parse_refusals(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",         "https://", ":8443",         "host:",      "host:0",        "host:65536",
        "host:08",  "host:1x",  "ho st:1",       "host/path",  "a..b:1",        ".a:1",
        "a.:1",     "-a:1",     "a-:1",          "[::1:8443",  "[zz]:1",        "::1:8443",
        "user@h:1", "h:1/",     "h:99999999999", "http://h:1", "https://h:1//", "h_x:1",
    };
    char label[65] = {0};
    struct kl_origin longest;
    memset(label, 'a', 64);
    assert_int_equal(kl_origin_parse(label, &longest, NULL), KL_BAD_INPUT);
    assert_int_equal(kl_origin_parse(label + 1, &longest, NULL), KL_OK);
    for (size_t i = 0; i < KL_COUNT(bad); i++) {
        struct kl_origin origin = {.port = 7};
        assert_int_equal(kl_origin_parse(bad[i], &origin, NULL), KL_BAD_INPUT);
        assert_int_equal(origin.port, 7);
    }
}

static void test_auth_origin__parent(void **state)
{
    (void)state;
    assert_string_equal(kl_origin_parent("demo.vault.localhost"), "vault.localhost");
    assert_string_equal(kl_origin_parent("localhost"), "localhost");
    assert_string_equal(kl_origin_parent("127.0.0.1"), "0.0.1");
    assert_string_equal(kl_origin_parent("::1"), "::1");
    assert_string_equal(kl_origin_parent("::ffff:127.0.0.1"), "::ffff:127.0.0.1");
}

static void test_auth_origin__audiences(void **state)
{
    (void)state;
    static const struct {
        const char *audience;
        bool fits;
    } rows[] = {
        {"https://demo.vault.localhost:8443", true},
        {"https://demo.vault.localhost:8443/", true},
        {"https://demo.vault.localhost", true},
        {"https://demo.vault.localhost/", true},
        {"https://vault.localhost:8443", true},
        {"https://vault.localhost:8443/", true},
        {"https://vault.localhost", true},
        {"https://vault.localhost/", true},
        {"https://vault.localhost//", false},
        {"https://vault.localhost:443", false},
        {"https://localhost", false},
        {"https://DEMO.vault.localhost", false},
        {"http://vault.localhost", false},
        {"https://vault.localhost:84433", false},
        {"https://vault.localhost:8443/x", false},
        {"vault.localhost", false},
        {"https://evil.vault.localhost:8443", false},
        {"https:///", false},
        {"/", false},
        {"", false},
    };
    struct kl_origin origin;
    assert_int_equal(kl_origin_parse("demo.vault.localhost:8443", &origin, NULL), KL_OK);
    for (size_t i = 0; i < KL_COUNT(rows); i++)
        assert_int_equal(kl_origin_is_audience(&origin, rows[i].audience), rows[i].fits);
}

/* libmongocrypt asks for https://0.0.1/.default at 127.0.0.1:8443. */
static void test_auth_origin__address(void **state)
{
    (void)state;
    struct kl_origin origin;
    assert_int_equal(kl_origin_parse("127.0.0.1:8443", &origin, NULL), KL_OK);
    assert_true(kl_origin_is_audience(&origin, "https://0.0.1"));
    assert_true(kl_origin_is_audience(&origin, "https://0.0.1:8443"));
    assert_false(kl_origin_is_audience(&origin, "https://0.1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auth_origin__parse),
        cmocka_unit_test(test_auth_origin__parse_refusals),
        cmocka_unit_test(test_auth_origin__parent),
        cmocka_unit_test(test_auth_origin__audiences),
        cmocka_unit_test(test_auth_origin__address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
