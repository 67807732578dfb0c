#include "tests/unit/keyvault/model_support.h"

#include "base/clock.h"
#include "keyvault/model/softdelete.h"

#define DAY INT64_C(86400)

static struct site s;

/* Time passes for both clocks; the count of observed time is noticed each day. */
static void days_pass(int days)
{
    for (int i = 0; i < days; i++) {
        kl_clock_shift(DAY, DAY * 1000);
        assert_ok(kl_model_tick(s.m, &s.err));
    }
}

static unsigned sweep(void)
{
    unsigned purged = 0;
    assert_ok(kl_model_sweep(s.m, &purged, &s.err));
    return purged;
}

/* --- the table itself, against a second opinion --- */

static enum kl_code expect_key(enum kl_life from, enum kl_life_event event, enum kl_life *to)
{
    bool live = from != KL_LIFE_PURGED;
    switch (event) {
    case KL_EVENT_READY:
        *to = KL_LIFE_ACTIVE;
        return from <= KL_LIFE_ACTIVE ? KL_OK : live ? KL_NAME_DELETED : KL_KEY_NOT_FOUND;
    case KL_EVENT_DELETE:
        *to = KL_LIFE_DELETED;
        return from == KL_LIFE_ACTIVE ? KL_OK : KL_KEY_NOT_FOUND;
    case KL_EVENT_RECOVER:
        *to = KL_LIFE_ACTIVE;
        return from == KL_LIFE_DELETED ? KL_OK : KL_DELETED_KEY_NOT_FOUND;
    case KL_EVENT_PURGE:
        *to = KL_LIFE_PURGING;
        return from == KL_LIFE_DELETED || from == KL_LIFE_PURGING ? KL_OK
                                                                  : KL_DELETED_KEY_NOT_FOUND;
    case KL_EVENT_VAULT_PURGE:
        *to = KL_LIFE_PURGING;
        return live ? KL_OK : KL_NOT_FOUND;
    default:
        *to = KL_LIFE_PURGED;
        return from == KL_LIFE_PURGING ? KL_OK : KL_NOT_FOUND;
    }
}

static void test_keyvault_model_life__table(void **state)
{
    (void)state;
    for (int from = 0; from < KL_LIFE_COUNT; from++)
        for (int event = 0; event < KL_EVENT_COUNT; event++) {
            enum kl_life want, got = KL_LIFE_COUNT;
            enum kl_code code = expect_key((enum kl_life)from, (enum kl_life_event)event, &want);
            assert_code(code, kl_life_next(KL_KIND_KEY, (enum kl_life)from,
                                           (enum kl_life_event)event, &got));
            assert_int_equal(code == KL_OK ? want : KL_LIFE_COUNT, got);
        }
    enum kl_life got = KL_LIFE_COUNT;
    assert_code(KL_CONFLICT, kl_life_next(KL_KIND_VAULT, KL_LIFE_ACTIVE, KL_EVENT_READY, &got));
    assert_code(KL_NAME_DELETED,
                kl_life_next(KL_KIND_VAULT, KL_LIFE_PURGING, KL_EVENT_READY, &got));
    assert_code(KL_VAULT_NOT_FOUND,
                kl_life_next(KL_KIND_VAULT, KL_LIFE_DELETED, KL_EVENT_DELETE, &got));
    assert_code(KL_CORRUPT, kl_life_next(KL_KIND_KEY, (enum kl_life)17, KL_EVENT_DELETE, &got));
    assert_code(KL_CORRUPT, kl_life_next(KL_KIND_KEY, (enum kl_life) - 1, KL_EVENT_DELETE, &got));
    assert_int_equal(KL_LIFE_COUNT, got);
}

/* --- keys --- */

