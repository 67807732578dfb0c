#include "tests/unit/base/fixture.h"

#include "base/json.h"

#include <stdlib.h>
#include <string.h>

static enum kl_code parse(const char *text, size_t n, struct kl_err *err)
{
    KL_AUTO(json) value = NULL;
    enum kl_code code = kl_json_parse(text, n, &value, err);
    assert_int_equal(code == KL_OK, value != NULL);
    return code;
}

static void test_base_json__accepts(void **state)
{
    static const char *const rows[] = {"{}",
                                       "[]",
                                       " {\"a\":[1,2,{\"b\":null}]} ",
                                       "\"x\"",
                                       "1",
                                       "true",
                                       "{\"[[[[[[[[[[[[[[[[[[[[[[[[[[\":\"]}\\\"}\"}"};
    (void)state;
    for (size_t i = 0; i < KL_COUNT(rows); i++)
        assert_int_equal(parse(rows[i], strlen(rows[i]), NULL), KL_OK);
}

static void test_base_json__refuses(void **state)
{
    static const struct {
        const char *text;
        size_t n;
        const char *words;
    } rows[] = {
        {"", 0, "unexpected end"},
        {"{", 1, "unexpected end"},
        {"{} {}", 5, "text behind"},
        {"{}x", 3, "text behind"},
        {"{\"a\":1,\"a\":2}", 13, "twice"},
        {"{\"a\":\"\\u0000\"}", 14, "U+0000"},
        {"{\"\\u0000\":1}", 12, "U+0000"},
        {"{}\0", 3, "zero byte"},
        {"[\"\xc0\xaf\"]", 6, "UTF-8"},
        {"[\"\xff\"]", 5, "UTF-8"},
        {"[1e999]", 7, "range"},
        {"[99999999999999999999]", 22, "range"},
        {"{a:1}", 5, "syntax"},
        {"[1,]", 4, "syntax"},
        {"[01]", 4, "syntax"},
        {"NaN", 3, "syntax"},
        {"]]]]]]", 6, "syntax"},
    };
    (void)state;
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct kl_err err = {0};
        assert_int_equal(parse(rows[i].text, rows[i].n, &err), KL_BAD_INPUT);
        assert_non_null(strstr(err.text, rows[i].words));
        assert_non_null(strstr(err.text, "at byte"));
    }
}

static void test_base_json__depth(void **state)
{
    char text[2 * KL_JSON_MAX_DEPTH + 4];
    (void)state;
    for (size_t depth = KL_JSON_MAX_DEPTH; depth <= KL_JSON_MAX_DEPTH + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_int_equal(parse(text, 2 * depth, NULL),
                         depth > KL_JSON_MAX_DEPTH ? KL_BAD_INPUT : KL_OK);
    }
    const size_t n = 1 << 20; /* a bomb: found without recursion */
    char *bomb = malloc(n);
    memset(bomb, '[', n);
    assert_int_equal(parse(bomb, n, NULL), KL_BAD_INPUT);
    free(bomb);
}

static void test_base_json__members(void **state)
{
    (void)state;
    for (unsigned count = KL_JSON_MAX_MEMBERS; count <= KL_JSON_MAX_MEMBERS + 1; count++) {
        char *text = malloc(count * 16 + 16);
        size_t n = 0;
        text[n++] = '{';
        for (unsigned i = 0; i < count; i++)
            n += (size_t)snprintf(text + n, 16, "%s\"m%u\":[1,2]", i > 0 ? "," : "", i);
        text[n++] = '}';
        assert_int_equal(parse(text, n, NULL), count > KL_JSON_MAX_MEMBERS ? KL_BAD_INPUT : KL_OK);
        free(text);
    }
}

/* Small in bytes, large in memory. */
static void test_base_json__values(void **state)
{
    (void)state;
    for (unsigned count = KL_JSON_MAX_VALUES; count <= KL_JSON_MAX_VALUES + 1; count++) {
        char *text = malloc(2 * (size_t)count + 2);
        size_t n = 0;
        text[n++] = '[';
        for (unsigned i = 0; i < count; i++) {
            text[n++] = '1';
            text[n++] = i + 1 < count ? ',' : ']';
        }
        assert_int_equal(parse(text, n, NULL), count > KL_JSON_MAX_VALUES ? KL_BAD_INPUT : KL_OK);
        free(text);
    }
}

