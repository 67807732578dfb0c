#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static _Atomic(const char *) program_name = "kluis";
static atomic_int threshold = KL_LOG_INFO;

void kl_log_setup(const char *program, enum kl_log_level level)
{
    atomic_store(&program_name, program);
    atomic_store(&threshold, level);
}

void kl_log(enum kl_log_level level, const char *fmt, ...)
{
    static const char *const words[] = {"debug", "info", "warning", "error"};
    if ((int)level < atomic_load(&threshold))
        return;
    int before = errno; /* a log line must not change what the caller is about to look at */
    char line[1200], when[32];
    kl_clock_iso(kl_clock_unix_ms(), when);
    int head = snprintf(line, sizeof line, "%.23sZ %s %s ", when, atomic_load(&program_name),
                        words[level]);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line + head, sizeof line - (size_t)head - 1, fmt, ap);
    va_end(ap);
    size_t n = strlen(line);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[n++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, n);
    (void)written; /* nowhere left to complain */
    errno = before;
}

void kl_log_err(enum kl_log_level level, const char *what, const struct kl_err *err)
{
    kl_log(level, "%s: %s (%s op=%s native=0x%lx%s%s)", what, err->text, kl_code_name(err->code),
           err->op, err->native, err->detail[0] != 0 ? " detail=" : "", err->detail);
}