static void test_keyvault_model_life__key_round_trip(void **state)
{
    (void)state;
    struct kl_deleted_key gone = {0}, seen = {0};
    KL_AUTO(key_version) first = site_key(&s, s.open, "k");
    KL_AUTO(key_version) second = site_key(&s, s.open, "k");
    KL_AUTO(key_version) back = NULL;
    KL_AUTO(key_version) old = NULL;
    int64_t before = kl_clock_unix();
    assert_ok(kl_key_delete(s.m, s.open, "K", &gone, &s.err));
    assert_string_equal(second->version, gone.latest->version);
    assert_in_range(gone.deleted_at, before, kl_clock_unix());
    assert_int_equal(gone.deleted_at + 7 * DAY, gone.purge_at);
    assert_code(KL_KEY_NOT_FOUND, site_find(&s, s.open, "k"));
    assert_code(KL_KEY_NOT_FOUND, kl_key_find(s.m, s.open, "k", first->version, &old, &s.err));
    assert_code(KL_KEY_NOT_FOUND, site_delete(&s, s.open, "k"));
    assert_code(KL_NAME_DELETED, site_try_key(&s, s.open, "K"));
    assert_ok(kl_key_deleted(s.m, s.open, "k", &seen, &s.err));
    assert_int_equal(gone.purge_at, seen.purge_at);
    assert_ok(kl_key_recover(s.m, s.open, "k", &back, &s.err));
    assert_string_equal(second->version, back->version);
    assert_ok(kl_key_find(s.m, s.open, "k", first->version, &old, &s.err));
    assert_memory_equal(first->ref.id, old->ref.id, sizeof old->ref.id);
    assert_code(KL_DELETED_KEY_NOT_FOUND, site_recover(&s, s.open, "k"));
    assert_code(KL_DELETED_KEY_NOT_FOUND, site_purge(&s, s.open, "k"));
    assert_int_equal(2, fake_token_key_count(s.token));
    kl_key_version_unref(gone.latest);
    kl_key_version_unref(seen.latest);
}

static void test_keyvault_model_life__absent_key(void **state)
{
    (void)state;
    struct kl_deleted_key none;
    assert_code(KL_KEY_NOT_FOUND, site_delete(&s, s.open, "none"));
    assert_code(KL_DELETED_KEY_NOT_FOUND, site_recover(&s, s.open, "none"));
    assert_code(KL_DELETED_KEY_NOT_FOUND, site_purge(&s, s.open, "none"));
    assert_code(KL_DELETED_KEY_NOT_FOUND, kl_key_deleted(s.m, s.open, "none", &none, &s.err));
    assert_code(KL_DELETED_KEY_NOT_FOUND, kl_key_deleted(s.m, s.open, "../x", &none, &s.err));
}

static void test_keyvault_model_life__purge_destroys_and_frees_the_name(void **state)
{
    (void)state;
    kl_key_version_unref(site_key(&s, s.open, "k"));
    kl_key_version_unref(site_key(&s, s.open, "k"));
    kl_key_version_unref(site_key(&s, s.open, "other"));
    assert_ok(site_delete(&s, s.open, "k"));
    assert_ok(site_purge(&s, s.open, "k"));
    assert_int_equal(1, fake_token_key_count(s.token));
    assert_code(KL_DELETED_KEY_NOT_FOUND, site_recover(&s, s.open, "k"));
    assert_int_equal(1, site_sql_number(&s, "SELECT count(*) FROM object WHERE state = 4"));
    kl_key_version_unref(site_key(&s, s.open, "k"));
    assert_int_equal(2, fake_token_key_count(s.token));
}

static void test_keyvault_model_life__purge_goes_on_when_the_token_is_back(void **state)
{
    (void)state;
    kl_key_version_unref(site_key(&s, s.open, "k"));
    assert_ok(site_delete(&s, s.open, "k"));
    fake_token_fail(s.token, KL_CALL_DESTROY, KL_TOKEN_UNAVAILABLE, 1);
    assert_code(KL_TOKEN_UNAVAILABLE, site_purge(&s, s.open, "k"));
    assert_code(KL_DELETED_KEY_NOT_FOUND, site_recover(&s, s.open, "k"));
    assert_code(KL_NAME_DELETED, site_try_key(&s, s.open, "k"));
    site_restart(&s);
    assert_int_equal(1, site_reconcile(&s).purges_finished);
    assert_int_equal(0, fake_token_key_count(s.token));
    assert_ok(site_try_key(&s, s.open, "k"));
}

