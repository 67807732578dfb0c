#include "tests/unit/wrap/support.h"

#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

static struct fake_kek kek;

static int set_up(void **state)
{
    (void)state;
    fake_kek_init(&kek);
    return 0;
}

static void test_wrap_seal__round_trip(void **state)
{
    (void)state;
    static const unsigned sizes[] = {16, 20, 22};
    for (size_t i = 0; i < KL_COUNT(sizes); i++) {
        const struct kl_seal_options options = {.key_url = KEY_V(1),
                                                .alg = i == 1 ? "RSA-OAEP" : NULL,
                                                .principal = "backup",
                                                .segment_log2 = sizes[i]};
        BYTES plain = pattern(200000 + i, 1);
        BYTES container = sealed(&kek, &plain, &options);
        BYTES back = {.n = 0};
        assert_int_equal(unsealed(&kek, &container, &back, NULL), KL_OK);
        assert_bytes(&plain, &back);
    }
}

/* A key that is not usable costs nothing: nothing was read, nothing written. */
static void test_wrap_seal__dead_key_at_second_zero(void **state)
{
    (void)state;
    const struct kl_seal_options options = {.key_url = KEY_URL};
    BYTES plain = pattern(100, 2);
    const int in = file_of(&plain), out = file_of(NULL);
    uint64_t n = 0;
    kek.dead = true;
    assert_int_equal(kl_seal(&kek.kek, &options, in, out, &n, NULL), KL_UNREACHABLE);
    kek.dead = false;
    BYTES written = content_of(out);
    assert_int_equal(written.n, 0);
    assert_int_equal(lseek(in, 0, SEEK_CUR), 0);
    close(in);
    close(out);
}

static void test_wrap_seal__refuses_bad_options(void **state)
{
    (void)state;
    static const struct kl_seal_options rows[] = {
        {.key_url = "http://demo.vault.test/keys/kek"},
        {.key_url = "https://demo.vault.test/secrets/kek"},
        {.key_url = "https://demo.vault.test/keys/kek/1/wrapkey"},
        {.key_url = "https://user@demo.vault.test/keys/kek"},
        {.key_url = "https://demo.vault.test/keys/kek?x=1"},
        {.key_url = "https://demo.vault.test/keys/../x"},
        {.key_url = KEY_URL, .alg = "RSA1_5"},
        {.key_url = KEY_URL, .segment_log2 = 18},
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        uint64_t n = 0;
        struct kl_err err;
        assert_int_equal(kl_seal(&kek.kek, &rows[i], -1, -1, &n, &err), KL_BAD_INPUT);
    }
}

/* Every byte of a small container: a read fails or gives the same. Slot B is empty, so a change
 * there is only warned of. */
static void test_wrap_seal__every_byte_flipped(void **state)
{
    (void)state;
    BYTES plain = pattern(65536 + 300, 3);
    BYTES container = sealed(&kek, &plain, NULL);
    for (size_t i = 0; i < container.n; i++) {
        /* every byte of the head and of the ends, a sample of what is inside of segments */
        if (i > KL_HEAD_BYTES + 200 && i < container.n - 400 && i % 997 != 0)
            continue;
        struct kl_err err = {.code = KL_OK};
        BYTES back = {.n = 0};
        container.at[i] ^= (uint8_t)(1U << i % 8);
        const enum kl_code code = unsealed(&kek, &container, &back, &err);
        container.at[i] ^= (uint8_t)(1U << i % 8);
        const bool harmless = i >= KL_SLOT_AT(1) && i < KL_HEAD_BYTES;
        if (harmless != (code == KL_OK))
            fail_msg("byte %zu: code %s, %s", i, kl_code_name(code), err.text);
        if (code == KL_OK)
            assert_bytes(&plain, &back);
        else
            assert_true(err.text[0] != 0 && back.n <= plain.n &&
                        memcmp(back.at, plain.at, back.n) == 0);
    }
}

static void rehash(uint8_t *block, size_t hashed)
{
    assert_int_equal(EVP_Digest(block, hashed, block + hashed, NULL, EVP_sha256(), NULL), 1);
}

/* An attacker who knows the format fixes the hashes; then padding rules, commitment or slot MAC
 * must catch the edit. */
