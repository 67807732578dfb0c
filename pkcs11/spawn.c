#include "pkcs11/client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

extern char **environ;

#define SAFE_FD 10 /* the child's fixed numbers lie below, so no dup2 there can hit a source */

/* Variables of ours and of Azure clients that may carry a secret; a vendor module needs none of
 * them. All others pass, as modules are configured by variables of their own. */
static bool is_private(const char *variable)
{
    static const char *const words[] = {"SECRET", "PASSWORD", "PASSWD", "_PIN=", "_TOKEN="};
    if (strncmp(variable, "KLUIS_", 6) != 0 && strncmp(variable, "AZURE_", 6) != 0)
        return false;
    const char *value = strchr(variable, '=');
    for (size_t i = 0; i < KL_COUNT(words); i++) {
        const char *hit = strstr(variable, words[i]);
        if (hit != NULL && (value == NULL || hit < value))
            return true;
    }
    return false;
}

/* Same name, up to the equals sign. */
static bool is_same(const char *variable, const char *other)
{
    size_t n = strcspn(variable, "=") + 1;
    return strncmp(variable, other, n) == 0;
}

static char **worker_environment(char *instead)
{
    size_t count = 0, kept = 0;
    while (environ[count] != NULL)
        count++;
    char **list = calloc(count + 1, sizeof *list);
    for (size_t i = 0; list != NULL && i < count; i++)
        if (!is_private(environ[i]))
            list[kept++] = instead[0] != 0 && is_same(instead, environ[i]) ? instead : environ[i];
    return list;
}

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            (void)close(pair[i]);
}

static enum kl_code make_pair(int pair[2], struct kl_err *err)
{
    int low[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, low) != 0)
        return kl_fail_errno(err, "socketpair", "no socket for a token worker");
    int room = 1 << 20; /* as many waiting calls as the system's limit allows */
    for (int i = 0; i < 2; i++) {
        pair[i] = fcntl(low[i], F_DUPFD_CLOEXEC, SAFE_FD);
        (void)setsockopt(low[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    }
    close_pair(low);
    if (pair[0] >= 0 && pair[1] >= 0)
        return KL_OK;
    enum kl_code code = kl_fail_errno(err, "fcntl", "no socket for a token worker");
    close_pair(pair);
    return code;
}

static int set_actions(posix_spawn_file_actions_t *a, const int child[KL_PROTO_LANES], int pin_fd)
{
    int rc = posix_spawn_file_actions_addopen(a, 0, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(a, 2, 1);
    for (int i = 0; rc == 0 && i < KL_PROTO_LANES; i++)
        rc = posix_spawn_file_actions_adddup2(a, child[i], KL_PROTO_FD_LANE + i);
    if (rc == 0 && pin_fd >= 0)
        rc = posix_spawn_file_actions_adddup2(a, pin_fd, KL_PROTO_FD_PIN);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(a, KL_PROTO_FD_PIN + (pin_fd >= 0));
    return rc;
}

static int set_attributes(posix_spawnattr_t *attr)
{
    sigset_t none, all;
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    (void)posix_spawnattr_setsigmask(attr, &none);
    (void)posix_spawnattr_setsigdefault(attr, &all);
    (void)posix_spawnattr_setpgroup(attr,
                                    0); /* a terminal's ^C must not cut a key generation short */
    return posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETPGROUP);
}

static enum kl_code start(struct kl_client *c, const int child[KL_PROTO_LANES], struct kl_err *err)
{
    char *argv[] = {c->worker, (char[]){"--worker"}, NULL};
    char **env = worker_environment(c->variable);
    if (env == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for a token worker");
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawnattr_init(&attr);
    int rc = set_actions(&actions, child, c->pin_fd);
    if (rc == 0)
        rc = set_attributes(&attr);
    if (rc == 0)
        rc = posix_spawn(&c->pid, c->worker, &actions, &attr, argv, env);
    (void)posix_spawnattr_destroy(&attr);
    (void)posix_spawn_file_actions_destroy(&actions);
    free(env);
    if (rc == 0)
        return KL_OK;
    c->pid = 0;
    errno = rc;
    return kl_fail_errno(err, "posix_spawn", "%s cannot be started", c->worker);
}

static enum kl_code send_config(struct kl_client *c, int fd, struct kl_err *err)
{
    uint8_t frame[KL_PROTO_MAX];
    size_t n = kl_proto_put_config(frame, &c->conf);
    if (send(fd, frame, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return kl_fail_errno(err, "send", "the configuration cannot be handed to the worker");
    return KL_OK;
}

enum kl_code kl_spawn_worker(struct kl_client *c, struct kl_err *err)
{
    int pairs[KL_PROTO_LANES][2] = {{-1, -1}, {-1, -1}};
    enum kl_code code = KL_OK;
    for (int i = 0; code == KL_OK && i < KL_PROTO_LANES; i++)
        code = make_pair(pairs[i], err);
    if (code == KL_OK)
        code = send_config(c, pairs[KL_LANE_MANAGE][0], err);
    if (code == KL_OK)
        code = start(c, (const int[]){pairs[0][1], pairs[1][1]}, err);
    for (int i = 0; i < KL_PROTO_LANES; i++) {
        if (code != KL_OK) {
            close_pair(pairs[i]);
            continue;
        }
        (void)close(pairs[i][1]);
        c->lanes[i].fd = pairs[i][0];
    }
    return code;
}

enum kl_code kl_spawn_keep_pin(int fd, int *ret, struct kl_err *err)
{
    int copy = memfd_create("kluis-pin", MFD_CLOEXEC);
    int high = copy < 0 ? -1 : fcntl(copy, F_DUPFD_CLOEXEC, SAFE_FD);
    if (copy >= 0)
        (void)close(copy);
    if (high < 0)
        return kl_fail_errno(err, "memfd_create", "no room to keep the PIN");
    ssize_t n;
    do {
        n = splice(fd, NULL, high, NULL, 4096, 0); /* from a pipe */
        if (n < 0 && errno == EINVAL)
            n = sendfile(high, fd, NULL, 4096); /* from a file */
    } while (n > 0 || (n < 0 && errno == EINTR));
    if (n < 0) {
        enum kl_code code = kl_fail_errno(err, "splice", "the PIN cannot be read from fd:%d", fd);
        (void)close(high);
        return code;
    }
    *ret = high;
    return KL_OK;
}
