#include "tests/unit/base/fixture.h"

#include "base/encoding.h"

#include <openssl/evp.h>
#include <string.h>

/* RFC 4648 section 10, and two that need the last two characters of the alphabets */
static const struct {
    const char *bytes;
    size_t n;
    const char *standard, *url;
} vectors[] = {
    {"", 0, "", ""},
    {"f", 1, "Zg==", "Zg"},
    {"fo", 2, "Zm8=", "Zm8"},
    {"foo", 3, "Zm9v", "Zm9v"},
    {"foob", 4, "Zm9vYg==", "Zm9vYg"},
    {"fooba", 5, "Zm9vYmE=", "Zm9vYmE"},
    {"foobar", 6, "Zm9vYmFy", "Zm9vYmFy"},
    {"\xfb\xef\xbe", 3, "++++", "----"},
    {"\xff\xff\xff", 3, "////", "____"},
};

static void test_base_encoding__base64_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < KL_COUNT(vectors); i++) {
        struct kl_buf b = KL_BUF_INIT(100);
        char out[16];
        size_t n = 99;
        kl_b64url_put(&b, vectors[i].bytes, vectors[i].n);
        assert_string_equal(kl_buf_text(&b), vectors[i].url);
        assert_int_equal(b.len, KL_B64URL_LEN(vectors[i].n));
        assert_int_equal(
            kl_b64url_decode(vectors[i].url, strlen(vectors[i].url), out, vectors[i].n, &n), KL_OK);
        assert_int_equal(n, vectors[i].n);
        assert_memory_equal(out, vectors[i].bytes, n);
        n = 99;
        assert_int_equal(
            kl_b64_decode(vectors[i].standard, strlen(vectors[i].standard), out, sizeof out, &n),
            KL_OK);
        assert_int_equal(n, vectors[i].n);
        kl_buf_done(&b);
    }
}

static void test_base_encoding__base64_refusals(void **state)
{
    static const char *const bad_url[] = {"Z",      "Zh",       "Zm9",   "Zm+v",   "Zm/v", "Zm9v=",
                                          "Zg=",    "Zg===",    "====",  "=",      "Z===", "Zm 9v",
                                          "Zm9v\n", "Zg==Zg==", "Zm9vY", "Zm9\xc3"};
    static const char *const bad_std[] = {
        "Zg", "Zg=", "Zm9v-_==", "Zh==", "====", "Zg==Zg==", "Z==="};
    char out[16];
    size_t n = 77;
    (void)state;
    for (size_t i = 0; i < KL_COUNT(bad_url); i++)
        assert_int_equal(kl_b64url_decode(bad_url[i], strlen(bad_url[i]), out, sizeof out, &n),
                         KL_BAD_INPUT);
    for (size_t i = 0; i < KL_COUNT(bad_std); i++)
        assert_int_equal(kl_b64_decode(bad_std[i], strlen(bad_std[i]), out, sizeof out, &n),
                         KL_BAD_INPUT);
    assert_int_equal(n, 77);
    assert_int_equal(kl_b64url_decode("Zm9v", 4, out, 2, &n), KL_TOO_BIG);
    assert_int_equal(kl_b64url_decode("Zm9vYg==", 8, out, 4, &n), KL_OK);
    assert_int_equal(n, 4);
}

/* OpenSSL's decoder judges: every length to beyond several strides, every byte at every place. */
static void test_base_encoding__base64_everywhere(void **state)
{
    uint8_t bytes[100], out[100];
    unsigned char text[140], other[140];
    size_t len;
    (void)state;
    kl_random(bytes, sizeof bytes);
    for (size_t n = 1; n <= sizeof bytes; n++) {
        int length = EVP_EncodeBlock(text, bytes, (int)n);
        assert_int_equal(kl_b64_decode((char *)text, (size_t)length, out, n, &len), KL_OK);
        assert_int_equal(len, n);
        assert_memory_equal(out, bytes, n);
        assert_int_equal(kl_b64_decode((char *)text, (size_t)length, out, n - 1, &len), KL_TOO_BIG);
    }
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    int length = EVP_EncodeBlock(text, bytes, 39);
    for (int at = 0; at < length - 1; at++) { /* a '=' at the very end may be right */
        memcpy(other, text, sizeof other);
        for (unsigned c = 0; c < 256; c++) {
            bool good = memchr(alphabet, (int)c, sizeof alphabet - 1) != NULL;
            other[at] = (unsigned char)c;
            assert_int_equal(kl_b64_decode((char *)other, (size_t)length, out, sizeof out, &len),
                             good ? KL_OK : KL_BAD_INPUT);
        }
    }
}

