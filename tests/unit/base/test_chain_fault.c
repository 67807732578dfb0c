/* A log on a failing disk. The linker sends these calls of the log to the functions here
 * (-Wl,--wrap). */
#include "tests/unit/base/fixture.h"

#include "base/chain_log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

ssize_t __real_pwrite(int fd, const void *bytes, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n, off_t at);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_ftruncate(int fd, off_t size);
int __wrap_ftruncate(int fd, off_t size);

#define HEAD_SIZE 192 /* writes of this size at 0 are the head's */

/* What fails: errno of the next calls, 0 = nothing; `room` bytes can still be written before
 * write_error. */
static atomic_int write_error, sync_error, truncate_error, head_error;
static atomic_long room;
static atomic_uint syncs, truncations;

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    bool head = n == HEAD_SIZE && at == 0;
    int error = atomic_load(head ? &head_error : &write_error);
    if (error == 0)
        return __real_pwrite(fd, bytes, n, at);
    long left = head ? 0 : atomic_load(&room);
    if (left > 0) { /* as a full disk does: what fits, then the error */
        size_t fits = (size_t)left < n ? (size_t)left : n;
        atomic_store(&room, left - (long)fits);
        return __real_pwrite(fd, bytes, fits, at);
    }
    errno = error;
    return -1;
}

int __wrap_fdatasync(int fd)
{
    (void)atomic_fetch_add(&syncs, 1);
    errno = atomic_load(&sync_error);
    return errno != 0 ? -1 : __real_fdatasync(fd);
}

int __wrap_fsync(int fd)
{
    errno = atomic_load(&sync_error);
    return errno != 0 ? -1 : __real_fsync(fd);
}

int __wrap_ftruncate(int fd, off_t size)
{
    (void)atomic_fetch_add(&truncations, 1);
    errno = atomic_load(&truncate_error);
    return errno != 0 ? -1 : __real_ftruncate(fd, size);
}

struct outcome {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned ok, failed;
    enum kl_code last;
};

static struct outcome outcome = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                 .changed = PTHREAD_COND_INITIALIZER};
static char *path, *head_path;

static void note(void *arg, enum kl_code code)
{
    (void)arg;
    (void)pthread_mutex_lock(&outcome.lock);
    outcome.ok += code == KL_OK;
    outcome.failed += code != KL_OK;
    outcome.last = code;
    (void)pthread_cond_broadcast(&outcome.changed);
    (void)pthread_mutex_unlock(&outcome.lock);
}

/* Append one record and wait for what becomes of it. */
static enum kl_code append(struct kl_chain_log *log)
{
    (void)pthread_mutex_lock(&outcome.lock);
    unsigned before = outcome.ok + outcome.failed;
    (void)pthread_mutex_unlock(&outcome.lock);
    enum kl_code code = kl_chain_append(log, "\"text\":\"some words of a record\"", 31, note, NULL);
    if (code != KL_OK)
        return code;
    (void)pthread_mutex_lock(&outcome.lock);
    while (outcome.ok + outcome.failed == before)
        (void)pthread_cond_wait(&outcome.changed, &outcome.lock);
    code = outcome.last;
    (void)pthread_mutex_unlock(&outcome.lock);
    return code;
}

static struct kl_chain_log *open_log(void)
{
    const struct kl_chain_config config = {
        .path = path, .head_path = head_path, .max_waiting = 1000};
    struct kl_chain_log *log = NULL;
    struct kl_err err = {0};
    if (kl_chain_open(&config, &log, &err) != KL_OK)
        fail_msg("%s", err.text);
    return log;
}

static uint64_t verified_lines(void)
{
    struct kl_chain_report report = {0};
    struct kl_err err = {0};
    if (kl_chain_verify(path, head_path, NULL, &report, &err) != KL_OK)
        fail_msg("%s", err.text);
    return report.lines;
}

static int set_up(void **state)
{
    path = fixture_path(*state, "log");
    head_path = fixture_path(*state, "head");
    (void)unlink(path);
    (void)unlink(head_path);
    write_error = sync_error = truncate_error = head_error = 0;
    room = 0;
    syncs = truncations = 0;
    outcome.ok = outcome.failed = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(path);
    free(head_path);
    return 0;
}

