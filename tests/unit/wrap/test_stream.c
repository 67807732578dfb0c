#include "tests/unit/wrap/support.h"

#include "wrap/container/stream.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { SEGMENT = 65536, FIRST = SEGMENT - 56, NEXT = SEGMENT - 16 };

/* Plaintext lengths around every border. */
static const size_t lengths[] = {0,
                                 1,
                                 15,
                                 16,
                                 17,
                                 FIRST - 1,
                                 FIRST,
                                 FIRST + 1,
                                 FIRST + NEXT - 1,
                                 FIRST + NEXT,
                                 FIRST + NEXT + 1,
                                 FIRST + 7 * NEXT + 12345};

static struct kl_core test_core;
static struct kl_keys test_keys;

static int set_up(void **state)
{
    (void)state;
    (void)signal(SIGPIPE, SIG_IGN); /* a reader that fails leaves the one who feeds it behind */
    struct kl_secret *dek = kl_secret_new(KL_DEK_BYTES);
    uint8_t bytes[KL_CORE_BYTES];
    test_core = (struct kl_core){.segment_log2 = 16, .mode = KL_MODE_CUSTOMER};
    assert_int_equal(kl_header_format(&test_core, bytes, NULL), KL_OK);
    assert_int_equal(kl_secret_resize(dek, KL_DEK_BYTES), KL_OK);
    assert_int_equal(kl_keys_derive(&test_core, dek, &test_keys, NULL), KL_OK);
    kl_secret_free(dek);
    return 0;
}

static struct bytes seal_file(const struct bytes *plain, const struct kl_stream_options *options)
{
    const int in = file_of(plain), out = file_of(NULL);
    uint64_t n = 0;
    assert_int_equal(kl_stream_seal(&test_core, &test_keys, in, out, options, &n, NULL), KL_OK);
    assert_int_equal(n, plain->n);
    struct bytes b = content_of(out);
    assert_int_equal(lseek(out, 0, SEEK_CUR), (off_t)b.n);
    close(in);
    close(out);
    return b;
}

static enum kl_code open_file(const struct bytes *cipher, const struct kl_stream_options *options,
                              struct bytes *ret, struct kl_err *err)
{
    const int in = file_of(cipher), out = file_of(NULL);
    uint64_t n = 0;
    enum kl_code code = kl_stream_open(&test_core, &test_keys, in, out, options, &n, err);
    *ret = content_of(out);
    if (code == KL_OK) {
        assert_int_equal(n, ret->n);
        assert_int_equal(lseek(out, 0, SEEK_CUR), (off_t)n);
    }
    close(in);
    close(out);
    return code;
}

static void test_wrap_stream__round_trip_at_every_border(void **state)
{
    (void)state;
    for (size_t i = 0; i < KL_COUNT(lengths); i++)
        for (unsigned threads = 0; threads <= 3; threads++) {
            const struct kl_stream_options options = {.threads = threads, .in_order = threads == 2};
            BYTES plain = pattern(lengths[i], 1);
            BYTES cipher = seal_file(&plain, &options);
            BYTES back = {.n = 0};
            struct kl_err err = {.code = KL_OK};
            assert_int_equal(open_file(&cipher, &options, &back, &err), KL_OK);
            assert_bytes(&plain, &back);
            assert_int_equal(kl_stream_plain_bytes(&test_core, cipher.n), plain.n);
        }
}

/* Feeds a pipe in odd pieces, and collects one. */
struct pump {
    int fd;
    struct bytes bytes;
};

