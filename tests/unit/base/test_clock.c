#include "tests/unit/base/fixture.h"

#include "base/auto.h"
#include "base/clock.h"

#include <time.h>

static void test_base_clock__iso(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {{0, "1970-01-01T00:00:00.0000000Z"},
                {1795297979123, "2026-11-21T21:52:59.1230000Z"},
                {951782400007, "2000-02-29T00:00:00.0070000Z"},
                {-1, "1970-01-01T00:00:00.0000000Z"}};
    char out[32];
    (void)state;
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        kl_clock_iso(rows[i].ms, out);
        assert_string_equal(out, rows[i].text);
    }
}

static void test_base_clock__shift(void **state)
{
    (void)state;
    int64_t wall = kl_clock_unix(), mono = kl_clock_mono_ms();
    assert_in_range(wall, time(NULL) - 1, time(NULL) + 1);
    kl_clock_shift(3600, 5000);
    assert_true(kl_clock_unix() >= wall + 3600);
    assert_true(kl_clock_mono_ms() >= mono + 5000);
    kl_clock_shift(-3600, -5000);
    assert_true(kl_clock_unix() < wall + 3600);
    assert_true(kl_clock_mono_ms() >= mono);
}

static void test_base_clock__deadline(void **state)
{
    static const int64_t rows[] = {0, 1, 999999, 1000000, 61 * 1000000LL + 999999};
    (void)state;
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct timespec before, after;
        (void)clock_gettime(CLOCK_MONOTONIC, &before);
        struct timespec t = kl_clock_deadline(rows[i]);
        (void)clock_gettime(CLOCK_MONOTONIC, &after);
        int64_t us = t.tv_sec * 1000000LL + t.tv_nsec / 1000;
        assert_in_range(t.tv_nsec, 0, 999999999);
        assert_in_range(us, before.tv_sec * 1000000LL + before.tv_nsec / 1000 + rows[i],
                        after.tv_sec * 1000000LL + after.tv_nsec / 1000 + rows[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_clock__iso),
        cmocka_unit_test(test_base_clock__shift),
        cmocka_unit_test(test_base_clock__deadline),
    };
    return cmocka_run_group_tests_name("base.clock", tests, NULL, NULL);
}
