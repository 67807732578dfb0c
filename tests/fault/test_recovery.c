/* How the client gets over a token that hangs, goes away, tires of idle sessions, or is sent
 * garbage: the steps of a start, the canary, the circuit breaker. */
#include "base/clock.h"
#include "base/encoding.h"
#include "tests/fault/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define RETURN_MS 10000 /* a token that is back serves again within this */

static struct stage stage;

static int set_up(void **state)
{
    (void)state;
    stage_make(&stage);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stage_remove(&stage);
    return 0;
}

static struct kl_token_status look(void)
{
    struct kl_token_status st;
    kl_token_status(stage.token, &st);
    return st;
}

typedef bool condition(const struct kl_token_status *st, uint64_t than);

static bool came(condition *met, uint64_t than)
{
    int64_t until = kl_clock_mono_ms() + 3 * RETURN_MS;
    for (;;) {
        struct kl_token_status st = look();
        if (met(&st, than))
            return true;
        if (kl_clock_mono_ms() > until) {
            print_message("still: %s (%s)\n", st.text, st.health.step);
            return false;
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
}

static bool is_down(const struct kl_token_status *st, uint64_t than)
{
    (void)than;
    return st->state == KL_TOKEN_DOWN;
}

static bool has_lost(const struct kl_token_status *st, uint64_t than)
{
    return st->health.losses >= than;
}

static bool hangs_at_once(const struct kl_token_status *st, uint64_t than)
{
    (void)than;
    return st->health.circuit == KL_CIRCUIT_HALF_OPEN &&
           strcmp(st->health.step, "C_Initialize") == 0;
}

static bool has_calls(const struct kl_token_status *st, uint64_t than)
{
    return st->calls >= than;
}

static void assert_serves_again(void)
{
    struct kl_err err;
    assert_true(site_wait(stage.token, KL_TOKEN_READY, RETURN_MS));
    assert_int_equal(stage_do(&stage, STAGE_DECRYPT_RAW, &err), KL_OK);
    assert_int_equal(look().health.circuit, KL_CIRCUIT_CLOSED);
}

/* Whatever hangs while a worker starts is named with the setting that bounds it, and the next
 * worker finds the token when it has come to itself. */
static void test_fault_recovery__a_hanging_start_is_bounded_step_by_step(void **state)
{
    static const struct {
        const char *hangs, *named, *bound;
    } rows[] = {
        {"C_Initialize", "C_Initialize", "start-deadline"},
        {"C_GetTokenInfo", "C_GetSlotList", "start-deadline"},
        {"C_Login", "C_Login", "start-deadline"},
        {"C_FindObjectsInit", "C_FindObjects", "start-deadline"},
        {"C_GenerateKeyPair", "C_GenerateKeyPair", "slow-deadline"},
        {"C_DecryptInit", "C_Decrypt", "start-deadline"},
    };
    (void)state;
    stage_close(&stage);
    stage.site.config.start_deadline_ms = 1000;
    stage.site.config.slow_deadline_ms = 3000;
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        char script[64];
        (void)snprintf(script, sizeof script, "%s always hang\n", rows[i].hangs);
        stage_script(&stage, script);
        stage.token = site_open(&stage.site);
        assert_true(came(is_down, 0));
        struct kl_token_status st = look();
        if (strstr(st.text, rows[i].named) == NULL || strstr(st.text, rows[i].bound) == NULL)
            fail_msg("%s hangs, and the text says: %s", rows[i].hangs, st.text);
        stage_script(&stage, "");
        assert_serves_again();
        stage_close(&stage);
    }
}

static void test_fault_recovery__a_token_that_goes_is_missed_without_any_call(void **state)
{
    struct kl_err err;
    (void)state;
    stage.site.config.keep_alive_ms = 100;
    assert_true(stage_open(&stage, 30000));
    assert_int_not_equal(look().health.canary_unix, 0);
    stage_script(&stage, "* always return CKR_DEVICE_REMOVED\n");
    assert_true(came(is_down, 0));
    assert_int_equal(stage_do(&stage, STAGE_DECRYPT_RAW, &err), KL_TOKEN_UNAVAILABLE);
    stage_script(&stage, "");
    assert_serves_again();
}

static void test_fault_recovery__a_canary_that_hangs_gives_the_worker_away(void **state)
{
    (void)state;
    stage.site.config.keep_alive_ms = 100;
    stage.site.config.deadline_ms = 300;
    stage.site.config.start_deadline_ms = 5000;
    assert_true(stage_open(&stage, 30000));
    stage_script(&stage, "C_Decrypt always hang\nC_Sign always hang\n");
    assert_true(came(is_down, 0));
    stage_script(&stage, "");
    assert_serves_again();
}

/* The canary itself gets over what a request gets over: no new worker for a session that died. */
static void test_fault_recovery__sessions_that_die_of_idleness_are_replaced(void **state)
{
    (void)state;
    stage.site.config.keep_alive_ms = 50;
    assert_true(stage_open(&stage, 30000));
    struct kl_token_status before = look();
    stage_script(&stage, "C_DecryptInit every:3 return CKR_SESSION_HANDLE_INVALID\n"
                         "C_SignInit every:3 return CKR_SESSION_HANDLE_INVALID\n"
                         "C_Decrypt every:5 return CKR_OBJECT_HANDLE_INVALID\n"
                         "C_Sign every:5 return CKR_OBJECT_HANDLE_INVALID\n");
    unsigned long seen = stage_calls(&stage, "C_OpenSession");
    assert_true(came(has_calls, before.calls + 20)); /* canaries: nobody else calls */
    stage_script(&stage, "");
    assert_true(stage_calls(&stage, "C_OpenSession") > seen);
    assert_int_equal(look().restarts, before.restarts);
    assert_serves_again();
}

/* Private-key operations: a canary takes whichever key it finds. */
static unsigned long canaries(void)
{
    return stage_calls(&stage, "C_Decrypt") + stage_calls(&stage, "C_Sign");
}

/* Each lane thread has a session of its own; all of them are used while nobody calls. */
static void test_fault_recovery__every_idle_session_is_kept_alive(void **state)
{
    (void)state;
    stage.site.config.keep_alive_ms = 100;
    stage.site.config.workers = 4;
    assert_true(stage_open(&stage, 30000));
    unsigned long proofs = canaries();
    unsigned long randoms = stage_calls(&stage, "C_GenerateRandom");
    uint64_t calls = look().calls;
    assert_true(came(has_calls, calls + 10));
    /* the client's canaries alone would be as many as the calls */
    assert_true(canaries() - proofs > look().calls - calls + 4);
    assert_true(stage_calls(&stage, "C_GenerateRandom") >
                randoms); /* the session that holds the login */
}

static void test_fault_recovery__keep_alive_can_be_turned_off(void **state)
{
    struct kl_err err;
    (void)state;
    stage.site.config.keep_alive_ms = 0;
    assert_true(stage_open(&stage, 30000));
    unsigned long before = stage_calls(&stage, "C_DecryptInit");
    for (int i = 0; i < 5; i++)
        assert_int_equal(stage_do(&stage, STAGE_RANDOM, &err), KL_OK);
    assert_int_equal(stage_calls(&stage, "C_DecryptInit"), before);
    assert_int_equal(look().calls, 5);
}

struct flood {
    atomic_uint sent, odd;
};

static void *send_garbage(void *arg)
{
    struct flood *f = arg;
    uint8_t cipher[256], out[512];
    for (int i = 0; i < 500; i++) {
        size_t n;
        struct kl_err err;
        kl_random(cipher, sizeof cipher);
        cipher[0] = 0;
        /* with SHA-1 the token takes the padding off, and answers CKR_GENERAL_ERROR */
        enum kl_code code = keys_decrypt(stage.token, &stage.rsa, KL_ALG_OAEP_SHA1, cipher,
                                         sizeof cipher, out, &n, &err);
        (void)atomic_fetch_add(code == KL_DECRYPT_FAILED ? &f->sent : &f->odd, 1);
    }
    return NULL;
}

static void test_fault_recovery__garbage_neither_opens_the_circuit_nor_breeds_canaries(void **state)
{
    struct flood flood = {0};
    pthread_t threads[4];
    struct kl_err err;
    (void)state;
    assert_true(stage_open(&stage, 30000));
    struct kl_token_status before = look();
    unsigned long decrypts = stage_calls(&stage, "C_Decrypt");
    int64_t began = kl_clock_mono_ms();
    for (size_t i = 0; i < KL_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_garbage, &flood), 0);
    for (size_t i = 0; i < KL_COUNT(threads); i++)
        (void)pthread_join(threads[i], NULL);
    int64_t took = kl_clock_mono_ms() - began;
    struct kl_token_status after = look();
    assert_int_equal(atomic_load(&flood.odd), 0);
    assert_int_equal(after.health.circuit, KL_CIRCUIT_CLOSED);
    assert_int_equal(after.generation, before.generation);
    /* each is tried twice, and ten canaries a second judge them all */
    unsigned long most = 2 * atomic_load(&flood.sent) + (unsigned long)(took / 100) + 10;
    assert_true(stage_calls(&stage, "C_Decrypt") - decrypts <= most);
    assert_int_equal(stage_do(&stage, STAGE_DECRYPT_NATIVE, &err), KL_OK);
}

