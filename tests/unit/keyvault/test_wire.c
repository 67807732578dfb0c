#include "keyvault/wire.h"

#include "tests/unit/keyvault/key_support.h"

#include <string.h>

static struct kl_token *token;
static const struct kl_origin origin = {.host = "demo.vault.localhost", .port = 8443};
static const struct kl_vault vault = {.name = "demo", .retention_days = 90};

static int set_up(void **state)
{
    (void)state;
    token = fake_token_new("hsm", "d");
    return token != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    kl_token_close(token);
    return 0;
}

static json_t *parsed(const char *text)
{
    json_t *root = NULL;
    struct kl_err err;
    if (kl_json_parse(text, strlen(text), &root, &err) != KL_OK)
        fail_msg("%s: %s", text, err.text);
    return root;
}

static json_t *parsed_buf(struct kl_buf *b)
{
    assert_false(kl_buf_failed(b));
    json_t *root = parsed(kl_buf_text(b));
    kl_buf_done(b);
    return root;
}

static const char *text_at(const json_t *root, const char *outer, const char *inner)
{
    return json_string_value(json_object_get(json_object_get(root, outer), inner));
}

static enum kl_code create(const char *text, struct kl_key_create *how, struct kl_wire_tags *tags)
{
    KL_AUTO(json) body = parsed(text);
    struct kl_err err;
    *tags = (struct kl_wire_tags){.text = KL_BUF_INIT(0)};
    return kl_wire_parse_create(body, how, tags, &err);
}

static void test_keyvault_wire__create_presets(void **state)
{
    (void)state;
    struct kl_key_create how;
    struct kl_wire_tags tags;
    assert_int_equal(create("{\"kty\":\"RSA\",\"attributes\":{}}", &how, &tags), KL_OK);
    assert_int_equal(how.spec.type, KL_KEY_RSA);
    assert_int_equal(how.spec.bits, 2048);
    assert_int_equal(how.ops, 0);
    assert_true(how.attrs.enabled && !how.attrs.has_nbf && !how.attrs.has_exp && !how.hsm);
    assert_null(how.tags_json);
    assert_true(how.spec.may_decrypt && how.spec.may_sign);
    assert_int_equal(create("{\"kty\":\"EC-HSM\"}", &how, &tags), KL_OK);
    assert_true(how.hsm && how.spec.curve == KL_CURVE_P256 && !how.spec.may_decrypt);
}

static void test_keyvault_wire__create_members(void **state)
{
    (void)state;
    struct kl_key_create how;
    struct kl_wire_tags tags;
    assert_int_equal(
        create("{\"kty\":\"RSA-HSM\",\"key_size\":4096,\"key_ops\":[\"wrapKey\",\"unwrapkey\"],"
               "\"attributes\":{\"enabled\":false,\"nbf\":5,\"exp\":-2075160191},"
               "\"tags\":{\"a\":\"\\\"\",\"\":\"\"},\"kluis\":{\"profile\":\"fixed\"}}",
               &how, &tags),
        KL_OK);
    assert_true(how.hsm && how.spec.bits == 4096 && !how.attrs.enabled);
    assert_int_equal(how.ops, KL_OP_WRAP | KL_OP_UNWRAP);
    assert_true(how.attrs.has_nbf && how.attrs.nbf == 5);
    assert_true(how.attrs.has_exp && how.attrs.exp == -2075160191);
    assert_int_equal(how.spec.profile, KL_PROFILE_FIXED);
    KL_AUTO(json) stored = parsed(how.tags_json);
    assert_string_equal(json_string_value(json_object_get(stored, "a")), "\"");
    kl_wire_tags_done(&tags);
}

