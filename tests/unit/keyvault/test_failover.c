#include "keyvault/failover.h"

#include "base/clock.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* cmocka wants those above it */
#include <cmocka.h>

#define DEADLINE_MS 400

/* A token that does with a call what the test says: refuse it, answer it, or keep it. */
struct puppet {
    struct kl_token token;
    enum kl_code refuse, answer;
    bool keep;
    unsigned calls;
    uint8_t asked[KL_KEY_ID_LEN]; /* the id of the last call */
    kl_token_done *kept[8];
    void *args[8];
    unsigned kept_count;
};

struct outcome {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned times;
    enum kl_code code;
};

static void give(kl_token_done *done, void *arg, enum kl_code code)
{
    struct kl_token_reply reply = {.code = code};
    if (code != KL_OK)
        (void)kl_fail(&reply.err, code, "puppet", "as the test says");
    done(arg, &reply);
}

static enum kl_code submit(struct kl_token *t, const struct kl_token_request *req,
                           kl_token_done *done, void *arg, struct kl_err *err)
{
    struct puppet *p = (struct puppet *)t;
    p->calls++;
    memcpy(p->asked, req->key.id, sizeof p->asked);
    if (p->refuse != KL_OK)
        return kl_fail(err, p->refuse, "puppet", "refused");
    if (p->keep) {
        p->kept[p->kept_count] = done;
        p->args[p->kept_count++] = arg;
        return KL_OK;
    }
    give(done, arg, p->answer);
    return KL_OK;
}

static const struct kl_token_ops ops = {.submit = submit};

static struct puppet one, two;
static struct kl_failover *f;
static struct kl_key_version *key;
static struct outcome out;

static void finished(void *arg, struct kl_token_reply *reply)
{
    struct outcome *o = arg;
    (void)pthread_mutex_lock(&o->lock);
    o->times++;
    o->code = reply->code;
    (void)pthread_cond_signal(&o->changed);
    (void)pthread_mutex_unlock(&o->lock);
}

static enum kl_code wait_code(unsigned times)
{
    (void)pthread_mutex_lock(&out.lock);
    while (out.times < times)
        (void)pthread_cond_wait(&out.changed, &out.lock);
    enum kl_code code = out.code;
    (void)pthread_mutex_unlock(&out.lock);
    return code;
}

static int begin(void **state)
{
    (void)state;
    one = (struct puppet){.token = {.ops = &ops, .name = "one"}};
    two = (struct puppet){.token = {.ops = &ops, .name = "two"}};
    out = (struct outcome){.times = 0};
    (void)pthread_mutex_init(&out.lock, NULL);
    (void)pthread_cond_init(&out.changed, NULL);
    key = calloc(1, sizeof *key);
    atomic_init(&key->refs, 1);
    key->homes = calloc(2, sizeof *key->homes);
    key->homes[0] = (struct kl_home){strdup("one"), &one.token, {.id = {1}}};
    key->homes[1] = (struct kl_home){strdup("two"), &two.token, {.id = {2}}};
    key->home_count = 2;
    assert_int_equal(KL_OK, kl_failover_new(DEADLINE_MS, &f, NULL));
    return 0;
}

static int end(void **state)
{
    (void)state;
    kl_failover_stop(f);
    for (unsigned i = 0; i < one.kept_count; i++)
        give(one.kept[i], one.args[i], KL_TOKEN_UNAVAILABLE);
    for (unsigned i = 0; i < two.kept_count; i++)
        give(two.kept[i], two.args[i], KL_TOKEN_UNAVAILABLE);
    kl_failover_free(f);
    kl_key_version_unref(key);
    return 0;
}

static enum kl_code send_call(struct kl_err *err)
{
    const struct kl_token_request req = {.call = KL_CALL_SIGN, .input = "x", .input_len = 1};
    return kl_failover_submit(f, key, &req, finished, &out, err);
}

static void test_failover__the_preferred_home_serves(void **state)
{
    (void)state;
    assert_int_equal(KL_OK, send_call(NULL));
    assert_int_equal(KL_OK, wait_code(1));
    assert_int_equal(1, one.calls);
    assert_int_equal(0, two.calls);
    assert_int_equal(1, one.asked[0]); /* by the id that the key has there */
}

static void test_failover__moves_on_when_refused_or_failed(void **state)
{
    (void)state;
    static const enum kl_code faults[] = {KL_TOKEN_UNAVAILABLE, KL_TOKEN_BUSY, KL_TOKEN_PIN,
                                          KL_TOKEN_KEY_MISSING, KL_TOKEN_UNSUPPORTED};
    unsigned n = 0;
    for (size_t i = 0; i < KL_COUNT(faults); i++) {
        one.refuse = faults[i];
        assert_int_equal(KL_OK, send_call(NULL));
        assert_int_equal(KL_OK, wait_code(++n));
        one.refuse = KL_OK;
        one.answer = faults[i];
        assert_int_equal(KL_OK, send_call(NULL));
        assert_int_equal(KL_OK, wait_code(++n));
        assert_int_equal(2, two.asked[0]);
    }
    assert_int_equal(n, two.calls);
}

