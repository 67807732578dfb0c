/* kluis: the command line. */
#include "base/secret.h"
#include "cli/command.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

int main(int argc, char **argv)
{
    /* bearer tokens, data keys and plaintexts pass through: no core, no other process of the same
     * user looks in */
    const struct rlimit none = {0};

    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0);
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is a write error with a sentence */
    kl_wiping_allocators();
    return kl_cmd_main(argc, argv);
}
