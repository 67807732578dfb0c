/* Secrets in the model: what a token that hangs or goes away does to them, lost answers of the
 * store, and the proof that comes before anything is sealed. What callers see is in
 * tests/api/secrets.py. */
#include "tests/unit/keyvault/model_support.h"

#include "base/clock.h"
#include "keyvault/model/vault_secret.h"

static struct site s;

static enum kl_code set(struct kl_vault *v, const char *name, const char *value)
{
    struct kl_vault_secret secret = {.content_type = NULL};
    const struct kl_vault_secret_set how = {
        .value = value, .value_len = strlen(value), .attrs = {.enabled = true}};
    enum kl_code code = kl_vault_secret_set(s.m, v, name, &how, &secret, &s.err);
    if (code == KL_OK)
        kl_vault_secret_done(&secret);
    return code;
}

/* The code, and *ret_must_wait where the caller may not wait. */
static enum kl_code get(struct kl_vault *v, const char *name, const char *wanted,
                        bool *ret_must_wait)
{
    struct kl_vault_secret secret = {.content_type = NULL};
    KL_AUTO(secret) value = NULL;
    enum kl_code code =
        kl_vault_secret_get(s.m, v, name, "", &secret, &value, ret_must_wait, &s.err);
    if (code == KL_OK && (ret_must_wait == NULL || !*ret_must_wait)) {
        assert_string_equal(wanted, (const char *)kl_secret_bytes(value));
        kl_vault_secret_done(&secret);
    }
    return code;
}

static void pass(int64_t ms)
{
    kl_clock_shift(ms / 1000, ms);
}

static void test_keyvault_model_secret__round_trip(void **state)
{
    (void)state;
    bool must_wait = false;
    assert_ok(set(s.open, "s", "one"));
    assert_ok(get(s.open, "S", "one", &must_wait));
    assert_false(must_wait);
    assert_ok(set(s.open, "s", "two"));
    site_restart(&s);
    assert_ok(get(s.open, "s", "two", &must_wait));
    assert_true(must_wait); /* the key must come from the token, and that may hang */
    assert_ok(get(s.open, "s", "two", NULL));
    must_wait = false;
    assert_ok(get(s.open, "s", "two", &must_wait));
    assert_false(must_wait);
    assert_code(KL_SECRET_NOT_FOUND, get(s.safe, "s", "", NULL));
    assert_code(KL_KEY_NOT_FOUND, site_find(&s, s.open, "s"));
    assert_int_equal(1, site_sql_number(&s, "SELECT count(*) FROM vault_key"));
}

/* Nothing is sealed unless the token has unwrapped the vault's key within the last minute; what is
 * there can be read for five. */
static void test_keyvault_model_secret__proof(void **state)
{
    (void)state;
    bool must_wait = false;
    assert_ok(set(s.open, "s", "one"));
    unsigned calls = fake_token_calls(s.token, KL_CALL_DECRYPT);
    assert_ok(set(s.open, "s", "two"));
    assert_int_equal(calls, fake_token_calls(s.token, KL_CALL_DECRYPT));
    pass(61000);
    assert_ok(set(s.open, "s", "three"));
    assert_int_equal(calls + 1, fake_token_calls(s.token, KL_CALL_DECRYPT));
    pass(61000);
    fake_token_fail(s.token, KL_CALL_DECRYPT, KL_TOKEN_KEY_MISSING, 1000);
    assert_code(KL_TOKEN_KEY_MISSING, set(s.open, "s", "four"));
    assert_ok(get(s.open, "s", "three", &must_wait));
    assert_false(must_wait);
    pass(120000); /* past half its time: one caller is to renew it, and keeps it when that fails */
    assert_ok(get(s.open, "s", "three", &must_wait));
    assert_true(must_wait);
    must_wait = false;
    assert_ok(get(s.open, "s", "three", &must_wait));
    assert_false(must_wait);
    assert_ok(get(s.open, "s", "three", NULL));
    pass(300000);
    assert_code(KL_TOKEN_KEY_MISSING, get(s.open, "s", "", NULL));
    fake_token_fail(s.token, KL_CALL_DECRYPT, KL_OK, 0);
    assert_ok(get(s.open, "s", "three", NULL));
}