static void test_base_chain_fault__full_disk_and_space_again(void **state)
{
    (void)state;
    struct kl_chain_log *log = open_log();
    assert_int_equal(append(log), KL_OK);
    for (long fits = 0; fits < 110; fits += 10) { /* any part of the line gets in */
        room = fits;
        write_error = ENOSPC;
        assert_int_equal(append(log), KL_NO_SPACE);
        assert_int_equal(verified_lines(), outcome.ok); /* nothing torn to be seen */
        size_t n = 0;
        KL_AUTO(char) text = fixture_read(path, &n);
        assert_int_equal(text[n - 1], '\n');
        write_error = 0;
        assert_int_equal(append(log), KL_OK);
    }
    assert_true(truncations >= 11);
    kl_chain_close(log);
    assert_int_equal(verified_lines(), 12);
    assert_int_equal(outcome.ok, 12);
}

/* The torn bytes could not be taken back, or that could not be made sure: no further record. */
static void test_base_chain_fault__full_disk_and_no_way_back(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        struct kl_chain_log *log = open_log();
        assert_int_equal(append(log), KL_OK);
        room = 20;
        write_error = ENOSPC;
        atomic_store(how == 0 ? &truncate_error : &sync_error, EIO);
        assert_int_equal(append(log), KL_IO);
        write_error = truncate_error = sync_error = 0;
        assert_int_equal(append(log), KL_IO);
        kl_chain_close(log);
        log = open_log(); /* a new life repairs the end */
        assert_int_equal(append(log), KL_OK);
        kl_chain_close(log);
        assert_int_equal(verified_lines(), outcome.ok);
    }
}

static void test_base_chain_fault__failed_sync_is_final(void **state)
{
    (void)state;
    static const int errors[] = {EIO, ENOSPC};
    for (size_t i = 0; i < KL_COUNT(errors); i++) {
        struct kl_chain_log *log = open_log();
        assert_int_equal(append(log), KL_OK);
        sync_error = errors[i];
        assert_int_equal(append(log), KL_IO);
        sync_error = 0; /* the disk says it is well again */
        unsigned before = syncs;
        for (int k = 0; k < 5; k++)
            assert_int_equal(append(log), KL_IO);
        kl_chain_close(log);
        assert_int_equal(syncs, before); /* not even tried */
        (void)tear_down(state);
        (void)set_up(state);
    }
}

static void test_base_chain_fault__failed_write_is_final(void **state)
{
    (void)state;
    struct kl_chain_log *log = open_log();
    assert_int_equal(append(log), KL_OK);
    write_error = EIO;
    room = 30;
    assert_int_equal(append(log), KL_IO);
    write_error = 0;
    assert_int_equal(append(log), KL_IO);
    kl_chain_close(log);
    assert_int_equal(verified_lines(), 1);
}

/* The head cannot be written for a while: it lags, which the next opening takes as it is. */
static void test_base_chain_fault__head_lags(void **state)
{
    (void)state;
    struct kl_chain_log *log = open_log();
    assert_int_equal(append(log), KL_OK);
    head_error = ENOSPC;
    for (int i = 0; i < 5; i++)
        assert_int_equal(append(log), KL_OK);
    kl_chain_close(log);
    assert_int_equal(verified_lines(), 6);
    head_error = 0;
    log = open_log();
    assert_int_equal(append(log), KL_OK);
    kl_chain_close(log);
    assert_int_equal(verified_lines(), 7);
}

/* A sync that fails while opening, too. */
static void test_base_chain_fault__no_opening_without_sync(void **state)
{
    (void)state;
    const struct kl_chain_config config = {
        .path = path, .head_path = head_path, .max_waiting = 1000};
    struct kl_chain_log *log = NULL;
    sync_error = EIO;
    assert_int_equal(kl_chain_open(&config, &log, NULL), KL_IO);
    assert_null(log);
    sync_error = 0;
    kl_chain_close(open_log());
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_base_chain_fault__full_disk_and_space_again),
        TEST(test_base_chain_fault__full_disk_and_no_way_back),
        TEST(test_base_chain_fault__failed_sync_is_final),
        TEST(test_base_chain_fault__failed_write_is_final),
        TEST(test_base_chain_fault__head_lags),
        TEST(test_base_chain_fault__no_opening_without_sync),
    };
    return cmocka_run_group_tests_name("base.chain_fault", tests, fixture_folder,
                                       fixture_folder_gone);
}