static void test_base_encoding__hex(void **state)
{
    char text[9];
    uint8_t bytes[4];
    (void)state;
    kl_hex("\x00\x9f\xff\x10", 4, text);
    assert_string_equal(text, "009fff10");
    assert_int_equal(kl_unhex("009FfF10", bytes, 4), KL_OK);
    assert_memory_equal(bytes, "\x00\x9f\xff\x10", 4);
    assert_int_equal(kl_unhex("009fff1", bytes, 4), KL_BAD_INPUT);
    assert_int_equal(kl_unhex("009fff100", bytes, 4), KL_BAD_INPUT);
    assert_int_equal(kl_unhex("009fff1g", bytes, 4), KL_BAD_INPUT);
    assert_int_equal(kl_unhex("009fff1@", bytes, 4), KL_BAD_INPUT);
}

static void test_base_encoding__percent(void **state)
{
    char out[32];
    (void)state;
    assert_int_equal(kl_percent_decode("api%2Dversion", 13, false, out), KL_OK);
    assert_string_equal(out, "api-version");
    assert_int_equal(kl_percent_decode("a+b%2b", 6, true, out), KL_OK);
    assert_string_equal(out, "a b+");
    assert_int_equal(kl_percent_decode("a+b", 3, false, out), KL_OK);
    assert_string_equal(out, "a+b");
    assert_int_equal(kl_percent_decode("%252F", 5, false, out), KL_OK);
    assert_string_equal(out, "%2F");
    assert_int_equal(kl_percent_decode("%00", 3, false, out), KL_BAD_INPUT);
    assert_int_equal(kl_percent_decode("%", 1, false, out), KL_BAD_INPUT);
    assert_int_equal(kl_percent_decode("%2", 2, false, out), KL_BAD_INPUT);
    assert_int_equal(kl_percent_decode("%2x", 3, false, out), KL_BAD_INPUT);
    assert_int_equal(kl_percent_decode("a\0b", 3, false, out), KL_BAD_INPUT);
}

static void test_base_encoding__uuid(void **state)
{
    char one[KL_UUID_LEN + 1], two[KL_UUID_LEN + 1];
    (void)state;
    for (int i = 0; i < 100; i++) {
        kl_uuid_new(one);
        kl_uuid_new(two);
        assert_true(kl_uuid_valid(one));
        assert_int_equal(one[14], '4');
        assert_non_null(strchr("89ab", one[19]));
        assert_string_not_equal(one, two);
    }
    assert_true(kl_uuid_valid("F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6"));
    assert_false(kl_uuid_valid("f81d4fae-7dec-11d0-a765-00a0c91e6bf"));
    assert_false(kl_uuid_valid("f81d4fae-7dec-11d0-a765-00a0c91e6bf66"));
    assert_false(kl_uuid_valid("f81d4fae07dec-11d0-a765-00a0c91e6bf6"));
    assert_false(kl_uuid_valid("g81d4fae-7dec-11d0-a765-00a0c91e6bf6"));
    assert_false(kl_uuid_valid(""));
}

static void test_base_encoding__random_fills_all(void **state)
{
    uint8_t bytes[5000] = {0};
    unsigned zeros = 0;
    (void)state;
    kl_random(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        zeros += bytes[i] == 0;
    assert_true(zeros < 200); /* about 20 are due */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_encoding__base64_vectors),
        cmocka_unit_test(test_base_encoding__base64_refusals),
        cmocka_unit_test(test_base_encoding__base64_everywhere),
        cmocka_unit_test(test_base_encoding__hex),
        cmocka_unit_test(test_base_encoding__percent),
        cmocka_unit_test(test_base_encoding__uuid),
        cmocka_unit_test(test_base_encoding__random_fills_all),
    };
    return cmocka_run_group_tests_name("base.encoding", tests, NULL, NULL);
}