static void test_keyvault_model_life__changes_need_the_token(void **state)
{
    (void)state;
    struct kl_vault *v = NULL;
    bool on = true;
    kl_key_version_unref(site_key(&s, s.open, "k"));
    fake_token_set_ready(s.token, false);
    assert_code(KL_TOKEN_UNAVAILABLE, site_delete(&s, s.open, "k"));
    assert_code(KL_TOKEN_UNAVAILABLE, kl_vault_update(s.m, "open", &on, NULL, &v, &s.err));
    assert_code(KL_TOKEN_UNAVAILABLE, kl_vault_delete(s.m, "open", &v, &s.err));
    assert_ok(site_find(&s, s.open, "k"));
    fake_token_set_ready(s.token, true);
    assert_ok(site_delete(&s, s.open, "k"));
}

static void test_keyvault_model_life__a_token_without_mac(void **state)
{
    (void)state;
    site_end(&s);
    site_begin_without_mac(&s);
    kl_key_version_unref(site_key(&s, s.open, "k"));
    assert_ok(site_delete(&s, s.open, "k"));
    assert_ok(site_purge(&s, s.open, "k"));
}

/* A row with a MAC is not excused by a token that has lost the ability, and none is written without
 * one. */
static void test_keyvault_model_life__a_token_that_lost_its_mac(void **state)
{
    (void)state;
    struct kl_vault *v = NULL;
    struct kl_vault_spec spec = {
        .name = "plain", .origin_count = 1, .origins = {{.host = "plain", .port = 1}}};
    fake_token_fail(s.token, KL_CALL_MAC, KL_TOKEN_UNSUPPORTED, 1000);
    assert_code(KL_TOKEN_UNAVAILABLE, kl_vault_create(s.m, &spec, &v, &s.err));
    assert_code(KL_TOKEN_UNAVAILABLE, kl_vault_delete(s.m, "open", &v, &s.err));
    assert_code(KL_TOKEN_UNAVAILABLE, site_try_key(&s, s.open, "k"));
}

/* --- purge protection and the clock --- */

static void test_keyvault_model_life__protected_until_the_date(void **state)
{
    (void)state;
    kl_key_version_unref(site_key(&s, s.safe, "k"));
    assert_ok(site_delete(&s, s.safe, "k"));
    assert_code(KL_PURGE_PROTECTED, site_purge(&s, s.safe, "k"));
    days_pass(9);
    assert_code(KL_PURGE_PROTECTED, site_purge(&s, s.safe, "k"));
    assert_int_equal(0, sweep());
    site_restart(&s);
    days_pass(1);
    assert_int_equal(1, sweep());
    assert_int_equal(0, fake_token_key_count(s.token));
    assert_int_equal(0, sweep());
}

static void test_keyvault_model_life__sweep_leaves_the_rest(void **state)
{
    (void)state;
    kl_key_version_unref(site_key(&s, s.open, "soon"));
    kl_key_version_unref(site_key(&s, s.open, "later"));
    kl_key_version_unref(site_key(&s, s.open, "active"));
    assert_ok(site_delete(&s, s.open, "soon"));
    days_pass(3);
    assert_ok(site_delete(&s, s.open, "later"));
    days_pass(4);
    assert_int_equal(1, sweep());
    assert_code(KL_DELETED_KEY_NOT_FOUND, site_recover(&s, s.open, "soon"));
    assert_ok(site_recover(&s, s.open, "later"));
    assert_ok(site_find(&s, s.open, "active"));
}

static void test_keyvault_model_life__clock_jump_freezes(void **state)
{
    (void)state;
    unsigned purged = 7;
    kl_key_version_unref(site_key(&s, s.safe, "k"));
    assert_ok(site_delete(&s, s.safe, "k"));
    kl_clock_shift(400 * DAY, 0);
    assert_code(KL_CLOCK_FROZEN, kl_model_sweep(s.m, &purged, &s.err));
    assert_code(KL_CLOCK_FROZEN, site_purge(&s, s.safe, "k"));
    site_restart(&s); /* the jump is not seen any more, the missing time is */
    assert_int_equal(0, sweep());
    assert_code(KL_PURGE_PROTECTED, site_purge(&s, s.safe, "k"));
    kl_clock_shift(-400 * DAY, 0);
    site_restart(&s);
    assert_int_equal(0, sweep());
    days_pass(10);
    assert_int_equal(1, sweep());
}