static void test_fault_recovery__the_circuit_opens_and_closes(void **state)
{
    struct kl_err err;
    (void)state;
    stage_close(&stage);
    stage_script(&stage, "");
    stage.site.config.start_deadline_ms = 2000;
    assert_true(stage_open(&stage, 30000));
    assert_int_equal(look().health.circuit, KL_CIRCUIT_CLOSED);
    stage_script(&stage, "* always return CKR_TOKEN_NOT_PRESENT\n");
    assert_int_equal(stage_do(&stage, STAGE_DECRYPT_RAW, &err), KL_TOKEN_UNAVAILABLE);
    assert_true(came(has_lost, 4));
    assert_int_equal(stage_do(&stage, STAGE_SIGN_EC, &err), KL_TOKEN_UNAVAILABLE);
    stage_script(&stage, "C_Initialize always hang\n");
    assert_true(came(hangs_at_once, 0)); /* trying, and callers are still kept out */
    assert_int_equal(stage_do(&stage, STAGE_SIGN_EC, &err), KL_TOKEN_UNAVAILABLE);
    stage_script(&stage, "");
    assert_serves_again();
    assert_int_equal(stage_calls(&stage, "C_Login"), 2); /* one for each worker that got so far */
}

/* A token that lets us in and then does nothing is not asked more often than the limit says, and
 * not less either. */