static void test_wrap_seal__every_head_byte_flipped_and_rehashed(void **state)
{
    (void)state;
    BYTES plain = pattern(10, 4);
    BYTES container = sealed(&kek, &plain, NULL);
    for (size_t i = 0; i < 2 * 4096; i++) {
        const size_t block = i / 4096 * 4096, hashed = block == 0 ? 4032 : 4064;
        BYTES changed = copy_of(&container);
        BYTES back = {.n = 0};
        struct kl_err err = {.code = KL_OK};
        if (i - block >= hashed && i - block < hashed + 32)
            continue; /* the hash itself: the test above */
        changed.at[i] ^= 1;
        rehash(changed.at + block, hashed);
        if (unsealed(&kek, &changed, &back, &err) == KL_OK)
            fail_msg("byte %zu may be changed", i);
        assert_int_equal(back.n, 0);
    }
}

static void expect(const struct bytes *container, enum kl_code code, const char *words)
{
    BYTES back = {.n = 0};
    struct kl_err err = {.code = KL_OK};
    const enum kl_code got = unsealed(&kek, container, &back, &err);
    if (got != code)
        fail_msg("%s instead of %s: %s", kl_code_name(got), kl_code_name(code), err.text);
    assert_text_has(&err, words);
    assert_int_equal(back.n, 0);
}

struct edit {
    size_t at;
    uint8_t value;
    size_t block, hashed; /* rehash this block; hashed 0 = do not */
    enum kl_code code;
    const char *words;
};

static void test_wrap_seal__each_edit_has_its_sentence(void **state)
{
    (void)state;
    static const struct edit rows[] = {
        {0, 'X', 0, 0, KL_WRAP_FORMAT, "not a kluis container"},
        {9, 2, 0, 4032, KL_WRAP_FORMAT, "format version 2"},
        {11, 9, 0, 4032, KL_WRAP_FORMAT, "cipher suite 9"},
        {12, 17, 0, 4032, KL_WRAP_HEADER, "segment size 2^17"},
        {13, 4, 0, 4032, KL_WRAP_HEADER, "key mode 4"},
        {15, 1, 0, 4032, KL_WRAP_HEADER, "a flag is set"},
        {16, 0, 0, 0, KL_WRAP_HEADER, "edited or damaged: its own hash"},
        {3000, 1, 0, 4032, KL_WRAP_HEADER, "padding is not zero (byte 3000"},
        {16, 0, 0, 4032, KL_WRAP_KEY, "the data key does not belong to this header"},
        {4096 + 100, 0xee, 0, 0, KL_WRAP_SLOT, "wrap slot A: it is torn or damaged"},
        {4096 + 2000, 1, 4096, 4064, KL_WRAP_SLOT, "padding is not zero (byte 2000"},
        {4096 + 24, 7, 4096, 4064, KL_WRAP_SLOT, "wrap algorithm 7"},
        {4096 + 24, 1, 4096, 4064, KL_WRAP_KEY, "does not open it"},
        {4096 + 15, 9, 4096, 4064, KL_WRAP_SLOT, "edited after it was written"},
        {4096 + 1568, 'x', 4096, 4064, KL_WRAP_SLOT, "edited after it was written"},
        {4096 + 1568, 7, 4096, 4064, KL_WRAP_SLOT, "not printable"},
        {4096 + 32, 'x', 4096, 4064, KL_WRAP_SLOT, "does not name a key version"},
        {4096 + 0, 'X', 4096, 4064, KL_WRAP_SLOT, "not a wrap slot of format 1"},
    };
    const struct kl_seal_options options = {
        .key_url = KEY_URL, .principal = "backup", .segment_log2 = 16};
    BYTES plain = pattern(1000, 5);
    BYTES container = sealed(&kek, &plain, &options);
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        BYTES changed = copy_of(&container);
        changed.at[rows[i].at] = rows[i].value;
        if (rows[i].hashed != 0)
            rehash(changed.at + rows[i].block, rows[i].hashed);
        expect(&changed, rows[i].code, rows[i].words);
    }
    /* the wrong version: the slot is moved to version 3 of the same key */
    BYTES moved = copy_of(&container);
    moved.at[4096 + 32 + strlen(KEY_V(1)) - 1] = '3';
    rehash(moved.at + 4096, 4064);
    expect(&moved, KL_WRAP_KEY, "does not open it");
}

