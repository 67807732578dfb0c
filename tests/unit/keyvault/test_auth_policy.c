#include "keyvault/auth/policy.h"

#include "tests/unit/keyvault/auth_support.h"

#include <ctype.h>
#include <string.h>

static enum kl_code parse(const char *text, struct kl_policy *ret, struct kl_err *err)
{
    json_t *json = NULL;
    assert_int_equal(kl_json_parse(text, strlen(text), &json, NULL), KL_OK);
    enum kl_code code = kl_policy_parse(json, ret, err);
    json_decref(json);
    return code;
}

/* Every word alone, in both cases, gives exactly its bit, and comes back as it was. */
static void test_auth_policy__words_round_trip(void **state)
{
    (void)state;
    for (int i = 1; i < KL_PERMISSION_COUNT; i++) {
        enum kl_permission p = (enum kl_permission)i;
        const char *kind = kl_permission_kind_word(kl_permission_kind_of(p));
        char text[128], upper[64];
        assert_int_not_equal(kl_permission_bit(p), 0);
        (void)snprintf(upper, sizeof upper, "%s", kl_permission_word(p));
        for (char *c = upper; *c != 0; c++)
            *c = (char)toupper((unsigned char)*c);
        (void)snprintf(text, sizeof text, "{\"%s\":[\"%s\"]}", kind, upper);
        struct kl_policy policy = {0};
        assert_int_equal(parse(text, &policy, NULL), KL_OK);
        for (int k = 1; k < KL_PERMISSION_COUNT; k++)
            assert_int_equal(kl_policy_allows(&policy, (enum kl_permission)k), k == i);
        json_t *back = kl_policy_format(&policy);
        const json_t *words = json_object_get(back, kind);
        assert_int_equal(json_array_size(words), 1);
        assert_string_equal(json_string_value(json_array_get(words, 0)), kl_permission_word(p));
        json_decref(back);
    }
}

/* What databases hold: these numbers never change. */
static void test_auth_policy__stored_bits(void **state)
{
    (void)state;
    static const struct {
        enum kl_permission p;
        uint64_t bit;
    } rows[] = {
        {KL_MAY_KEY_ENCRYPT, 1},       {KL_MAY_KEY_UNWRAP, 8},
        {KL_MAY_KEY_PURGE, 1 << 15},   {KL_MAY_KEY_SETROTATIONPOLICY, 1 << 19},
        {KL_MAY_VAULT_GET, 1},         {KL_MAY_VAULT_SETPOLICY, 1 << 7},
        {KL_MAY_SECRET_PURGE, 1 << 7}, {KL_MAY_CERTIFICATE_RESTORE, 1 << 15},
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++)
        assert_int_equal(kl_permission_bit(rows[i].p), rows[i].bit);
    assert_int_equal(kl_permission_all(KL_PERM_KEYS), (1 << 20) - 1);
    assert_int_equal(kl_permission_all(KL_PERM_SECRETS), (1 << 8) - 1);
    assert_int_equal(kl_permission_all(KL_PERM_CERTIFICATES), (1 << 16) - 1);
    assert_int_equal(kl_permission_all(KL_PERM_VAULT), (1 << 8) - 1);
}

static void test_auth_policy__all(void **state)
{
    (void)state;
    struct kl_policy policy = {.object_id = AUTH_OID};
    assert_int_equal(parse("{\"keys\":[\"ALL\"],\"vault\":[],\"secrets\":null}", &policy, NULL),
                     KL_OK);
    assert_int_equal(policy.allowed[KL_PERM_KEYS], kl_permission_all(KL_PERM_KEYS));
    assert_int_equal(policy.allowed[KL_PERM_VAULT], 0);
    assert_int_equal(policy.allowed[KL_PERM_SECRETS], 0);
    assert_string_equal(policy.object_id, AUTH_OID);
}

static void test_auth_policy__refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text, *names;
    } rows[] = {
        {"{\"keys\":[\"fly\"]}", "fly"},
        {"{\"keys\":[\"setPolicy\"]}", "setPolicy"},
        {"{\"vault\":[\"wrapKey\"]}", "wrapKey"},
        {"{\"storage\":[\"get\"]}", "storage"},
        {"{\"keys\":\"get\"}", "keys"},
        {"{\"keys\":[1]}", "keys"},
        {"{\"keys\":{}}", "keys"},
        {"[]", "object"},
        {"{\"keys\":[\"\"]}", "keys"},
        {"{\"Keys\":[\"get\"]}", "Keys"},
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct kl_policy policy = {.allowed = {7, 7, 7, 7}};
        struct kl_err err;
        assert_int_equal(parse(rows[i].text, &policy, &err), KL_BAD_INPUT);
        assert_non_null(strstr(err.text, rows[i].names));
        assert_int_equal(policy.allowed[0], 7);
    }
}

static void test_auth_policy__nothing_is_never_allowed(void **state)
{
    (void)state;
    struct kl_policy policy = {.allowed = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}};
    assert_false(kl_policy_allows(&policy, KL_MAY_NOTHING));
    assert_string_equal(kl_permission_word(KL_MAY_NOTHING), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auth_policy__words_round_trip),
        cmocka_unit_test(test_auth_policy__stored_bits),
        cmocka_unit_test(test_auth_policy__all),
        cmocka_unit_test(test_auth_policy__refusals),
        cmocka_unit_test(test_auth_policy__nothing_is_never_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