static void test_failover__bad_data_is_bad_everywhere(void **state)
{
    (void)state;
    static const enum kl_code faults[] = {KL_DECRYPT_FAILED, KL_BAD_INPUT, KL_TOO_BIG};
    for (unsigned i = 0; i < KL_COUNT(faults); i++) {
        one.answer = faults[i];
        assert_int_equal(KL_OK, send_call(NULL));
        assert_int_equal(faults[i], wait_code(i + 1));
    }
    assert_int_equal(0, two.calls);
}

static void test_failover__the_first_error_is_told_when_all_fail(void **state)
{
    (void)state;
    struct kl_err err = {.code = KL_OK};
    one.refuse = KL_TOKEN_UNAVAILABLE;
    two.refuse = KL_TOKEN_BUSY;
    assert_int_equal(KL_TOKEN_UNAVAILABLE, send_call(&err));
    assert_int_equal(KL_TOKEN_UNAVAILABLE, err.code);
    assert_int_equal(0, out.times);
    two.refuse = KL_OK;
    two.answer = KL_TOKEN_BUSY;
    assert_int_equal(KL_OK, send_call(NULL));
    assert_int_equal(KL_TOKEN_UNAVAILABLE, wait_code(1));
    key->homes[0].token = key->homes[1].token = NULL;
    assert_int_equal(KL_TOKEN_UNAVAILABLE, send_call(&err));
    key->homes[0].token = &one.token;
    key->homes[1].token = &two.token;
}

static void test_failover__a_silent_home_loses_its_turn(void **state)
{
    (void)state;
    one.keep = true;
    assert_int_equal(KL_OK, send_call(NULL));
    assert_int_equal(KL_OK, wait_code(1)); /* by the other home, after a share of the deadline */
    assert_int_equal(1, two.calls);
    one.keep = false;
    assert_int_equal(KL_OK, send_call(NULL));
    assert_int_equal(KL_OK, wait_code(2));
    assert_int_equal(1, one.calls);        /* what keeps others waiting is asked last */
    give(one.kept[0], one.args[0], KL_OK); /* too late for its caller, in time for its good name */
    one.kept_count = 0;
    assert_int_equal(KL_OK, send_call(NULL));
    assert_int_equal(KL_OK, wait_code(3));
    assert_int_equal(2, one.calls);
    assert_int_equal(3, out.times);
}

static void test_failover__all_silent_ends_at_the_deadline(void **state)
{
    (void)state;
    one.keep = two.keep = true;
    int64_t start = kl_clock_mono_ms();
    assert_int_equal(KL_OK, send_call(NULL));
    assert_int_equal(KL_TOKEN_UNAVAILABLE, wait_code(1));
    assert_true(kl_clock_mono_ms() - start >= DEADLINE_MS);
    assert_int_equal(1, one.calls);
    assert_int_equal(1, two.calls);
    give(two.kept[0], two.args[0], KL_OK); /* nobody hears it */
    two.kept_count = 0;
    assert_int_equal(1, out.times);
}

static void test_failover__after_the_stop_nothing_moves(void **state)
{
    (void)state;
    one.keep = true;
    assert_int_equal(KL_OK, send_call(NULL));
    kl_failover_stop(f);
    give(one.kept[0], one.args[0], KL_TOKEN_UNAVAILABLE);
    one.kept_count = 0;
    assert_int_equal(KL_TOKEN_UNAVAILABLE, wait_code(1));
    assert_int_equal(0, two.calls);
}

static void test_failover__one_home_goes_straight_to_its_token(void **state)
{
    (void)state;
    key->token = &two.token;
    key->ref.id[0] = 9;
    size_t count = key->home_count;
    key->home_count = 0;
    two.answer = KL_TOKEN_BUSY;
    assert_int_equal(KL_OK, send_call(NULL));
    assert_int_equal(KL_TOKEN_BUSY, wait_code(1));
    assert_int_equal(9, two.asked[0]);
    key->token = NULL;
    assert_int_equal(KL_TOKEN_UNAVAILABLE, send_call(NULL));
    key->home_count = count;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_failover__the_preferred_home_serves, begin, end),
        cmocka_unit_test_setup_teardown(test_failover__moves_on_when_refused_or_failed, begin, end),
        cmocka_unit_test_setup_teardown(test_failover__bad_data_is_bad_everywhere, begin, end),
        cmocka_unit_test_setup_teardown(test_failover__the_first_error_is_told_when_all_fail, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_failover__a_silent_home_loses_its_turn, begin, end),
        cmocka_unit_test_setup_teardown(test_failover__all_silent_ends_at_the_deadline, begin, end),
        cmocka_unit_test_setup_teardown(test_failover__after_the_stop_nothing_moves, begin, end),
        cmocka_unit_test_setup_teardown(test_failover__one_home_goes_straight_to_its_token, begin,
                                        end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
