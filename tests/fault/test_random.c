/* Random fault scripts through the real client and the real worker. Whatever the module does: no
 * answer with a wrong key (each plain text, signature and public key is compared), nothing
 * acknowledged that does not prove itself afterwards without faults, no key lost, and neither the
 * client nor the worker dies of a fault of its own. KLUIS_SCRIPTS = how many; KLUIS_SEED = the
 * first number, printed for each script that fails: with KLUIS_SCRIPTS=1 it alone is run again. */
#include "base/clock.h"
#include "base/encoding.h"
#include "tests/fault/scripts.h"
#include "tests/fault/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OPS_MAX 6

static struct stage stage;
static uint64_t running;    /* the seed of the script that runs */
static unsigned answers[2]; /* refused, given */

struct acknowledged {
    struct test_key keys[OPS_MAX];
    size_t count;
};

static uint64_t number_of(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

static bool is_ready(void)
{
    struct kl_token_status st;
    if (stage.token == NULL)
        return false;
    kl_token_status(stage.token, &st);
    return st.state == KL_TOKEN_READY;
}

/* A PIN that the script had refused is right: take the operator's part. */
static void remove_latches(const char *folder)
{
    DIR *d = opendir(folder);
    char path[512];
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        struct stat st;
        (void)snprintf(path, sizeof path, "%s/%.200s", folder, e->d_name);
        if (strncmp(e->d_name, "pin-refused", 11) == 0)
            (void)unlink(path);
        else if (strncmp(e->d_name, "token-", 6) == 0 && stat(path, &st) == 0 &&
                 S_ISDIR(st.st_mode))
            remove_latches(path);
    }
    (void)closedir(d);
}

static void disturb(struct chance *c, struct acknowledged *done)
{
    struct kl_err err;
    for (uint64_t ops = 1 + chance_below(c, OPS_MAX); ops > 0; ops--) {
        enum stage_op op = (enum stage_op)chance_below(c, STAGE_OPS);
        if (op == STAGE_DESTROY)
            continue; /* of what is to be proved */
        enum kl_code code = stage_do(&stage, op, &err);
        answers[code == KL_OK]++;
        if (code == KL_OK && (op == STAGE_GENERATE || op == STAGE_UNWRAP))
            done->keys[done->count++] = stage.made;
    }
}

static void recover(void)
{
    if (is_ready())
        return;
    stage_close(&stage);
    remove_latches(stage.site.dir);
    assert_true(stage_open(&stage, 30000));
}

static enum kl_code without_faults(enum stage_op op, struct kl_err *err)
{
    int64_t until = kl_clock_mono_ms() + 30000;
    enum kl_code code;
    for (;;) {
        code = stage_do(&stage, op, err);
        if (code == KL_OK || kl_clock_mono_ms() > until)
            return code;
        if (code == KL_TOKEN_UNSUPPORTED) /* a worker that was disturbed in its probe */
            stage_close(&stage);
        else if (code != KL_TOKEN_UNAVAILABLE && code != KL_TOKEN_BUSY)
            return code;
        (void)nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        recover(); /* a worker that was given up may end only now */
    }
}

static enum kl_code prove_made(struct kl_err *err)
{
    enum kl_code code;
    while ((code = stage_prove(&stage, err)) == KL_TOKEN_UNAVAILABLE)
        recover();
    return code;
}

static void prove(const struct acknowledged *done, const char *script)
{
    static const enum stage_op all[] = {STAGE_DECRYPT_RAW, STAGE_DECRYPT_NATIVE, STAGE_SIGN_RSA,
                                        STAGE_SIGN_EC, STAGE_MAC};
    struct kl_err err;
    for (size_t i = 0; i < KL_COUNT(all); i++)
        if (without_faults(all[i], &err) != KL_OK)
            fail_msg("%s afterwards: %s\n%s", stage_op_name(all[i]), err.text, script);
    for (size_t i = 0; i < done->count; i++) {
        stage.made = done->keys[i];
        if (prove_made(&err) != KL_OK)
            fail_msg("an acknowledged key does not work: %s\n%s", err.text, script);
        if (without_faults(STAGE_DESTROY, &err) != KL_OK)
            fail_msg("an acknowledged key cannot be destroyed: %s\n%s", err.text, script);
    }
    if (!stage_unhurt(&stage))
        fail_msg("the worker crashed\n%s", script);
}

static void run_script(uint64_t seed)
{
    struct chance c = {.state = seed};
    struct fault_plan plan;
    struct acknowledged done = {.count = 0};
    scripts_make(&c, &plan);
    bool from_start = chance_below(&c, 8) == 0;
    if (from_start)
        stage_close(&stage);
    stage.trust_plain = !plan.spoils_plain;
    stage.trust_signatures = !plan.spoils_signature;
    stage_script(&stage, plan.text);
    if (from_start)
        (void)stage_open(&stage, 0);
    disturb(&c, &done);
    stage_script(&stage, "");
    stage.trust_plain = stage.trust_signatures = true;
    recover();
    prove(&done, plan.text);
}

static void test_fault_random__no_script_gets_a_wrong_answer(void **state)
{
    (void)state;
    uint64_t seed, count = number_of("KLUIS_SCRIPTS", getenv("KLUIS_FULL") != NULL ? 100000 : 200);
    kl_random(&seed, sizeof seed);
    seed = number_of("KLUIS_SEED", seed);
    for (uint64_t i = 0; i < count; i++) {
        if (i % 1000 == 0)
            print_message("from KLUIS_SEED=%#llx on, %llu done\n", (unsigned long long)(seed + i),
                          (unsigned long long)i);
        running = seed + i;
        run_script(seed + i);
    }
    print_message("%llu scripts, %u operations refused, %u done\n", (unsigned long long)count,
                  answers[0], answers[1]);
    if (count >= 100)
        assert_true(answers[0] > 0 && answers[1] > 0);
}

static int set_up(void **state)
{
    (void)state;
    stage_make(&stage);
    stage.site.config.deadline_ms = 1000;
    stage.site.config.slow_deadline_ms = 5000;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    print_message("the last script: KLUIS_SEED=%#llx KLUIS_SCRIPTS=1\n",
                  (unsigned long long)running);
    stage_remove(&stage);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_random__no_script_gets_a_wrong_answer),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
