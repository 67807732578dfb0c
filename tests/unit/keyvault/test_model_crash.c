/* Death at each commit of each operation, before it takes effect and after: what was acknowledged
 * is there after the restart, what was not is there in full or not at all, and database and token
 * agree. */
#include "tests/unit/keyvault/model_support.h"

#include "base/clock.h"

#include <stdio.h>

#define DAY INT64_C(86400)

static struct site s;

static enum kl_code do_create(void)
{
    return site_try_key(&s, s.open, "new");
}

static enum kl_code do_rotate(void)
{
    KL_AUTO(key_version) k = NULL;
    return kl_key_rotate(s.m, s.open, "old", &k, &s.err);
}

static enum kl_code do_update(void)
{
    bool off = false;
    struct kl_key_patch patch = {.enabled = &off};
    KL_AUTO(key_version) k = NULL;
    return kl_key_update(s.m, s.open, "old", "", &patch, &k, &s.err);
}

static enum kl_code do_delete(void)
{
    return site_delete(&s, s.open, "old");
}

static enum kl_code do_recover(void)
{
    return site_recover(&s, s.open, "gone");
}

static enum kl_code do_purge(void)
{
    return site_purge(&s, s.open, "gone");
}

static enum kl_code do_restore(void)
{
    KL_AUTO(key_version) k = NULL;
    struct kl_buf blob = KL_BUF_INIT(1 << 20);
    enum kl_code code = kl_key_backup(s.m, s.open, "old", &blob, &s.err);
    if (code == KL_OK)
        code = kl_key_restore(s.m, s.safe, blob.bytes, blob.len, &k, &s.err);
    kl_buf_done(&blob);
    return code;
}

static enum kl_code do_vault_delete(void)
{
    KL_AUTO(vault) v = NULL;
    return kl_vault_delete(s.m, "open", &v, &s.err);
}

static enum kl_code do_vault_purge(void)
{
    enum kl_code code = do_vault_delete();
    return code == KL_OK ? kl_vault_purge(s.m, "open", &s.err) : code;
}

static enum kl_code do_vault_protect(void)
{
    bool on = true;
    KL_AUTO(vault) v = NULL;
    return kl_vault_update(s.m, "open", &on, NULL, &v, &s.err);
}

/* What can be seen from outside, as one text. */
static void look(char *out, size_t room)
{
    static const char *const names[] = {"old", "gone", "new"};
    size_t n = 0;
    struct kl_vault *vaults[] = {s.open, s.safe};
    for (size_t v = 0; v < 2; v++) {
        n += (size_t)snprintf(out + n, room - n, "[%s",
                              vaults[v] == NULL             ? "none"
                              : vaults[v]->purge_protection ? "protected"
                                                            : "plain");
        for (size_t i = 0; vaults[v] != NULL && i < KL_COUNT(names); i++) {
            KL_AUTO(key_version) k = NULL;
            struct kl_deleted_key gone = {.latest = NULL};
            struct kl_key_page page;
            assert_ok(kl_key_versions(s.m, vaults[v], names[i], "", 25, &page, NULL));
            enum kl_code active = kl_key_find(s.m, vaults[v], names[i], "", &k, NULL);
            enum kl_code deleted = kl_key_deleted(s.m, vaults[v], names[i], &gone, NULL);
            n += (size_t)snprintf(out + n, room - n, " %s:%zu%s%s", names[i], page.count,
                                  active != KL_OK    ? ""
                                  : k->attrs.enabled ? " on"
                                                     : " off",
                                  deleted == KL_OK ? " deleted" : "");
            kl_key_page_done(&page);
            kl_key_version_unref(gone.latest);
        }
        n += (size_t)snprintf(out + n, room - n, "]");
    }
    (void)snprintf(out + n, room - n, " tokens=%zu", fake_token_key_count(s.token));
}

static void begin(void)
{
    site_begin(&s);
    kl_key_version_unref(site_key(&s, s.open, "old"));
    kl_key_version_unref(site_key(&s, s.open, "old"));
    kl_key_version_unref(site_key(&s, s.open, "gone"));
    assert_ok(site_delete(&s, s.open, "gone"));
}

