#include "tests/unit/keyvault/model_support.h"

#include "base/clock.h"
#include "keyvault/model/backup_blob.h"

#include <openssl/evp.h>
#include <stdio.h>

static struct site s;
static struct kl_buf blob;

static int begin(void **state)
{
    (void)state;
    site_begin(&s);
    blob = KL_BUF_INIT(KL_BACKUP_BYTES_MAX);
    return 0;
}

static int end(void **state)
{
    (void)state;
    kl_buf_done(&blob);
    site_end(&s);
    return 0;
}

static struct kl_vault *vault_like(const char *name, const char *subscription,
                                   const char *geography)
{
    struct kl_vault *v;
    struct kl_vault_spec spec = {.name = name,
                                 .subscription = subscription,
                                 .geography = geography,
                                 .origin_count = 1,
                                 .origins = {{.port = 1}}};
    (void)snprintf(spec.origins[0].host, sizeof spec.origins[0].host, "%s", name);
    assert_ok(kl_vault_create(s.m, &spec, &v, &s.err));
    return v;
}

static void rsa_key_of_three_versions(void)
{
    KL_AUTO(key_version) first = NULL;
    KL_AUTO(key_version) second = NULL;
    KL_AUTO(key_version) third = NULL;
    struct kl_key_create how = {.spec = {.type = KL_KEY_RSA, .bits = 2048},
                                .hsm = true,
                                .attrs = {.enabled = true, .has_nbf = true, .nbf = 77},
                                .tags_json = "{\"owner\":\"b\\u00e4r\"}"};
    bool off = false;
    int64_t exp = 99;
    struct kl_key_patch patch = {.enabled = &off, .exp = &exp};
    assert_ok(kl_key_create(s.m, s.open, "Kek", &how, &first, &s.err));
    kl_clock_shift(10, 0);
    assert_ok(kl_key_rotate(s.m, s.open, "Kek", &second, &s.err));
    how.spec = (struct kl_key_spec){.type = KL_KEY_EC, .curve = KL_CURVE_P384};
    how.ops = KL_OP_SIGN;
    how.tags_json = NULL;
    KL_AUTO(key_version) ec = NULL;
    assert_ok(kl_key_create(s.m, s.open, "Kek", &how, &ec, &s.err));
    assert_ok(kl_key_update(s.m, s.open, "Kek", first->version, &patch, &third, &s.err));
}

static void same_version(const char *version, struct kl_vault *from, struct kl_vault *to)
{
    KL_AUTO(key_version) a = NULL;
    KL_AUTO(key_version) b = NULL;
    assert_ok(kl_key_find(s.m, from, "Kek", version, &a, &s.err));
    assert_ok(kl_key_find(s.m, to, "kek", version, &b, &s.err));
    assert_string_equal(a->version, b->version);
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->bits, b->bits);
    assert_int_equal(a->curve, b->curve);
    assert_int_equal(a->ops, b->ops);
    assert_int_equal(a->hsm, b->hsm);
    assert_memory_equal(&a->attrs, &b->attrs, sizeof a->attrs);
    assert_int_equal(a->created, b->created);
    assert_int_equal(a->updated, b->updated);
    assert_int_equal(a->spki_len, b->spki_len);
    assert_memory_equal(a->spki, b->spki, a->spki_len);
    assert_string_equal(a->tags_json != NULL ? a->tags_json : "-",
                        b->tags_json != NULL ? b->tags_json : "-");
    assert_memory_not_equal(a->ref.id, b->ref.id, sizeof a->ref.id);
    assert_true(b->restored && !a->restored);
}

