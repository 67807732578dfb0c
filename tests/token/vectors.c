#include "tests/token/vectors.h"

#include "base/encoding.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <jansson.h>
#include <string.h>

const struct oaep_file_row oaep_files[] = {
    {"rsa_oaep_2048_sha1_mgf1sha1_test.json", KL_ALG_OAEP_SHA1},
    {"rsa_oaep_2048_sha256_mgf1sha256_test.json", KL_ALG_OAEP_SHA256},
    {"rsa_oaep_3072_sha256_mgf1sha256_test.json", KL_ALG_OAEP_SHA256},
    {"rsa_oaep_4096_sha256_mgf1sha256_test.json", KL_ALG_OAEP_SHA256},
    {"rsa_oaep_2048_sha256_mgf1sha1_test.json", KL_ALG_OAEP_SHA256},
};
const size_t oaep_file_count = KL_COUNT(oaep_files);

static size_t unhex(json_t *object, const char *key, uint8_t *out, size_t room)
{
    const char *hex = json_string_value(json_object_get(object, key));
    assert_non_null(hex);
    size_t n = strlen(hex) / 2;
    assert_true(n <= room);
    assert_int_equal(kl_unhex(hex, out, n), KL_OK);
    return n;
}

static const char *text(json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    assert_non_null(value);
    return value;
}

void vectors_read(const char *name, struct oaep_file *ret)
{
    char path[512];
    json_error_t why;
    const char *source = getenv("KLUIS_SOURCE");
    assert_non_null(source);
    (void)snprintf(path, sizeof path, "%s/tests/fixtures/wycheproof/%s", source, name);
    json_t *all = json_load_file(path, 0, &why);
    if (all == NULL)
        fail_msg("%s: %s", path, why.text);
    json_t *groups = json_object_get(all, "testGroups");
    assert_int_equal(json_array_size(groups), 1);
    json_t *group = json_array_get(groups, 0);
    bool one_hash = strcmp(text(group, "sha"), text(group, "mgfSha")) == 0;
    json_t *tests = json_object_get(group, "tests");
    *ret = (struct oaep_file){.count = json_array_size(tests)};
    assert_true(ret->count > 30);
    ret->key_len = unhex(group, "privateKeyPkcs8", ret->key, sizeof ret->key);
    ret->vectors = calloc(ret->count, sizeof *ret->vectors);
    assert_non_null(ret->vectors);
    for (size_t i = 0; i < ret->count; i++) {
        json_t *test = json_array_get(tests, i);
        struct oaep_vector *v = &ret->vectors[i];
        v->id = (int)json_integer_value(json_object_get(test, "tcId"));
        v->good =
            one_hash && strcmp(text(test, "result"), "valid") == 0 && text(test, "label")[0] == 0;
        v->plain_len = unhex(test, "msg", v->plain, sizeof v->plain);
        v->cipher_len = unhex(test, "ct", v->cipher, sizeof v->cipher);
    }
    json_decref(all);
}

void vectors_done(struct oaep_file *f)
{
    free(f->vectors);
}
