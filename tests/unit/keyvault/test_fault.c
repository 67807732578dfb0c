#include "base/json.h"
#include "keyvault/fault.h"
#include "tests/unit/keyvault/key_support.h"

#include <string.h>

static json_t *body_of(enum kl_code code, const char *text)
{
    struct kl_err err = {.code = KL_OK};
    struct kl_buf out = KL_BUF_INIT(8192);
    json_t *root = NULL;
    (void)kl_fail(&err, code, "op", "%s", text);
    kl_fault_put(&out, &err);
    assert_int_equal(kl_json_parse(kl_buf_text(&out), out.len, &root, &err), KL_OK);
    kl_buf_done(&out);
    return root;
}

static const char *member(const json_t *root, const char *name)
{
    return json_string_value(json_object_get(json_object_get(root, "error"), name));
}

static void test_keyvault_fault__every_code_has_an_answer(void **state)
{
    (void)state;
    for (int code = KL_OK; code < KL_CODE_COUNT; code++) {
        struct kl_fault fault = kl_fault_of((enum kl_code)code);
        assert_true(fault.status >= 400 && fault.status <= 503);
        assert_true(fault.code != NULL && fault.code[0] != 0);
        assert_true(fault.retry == (fault.status == 503 || fault.status == 429));
        KL_AUTO(json) root = body_of((enum kl_code)code, "quote \" and\nline");
        assert_string_equal(member(root, "code"), fault.code);
        assert_true(member(root, "message")[0] != 0);
        const json_t *inner = json_object_get(json_object_get(root, "error"), "innererror");
        assert_true((inner != NULL) == (fault.inner != NULL));
        if (inner != NULL)
            assert_string_equal(json_string_value(json_object_get(inner, "code")), fault.inner);
    }
}

static void test_keyvault_fault__recorded_wording(void **state)
{
    (void)state;
    static const struct {
        enum kl_code code;
        int status;
        const char *word, *inner;
    } rows[] = {
        {KL_UNAUTHENTICATED, 401, "Unauthorized", NULL},
        {KL_FORBIDDEN, 403, "Forbidden", "ForbiddenByPolicy"},
        {KL_KEY_NOT_FOUND, 404, "KeyNotFound", NULL},
        {KL_DELETED_KEY_NOT_FOUND, 404, "KeyNotFound", NULL},
        {KL_KEY_DISABLED, 403, "Forbidden", "KeyDisabled"},
        {KL_KEY_EXPIRED, 403, "Forbidden", "KeyExpired"},
        {KL_KEY_NOT_YET_VALID, 403, "Forbidden", "KeyNotYetValid"},
        {KL_KEY_OP_FORBIDDEN, 403, "Forbidden", "KeyOperationForbidden"},
        {KL_NAME_DELETED, 409, "Conflict", "ObjectIsDeletedButRecoverable"},
        {KL_CONFLICT, 409, "Conflict", NULL},
        {KL_BAD_METHOD, 405, "BadParameter", NULL},
        {KL_ALG_MISMATCH, 400, "BadParameter", NULL},
        {KL_DECRYPT_FAILED, 400, "BadParameter", NULL},
        {KL_BACKUP_MALFORMED, 400, "Malformed backup blob", NULL},
        {KL_TOKEN_BUSY, 429, "Throttled", NULL},
        {KL_THROTTLED, 429, "Throttled", NULL},
        {KL_TOKEN_UNAVAILABLE, 503, "ServiceUnavailable", NULL},
        {KL_WRAP_GATE, 503, "ServiceUnavailable", NULL},
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct kl_fault fault = kl_fault_of(rows[i].code);
        assert_int_equal(fault.status, rows[i].status);
        assert_string_equal(fault.code, rows[i].word);
        if (rows[i].inner == NULL)
            assert_null(fault.inner);
        else
            assert_string_equal(fault.inner, rows[i].inner);
    }
    KL_AUTO(json) blob = body_of(KL_BACKUP_MALFORMED, "detail that must not show");
    assert_string_equal(member(blob, "message"),
                        "Backup blob contains invalid or corrupt version.");
}

/* A padding oracle needs two answers that differ. */
static void test_keyvault_fault__decryption_failures_are_one(void **state)
{
    (void)state;
    KL_AUTO(json) a = body_of(KL_DECRYPT_FAILED, "CKR_ENCRYPTED_DATA_INVALID");
    KL_AUTO(json) b = body_of(KL_DECRYPT_FAILED, "the length is wrong");
    assert_true(json_equal(a, b));
}

static void test_keyvault_fault__inside_stays_inside(void **state)
{
    (void)state;
    static const enum kl_code codes[] = {
        KL_IO,      KL_NO_SPACE, KL_OS_DENIED,         KL_CRYPTO,   KL_CORRUPT, KL_INTERNAL,
        KL_TIMEOUT, KL_CONFIG,   KL_TOKEN_UNAVAILABLE, KL_TOKEN_PIN};
    for (size_t i = 0; i < KL_COUNT(codes); i++) {
        KL_AUTO(json) root = body_of(codes[i], "/var/lib/kluis/kluis.db: disk I/O error");
        assert_null(strstr(member(root, "message"), "/var"));
    }
    KL_AUTO(json) shown = body_of(KL_BAD_INPUT, "kty is required");
    assert_string_equal(member(shown, "message"), "kty is required");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keyvault_fault__every_code_has_an_answer),
        cmocka_unit_test(test_keyvault_fault__recorded_wording),
        cmocka_unit_test(test_keyvault_fault__decryption_failures_are_one),
        cmocka_unit_test(test_keyvault_fault__inside_stays_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
