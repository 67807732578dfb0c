#include "base/sandbox.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum kl_code kl_sandbox_begin(struct kl_err *err)
{
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return kl_fail_errno(err, "setrlimit", "core dumps cannot be switched off");
    /* Also keeps ptrace and /proc/PID/mem of other processes of the same user out. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return kl_fail_errno(err, "prctl", "the process cannot be made undumpable");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return kl_fail_errno(err, "prctl", "new privileges cannot be renounced");
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    if (sigaction(SIGPIPE, &ignore, NULL) != 0)
        return kl_fail_errno(err, "sigaction", "SIGPIPE cannot be ignored");
    (void)umask(077);
    return KL_OK;
}