static void *feed(void *arg)
{
    struct pump *p = arg;
    for (size_t done = 0; done < p->bytes.n;) {
        size_t piece = p->bytes.n - done < 7777 ? p->bytes.n - done : 7777;
        ssize_t n = write(p->fd, p->bytes.at + done, piece);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    close(p->fd);
    return NULL;
}

static void *collect(void *arg)
{
    struct pump *p = arg;
    p->bytes.at = malloc(4 << 20);
    ssize_t n;
    while ((n = read(p->fd, p->bytes.at + p->bytes.n, 3333)) > 0)
        p->bytes.n += (size_t)n;
    return NULL;
}

static enum kl_code through_pipes(bool sealing, const struct bytes *from, unsigned threads,
                                  struct bytes *ret, struct kl_err *err)
{
    int in[2], out[2];
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    struct pump feeder = {.fd = in[1], .bytes = *from}, collector = {.fd = out[0]};
    pthread_t feeding, collecting;
    assert_int_equal(pthread_create(&feeding, NULL, feed, &feeder), 0);
    assert_int_equal(pthread_create(&collecting, NULL, collect, &collector), 0);
    const struct kl_stream_options options = {.threads = threads};
    uint64_t n = 0;
    enum kl_code code = (sealing ? kl_stream_seal : kl_stream_open)(&test_core, &test_keys, in[0],
                                                                    out[1], &options, &n, err);
    close(in[0]);
    close(out[1]);
    pthread_join(feeding, NULL);
    pthread_join(collecting, NULL);
    close(out[0]);
    *ret = collector.bytes;
    return code;
}

static void test_wrap_stream__pipes_give_the_same_as_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < KL_COUNT(lengths); i++) {
        BYTES plain = pattern(lengths[i], 2);
        BYTES cipher = {.n = 0}, back = {.n = 0};
        const unsigned threads = (unsigned)(i % 4);
        assert_int_equal(through_pipes(true, &plain, threads, &cipher, NULL), KL_OK);
        assert_int_equal(through_pipes(false, &cipher, threads, &back, NULL), KL_OK);
        assert_bytes(&plain, &back);
        BYTES again = {.n = 0};
        assert_int_equal(open_file(&cipher, NULL, &again, NULL), KL_OK);
        assert_bytes(&plain, &again);
    }
}

/* What is written before a failure must be a prefix, and end at a segment's border. */
static void assert_verified_prefix(const struct bytes *plain, const struct bytes *got)
{
    assert_true(got->n <= plain->n);
    assert_true(memcmp(plain->at, got->at, got->n) == 0);
    assert_true(got->n == 0 || got->n == plain->n || (got->n - FIRST) % NEXT == 0);
}

static void expect_failure(const struct bytes *plain, const struct bytes *cipher, enum kl_code code,
                           const char *words)
{
    for (unsigned threads = 1; threads <= 3; threads++) {
        BYTES got = {.n = 0};
        struct kl_err err = {.code = KL_OK};
        assert_int_equal(through_pipes(false, cipher, threads, &got, &err), code);
        assert_text_has(&err, words);
        assert_verified_prefix(plain, &got);
        BYTES file = {.n = 0};
        assert_int_equal(
            open_file(cipher, &(struct kl_stream_options){.in_order = true}, &file, &err), code);
        assert_text_has(&err, words);
        assert_bytes(&got, &file);
    }
}

static void test_wrap_stream__cuts_at_every_border(void **state)
{
    (void)state;
    BYTES plain = pattern(FIRST + 2 * NEXT + 100, 3);
    BYTES cipher = seal_file(&plain, NULL);
    static const int around[] = {-1, 0, 1, 15, 16, 17};
    for (size_t border = 0; border < cipher.n; border += SEGMENT)
        for (size_t i = 0; i < KL_COUNT(around); i++) {
            BYTES cut = copy_of(&cipher);
            cut.n = border + (size_t)around[i];
            if (cut.n >= cipher.n)
                continue;
            BYTES got = {.n = 0};
            struct kl_err err = {.code = KL_OK};
            const enum kl_code code = through_pipes(false, &cut, 2, &got, &err);
            assert_true(code == KL_WRAP_TRUNCATED || code == KL_WRAP_PAYLOAD);
            assert_verified_prefix(&plain, &got);
            if (border > 0 && around[i] == 0 && border > SEGMENT)
                expect_failure(&plain, &cut, KL_WRAP_TRUNCATED, "was cut off behind segment");
            else if (border > SEGMENT)
                expect_failure(&plain, &cut, KL_WRAP_TRUNCATED, "segment");
        }
    cipher.n--;
    expect_failure(&plain, &cipher, KL_WRAP_TRUNCATED, "does not end where segment 3 ends");
}

