/* What only the real client meets: workers that die or hang, tokens that go away, refused PINs. */
#include "base/clock.h"
#include "base/encoding.h"
#include "tests/token/keys.h"
#include "tests/token/site.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct site site;

static int set_up(void **state)
{
    (void)state;
    site_make(&site, false);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    site_remove(&site);
    return 0;
}

/* The same through the shim, which counts logins and makes calls fail. */
static int set_up_shim(void **state)
{
    (void)set_up(state);
    const char *shim = getenv("KLUIS_SHIM");
    assert_non_null(shim);
    assert_int_equal(setenv("KLUIS_SHIM_MODULE", site.module, 1), 0);
    assert_int_equal(setenv("KLUIS_SHIM_DIR", site.dir, 1), 0);
    (void)snprintf(site.module, sizeof site.module, "%s", shim);
    return 0;
}

static long logins(void)
{
    char path[128];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/logins", site.dir);
    return stat(path, &st) == 0 ? (long)st.st_size : 0;
}

static void set_fault(const char *text)
{
    char path[128], next[140];
    (void)snprintf(path, sizeof path, "%s/fault", site.dir);
    if (text == NULL) {
        (void)unlink(path);
        return;
    }
    (void)snprintf(next, sizeof next, "%s.new", path);
    site_write(next, text);
    assert_int_equal(rename(next, path), 0);
}

static struct kl_token_status status_of(struct kl_token *t)
{
    struct kl_token_status st;
    kl_token_status(t, &st);
    return st;
}

static struct test_key make_rsa(struct kl_token *t)
{
    struct test_key k;
    struct kl_err err;
    struct kl_key_spec spec = keys_rsa(2048, KL_PROFILE_FIXED, true, false);
    if (keys_generate(t, &spec, &k, &err) != KL_OK)
        fail_msg("generate: %s", err.text);
    return k;
}

