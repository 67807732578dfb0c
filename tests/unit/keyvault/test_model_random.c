/* Some thousand random operations against a reference model of a page: same answers, same state,
 * also across restarts. */
#include "tests/unit/keyvault/model_support.h"

#include "base/clock.h"
#include "base/encoding.h"
#include "keyvault/model/softdelete.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define DAY   INT64_C(86400)
#define NAMES 4
#define STEPS 2500

/* What should be: per vault and key. Times are the reference's own count of days. */
struct ref_key {
    enum kl_life life; /* PURGED = absent */
    unsigned versions;
    int64_t deleted_day;
};

struct ref_vault {
    bool deleted;
    int64_t deleted_day;
    struct ref_key keys[NAMES];
};

static struct site s;
static struct ref_vault ref[2]; /* open: 7 days, safe: 10 days and protected */
static int64_t today;
static const char *const key_names[NAMES] = {"a", "B", "c-3", "D"};
static const char *const vault_names[2] = {"open", "safe"};
static const int64_t retention[2] = {7, 10};
static uint64_t seed;

static unsigned dice(unsigned sides)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % sides;
}

static bool due(int vault, int64_t deleted_day)
{
    return today - deleted_day >= retention[vault];
}

static struct kl_vault *vault_of(int v)
{
    return v == 0 ? s.open : s.safe;
}

/* --- one operation each: what the reference says, what the model says --- */

static enum kl_code ref_create(int v, struct ref_key *k)
{
    if (ref[v].deleted)
        return KL_VAULT_NOT_FOUND;
    if (k->life == KL_LIFE_DELETED)
        return KL_NAME_DELETED;
    *k = (struct ref_key){.life = KL_LIFE_ACTIVE,
                          .versions = k->life == KL_LIFE_ACTIVE ? k->versions + 1 : 1};
    return KL_OK;
}

static enum kl_code ref_delete(int v, struct ref_key *k)
{
    if (ref[v].deleted)
        return KL_VAULT_NOT_FOUND;
    if (k->life != KL_LIFE_ACTIVE)
        return KL_KEY_NOT_FOUND;
    k->life = KL_LIFE_DELETED;
    k->deleted_day = today;
    return KL_OK;
}

static enum kl_code ref_recover(int v, struct ref_key *k)
{
    if (ref[v].deleted)
        return KL_VAULT_NOT_FOUND;
    if (k->life != KL_LIFE_DELETED)
        return KL_DELETED_KEY_NOT_FOUND;
    k->life = KL_LIFE_ACTIVE;
    return KL_OK;
}

static enum kl_code ref_purge(int v, struct ref_key *k)
{
    if (ref[v].deleted)
        return KL_VAULT_NOT_FOUND;
    if (k->life != KL_LIFE_DELETED)
        return KL_DELETED_KEY_NOT_FOUND;
    if (v == 1 && !due(v, k->deleted_day))
        return KL_PURGE_PROTECTED;
    *k = (struct ref_key){.life = KL_LIFE_PURGED};
    return KL_OK;
}

typedef enum kl_code ref_op(int v, struct ref_key *k);
typedef enum kl_code site_op(struct site *site, struct kl_vault *v, const char *name);

static const struct {
    ref_op *ref;
    site_op *site;
} ops[] = {
    {ref_create, site_try_key},  {ref_create, site_try_key}, {ref_delete, site_delete},
    {ref_recover, site_recover}, {ref_purge, site_purge},
};

static void key_step(void)
{
    unsigned op = dice(KL_COUNT(ops));
    int v = (int)dice(2);
    unsigned n = dice(NAMES);
    assert_code(ops[op].ref(v, &ref[v].keys[n]), ops[op].site(&s, vault_of(v), key_names[n]));
}

static void forget_vault(int v)
{
    ref[v] = (struct ref_vault){.deleted = true, .deleted_day = -1};
    for (unsigned n = 0; n < NAMES; n++)
        ref[v].keys[n].life = KL_LIFE_PURGED;
}

static void vault_step(void)
{
    int v = (int)dice(2);
    KL_AUTO(vault) out = NULL;
    bool gone = ref[v].deleted && ref[v].deleted_day < 0;
    bool deleted = ref[v].deleted && !gone;
    if (!deleted && dice(4) == 0) {
        assert_code(gone ? KL_VAULT_NOT_FOUND : KL_OK,
                    kl_vault_delete(s.m, vault_names[v], &out, &s.err));
        if (!gone) {
            ref[v].deleted = true;
            ref[v].deleted_day = today;
        }
    } else if (dice(8) > 0) {
        assert_code(deleted ? KL_OK : KL_VAULT_NOT_FOUND,
                    kl_vault_recover(s.m, vault_names[v], &out, &s.err));
        ref[v].deleted = gone;
    } else if (v == 1) { /* the open one would be gone for the rest of the run */
        bool may = deleted && due(v, ref[v].deleted_day);
        assert_code(may       ? KL_OK
                    : deleted ? KL_PURGE_PROTECTED
                              : KL_VAULT_NOT_FOUND,
                    kl_vault_purge(s.m, vault_names[v], &s.err));
        if (may)
            forget_vault(v);
    }
}

