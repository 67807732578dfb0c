/* Project Wycheproof's JSON web vectors against the verifier core: what it lists as invalid is
 * refused, and what it lists as valid under RS256 is accepted. Other algorithms are refused
 * whatever the vectors say. */
#include "keyvault/auth/jws.h"

#include "base/io.h"
#include "tests/unit/keyvault/auth_support.h"

#include <string.h>

struct counts {
    unsigned tests, accepted, wrong, missed;
};

/* The group's key or set of keys as a JWK set. */
static json_t *set_of(const json_t *group)
{
    json_t *key = json_object_get(group, "public");
    if (key == NULL)
        key = json_object_get(group, "private");
    if (key == NULL || json_object_get(key, "keys") != NULL)
        return json_incref(key);
    return json_pack("{s:[O]}", "keys", key);
}

static bool accepts(const struct kl_jwks *keys, const char *token)
{
    struct kl_jws jws;
    if (keys == NULL || kl_jws_open(token, strlen(token), &jws, NULL) != KL_OK)
        return false;
    bool ok = kl_jws_verify(&jws, keys, NULL) == KL_OK;
    kl_jws_done(&jws);
    return ok;
}

/* {"alg":"RS256" as the first member, in base64url. */
static bool is_rs256(const char *token)
{
    static const char start[] = "eyJhbGciOiJSUzI1NiIs";
    return strncmp(token, start, sizeof start - 1) == 0;
}

static void run_group(const json_t *group, struct counts *c)
{
    json_t *set = set_of(group);
    struct kl_jwks *keys = NULL;
    size_t i;
    const json_t *test;
    if (set != NULL && kl_jwks_parse(set, &keys, NULL) != KL_OK)
        keys = NULL;
    json_array_foreach(json_object_get(group, "tests"), i, test)
    {
        const char *token = json_string_value(json_object_get(test, "jws"));
        bool valid = strcmp(json_string_value(json_object_get(test, "result")), "valid") == 0;
        bool accepted = token != NULL && accepts(keys, token);
        if (accepted && !valid)
            print_error("accepted test %lld\n", json_integer_value(json_object_get(test, "tcId")));
        c->tests++;
        c->accepted += accepted;
        c->wrong += accepted && !valid;
        c->missed += valid && !accepted && token != NULL && is_rs256(token);
    }
    kl_jwks_free(keys);
    json_decref(set);
}

static struct counts run(const char *name)
{
    char path[512];
    char *text = NULL;
    size_t n = 0, i;
    json_t *file = NULL;
    const json_t *group;
    struct counts c = {0};
    (void)snprintf(path, sizeof path, "%s/tests/fixtures/wycheproof/%s", getenv("KLUIS_SOURCE"),
                   name);
    assert_int_equal(kl_io_read_file(path, 1 << 20, &text, &n, NULL), KL_OK);
    file = json_loadb(text, n, 0, NULL);
    assert_non_null(file);
    json_array_foreach(json_object_get(file, "testGroups"), i, group) run_group(group, &c);
    json_decref(file);
    free(text);
    return c;
}

static void test_auth_wycheproof__signature(void **state)
{
    (void)state;
    struct counts c = run("json_web_signature_test.json");
    assert_int_equal(c.tests, 401);
    assert_int_equal(c.wrong, 0);
    assert_int_equal(c.missed, 0);
    assert_int_equal(c.accepted, 8);
}

static void test_auth_wycheproof__key(void **state)
{
    (void)state;
    struct counts c = run("json_web_key_test.json");
    assert_int_equal(c.tests, 26);
    assert_int_equal(c.wrong, 0);
    assert_int_equal(c.missed, 0);
    assert_int_equal(c.accepted, 1);
}

static void test_auth_wycheproof__crypto(void **state)
{
    (void)state;
    struct counts c = run("json_web_crypto_test.json");
    assert_int_equal(c.tests, 83);
    assert_int_equal(c.wrong, 0);
    assert_int_equal(c.missed, 0);
    assert_int_equal(c.accepted, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auth_wycheproof__signature),
        cmocka_unit_test(test_auth_wycheproof__key),
        cmocka_unit_test(test_auth_wycheproof__crypto),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