static bool works_again(struct kl_token *t, const struct test_key *k, int64_t limit_ms)
{
    struct kl_err err;
    int64_t until = kl_clock_mono_ms() + limit_ms;
    while (kl_clock_mono_ms() < until) {
        if (keys_round_trip(t, k, KL_ALG_OAEP_SHA256, &err) == KL_OK)
            return true;
        (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    print_message("still: %s\n", err.text);
    return false;
}

struct load {
    struct kl_token *t;
    const struct test_key *key;
    atomic_bool *stop;
    atomic_uint *good, *odd;
};

static void *work(void *arg)
{
    struct load *l = arg;
    while (!atomic_load(l->stop)) {
        struct kl_err err;
        enum kl_code code = keys_round_trip(l->t, l->key, KL_ALG_OAEP_SHA256, &err);
        if (code == KL_OK)
            (void)atomic_fetch_add(l->good, 1);
        else if (code != KL_TOKEN_UNAVAILABLE)
            (void)atomic_fetch_add(l->odd, 1);
        else
            (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return NULL;
}

static void wait_for_more(atomic_uint *good)
{
    unsigned before = atomic_load(good);
    int64_t until = kl_clock_mono_ms() + 20000;
    while (atomic_load(good) < before + 20 && kl_clock_mono_ms() < until)
        (void)nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    assert_true(atomic_load(good) >= before + 20);
}

static void test_token_faults__a_killed_worker_is_replaced_under_load(void **state)
{
    (void)state;
    struct kl_token *t = site_open(&site);
    struct test_key k = make_rsa(t);
    atomic_bool stop = false;
    atomic_uint good = 0, odd = 0;
    pthread_t threads[8];
    struct load load = {.t = t, .key = &k, .stop = &stop, .good = &good, .odd = &odd};
    for (size_t i = 0; i < KL_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &load), 0);
    for (int i = 0; i < 3; i++) {
        wait_for_more(&good);
        struct kl_token_status st = status_of(t);
        assert_int_equal(st.state, KL_TOKEN_READY);
        assert_int_equal(kill(st.worker_pid, SIGKILL), 0);
    }
    wait_for_more(&good);
    atomic_store(&stop, true);
    for (size_t i = 0; i < KL_COUNT(threads); i++)
        (void)pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&odd), 0);
    assert_int_equal(status_of(t).restarts, 3);
    assert_int_equal(status_of(t).generation, 4);
    kl_token_close(t);
}

static void test_token_faults__a_stopped_worker_misses_its_deadline(void **state)
{
    (void)state;
    site.config.deadline_ms = 300;
    struct kl_token *t = site_open(&site);
    struct test_key k = make_rsa(t);
    pid_t pid = status_of(t).worker_pid;
    struct kl_err err;
    siginfo_t stopped;
    assert_int_equal(kill(pid, SIGSTOP), 0);
    /* until all its threads stand: one of them could still serve the call */
    assert_int_equal(waitid(P_PID, (id_t)pid, &stopped, WSTOPPED | WNOWAIT), 0);
    assert_int_equal(keys_round_trip(t, &k, KL_ALG_OAEP_SHA1, &err), KL_TOKEN_UNAVAILABLE);
    assert_true(works_again(t, &k, 10000));
    assert_int_not_equal(status_of(t).worker_pid, pid);
    assert_int_equal(kill(pid, 0), -1); /* reaped */
    kl_token_close(t);
}

static void test_token_faults__a_token_folder_goes_and_comes_back(void **state)
{
    (void)state;
    struct kl_token *t = site_open(&site);
    struct test_key a = make_rsa(t), b = make_rsa(t);
    struct kl_err err;
    assert_int_equal(keys_round_trip(t, &b, KL_ALG_OAEP_SHA256, &err), KL_OK);
    assert_int_equal(rename(site.tokens, site.away), 0);
    assert_int_equal(mkdir(site.tokens, 0700), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(keys_round_trip(t, &a, KL_ALG_OAEP_SHA256, &err), KL_TOKEN_UNAVAILABLE);
    assert_true(site_wait(t, KL_TOKEN_DOWN, 5000));
    assert_int_equal(rmdir(site.tokens), 0);
    assert_int_equal(rename(site.away, site.tokens), 0);
    assert_true(works_again(t, &a, 10000));
    assert_int_equal(keys_round_trip(t, &b, KL_ALG_OAEP_SHA1, &err), KL_OK);
    kl_token_close(t);
}

static void test_token_faults__the_only_key_goes_with_its_token(void **state)
{
    (void)state;
    struct kl_token *t = site_open(&site);
    struct test_key a = make_rsa(t);
    struct kl_err err;
    assert_int_equal(rename(site.tokens, site.away), 0);
    assert_int_equal(keys_simple(t, KL_CALL_FIND, &a, &err), KL_OK); /* from the index */
    assert_int_equal(keys_round_trip(t, &a, KL_ALG_OAEP_SHA256, &err), KL_TOKEN_UNAVAILABLE);
    assert_int_equal(rename(site.away, site.tokens), 0);
    assert_true(works_again(t, &a, 10000));
    kl_token_close(t);
}

static void test_token_faults__the_mac_key_speaks_for_an_empty_token(void **state)
{
    (void)state;
    struct kl_token *t = site_open(&site);
    struct kl_err err;
    struct test_key none = {.ref = {.id = {1}}, .spec = {.type = KL_KEY_RSA}};
    struct kl_token_request mac = {.call = KL_CALL_MAC, .input = "x", .input_len = 1};
    assert_int_equal(kl_token_call(t, &mac, NULL, NULL, &err), KL_OK);
    assert_int_equal(keys_simple(t, KL_CALL_FIND, &none, &err), KL_TOKEN_KEY_MISSING);
    assert_int_equal(rename(site.tokens, site.away), 0);
    assert_int_equal(keys_simple(t, KL_CALL_FIND, &none, &err), KL_TOKEN_UNAVAILABLE);
    assert_int_equal(rename(site.away, site.tokens), 0);
    assert_true(site_wait(t, KL_TOKEN_READY, 10000));
    kl_token_close(t);
}

static void test_token_faults__a_missing_key_is_missing_only_while_others_work(void **state)
{
    (void)state;
    struct kl_token *t = site_open(&site);
    struct test_key a = make_rsa(t), b = make_rsa(t);
    struct kl_err err;
    char id[33];
    kl_hex(b.ref.id, sizeof b.ref.id, id);
    const char *argv[] = {
        "pkcs11-tool", "--module",        site.module, "--token-label", "site", "--login", "--pin",
        SITE_PIN,      "--delete-object", "--type",    "privkey",       "--id", id,        NULL};
    assert_int_equal(site_run(argv), 0); /* behind the worker's back */
    assert_int_equal(keys_round_trip(t, &b, KL_ALG_OAEP_SHA256, &err), KL_TOKEN_KEY_MISSING);
    assert_int_equal(keys_round_trip(t, &a, KL_ALG_OAEP_SHA256, &err), KL_OK);
    assert_int_equal(status_of(t).restarts, 0);
    kl_token_close(t);
}

static void test_token_faults__a_refused_pin_is_sent_once(void **state)
{
    char latch[128];
    (void)state;
    site_write(site.pin, "000000\n");
    for (int i = 0; i < 5; i++) {
        struct kl_token *t = site_open(&site);
        struct kl_err err;
        struct test_key k = {.spec = {.type = KL_KEY_RSA}};
        assert_int_equal(status_of(t).state, KL_TOKEN_PIN_REFUSED);
        assert_int_equal(keys_simple(t, KL_CALL_FIND, &k, &err), KL_TOKEN_PIN);
        assert_null(strstr(err.text, "000000"));
        kl_token_close(t);
    }
    assert_int_equal(logins(), 1);
    site_write(site.pin, SITE_PIN "\n"); /* a corrected PIN needs nothing else */
    struct kl_token *t = site_open(&site);
    if (status_of(t).state == KL_TOKEN_PIN_REFUSED) { /* 1 in 256: the check byte is the same */
        (void)snprintf(latch, sizeof latch, "rm %s/token-*/pin-refused-*", site.dir);
        assert_int_equal(system(latch), 0);
        assert_true(site_wait(t, KL_TOKEN_READY, 10000));
    }
    assert_int_equal(status_of(t).state, KL_TOKEN_READY);
    assert_int_equal(logins(), 2);
    kl_token_close(t);
}

static void test_token_faults__removing_the_latch_allows_one_more_try(void **state)
{
    char remove_it[160];
    (void)state;
    set_fault("C_Login rv 0xa0");
    struct kl_token *t = site_open(&site);
    assert_int_equal(status_of(t).state, KL_TOKEN_PIN_REFUSED);
    set_fault(NULL);
    (void)snprintf(remove_it, sizeof remove_it, "rm %s/token-*/pin-refused-*", site.dir);
    assert_int_equal(system(remove_it), 0);
    assert_true(site_wait(t, KL_TOKEN_READY, 10000));
    assert_int_equal(logins(), 2);
    kl_token_close(t);
}

static void test_token_faults__an_ambiguous_error_is_settled_by_the_canary(void **state)
{
    (void)state;
    struct kl_token *t = site_open(&site);
    struct test_key k = make_rsa(t);
    struct kl_err err;
    static const char *const faults[] = {"C_Decrypt rv 0x5", "C_Decrypt rv 0x30",
                                         "C_Decrypt rv 0xe0"};
    for (size_t i = 0; i < KL_COUNT(faults); i++) {
        set_fault(faults[i]); /* every decrypt fails, the canary's too: the token is sick */
        assert_int_equal(keys_round_trip(t, &k, KL_ALG_OAEP_SHA1, &err), KL_TOKEN_UNAVAILABLE);
        set_fault(NULL);
        assert_true(works_again(t, &k, 20000));
    }
    kl_token_close(t);
}

static void test_token_faults__a_crash_and_a_hang_cost_one_worker_each(void **state)
{
    (void)state;
    site.config.deadline_ms = 500;
    struct kl_token *t = site_open(&site);
    struct test_key k = make_rsa(t);
    struct kl_err err;
    set_fault("C_Decrypt abort");
    assert_int_equal(keys_round_trip(t, &k, KL_ALG_OAEP_SHA1, &err), KL_TOKEN_UNAVAILABLE);
    set_fault(NULL);
    assert_true(works_again(t, &k, 10000));
    set_fault("C_Decrypt hang");
    assert_int_equal(keys_round_trip(t, &k, KL_ALG_OAEP_SHA1, &err), KL_TOKEN_UNAVAILABLE);
    set_fault(NULL);
    assert_true(works_again(t, &k, 10000));
    kl_token_close(t);
}

static void test_token_faults__too_many_waiting_are_told_so(void **state)
{
    (void)state;
    site.config.max_waiting = 1;
    struct kl_token *t = site_open(&site);
    struct test_key k = make_rsa(t);
    atomic_bool stop = false;
    atomic_uint good = 0, odd = 0;
    pthread_t thread;
    struct load load = {.t = t, .key = &k, .stop = &stop, .good = &good, .odd = &odd};
    assert_int_equal(pthread_create(&thread, NULL, work, &load), 0);
    int64_t until = kl_clock_mono_ms() + 20000;
    bool busy = false;
    while (!busy && kl_clock_mono_ms() < until) {
        struct kl_err err;
        busy = keys_round_trip(t, &k, KL_ALG_OAEP_SHA1, &err) == KL_TOKEN_BUSY;
    }
    atomic_store(&stop, true);
    (void)pthread_join(thread, NULL);
    assert_true(busy);
    kl_token_close(t);
}

static void test_token_faults__a_pin_by_descriptor_outlives_its_pipe(void **state)
{
    (void)state;
    int ends[2];
    char source[32];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], SITE_PIN "\n", strlen(SITE_PIN) + 1), strlen(SITE_PIN) + 1);
    (void)close(ends[1]);
    (void)snprintf(source, sizeof source, "fd:%d", ends[0]);
    site.config.pin_source = source;
    struct kl_token *t = site_open(&site);
    (void)close(ends[0]);
    assert_int_equal(status_of(t).state, KL_TOKEN_READY);
    assert_int_equal(kill(status_of(t).worker_pid, SIGKILL), 0);
    struct test_key k;
    struct kl_err err;
    struct kl_key_spec spec = keys_ec(KL_CURVE_P256, KL_PROFILE_FIXED);
    int64_t until = kl_clock_mono_ms() + 10000;
    while (keys_generate(t, &spec, &k, &err) != KL_OK && kl_clock_mono_ms() < until)
        (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    assert_int_equal(status_of(t).generation, 2);
    kl_token_close(t);
}

