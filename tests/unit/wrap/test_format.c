/* FORMAT.md's vectors, and the independent decoder of tests/fixtures/container, both ways. */
#include "tests/unit/wrap/support.h"

#include "base/encoding.h"
#include "wrap/container/tink.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct kl_secret *dek; /* 00 01 … 1f */

static int set_up(void **state)
{
    (void)state;
    dek = kl_secret_new(KL_DEK_BYTES);
    assert_int_equal(kl_secret_resize(dek, KL_DEK_BYTES), KL_OK);
    for (uint8_t i = 0; i < KL_DEK_BYTES; i++)
        kl_secret_bytes(dek)[i] = i;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kl_secret_free(dek);
    return 0;
}

static const char *fixture(const char *name)
{
    static char path[512];
    const char *source = getenv("KLUIS_SOURCE");
    (void)snprintf(path, sizeof path, "%s/tests/fixtures/container/%s",
                   source != NULL ? source : ".", name);
    return path;
}

static enum kl_code give_dek(void *arg, const char *kid, const char *alg, const uint8_t *wrapped,
                             size_t n, struct kl_secret **ret_dek, struct kl_err *err)
{
    (void)arg, (void)err;
    assert_string_equal(
        kid, "https://demo.vault.localhost:8443/keys/backup/0123456789abcdef0123456789abcdef");
    assert_string_equal(alg, "RSA-OAEP-256");
    assert_int_equal(n, 256);
    assert_int_equal(wrapped[255], 0xa5);
    *ret_dek = kl_secret_new(KL_DEK_BYTES);
    return kl_secret_append(*ret_dek, kl_secret_bytes(dek), KL_DEK_BYTES);
}

static const struct kl_kek vector_kek = {.unwrap = give_dek};

static struct bytes open_with(const struct kl_kek *kek, const struct bytes *container)
{
    const struct kl_unseal_options options = {.verify_first = false};
    const int in = file_of(container), out = file_of(NULL);
    uint64_t n = 0;
    struct kl_err err = {.code = KL_OK};
    if (kl_unseal(kek, &options, in, out, &n, &err) != KL_OK)
        fail_msg("%s", err.text);
    struct bytes plain = content_of(out);
    close(in);
    close(out);
    return plain;
}

static void assert_hex(const uint8_t *bytes, size_t n, const char *hex)
{
    char text[256];
    kl_hex(bytes, n, text);
    assert_string_equal(text, hex);
}

static void test_wrap_format__vector_1_keys(void **state)
{
    (void)state;
    BYTES file = read_file(fixture("vector1.klrc"));
    struct kl_head head;
    KL_KEYS keys;
    KL_TINK tink;
    memcpy(head.bytes, file.at, KL_HEAD_BYTES);
    assert_int_equal(kl_head_parse(&head, NULL), KL_OK);
    assert_hex(head.core.hash, 32,
               "33ff6a0f6c560670cb902cf9293d3c3bb1bbcd4f47754ec30a2adc90c59549e0");
    assert_int_equal(kl_keys_open(&head.core, dek, &keys, NULL), KL_OK);
    assert_hex(keys.commitment, 32,
               "90f1e3c7b92c8efb03b0cd7c4c6f179d94fd00297345810b0f356354216d51c3");
    assert_hex(keys.slot, 32, "c90c2e10311f0bda00bce29640a6fbb9de9e72b12dcf691ff6894b1e4190d307");
    assert_hex(keys.payload, 32,
               "9371440fd478bd77340ff6310f0f2fede45c9da3a262028550488e61c858c926");
    assert_hex(head.bytes + KL_SLOT_AT(0) + 4032, 32,
               "12c79dbb880bcd9d5f6dfb9b1366fa197dd4d7063160c180b5f1f47cd5784a46");
    assert_int_equal(
        kl_tink_resume(keys.payload, head.core.hash, 65536, file.at + KL_HEAD_BYTES, &tink, NULL),
        KL_OK);
    assert_hex(tink.key, 32, "02402cf4882947f550da303ed5a09e8d93e0ea17f974c57ee0531ecf13dc384a");
}