static void test_wrap_seal__parts_of_other_containers(void **state)
{
    (void)state;
    BYTES plain = pattern(1000, 6);
    BYTES one = sealed(&kek, &plain, NULL);
    BYTES two = sealed(&kek, &plain, NULL);
    BYTES slot = copy_of(&one);
    memcpy(slot.at + 4096, two.at + 4096, 4096);
    expect(&slot, KL_WRAP_KEY, "the wrap slot is another container's");
    BYTES core = copy_of(&one);
    memcpy(core.at, two.at, 4096);
    expect(&core, KL_WRAP_KEY, "does not belong to this header");
    BYTES payload = copy_of(&one);
    memcpy(payload.at + KL_HEAD_BYTES, two.at + KL_HEAD_BYTES, two.n - KL_HEAD_BYTES);
    expect(&payload, KL_WRAP_PAYLOAD, "comes from another container");
}

/* Slots of one container may change places: both belong to it. */
static void test_wrap_seal__slots_exchanged_within_one_container(void **state)
{
    (void)state;
    BYTES plain = pattern(1000, 7);
    BYTES container = sealed(&kek, &plain, NULL);
    BYTES back = {.n = 0};
    memcpy(container.at + 8192, container.at + 4096, 4096);
    memset(container.at + 4096, 0, 4096);
    assert_int_equal(unsealed(&kek, &container, &back, NULL), KL_OK);
    assert_bytes(&plain, &back);
}

static void test_wrap_seal__cut_in_the_head(void **state)
{
    (void)state;
    BYTES plain = pattern(1000, 8);
    BYTES container = sealed(&kek, &plain, NULL);
    static const size_t cuts[] = {8, 4095, 4096, 8192, 12287};
    for (size_t i = 0; i < KL_COUNT(cuts); i++) {
        BYTES cut = copy_of(&container);
        cut.n = cuts[i];
        expect(&cut, KL_WRAP_TRUNCATED, "cut off inside its header");
    }
    BYTES nothing = copy_of(&container);
    nothing.n = 0;
    expect(&nothing, KL_WRAP_FORMAT, "not a kluis container");
    for (size_t n = KL_HEAD_BYTES; n < KL_HEAD_BYTES + 56; n++) {
        BYTES cut = copy_of(&container);
        cut.n = n;
        expect(&cut, KL_WRAP_TRUNCATED, "the file ends inside");
    }
}

static void test_wrap_seal__service_trouble_is_told_as_it_is(void **state)
{
    (void)state;
    BYTES plain = pattern(1000, 9);
    BYTES container = sealed(&kek, &plain, NULL);
    kek.dead = true;
    expect(&container, KL_UNREACHABLE, "cannot be reached");
    kek.dead = false;
    kek.disabled = FAKE_NEWEST;
    expect(&container, KL_FORBIDDEN, "wrap slot A: the key version is disabled");
}

static void test_wrap_seal__verify_first(void **state)
{
    (void)state;
    const struct kl_unseal_options options = {.verify_first = true};
    BYTES plain = pattern(300000, 10);
    BYTES container = sealed(&kek, &plain, NULL);
    uint64_t n = 0;
    int in = file_of(&container), out = file_of(NULL);
    assert_int_equal(kl_unseal(&kek.kek, &options, in, out, &n, NULL), KL_OK);
    BYTES back = content_of(out);
    assert_bytes(&plain, &back);
    close(in);
    close(out);
    container.at[container.n - 1] ^= 1;
    in = file_of(&container);
    out = file_of(NULL);
    assert_int_equal(kl_unseal(&kek.kek, &options, in, out, &n, NULL), KL_WRAP_TRUNCATED);
    BYTES nothing = content_of(out);
    assert_int_equal(nothing.n, 0);
    close(in);
    close(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_wrap_seal__round_trip, set_up),
        cmocka_unit_test_setup(test_wrap_seal__dead_key_at_second_zero, set_up),
        cmocka_unit_test_setup(test_wrap_seal__refuses_bad_options, set_up),
        cmocka_unit_test_setup(test_wrap_seal__every_byte_flipped, set_up),
        cmocka_unit_test_setup(test_wrap_seal__every_head_byte_flipped_and_rehashed, set_up),
        cmocka_unit_test_setup(test_wrap_seal__each_edit_has_its_sentence, set_up),
        cmocka_unit_test_setup(test_wrap_seal__parts_of_other_containers, set_up),
        cmocka_unit_test_setup(test_wrap_seal__slots_exchanged_within_one_container, set_up),
        cmocka_unit_test_setup(test_wrap_seal__cut_in_the_head, set_up),
        cmocka_unit_test_setup(test_wrap_seal__service_trouble_is_told_as_it_is, set_up),
        cmocka_unit_test_setup(test_wrap_seal__verify_first, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
