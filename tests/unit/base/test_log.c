#include "tests/unit/base/fixture.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Run the calls with standard error in a pipe; what came out, as text. */
static void capture(void (*calls)(void), char *out, size_t room)
{
    int fds[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(fds), 0);
    assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
    calls();
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    (void)close(saved);
    (void)close(fds[1]);
    ssize_t n = read(fds[0], out, room - 1);
    (void)close(fds[0]);
    out[n > 0 ? n : 0] = 0;
}

static void hostile(void)
{
    errno = 77;
    kl_log(KL_LOG_INFO, "name %s", "a\nforged line\x1b[0m\x7f");
    assert_int_equal(errno, 77);
}

static void below(void)
{
    kl_log(KL_LOG_DEBUG, "not seen");
}

static void longest(void)
{
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    kl_log(KL_LOG_ERROR, "%s", text);
}

static void error(void)
{
    struct kl_err err = {0};
    (void)kl_fail_native(&err, KL_IO, KL_DOMAIN_OS, 5, "read", "it broke");
    kl_log_err(KL_LOG_WARNING, "store", &err);
}

static void test_base_log__one_line_whatever_comes(void **state)
{
    char out[8192];
    (void)state;
    capture(hostile, out, sizeof out);
    assert_non_null(strstr(out, " kluis info name a?forged line?[0m?\n"));
    assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
    capture(longest, out, sizeof out);
    assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
}

static void test_base_log__level_and_error(void **state)
{
    char out[8192];
    (void)state;
    capture(below, out, sizeof out);
    assert_string_equal(out, "");
    kl_log_setup("test", KL_LOG_DEBUG);
    capture(below, out, sizeof out);
    assert_non_null(strstr(out, " test debug not seen\n"));
    capture(error, out, sizeof out);
    assert_non_null(strstr(out, "warning store: it broke (KL_IO op=read native=0x5)\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_log__one_line_whatever_comes),
        cmocka_unit_test(test_base_log__level_and_error),
    };
    return cmocka_run_group_tests_name("base.log", tests, NULL, NULL);
}
