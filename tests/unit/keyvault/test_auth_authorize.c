#include "keyvault/auth/authorize.h"

#include "base/clock.h"
#include "keyvault/auth/issuer.h"
#include "keyvault/auth/policy.h"
#include "tests/unit/keyvault/auth_support.h"

#include <string.h>

static struct kl_authenticator *a;

static int set_up(void **state)
{
    (void)state;
    auth_world_reset();
    auth_signing_fails(KL_OK, KL_OK);
    a = auth_authenticator();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kl_authenticator_free(a);
    return 0;
}

static void keep(void *arg, const struct kl_issued *issued, const struct kl_err *err)
{
    assert_int_equal(err->code, KL_OK);
    (void)snprintf(arg, 4096, "Bearer %s", (const char *)kl_secret_bytes(issued->token));
}

/* Authorization value with a fresh token of the service for a principal. */
static void bearer(const char *name, const char *audience, char out[static 4096])
{
    assert_int_equal(
        kl_issuer_issue(a, auth_principal(name), KL_LOGIN_SECRET, audience, keep, out, NULL),
        KL_OK);
}

static void test_auth_authorize__own_token(void **state)
{
    (void)state;
    char value[4096];
    struct kl_caller caller;
    bearer("a", "https://vault.localhost:8443", value);
    /* the first time in full, the second from the cache */
    for (int i = 0; i < 2; i++) {
        caller = (struct kl_caller){.authenticated = false};
        assert_int_equal(kl_authenticate(a, value, &caller, NULL), KL_OK);
        assert_true(caller.authenticated);
        assert_string_equal(caller.who.name, "a");
        assert_string_equal(caller.app_id, AUTH_APP);
        assert_string_equal(caller.issuer, AUTH_ISSUER);
        assert_int_equal(strlen(caller.token_id), 22);
        assert_in_range(caller.expires, kl_clock_unix() + 3590, kl_clock_unix() + 3600);
    }
}

static void test_auth_authorize__no_bearer(void **state)
{
    (void)state;
    static const char *const values[] = {NULL,         "",        "Bearer", "Bearer ",
                                         "Basic YTpi", "Bearerx", "PoP x",  "Bearer    "};
    for (size_t i = 0; i < KL_COUNT(values); i++) {
        struct kl_caller caller;
        struct kl_err err;
        assert_int_equal(kl_authenticate(a, values[i], &caller, &err), KL_UNAUTHENTICATED);
        assert_string_equal(err.text, "AKV10000: Request is missing a Bearer or PoP token.");
    }
}

/* A principal that is gone or disabled is out at once, cached token or not. */
static void test_auth_authorize__principal_gone(void **state)
{
    (void)state;
    char value[4096];
    struct kl_caller caller;
    bearer("c", "https://vault.azure.net", value);
    assert_int_equal(kl_authenticate(a, value, &caller, NULL), KL_OK);
    auth_principal("c")->disabled = true;
    auth_world.generation++;
    assert_int_equal(kl_authenticate(a, value, &caller, NULL), KL_UNAUTHENTICATED);
    auth_principal("c")->disabled = false;
    auth_world.generation++;
    assert_int_equal(kl_authenticate(a, value, &caller, NULL), KL_OK);
    auth_world.principal_count = 2;
    auth_world.generation++;
    assert_int_equal(kl_authenticate(a, value, &caller, NULL), KL_UNAUTHENTICATED);
}

/* The finder knows names: an oid or appid that only names someone must not be him. */
static void test_auth_authorize__name_like_an_id(void **state)
{
    (void)state;
    char value[4096];
    struct kl_caller caller;
    bearer("c", "https://vault.azure.net", value);
    struct kl_principal *c = auth_principal("c");
    memcpy(auth_principal("b")->client_id, c->client_id, sizeof c->client_id);
    (void)snprintf(auth_principal("b")->name, 128, "%s", c->object_id);
    *c = (struct kl_principal){.name = "x"};
    assert_int_equal(kl_authenticate(a, value, &caller, NULL), KL_UNAUTHENTICATED);
}

