/* Implicit rejection alone: which blocks are good, and what the others yield. */
#include "pkcs11/worker/rsa15.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#define K 256

static const uint8_t secret[KL_RSA15_SECRET] = {1, 2, 3};

/* 00 02, padding of `pad` bytes, 00, and text up to the end. */
static void make(uint8_t em[static K], size_t pad)
{
    memset(em, 0xa5, K);
    em[0] = 0;
    em[1] = 2;
    memset(em + 2, 0x11, pad);
    em[2 + pad] = 0;
}

static void test_pkcs11_rsa15__good_blocks_give_their_text(void **state)
{
    uint8_t em[K], out[K];
    (void)state;
    for (size_t pad = 8; pad <= K - 3; pad++) {
        make(em, pad);
        size_t n = K - 3 - pad;
        assert_int_equal(kl_rsa15_check(em, K, secret, out), n);
        assert_memory_equal(out + K - n, em + K - n, n);
    }
}

static void test_pkcs11_rsa15__short_paddings_are_bad(void **state)
{
    uint8_t em[K], out[K];
    int first = -1;
    (void)state;
    for (size_t pad = 0; pad < 8; pad++) {
        make(em, pad);
        int n = kl_rsa15_check(em, K, secret, out);
        assert_in_range(n, 0, K - KL_RSA15_OVERHEAD);
        assert_memory_not_equal(out + K / 2, em + K / 2, K / 2);
        /* The block has no part in what is given for it. */
        first = first < 0 ? n : first;
        assert_int_equal(n, first);
    }
}

static void test_pkcs11_rsa15__first_two_bytes_count(void **state)
{
    uint8_t em[K], out[K], other[K];
    (void)state;
    make(em, 100);
    em[0] = 1;
    int bad = kl_rsa15_check(em, K, secret, out);
    make(em, 100);
    em[1] = 1;
    assert_int_equal(kl_rsa15_check(em, K, secret, other), bad);
    assert_memory_equal(out, other, K);
    memset(em, 0xa5, K); /* no zero at the end of the padding */
    em[0] = 0;
    em[1] = 2;
    assert_int_equal(kl_rsa15_check(em, K, secret, other), bad);
    assert_memory_equal(out, other, K);
}

static void test_pkcs11_rsa15__lengths_are_spread(void **state)
{
    uint8_t em[K] = {1}, out[K], mine[KL_RSA15_SECRET] = {0};
    bool seen[K] = {false};
    unsigned different = 0;
    (void)state;
    for (unsigned i = 0; i < 256; i++) {
        mine[0] = (uint8_t)i;
        int n = kl_rsa15_check(em, K, mine, out);
        assert_in_range(n, 0, K - KL_RSA15_OVERHEAD);
        different += !seen[n];
        seen[n] = true;
    }
    assert_in_range(different, 100, 256); /* 158 on the average */
}

static void test_pkcs11_rsa15__secrets_hang_on_key_and_ciphertext(void **state)
{
    uint8_t modulus[K], question[K], other[K], cipher[K] = {9};
    uint8_t a[KL_RSA15_SECRET], b[KL_RSA15_SECRET];
    (void)state;
    memset(modulus, 0x80, K);
    assert_int_equal(kl_rsa15_question(modulus, K, question), KL_OK);
    assert_int_equal(question[0], 0);
    modulus[K - 1] ^= 1;
    assert_int_equal(kl_rsa15_question(modulus, K, other), KL_OK);
    assert_memory_not_equal(question, other, K);
    assert_int_equal(kl_rsa15_secret(question, cipher, K, a), KL_OK);
    cipher[1] ^= 1;
    assert_int_equal(kl_rsa15_secret(question, cipher, K, b), KL_OK);
    assert_memory_not_equal(a, b, sizeof a);
    assert_int_equal(kl_rsa15_secret(other, cipher, K, a), KL_OK);
    assert_memory_not_equal(a, b, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pkcs11_rsa15__good_blocks_give_their_text),
        cmocka_unit_test(test_pkcs11_rsa15__short_paddings_are_bad),
        cmocka_unit_test(test_pkcs11_rsa15__first_two_bytes_count),
        cmocka_unit_test(test_pkcs11_rsa15__lengths_are_spread),
        cmocka_unit_test(test_pkcs11_rsa15__secrets_hang_on_key_and_ciphertext),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
