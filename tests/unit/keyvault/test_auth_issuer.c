#include "keyvault/auth/issuer.h"

#include "base/clock.h"
#include "base/encoding.h"
#include "base/json.h"
#include "keyvault/auth/cache.h"
#include "keyvault/auth/failures.h"
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

static void test_auth_issuer__audiences(void **state)
{
    (void)state;
    static const struct {
        bool is_scope;
        const char *text, *audience; /* NULL = refused */
    } rows[] = {
        {true, "https://vault.azure.net/.default", "https://vault.azure.net"},
        {true, "https://vault.azure.net//.default", "https://vault.azure.net"},
        {true, "https://localhost:8443/.default", "https://localhost:8443"},
        {true, "https://vault.localhost:8443/.default", "https://vault.localhost:8443"},
        {true, "https://0.0.1/.default", "https://0.0.1"},
        {true, "https://0.0.1:8443//.default", "https://0.0.1:8443"},
        {true, "https://Demo.Vault.localhost/.default", "https://demo.vault.localhost"},
        {true, "openid https://localhost/.default profile", "https://localhost"},
        {true, "https://localhost:8443", NULL},
        {true, "https://localhost:8443///.default", NULL},
        {true, "https://graph.microsoft.com/.default", NULL},
        {true, "https://localhost/.default https://vault.azure.net/.default", NULL},
        {true, "openid", NULL},
        {true, "/.default", NULL},
        {true, "", NULL},
        {true, "https://.azure.net/.default", NULL},
        {true, "https://evil.vault.localhost:8443/.default", NULL},
        {false, "https://vault.azure.net", "https://vault.azure.net"},
        {false, "https://vault.azure.net/", "https://vault.azure.net"},
        {false, "https://vault.azure.net//", NULL},
        {false, "https://management.azure.com/", NULL},
        {false, "", NULL},
        {false, "/", NULL},
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        char audience[KL_AUDIENCE_MAX] = "untouched";
        enum kl_code code = kl_issuer_audience(a, rows[i].text, rows[i].is_scope, audience, NULL);
        assert_int_equal(code, rows[i].audience != NULL ? KL_OK : KL_BAD_INPUT);
        assert_string_equal(audience, rows[i].audience != NULL ? rows[i].audience : "untouched");
    }
}

/* An audience must be granted and accepted by the same rule as long as its vault is there. */
static void test_auth_issuer__vault_gone(void **state)
{
    (void)state;
    char audience[KL_AUDIENCE_MAX];
    auth_world.vault_count = 1;
    assert_int_equal(kl_issuer_audience(a, "https://0.0.1/.default", true, audience, NULL),
                     KL_BAD_INPUT);
}

static enum kl_code try_client(const char *id, const char *secret, const char *peer,
                               struct kl_err *err)
{
    struct kl_principal who;
    struct kl_secret *s = kl_secret_new(64);
    assert_int_equal(kl_secret_append(s, secret, strlen(secret)), KL_OK);
    enum kl_code code = kl_issuer_check_client(a, id, s, peer, &who, err);
    kl_secret_free(s);
    return code;
}

static void test_auth_issuer__client(void **state)
{
    (void)state;
    struct kl_err wrong, unknown, disabled;
    assert_int_equal(try_client(AUTH_APP, "a", "1.2.3.4", NULL), KL_OK);
    assert_int_equal(try_client(AUTH_APP, "b", "1.2.3.4", &wrong), KL_UNAUTHENTICATED);
    assert_int_equal(try_client("aaaaaaaa-0000-4000-8000-0000000000ff", "a", "1.2.3.4", &unknown),
                     KL_UNAUTHENTICATED);
    auth_principal("a")->disabled = true;
    assert_int_equal(try_client(AUTH_APP, "a", "1.2.3.4", &disabled), KL_UNAUTHENTICATED);
    assert_memory_equal(&wrong, &unknown, sizeof wrong);
    assert_memory_equal(&wrong, &disabled, sizeof wrong);
    /* neither the name nor the object id is a client id */
    auth_principal("a")->disabled = false;
    assert_int_equal(try_client("a", "a", "1.2.3.4", NULL), KL_UNAUTHENTICATED);
    assert_int_equal(try_client(AUTH_OID, "a", "1.2.3.4", NULL), KL_UNAUTHENTICATED);
}

