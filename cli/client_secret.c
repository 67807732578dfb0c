#include "cli/client_secret.h"

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum kl_code kl_client_secret_begin(struct kl_cmd *cmd, struct kl_client_secret *ret,
                                    struct kl_err *err)
{
    const char *path = kl_cmd_value(cmd, "secret-file");
    int fd = -1;

    if ((path == NULL) != kl_cmd_flag(cmd, "show-secret"))
        return kl_fail(err, KL_USAGE, NULL,
                       "the client secret is shown only once: name a new file with --secret-file, "
                       "or say --show-secret to have it printed");
    if (path != NULL)
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (path != NULL && fd < 0 && errno == EEXIST)
        return kl_fail_native(err, KL_EXISTS, KL_DOMAIN_OS, EEXIST, "open",
                              "%s is there already; a client secret never replaces a file", path);
    if (path != NULL && fd < 0)
        return kl_fail_errno(err, "open", "cannot write %s", path);
    *ret = (struct kl_client_secret){.path = path, .fd = fd};
    return KL_OK;
}

static enum kl_code write_to(const char *secret, const struct kl_client_secret *s,
                             struct kl_err *err)
{
    enum kl_code code = kl_io_write_all(s->fd, secret, strlen(secret), err);

    if (code == KL_OK) /* not dprintf, whose buffer is not wiped */
        code = kl_io_write_all(s->fd, "\n", 1, err);
    if (code == KL_OK && fsync(s->fd) != 0)
        code = kl_fail_errno(err, "fsync", "cannot write %s", s->path);
    return code;
}

enum kl_code kl_client_secret_end(struct kl_client_secret *s, enum kl_code code, json_t *answer,
                                  struct kl_err *err)
{
    const char *secret = NULL;

    if (code == KL_OK)
        code = kl_json_string(answer, "clientSecret", &secret, err);
    if (code == KL_OK && secret == NULL)
        code = kl_fail(err, KL_CORRUPT, NULL, "the service's answer holds no client secret");
    if (code == KL_OK && s->path != NULL)
        code = write_to(secret, s, err);
    else if (code == KL_OK)
        kl_cmd_say("Client secret: %s", secret);
    if (s->fd >= 0)
        close(s->fd);
    if (code != KL_OK && s->path != NULL)
        unlink(s->path);
    if (code == KL_OK)
        json_object_del(answer, "clientSecret");
    return code;
}
