/* Loaded in front of a service (LD_PRELOAD): its wall clock and its count of time since boot stand
 * apart from the machine's by what the file named by MOVED_CLOCK says, and follow it while it
 * runs. `kluis dev up`, which makes certificates for clients on the machine's time, keeps that
 * time. The file: two int64 of this machine, seconds added to CLOCK_REALTIME, seconds added to
 * CLOCK_BOOTTIME. Timers and CLOCK_MONOTONIC are left alone, as by a machine that slept. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t none[2];
static const volatile int64_t *moved = none;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("MOVED_CLOCK");
    bool ours = path != NULL && strcmp(program_invocation_short_name, "kluis") != 0;
    int fd = ours ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = fd >= 0 ? mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (map != MAP_FAILED)
        moved = map;
    if (fd >= 0)
        (void)close(fd);
}

int clock_gettime(clockid_t id, struct timespec *out)
{
    int rc = (int)syscall(SYS_clock_gettime, id, out);
    if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        out->tv_sec += moved[0];
    else if (rc == 0 && id == CLOCK_BOOTTIME)
        out->tv_sec += moved[1];
    return rc;
}

time_t time(time_t *out)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}