static void test_fault_recovery__a_token_that_fails_after_the_login_comes_back_in_time(void **state)
{
    (void)state;
    assert_true(stage_open(&stage, 30000));
    stage_script(&stage, "C_FindObjectsInit always return CKR_DEVICE_ERROR\n"
                         "C_Decrypt always return CKR_DEVICE_ERROR\n"
                         "C_Sign always return CKR_DEVICE_ERROR\n");
    struct kl_err err;
    assert_int_equal(stage_do(&stage, STAGE_DECRYPT_RAW, &err), KL_TOKEN_UNAVAILABLE);
    assert_true(came(has_lost, 5));
    stage_script(&stage, "");
    assert_serves_again();
}

#define ROW(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_fault_recovery__a_hanging_start_is_bounded_step_by_step),
        ROW(test_fault_recovery__a_token_that_goes_is_missed_without_any_call),
        ROW(test_fault_recovery__a_canary_that_hangs_gives_the_worker_away),
        ROW(test_fault_recovery__sessions_that_die_of_idleness_are_replaced),
        ROW(test_fault_recovery__every_idle_session_is_kept_alive),
        ROW(test_fault_recovery__keep_alive_can_be_turned_off),
        ROW(test_fault_recovery__garbage_neither_opens_the_circuit_nor_breeds_canaries),
        ROW(test_fault_recovery__the_circuit_opens_and_closes),
        ROW(test_fault_recovery__a_token_that_fails_after_the_login_comes_back_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