static void test_keyvault_wire__create_refusals(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{}",
        "{\"kty\":null}",
        "{\"kty\":7}",
        "{\"kty\":\"oct\"}",
        "{\"kty\":\"rsa\"}",
        "{\"kty\":\"RSA\",\"key_size\":1024}",
        "{\"kty\":\"RSA\",\"key_size\":2049}",
        "{\"kty\":\"RSA\",\"key_size\":\"2048\"}",
        "{\"kty\":\"RSA\",\"key_size\":-2048}",
        "{\"kty\":\"RSA\",\"public_exponent\":3}",
        "{\"kty\":\"RSA\",\"key_ops\":[\"fly\"]}",
        "{\"kty\":\"RSA\",\"key_ops\":\"sign\"}",
        "{\"kty\":\"RSA\",\"key_ops\":[1]}",
        "{\"kty\":\"EC\",\"key_ops\":[\"encrypt\"]}",
        "{\"kty\":\"EC\",\"crv\":\"P-256K\"}",
        "{\"kty\":\"EC\",\"crv\":\"\"}",
        "{\"kty\":\"RSA\",\"attributes\":[]}",
        "{\"kty\":\"RSA\",\"attributes\":{\"enabled\":\"yes\"}}",
        "{\"kty\":\"RSA\",\"attributes\":{\"nbf\":\"2030\"}}",
        "{\"kty\":\"RSA\",\"attributes\":{\"exportable\":true}}",
        "{\"kty\":\"RSA\",\"release_policy\":{}}",
        "{\"kty\":\"RSA\",\"tags\":[]}",
        "{\"kty\":\"RSA\",\"tags\":{\"a\":1}}",
        "{\"kty\":\"RSA\",\"kluis\":{\"profile\":\"domain-backed\"}}",
        "{\"kty\":\"RSA\",\"kluis\":1}",
    };
    struct kl_key_create how;
    struct kl_wire_tags tags;
    for (size_t i = 0; i < KL_COUNT(bad); i++) {
        if (create(bad[i], &how, &tags) != KL_BAD_INPUT)
            fail_msg("accepted: %s", bad[i]);
        kl_wire_tags_done(&tags);
    }
}

static enum kl_code create_with_tags(unsigned count, size_t characters)
{
    struct kl_buf text = KL_BUF_INIT(1 << 16);
    struct kl_key_create how;
    struct kl_wire_tags tags;
    kl_buf_puts(&text, "{\"kty\":\"RSA\",\"tags\":{");
    for (unsigned i = 0; i < count; i++) {
        kl_buf_printf(&text, "%s\"n%u\":\"", i > 0 ? "," : "", i);
        for (size_t k = 0; k < characters; k++)
            kl_buf_puts(&text, "\xc3\xa9"); /* two bytes, one character */
        kl_buf_putc(&text, '"');
    }
    kl_buf_puts(&text, "}}");
    enum kl_code code = create(kl_buf_text(&text), &how, &tags);
    kl_wire_tags_done(&tags);
    kl_buf_done(&text);
    return code;
}

static void test_keyvault_wire__tag_limits(void **state)
{
    (void)state;
    assert_int_equal(create_with_tags(15, 256), KL_OK);
    assert_int_equal(create_with_tags(16, 1), KL_BAD_INPUT);
    assert_int_equal(create_with_tags(1, 257), KL_BAD_INPUT);
}