static void test_keyvault_model_life__time_away_does_not_count(void **state)
{
    (void)state;
    kl_key_version_unref(site_key(&s, s.safe, "k"));
    assert_ok(site_delete(&s, s.safe, "k"));
    days_pass(2);
    kl_clock_shift(30 * DAY, 0); /* as if switched off for so long */
    site_restart(&s);
    assert_int_equal(0, sweep());
    days_pass(7);
    assert_int_equal(0, sweep());
    days_pass(1);
    assert_int_equal(1, sweep());
    kl_clock_shift(-30 * DAY, 0);
}

static void test_keyvault_model_life__edited_clock_note(void **state)
{
    (void)state;
    kl_key_version_unref(site_key(&s, s.safe, "k"));
    assert_ok(site_delete(&s, s.safe, "k"));
    days_pass(1);
    site_sql(&s, "UPDATE note SET value = replace(value, 'elapsed 8', 'elapsed 98') "
                 "WHERE name = 'trusted-clock'");
    kl_clock_shift(30 * DAY, 0);
    site_restart(&s);
    assert_code(KL_PURGE_PROTECTED, site_purge(&s, s.safe, "k"));
    assert_int_equal(0, sweep());
    assert_ok(kl_model_tick(s.m, &s.err)); /* must not make the lie true */
    site_restart(&s);
    assert_int_equal(0, sweep());
    kl_clock_shift(-30 * DAY, 0);
}

/* --- vaults --- */

static void test_keyvault_model_life__vault_round_trip(void **state)
{
    (void)state;
    KL_AUTO(vault) deleted = NULL;
    KL_AUTO(vault) back = NULL;
    KL_AUTO(vault) none = NULL;
    kl_key_version_unref(site_key(&s, s.open, "k"));
    kl_key_version_unref(site_key(&s, s.open, "gone"));
    assert_ok(site_delete(&s, s.open, "gone"));
    assert_ok(kl_vault_delete(s.m, "OPEN", &deleted, &s.err));
    assert_int_equal(KL_STATE_DELETED, deleted->state);
    assert_int_equal(deleted->deleted_at + 7 * DAY, deleted->purge_at);
    assert_code(KL_VAULT_NOT_FOUND, kl_vault_by_host(s.m, "open.vault.localhost", &none, &s.err));
    assert_code(KL_VAULT_NOT_FOUND, kl_vault_delete(s.m, "open", &none, &s.err));
    assert_code(KL_VAULT_NOT_FOUND, site_try_key(&s, s.open, "new"));
    assert_code(KL_VAULT_NOT_FOUND, site_delete(&s, s.open, "k"));
    assert_code(KL_VAULT_NOT_FOUND, site_recover(&s, s.open, "gone"));
    struct kl_vault_spec spec = {
        .name = "Open", .origin_count = 1, .origins = {{.host = "x", .port = 1}}};
    assert_code(KL_NAME_DELETED, kl_vault_create(s.m, &spec, &none, &s.err));
    spec = (struct kl_vault_spec){.name = "other",
                                  .origin_count = 1,
                                  .origins = {{.host = "open.vault.localhost", .port = 1}}};
    assert_code(KL_CONFLICT, kl_vault_create(s.m, &spec, &none, &s.err));
    assert_ok(kl_vault_recover(s.m, "open", &back, &s.err));
    assert_int_equal(0, back->purge_at);
    assert_ok(site_find(&s, back, "k"));
    assert_ok(site_recover(&s, back, "gone"));
    assert_code(KL_VAULT_NOT_FOUND, kl_vault_recover(s.m, "open", &none, &s.err));
    assert_code(KL_VAULT_NOT_FOUND, kl_vault_purge(s.m, "open", &s.err));
}

static void test_keyvault_model_life__vault_purge_destroys_all(void **state)
{
    (void)state;
    KL_AUTO(vault) deleted = NULL;
    KL_AUTO(vault) again = NULL;
    kl_key_version_unref(site_key(&s, s.open, "k"));
    kl_key_version_unref(site_key(&s, s.open, "k"));
    kl_key_version_unref(site_key(&s, s.open, "gone"));
    kl_key_version_unref(site_key(&s, s.safe, "stays"));
    assert_ok(site_delete(&s, s.open, "gone"));
    assert_ok(kl_vault_delete(s.m, "open", &deleted, &s.err));
    fake_token_fail(s.token, KL_CALL_DESTROY, KL_TOKEN_UNAVAILABLE, 1);
    assert_code(KL_TOKEN_UNAVAILABLE, kl_vault_purge(s.m, "open", &s.err));
    assert_code(KL_VAULT_NOT_FOUND, kl_vault_recover(s.m, "open", &again, &s.err));
    assert_ok(kl_vault_purge(s.m, "open", &s.err));
    assert_int_equal(1, fake_token_key_count(s.token));
    struct kl_vault_spec spec = {
        .name = "open", .origin_count = 1, .origins = {{.host = "open", .port = 1}}};
    assert_ok(kl_vault_create(s.m, &spec, &again, &s.err));
    assert_string_not_equal(deleted->id, again->id);
    assert_code(KL_KEY_NOT_FOUND, site_find(&s, again, "k"));
    assert_ok(site_find(&s, s.safe, "stays"));
}

