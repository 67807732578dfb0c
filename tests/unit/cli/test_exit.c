#include "tests/unit/cli/capture.h"

#include "cli/command_parts.h"

#include <errno.h>
#include <string.h>

static enum kl_exit of(enum kl_code code)
{
    struct kl_err err = {.code = code};

    return kl_exit_of(code, &err);
}

static enum kl_exit of_status(enum kl_code code, unsigned long status)
{
    struct kl_err err = {.code = code, .domain = KL_DOMAIN_HTTP, .native = status};

    return kl_exit_of(code, &err);
}

static void test_cli_exit__codes(void **state)
{
    (void)state;
    assert_int_equal(kl_exit_of(KL_OK, NULL), KL_EXIT_DONE);
    assert_int_equal(of(KL_USAGE), KL_EXIT_USAGE);
    assert_int_equal(of(KL_NOT_FOUND), KL_EXIT_NOT_FOUND);
    assert_int_equal(of(KL_FORBIDDEN), KL_EXIT_REFUSED);
    assert_int_equal(of(KL_UNAUTHENTICATED), KL_EXIT_REFUSED);
    assert_int_equal(of(KL_PURGE_PROTECTED), KL_EXIT_REFUSED);
    assert_int_equal(of(KL_UNREACHABLE), KL_EXIT_UNREACHABLE);
    assert_int_equal(of(KL_CORRUPT), KL_EXIT_FAILED);
    assert_int_equal(of(KL_WRAP_PAYLOAD), KL_EXIT_FAILED);
    assert_int_equal(kl_exit_of(KL_IO, NULL), KL_EXIT_FAILED);
}

static void test_cli_exit__statuses(void **state)
{
    static const struct {
        unsigned long status;
        enum kl_exit exit;
    } rows[] = {{400, KL_EXIT_FAILED},      {401, KL_EXIT_REFUSED},     {403, KL_EXIT_REFUSED},
                {404, KL_EXIT_NOT_FOUND},   {405, KL_EXIT_FAILED},      {409, KL_EXIT_REFUSED},
                {413, KL_EXIT_FAILED},      {429, KL_EXIT_FAILED},      {500, KL_EXIT_FAILED},
                {502, KL_EXIT_UNREACHABLE}, {503, KL_EXIT_UNREACHABLE}, {504, KL_EXIT_UNREACHABLE}};

    (void)state;
    for (size_t i = 0; i < KL_COUNT(rows); i++)
        assert_int_equal(of_status(KL_HTTP_STATUS, rows[i].status), rows[i].exit);
    assert_int_equal(of_status(KL_TOKEN_UNAVAILABLE, 503), KL_EXIT_UNREACHABLE);
}

static void test_cli_exit__local_files_are_plain_failures(void **state)
{
    struct kl_err err = {0};

    (void)state;
    errno = ENOENT;
    kl_fail_errno(&err, "open", "x");
    assert_int_equal(kl_exit_of(err.code, &err), KL_EXIT_FAILED);
    errno = EACCES;
    kl_fail_errno(&err, "open", "x");
    assert_int_equal(kl_exit_of(err.code, &err), KL_EXIT_FAILED);
}

static void test_cli_exit__every_code_has_one(void **state)
{
    (void)state;
    for (int c = 1; c < KL_CODE_COUNT; c++) {
        assert_int_not_equal(of((enum kl_code)c), KL_EXIT_DONE);
        assert_in_range(of((enum kl_code)c), KL_EXIT_FAILED, KL_EXIT_UNREACHABLE);
    }
    for (int e = 0; e < KL_EXIT_COUNT; e++)
        assert_true(strlen(kl_exit_text((enum kl_exit)e)) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_exit__codes),
        cmocka_unit_test(test_cli_exit__statuses),
        cmocka_unit_test(test_cli_exit__local_files_are_plain_failures),
        cmocka_unit_test(test_cli_exit__every_code_has_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
