#include "keyvault/boot.h"

#include "base/io.h"
#include "keyvault/model/model.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define DYING_MS 3000

/* A service that was just killed holds its lock until the kernel has taken it apart, and whoever
 * restarts it is quick. */
static bool lock_patiently(int fd)
{
    const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
    for (int left = DYING_MS / 50; flock(fd, LOCK_EX | LOCK_NB) != 0; left--) {
        if (left == 0)
            return false;
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

enum kl_code kl_boot_lock(const char *state_dir, int *ret_fd, struct kl_err *err)
{
    KL_AUTO(char) path = NULL;
    enum kl_code code = kl_io_make_dirs(state_dir, 0700, err);
    if (code != KL_OK)
        return code;
    if (asprintf(&path, "%s/kluisd.lock", state_dir) < 0)
        return kl_fail(err, KL_NO_MEMORY, "lock", "No memory for a path");
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return kl_fail_errno(err, "open", "%s cannot be opened", path);
    if (!lock_patiently(fd)) {
        (void)close(fd);
        return kl_fail(err, KL_CONFLICT, "flock", "another kluisd runs on the state folder %s",
                       state_dir);
    }
    *ret_fd = fd;
    return KL_OK;
}

/* The file has its final mode from its first moment, and never replaces another. */
static enum kl_code make_secret_file(const char *path, int *ret_fd, struct kl_err *err)
{
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST) /* not KL_EXISTS: that is the principal's */
        return kl_fail(err, KL_CONFLICT, "open", "the secret file %s exists already", path);
    if (fd < 0)
        return kl_fail_errno(err, "open", "the secret file %s cannot be made", path);
    *ret_fd = fd;
    return KL_OK;
}

static enum kl_code write_secret(int fd, const char *path, struct kl_secret *secret,
                                 struct kl_err *err)
{
    enum kl_code code = kl_io_write_all(fd, kl_secret_bytes(secret), kl_secret_len(secret), err);
    if (code == KL_OK)
        code = kl_io_write_all(fd, "\n", 1, err);
    if (code == KL_OK && fsync(fd) != 0)
        code = kl_fail_errno(err, "fsync", "%s cannot be written", path);
    return code;
}

static enum kl_code make_principal(struct kl_model *m, const char *name, const char *secret_file,
                                   struct kl_principal *ret, struct kl_err *err)
{
    KL_AUTO(secret) secret = NULL;
    int fd = -1;
    if (kl_principal_find(m, name, ret, NULL) == KL_OK)
        return kl_fail(err, KL_EXISTS, "bootstrap", "a principal named %s exists already", name);
    enum kl_code code = make_secret_file(secret_file, &fd, err);
    if (code != KL_OK)
        return code;
    const struct kl_principal_spec spec = {.name = name, .roles = KL_ROLE_ADMINISTRATOR};
    code = kl_principal_create(m, &spec, ret, &secret, err);
    if (code == KL_OK) {
        code = write_secret(fd, secret_file, secret, err);
        if (code != KL_OK) /* a principal whose secret nobody has is of no use */
            (void)!kl_principal_delete(m, ret->object_id, NULL);
    }
    (void)close(fd);
    if (code != KL_OK)
        (void)unlink(secret_file);
    return code;
}

enum kl_code kl_bootstrap(const struct kl_config *config, const char *name, const char *secret_file,
                          struct kl_err *err)
{
    KL_AUTO(model) model = NULL;
    struct kl_principal p;
    int lock = -1;
    enum kl_code code = kl_boot_lock(config->service->state_dir, &lock, err);
    if (code != KL_OK)
        return code;
    const struct kl_model_config model_config = {.database = config->service->database};
    code = kl_model_open(&model_config, &model, err);
    if (code == KL_OK && config->service->tenant != NULL)
        code = kl_model_set_tenant(model, config->service->tenant, err);
    if (code == KL_OK)
        code = make_principal(model, name, secret_file, &p, err);
    if (code == KL_OK)
        (void)printf("{\"tenant\":\"%s\",\"objectId\":\"%s\",\"clientId\":\"%s\"}\n",
                     kl_model_tenant(model), p.object_id, p.client_id);
    (void)close(lock);
    return code;
}
