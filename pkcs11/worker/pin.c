#include "pkcs11/worker/pin.h"

#include "pkcs11/proto.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
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

enum kl_pin_kind kl_pin_kind(const char *source)
{
    if (strncmp(source, "credential:", 11) == 0)
        return KL_PIN_CREDENTIAL;
    if (strncmp(source, "fd:", 3) == 0)
        return KL_PIN_FD;
    if (strcmp(source, "prompt") == 0)
        return KL_PIN_PROMPT;
    return strcmp(source, "protected") == 0 ? KL_PIN_PROTECTED : KL_PIN_FILE;
}

enum kl_code kl_pin_read(const char *source, int pin_fd, struct kl_secret **ret, struct kl_err *err)
{
    enum kl_pin_kind kind = kl_pin_kind(source);
    if (kind == KL_PIN_CREDENTIAL)
        return read_credential(source + 11, ret, err);
    if (kind == KL_PIN_FD) {
        (void)lseek(pin_fd, 0, SEEK_SET);
        return kl_secret_read_fd(pin_fd, source, KL_PIN_MAX, ret, err);
    }
    if (source[0] != '/')
        return kl_fail(err, KL_CONFIG, "pin-source",
                       "pin-source must be an absolute path, fd:N, credential:NAME, prompt or "
                       "protected");
    return kl_secret_read_file(source, KL_PIN_MAX, ret, err);
}

static enum kl_code take_pin(const uint8_t *frame, size_t n, struct kl_secret **ret,
                             struct kl_err *err)
{
    const uint8_t *bytes;
    size_t len;
    KL_AUTO(secret) pin = kl_secret_new(KL_PIN_MAX);
    if (n > KL_PROTO_MAX || kl_proto_get_pin(frame, n, &bytes, &len) != KL_OK)
        _exit(KL_EXIT_PROTOCOL);
    if (pin == NULL || kl_secret_append(pin, bytes, len) != KL_OK)
        return kl_fail(err, KL_NO_MEMORY, "mmap", "no memory for a PIN");
    *ret = kl_take(pin);
    return KL_OK;
}

enum kl_code kl_pin_ask(int lane, const char *why, struct kl_secret **ret, struct kl_err *err)
{
    uint8_t frame[KL_PROTO_MAX + 1];
    ssize_t n = send(lane, frame, kl_proto_put_ask_pin(frame, why), MSG_NOSIGNAL);
    if (n > 0)
        do
            n = recv(lane, frame, sizeof frame, 0);
        while (n < 0 && errno == EINTR);
    if (n <= 0)
        _exit(0); /* the client is gone */
    enum kl_code code = take_pin(frame, (size_t)n, ret, err);
    kl_wipe(frame, sizeof frame);
    return code;
}
