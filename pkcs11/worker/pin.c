#include "pkcs11/worker/pin.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

static enum kl_code read_credential(const char *name, struct kl_secret **ret, struct kl_err *err)
{
    char path[PATH_MAX];
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (name[0] == 0 || name[0] == '.' || strchr(name, '/') != NULL)
        return kl_fail(err, KL_CONFIG, "pin-source",
                       "credential: needs a plain file name behind it");
    if (folder == NULL || folder[0] != '/')
        return kl_fail(
            err, KL_CONFIG, "pin-source",
            "there is no $CREDENTIALS_DIRECTORY: credential:NAME works under systemd with LoadCredential");
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return kl_fail(err, KL_CONFIG, "pin-source", "the credential's path is too long");
    return kl_secret_read_file(path, KL_PIN_MAX, ret, err);
}

enum kl_code kl_pin_read(const char *source, int pin_fd, struct kl_secret **ret, struct kl_err *err)
{
    if (strncmp(source, "credential:", 11) == 0)
        return read_credential(source + 11, ret, err);
    if (strncmp(source, "fd:", 3) == 0) {
        (void)lseek(pin_fd, 0, SEEK_SET);
        return kl_secret_read_fd(pin_fd, source, KL_PIN_MAX, ret, err);
    }
    if (source[0] != '/')
        return kl_fail(err, KL_CONFIG, "pin-source",
                       "pin-source must be an absolute path, fd:N or credential:NAME");
    return kl_secret_read_file(source, KL_PIN_MAX, ret, err);
}
