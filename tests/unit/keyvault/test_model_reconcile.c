#include "tests/unit/keyvault/model_support.h"

#include <pthread.h>

static struct site s;

static void test_keyvault_model_reconcile__all_well(void **state)
{
    (void)state;
    for (int i = 0; i < 150; i++) /* more than one answer of KL_CALL_LIST holds */
        kl_key_version_unref(site_key(&s, s.open, "k"));
    struct kl_reconcile_report r = site_reconcile(&s);
    assert_int_equal(0, r.rolled_back + r.purges_finished + r.missing_on_token +
                            r.unknown_on_token + r.tampered);
    assert_in_range(fake_token_calls(s.token, KL_CALL_LIST), 2, 4);
    assert_int_equal(0, fake_token_calls(s.token, KL_CALL_FIND));
}

static void test_keyvault_model_reconcile__missing_keys_stay_in_the_database(void **state)
{
    (void)state;
    KL_AUTO(key_version) k = site_key(&s, s.open, "k");
    kl_key_version_unref(site_key(&s, s.open, "other"));
    assert_true(fake_token_remove(s.token, k->ref.id));
    assert_int_equal(1, site_reconcile(&s).missing_on_token);
    assert_int_equal(1, site_reconcile(&s).missing_on_token);
    assert_ok(site_find(&s, s.open, "k"));
    /* The very same for a token that lost everything. */
    assert_int_equal(2, site_sql_number(&s, "SELECT count(*) FROM version WHERE state = 1"));
}

static void test_keyvault_model_reconcile__a_key_between_two_pages_is_not_missing(void **state)
{
    (void)state;
    KL_AUTO(key_version) k = site_key(&s, s.open, "k");
    fake_token_overlook(s.token, k->ref.id);
    assert_int_equal(0, site_reconcile(&s).missing_on_token);
    assert_true(fake_token_remove(s.token, k->ref.id));
    assert_int_equal(1, site_reconcile(&s).missing_on_token);
}

static void test_keyvault_model_reconcile__unknown_keys_stay_on_the_token(void **state)
{
    (void)state;
    struct kl_token_request req = {.call = KL_CALL_GENERATE,
                                   .key = {.id = {1, 2, 3}},
                                   .spec = {.type = KL_KEY_EC, .curve = KL_CURVE_P256}};
    assert_ok(kl_token_call(s.token, &req, NULL, NULL, &s.err));
    kl_key_version_unref(site_key(&s, s.open, "k"));
    assert_int_equal(1, site_reconcile(&s).unknown_on_token);
    assert_int_equal(2, fake_token_key_count(s.token));
}

static void test_keyvault_model_reconcile__waits_for_the_token(void **state)
{
    (void)state;
    fake_token_lose_answer(s.token, KL_CALL_GENERATE, 1);
    fake_token_fail(s.token, KL_CALL_FIND, KL_TOKEN_UNAVAILABLE, 1);
    assert_code(KL_TOKEN_UNAVAILABLE, site_try_key(&s, s.open, "k"));
    fake_token_set_ready(s.token, false);
    assert_int_equal(0, site_reconcile(&s).rolled_back);
    assert_int_equal(1, site_sql_number(&s, "SELECT count(*) FROM version WHERE state = 0"));
    fake_token_set_ready(s.token, true);
    assert_int_equal(1, site_reconcile(&s).rolled_back);
    assert_int_equal(0, fake_token_key_count(s.token));
}

/* --- beside running creations --- */

static atomic_bool stop;

static void *creator(void *arg)
{
    const char *name = arg;
    while (!atomic_load(&stop))
        if (site_try_key(&(struct site){.m = s.m}, s.open, name) != KL_OK)
            return arg;
    return NULL;
}

static void test_keyvault_model_reconcile__leaves_running_creations_alone(void **state)
{
    (void)state;
    static char names[2][2] = {"a", "b"};
    pthread_t threads[2];
    atomic_store(&stop, false);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(0, pthread_create(&threads[i], NULL, creator, names[i]));
    for (int i = 0; i < 60; i++) {
        struct kl_reconcile_report r = site_reconcile(&s);
        assert_int_equal(0, r.rolled_back + r.missing_on_token + r.unknown_on_token + r.tampered);
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < 2; i++) {
        void *failed;
        assert_int_equal(0, pthread_join(threads[i], &failed));
        assert_null(failed);
    }
    assert_int_equal(site_sql_number(&s, "SELECT count(*) FROM version WHERE state = 1"),
                     fake_token_key_count(s.token));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) site_test(test_keyvault_model_reconcile__##name, &s)
        CASE(all_well),
        CASE(missing_keys_stay_in_the_database),
        CASE(a_key_between_two_pages_is_not_missing),
        CASE(unknown_keys_stay_on_the_token),
        CASE(waits_for_the_token),
        CASE(leaves_running_creations_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
