#include "base/prompt.h"

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};

static volatile sig_atomic_t pending;

static void note(int number)
{
    pending = number;
}

static void catch_signals(struct sigaction before[static KL_COUNT(caught)])
{
    struct sigaction action = {.sa_handler = note}; /* no SA_RESTART: read(2) must come back */
    pending = 0;
    for (size_t i = 0; i < KL_COUNT(caught); i++)
        (void)sigaction(caught[i], &action, &before[i]);
}

static void release_signals(const struct sigaction before[static KL_COUNT(caught)])
{
    for (size_t i = 0; i < KL_COUNT(caught); i++)
        (void)sigaction(caught[i], &before[i], NULL);
    if (pending != 0)
        (void)raise(pending);
}

static enum kl_code read_line(int tty, size_t ceiling, struct kl_secret *line, struct kl_err *err)
{
    char c = 0;
    ssize_t n;
    enum kl_code code = KL_OK;
    while ((n = read(tty, &c, 1)) == 1 && c != '\n') /* to its end, or the rest would be echoed */
        if (code == KL_OK)
            code = kl_secret_append(line, &c, 1);
    kl_wipe(&c, 1);
    if (n < 0 && errno == EINTR)
        return kl_fail(err, KL_USAGE, "read", "given up");
    if (n < 0)
        return kl_fail_errno(err, "read", "the terminal cannot be read");
    if (code != KL_OK)
        return kl_fail(err, code, "read", "more than %zu characters were typed", ceiling);
    return kl_secret_len(line) > 0 ? KL_OK
                                   : kl_fail(err, KL_BAD_INPUT, "read", "nothing was typed");
}

enum kl_code kl_prompt_secret(const char *words, size_t ceiling, struct kl_secret **ret,
                              struct kl_err *err)
{
    struct termios echoing, quiet;
    struct sigaction before[KL_COUNT(caught)];
    KL_AUTO(secret) line = kl_secret_new(ceiling);
    if (line == NULL)
        return kl_fail(err, KL_NO_MEMORY, "mmap", "no memory to read from the terminal");
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (tty < 0 || tcgetattr(tty, &echoing) != 0) {
        if (tty >= 0)
            (void)close(tty);
        return kl_fail(err, KL_CONFIG, "open",
                       "there is no terminal to ask at; give the PIN in a file");
    }
    catch_signals(before);
    quiet = echoing;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    quiet.c_lflag |= ICANON | ISIG;
    enum kl_code code = KL_OK;
    if (tcsetattr(tty, TCSAFLUSH, &quiet) != 0)
        code = kl_fail_errno(err, "tcsetattr", "the terminal's echo cannot be switched off");
    if (code == KL_OK)
        code = kl_io_write_all(tty, words, strlen(words), err);
    if (code == KL_OK)
        code = read_line(tty, ceiling, line, err);
    (void)tcsetattr(tty, TCSAFLUSH, &echoing);
    (void)!write(tty, "\n", 1);
    (void)close(tty);
    release_signals(before);
    if (code == KL_OK)
        *ret = kl_take(line);
    return code;
}
