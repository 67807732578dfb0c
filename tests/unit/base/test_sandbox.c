#include "tests/unit/base/fixture.h"

#include "base/sandbox.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* In a child: a leak checker must be able to look at the parent at its end. */
static int look(void)
{
    struct rlimit core;
    struct sigaction pipe_action;
    if (kl_sandbox_begin(NULL) != KL_OK || prctl(PR_GET_DUMPABLE) != 0 ||
        prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return 1;
    if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_cur != 0 || core.rlim_max != 0)
        return 2;
    if (sigaction(SIGPIPE, NULL, &pipe_action) != 0 || pipe_action.sa_handler != SIG_IGN)
        return 3;
    return umask(0) == 077 ? 0 : 4;
}

static void test_base_sandbox__all_is_given_up(void **state)
{
    int status = -1;
    (void)state;
    pid_t child = fork();
    if (child == 0)
        _exit(look());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_base_sandbox__all_is_given_up)};
    return cmocka_run_group_tests_name("base.sandbox", tests, NULL, NULL);
}