/* A vault key that the token cannot give back never gets a row. */
static void test_keyvault_model_secret__unproved_key(void **state)
{
    (void)state;
    fake_token_fail(s.token, KL_CALL_DECRYPT, KL_TOKEN_UNAVAILABLE, 1);
    assert_code(KL_TOKEN_UNAVAILABLE, set(s.open, "s", "one"));
    assert_int_equal(0, site_sql_number(&s, "SELECT count(*) FROM vault_key"));
    assert_int_equal(0, site_sql_number(&s, "SELECT count(*) FROM object WHERE kind = 1"));
    assert_ok(set(s.open, "s", "one"));
    assert_ok(get(s.open, "s", "one", NULL));
}

/* At each commit of a set: refused, lost, or done without an answer. What was acknowledged is
 * there; what was not is there whole or not at all. */
static void test_keyvault_model_secret__commits(void **state)
{
    (void)state;
    assert_ok(set(s.open, "s", "first"));
    for (unsigned n = 1; n <= 2; n++) {
        char name[16];
        (void)snprintf(name, sizeof name, "n%u", n);
        store_fault(STORE_REFUSE, 1);
        assert_code(KL_NO_SPACE, set(s.open, name, "value"));
        assert_true(store_fault_hit());
        assert_code(KL_SECRET_NOT_FOUND, get(s.open, name, "", NULL));
        store_fault(STORE_LIE, 1);
        assert_ok(set(s.open, name, "value"));
        assert_true(store_fault_hit());
        assert_ok(get(s.open, name, "value", NULL));
    }
    store_fault(STORE_DIE_AFTER, 1);
    assert_code(KL_IO, set(s.open, "s", "second"));
    site_restart(&s);
    assert_ok(get(s.open, "s", "second", NULL));
    store_fault(STORE_DIE_BEFORE, 1);
    assert_code(KL_IO, set(s.open, "s", "third"));
    site_restart(&s);
    assert_ok(get(s.open, "s", "second", NULL));
}

/* A purge, and the purge of the vault around it, take the values with them in one commit. */
static void test_keyvault_model_secret__purge(void **state)
{
    (void)state;
    struct kl_vault_secret gone;
    struct kl_vault *deleted = NULL;
    assert_ok(set(s.open, "a", "one"));
    assert_ok(set(s.open, "b", "two"));
    assert_ok(kl_vault_secret_delete(s.m, s.open, "a", &gone, &s.err));
    kl_vault_secret_done(&gone);
    unsigned before = store_commits();
    assert_ok(kl_vault_secret_purge(s.m, s.open, "a", &s.err));
    assert_int_equal(before + 1, store_commits());
    assert_int_equal(1, site_sql_number(&s, "SELECT count(*) FROM secret"));
    assert_ok(kl_vault_delete(s.m, s.open->name, &deleted, &s.err));
    assert_ok(kl_vault_purge(s.m, s.open->name, &s.err));
    kl_vault_unref(deleted);
    assert_int_equal(0, site_sql_number(&s, "SELECT count(*) FROM secret"));
    assert_int_equal(0, site_sql_number(&s, "SELECT count(*) FROM vault_key"));
}

/* Rows that a foreign hand changed: the kind of an object, a number, a whole row of another vault.
 */
static void test_keyvault_model_secret__edits(void **state)
{
    (void)state;
    struct kl_vault_secret gone;
    assert_ok(set(s.open, "s", "one"));
    assert_ok(set(s.open, "s", "two"));
    site_sql(&s, "UPDATE secret SET number = 10 - number");
    assert_code(KL_CORRUPT, get(s.open, "s", "", NULL));
    site_sql(&s, "UPDATE secret SET number = 10 - number");
    assert_ok(get(s.open, "s", "two", NULL));
    assert_int_equal(0, site_reconcile(&s).tampered);
    site_sql(&s, "UPDATE object SET managed = 1 WHERE kind = 1");
    assert_int_equal(1, site_reconcile(&s).tampered);
    assert_code(KL_CORRUPT, kl_vault_secret_delete(s.m, s.open, "s", &gone, &s.err));
}

int main(void)
{
#define CASE(name) site_test(test_keyvault_model_secret__##name, &s)
    const struct CMUnitTest tests[] = {
        CASE(round_trip), CASE(proof), CASE(unproved_key), CASE(commits), CASE(purge), CASE(edits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