static void test_auth_authorize__expiry_from_cache(void **state)
{
    (void)state;
    char value[4096];
    struct kl_caller caller;
    struct kl_err err;
    bearer("a", "https://vault.azure.net", value);
    assert_int_equal(kl_authenticate(a, value, &caller, NULL), KL_OK);
    kl_clock_shift(3601, 0);
    enum kl_code code = kl_authenticate(a, value, &caller, &err);
    kl_clock_shift(-3601, 0);
    assert_int_equal(code, KL_UNAUTHENTICATED);
    assert_non_null(strstr(err.text, "IDX10223"));
}

static void test_auth_authorize__foreign_audience(void **state)
{
    (void)state;
    char value[4096];
    struct kl_caller caller;
    struct kl_err err;
    bearer("a", "https://graph.microsoft.com", value);
    assert_int_equal(kl_authenticate(a, value, &caller, &err), KL_UNAUTHENTICATED);
    assert_non_null(strstr(err.text, "AKV10022"));
}

static void test_auth_authorize__challenge(void **state)
{
    (void)state;
    static const struct {
        struct kl_origin origin;
        const char *value;
    } rows[] = {
        {{"demo.vault.localhost", 8443},
         "Bearer authorization=\"https://demo.vault.localhost:8443/" AUTH_TENANT
         "\", resource=\"https://vault.localhost:8443\""},
        {{"localhost", 8443},
         "Bearer authorization=\"https://localhost:8443/" AUTH_TENANT
         "\", resource=\"https://localhost:8443\""},
        {{"127.0.0.1", 8443},
         "Bearer authorization=\"https://127.0.0.1:8443/" AUTH_TENANT
         "\", resource=\"https://0.0.1:8443\""},
        {{"v.example.org", 443},
         "Bearer authorization=\"https://v.example.org/" AUTH_TENANT
         "\", resource=\"https://example.org\""},
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        char value[700];
        kl_challenge(a, &rows[i].origin, value, sizeof value);
        assert_string_equal(value, rows[i].value);
    }
}

static struct kl_caller caller_of(const char *name)
{
    struct kl_caller caller = {.authenticated = true, .who = *auth_principal(name)};
    memcpy(caller.app_id, caller.who.client_id, sizeof caller.app_id);
    caller.issuer = AUTH_ISSUER;
    return caller;
}

static void test_auth_authorize__wording(void **state)
{
    (void)state;
    struct kl_policy policy = {.object_id = "aaaaaaaa-0000-4000-8000-00000000000c",
                               .allowed = {kl_permission_bit(KL_MAY_KEY_GET)}};
    struct kl_vault *demo = &auth_world.vaults[0];
    demo->policies = &policy;
    demo->policy_count = 1;
    struct kl_caller c = caller_of("c");
    struct kl_err err;
    assert_int_equal(kl_authorize(&c, KL_SCOPE_HOST, KL_MAY_KEY_GET, demo, "KeyGet", NULL), KL_OK);
    assert_int_equal(kl_authorize(&c, KL_SCOPE_HOST, KL_MAY_KEY_WRAP, demo, "KeyWrap", &err),
                     KL_FORBIDDEN);
    assert_string_equal(
        err.text, "The user, group or application 'appid=aaaaaaaa-0000-4000-8000-0000000000cc;"
                  "oid=aaaaaaaa-0000-4000-8000-00000000000c;numgroups=0;iss=" AUTH_ISSUER
                  "' does not have keys wrapKey permission on key vault 'demo'");
}

/* Vaults that are there and vaults that are not: one answer for those who have no policy. */
static void test_auth_authorize__no_probing(void **state)
{
    (void)state;
    struct kl_caller c = caller_of("c"), admin = caller_of("a");
    static const enum kl_scope scopes[] = {KL_SCOPE_HOST, KL_SCOPE_NAMED};
    for (size_t i = 0; i < KL_COUNT(scopes); i++) {
        struct kl_err there = {0}, not_there = {0};
        assert_int_equal(kl_authorize(&c, scopes[i], KL_MAY_VAULT_GET, &auth_world.vaults[0],
                                      "VaultGet", &there),
                         KL_FORBIDDEN);
        assert_int_equal(
            kl_authorize(&c, scopes[i], KL_MAY_VAULT_GET, NULL, "VaultGet", &not_there),
            KL_FORBIDDEN);
        assert_memory_equal(&there, &not_there, sizeof there);
        assert_int_equal(kl_authorize(&admin, scopes[i], KL_MAY_VAULT_GET, NULL, "VaultGet", NULL),
                         KL_VAULT_NOT_FOUND);
    }
}

