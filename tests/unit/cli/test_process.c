#include "tests/unit/cli/capture.h"

#include "cli/process.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_cli_process__run_keeps_output_and_status(void **state)
{
    char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, (char[]){"echo hello; exit 4"}, NULL};
    char *missing[] = {(char[]){"/no/such/program"}, NULL};
    struct kl_buf out = KL_BUF_INIT(100);
    int status = -1;

    (void)state;
    assert_int_equal(kl_process_run(argv, &out, &status, NULL), KL_OK);
    assert_int_equal(status, 4);
    assert_string_equal(kl_buf_text(&out), "hello\n");
    kl_buf_done(&out);
    assert_int_equal(kl_process_run(missing, NULL, &status, NULL), KL_OK);
    assert_int_equal(status, 127);
}

static void test_cli_process__converse_answers_prompts(void **state)
{
    KL_AUTO(char) path = fixture_path(*state, "answers");
    KL_AUTO(char) script = NULL;
    KL_AUTO(char) got = NULL;
    const char *const answers[] = {"first", "second", NULL};
    size_t n = 0;
    int status = -1;

    /* as softhsm2-util does: the prompt without a line end, the answer from the terminal */
    assert_true(asprintf(&script,
                         "test -t 0 || exit 9; stty -echo; printf 'SO PIN: '; read a; "
                         "printf 'again PIN: '; read b; printf '%%s %%s' $a $b > %s; exit 3",
                         path) > 0);
    char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, script, NULL};

    assert_int_equal(kl_process_converse(argv, " PIN: ", answers, &status, NULL), KL_OK);
    assert_int_equal(status, 3);
    got = fixture_read(path, &n);
    assert_string_equal(got, "first second");
}

static void test_cli_process__daemon_is_found_and_ended(void **state)
{
    KL_AUTO(char) log = fixture_path(*state, "log");
    KL_AUTO(char) pid_file = fixture_path(*state, "pid");
    KL_AUTO(char) ready = fixture_path(*state, "ready");
    KL_AUTO(char) script = NULL;
    pid_t pid = 0;
    bool there = false;

    /* a leader that ignores SIGTERM, with a child: both must go */
    assert_true(asprintf(&script, "trap '' TERM; sleep 1000 & echo x > %s; wait; wait", ready) > 0);
    char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, script, (char[]){"marked-argument"}, NULL};

    assert_int_equal(kl_process_daemon(argv, *state, log, pid_file, &pid, NULL), KL_OK);
    while (!there) { /* the test's time limit ends a daemon that never comes */
        there = access(ready, F_OK) == 0;
        usleep(1000);
    }
    assert_int_equal(kl_process_of_file(pid_file, "marked-argument"), pid);
    assert_int_equal(kl_process_of_file(pid_file, "other"), 0);
    assert_true(kl_process_end(pid, 50));
    (void)waitpid(pid, NULL, WNOHANG);
    assert_int_equal(kl_process_of_file(pid_file, "marked-argument"), 0);
}

static void test_cli_process__stale_pid_file_is_nobody(void **state)
{
    KL_AUTO(char) garbage = fixture_file(*state, "pid1", "no number", 9);
    KL_AUTO(char) init = fixture_file(*state, "pid2", "1\n", 2);
    KL_AUTO(char) missing = fixture_path(*state, "pid3");

    assert_int_equal(kl_process_of_file(garbage, "x"), 0);
    assert_int_equal(kl_process_of_file(init, "/sbin/init"), 0);
    assert_int_equal(kl_process_of_file(missing, "x"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_process__run_keeps_output_and_status),
        cmocka_unit_test(test_cli_process__converse_answers_prompts),
        cmocka_unit_test(test_cli_process__daemon_is_found_and_ended),
        cmocka_unit_test(test_cli_process__stale_pid_file_is_nobody),
    };

    return cmocka_run_group_tests(tests, fixture_folder, capture_folder_gone);
}