static const struct {
    const char *name;
    enum kl_code (*run)(void);
    unsigned may_wait; /* this commit is the note of a backup, which goes on without it */
} operations[] = {
    {"create", do_create, 0},           {"rotate", do_rotate, 0},
    {"update", do_update, 0},           {"delete", do_delete, 0},
    {"recover", do_recover, 0},         {"purge", do_purge, 0},
    {"restore", do_restore, 1},         {"vault delete", do_vault_delete, 0},
    {"vault purge", do_vault_purge, 0}, {"vault protect", do_vault_protect, 0},
};

static void check_agreement(const char *what, unsigned at)
{
    struct kl_reconcile_report r = site_reconcile(&s);
    if (r.missing_on_token + r.unknown_on_token + r.tampered != 0)
        fail_msg("%s, commit %u: missing %u unknown %u tampered %u", what, at, r.missing_on_token,
                 r.unknown_on_token, r.tampered);
    r = site_reconcile(&s);
    assert_int_equal(0, r.rolled_back + r.purges_finished);
    assert_int_equal(0, site_sql_number(&s, "SELECT count(*) FROM version WHERE state = 0"));
    assert_int_equal(0, site_sql_number(&s, "SELECT count(*) FROM object WHERE state IN (0, 3)"));
    assert_int_equal(0, site_sql_number(&s, "SELECT count(*) FROM vault WHERE state = 3"));
}

/* Returns false when the operation has fewer commits than `at`. The middle of an operation of
 * several visible steps (a vault's deletion before its purge) is a third allowed outcome. */
static bool die_at(size_t op, enum store_fault kind, unsigned at)
{
    char before[512], after[512], middle[512] = "", seen[512];
    begin();
    look(before, sizeof before);
    assert_ok(operations[op].run());
    site_reload(&s);
    look(after, sizeof after);
    site_end(&s);
    begin();
    if (operations[op].run == do_vault_purge) {
        assert_ok(do_vault_delete());
        site_reload(&s);
        look(middle, sizeof middle);
        site_end(&s);
        begin();
    }
    store_fault(kind, at);
    enum kl_code code = operations[op].run();
    bool hit = store_fault_hit();
    if (hit) {
        site_restart(&s);
        check_agreement(operations[op].name, at);
        site_reload(&s);
        look(seen, sizeof seen);
        bool was = strcmp(seen, before) == 0, done = strcmp(seen, after) == 0;
        bool half = strcmp(seen, middle) == 0;
        if ((code == KL_OK && !done) || (!was && !done && !half))
            fail_msg("%s, commit %u, fault %d, answer %s:\n seen   %s\n before %s\n after  %s",
                     operations[op].name, at, kind, kl_code_name(code), seen, before, after);
    }
    site_end(&s);
    return hit;
}

static void test_keyvault_model_crash__each_commit(void **state)
{
    (void)state;
    static const enum store_fault kinds[] = {STORE_DIE_BEFORE, STORE_DIE_AFTER, STORE_REFUSE,
                                             STORE_LIE};
    for (size_t op = 0; op < KL_COUNT(operations); op++)
        for (size_t kind = 0; kind < KL_COUNT(kinds); kind++) {
            unsigned at = 1;
            while (die_at(op, kinds[kind], at))
                at++;
            assert_true(at > 1);
        }
}

/* Without a restart: after a failed commit, memory says what the database says. */
static void test_keyvault_model_crash__memory_follows_the_database(void **state)
{
    (void)state;
    static const enum store_fault kinds[] = {STORE_REFUSE, STORE_LIE};
    char seen[512], again[512];
    for (size_t op = 0; op < KL_COUNT(operations); op++)
        for (unsigned at = 1; at < 4; at++)
            for (size_t kind = 0; kind < KL_COUNT(kinds); kind++) {
                begin();
                store_fault(kinds[kind], at);
                enum kl_code code = operations[op].run();
                assert_true(code != KL_OK || kinds[kind] == STORE_LIE || !store_fault_hit() ||
                            at == operations[op].may_wait);
                site_reload(&s);
                look(seen, sizeof seen);
                site_restart(&s);
                look(again, sizeof again);
                assert_string_equal(again, seen);
                site_end(&s);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keyvault_model_crash__each_commit),
        cmocka_unit_test(test_keyvault_model_crash__memory_follows_the_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
