/* Principals, policies, notes, the tenant, system keys. */
#include "tests/unit/keyvault/model_support.h"

#include <stdlib.h>
#include <sys/stat.h>

static struct site s;

static struct kl_principal make(const char *name, unsigned roles)
{
    struct kl_principal p;
    KL_AUTO(secret) secret = NULL;
    const struct kl_principal_spec spec = {.name = name, .roles = roles};
    assert_ok(kl_principal_create(s.m, &spec, &p, &secret, &s.err));
    return p;
}

static void test_keyvault_model_principal__secret(void **state)
{
    (void)state;
    struct kl_principal p, found;
    KL_AUTO(secret) secret = NULL;
    const struct kl_principal_spec spec = {.name = "Alice", .roles = KL_ROLE_ADMINISTRATOR};
    assert_ok(kl_principal_create(s.m, &spec, &p, &secret, &s.err));
    assert_int_equal(43, kl_secret_len(secret));
    site_restart(&s);
    assert_ok(kl_principal_find(s.m, p.client_id, &found, &s.err));
    assert_ok(kl_principal_find(s.m, p.object_id, &found, &s.err));
    assert_ok(kl_principal_find(s.m, "ALICE", &found, &s.err));
    assert_string_equal("Alice", found.name);
    assert_ok(kl_credential_check(s.m, found.object_id, secret, 1));
    for (size_t i = 0; i < 43; i++) {
        kl_secret_bytes(secret)[i] ^= 1;
        assert_code(KL_NOT_FOUND, kl_credential_check(s.m, found.object_id, secret, 1));
        kl_secret_bytes(secret)[i] ^= 1;
    }
    assert_ok(kl_secret_resize(secret, 42));
    assert_code(KL_NOT_FOUND, kl_credential_check(s.m, found.object_id, secret, 1));
}

static void test_keyvault_model_principal__names(void **state)
{
    (void)state;
    struct kl_principal p;
    KL_AUTO(secret) secret = NULL;
    (void)make("bob", 0);
    struct kl_principal_spec spec = {.name = "BOB"};
    assert_code(KL_EXISTS, kl_principal_create(s.m, &spec, &p, &secret, &s.err));
    spec.name = "";
    assert_code(KL_BAD_INPUT, kl_principal_create(s.m, &spec, &p, &secret, &s.err));
    spec.name = "00000000-0000-4000-8000-000000000000";
    assert_code(KL_BAD_INPUT, kl_principal_create(s.m, &spec, &p, &secret, &s.err));
    assert_code(KL_NOT_FOUND, kl_principal_find(s.m, "carol", &p, &s.err));
}

static void test_keyvault_model_principal__last_administrator(void **state)
{
    (void)state;
    struct kl_principal *list;
    size_t count;
    struct kl_principal a = make("a", KL_ROLE_ADMINISTRATOR), b = make("b", KL_ROLE_ADMINISTRATOR),
                        c = make("c", KL_ROLE_AUDITOR);
    assert_ok(kl_principal_delete(s.m, a.object_id, &s.err));
    assert_code(KL_CONFLICT, kl_principal_delete(s.m, b.object_id, &s.err));
    assert_ok(kl_principal_delete(s.m, c.object_id, &s.err));
    assert_code(KL_NOT_FOUND, kl_principal_delete(s.m, c.object_id, &s.err));
    assert_ok(kl_principal_list(s.m, &list, &count, &s.err));
    assert_int_equal(1, count);
    assert_string_equal("b", list[0].name);
    free(list);
}

static void test_keyvault_model_principal__policies(void **state)
{
    (void)state;
    struct kl_principal p = make("p", 0), q = make("q", KL_ROLE_ADMINISTRATOR);
    struct kl_policy policy = {.allowed = {3, 5, 7, 9}};
    memcpy(policy.object_id, p.object_id, sizeof policy.object_id);
    KL_AUTO(vault) before = kl_vault_ref(s.open);
    assert_ok(kl_policy_put(s.m, "OPEN", &policy, &s.err));
    memcpy(policy.object_id, q.object_id, sizeof policy.object_id);
    assert_ok(kl_policy_put(s.m, "open", &policy, &s.err));
    policy.allowed[KL_PERM_KEYS] = 1;
    assert_ok(kl_policy_put(s.m, "open", &policy, &s.err));
    site_reload(&s);
    assert_int_equal(0, before->policy_count);
    assert_int_equal(2, s.open->policy_count);
    assert_true(strcmp(s.open->policies[0].object_id, s.open->policies[1].object_id) < 0);
    site_restart(&s);
    for (size_t i = 0; i < 2; i++) {
        bool is_q = strcmp(s.open->policies[i].object_id, q.object_id) == 0;
        assert_int_equal(is_q ? 1 : 3, s.open->policies[i].allowed[KL_PERM_KEYS]);
        assert_int_equal(9, s.open->policies[i].allowed[KL_PERM_VAULT]);
    }
    assert_ok(kl_principal_delete(s.m, p.object_id, &s.err));
    site_reload(&s);
    assert_int_equal(1, s.open->policy_count);
    assert_ok(kl_policy_delete(s.m, "open", q.object_id, &s.err));
    assert_code(KL_NOT_FOUND, kl_policy_delete(s.m, "open", q.object_id, &s.err));
    assert_code(KL_VAULT_NOT_FOUND, kl_policy_put(s.m, "none", &policy, &s.err));
    site_reload(&s);
    assert_int_equal(0, s.open->policy_count);
}

