/* Files beside the script. SCRIPT.state: counts as numbers, shared by all processes and lives.
 * SCRIPT.count: the same as text, one line of a fixed width for each function. SCRIPT.crash: how
 * often a process of the module's user died of a fault of its own, one byte each. */
#include "tests/fault/fault.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NAME_WIDTH 26
#define DIGITS     12
#define LINE_WIDTH (NAME_WIDTH + DIGITS + 1)

struct state {
    atomic_ullong calls[FAULT_FN_COUNT], total;
    atomic_uint wrong_pins;
};

static struct state *state;
static char *text;
static pthread_once_t opened = PTHREAD_ONCE_INIT;

static const char *const names[] = {
#define F(name) #name,
    FAULT_FUNCTIONS(F)
#undef F
};

const char *fault_fn_name(unsigned fn)
{
    return names[fn];
}

/* Shared memory of a file; of this process alone when there is no script or no right to write. */
static void *map(const char *ending, size_t n)
{
    char path[640];
    (void)snprintf(path, sizeof path, "%s.%s", fault_script_path(), ending);
    int fd = -1;
    if (fault_script_path()[0] != 0) {
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || ftruncate(fd, (off_t)n) != 0)
            (void)fprintf(stderr, "kluis-fault: %s cannot be written; nothing is counted\n", path);
    }
    int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (fd >= 0)
        (void)close(fd);
    return p;
}

static void render(unsigned fn)
{
    unsigned long long shown;
    char line[LINE_WIDTH + 1];
    do { /* a thread that was overtaken writes once more */
        shown = atomic_load(&state->calls[fn]);
        (void)snprintf(line, sizeof line, "%-*s%0*llu\n", NAME_WIDTH, names[fn], DIGITS, shown);
        memcpy(text + (size_t)fn * LINE_WIDTH, line, LINE_WIDTH);
    } while (atomic_load(&state->calls[fn]) != shown);
}

static int crash_fd = -1;

static void note_crash(int signal)
{
    (void)!write(crash_fd, "!", 1);
    _exit(128 + signal);
}

static void watch_crashes(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    struct sigaction action = {.sa_handler = note_crash};
    char path[640];
    (void)snprintf(path, sizeof path, "%s.crash", fault_script_path());
    if (fault_script_path()[0] != 0)
        crash_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    for (size_t i = 0; crash_fd >= 0 && i < FAULT_COUNT(signals); i++)
        (void)sigaction(signals[i], &action, NULL);
}

static void open_files(void)
{
    watch_crashes();
    state = map("state", sizeof *state);
    text = map("count", (size_t)FAULT_FN_COUNT * LINE_WIDTH);
    if (state == MAP_FAILED || text == MAP_FAILED)
        _exit(99);
    for (unsigned fn = 0; fn < FAULT_FN_COUNT; fn++)
        render(fn);
}

void fault_count(enum fault_fn fn, uint64_t *ret_own, uint64_t *ret_total)
{
    (void)pthread_once(&opened, open_files);
    *ret_own = atomic_fetch_add(&state->calls[fn], 1) + 1;
    *ret_total = atomic_fetch_add(&state->total, 1) + 1;
    render(fn);
}

uint32_t fault_wrong_pins(void)
{
    (void)pthread_once(&opened, open_files);
    return atomic_load(&state->wrong_pins);
}

void fault_set_wrong_pins(uint32_t n)
{
    (void)pthread_once(&opened, open_files);
    atomic_store(&state->wrong_pins, n);
}