/* An administrator may set policies only where nobody else can any more. */
static void test_auth_authorize__orphan(void **state)
{
    (void)state;
    struct kl_policy policy = {.object_id = "aaaaaaaa-0000-4000-8000-00000000000c"};
    policy.allowed[KL_PERM_VAULT] = kl_permission_all(KL_PERM_VAULT);
    struct kl_vault *demo = &auth_world.vaults[0];
    demo->policies = &policy;
    demo->policy_count = 1;
    struct kl_caller admin = caller_of("a"), auditor = caller_of("b");
    for (int p = 1; p < KL_PERMISSION_COUNT; p++)
        assert_int_equal(
            kl_authorize(&admin, KL_SCOPE_NAMED, (enum kl_permission)p, demo, "Op", NULL),
            KL_FORBIDDEN);
    policy.allowed[KL_PERM_VAULT] &= ~kl_permission_bit(KL_MAY_VAULT_SETPOLICY);
    for (int p = 1; p < KL_PERMISSION_COUNT; p++) {
        bool rescue = p == KL_MAY_VAULT_SETPOLICY || p == KL_MAY_VAULT_GETPOLICY;
        assert_int_equal(
            kl_authorize(&admin, KL_SCOPE_NAMED, (enum kl_permission)p, demo, "Op", NULL),
            rescue ? KL_OK : KL_FORBIDDEN);
        assert_int_equal(
            kl_authorize(&auditor, KL_SCOPE_NAMED, (enum kl_permission)p, demo, "Op", NULL),
            KL_FORBIDDEN);
    }
}

static void test_auth_authorize__roles(void **state)
{
    (void)state;
    static const struct {
        const char *who;
        enum kl_scope scope;
        bool allowed;
    } rows[] = {
        {"a", KL_SCOPE_ADMIN, true},   {"b", KL_SCOPE_ADMIN, false},
        {"c", KL_SCOPE_ADMIN, false},  {"a", KL_SCOPE_AUDITOR, true},
        {"b", KL_SCOPE_AUDITOR, true}, {"c", KL_SCOPE_AUDITOR, false},
        {"c", KL_SCOPE_CALLER, true},  {"c", KL_SCOPE_OPEN, true},
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct kl_caller c = caller_of(rows[i].who);
        enum kl_code want = rows[i].allowed ? KL_OK : KL_FORBIDDEN;
        assert_int_equal(kl_authorize(&c, rows[i].scope, KL_MAY_NOTHING, NULL, "Op", NULL), want);
    }
    struct kl_caller nobody = {.authenticated = false};
    static const enum kl_scope closed[] = {KL_SCOPE_CALLER, KL_SCOPE_HOST, KL_SCOPE_NAMED,
                                           KL_SCOPE_ADMIN, KL_SCOPE_AUDITOR};
    for (size_t i = 0; i < KL_COUNT(closed); i++)
        assert_int_equal(
            kl_authorize(&nobody, closed[i], KL_MAY_NOTHING, &auth_world.vaults[0], "Op", NULL),
            KL_UNAUTHENTICATED);
    assert_int_equal(kl_authorize(&nobody, KL_SCOPE_OPEN, KL_MAY_NOTHING, NULL, "Op", NULL), KL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_auth_authorize__own_token, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_authorize__no_bearer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_authorize__principal_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_authorize__name_like_an_id, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_authorize__expiry_from_cache, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_authorize__foreign_audience, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_authorize__challenge, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_authorize__wording, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_authorize__no_probing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_authorize__orphan, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_authorize__roles, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
