/* The database edited behind the service's back: each lie is noticed, none brings a purge forward.
 */
#include "tests/unit/keyvault/model_support.h"

#include "base/clock.h"

#include <stdio.h>

#define DAY INT64_C(86400)

static struct site s;

static int begin(void **state)
{
    (void)state;
    site_begin(&s);
    kl_key_version_unref(site_key(&s, s.safe, "k"));
    kl_key_version_unref(site_key(&s, s.safe, "live"));
    assert_ok(site_delete(&s, s.safe, "k"));
    return 0;
}

static int end(void **state)
{
    (void)state;
    site_end(&s);
    return 0;
}

/* Nothing may purge the key or its vault now, nor after the time that the lie speaks of. */
static void nothing_is_purged(void)
{
    unsigned purged;
    enum kl_code code = kl_model_sweep(s.m, &purged, &s.err);
    assert_true(code == KL_OK || code == KL_PURGE_PROTECTED);
    assert_int_equal(0, purged);
    if (s.safe != NULL)
        assert_int_not_equal(KL_OK, site_purge(&s, s.safe, "k"));
    assert_int_not_equal(KL_OK, kl_vault_purge(s.m, "safe", &s.err));
    assert_int_equal(2, fake_token_key_count(s.token));
}

static void expect_caught(const char *sql)
{
    site_sql(&s, sql);
    site_restart(&s);
    assert_true(site_reconcile(&s).tampered > 0);
    nothing_is_purged();
    for (int i = 0; i < 8; i++) {
        kl_clock_shift(DAY, DAY * 1000);
        assert_ok(kl_model_tick(s.m, &s.err));
    }
    nothing_is_purged();
    kl_clock_shift(-8 * DAY, 0);
}

static void test_keyvault_model_edit__clean_at_first(void **state)
{
    (void)state;
    assert_int_equal(0, site_reconcile(&s).tampered);
}

#define EDIT(name, sql)                                                                            \
    static void test_keyvault_model_edit__##name(void **state)                                     \
    {                                                                                              \
        (void)state;                                                                               \
        expect_caught(sql);                                                                        \
    }

EDIT(retention_shortened, "UPDATE vault SET retention_days = 7 WHERE name = 'safe'")
EDIT(protection_cleared, "UPDATE vault SET purge_protection = 0 WHERE name = 'safe'")
EDIT(protection_and_mac_cleared,
     "UPDATE vault SET purge_protection = 0, mac = zeroblob(32) WHERE name = 'safe'")
EDIT(mac_of_another_vault, "UPDATE vault SET purge_protection = 0, mac = (SELECT mac FROM vault "
                           "WHERE name = 'open') WHERE name = 'safe'")
EDIT(purge_date_moved, "UPDATE object SET purge_at = deleted_at + 1 WHERE name = 'k'")
EDIT(deletion_moved, "UPDATE object SET deleted_at = deleted_at - 9999999, "
                     "purge_at = purge_at - 9999999 WHERE name = 'k'")
EDIT(observed_time_moved,
     "UPDATE object SET deleted_elapsed = deleted_elapsed - 9999999 WHERE name = 'k'")
EDIT(moved_to_a_vault_without_protection,
     "UPDATE object SET vault_id = (SELECT id FROM vault WHERE name = 'open') WHERE name = 'k'")
EDIT(purge_already_decided, "UPDATE object SET state = 3 WHERE name = 'k'")
EDIT(vault_purge_already_decided, "UPDATE vault SET state = 3 WHERE name = 'safe'")
EDIT(vault_deleted, "UPDATE vault SET state = 2, deleted_at = 1, purge_at = 2 WHERE name = 'safe'")
EDIT(purge_already_done, "UPDATE object SET state = 4 WHERE name = 'k'")
EDIT(vault_purge_already_done, "UPDATE vault SET state = 4 WHERE name = 'safe'")
EDIT(vault_removed, "PRAGMA foreign_keys = off; DELETE FROM vault WHERE name = 'safe'")
EDIT(key_removed, "PRAGMA foreign_keys = off; DELETE FROM object WHERE name = 'k'")
/* What looks like an interrupted creation must not be undone on anyone's word. */
EDIT(version_unfinished, "UPDATE version SET state = 0 WHERE object = "
                         "(SELECT id FROM object WHERE name = 'k')")
EDIT(version_unfinished_without_mac,
     "UPDATE version SET state = 0, mac = zeroblob(32), spki_hash = zeroblob(32), spki = x'' "
     "WHERE object = (SELECT id FROM object WHERE name = 'k')")
EDIT(key_and_version_unfinished,
     "UPDATE version SET state = 0, mac = zeroblob(32) WHERE object = "
     "(SELECT id FROM object WHERE name = 'k'); UPDATE object SET state = 0 WHERE name = 'k'")
EDIT(labels_changed, "UPDATE vault SET subscription = 'sub-2' WHERE name = 'safe'")

