#include "tests/unit/cli/capture.h"

#include "base/clock.h"
#include "cli/value.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void test_cli_value__times(void **state)
{
    static const struct {
        const char *text;
        int64_t unix_time;
    } good[] = {{"2030-01-01", 1893456000},
                {"2030-01-01T00:00:01Z", 1893456001},
                {"2030-01-01T00:01Z", 1893456060},
                {"2028-02-29", 1835395200},
                {"1893456000", 1893456000}};
    static const char *const bad[] = {"",           "tomorrow",    "2030-13-01",
                                      "2029-02-29", "2030-01-01x", "+90x",
                                      "+d",         "-5",          "2030-01-01T00:00:00+01:00",
                                      "+-1d"};
    int64_t t = 0, now = kl_clock_unix();

    (void)state;
    for (size_t i = 0; i < KL_COUNT(good); i++) {
        assert_int_equal(kl_value_time("expires", good[i].text, &t, NULL), KL_OK);
        assert_int_equal(t, good[i].unix_time);
    }
    for (size_t i = 0; i < KL_COUNT(bad); i++) {
        struct kl_err err = {0};

        assert_int_equal(kl_value_time("expires", bad[i], &t, &err), KL_USAGE);
        assert_non_null(strstr(err.text, "--expires"));
    }
    assert_int_equal(kl_value_time("expires", "+90d", &t, NULL), KL_OK);
    assert_in_range(t, now + 90 * 86400, now + 90 * 86400 + 60);
}

static void test_cli_value__base64_of_both_kinds(void **state)
{
    static const char *const good[] = {"-_8=", "+/8=", "-_8", "+/8"};
    static const char *const bad[] = {"", "A", "AB CD", "AB!D", "A===", "-_9"};

    (void)state;
    for (size_t i = 0; i < KL_COUNT(good); i++) {
        KL_AUTO(secret) s = NULL;

        assert_int_equal(kl_value_decode("value", good[i], &s, NULL), KL_OK);
        assert_int_equal(kl_secret_len(s), 2);
        assert_memory_equal(kl_secret_bytes(s), "\xfb\xff", 2);
    }
    for (size_t i = 0; i < KL_COUNT(bad); i++) {
        KL_AUTO(secret) s = NULL;

        assert_int_equal(kl_value_decode("value", bad[i], &s, NULL), KL_USAGE);
        assert_null(s);
    }
}

static void test_cli_value__read(void **state)
{
    KL_AUTO(char) full = fixture_file(*state, "full", "dek\n", 4);
    KL_AUTO(char) empty = fixture_file(*state, "empty", "", 0);
    KL_AUTO(char) missing = fixture_path(*state, "missing");
    KL_AUTO(secret) s = NULL;
    struct kl_err err = {0};

    assert_int_equal(kl_value_read(full, &s, &err), KL_OK);
    assert_int_equal(kl_secret_len(s), 4); /* data is data: the newline stays */
    assert_int_equal(kl_value_read(empty, &s, &err), KL_BAD_INPUT);
    assert_int_not_equal(kl_value_read(missing, &s, &err), KL_OK);
    assert_int_equal(kl_exit_of(err.code, &err), KL_EXIT_FAILED); /* not "the key is not there" */
}

static void test_cli_value__too_long_is_refused(void **state)
{
    KL_AUTO(bytes) much = calloc(1, KL_VALUE_MAX + 1);
    KL_AUTO(char) path = fixture_file(*state, "much", much, KL_VALUE_MAX + 1);
    KL_AUTO(secret) s = NULL;

    assert_int_equal(kl_value_read(path, &s, NULL), KL_TOO_BIG);
    assert_null(s);
}

static void test_cli_value__write_never_replaces_unasked(void **state)
{
    KL_AUTO(char) path = fixture_path(*state, "blob");
    KL_AUTO(char) content = NULL;
    struct stat st;
    size_t n = 0;

    assert_int_equal(kl_value_write(path, false, "one", 3, NULL), KL_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(kl_value_write(path, false, "two", 3, NULL), KL_EXISTS);
    content = fixture_read(path, &n);
    assert_string_equal(content, "one");
    free(kl_take(content));
    assert_int_equal(kl_value_write(path, true, "two", 3, NULL), KL_OK);
    content = fixture_read(path, &n);
    assert_string_equal(content, "two");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_value__times),
        cmocka_unit_test(test_cli_value__base64_of_both_kinds),
        cmocka_unit_test(test_cli_value__read),
        cmocka_unit_test(test_cli_value__too_long_is_refused),
        cmocka_unit_test(test_cli_value__write_never_replaces_unasked),
    };

    return cmocka_run_group_tests(tests, fixture_folder, capture_folder_gone);
}
