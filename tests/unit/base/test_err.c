#include "tests/unit/base/fixture.h"

#include "base/err.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>

static void test_base_err__fill_and_prefix(void **state)
{
    (void)state;
    struct kl_err err = {0};
    assert_int_equal(kl_fail(&err, KL_NOT_FOUND, "open", "no %s", "file"), KL_NOT_FOUND);
    assert_string_equal(err.text, "no file");
    assert_string_equal(err.op, "open");
    assert_int_equal(kl_err_prefix(&err, "line %d", 7), KL_NOT_FOUND);
    assert_string_equal(err.text, "line 7: no file");
    assert_int_equal(kl_fail(NULL, KL_IO, "x", "y"), KL_IO);
    assert_int_equal(kl_err_prefix(NULL, "x"), KL_INTERNAL);
}

static void test_base_err__argument_from_itself(void **state)
{
    (void)state;
    struct kl_err err = {0};
    (void)kl_fail(&err, KL_IO, "read", "inner");
    (void)kl_fail(&err, KL_CONFIG, "load", "outer: %s", err.text);
    assert_string_equal(err.text, "outer: inner");
}

static void test_base_err__long_text_is_cut(void **state)
{
    (void)state;
    struct kl_err err = {0};
    char longest[1000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    (void)kl_fail(&err, KL_IO, longest, "%s", longest);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_int_equal(strlen(err.op), sizeof err.op - 1);
    (void)kl_err_prefix(&err, "%s", "first");
    assert_memory_equal(err.text, "first: xxx", 10);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    (void)kl_err_prefix(&err, "%s", longest);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static void test_base_err__errno(void **state)
{
    static const struct {
        int number;
        enum kl_code code;
    } rows[] = {{ENOENT, KL_NOT_FOUND}, {EACCES, KL_OS_DENIED}, {ENOSPC, KL_NO_SPACE},
                {EDQUOT, KL_NO_SPACE},  {ENOMEM, KL_NO_MEMORY}, {EIO, KL_IO},
                {EEXIST, KL_EXISTS},    {ETIMEDOUT, KL_TIMEOUT}};
    (void)state;
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct kl_err err = {0};
        errno = rows[i].number;
        assert_int_equal(kl_fail_errno(&err, "op", "it"), rows[i].code);
        assert_int_equal(err.native, rows[i].number);
        assert_int_equal(err.domain, KL_DOMAIN_OS);
        assert_memory_equal(err.text, "it: ", 4);
        assert_string_equal(err.text + 4, strerror(rows[i].number));
    }
}

static void test_base_err__openssl_queue_is_emptied(void **state)
{
    (void)state;
    struct kl_err err = {0};
    ERR_raise(ERR_LIB_USER, 77);
    ERR_raise(ERR_LIB_USER, 78);
    assert_int_equal(kl_fail_ossl(&err, "EVP_x", "it failed"), KL_CRYPTO);
    assert_int_equal(ERR_GET_REASON(err.native), 77);
    assert_int_equal(ERR_peek_error(), 0);
    assert_string_equal(err.text, "it failed");
}

static void test_base_err__names(void **state)
{
    (void)state;
    for (int code = 0; code < KL_CODE_COUNT; code++) {
        assert_memory_equal(kl_code_name((enum kl_code)code), "KL_", 3);
        assert_true(strlen(kl_code_text((enum kl_code)code)) > 1);
    }
    assert_string_equal(kl_code_name((enum kl_code)9999), "KL_UNKNOWN");
    assert_string_equal(kl_code_text((enum kl_code)9999), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_err__fill_and_prefix),
        cmocka_unit_test(test_base_err__argument_from_itself),
        cmocka_unit_test(test_base_err__long_text_is_cut),
        cmocka_unit_test(test_base_err__errno),
        cmocka_unit_test(test_base_err__openssl_queue_is_emptied),
        cmocka_unit_test(test_base_err__names),
    };
    return cmocka_run_group_tests_name("base.err", tests, NULL, NULL);
}
