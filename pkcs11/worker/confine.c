#include "pkcs11/worker/confine.h"

#include "base/io.h"
#include "base/log.h"
#include "pkcs11/worker/files.h"
#include "pkcs11/worker/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

struct identity {
    uid_t uid;
    gid_t gid;
};

static enum kl_code find_user(const char *name, struct identity *ret, struct kl_err *err)
{
    errno = 0;
    const struct passwd *found = getpwnam(name);
    if (found == NULL)
        return kl_fail(err, KL_CONFIG, "user", "user = %s: there is no such user", name);
    if (found->pw_uid == 0)
        return kl_fail(err, KL_CONFIG, "user", "user = %s is root; name another user", name);
    *ret = (struct identity){found->pw_uid, found->pw_gid};
    return KL_OK;
}

/* Reached by its descriptor: the folders above it are the service's, and closed to another user. */
static enum kl_code open_state(const struct kl_worker_config *conf, const struct identity *who,
                               char ret[static KL_STATE_PATH_MAX], char *ret_real,
                               struct kl_err *err)
{
    enum kl_code code = KL_OK;
    if (snprintf(ret_real, PATH_MAX, "%s/token-%s", conf->state_dir, conf->name) >= PATH_MAX)
        return kl_fail(err, KL_CONFIG, "state-dir", "the path of state-dir is too long");
    code = kl_io_make_dirs(ret_real, 0700, err);
    if (code != KL_OK)
        return code;
    int fd = open(ret_real, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || (who != NULL && fchown(fd, who->uid, who->gid) != 0)) {
        code = kl_fail_errno(err, "open", "the token's state folder %s cannot be used", ret_real);
        if (fd >= 0)
            (void)close(fd);
        return code;
    }
    (void)snprintf(ret, KL_STATE_PATH_MAX, "/proc/self/fd/%d", fd);
    return KL_OK;
}

static enum kl_code become(const struct kl_worker_config *conf, const struct identity *who,
                           struct kl_err *err)
{
    if (setgroups(0, NULL) != 0 || setresgid(who->gid, who->gid, who->gid) != 0 ||
        setresuid(who->uid, who->uid, who->uid) != 0)
        return kl_fail_errno(err, "setresuid", "the worker cannot become user %s", conf->user);
    /* the kernel takes both back when the user changes */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        return kl_fail_errno(err, "prctl", "the worker cannot be hardened");
    if (conf->store_dir[0] != 0 && access(conf->store_dir, R_OK | W_OK | X_OK) != 0)
        return kl_fail_errno(err, "access", "user %s cannot use store-dir %s (chown -R %s)",
                             conf->user, conf->store_dir, conf->user);
    return KL_OK;
}

static enum kl_code close_files(const struct kl_worker_config *conf, const char *state,
                                struct kl_err *err)
{
    bool confined = false;
    enum kl_code code = kl_files_confine(conf, state, &confined, err);
    if (code == KL_OK && !confined)
        kl_log(KL_LOG_WARNING,
               "token=%s this kernel has no Landlock: the module sees every file that its user may "
               "see; give it one of its own (user = …)",
               conf->name);
    return code;
}

enum kl_code kl_confine(const struct kl_worker_config *conf,
                        char ret_state[static KL_STATE_PATH_MAX], struct kl_err *err)
{
    struct identity who;
    char state[KL_STATE_PATH_MAX] = "", real[PATH_MAX] = "";
    bool changes = conf->user[0] != 0;
    if (changes && geteuid() != 0)
        return kl_fail(
            err, KL_CONFIG, "user",
            "user = %s works only for a service that root started; without root the worker "
            "runs as the service's user",
            conf->user);
    enum kl_code code = changes ? find_user(conf->user, &who, err) : KL_OK;
    if (code == KL_OK && conf->state_dir[0] != 0)
        code = open_state(conf, changes ? &who : NULL, state, real, err);
    if (code == KL_OK)
        code = close_files(conf, real, err);
    if (code == KL_OK && changes)
        code = become(conf, &who, err);
    if (code == KL_OK)
        code = kl_syscalls_confine(conf->name, conf->syscalls, conf->network, err);
    if (code == KL_OK)
        memcpy(ret_state, state, sizeof state);
    return code;
}