static void test_keyvault_model_backup__round_trip(void **state)
{
    (void)state;
    KL_AUTO(key_version) newest = NULL;
    KL_AUTO(key_version) again = NULL;
    struct kl_key_page page;
    rsa_key_of_three_versions();
    assert_ok(kl_key_backup(s.m, s.open, "kek", &blob, &s.err));
    assert_ok(kl_key_restore(s.m, s.safe, blob.bytes, blob.len, &newest, &s.err));
    assert_int_equal(6, fake_token_key_count(s.token));
    site_restart(&s);
    assert_ok(kl_key_versions(s.m, s.open, "kek", "", 25, &page, &s.err));
    assert_int_equal(3, page.count);
    for (size_t i = 0; i < page.count; i++)
        same_version(page.items[i]->version, s.open, s.safe);
    kl_key_page_done(&page);
    same_version("", s.open, s.safe);
    assert_code(KL_CONFLICT, kl_key_restore(s.m, s.safe, blob.bytes, blob.len, &again, &s.err));
    assert_ok(site_delete(&s, s.safe, "kek"));
    assert_code(KL_NAME_DELETED, kl_key_restore(s.m, s.safe, blob.bytes, blob.len, &again, &s.err));
    assert_int_equal(0, site_reconcile(&s).unknown_on_token);
}

/* A restored key is independent: the blob outlives the purge of its source. */
static void test_keyvault_model_backup__after_the_purge(void **state)
{
    (void)state;
    KL_AUTO(key_version) back = NULL;
    rsa_key_of_three_versions();
    assert_ok(kl_key_backup(s.m, s.open, "Kek", &blob, &s.err));
    assert_ok(site_delete(&s, s.open, "Kek"));
    assert_ok(site_purge(&s, s.open, "Kek"));
    assert_int_equal(0, fake_token_key_count(s.token));
    assert_ok(kl_key_restore(s.m, s.open, blob.bytes, blob.len, &back, &s.err));
    assert_int_equal(3, fake_token_key_count(s.token));
    /* And a copy of the copy. */
    kl_buf_clear(&blob);
    assert_ok(kl_key_backup(s.m, s.open, "Kek", &blob, &s.err));
}

static void test_keyvault_model_backup__every_flipped_byte(void **state)
{
    (void)state;
    kl_key_version_unref(site_key(&s, s.open, "k"));
    assert_ok(kl_key_backup(s.m, s.open, "k", &blob, &s.err));
    for (size_t i = 0; i < blob.len; i++) {
        KL_AUTO(key_version) k = NULL;
        for (int bit = 0; bit < 8; bit += 7) {
            blob.bytes[i] = (char)(blob.bytes[i] ^ (1 << bit));
            enum kl_code code = kl_key_restore(s.m, s.safe, blob.bytes, blob.len, &k, &s.err);
            assert_code(i >= 16 && i < 48 ? KL_BACKUP_DOMAIN : KL_BACKUP_MALFORMED, code);
            blob.bytes[i] = (char)(blob.bytes[i] ^ (1 << bit));
        }
    }
    assert_int_equal(1, fake_token_key_count(s.token));
    assert_int_equal(0, fake_token_calls(s.token, KL_CALL_UNWRAP));
}

static void test_keyvault_model_backup__cut_and_zero(void **state)
{
    (void)state;
    static char zeros[8693];
    KL_AUTO(key_version) k = NULL;
    assert_code(KL_BACKUP_MALFORMED, kl_key_restore(s.m, s.safe, zeros, 4728, &k, &s.err));
    assert_code(KL_BACKUP_MALFORMED, kl_key_restore(s.m, s.safe, zeros, 8693, &k, &s.err));
    assert_code(KL_BACKUP_MALFORMED, kl_key_restore(s.m, s.safe, "", 0, &k, &s.err));
    kl_key_version_unref(site_key(&s, s.open, "k"));
    assert_ok(kl_key_backup(s.m, s.open, "k", &blob, &s.err));
    for (size_t n = 0; n < blob.len; n++) {
        /* An exact copy, so that a sanitizer sees a step beyond the end. */
        KL_AUTO(bytes) cut = malloc(n + (n == 0));
        assert_non_null(cut);
        memcpy(cut, blob.bytes, n);
        assert_code(KL_BACKUP_MALFORMED, kl_key_restore(s.m, s.safe, cut, n, &k, &s.err));
    }
    kl_buf_putc(&blob, 'x');
    assert_code(KL_BACKUP_MALFORMED, kl_key_restore(s.m, s.safe, blob.bytes, blob.len, &k, &s.err));
}

