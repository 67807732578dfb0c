#include "keyvault/gate.h"

#include "base/clock.h"
#include "tests/unit/keyvault/key_support.h"

#include <pthread.h>
#include <string.h>

#define PROOF_MS 60000

static const enum kl_key_op all_uses[] = {KL_OP_ENCRYPT, KL_OP_DECRYPT, KL_OP_SIGN,
                                          KL_OP_VERIFY,  KL_OP_WRAP,    KL_OP_UNWRAP};

static bool is_timed(enum kl_key_op use)
{
    return use == KL_OP_ENCRYPT || use == KL_OP_SIGN || use == KL_OP_WRAP;
}

/* The table of enabled, nbf, exp and key_ops, for every operation. */
static void test_keyvault_gate__table(void **state)
{
    (void)state;
    struct kl_key_version k = {.ops = 63};
    struct kl_err err;
    for (size_t i = 0; i < KL_COUNT(all_uses); i++) {
        enum kl_key_op use = all_uses[i];
        k.ops = 63;
        k.attrs = (struct kl_key_attrs){.enabled = true};
        assert_int_equal(kl_gate_check(&k, use, 1000, &err), KL_OK);
        k.attrs = (struct kl_key_attrs){.enabled = false};
        assert_int_equal(kl_gate_check(&k, use, 1000, &err), KL_KEY_DISABLED);
        assert_non_null(strstr(err.text, kl_gate_word(use)));
        k.attrs = (struct kl_key_attrs){.enabled = true, .has_nbf = true, .nbf = 1001};
        assert_int_equal(kl_gate_check(&k, use, 1000, &err),
                         is_timed(use) ? KL_KEY_NOT_YET_VALID : KL_OK);
        assert_int_equal(kl_gate_check(&k, use, 1001, &err), KL_OK);
        k.attrs = (struct kl_key_attrs){.enabled = true, .has_exp = true, .exp = 1000};
        assert_int_equal(kl_gate_check(&k, use, 999, &err), KL_OK);
        assert_int_equal(kl_gate_check(&k, use, 1000, &err),
                         is_timed(use) ? KL_KEY_EXPIRED : KL_OK); /* on or after */
        k.attrs = (struct kl_key_attrs){.enabled = true};
        k.ops = 63u & ~(unsigned)use;
        assert_int_equal(kl_gate_check(&k, use, 1000, &err), KL_KEY_OP_FORBIDDEN);
    }
}

/* Collects the ends of proofs, and lets a test wait for them. */
struct ends {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned good, bad;
    enum kl_code last;
};

static void ended(void *arg, const struct kl_err *err)
{
    struct ends *e = arg;
    (void)pthread_mutex_lock(&e->lock);
    if (err == NULL)
        e->good++;
    else
        e->bad++;
    e->last = err == NULL ? KL_OK : err->code;
    (void)pthread_cond_broadcast(&e->changed);
    (void)pthread_mutex_unlock(&e->lock);
}

static void wait_for(struct ends *e, unsigned count)
{
    (void)pthread_mutex_lock(&e->lock);
    while (e->good + e->bad < count)
        (void)pthread_cond_wait(&e->changed, &e->lock);
    (void)pthread_mutex_unlock(&e->lock);
}

struct fixture {
    struct kl_token *token;
    struct kl_gate *gate;
    struct kl_key_version *key;
    const struct kl_api_alg *alg;
    struct ends ends;
};

static int set_up(void **state)
{
    static struct fixture f;
    memset(&f, 0, sizeof f);
    f.token = fake_token_new("t", "d");
    f.gate = kl_gate_new(PROOF_MS, NULL);
    f.key = key_on(f.token, 2048, KL_CURVE_NONE);
    f.alg = kl_alg_find("RSA-OAEP-256");
    (void)pthread_mutex_init(&f.ends.lock, NULL);
    (void)pthread_cond_init(&f.ends.changed, NULL);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    kl_token_close(f->token);
    kl_gate_free(f->gate);
    kl_key_version_unref(f->key);
    return 0;
}