static void test_keyvault_model_life__vault_purge_protection(void **state)
{
    (void)state;
    KL_AUTO(vault) v = NULL;
    kl_key_version_unref(site_key(&s, s.safe, "k"));
    assert_ok(kl_vault_delete(s.m, "safe", &v, &s.err));
    assert_code(KL_PURGE_PROTECTED, kl_vault_purge(s.m, "safe", &s.err));
    assert_int_equal(1, fake_token_key_count(s.token));
    days_pass(9);
    assert_int_equal(0, sweep());
    days_pass(1);
    assert_int_equal(1, sweep());
    assert_int_equal(0, fake_token_key_count(s.token));
    assert_code(KL_VAULT_NOT_FOUND, kl_vault_purge(s.m, "safe", &s.err));
}

static void test_keyvault_model_life__protection_is_one_way(void **state)
{
    (void)state;
    KL_AUTO(vault) v = NULL;
    KL_AUTO(vault) none = NULL;
    bool on = true, off = false;
    kl_key_version_unref(site_key(&s, s.open, "k"));
    assert_ok(site_delete(&s, s.open, "k"));
    assert_ok(kl_vault_update(s.m, "open", &on, "{\"t\":\"1\"}", &v, &s.err));
    assert_true(v->purge_protection);
    assert_string_equal("{\"t\":\"1\"}", v->tags_json);
    assert_code(KL_PURGE_PROTECTED, site_purge(&s, s.open, "k")); /* an old snapshot of the vault */
    assert_code(KL_BAD_INPUT, kl_vault_update(s.m, "open", &off, NULL, &none, &s.err));
    site_restart(&s);
    assert_true(s.open->purge_protection);
    assert_code(KL_BAD_INPUT, kl_vault_update(s.m, "open", &off, NULL, &none, &s.err));
}

static void test_keyvault_model_life__retention_bounds(void **state)
{
    (void)state;
    static const int bad[] = {-1, 1, 6, 91, 1000};
    for (size_t i = 0; i < KL_COUNT(bad); i++) {
        KL_AUTO(vault) v = NULL;
        struct kl_vault_spec spec = {.name = "new",
                                     .retention_days = bad[i],
                                     .origin_count = 1,
                                     .origins = {{.host = "new", .port = 1}}};
        assert_code(KL_BAD_INPUT, kl_vault_create(s.m, &spec, &v, &s.err));
    }
    KL_AUTO(vault) v = NULL;
    struct kl_vault_spec spec = {
        .name = "new", .origin_count = 1, .origins = {{.host = "new", .port = 1}}};
    assert_ok(kl_vault_create(s.m, &spec, &v, &s.err));
    assert_int_equal(90, v->retention_days);
    assert_string_equal("default", v->subscription);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) site_test(test_keyvault_model_life__##name, &s)
        CASE(table),
        CASE(key_round_trip),
        CASE(absent_key),
        CASE(purge_destroys_and_frees_the_name),
        CASE(purge_goes_on_when_the_token_is_back),
        CASE(changes_need_the_token),
        CASE(a_token_without_mac),
        CASE(a_token_that_lost_its_mac),
        CASE(protected_until_the_date),
        CASE(sweep_leaves_the_rest),
        CASE(clock_jump_freezes),
        CASE(time_away_does_not_count),
        CASE(edited_clock_note),
        CASE(vault_round_trip),
        CASE(vault_purge_destroys_all),
        CASE(vault_purge_protection),
        CASE(protection_is_one_way),
        CASE(retention_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
