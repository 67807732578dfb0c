#include "pkcs11/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static int64_t pause_after(struct kl_breaker *b, bool lived, int64_t limit_ms, uint32_t dice)
{
    kl_breaker_trip(b, lived, 1000000, limit_ms, dice);
    return kl_breaker_wait_ms(b, 1000000);
}

static void test_pkcs11_breaker__pauses_grow_to_the_limit(void **state)
{
    static const int64_t wanted[] = {0, 1000, 1000, 2000, 5000, 10000, 60000, 300000, 300000};
    struct kl_breaker b = {0}, capped = {0};
    (void)state;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        assert_int_equal(pause_after(&b, false, 3600000, 0), wanted[i]);
        assert_int_equal(pause_after(&capped, false, 4000, 0), wanted[i] < 4000 ? wanted[i] : 4000);
        assert_int_equal(b.failures, i + 1);
    }
}

static void test_pkcs11_breaker__a_worker_that_lived_begins_anew(void **state)
{
    struct kl_breaker b = {0};
    (void)state;
    for (int i = 0; i < 6; i++)
        (void)pause_after(&b, false, 60000, 0);
    assert_int_equal(pause_after(&b, true, 60000, 0), 0);
    assert_int_equal(b.failures, 1);
    assert_int_equal(pause_after(&b, false, 60000, 0), 1000);
}

static void test_pkcs11_breaker__jitter_shortens_by_a_fifth_at_most(void **state)
{
    (void)state;
    for (uint32_t dice = 0; dice < 5000; dice += 7) {
        struct kl_breaker b = {.failures = 4};
        int64_t pause = pause_after(&b, false, 60000, dice);
        assert_in_range(pause, 4000, 5000);
    }
    struct kl_breaker b = {.failures = 4}, other = {.failures = 4};
    assert_int_not_equal(pause_after(&b, false, 60000, 1), pause_after(&other, false, 60000, 500));
}

static void test_pkcs11_breaker__the_wait_ends(void **state)
{
    struct kl_breaker b = {.failures = 2};
    (void)state;
    kl_breaker_trip(&b, false, 5000, 60000, 0);
    assert_int_equal(kl_breaker_wait_ms(&b, 5400), 600);
    assert_int_equal(kl_breaker_wait_ms(&b, 6000), 0);
    assert_int_equal(kl_breaker_wait_ms(&b, 9000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pkcs11_breaker__pauses_grow_to_the_limit),
        cmocka_unit_test(test_pkcs11_breaker__a_worker_that_lived_begins_anew),
        cmocka_unit_test(test_pkcs11_breaker__jitter_shortens_by_a_fifth_at_most),
        cmocka_unit_test(test_pkcs11_breaker__the_wait_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
