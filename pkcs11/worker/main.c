/* kluis-tokend: the only program that loads a vendor's PKCS#11 module. Started by the client
 * (--worker), or by people for the ceremony. */
#include "base/log.h"
#include "pkcs11/worker/ceremony.h"
#include "pkcs11/worker/serve.h"

#include <getopt.h>
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

struct options {
    bool worker, probe, domain_key;
    struct kl_worker_config conf;
    const char *so_pin_file;
};

static bool copy(char *out, size_t room, const char *value)
{
    return snprintf(out, room, "%s", value) < (int)room;
}

/* The worker takes absolute paths only. */
static bool copy_path(char *out, size_t room, const char *value)
{
    char *path = realpath(value, NULL);
    bool fine = path != NULL && copy(out, room, path);
    if (path == NULL)
        perror(value);
    free(path);
    return fine;
}

static bool read_options(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {{"worker", no_argument, NULL, 'w'},
                                          {"probe", no_argument, NULL, 'p'},
                                          {"domain-key-create", no_argument, NULL, 'd'},
                                          {"module", required_argument, NULL, 'm'},
                                          {"uri", required_argument, NULL, 'u'},
                                          {"pin-file", required_argument, NULL, 'f'},
                                          {"so-pin-file", required_argument, NULL, 's'},
                                          {"init-args", required_argument, NULL, 'i'},
                                          {"store-dir", required_argument, NULL, 't'},
                                          {"state-dir", required_argument, NULL, 'l'},
                                          {NULL, 0, NULL, 0}};
    struct kl_worker_config *c = &o->conf;
    bool fine = copy(c->name, sizeof c->name, "token");
    c->software_oaep = true;
    for (int opt; fine && (opt = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (opt) {
        case 'w':
            o->worker = true;
            break;
        case 'p':
            o->probe = true;
            break;
        case 'd':
            o->domain_key = true;
            break;
        case 'm':
            fine = copy(c->module, sizeof c->module, optarg);
            break;
        case 'u':
            fine = copy(c->uri, sizeof c->uri, optarg);
            break;
        case 'f':
            fine = copy_path(c->pin_source, sizeof c->pin_source, optarg);
            break;
        case 's':
            o->so_pin_file = optarg;
            break;
        case 'i':
            fine = copy(c->init_args, sizeof c->init_args, optarg);
            break;
        case 't':
            fine = copy(c->store_dir, sizeof c->store_dir, optarg);
            break;
        case 'l':
            fine = copy(c->state_dir, sizeof c->state_dir, optarg);
            break;
        default:
            fine = false;
            break;
        }
    }
    if (!fine || optind != argc || o->worker + o->probe + o->domain_key != 1)
        return false;
    return o->worker || (c->module[0] == '/' && c->uri[0] != 0 && c->pin_source[0] != 0 &&
                         (!o->domain_key || o->so_pin_file != NULL));
}

static void put_usage(FILE *to)
{
    (void)fputs(
        "usage: kluis-tokend --probe --module FILE --uri URI --pin-file FILE\n"
        "       kluis-tokend --domain-key-create --module FILE --uri URI --so-pin-file FILE\n"
        "                    --pin-file FILE\n"
        "       both also take --init-args TEXT, --store-dir DIR, --state-dir DIR\n"
        "kluisd starts its workers itself.\n",
        to);
}

static int exit_status(enum kl_code code)
{
    switch ((int)code) {
    case KL_OK:
        return 0;
    case KL_EXISTS:
        return KL_EXIT_EXISTS;
    case KL_TOKEN_UNSUPPORTED:
        return KL_EXIT_UNSUPPORTED;
    case KL_TOKEN_PIN:
        return KL_EXIT_PIN;
    default:
        return KL_EXIT_START;
    }
}

int main(int argc, char **argv)
{
    static struct options o;
    struct kl_err err = {.code = KL_OK};
    harden();
    kl_log_setup("kluis-tokend", KL_LOG_INFO);
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        put_usage(stdout);
        return 0;
    }
    if (!read_options(argc, argv, &o)) {
        put_usage(stderr);
        return KL_EXIT_USAGE;
    }
    if (o.worker)
        _exit(run_worker()); /* exit handlers of vendor modules crash */
    enum kl_code code = o.probe ? kl_ceremony_probe(&o.conf, &err)
                                : kl_ceremony_domain_key(&o.conf, o.so_pin_file, &err);
    if (code != KL_OK)
        (void)fprintf(stderr, "kluis-tokend: %s\n", err.text);
    _exit(exit_status(code));
}
