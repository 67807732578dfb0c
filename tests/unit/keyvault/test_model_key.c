#include "tests/unit/keyvault/model_support.h"

#include "base/clock.h"

#include <stdio.h>

static struct site s;

static void test_keyvault_model_key__create_find(void **state)
{
    (void)state;
    KL_AUTO(key_version) made = site_key(&s, s.open, "First-Key");
    KL_AUTO(key_version) newest = NULL;
    KL_AUTO(key_version) exact = NULL;
    assert_ok(kl_key_find(s.m, s.open, "first-KEY", NULL, &newest, &s.err));
    assert_ok(kl_key_find(s.m, s.open, "First-Key", made->version, &exact, &s.err));
    assert_string_equal("First-Key", newest->name);
    assert_string_equal(made->version, newest->version);
    assert_true(kl_version_valid(made->version));
    assert_ptr_equal(newest, exact);
    assert_true(atomic_load(&newest->proved_ms) != 0);
    assert_int_equal(KL_PROFILE_DOMAIN, made->profile);
    assert_int_equal(KL_OP_SIGN | KL_OP_VERIFY, made->ops);
    assert_ptr_equal(s.token, made->token);
    assert_int_equal(made->created, made->updated);
    assert_false(made->restored);
    assert_int_equal(1, fake_token_key_count(s.token));
    assert_code(KL_KEY_NOT_FOUND, site_find(&s, s.safe, "First-Key"));
    assert_code(KL_KEY_NOT_FOUND, site_find(&s, s.open, "bad/name"));
}

static void test_keyvault_model_key__bad_input(void **state)
{
    (void)state;
    KL_AUTO(key_version) k = NULL;
    struct kl_key_create how = {.spec = {.type = KL_KEY_EC, .curve = KL_CURVE_P256},
                                .ops = KL_OP_WRAP};
    assert_code(KL_BAD_INPUT, kl_key_create(s.m, s.open, "k", &how, &k, &s.err));
    how.ops = 0;
    assert_code(KL_BAD_INPUT, kl_key_create(s.m, s.open, "k_1", &how, &k, &s.err));
    assert_code(KL_BAD_INPUT, kl_key_create(s.m, s.open, "", &how, &k, &s.err));
    assert_int_equal(0, fake_token_key_count(s.token));
}

static void test_keyvault_model_key__newest_is_by_order_not_by_time(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        KL_AUTO(key_version) made = site_key(&s, s.open, "k");
        KL_AUTO(key_version) newest = NULL;
        assert_ok(kl_key_find(s.m, s.open, "k", "", &newest, &s.err));
        assert_string_equal(made->version, newest->version);
        kl_clock_shift(-100, 0);
    }
    kl_clock_shift(800, 0);
    site_restart(&s);
    assert_int_equal(8, fake_token_key_count(s.token));
}

static void test_keyvault_model_key__rotate_keeps_kind(void **state)
{
    (void)state;
    KL_AUTO(key_version) old = NULL;
    KL_AUTO(key_version) rotated = NULL;
    struct kl_key_create how = {
        .spec = {.type = KL_KEY_EC, .curve = KL_CURVE_P384, .profile = KL_PROFILE_FIXED},
        .hsm = true,
        .ops = KL_OP_SIGN,
        .attrs = {.enabled = false, .has_exp = true, .exp = 5},
        .tags_json = "{\"a\":\"b\"}"};
    assert_ok(kl_key_create(s.m, s.open, "k", &how, &old, &s.err));
    assert_ok(kl_key_rotate(s.m, s.open, "K", &rotated, &s.err));
    assert_string_not_equal(old->version, rotated->version);
    assert_string_equal("k", rotated->name);
    assert_int_equal(KL_CURVE_P384, rotated->curve);
    assert_int_equal(KL_PROFILE_FIXED, rotated->profile);
    assert_int_equal(KL_OP_SIGN, rotated->ops);
    assert_string_equal("{\"a\":\"b\"}", rotated->tags_json);
    assert_true(rotated->hsm && rotated->attrs.enabled && !rotated->attrs.has_exp);
    KL_AUTO(key_version) none = NULL;
    assert_code(KL_KEY_NOT_FOUND, kl_key_rotate(s.m, s.open, "other", &none, &s.err));
}