static void test_auth_issuer__too_many_failures(void **state)
{
    (void)state;
    for (int i = 0; i < KL_FAILURES_MAX; i++)
        assert_int_equal(try_client(AUTH_APP, "wrong", "1.2.3.4", NULL), KL_UNAUTHENTICATED);
    assert_int_equal(try_client(AUTH_APP, "a", "1.2.3.4", NULL), KL_THROTTLED);
    assert_int_equal(try_client(AUTH_APP, "a", "1.2.3.5", NULL), KL_OK);
    assert_int_equal(try_client("aaaaaaaa-0000-4000-8000-0000000000cb", "b", "1.2.3.4", NULL),
                     KL_OK);
    kl_clock_shift(0, KL_FAILURES_WINDOW_MS);
    assert_int_equal(try_client(AUTH_APP, "a", "1.2.3.4", NULL), KL_OK);
    kl_clock_shift(0, -KL_FAILURES_WINDOW_MS);
}

struct outcome {
    unsigned calls;
    enum kl_code code;
    int64_t expires_in, expires;
    char *token;
};

static void keep(void *arg, const struct kl_issued *issued, const struct kl_err *err)
{
    struct outcome *o = arg;
    o->calls++;
    o->code = err->code;
    assert_int_equal(issued != NULL, err->code == KL_OK);
    if (issued != NULL) {
        o->expires_in = issued->expires_in;
        o->expires = issued->expires;
        o->token = strdup((const char *)kl_secret_bytes(issued->token));
    }
}

static json_t *part(const char *token, unsigned which)
{
    unsigned char bytes[2048];
    size_t len = 0;
    json_t *json = NULL;
    for (; which > 0; which--)
        token = strchr(token, '.') + 1;
    assert_int_equal(kl_b64url_decode(token, strcspn(token, "."), bytes, sizeof bytes, &len),
                     KL_OK);
    assert_int_equal(kl_json_parse((const char *)bytes, len, &json, NULL), KL_OK);
    return json;
}

static void test_auth_issuer__token(void **state)
{
    (void)state;
    struct outcome o = {0};
    assert_int_equal(kl_issuer_issue(a, auth_principal("a"), KL_LOGIN_SECRET,
                                     "https://vault.azure.net", keep, &o, NULL),
                     KL_OK);
    assert_int_equal(o.calls, 1);
    assert_int_equal(o.code, KL_OK);
    assert_int_equal(o.expires_in, 3599);
    json_t *header = part(o.token, 0), *claims = part(o.token, 1);
    static const struct {
        const char *name, *value;
    } texts[] = {{"aud", "https://vault.azure.net"},
                 {"iss", AUTH_ISSUER},
                 {"tid", AUTH_TENANT},
                 {"oid", AUTH_OID},
                 {"sub", AUTH_OID},
                 {"appid", AUTH_APP},
                 {"ver", "1.0"}};
    for (size_t i = 0; i < KL_COUNT(texts); i++)
        assert_string_equal(json_string_value(json_object_get(claims, texts[i].name)),
                            texts[i].value);
    json_int_t iat = json_integer_value(json_object_get(claims, "iat"));
    assert_int_equal(json_integer_value(json_object_get(claims, "exp")), iat + 3600);
    assert_int_equal(json_integer_value(json_object_get(claims, "nbf")), iat);
    assert_int_equal(o.expires, iat + 3600);
    /* the kid is one of the published set */
    json_t *set = kl_issuer_jwks(a);
    const json_t *key = json_array_get(json_object_get(set, "keys"), 0);
    assert_true(json_equal(json_object_get(header, "kid"), json_object_get(key, "kid")));
    assert_string_equal(json_string_value(json_object_get(key, "kty")), "RSA");
    assert_int_equal(json_string_length(json_object_get(key, "n")), 342);
    assert_null(json_object_get(key, "d"));
    json_decref(set);
    json_decref(header);
    json_decref(claims);
    free(o.token);
}

