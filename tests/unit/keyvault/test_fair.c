/* The order in which a token gets the calls of several callers. */
#include "keyvault/fair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* cmocka wants those above it */
#include <cmocka.h>

#define WINDOW 2
#define ROOM   4096

/* A token that keeps what it gets until the test lets it answer, oldest first. */
static struct {
    struct kl_token token;
    enum kl_code refuse;
    struct {
        kl_token_done *done;
        void *arg;
        char who;
    } kept[ROOM];
    size_t first, count;
} puppet;

static struct kl_failover *failover;
static struct kl_fair *fair;
static struct kl_key_version *small, *big;
static char answered[ROOM + 1];
static size_t answers;
static enum kl_code last;

static enum kl_code submit(struct kl_token *t, const struct kl_token_request *req,
                           kl_token_done *done, void *arg, struct kl_err *err)
{
    (void)t;
    if (puppet.refuse != KL_OK)
        return kl_fail(err, puppet.refuse, "puppet", "refused");
    assert_true(puppet.count < ROOM);
    puppet.kept[puppet.count].done = done;
    puppet.kept[puppet.count].arg = arg;
    puppet.kept[puppet.count++].who = *(const char *)req->input;
    return KL_OK;
}

static const struct kl_token_ops ops = {.submit = submit};

static void finished(void *arg, struct kl_token_reply *reply)
{
    answered[answers++] = *(const char *)arg;
    last = reply->code;
}

static const char names[] = "abcdefgh";

static enum kl_code ask(char who, struct kl_key_version *key)
{
    /* object ids as callers have them; who they are is also the input */
    char id[] = "00000000-0000-0000-0000-00000000000x";
    id[sizeof id - 2] = who;
    const struct kl_token_request req = {
        .call = KL_CALL_DECRYPT, .input = strchr(names, who), .input_len = 1};
    return kl_fair_submit(fair, id, key, &req, finished, (void *)strchr(names, who), NULL);
}

static void ask_many(char who, struct kl_key_version *key, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(ask(who, key), KL_OK);
}

static void answer_one(void)
{
    struct kl_token_reply reply = {.code = KL_OK};
    size_t at = puppet.first++;
    puppet.kept[at].done(puppet.kept[at].arg, &reply);
}

static void answer_all(void)
{
    while (puppet.first < puppet.count)
        answer_one();
    answered[answers] = 0;
}

static struct kl_key_version *make_key(uint32_t bits)
{
    struct kl_key_version *k = calloc(1, sizeof *k);
    assert_non_null(k);
    atomic_init(&k->refs, 1);
    k->type = KL_KEY_RSA;
    k->bits = bits;
    k->token = &puppet.token;
    return k;
}

static int begin(void **state)
{
    (void)state;
    struct kl_token *token = &puppet.token;
    const unsigned window = WINDOW;
    memset(&puppet, 0, sizeof puppet);
    puppet.token = (struct kl_token){.ops = &ops, .name = "puppet"};
    answers = 0;
    last = KL_OK;
    small = make_key(2048);
    big = make_key(4096);
    assert_int_equal(kl_failover_new(1000, &failover, NULL), KL_OK);
    assert_int_equal(kl_fair_new(&token, &window, 1, failover, &fair, NULL), KL_OK);
    return 0;
}

static int end(void **state)
{
    (void)state;
    kl_fair_free(fair);
    kl_failover_stop(failover);
    kl_failover_free(failover);
    kl_key_version_unref(small);
    kl_key_version_unref(big);
    return 0;
}

static void test_keyvault_fair__one_caller_alone_is_not_held_back(void **state)
{
    (void)state;
    ask_many('a', small, 100);
    assert_int_equal(puppet.count, 100);
    answer_all();
    assert_int_equal(answers, 100);
}

/* A hundred calls of one, then two of another: the two wait for what the token has, and then every
 * other turn is theirs. */
static void test_keyvault_fair__callers_in_turn(void **state)
{
    (void)state;
    ask_many('b', small, 1);
    ask_many('a', small, 101);
    assert_int_equal(puppet.count, WINDOW);
    ask_many('c', small, 2);
    answer_all();
    assert_int_equal(answers, 104);
    answered[7] = 0;
    assert_true(strcmp(answered, "baacaca") == 0 || strcmp(answered, "baaacac") == 0);
}

/* Each of seven callers with one call at a time is served within one round, whatever the eighth
 * has waiting. */
static void test_keyvault_fair__a_round_is_as_long_as_there_are_callers(void **state)
{
    (void)state;
    ask_many('b', small, 1);
    ask_many('a', small, 1000);
    for (const char *who = "bcdefgh"; *who != 0; who++)
        ask_many(*who, small, 1);
    for (int round = 0; round < 20; round++) {
        size_t from = answers;
        for (int i = 0; i < 8 + WINDOW; i++)
            answer_one();
        for (const char *who = "bcdefgh"; *who != 0; who++) {
            if (memchr(answered + from, *who, answers - from) == NULL)
                fail_msg("%c had to wait in round %d: %.*s", *who, round, (int)(answers - from),
                         answered + from);
            if (ask(*who, small) != KL_OK)
                fail_msg("%c is refused", *who);
        }
        /* answers of this round may still be the token's: let all have at most one waiting */
        while (answers < from + 8)
            answer_one();
    }
    answer_all();
}

/* An RSA-4096 operation costs eight turns. */
static void test_keyvault_fair__by_cost(void **state)
{
    (void)state;
    ask_many('b', small, 1);
    ask_many('a', big, 20);
    ask_many('b', small, 100);
    answer_all();
    size_t a = 0;
    for (size_t i = 0; i < 50; i++)
        a += answered[i] == 'a';
    assert_in_range(a, 4, 8);
    assert_int_equal(answers, 121);
}

static void test_keyvault_fair__who_has_too_much_waiting_is_refused_alone(void **state)
{
    (void)state;
    ask_many('b', small, 1);
    ask_many('a', small, WINDOW - 1 + KL_FAIR_WAITING_MAX);
    assert_int_equal(ask('a', small), KL_TOKEN_BUSY);
    assert_int_equal(ask('c', small), KL_OK);
    answer_all();
    assert_int_equal(answers, 1 + WINDOW - 1 + KL_FAIR_WAITING_MAX + 1);
}

/* What waits for a token that goes away ends at once, each call once. */
static void test_keyvault_fair__a_token_that_refuses_ends_all(void **state)
{
    (void)state;
    ask_many('b', small, 1);
    ask_many('a', small, 50);
    puppet.refuse = KL_TOKEN_UNAVAILABLE;
    answer_one();
    assert_int_equal(answers, 1 + 49);
    assert_int_equal(ask('c', small), KL_TOKEN_UNAVAILABLE);
    puppet.refuse = KL_OK;
    assert_int_equal(ask('c', small), KL_OK);
    answer_all();
    assert_int_equal(answers, 52);
    assert_int_equal(last, KL_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_keyvault_fair__##name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_caller_alone_is_not_held_back),         TEST(callers_in_turn),
        TEST(a_round_is_as_long_as_there_are_callers),   TEST(by_cost),
        TEST(who_has_too_much_waiting_is_refused_alone), TEST(a_token_that_refuses_ends_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