static void test_keyvault_model_backup__scope(void **state)
{
    (void)state;
    static const struct {
        const char *name, *subscription, *geography;
        enum kl_code code;
    } rows[] = {{"same", "sub-1", "geo-1", KL_OK},
                {"other-sub", "sub-2", "geo-1", KL_BACKUP_SCOPE},
                {"other-geo", "sub-1", "geo-2", KL_BACKUP_SCOPE},
                {"other-case", "SUB-1", "geo-1", KL_BACKUP_SCOPE},
                {"unlabelled", NULL, NULL, KL_BACKUP_SCOPE}};
    kl_key_version_unref(site_key(&s, s.open, "k"));
    assert_ok(kl_key_backup(s.m, s.open, "k", &blob, &s.err));
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        KL_AUTO(key_version) k = NULL;
        KL_AUTO(vault) v = vault_like(rows[i].name, rows[i].subscription, rows[i].geography);
        assert_code(rows[i].code, kl_key_restore(s.m, v, blob.bytes, blob.len, &k, &s.err));
    }
}

static void test_keyvault_model_backup__another_domain(void **state)
{
    (void)state;
    struct site there;
    KL_AUTO(key_version) k = NULL;
    kl_key_version_unref(site_key(&s, s.open, "k"));
    assert_ok(kl_key_backup(s.m, s.open, "k", &blob, &s.err));
    site_begin(&there);
    kl_token_close(there.token);
    kl_model_close(there.m);
    there.token = fake_token_new("t1", "domain-2");
    struct kl_model_config config = {
        .tokens = &there.token, .token_count = 1, .store_ops = &faulty_store};
    char other[160];
    (void)snprintf(other, sizeof other, "%s/other.db", there.folder);
    config.database = other;
    assert_ok(kl_model_open(&config, &there.m, &there.err));
    assert_ok(kl_model_access_check(there.m, KL_SEAL_BEGIN, &there.err));
    struct kl_vault *v;
    struct kl_vault_spec spec = {.name = "open",
                                 .subscription = "sub-1",
                                 .geography = "geo-1",
                                 .origin_count = 1,
                                 .origins = {{.host = "h", .port = 1}}};
    assert_ok(kl_vault_create(there.m, &spec, &v, &there.err));
    assert_code(KL_BACKUP_DOMAIN, kl_key_restore(there.m, v, blob.bytes, blob.len, &k, &there.err));
    assert_int_equal(0, fake_token_key_count(there.token));
    kl_vault_unref(v);
    site_end(&there);
}

static void test_keyvault_model_backup__fixed_keys(void **state)
{
    (void)state;
    KL_AUTO(key_version) k = NULL;
    struct kl_key_create how = {
        .spec = {.type = KL_KEY_EC, .curve = KL_CURVE_P256, .profile = KL_PROFILE_FIXED},
        .attrs = {.enabled = true}};
    kl_key_version_unref(site_key(&s, s.open, "k"));
    assert_ok(kl_key_create(s.m, s.open, "k", &how, &k, &s.err));
    kl_key_version_unref(site_key(&s, s.open, "k"));
    assert_code(KL_BACKUP_FIXED, kl_key_backup(s.m, s.open, "k", &blob, &s.err));
    assert_int_equal(0, fake_token_calls(s.token, KL_CALL_WRAP));
    assert_int_equal(0, blob.len);
    assert_code(KL_KEY_NOT_FOUND, kl_key_backup(s.m, s.open, "none", &blob, &s.err));
}

/* `count` READY rows of one key, copies of its only version but for the ids: no token has that many
 * keys to make in a test. */
