#include "pkcs11/worker/ask.h"

#include "base/io.h"
#include "base/prompt.h"
#include "pkcs11/worker/pin.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

enum kl_code kl_ask_pin(const char *file, int fd, const char *prompt, struct kl_secret **ret,
                        struct kl_err *err)
{
    if (file != NULL && file[0] != '\0')
        return kl_secret_read_file(file, KL_PIN_MAX, ret, err);
    return fd >= 0 ? kl_secret_read_fd(fd, "the PIN's descriptor", KL_PIN_MAX, ret, err)
                   : kl_prompt_secret(prompt, KL_PIN_MAX, ret, err);
}

enum kl_code kl_ask_keep(struct kl_secret *pin, int *ret_fd, struct kl_err *err)
{
    int fd = memfd_create("pin", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return kl_fail_errno(err, "memfd_create", "no memory for a PIN");
    enum kl_code code = kl_io_write_all(fd, kl_secret_bytes(pin), kl_secret_len(pin), err);
    if (code != KL_OK) {
        (void)close(fd);
        return code;
    }
    (void)fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    *ret_fd = fd;
    return KL_OK;
}