static void test_keyvault_gate__closed_until_proven(void **state)
{
    struct fixture *f = *state;
    assert_false(kl_gate_open(f->gate, f->alg, f->key));
    assert_int_equal(fake_token_calls(f->token, KL_CALL_DECRYPT), 0);
    kl_gate_prove(f->gate, f->alg, f->key, ended, &f->ends);
    wait_for(&f->ends, 1);
    assert_int_equal(f->ends.good, 1);
    assert_int_equal(fake_token_calls(f->token, KL_CALL_DECRYPT), 1);
    assert_true(kl_gate_open(f->gate, f->alg, f->key));
    kl_clock_shift(0, PROOF_MS);
    assert_false(kl_gate_open(f->gate, f->alg, f->key));
}

/* A lost or changed private half must stop every further encryption. */
static void test_keyvault_gate__lost_key_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_true(fake_token_remove(f->token, f->key->ref.id));
    kl_gate_prove(f->gate, f->alg, f->key, ended, &f->ends);
    wait_for(&f->ends, 1);
    assert_int_equal(f->ends.last, KL_WRAP_GATE);
    assert_false(kl_gate_open(f->gate, f->alg, f->key));
}

static void test_keyvault_gate__wrong_private_half_is_refused(void **state)
{
    struct fixture *f = *state;
    struct kl_key_version *other = key_on(f->token, 2048, KL_CURVE_NONE);
    EVP_PKEY *mine = f->key->public_key;
    f->key->public_key = other->public_key; /* what is encrypted here does not open there */
    kl_gate_prove(f->gate, f->alg, f->key, ended, &f->ends);
    wait_for(&f->ends, 1);
    assert_int_equal(f->ends.last, KL_WRAP_GATE);
    f->key->public_key = mine;
    kl_key_version_unref(other);
}

static void test_keyvault_gate__token_down_answers_at_once(void **state)
{
    struct fixture *f = *state;
    fake_token_set_ready(f->token, false);
    kl_gate_prove(f->gate, f->alg, f->key, ended, &f->ends);
    wait_for(&f->ends, 1);
    assert_int_equal(f->ends.last, KL_WRAP_GATE);
    fake_token_set_ready(f->token, true);
    kl_gate_prove(f->gate, f->alg, f->key, ended, &f->ends);
    wait_for(&f->ends, 2);
    assert_int_equal(f->ends.last, KL_OK);
}

/* Many requests at once cost one token call, or a few: never one each. */
static void test_keyvault_gate__waiters_share_a_canary(void **state)
{
    struct fixture *f = *state;
    const unsigned many = 64;
    for (unsigned i = 0; i < many; i++)
        kl_gate_prove(f->gate, f->alg, f->key, ended, &f->ends);
    wait_for(&f->ends, many);
    assert_int_equal(f->ends.good, many);
    assert_true(fake_token_calls(f->token, KL_CALL_DECRYPT) < many);
}

/* Past half the age the request goes on, and a canary renews the proof behind it. */
static void test_keyvault_gate__renewed_before_it_ends(void **state)
{
    struct fixture *f = *state;
    kl_gate_mark(f->key);
    kl_clock_shift(0, PROOF_MS / 2 + 1);
    long long before = atomic_load(&f->key->proved_ms);
    assert_true(kl_gate_open(f->gate, f->alg, f->key));
    while (atomic_load(&f->key->proved_ms) == before)
        (void)sched_yield();
    assert_int_equal(fake_token_calls(f->token, KL_CALL_DECRYPT), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keyvault_gate__table),
        cmocka_unit_test_setup_teardown(test_keyvault_gate__closed_until_proven, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_keyvault_gate__lost_key_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_keyvault_gate__wrong_private_half_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_keyvault_gate__token_down_answers_at_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_keyvault_gate__waiters_share_a_canary, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_keyvault_gate__renewed_before_it_ends, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
