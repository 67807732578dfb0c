#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

static atomic_llong wall_shift_ms;
static atomic_llong mono_shift_ms;

static int64_t read_ms(clockid_t id)
{
    struct timespec t;
    (void)clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t kl_clock_unix_ms(void)
{
    return read_ms(CLOCK_REALTIME) + atomic_load_explicit(&wall_shift_ms, memory_order_relaxed);
}

int64_t kl_clock_unix(void)
{
    return kl_clock_unix_ms() / 1000;
}

int64_t kl_clock_mono_ms(void)
{
    return read_ms(CLOCK_BOOTTIME) + atomic_load_explicit(&mono_shift_ms, memory_order_relaxed);
}

int64_t kl_clock_mono_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

struct timespec kl_clock_deadline(int64_t us)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(us / 1000000);
    t.tv_nsec += (long)(us % 1000000) * 1000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

void kl_clock_shift(int64_t wall_seconds, int64_t mono_ms)
{
    (void)atomic_fetch_add(&wall_shift_ms, wall_seconds * 1000);
    (void)atomic_fetch_add(&mono_shift_ms, mono_ms);
}

void kl_clock_iso(int64_t unix_ms, char out[static 32])
{
    unix_ms = unix_ms < 0 ? 0 : unix_ms; /* no clock of ours stood before 1970 */
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm utc = {0};
    (void)gmtime_r(&seconds, &utc);
    size_t used = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(out + used, 32 - used, ".%03d0000Z", (int)(unix_ms % 1000));
}