/* Each protected column by itself, and back again. */
static void test_keyvault_model_edit__each_column(void **state)
{
    (void)state;
    static const struct {
        const char *table, *columns[16];
    } tables[] = {
        {"vault",
         {"state", "subscription", "geography", "profile", "retention_days", "purge_protection",
          "created", "deleted_at", "purge_at", "deleted_elapsed", "name", "folded"}},
        {"object",
         {"name", "folded", "state", "created", "deleted_at", "purge_at", "deleted_elapsed"}},
        {"version", {"version", "object"}},
    };
    for (size_t t = 0; t < KL_COUNT(tables); t++)
        for (size_t c = 0; tables[t].columns[c] != NULL; c++) {
            char sql[512];
            const char *column = tables[t].columns[c];
            (void)snprintf(
                sql, sizeof sql,
                "CREATE TABLE kept AS SELECT rowid AS at, %s AS was FROM %s;"
                "UPDATE %s SET %s = CASE typeof(%s) WHEN 'text' THEN 'X' || substr(%s, 2)"
                " ELSE 3 - %s END WHERE rowid = (SELECT max(rowid) FROM %s)",
                column, tables[t].table, tables[t].table, column, column, column, column,
                tables[t].table);
            site_sql(&s, sql);
            if (site_reconcile(&s).tampered == 0)
                fail_msg("%s.%s can be changed unnoticed", tables[t].table, column);
            (void)snprintf(sql, sizeof sql,
                           "UPDATE %s SET %s = (SELECT was FROM kept WHERE at = %s.rowid);"
                           "DROP TABLE kept",
                           tables[t].table, column, tables[t].table);
            site_sql(&s, sql);
            assert_int_equal(0, site_reconcile(&s).tampered);
        }
}

static void test_keyvault_model_edit__undeleted(void **state)
{
    (void)state;
    site_sql(&s, "UPDATE object SET state = 1, deleted_at = 0, purge_at = 0 WHERE name = 'k'");
    site_restart(&s);
    assert_int_equal(1, site_reconcile(&s).tampered);
    /* It cannot be made to look right again by deleting it through the front door. */
    assert_code(KL_CORRUPT, site_delete(&s, s.safe, "k"));
}

static void test_keyvault_model_edit__update_does_not_make_it_right(void **state)
{
    (void)state;
    KL_AUTO(vault) v = NULL;
    site_sql(&s, "UPDATE vault SET purge_protection = 0 WHERE name = 'safe'");
    site_restart(&s);
    assert_code(KL_CORRUPT, kl_vault_update(s.m, "safe", NULL, "{\"a\":\"b\"}", &v, &s.err));
    assert_code(KL_CORRUPT, kl_vault_delete(s.m, "safe", &v, &s.err));
    assert_code(KL_PURGE_PROTECTED, site_purge(&s, s.safe, "k"));
}

/* The token object of a protected key handed to a key that may be purged. */
static void test_keyvault_model_edit__version_moved_to_a_purgeable_key(void **state)
{
    (void)state;
    kl_key_version_unref(site_key(&s, s.open, "mine"));
    assert_ok(site_delete(&s, s.open, "mine"));
    site_sql(&s, "UPDATE version SET object = (SELECT id FROM object WHERE name = 'mine') "
                 "WHERE object = (SELECT id FROM object WHERE name = 'k')");
    assert_code(KL_CORRUPT, site_purge(&s, s.open, "mine"));
    site_restart(&s);
    assert_true(site_reconcile(&s).tampered > 0);
    assert_true(fake_token_key_count(s.token) >= 2);
}

/* A foreign public key in place of the token's: wraps would go to whoever holds its private half.
 */
static void test_keyvault_model_edit__public_key_swapped(void **state)
{
    (void)state;
    kl_key_version_unref(site_key(&s, s.safe, "other"));
    site_restart(&s);
    site_sql(&s, "UPDATE version SET spki = (SELECT spki FROM version WHERE object = (SELECT id "
                 "FROM object WHERE name = 'other')) WHERE object = (SELECT id FROM object WHERE "
                 "name = 'live')");
    assert_code(KL_CORRUPT, site_find(&s, s.safe, "live"));
    site_sql(&s, "UPDATE version SET spki_hash = (SELECT spki_hash FROM version WHERE object = "
                 "(SELECT id FROM object WHERE name = 'other')) WHERE object = (SELECT id FROM "
                 "object WHERE name = 'live')");
    struct kl_reconcile_report r = site_reconcile(&s);
    assert_int_equal(1, r.tampered);
    assert_int_equal(1, r.missing_on_token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(test_keyvault_model_edit__##name, begin, end)
        CASE(clean_at_first),
        CASE(retention_shortened),
        CASE(protection_cleared),
        CASE(protection_and_mac_cleared),
        CASE(mac_of_another_vault),
        CASE(purge_date_moved),
        CASE(deletion_moved),
        CASE(observed_time_moved),
        CASE(moved_to_a_vault_without_protection),
        CASE(purge_already_decided),
        CASE(vault_purge_already_decided),
        CASE(vault_deleted),
        CASE(purge_already_done),
        CASE(vault_removed),
        CASE(key_removed),
        CASE(vault_purge_already_done),
        CASE(version_unfinished),
        CASE(version_unfinished_without_mac),
        CASE(key_and_version_unfinished),
        CASE(labels_changed),
        CASE(each_column),
        CASE(undeleted),
        CASE(update_does_not_make_it_right),
        CASE(version_moved_to_a_purgeable_key),
        CASE(public_key_swapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