static void many_versions(int count)
{
    char sql[1024];
    (void)snprintf(
        sql, sizeof sql,
        "WITH RECURSIVE n (i) AS (VALUES (2) UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
        "INSERT INTO version (object, version, state, type, bits, curve, hsm, ops, enabled, "
        "has_nbf, nbf, has_exp, exp, profile, restored, created, updated, token, token_key, "
        "spki_hash, mac, tags, spki) SELECT object, printf('%%032x', i), state, type, bits, curve, "
        "hsm, ops, enabled, has_nbf, nbf, has_exp, exp, profile, restored, created, updated, token, "
        "randomblob(16), spki_hash, mac, tags, spki FROM version, n WHERE seq = 1",
        count);
    site_sql(&s, sql);
    assert_int_equal(count, site_sql_number(&s, "SELECT count(*) FROM version WHERE state = 1"));
}

static void test_keyvault_model_backup__502_versions(void **state)
{
    (void)state;
    kl_key_version_unref(site_key(&s, s.open, "k"));
    many_versions(502);
    unsigned macs = fake_token_calls(s.token, KL_CALL_MAC);
    assert_code(KL_BACKUP_VERSIONS, kl_key_backup(s.m, s.open, "k", &blob, &s.err));
    assert_int_equal(0, fake_token_calls(s.token, KL_CALL_WRAP));
    assert_int_equal(macs, fake_token_calls(s.token, KL_CALL_MAC));
}

static void test_keyvault_model_backup__501_versions(void **state)
{
    (void)state;
    KL_AUTO(key_version) back = NULL;
    struct kl_key_page page;
    for (int i = 0; i < 501; i++)
        kl_key_version_unref(site_key(&s, s.open, "k"));
    assert_ok(kl_key_backup(s.m, s.open, "k", &blob, &s.err));
    assert_ok(kl_key_restore(s.m, s.safe, blob.bytes, blob.len, &back, &s.err));
    assert_int_equal(1002, fake_token_key_count(s.token));
    assert_ok(kl_key_versions(s.m, s.safe, "k", "", 25, &page, &s.err));
    assert_int_equal(25, page.count);
    kl_key_page_done(&page);
    kl_key_version_unref(site_key(&s, s.open, "k"));
    assert_code(KL_BACKUP_VERSIONS, kl_key_backup(s.m, s.open, "k", &blob, &s.err));
}

static void test_keyvault_model_backup__all_or_nothing(void **state)
{
    (void)state;
    KL_AUTO(key_version) k = NULL;
    rsa_key_of_three_versions();
    assert_ok(kl_key_backup(s.m, s.open, "Kek", &blob, &s.err));
    fake_token_lose_answer(s.token, KL_CALL_UNWRAP, 1);
    assert_code(KL_TOKEN_UNAVAILABLE,
                kl_key_restore(s.m, s.safe, blob.bytes, blob.len, &k, &s.err));
    assert_int_equal(3, fake_token_key_count(s.token));
    assert_code(KL_KEY_NOT_FOUND, site_find(&s, s.safe, "Kek"));
    assert_ok(kl_key_restore(s.m, s.safe, blob.bytes, blob.len, &k, &s.err));
}

static void test_keyvault_model_backup__token_away(void **state)
{
    (void)state;
    KL_AUTO(key_version) k = NULL;
    kl_key_version_unref(site_key(&s, s.open, "k"));
    assert_ok(kl_key_backup(s.m, s.open, "k", &blob, &s.err));
    fake_token_set_ready(s.token, false);
    size_t before = blob.len;
    assert_code(KL_TOKEN_UNAVAILABLE, kl_key_backup(s.m, s.open, "k", &blob, &s.err));
    assert_int_equal(before, blob.len);
    assert_code(KL_TOKEN_UNAVAILABLE,
                kl_key_restore(s.m, s.safe, blob.bytes, blob.len, &k, &s.err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(test_keyvault_model_backup__##name, begin, end)
        CASE(round_trip),   CASE(after_the_purge), CASE(every_flipped_byte), CASE(cut_and_zero),
        CASE(scope),        CASE(another_domain),  CASE(fixed_keys),         CASE(502_versions),
        CASE(501_versions), CASE(all_or_nothing),  CASE(token_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