static void test_keyvault_model_key__update(void **state)
{
    (void)state;
    KL_AUTO(key_version) made = site_key(&s, s.open, "k");
    KL_AUTO(key_version) changed = NULL;
    KL_AUTO(key_version) found = NULL;
    KL_AUTO(key_version) again = NULL;
    bool off = false;
    int64_t nbf = 100, exp = 200;
    unsigned ops = KL_OP_VERIFY, wrong = KL_OP_UNWRAP;
    struct kl_key_patch patch = {
        .enabled = &off, .nbf = &nbf, .exp = &exp, .ops = &ops, .tags_json = "{\"x\":\"y\"}"};
    assert_ok(kl_key_update(s.m, s.open, "k", made->version, &patch, &changed, &s.err));
    assert_ok(kl_key_find(s.m, s.open, "k", "", &found, &s.err));
    assert_ptr_equal(changed, found);
    assert_true(found->attrs.has_nbf && found->attrs.has_exp && !found->attrs.enabled);
    assert_int_equal(100, found->attrs.nbf);
    assert_int_equal(200, found->attrs.exp);
    assert_int_equal(KL_OP_VERIFY, found->ops);
    assert_string_equal("{\"x\":\"y\"}", found->tags_json);
    assert_true(made->attrs.enabled);
    assert_int_equal(atomic_load(&made->proved_ms), atomic_load(&found->proved_ms));
    patch = (struct kl_key_patch){.tags_json = "{}"};
    assert_ok(kl_key_update(s.m, s.open, "k", NULL, &patch, &again, &s.err));
    assert_null(again->tags_json);
    assert_int_equal(100, again->attrs.nbf);
    patch = (struct kl_key_patch){.ops = &wrong};
    KL_AUTO(key_version) none = NULL;
    assert_code(KL_BAD_INPUT, kl_key_update(s.m, s.open, "k", "", &patch, &none, &s.err));
    assert_code(KL_KEY_NOT_FOUND, kl_key_update(s.m, s.open, "no", "", &patch, &none, &s.err));
}

static void test_keyvault_model_key__pages(void **state)
{
    (void)state;
    static const char *const names[] = {"delta", "Alpha", "charlie", "BRAVO", "a-1", "echo"};
    static const char *const order[] = {"a-1", "Alpha", "BRAVO", "charlie", "delta", "echo"};
    struct kl_key_page page = {.next = ""};
    size_t seen = 0;
    for (size_t i = 0; i < KL_COUNT(names); i++)
        kl_key_version_unref(site_key(&s, s.open, names[i]));
    do {
        char after[sizeof page.next];
        memcpy(after, page.next, sizeof after);
        assert_ok(kl_key_list(s.m, s.open, KL_STATE_ACTIVE, after, 4, &page, &s.err));
        for (size_t i = 0; i < page.count; i++)
            assert_string_equal(order[seen++], page.items[i]->name);
        char next[sizeof page.next];
        memcpy(next, page.next, sizeof next);
        kl_key_page_done(&page);
        memcpy(page.next, next, sizeof next);
    } while (page.next[0] != '\0');
    assert_int_equal(KL_COUNT(names), seen);
    assert_code(KL_BAD_INPUT, kl_key_list(s.m, s.open, KL_STATE_ACTIVE, "", 26, &page, &s.err));
    assert_ok(kl_key_list(s.m, s.open, KL_STATE_ACTIVE, "", 6, &page, &s.err));
    assert_string_equal("", page.next);
    kl_key_page_done(&page);
}

static void test_keyvault_model_key__version_pages(void **state)
{
    (void)state;
    struct kl_key_page page;
    char last[KL_VERSION_LEN + 1] = "", after[sizeof page.next] = "";
    size_t seen = 0;
    for (size_t i = 0; i < 7; i++)
        kl_key_version_unref(site_key(&s, s.open, "k"));
    do {
        assert_ok(kl_key_versions(s.m, s.open, "K", after, 3, &page, &s.err));
        for (size_t i = 0; i < page.count; i++, seen++) {
            assert_true(strcmp(last, page.items[i]->version) < 0);
            memcpy(last, page.items[i]->version, sizeof last);
        }
        memcpy(after, page.next, sizeof after);
        kl_key_page_done(&page);
    } while (after[0] != '\0');
    assert_int_equal(7, seen);
    assert_ok(kl_key_versions(s.m, s.open, "unknown", "", 3, &page, &s.err));
    assert_int_equal(0, page.count);
}

static void nothing_left(void)
{
    struct kl_key_page page;
    assert_code(KL_KEY_NOT_FOUND, site_find(&s, s.open, "k"));
    assert_ok(kl_key_list(s.m, s.open, KL_STATE_ACTIVE, "", 25, &page, &s.err));
    assert_int_equal(0, page.count);
    assert_int_equal(0, site_sql_number(&s, "SELECT count(*) FROM version"));
    assert_int_equal(0, site_sql_number(&s, "SELECT count(*) FROM object"));
    assert_int_equal(0, fake_token_key_count(s.token));
}

