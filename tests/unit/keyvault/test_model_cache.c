#include "tests/unit/keyvault/model_support.h"

#include "base/clock.h"
#include "keyvault/model/cache.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static struct site s;

/* --- the cache alone --- */

static struct kl_key_version *entry(const char *name, unsigned version)
{
    struct kl_key_version *k = calloc(1, sizeof *k);
    assert_non_null(k);
    atomic_init(&k->refs, 1);
    (void)snprintf(k->vault_id, sizeof k->vault_id, "v");
    (void)snprintf(k->name, sizeof k->name, "%s", name);
    (void)snprintf(k->version, sizeof k->version, "%032x", version);
    return k;
}

static void put(struct kl_cache *c, const char *name, unsigned version, bool newest)
{
    KL_AUTO(key_version) k = entry(name, version);
    kl_key_version_unref(kl_cache_put(c, k, newest, kl_cache_epoch(c, "v", name)));
}

static bool has(struct kl_cache *c, const char *vault, const char *name, const char *version)
{
    KL_AUTO(key_version) k = kl_cache_get(c, vault, name, version);
    return k != NULL;
}

static void test_keyvault_model_cache__names(void **state)
{
    (void)state;
    KL_AUTO(cache) c = kl_cache_new();
    put(c, "Key-1", 0xabc, false);
    assert_true(has(c, "v", "kEY-1", "00000000000000000000000000000ABC"));
    assert_false(has(c, "v", "Key-1", ""));
    assert_false(has(c, "w", "Key-1", "00000000000000000000000000000abc"));
    assert_false(has(c, "v", "Key-2", "00000000000000000000000000000abc"));
    put(c, "key-1", 0xabd, true);
    assert_true(has(c, "v", "Key-1", ""));
    kl_cache_forget(c, "v", "KEY-1");
    assert_false(has(c, "v", "Key-1", ""));
    assert_false(has(c, "v", "Key-1", "00000000000000000000000000000abc"));
    put(c, "a", 1, true);
    kl_cache_flush(c);
    assert_false(has(c, "v", "a", ""));
}

static void test_keyvault_model_cache__what_was_forgotten_is_not_put_back(void **state)
{
    (void)state;
    KL_AUTO(cache) c = kl_cache_new();
    KL_AUTO(key_version) stale = entry("k", 1);
    uint64_t epoch = kl_cache_epoch(c, "v", "k");
    kl_cache_forget(c, "v", "K");
    kl_key_version_unref(kl_cache_put(c, stale, true, epoch));
    assert_false(has(c, "v", "k", ""));
}

static void test_keyvault_model_cache__one_snapshot_for_both_ways(void **state)
{
    (void)state;
    KL_AUTO(cache) c = kl_cache_new();
    KL_AUTO(key_version) first = entry("k", 1);
    KL_AUTO(key_version) second = entry("k", 1);
    uint64_t epoch = kl_cache_epoch(c, "v", "k");
    KL_AUTO(key_version) a = kl_cache_put(c, first, false, epoch);
    KL_AUTO(key_version) b = kl_cache_put(c, second, true, epoch);
    KL_AUTO(key_version) newest = kl_cache_get(c, "v", "k", "");
    assert_ptr_equal(first, a);
    assert_ptr_equal(first, b);
    assert_ptr_equal(first, newest);
}

static void test_keyvault_model_cache__bounded(void **state)
{
    (void)state;
    KL_AUTO(cache) c = kl_cache_new();
    unsigned there = 0;
    for (unsigned i = 0; i < 100000; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "key-%u", i);
        put(c, name, i, false);
    }
    for (unsigned i = 0; i < 100000; i++) {
        char name[32], version[KL_VERSION_LEN + 1];
        (void)snprintf(name, sizeof name, "key-%u", i);
        (void)snprintf(version, sizeof version, "%032x", i);
        there += has(c, "v", name, version);
    }
    assert_in_range(there, 30000, 32768);
}

/* --- the cache in the model --- */