/* Writing the same fields gives the same bytes: there is one form. */
static void test_wrap_format__vector_1_is_written_alike(void **state)
{
    (void)state;
    BYTES file = read_file(fixture("vector1.klrc"));
    struct kl_head head;
    KL_KEYS keys;
    KL_TINK tink;
    uint8_t block[KL_SLOT_BYTES], segment[5 + KL_TINK_TAG_BYTES] = "kluis";
    memcpy(head.bytes, file.at, KL_HEAD_BYTES);
    assert_int_equal(kl_head_parse(&head, NULL), KL_OK);
    assert_int_equal(kl_keys_open(&head.core, dek, &keys, NULL), KL_OK);
    assert_int_equal(kl_header_format(&head.core, block, NULL), KL_OK);
    assert_true(memcmp(block, file.at, sizeof block) == 0);
    assert_int_equal(kl_slot_format(&head.slots[0], &keys, block, NULL), KL_OK);
    assert_true(memcmp(block, file.at + KL_SLOT_AT(0), sizeof block) == 0);
    assert_int_equal(
        kl_tink_resume(keys.payload, head.core.hash, 65536, file.at + KL_HEAD_BYTES, &tink, NULL),
        KL_OK);
    EVP_CIPHER_CTX *cipher = kl_tink_cipher(&tink, true);
    const struct kl_tink_place place = {.index = 0, .last = true};
    assert_int_equal(kl_tink_seal(&tink, cipher, place, segment, 5, NULL), KL_OK);
    EVP_CIPHER_CTX_free(cipher);
    assert_hex(segment, sizeof segment, "7c476f9b6cf0bc3255811113094efe5fd475f6abed");
    assert_true(memcmp(segment, file.at + KL_HEAD_BYTES + 40, sizeof segment) == 0);
}

static void test_wrap_format__vectors_open(void **state)
{
    (void)state;
    BYTES one = read_file(fixture("vector1.klrc")), two = read_file(fixture("vector2.klrc"));
    BYTES short_text = open_with(&vector_kek, &one), long_text = open_with(&vector_kek, &two);
    assert_int_equal(short_text.n, 5);
    assert_true(memcmp(short_text.at, "kluis", 5) == 0);
    assert_int_equal(long_text.n, 140000);
    for (size_t i = 0; i < long_text.n; i++)
        assert_int_equal(long_text.at[i], i * 7 % 251);
}

static int decoder(const char *mode, const char *dek_hex, const char *in, const char *out)
{
    char command[1400];
    (void)snprintf(command, sizeof command, "python3 '%s' %s %s < '%s' > '%s'",
                   fixture("decode.py"), mode, dek_hex, in, out);
    return system(command);
}

static const size_t lengths[] = {0, 1, 65480, 65481, 131000, 500000};

static void test_wrap_format__decoder_opens_what_we_write(void **state)
{
    (void)state;
    for (size_t i = 0; i < KL_COUNT(lengths); i++) {
        struct fake_kek kek;
        char hex[2 * KL_DEK_BYTES + 1], in[256];
        fake_kek_init(&kek);
        const struct kl_seal_options options = {
            .key_url = KEY_URL, .principal = "backup", .segment_log2 = i % 2 == 0 ? 16 : 20};
        BYTES plain = pattern(lengths[i], 1);
        BYTES container = sealed(&kek, &plain, &options);
        kl_hex(kek.dek, KL_DEK_BYTES, hex);
        (void)snprintf(in, sizeof in, "%s", temp_path("in"));
        write_file(in, &container);
        assert_int_equal(decoder("open", hex, in, temp_path("out")), 0);
        BYTES back = read_file(temp_path("out"));
        assert_bytes(&plain, &back);
        /* and it is a judge: a changed byte does not pass */
        container.at[container.n - 1] ^= 1;
        write_file(in, &container);
        assert_int_not_equal(decoder("2>/dev/null open", hex, in, temp_path("out")), 0);
    }
}

static void test_wrap_format__we_open_what_the_decoder_writes(void **state)
{
    (void)state;
    for (size_t i = 0; i < KL_COUNT(lengths); i++) {
        char hex[2 * KL_DEK_BYTES + 1], in[256];
        BYTES plain = pattern(lengths[i], 2);
        kl_hex(kl_secret_bytes(dek), KL_DEK_BYTES, hex);
        (void)snprintf(in, sizeof in, "%s", temp_path("in"));
        write_file(in, &plain);
        assert_int_equal(decoder("make", hex, in, temp_path("out")), 0);
        BYTES container = read_file(temp_path("out"));
        BYTES back = open_with(&vector_kek, &container);
        assert_bytes(&plain, &back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrap_format__vector_1_keys),
        cmocka_unit_test(test_wrap_format__vector_1_is_written_alike),
        cmocka_unit_test(test_wrap_format__vectors_open),
        cmocka_unit_test(test_wrap_format__decoder_opens_what_we_write),
        cmocka_unit_test(test_wrap_format__we_open_what_the_decoder_writes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
