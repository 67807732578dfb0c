#include "tests/unit/base/fixture.h"

#include "base/buf.h"

#include <string.h>

static void test_base_buf__append_and_take(void **state)
{
    (void)state;
    struct kl_buf b = KL_BUF_INIT(1000);
    assert_string_equal(kl_buf_text(&b), "");
    kl_buf_puts(&b, "a");
    kl_buf_putc(&b, 'b');
    kl_buf_put(&b, "cd", 2);
    kl_buf_put(&b, NULL, 0);
    kl_buf_printf(&b, "%d%s", 5, "f");
    assert_string_equal(kl_buf_text(&b), "abcd5f");
    KL_AUTO(char) taken = kl_buf_take(&b);
    assert_string_equal(taken, "abcd5f");
    assert_int_equal(b.len, 0);
    KL_AUTO(char) empty = kl_buf_take(&b);
    assert_string_equal(empty, "");
    kl_buf_done(&b);
}

static void test_base_buf__ceiling_is_sticky(void **state)
{
    (void)state;
    struct kl_buf b = KL_BUF_INIT(5);
    kl_buf_puts(&b, "12345");
    assert_false(kl_buf_failed(&b));
    kl_buf_putc(&b, '6');
    assert_true(kl_buf_failed(&b));
    assert_string_equal(kl_buf_text(&b), "12345");
    assert_null(kl_buf_take(&b));
    kl_buf_clear(&b);
    kl_buf_printf(&b, "%s", "123456");
    assert_true(kl_buf_failed(&b));
    assert_string_equal(kl_buf_text(&b), "");
    kl_buf_clear(&b);
    kl_buf_puts(&b, "ok");
    assert_false(kl_buf_failed(&b));
    kl_buf_wipe(&b);
    kl_buf_put(&b, "x", SIZE_MAX);
    assert_true(kl_buf_failed(&b));
    kl_buf_done(&b);
}

static void test_base_buf__json(void **state)
{
    static const struct {
        const char *text;
        size_t n;
        const char *expected;
    } rows[] = {
        {"", 0, "\"\""},
        {"plain text", 10, "\"plain text\""},
        {"a\"b\\c", 5, "\"a\\\"b\\\\c\""},
        {"\n\t\x01\x7f", 4, "\"\\u000a\\u0009\\u0001\\u007f\""},
        {"a\0b", 3, "\"a\\u0000b\""},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x91", 9, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x91\""},
        {"\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""},                 /* overlong */
        {"\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* surrogate */
        {"\xf4\x90\x80\x80", 4, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"x\xe2\x82", 3, "\"x\xef\xbf\xbd\xef\xbf\xbd\""}, /* cut off */
    };
    (void)state;
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct kl_buf b = KL_BUF_INIT(100);
        kl_buf_put_json(&b, rows[i].text, rows[i].n);
        assert_string_equal(kl_buf_text(&b), rows[i].expected);
        kl_buf_done(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_buf__append_and_take),
        cmocka_unit_test(test_base_buf__ceiling_is_sticky),
        cmocka_unit_test(test_base_buf__json),
    };
    return cmocka_run_group_tests_name("base.buf", tests, NULL, NULL);
}