static void test_token_faults__settings_that_cannot_work_are_refused(void **state)
{
    (void)state;
    struct kl_token *t = NULL;
    struct kl_err err;
    struct kl_token_config bad = site.config;
    bad.uri = (char[]){"pkcs11:token=site?pin-value=1234"};
    assert_int_equal(kl_token_open(&bad, 0, &t, &err), KL_CONFIG);
    bad = site.config;
    bad.module = (char[]){"libsofthsm2.so"};
    assert_int_equal(kl_token_open(&bad, 0, &t, &err), KL_CONFIG);
    bad = site.config;
    bad.uri = (char[]){"pkcs11:token=nobody"};
    assert_int_equal(kl_token_open(&bad, 20000, &t, &err), KL_OK);
    assert_int_equal(status_of(t).state, KL_TOKEN_DOWN);
    assert_non_null(strstr(status_of(t).text, "nobody"));
    kl_token_close(t);
}

#define ROW(f)      cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define ROW_SHIM(f) cmocka_unit_test_setup_teardown(f, set_up_shim, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_token_faults__a_killed_worker_is_replaced_under_load),
        ROW(test_token_faults__a_stopped_worker_misses_its_deadline),
        ROW(test_token_faults__a_token_folder_goes_and_comes_back),
        ROW(test_token_faults__the_only_key_goes_with_its_token),
        ROW(test_token_faults__the_mac_key_speaks_for_an_empty_token),
        ROW(test_token_faults__a_missing_key_is_missing_only_while_others_work),
        ROW_SHIM(test_token_faults__a_refused_pin_is_sent_once),
        ROW_SHIM(test_token_faults__removing_the_latch_allows_one_more_try),
        ROW_SHIM(test_token_faults__an_ambiguous_error_is_settled_by_the_canary),
        ROW_SHIM(test_token_faults__a_crash_and_a_hang_cost_one_worker_each),
        ROW(test_token_faults__too_many_waiting_are_told_so),
        ROW(test_token_faults__a_pin_by_descriptor_outlives_its_pipe),
        ROW(test_token_faults__settings_that_cannot_work_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