static void test_base_json__errors_hold_no_content(void **state)
{
    static const char text[] = "{\"value\":\"topsecret\" \"x\"}";
    struct kl_err err = {0};
    (void)state;
    assert_int_equal(parse(text, sizeof text - 1, &err), KL_BAD_INPUT);
    assert_null(strstr(err.text, "topsecret"));
    assert_null(strstr(err.detail, "topsecret"));
}

static void test_base_json__typed_reads(void **state)
{
    static const char text[] =
        "{\"s\":\"x\",\"n\":null,\"i\":7,\"r\":7.0,\"b\":true,\"big\":9223372036854775807}";
    KL_AUTO(json) o = NULL;
    const char *s = "preset";
    int64_t i = 5;
    bool b = false;
    struct kl_err err = {0};
    (void)state;
    assert_int_equal(kl_json_parse(text, sizeof text - 1, &o, NULL), KL_OK);
    assert_int_equal(kl_json_string(o, "absent", &s, NULL), KL_OK);
    assert_int_equal(kl_json_string(o, "n", &s, NULL), KL_OK);
    assert_string_equal(s, "preset");
    assert_int_equal(kl_json_string(o, "s", &s, NULL), KL_OK);
    assert_string_equal(s, "x");
    assert_int_equal(kl_json_string(o, "i", &s, &err), KL_BAD_INPUT);
    assert_string_equal(err.text, "i must be a string");
    assert_int_equal(kl_json_int(o, "n", 0, 9, &i, NULL), KL_OK);
    assert_int_equal(i, 5);
    assert_int_equal(kl_json_int(o, "i", 0, 7, &i, NULL), KL_OK);
    assert_int_equal(i, 7);
    assert_int_equal(kl_json_int(o, "i", 0, 6, &i, NULL), KL_BAD_INPUT);
    assert_int_equal(kl_json_int(o, "i", 8, 9, &i, NULL), KL_BAD_INPUT);
    assert_int_equal(kl_json_int(o, "r", 0, 9, &i, NULL), KL_BAD_INPUT);
    assert_int_equal(kl_json_int(o, "s", 0, 9, &i, NULL), KL_BAD_INPUT);
    assert_int_equal(kl_json_int(o, "big", INT64_MIN, INT64_MAX, &i, NULL), KL_OK);
    assert_true(i == INT64_MAX);
    assert_int_equal(kl_json_bool(o, "b", &b, NULL), KL_OK);
    assert_true(b);
    assert_int_equal(kl_json_bool(o, "i", &b, NULL), KL_BAD_INPUT);
    assert_int_equal(kl_json_string(NULL, "s", &s, NULL), KL_OK);
}

static void test_base_json__file(void **state)
{
    KL_AUTO(char) good = fixture_file(*state, "good.json", "{\"a\":1}\n", 8);
    KL_AUTO(char) bad = fixture_file(*state, "bad.json", "{\"a\":}", 6);
    KL_AUTO(json) value = NULL;
    struct kl_err err = {0};
    assert_int_equal(kl_json_read_file(good, &value, NULL), KL_OK);
    KL_AUTO(json) none = NULL;
    assert_int_equal(kl_json_read_file(bad, &none, &err), KL_BAD_INPUT);
    assert_memory_equal(err.text, bad, strlen(bad));
    assert_int_equal(kl_json_read_file("/nonexistent", &none, NULL), KL_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_json__accepts),
        cmocka_unit_test(test_base_json__refuses),
        cmocka_unit_test(test_base_json__depth),
        cmocka_unit_test(test_base_json__members),
        cmocka_unit_test(test_base_json__values),
        cmocka_unit_test(test_base_json__errors_hold_no_content),
        cmocka_unit_test(test_base_json__typed_reads),
        cmocka_unit_test(test_base_json__file),
    };
    return cmocka_run_group_tests_name("base.json", tests, fixture_folder, fixture_folder_gone);
}
