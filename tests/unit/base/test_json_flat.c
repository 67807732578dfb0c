#include "tests/unit/base/fixture.h"

#include "base/json.h"
#include "base/json_flat.h"

#include <string.h>

static void test_base_json_flat__members(void **state)
{
    static const char text[] = " {\"alg\" :\t\"RSA-OAEP\",\r\n\"value\":\"AQ_-\", \"\": \"\"} \n";
    struct kl_flat flat;
    (void)state;
    assert_true(kl_json_flat(text, sizeof text - 1, &flat));
    assert_int_equal(flat.count, 3);
    struct kl_span alg = kl_flat_get(&flat, "alg"), empty = kl_flat_get(&flat, "");
    assert_int_equal(alg.n, 8);
    assert_memory_equal(alg.text, "RSA-OAEP", 8);
    assert_non_null(empty.text);
    assert_int_equal(empty.n, 0);
    assert_null(kl_flat_get(&flat, "al").text);
    assert_null(kl_flat_get(&flat, "algo").text);
}

static void test_base_json_flat__left_to_the_tree(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "{}",
        "[]",
        "\"a\"",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":\"b",
        "{\"a\":\"b\"",
        "{\"a\":\"b\",}",
        "{\"a\":\"b\"}}",
        "{\"a\":\"b\"} x",
        "{\"a\":1}",
        "{\"a\":null}",
        "{\"a\":[\"b\"]}",
        "{\"a\":{\"b\":\"c\"}}",
        "{\"a\":\"b\" \"c\":\"d\"}",
        "{\"a\":\"b\",\"a\":\"c\"}",
        "{\"a\":\"\\u0062\"}",
        "{\"\\u0061\":\"b\"}",
        "{\"a\":\"b\\\"}",
        "{\"a\":\"\xc3\xa4\"}",
        "{\"a\":\"\x7f\"}",
        "{\"a\":\"\n\"}",
        "{'a':'b'}",
        "{\"a\":\"\",\"b\":\"\",\"c\":\"\",\"d\":\"\",\"e\":\"\",\"f\":\"\",\"g\":\"\",\"h\":\"\",\"i\":\"\"}",
    };
    (void)state;
    for (size_t i = 0; i < KL_COUNT(texts); i++) {
        struct kl_flat flat = {.count = 77};
        assert_false(kl_json_flat(texts[i], strlen(texts[i]), &flat));
        assert_int_equal(flat.count, 77);
    }
    assert_false(kl_json_flat("{\"a\":\"\0\"}", 9, &(struct kl_flat){.count = 0}));
}

/* Every byte at every place of a body: whatever is taken, the tree says the same of it. */
static void test_base_json_flat__agrees_with_the_tree(void **state)
{
    static const char text[] = "{\"alg\":\"x\",\"v\": \"yz\"}";
    char other[sizeof text];
    size_t taken = 0;
    (void)state;
    for (size_t at = 0; at < sizeof text - 1; at++) {
        for (int c = 0; c < 256; c++) {
            struct kl_flat flat;
            json_t *tree = NULL;
            memcpy(other, text, sizeof other);
            other[at] = (char)c;
            if (!kl_json_flat(other, sizeof text - 1, &flat))
                continue;
            taken++;
            assert_int_equal(kl_json_parse(other, sizeof text - 1, &tree, NULL), KL_OK);
            assert_int_equal(json_object_size(tree), flat.count);
            for (size_t i = 0; i < flat.count; i++) {
                char name[32] = "";
                memcpy(name, flat.members[i].name.text, flat.members[i].name.n);
                const json_t *value = json_object_get(tree, name);
                assert_int_equal(json_string_length(value), flat.members[i].value.n);
                assert_memory_equal(json_string_value(value), flat.members[i].value.text,
                                    flat.members[i].value.n);
            }
            json_decref(tree);
        }
    }
    assert_true(taken > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_json_flat__members),
        cmocka_unit_test(test_base_json_flat__left_to_the_tree),
        cmocka_unit_test(test_base_json_flat__agrees_with_the_tree),
    };
    return cmocka_run_group_tests_name("base.json_flat", tests, NULL, NULL);
}