static void swap_segments(struct bytes *b, size_t i, size_t k)
{
    for (size_t at = 0; at < SEGMENT; at++) {
        const uint8_t byte = b->at[i * SEGMENT + at];
        b->at[i * SEGMENT + at] = b->at[k * SEGMENT + at];
        b->at[k * SEGMENT + at] = byte;
    }
}

static void test_wrap_stream__reordered_and_extended(void **state)
{
    (void)state;
    BYTES plain = pattern(FIRST + 5 * NEXT, 4);
    BYTES cipher = seal_file(&plain, NULL);
    BYTES swapped = copy_of(&cipher);
    swap_segments(&swapped, 2, 4);
    expect_failure(&plain, &swapped, KL_WRAP_PAYLOAD, "segment 4 stands in the place of segment 2");
    BYTES doubled = copy_of(&cipher);
    memcpy(doubled.at + 3 * SEGMENT, doubled.at + 2 * SEGMENT, SEGMENT);
    expect_failure(&plain, &doubled, KL_WRAP_PAYLOAD, "segment 2 stands in the place of segment 3");
    BYTES extended = pattern(cipher.n + 1, 5);
    memcpy(extended.at, cipher.at, cipher.n);
    expect_failure(&plain, &extended, KL_WRAP_PAYLOAD, "goes on behind segment 5");
    BYTES dropped = copy_of(&cipher);
    memmove(dropped.at + SEGMENT, dropped.at + 2 * SEGMENT, dropped.n - 2 * SEGMENT);
    dropped.n -= SEGMENT;
    expect_failure(&plain, &dropped, KL_WRAP_PAYLOAD, "segment 2 stands in the place of segment 1");
}

static void test_wrap_stream__segment_of_another_stream(void **state)
{
    (void)state;
    BYTES plain = pattern(FIRST + 3 * NEXT, 6);
    BYTES cipher = seal_file(&plain, NULL);
    BYTES other = seal_file(&plain, NULL);
    memcpy(cipher.at + 2 * SEGMENT, other.at + 2 * SEGMENT, SEGMENT);
    expect_failure(&plain, &cipher, KL_WRAP_PAYLOAD,
                   "segment 2 was changed or comes from another container");
    memcpy(cipher.at + 40, other.at + 40, SEGMENT - 40);
    expect_failure(&plain, &cipher, KL_WRAP_PAYLOAD, "the first segment does not verify");
}

/* With several faults, the first one in the stream is told, and all before it is written. */
static void test_wrap_stream__first_fault_wins(void **state)
{
    (void)state;
    BYTES plain = pattern(FIRST + 20 * NEXT, 7);
    BYTES cipher = seal_file(&plain, NULL);
    for (size_t i = 9; i <= 20; i++)
        cipher.at[i * SEGMENT + 5] ^= 1;
    for (unsigned round = 0; round < 20; round++) {
        BYTES got = {.n = 0};
        struct kl_err err = {.code = KL_OK};
        assert_int_equal(through_pipes(false, &cipher, 4, &got, &err), KL_WRAP_PAYLOAD);
        assert_text_has(&err, "segment 9 ");
        assert_int_equal(got.n, FIRST + 8 * NEXT);
    }
}

static void test_wrap_stream__appends_behind_what_is_there(void **state)
{
    (void)state;
    BYTES plain = pattern(FIRST + NEXT, 8);
    BYTES before = pattern(100, 9);
    const char *path = temp_path("appended");
    write_file(path, &before);
    const int in = file_of(&plain), out = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    uint64_t n = 0;
    assert_int_equal(kl_stream_seal(&test_core, &test_keys, in, out, NULL, &n, NULL), KL_OK);
    close(in);
    close(out);
    const int from = open(path, O_RDONLY | O_CLOEXEC), to = file_of(NULL);
    assert_int_equal(lseek(from, 100, SEEK_SET), 100);
    assert_int_equal(kl_stream_open(&test_core, &test_keys, from, to, NULL, &n, NULL), KL_OK);
    BYTES back = content_of(to);
    assert_bytes(&plain, &back);
    close(from);
    close(to);
}

