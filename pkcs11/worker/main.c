/* kluis-tokend: the only program that loads a vendor's PKCS#11 module. Started by the client
 * (--worker), or by people for ceremonies and to try a token out. */
#include "base/log.h"
#include "pkcs11/worker/hand.h"
#include "pkcs11/worker/serve.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void harden(void)
{
    const struct rlimit none = {0, 0};
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)umask(077);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* The worker ends when its client closes the lanes or dies, not by a terminal's or a service
 * manager's signal: those reach the client too, which lets calls in flight finish first. */
static int run_worker(void)
{
    static const int lanes[KL_PROTO_LANES] = {KL_PROTO_FD_LANE, KL_PROTO_FD_LANE + 1};
    struct kl_worker_config conf;
    uint8_t frame[KL_PROTO_MAX + 1];
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    ssize_t n = recv(lanes[KL_LANE_MANAGE], frame, sizeof frame, 0);
    if (n <= 0 || n > KL_PROTO_MAX || kl_proto_get_config(frame, (size_t)n, &conf) != KL_OK)
        return KL_EXIT_PROTOCOL;
    return kl_serve(&conf, lanes, KL_PROTO_FD_PIN);
}

int main(int argc, char **argv)
{
    harden();
    kl_log_setup("kluis-tokend", KL_LOG_INFO);
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        kl_hand_usage(stdout);
        return 0;
    }
    /* exit handlers of vendor modules crash */
    if (argc == 2 && strcmp(argv[1], "--worker") == 0)
        _exit(run_worker());
    if (argc < 2) {
        kl_hand_usage(stderr);
        return KL_EXIT_USAGE;
    }
    _exit(kl_hand_main(argc, argv));
}