static void test_keyvault_model_cache__hit_asks_nobody(void **state)
{
    (void)state;
    kl_key_version_unref(site_key(&s, s.open, "k"));
    KL_AUTO(key_version) first = NULL;
    KL_AUTO(key_version) again = NULL;
    assert_ok(kl_key_find(s.m, s.open, "k", "", &first, &s.err));
    site_sql(&s, "DELETE FROM version");
    assert_ok(kl_key_find(s.m, s.open, "K", "", &again, &s.err));
    assert_ptr_equal(first, again);
}

/* Readers may never see a state that is older than one they have seen, nor one older than what a
 * write has answered. */
static atomic_llong acknowledged;
static atomic_bool stop;
static atomic_int wrong;

static void *reader(void *arg)
{
    int64_t last = 0;
    while (!atomic_load(&stop)) {
        int64_t floor = atomic_load(&acknowledged);
        KL_AUTO(key_version) k = NULL;
        enum kl_code code = kl_key_find(s.m, s.open, "k", arg, &k, NULL);
        if (code != KL_OK || k->attrs.exp < last || k->attrs.exp < floor) {
            atomic_fetch_add(&wrong, 1);
            return NULL;
        }
        last = k->attrs.exp;
    }
    return NULL;
}

static void write_some(const char *version)
{
    for (int64_t i = 1; i <= 200; i++) {
        KL_AUTO(key_version) k = NULL;
        struct kl_key_patch patch = {.exp = &i};
        assert_ok(kl_key_update(s.m, s.open, "k", version, &patch, &k, &s.err));
        atomic_store(&acknowledged, i);
    }
}

static void test_keyvault_model_cache__coherent_among_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    KL_AUTO(key_version) made = site_key(&s, s.open, "k");
    char version[KL_VERSION_LEN + 1], newest[] = "";
    memcpy(version, made->version, sizeof version);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(0,
                         pthread_create(&threads[i], NULL, reader, i % 2 == 0 ? newest : version));
    write_some(version);
    atomic_store(&stop, true);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(0, pthread_join(threads[i], NULL));
    assert_int_equal(0, atomic_load(&wrong));
}

/* Five thousand keys cost nothing at the start, and each is found. */
static void test_keyvault_model_cache__many_keys(void **state)
{
    (void)state;
    kl_key_version_unref(site_key(&s, s.open, "k"));
    site_sql(&s,
             "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
             "INSERT INTO object (vault_id, name, folded, state, created, deleted_at, purge_at, "
             "deleted_elapsed, mac) SELECT vault_id, 'key-' || i, 'KEY-' || i, state, created, 0, "
             "0, 0, mac FROM object, n WHERE object.id = 1");
    site_sql(&s, "INSERT INTO version (object, version, state, type, bits, curve, hsm, ops, "
                 "enabled, has_nbf, nbf, has_exp, exp, profile, restored, created, updated, token, "
                 "token_key, spki_hash, mac, tags, spki) SELECT o.id, v.version, v.state, v.type, "
                 "v.bits, v.curve, v.hsm, v.ops, v.enabled, v.has_nbf, v.nbf, v.has_exp, v.exp, "
                 "v.profile, v.restored, v.created, v.updated, v.token, randomblob(16), "
                 "v.spki_hash, v.mac, v.tags, v.spki FROM version v, object o WHERE o.id > 1");
    int64_t start = kl_clock_mono_ms();
    site_restart(&s);
    int64_t opened = kl_clock_mono_ms();
    for (unsigned i = 1; i <= 5000; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "Key-%u", i);
        assert_ok(site_find(&s, s.open, name));
    }
    int64_t first = kl_clock_mono_ms();
    for (unsigned i = 1; i <= 5000; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "Key-%u", i);
        assert_ok(site_find(&s, s.open, name));
    }
    print_message("open %lld ms, 5000 first finds %lld ms, 5000 cached finds %lld ms\n",
                  (long long)(opened - start), (long long)(first - opened),
                  (long long)(kl_clock_mono_ms() - first));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keyvault_model_cache__names),
        cmocka_unit_test(test_keyvault_model_cache__what_was_forgotten_is_not_put_back),
        cmocka_unit_test(test_keyvault_model_cache__one_snapshot_for_both_ways),
        cmocka_unit_test(test_keyvault_model_cache__bounded),
#define CASE(name) site_test(test_keyvault_model_cache__##name, &s)
        CASE(hit_asks_nobody),
        CASE(coherent_among_threads),
        CASE(many_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