static void time_step(void)
{
    int64_t days = 1 + dice(3);
    unsigned purged = 0, expected = 0;
    today += days;
    kl_clock_shift(days * DAY, days * DAY * 1000);
    assert_ok(kl_model_tick(s.m, &s.err));
    for (int v = 0; v < 2; v++)
        for (unsigned n = 0; n < NAMES; n++) {
            struct ref_key *k = &ref[v].keys[n];
            if (k->life != KL_LIFE_DELETED || !due(v, k->deleted_day))
                continue;
            *k = (struct ref_key){.life = KL_LIFE_PURGED};
            expected++;
        }
    for (int v = 0; v < 2; v++)
        if (ref[v].deleted && ref[v].deleted_day >= 0 && due(v, ref[v].deleted_day)) {
            forget_vault(v);
            expected++;
        }
    assert_ok(kl_model_sweep(s.m, &purged, &s.err));
    assert_int_equal(expected, purged);
}

static void revive_vaults(void)
{
    for (int v = 0; v < 2; v++) {
        if (!ref[v].deleted || ref[v].deleted_day >= 0)
            continue;
        KL_AUTO(vault) made = NULL;
        struct kl_vault_spec spec = {.name = vault_names[v],
                                     .retention_days = (int)retention[v],
                                     .purge_protection = v == 1,
                                     .origin_count = 1,
                                     .origins = {{.port = 1}}};
        (void)snprintf(spec.origins[0].host, sizeof spec.origins[0].host, "%s.vault.localhost",
                       vault_names[v]);
        assert_ok(kl_vault_create(s.m, &spec, &made, &s.err));
        ref[v].deleted = false;
        struct kl_vault **old = v == 0 ? &s.open : &s.safe;
        kl_vault_unref(*old);
        *old = kl_take(made);
    }
}

/* --- the whole state --- */

static unsigned check_vault(int v)
{
    unsigned objects = 0, active = 0, deleted = 0;
    struct kl_key_page page;
    for (unsigned n = 0; n < NAMES; n++) {
        const struct ref_key *k = &ref[v].keys[n];
        objects += k->life == KL_LIFE_PURGED ? 0 : k->versions;
        active += k->life == KL_LIFE_ACTIVE;
        deleted += k->life == KL_LIFE_DELETED;
        assert_code(k->life == KL_LIFE_ACTIVE ? KL_OK : KL_KEY_NOT_FOUND,
                    site_find(&s, vault_of(v), key_names[n]));
    }
    assert_ok(kl_key_list(s.m, vault_of(v), KL_STATE_ACTIVE, "", 25, &page, &s.err));
    assert_int_equal(active, page.count);
    kl_key_page_done(&page);
    assert_ok(kl_key_list(s.m, vault_of(v), KL_STATE_DELETED, "", 25, &page, &s.err));
    assert_int_equal(deleted, page.count);
    for (size_t i = 0; i < page.count; i++)
        assert_int_equal(retention[v] * DAY, page.purge_at[i] - page.deleted_at[i]);
    kl_key_page_done(&page);
    return objects;
}

static void check_all(void)
{
    assert_int_equal(check_vault(0) + check_vault(1), fake_token_key_count(s.token));
}

static void restart(void)
{
    struct kl_vault *open = kl_vault_ref(s.open), *safe = kl_vault_ref(s.safe);
    site_restart(&s);
    struct kl_reconcile_report r = site_reconcile(&s);
    assert_int_equal(0, r.rolled_back + r.purges_finished + r.missing_on_token +
                            r.unknown_on_token + r.tampered);
    /* A deleted vault is still asked, by the snapshot of before. */
    if (s.open == NULL)
        s.open = kl_vault_ref(open);
    if (s.safe == NULL)
        s.safe = kl_vault_ref(safe);
    kl_vault_unref(open);
    kl_vault_unref(safe);
}

static void test_keyvault_model_random__sequence(void **state)
{
    (void)state;
    const char *given = getenv("KLUIS_TEST_SEED");
    kl_random(&seed, sizeof seed);
    if (given != NULL)
        seed = strtoull(given, NULL, 10);
    print_message("KLUIS_TEST_SEED=%" PRIu64 "\n", seed);
    site_begin(&s);
    int64_t start = today;
    for (int v = 0; v < 2; v++)
        for (unsigned n = 0; n < NAMES; n++)
            ref[v].keys[n].life = KL_LIFE_PURGED;
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned d = dice(100);
        if (d < 85)
            key_step();
        else if (d < 93)
            vault_step();
        else if (d < 98)
            time_step();
        else
            restart();
        revive_vaults();
        if (step % 10 == 0)
            check_all();
    }
    kl_clock_shift(-(today - start) * DAY, 0);
    site_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keyvault_model_random__sequence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