static void test_keyvault_model_key__failed_generation_leaves_nothing(void **state)
{
    (void)state;
    fake_token_fail(s.token, KL_CALL_GENERATE, KL_TOKEN_READBACK, 1);
    assert_code(KL_TOKEN_READBACK, site_try_key(&s, s.open, "k"));
    nothing_left();
    fake_token_lose_answer(s.token, KL_CALL_GENERATE, 1);
    assert_code(KL_TOKEN_UNAVAILABLE, site_try_key(&s, s.open, "k"));
    nothing_left();
    fake_token_set_ready(s.token, false);
    assert_code(KL_TOKEN_UNAVAILABLE, site_try_key(&s, s.open, "k"));
    fake_token_set_ready(s.token, true);
    (void)site_reconcile(&s);
    nothing_left();
}

static void test_keyvault_model_key__undone_only_when_known_to_be_gone(void **state)
{
    (void)state;
    fake_token_lose_answer(s.token, KL_CALL_GENERATE, 1);
    fake_token_fail(s.token, KL_CALL_DESTROY, KL_TOKEN_UNAVAILABLE, 1);
    assert_code(KL_TOKEN_UNAVAILABLE, site_try_key(&s, s.open, "k"));
    assert_int_equal(1, fake_token_key_count(s.token));
    assert_int_equal(1, site_sql_number(&s, "SELECT count(*) FROM version WHERE state = 0"));
    assert_code(KL_KEY_NOT_FOUND, site_find(&s, s.open, "k"));
    struct kl_reconcile_report r = site_reconcile(&s);
    assert_int_equal(1, r.rolled_back);
    nothing_left();
}

static void test_keyvault_model_key__provisional_version_is_invisible(void **state)
{
    (void)state;
    struct kl_key_page page;
    KL_AUTO(key_version) good = site_key(&s, s.open, "k");
    KL_AUTO(key_version) newest = NULL;
    fake_token_lose_answer(s.token, KL_CALL_GENERATE, 1);
    fake_token_fail(s.token, KL_CALL_DESTROY, KL_TOKEN_UNAVAILABLE, 1);
    assert_code(KL_TOKEN_UNAVAILABLE, site_try_key(&s, s.open, "k"));
    site_restart(&s);
    assert_ok(kl_key_find(s.m, s.open, "k", "", &newest, &s.err));
    assert_string_equal(good->version, newest->version);
    assert_ok(kl_key_versions(s.m, s.open, "k", "", 25, &page, &s.err));
    assert_int_equal(1, page.count);
    kl_key_page_done(&page);
    assert_int_equal(1, site_reconcile(&s).rolled_back);
    assert_int_equal(1, fake_token_key_count(s.token));
}

static void test_keyvault_model_key__full_disk(void **state)
{
    (void)state;
    kl_key_version_unref(site_key(&s, s.open, "good"));
    for (unsigned at = 1; at <= 2; at++) {
        store_fault(STORE_REFUSE, at);
        assert_code(KL_NO_SPACE, site_try_key(&s, s.open, "k"));
        assert_true(store_fault_hit());
        assert_code(KL_KEY_NOT_FOUND, site_find(&s, s.open, "k"));
        assert_ok(site_find(&s, s.open, "good"));
        (void)site_reconcile(&s);
        assert_int_equal(1, fake_token_key_count(s.token));
    }
    assert_ok(site_try_key(&s, s.open, "k"));
}

static void test_keyvault_model_key__commit_that_took_effect_counts(void **state)
{
    (void)state;
    store_fault(STORE_LIE, 2);
    assert_ok(site_try_key(&s, s.open, "k"));
    assert_true(store_fault_hit());
    site_restart(&s);
    assert_ok(site_find(&s, s.open, "k"));
    assert_int_equal(1, fake_token_key_count(s.token));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) site_test(test_keyvault_model_key__##name, &s)
        CASE(create_find),
        CASE(bad_input),
        CASE(newest_is_by_order_not_by_time),
        CASE(rotate_keeps_kind),
        CASE(update),
        CASE(pages),
        CASE(version_pages),
        CASE(failed_generation_leaves_nothing),
        CASE(undone_only_when_known_to_be_gone),
        CASE(provisional_version_is_invisible),
        CASE(full_disk),
        CASE(commit_that_took_effect_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
