#include "pkcs11/worker/ask.h"

#include "base/io.h"
#include "pkcs11/worker/pin.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

static enum kl_code read_line(int tty, struct kl_secret *pin, struct kl_err *err)
{
    char c;
    while (read(tty, &c, 1) == 1 && c != '\n') {
        enum kl_code code = kl_secret_append(pin, &c, 1);
        if (code != KL_OK)
            return kl_fail(err, code, "PIN", "a PIN has at most %d characters", KL_PIN_MAX);
    }
    kl_wipe(&c, 1);
    return kl_secret_len(pin) > 0 ? KL_OK : kl_fail(err, KL_BAD_INPUT, "PIN", "no PIN was typed");
}

static enum kl_code ask_terminal(const char *prompt, struct kl_secret **ret, struct kl_err *err)
{
    struct termios before, quiet;
    KL_AUTO(secret) pin = kl_secret_new(KL_PIN_MAX);
    if (pin == NULL)
        return kl_fail(err, KL_NO_MEMORY, "malloc", "no memory for a PIN");
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (tty < 0 || tcgetattr(tty, &before) != 0) {
        if (tty >= 0)
            (void)close(tty);
        return kl_fail(err, KL_CONFIG, "PIN",
                       "there is no terminal to ask for a PIN: give it in a file");
    }
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    quiet.c_lflag |= ICANON;
    (void)tcsetattr(tty, TCSAFLUSH, &quiet);
    enum kl_code code = kl_io_write_all(tty, prompt, strlen(prompt), err);
    if (code == KL_OK)
        code = read_line(tty, pin, err);
    (void)tcsetattr(tty, TCSAFLUSH, &before);
    (void)!write(tty, "\n", 1);
    (void)close(tty);
    if (code == KL_OK)
        *ret = kl_take(pin);
    return code;
}

enum kl_code kl_ask_pin(const char *file, int fd, const char *prompt, struct kl_secret **ret,
                        struct kl_err *err)
{
    if (file != NULL && file[0] != '\0')
        return kl_secret_read_file(file, KL_PIN_MAX, ret, err);
    return fd >= 0 ? kl_secret_read_fd(fd, "the PIN's descriptor", KL_PIN_MAX, ret, err)
                   : ask_terminal(prompt, ret, err);
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