static void test_keyvault_wire__patch_absent_is_unchanged(void **state)
{
    (void)state;
    struct kl_wire_patch p;
    KL_AUTO(json) none = parsed("{\"attributes\":{\"exp\":null},\"tags\":null,\"key_ops\":null}");
    KL_AUTO(json) empty = parsed("{\"key_ops\":[]}");
    assert_int_equal(kl_wire_parse_patch(empty, KL_KEY_RSA, &p, NULL), KL_OK);
    assert_null(p.patch.ops);
    assert_int_equal(kl_wire_parse_patch(none, KL_KEY_RSA, &p, NULL), KL_OK);
    assert_null(p.patch.enabled);
    assert_null(p.patch.nbf);
    assert_null(p.patch.exp);
    assert_null(p.patch.ops);
    assert_null(p.patch.tags_json);
    KL_AUTO(json)
    all = parsed("{\"attributes\":{\"enabled\":false,\"nbf\":1,\"exp\":2},\"tags\":{},"
                 "\"key_ops\":[\"sign\"]}");
    assert_int_equal(kl_wire_parse_patch(all, KL_KEY_EC, &p, NULL), KL_OK);
    assert_false(*p.patch.enabled);
    assert_int_equal(*p.patch.nbf, 1);
    assert_int_equal(*p.patch.exp, 2);
    assert_int_equal(*p.patch.ops, KL_OP_SIGN);
    assert_string_equal(p.patch.tags_json, "{}");
    kl_wire_tags_done(&p.tags);
    KL_AUTO(json) wrong = parsed("{\"key_ops\":[\"wrapKey\"]}");
    assert_int_equal(kl_wire_parse_patch(wrong, KL_KEY_EC, &p, NULL), KL_BAD_INPUT);
}

static void test_keyvault_wire__bundle(void **state)
{
    (void)state;
    struct kl_key_version *k = key_on(token, 2048, KL_CURVE_NONE);
    struct kl_buf out = KL_BUF_INIT(KL_ANSWER_CEILING);
    k->tags_json = strdup("{\"team\":\"a\"}");
    k->created = 1700000000;
    kl_wire_put_bundle(&out, &origin, &vault, k);
    KL_AUTO(json) root = parsed_buf(&out);
    assert_string_equal(text_at(root, "key", "kid"), "https://demo.vault.localhost:8443/keys/Kek/"
                                                     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert_string_equal(text_at(root, "key", "kty"), "RSA");
    assert_string_equal(text_at(root, "key", "e"), "AQAB");
    assert_int_equal(strlen(text_at(root, "key", "n")), 342);
    assert_int_equal(json_array_size(json_object_get(json_object_get(root, "key"), "key_ops")), 6);
    assert_string_equal(text_at(root, "attributes", "recoveryLevel"), "Recoverable+Purgeable");
    assert_string_equal(text_at(root, "attributes", "hsmPlatform"), "0");
    assert_null(json_object_get(json_object_get(root, "attributes"), "exp"));
    assert_string_equal(text_at(root, "tags", "team"), "a");
    assert_string_equal(text_at(root, "kluis", "profile"), "fixed");
    assert_string_equal(text_at(root, "kluis", "token"), "hsm");
    kl_key_version_unref(k);
}

/* x and y keep their leading zero bytes (RFC 7518 section 6.2.1.2). */
static void test_keyvault_wire__ec_width(void **state)
{
    (void)state;
    static const struct {
        enum kl_curve curve;
        size_t characters;
        const char *name;
    } rows[] = {
        {KL_CURVE_P256, 43, "P-256"}, {KL_CURVE_P384, 64, "P-384"}, {KL_CURVE_P521, 88, "P-521"}};
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct kl_key_version *k = key_on(token, 0, rows[i].curve);
        struct kl_buf out = KL_BUF_INIT(KL_ANSWER_CEILING);
        k->hsm = true;
        kl_wire_put_bundle(&out, &origin, &vault, k);
        KL_AUTO(json) root = parsed_buf(&out);
        assert_string_equal(text_at(root, "key", "kty"), "EC-HSM");
        assert_string_equal(text_at(root, "key", "crv"), rows[i].name);
        assert_int_equal(strlen(text_at(root, "key", "x")), rows[i].characters);
        assert_int_equal(strlen(text_at(root, "key", "y")), rows[i].characters);
        kl_key_version_unref(k);
    }
}

