#include "pkcs11/worker/rsa15.h"

#include "base/secret.h"
#include "pkcs11/worker/rsa.h"

#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <string.h>

#define LABEL      "kluis RSA1_5 implicit rejection 1"
#define CANDIDATES 128 /* lengths to choose from: one fits but for a chance of 2^-128 */

enum kl_code kl_rsa15_question(const uint8_t *modulus, size_t k, uint8_t *out)
{
    uint8_t input[sizeof LABEL + KL_RSA_MAX + 1], hash[SHA256_DIGEST_LENGTH];
    if (k > KL_RSA_MAX)
        return KL_CRYPTO;
    memcpy(input, LABEL, sizeof LABEL);
    memcpy(input + sizeof LABEL, modulus, k);
    for (size_t done = 0, block = 0; done < k; done += sizeof hash, block++) {
        input[sizeof LABEL + k] = (uint8_t)block;
        if (EVP_Digest(input, sizeof LABEL + k + 1, hash, NULL, EVP_sha256(), NULL) != 1)
            return KL_CRYPTO;
        memcpy(out + done, hash, k - done < sizeof hash ? k - done : sizeof hash);
    }
    out[0] = 0; /* below the modulus, whose first byte is not zero */
    return KL_OK;
}

enum kl_code kl_rsa15_secret(const uint8_t *answer, const uint8_t *cipher, size_t k,
                             uint8_t ret[static KL_RSA15_SECRET])
{
    uint8_t key[SHA256_DIGEST_LENGTH];
    bool done = EVP_Digest(answer, k, key, NULL, EVP_sha256(), NULL) == 1 &&
                HMAC(EVP_sha256(), key, sizeof key, cipher, k, ret, NULL) != NULL;
    kl_wipe(key, sizeof key);
    return done ? KL_OK : KL_CRYPTO;
}

/* The draft's IRPRF: blocks of HMAC-SHA256(secret, block number | label | bits). */
static bool stretch(const uint8_t secret[static KL_RSA15_SECRET], const char *label, uint8_t *out,
                    size_t n)
{
    uint8_t input[32], block[SHA256_DIGEST_LENGTH];
    size_t len = strlen(label), bits = n * 8;
    memcpy(input + 2, label, len);
    input[2 + len] = (uint8_t)(bits >> 8);
    input[3 + len] = (uint8_t)bits;
    bool good = true;
    for (size_t done = 0, i = 0; done < n && good; done += sizeof block, i++) {
        input[0] = (uint8_t)(i >> 8);
        input[1] = (uint8_t)i;
        good = HMAC(EVP_sha256(), secret, KL_RSA15_SECRET, input, len + 4, block, NULL) != NULL;
        memcpy(out + done, block, n - done < sizeof block ? n - done : sizeof block);
    }
    kl_wipe(block, sizeof block);
    return good;
}

/* All ones or all zeros; the volatile keeps the compiler from making branches of them. */
static uint32_t mask_of(uint32_t top_bit)
{
    volatile uint32_t bit = top_bit >> 31;
    return 0 - bit;
}

static uint32_t is_zero(uint32_t x)
{
    return mask_of(~x & (x - 1));
}

static uint32_t is_below(uint32_t a, uint32_t b)
{
    return mask_of(a - b); /* both below 2^31 */
}

static uint32_t choose(uint32_t mask, uint32_t yes, uint32_t no)
{
    return (mask & yes) | (~mask & no);
}

/* A length that a good block could have had: the last candidate that is one. */
static uint32_t other_length(const uint8_t candidates[static 2 * CANDIDATES], uint32_t k)
{
    uint32_t limit = k - KL_RSA15_OVERHEAD + 1, mask = limit, length = 0;
    for (unsigned shift = 1; shift <= 8; shift *= 2)
        mask |= mask >> shift;
    for (size_t i = 0; i < CANDIDATES; i++) {
        uint32_t n = ((uint32_t)candidates[2 * i] << 8 | candidates[2 * i + 1]) & mask;
        length = choose(is_below(n, limit), n, length);
    }
    return length;
}

int kl_rsa15_check(const uint8_t *em, size_t k, const uint8_t secret[static KL_RSA15_SECRET],
                   uint8_t *out)
{
    uint8_t lengths[2 * CANDIDATES], other[KL_RSA_MAX];
    if (k > KL_RSA_MAX || k < KL_RSA15_OVERHEAD ||
        !stretch(secret, "length", lengths, sizeof lengths) ||
        !stretch(secret, "message", other, k))
        return -1;
    uint32_t size = (uint32_t)k, zero_at = 0, seen = 0;
    uint32_t good = is_zero(em[0]) & is_zero(em[1] ^ 2U);
    for (uint32_t i = 2; i < size; i++) {
        uint32_t first = is_zero(em[i]) & ~seen;
        zero_at = choose(first, i, zero_at);
        seen |= first;
    }
    good &= seen & ~is_below(zero_at, KL_RSA15_OVERHEAD - 1);
    uint32_t n = choose(good, size - zero_at - 1, other_length(lengths, size));
    for (size_t i = 0; i < k; i++)
        out[i] = (uint8_t)choose(good, em[i], other[i]);
    kl_wipe(lengths, sizeof lengths);
    kl_wipe(other, sizeof other);
    return (int)n;
}