static void test_keyvault_model_principal__hosts(void **state)
{
    (void)state;
    KL_AUTO(vault) v = NULL;
    KL_AUTO(vault) found = NULL;
    KL_AUTO(vault) none = NULL;
    struct kl_vault **list;
    size_t count;
    struct kl_vault_spec spec = {
        .name = "many",
        .origin_count = 2,
        .origins = {{.host = "::1", .port = 8443}, {.host = "many.example", .port = 443}},
        .owner_object_id = "00000000-0000-4000-8000-000000000000",
        .profile = KL_PROFILE_FIXED,
        .tags_json = "{}"};
    assert_ok(kl_vault_create(s.m, &spec, &v, &s.err));
    site_restart(&s);
    assert_ok(kl_vault_by_host(s.m, "::1", &found, &s.err));
    assert_string_equal("many", found->name);
    assert_int_equal(8443, found->origins[0].port);
    assert_string_equal("many.example", found->origins[1].host);
    assert_int_equal(1, found->policy_count);
    assert_int_equal(KL_PROFILE_FIXED, found->profile);
    assert_null(found->tags_json);
    assert_code(KL_VAULT_NOT_FOUND, kl_vault_by_host(s.m, "nobody", &none, &s.err));
    assert_ok(kl_vault_list(s.m, KL_STATE_ACTIVE, &list, &count, &s.err));
    assert_int_equal(3, count);
    assert_string_equal("many", list[0]->name);
    kl_vault_list_free(list, count);
    assert_code(KL_CONFLICT, kl_vault_create(s.m, &spec, &none, &s.err));
}

static void test_keyvault_model_principal__tenant_and_notes(void **state)
{
    (void)state;
    char tenant[KL_UUID_LEN + 1];
    KL_AUTO(char) note = NULL;
    (void)snprintf(tenant, sizeof tenant, "%s", kl_model_tenant(s.m));
    assert_true(kl_uuid_valid(tenant));
    site_restart(&s);
    assert_string_equal(tenant, kl_model_tenant(s.m));
    assert_code(KL_BAD_INPUT, kl_model_set_tenant(s.m, "x", &s.err));
    assert_ok(kl_model_set_tenant(s.m, "00000000-0000-4000-8000-000000000000", &s.err));
    site_restart(&s);
    assert_string_equal("00000000-0000-4000-8000-000000000000", kl_model_tenant(s.m));
    assert_code(KL_NOT_FOUND, kl_model_note_get(s.m, "n", &note, &s.err));
    assert_ok(kl_model_note_put(s.m, "n", "one", &s.err));
    assert_ok(kl_model_note_put(s.m, "n", "two", &s.err));
    assert_ok(kl_model_note_get(s.m, "n", &note, &s.err));
    assert_string_equal("two", note);
}

static void test_keyvault_model_principal__system_keys(void **state)
{
    (void)state;
    KL_AUTO(key_version) issuer = NULL;
    KL_AUTO(key_version) again = NULL;
    KL_AUTO(key_version) audit = NULL;
    struct kl_key_spec spec = {.type = KL_KEY_EC, .curve = KL_CURVE_P256};
    assert_ok(kl_model_system_key(s.m, s.token, "issuer", &spec, &issuer, &s.err));
    assert_ok(kl_model_system_key(s.m, s.token, "audit", &spec, &audit, &s.err));
    site_restart(&s);
    assert_ok(kl_model_system_key(s.m, s.token, "issuer", &spec, &again, &s.err));
    assert_string_equal(issuer->version, again->version);
    assert_string_equal("issuer", again->name);
    assert_int_equal(KL_PROFILE_FIXED, again->profile);
    assert_int_equal(2, fake_token_key_count(s.token));
    struct kl_reconcile_report r = site_reconcile(&s);
    assert_int_equal(0, r.unknown_on_token + r.missing_on_token + r.tampered);
    assert_code(KL_KEY_NOT_FOUND, site_find(&s, s.open, "issuer"));
}

static void test_keyvault_model_principal__database_is_private(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(0, stat(s.database, &st));
    assert_int_equal(0600, st.st_mode & 07777);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) site_test(test_keyvault_model_principal__##name, &s)
        CASE(secret),
        CASE(names),
        CASE(last_administrator),
        CASE(policies),
        CASE(hosts),
        CASE(tenant_and_notes),
        CASE(system_keys),
        CASE(database_is_private),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