static void test_keyvault_wire__recovery_levels(void **state)
{
    (void)state;
    static const struct {
        int days;
        bool protected;
        const char *level;
    } rows[] = {{90, false, "Recoverable+Purgeable"},
                {90, true, "Recoverable"},
                {89, false, "CustomizedRecoverable+Purgeable"},
                {7, true, "CustomizedRecoverable"}};
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        const struct kl_vault v = {.retention_days = rows[i].days,
                                   .purge_protection = rows[i].protected};
        assert_string_equal(kl_wire_recovery_level(&v), rows[i].level);
    }
}

static void test_keyvault_wire__deleted(void **state)
{
    (void)state;
    struct kl_deleted_key d = {
        .latest = key_on(token, 0, KL_CURVE_P256), .deleted_at = 10, .purge_at = 20};
    struct kl_buf out = KL_BUF_INIT(KL_ANSWER_CEILING);
    kl_wire_put_deleted(&out, &origin, &vault, &d);
    KL_AUTO(json) root = parsed_buf(&out);
    assert_string_equal(json_string_value(json_object_get(root, "recoveryId")),
                        "https://demo.vault.localhost:8443/deletedkeys/Kek");
    assert_int_equal(json_integer_value(json_object_get(root, "scheduledPurgeDate")), 20);
    kl_key_version_unref(d.latest);
}

static void test_keyvault_wire__skiptoken(void **state)
{
    (void)state;
    char marker[64];
    struct kl_buf t = KL_BUF_INIT(1024);
    kl_wire_put_skiptoken(&t, "keys", "NAME");
    assert_int_equal(kl_wire_parse_skiptoken(kl_buf_text(&t), "keys", marker, sizeof marker, NULL),
                     KL_OK);
    assert_string_equal(marker, "NAME");
    assert_int_equal(
        kl_wire_parse_skiptoken(kl_buf_text(&t), "deletedkeys", marker, sizeof marker, NULL),
        KL_BAD_INPUT);
    assert_int_equal(kl_wire_parse_skiptoken(kl_buf_text(&t), "keys", marker, 4, NULL),
                     KL_BAD_INPUT);
    kl_buf_done(&t);
    assert_int_equal(kl_wire_parse_skiptoken("?", "keys", marker, sizeof marker, NULL),
                     KL_BAD_INPUT);
    assert_int_equal(kl_wire_parse_skiptoken("AAAA", "keys", marker, sizeof marker, NULL),
                     KL_BAD_INPUT);
}

static void test_keyvault_wire__bytes(void **state)
{
    (void)state;
    uint8_t out[4];
    size_t n = 0;
    KL_AUTO(json)
    body = parsed("{\"ok\":\"AQID\",\"padded\":\"AQ==\",\"long\":\"AQIDBAUG\",\"bad\":\"A+/=\","
                  "\"empty\":\"\",\"number\":1}");
    assert_int_equal(kl_wire_bytes(body, "ok", out, sizeof out, &n, NULL), KL_OK);
    assert_int_equal(n, 3);
    assert_int_equal(kl_wire_bytes(body, "padded", out, sizeof out, &n, NULL), KL_OK);
    assert_int_equal(n, 1);
    static const char *const bad[] = {"long", "bad", "empty", "number", "absent"};
    for (size_t i = 0; i < KL_COUNT(bad); i++)
        assert_int_equal(kl_wire_bytes(body, bad[i], out, sizeof out, &n, NULL), KL_BAD_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keyvault_wire__create_presets),
        cmocka_unit_test(test_keyvault_wire__create_members),
        cmocka_unit_test(test_keyvault_wire__create_refusals),
        cmocka_unit_test(test_keyvault_wire__tag_limits),
        cmocka_unit_test(test_keyvault_wire__patch_absent_is_unchanged),
        cmocka_unit_test(test_keyvault_wire__bundle),
        cmocka_unit_test(test_keyvault_wire__ec_width),
        cmocka_unit_test(test_keyvault_wire__recovery_levels),
        cmocka_unit_test(test_keyvault_wire__deleted),
        cmocka_unit_test(test_keyvault_wire__skiptoken),
        cmocka_unit_test(test_keyvault_wire__bytes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