static void test_auth_issuer__token_away(void **state)
{
    (void)state;
    struct outcome o = {0};
    auth_signing_fails(KL_TOKEN_UNAVAILABLE, KL_OK);
    assert_int_equal(kl_issuer_issue(a, auth_principal("a"), KL_LOGIN_SECRET, "x", keep, &o, NULL),
                     KL_TOKEN_UNAVAILABLE);
    assert_int_equal(o.calls, 0);
    auth_signing_fails(KL_OK, KL_TOKEN_KEY_MISSING);
    assert_int_equal(kl_issuer_issue(a, auth_principal("a"), KL_LOGIN_SECRET, "x", keep, &o, NULL),
                     KL_OK);
    assert_int_equal(o.calls, 1);
    assert_int_equal(o.code, KL_TOKEN_KEY_MISSING);
}

/* The cache never gives more than was put, never past exp, and stays bounded. */
static void test_auth_issuer__cache(void **state)
{
    (void)state;
    KL_AUTO(token_cache) c = kl_token_cache_new();
    struct kl_caller caller = {.expires = 1000}, found;
    uint8_t digest[KL_TOKEN_DIGEST_LEN] = {0};
    assert_false(kl_token_cache_get(c, digest, 7, 0, &found));
    kl_token_cache_put(c, digest, 7, &caller);
    assert_true(kl_token_cache_get(c, digest, 7, 999, &found));
    assert_false(kl_token_cache_get(c, digest, 7, 1000, &found));
    /* a principal was changed meanwhile, or is about to be */
    assert_false(kl_token_cache_get(c, digest, 8, 999, &found));
    assert_false(kl_token_cache_get(c, digest, 6, 999, &found));
    digest[31] = 1;
    assert_false(kl_token_cache_get(c, digest, 7, 999, &found));
    /* one set: more tokens than ways push out what expires first */
    for (unsigned i = 0; i < 8; i++) {
        digest[31] = (uint8_t)(i + 1);
        caller.expires = 2000 + i;
        kl_token_cache_put(c, digest, 7, &caller);
    }
    unsigned held = 0;
    for (unsigned i = 0; i < 8; i++) {
        digest[31] = (uint8_t)(i + 1);
        held += kl_token_cache_get(c, digest, 7, 999, &found);
    }
    assert_int_equal(held, 4);
    assert_true(kl_token_cache_get(c, digest, 7, 999, &found));
    assert_int_equal(found.expires, 2007);
}

static void test_auth_issuer__settings(void **state)
{
    (void)state;
    struct kl_key_version *key = auth_issuer_key(0, auth_signing_token());
    struct kl_authenticator_config good = {.issuer_key = key,
                                           .origin = "https://localhost:8443",
                                           .tenant = AUTH_TENANT,
                                           .token_lifetime_s = 3600};
    struct kl_authenticator *none = NULL;
    struct kl_authenticator_config bad = good;
    bad.token_lifetime_s = 86401;
    assert_int_equal(kl_authenticator_new(&bad, &none, NULL), KL_CONFIG);
    bad = good;
    bad.tenant = "common";
    assert_int_equal(kl_authenticator_new(&bad, &none, NULL), KL_CONFIG);
    bad = good;
    bad.origin = "nonsense/";
    assert_int_equal(kl_authenticator_new(&bad, &none, NULL), KL_BAD_INPUT);
    assert_null(none);
    kl_key_version_unref(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_auth_issuer__audiences, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_issuer__vault_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_issuer__client, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_issuer__too_many_failures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_issuer__token, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_issuer__token_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_issuer__cache, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_issuer__settings, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
