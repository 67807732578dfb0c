/* Run under Valgrind: the padded block is marked undefined, so any branch or address that depends
 * on it is an error (the way of ctgrind). What the decoder is allowed to tell, whether it opened
 * and how long the text is, is marked defined again by the caller. With the argument "leak" it
 * branches on the block on purpose: Valgrind must then complain, or this test proves nothing. */
#include "pkcs11/worker/oaep.h"
#include "pkcs11/worker/rsa15.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>
#include <valgrind/memcheck.h>

static int unpad(const uint8_t *em, size_t k, enum kl_token_alg alg)
{
    uint8_t secret[512], out[512];
    const struct kl_mech *m = kl_mech_get(alg);
    memcpy(secret, em, k);
    (void)VALGRIND_MAKE_MEM_UNDEFINED(secret, k);
    int n = kl_oaep_check(m, secret, k, out);
    (void)VALGRIND_MAKE_MEM_DEFINED(&n, sizeof n);
    (void)VALGRIND_MAKE_MEM_DEFINED(secret, sizeof secret);
    return n;
}

/* Block and secret are both unknown; how long the text is, is what every block has and tells. */
static int unpad_rsa15(const uint8_t *em, size_t k)
{
    uint8_t block[512], secret[KL_RSA15_SECRET], out[512];
    memcpy(block, em, k);
    memset(secret, 7, sizeof secret);
    (void)VALGRIND_MAKE_MEM_UNDEFINED(block, k);
    (void)VALGRIND_MAKE_MEM_UNDEFINED(secret, sizeof secret);
    int n = kl_rsa15_check(block, k, secret, out);
    (void)VALGRIND_MAKE_MEM_DEFINED(&n, sizeof n);
    (void)VALGRIND_MAKE_MEM_DEFINED(out, sizeof out);
    return n;
}

static int all_kinds_rsa15(size_t k)
{
    static const size_t flips[] = {0, 1, 2, 9};
    uint8_t good[512], bad[512];
    memset(good, 0xa5, k);
    good[0] = 0;
    good[1] = 2;
    good[k - 9] = 0;
    if (unpad_rsa15(good, k) != 8)
        return 1;
    for (size_t i = 0; i < sizeof flips / sizeof flips[0]; i++) {
        memcpy(bad, good, k);
        bad[flips[i]] = flips[i] < 2 ? 7 : 0;
        int n = unpad_rsa15(bad, k);
        if (n < 0 || (size_t)n > k - KL_RSA15_OVERHEAD)
            return 1;
    }
    memset(bad, 0xa5, k);
    return unpad_rsa15(bad, k) < 0;
}

static int leak(const uint8_t *em, size_t k)
{
    uint8_t secret[512];
    memcpy(secret, em, k);
    (void)VALGRIND_MAKE_MEM_UNDEFINED(secret, k);
    return secret[0] == 0 ? 1 : 2;
}

static int all_kinds(enum kl_token_alg alg, size_t k)
{
    static const size_t flips[] = {0, 1, 20, 40, 100};
    const EVP_MD *md = kl_mech_get(alg)->md();
    uint8_t good[512], bad[512];
    if (RSA_padding_add_PKCS1_OAEP_mgf1(good, (int)k, (const uint8_t *)"data key", 8, NULL, 0, md,
                                        md) != 1)
        return 1;
    if (unpad(good, k, alg) != 8)
        return 1;
    for (size_t i = 0; i < sizeof flips / sizeof flips[0]; i++) {
        memcpy(bad, good, k);
        bad[flips[i]] ^= 0x40;
        if (unpad(bad, k, alg) >= 0)
            return 1;
    }
    memset(bad, 0, sizeof bad);
    return unpad(bad, k, alg) >= 0;
}

int main(int argc, char **argv)
{
    uint8_t em[256] = {0};
    if (RUNNING_ON_VALGRIND == 0) {
        (void)fputs("run me under valgrind\n", stderr);
        return 1;
    }
    if (argc > 1 && strcmp(argv[1], "leak") == 0)
        return leak(em, sizeof em) == 1 ? 0 : 1;
    for (int alg = KL_ALG_OAEP_SHA1; alg <= KL_ALG_OAEP_SHA512; alg++)
        for (size_t k = 256; k <= 512; k += 128)
            if (all_kinds((enum kl_token_alg)alg, k) != 0)
                return 1;
    for (size_t k = 256; k <= 512; k += 128)
        if (all_kinds_rsa15(k) != 0)
            return 1;
    return 0;
}