static void test_wrap_stream__full_target(void **state)
{
    (void)state;
    BYTES plain = pattern(FIRST + 3 * NEXT, 10);
    const int in = file_of(&plain), out = open("/dev/full", O_WRONLY | O_CLOEXEC);
    uint64_t n = 77;
    struct kl_err err;
    assert_int_equal(kl_stream_seal(&test_core, &test_keys, in, out, NULL, &n, &err), KL_NO_SPACE);
    assert_int_equal(n, 77);
    close(in);
    close(out);
}

static void test_wrap_stream__random_access(void **state)
{
    (void)state;
    BYTES plain = pattern(FIRST + 5 * NEXT + 321, 11);
    BYTES cipher = seal_file(&plain, NULL);
    static const struct {
        size_t offset, n, expected;
    } rows[] = {{0, 1, 1},
                {FIRST - 1, 2, 2},
                {FIRST + NEXT, NEXT, NEXT},
                {FIRST + 5 * NEXT + 320, 10, 1},
                {FIRST + 5 * NEXT + 321, 10, 0},
                {SIZE_MAX / 4, 10, 0},
                {100, FIRST + 4 * NEXT, FIRST + 4 * NEXT}};
    const int fd = file_of(&cipher);
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        BYTES got = pattern(rows[i].n, 12);
        size_t n = 0;
        assert_int_equal(kl_stream_read_at(&test_core, &test_keys, fd, 0, rows[i].offset, got.at,
                                           rows[i].n, &n, NULL),
                         KL_OK);
        assert_int_equal(n, rows[i].expected);
        if (n > 0)
            assert_true(memcmp(got.at, plain.at + rows[i].offset, n) == 0);
    }
    close(fd);
}

/* Random access proves the length by the last segment, and does not look at segments outside of the
 * range. */
static void test_wrap_stream__random_access_touches_what_it_needs(void **state)
{
    (void)state;
    BYTES plain = pattern(FIRST + 5 * NEXT, 13);
    BYTES cipher = seal_file(&plain, NULL);
    uint8_t byte;
    size_t n = 0;
    for (size_t i = 0; i < 5; i++)
        if (i != 3)
            cipher.at[i * SEGMENT + 50] ^= 1;
    const int fd = file_of(&cipher);
    assert_int_equal(
        kl_stream_read_at(&test_core, &test_keys, fd, 0, FIRST + 2 * NEXT + 7, &byte, 1, &n, NULL),
        KL_OK);
    assert_int_equal(byte, plain.at[FIRST + 2 * NEXT + 7]);
    assert_int_equal(
        kl_stream_read_at(&test_core, &test_keys, fd, 0, FIRST + 3 * NEXT + 7, &byte, 1, &n, NULL),
        KL_WRAP_PAYLOAD);
    assert_int_equal(ftruncate(fd, 5 * SEGMENT), 0);
    assert_int_equal(
        kl_stream_read_at(&test_core, &test_keys, fd, 0, FIRST + 2 * NEXT + 7, &byte, 1, &n, NULL),
        KL_WRAP_PAYLOAD);
    assert_int_equal(ftruncate(fd, 4 * SEGMENT), 0);
    assert_int_equal(
        kl_stream_read_at(&test_core, &test_keys, fd, 0, FIRST + 2 * NEXT + 7, &byte, 1, &n, NULL),
        KL_WRAP_TRUNCATED);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrap_stream__round_trip_at_every_border),
        cmocka_unit_test(test_wrap_stream__pipes_give_the_same_as_files),
        cmocka_unit_test(test_wrap_stream__cuts_at_every_border),
        cmocka_unit_test(test_wrap_stream__reordered_and_extended),
        cmocka_unit_test(test_wrap_stream__segment_of_another_stream),
        cmocka_unit_test(test_wrap_stream__first_fault_wins),
        cmocka_unit_test(test_wrap_stream__appends_behind_what_is_there),
        cmocka_unit_test(test_wrap_stream__full_target),
        cmocka_unit_test(test_wrap_stream__random_access),
        cmocka_unit_test(test_wrap_stream__random_access_touches_what_it_needs),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
