#include "cli/progress.h"

#include "base/clock.h"

#include <stdio.h>
#include <unistd.h>

enum { FIRST_MS = 2000, AGAIN_MS = 200 };

void kl_progress_begin(struct kl_progress *p, uint64_t total)
{
    *p = (struct kl_progress){
        .total = total,
        .begin_ms = kl_clock_mono_ms(),
        .terminal = isatty(STDERR_FILENO) != 0,
    };
}

static void put_size(char *out, size_t room, double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;

    for (; bytes >= 1000 && unit < 4; unit++)
        bytes /= 1024;
    (void)snprintf(out, room, bytes < 10 && unit > 0 ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
}

static void put_time_left(char *out, size_t room, uint64_t left, double rate)
{
    const uint64_t seconds = (uint64_t)((double)left / rate);

    (void)snprintf(out, room, ", %llu:%02llu:%02llu left", (unsigned long long)(seconds / 3600),
                   (unsigned long long)(seconds / 60 % 60), (unsigned long long)(seconds % 60));
}

void kl_progress_step(void *arg, uint64_t bytes)
{
    struct kl_progress *p = arg;
    const int64_t now = p->terminal ? kl_clock_mono_ms() : 0;
    char done[32], rate_text[32], share[16] = "", left[48] = "";

    if (!p->terminal || now - p->begin_ms < FIRST_MS || now - p->shown_ms < AGAIN_MS)
        return;
    const double rate = (double)bytes * 1000 / (double)(now - p->begin_ms);

    put_size(done, sizeof done, (double)bytes);
    put_size(rate_text, sizeof rate_text, rate);
    if (p->total >= bytes && p->total > 0 && rate > 0) {
        (void)snprintf(share, sizeof share, ", %u %%", (unsigned)(bytes * 100 / p->total));
        put_time_left(left, sizeof left, p->total - bytes, rate);
    }
    fprintf(stderr, "\r\033[K%s, %s/s%s%s", done, rate_text, share, left);
    p->shown_ms = now;
    p->shown = true;
}

void kl_progress_end(struct kl_progress *p)
{
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->shown = false;
}
