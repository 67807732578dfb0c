#include "pkcs11/worker/share.h"

#include "base/encoding.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#define KEYS_CHECK (KL_SHARE_BYTES - KL_SHARE_KEYS)
#define TEXT_CHECK 8

/* --- GF(2^8) --- */

static uint8_t mul(uint8_t a, uint8_t b)
{
    unsigned x = a, y = b, product = 0;
    for (int i = 0; i < 8; i++) {
        product ^= x & (0U - (y & 1));
        x = (x << 1) ^ ((0U - (x >> 7)) & 0x11d);
        y >>= 1;
    }
    return (uint8_t)product;
}

/* a^254 */
static uint8_t inverse(uint8_t a)
{
    uint8_t power = a, result = 1;
    for (int i = 1; i < 8; i++) {
        power = mul(power, power);
        result = mul(result, power);
    }
    return result;
}

/* --- splitting --- */

void kl_share_set_wipe(struct kl_share_set *set)
{
    kl_wipe(set, sizeof *set);
}

/* Ties the keys to their id, and shows whether shares were joined rightly. */
static enum kl_code keys_check(const uint8_t *keys, const uint8_t *domain,
                               uint8_t ret[static KEYS_CHECK], struct kl_err *err)
{
    uint8_t input[KL_KEY_ID_LEN + KL_SHARE_KEYS], hash[32];
    memcpy(input, domain, KL_KEY_ID_LEN);
    memcpy(input + KL_KEY_ID_LEN, keys, KL_SHARE_KEYS);
    bool done = EVP_Digest(input, sizeof input, hash, NULL, EVP_sha256(), NULL) == 1;
    kl_wipe(input, sizeof input);
    if (!done)
        return kl_fail_ossl(err, "EVP_Digest", "cannot compute a digest");
    memcpy(ret, hash, KEYS_CHECK);
    return KL_OK;
}

static void split_byte(uint8_t secret, unsigned needed, size_t at, struct kl_share_set *set)
{
    uint8_t high[KL_SHARES_MAX]; /* coefficients of x^1 and up */
    kl_random(high, needed - 1);
    for (size_t i = 0; i < set->count; i++) {
        uint8_t x = (uint8_t)set->shares[i].number, y = 0;
        for (unsigned c = needed - 1; c > 0; c--)
            y = mul(y ^ high[c - 1], x);
        set->shares[i].bytes[at] = y ^ secret;
    }
    kl_wipe(high, sizeof high);
}

enum kl_code kl_share_split(const uint8_t keys[static KL_SHARE_KEYS],
                            const uint8_t domain[static KL_KEY_ID_LEN], unsigned needed,
                            unsigned count, struct kl_share_set *ret, struct kl_err *err)
{
    uint8_t secret[KL_SHARE_BYTES], set[KL_SHARE_SET_LEN];
    if (needed < 2 || needed > count || count > KL_SHARES_MAX)
        return kl_fail(err, KL_BAD_INPUT, "shares",
                       "shares are M-of-N with 2 <= M <= N <= %d, as in 3-of-5", KL_SHARES_MAX);
    memcpy(secret, keys, KL_SHARE_KEYS);
    enum kl_code code = keys_check(keys, domain, secret + KL_SHARE_KEYS, err);
    kl_random(set, sizeof set);
    ret->count = code == KL_OK ? count : 0;
    for (unsigned i = 0; i < ret->count; i++) {
        struct kl_share *s = &ret->shares[i];
        *s = (struct kl_share){.number = i + 1, .count = count, .needed = needed};
        memcpy(s->set, set, sizeof set);
        memcpy(s->domain, domain, KL_KEY_ID_LEN);
    }
    for (size_t at = 0; code == KL_OK && at < KL_SHARE_BYTES; at++)
        split_byte(secret[at], needed, at, ret);
    kl_wipe(secret, sizeof secret);
    return code;
}

/* --- joining --- */

static enum kl_code check_set(const struct kl_share_set *set, struct kl_err *err)
{
    const struct kl_share *first = &set->shares[0];
    if (set->count == 0)
        return kl_fail(err, KL_BAD_INPUT, "shares", "no share was given");
    for (size_t i = 1; i < set->count; i++) {
        const struct kl_share *s = &set->shares[i];
        if (memcmp(s->set, first->set, sizeof s->set) != 0 || s->needed != first->needed ||
            s->count != first->count || memcmp(s->domain, first->domain, sizeof s->domain) != 0)
            return kl_fail(err, KL_BAD_INPUT, "shares",
                           "shares %u and %u are of different sets: look at their line 'set'",
                           first->number, s->number);
        for (size_t k = 0; k < i; k++)
            if (set->shares[k].number == s->number)
                return kl_fail(err, KL_BAD_INPUT, "shares", "share %u was given twice", s->number);
    }
    if (set->count < first->needed)
        return kl_fail(err, KL_BAD_INPUT, "shares",
                       "%zu shares were given, and %u of the %u are needed", set->count,
                       first->needed, first->count);
    return KL_OK;
}

/* Lagrange at 0; share numbers are no secret. */
static uint8_t weight(const struct kl_share_set *set, size_t which, size_t used)
{
    uint8_t x = (uint8_t)set->shares[which].number, w = 1;
    for (size_t i = 0; i < used; i++) {
        uint8_t other = (uint8_t)set->shares[i].number;
        if (i != which)
            w = mul(w, mul(other, inverse(other ^ x)));
    }
    return w;
}

enum kl_code kl_share_join(const struct kl_share_set *set, uint8_t ret_keys[static KL_SHARE_KEYS],
                           struct kl_err *err)
{
    uint8_t secret[KL_SHARE_BYTES] = {0}, check[KEYS_CHECK];
    enum kl_code code = check_set(set, err);
    if (code != KL_OK)
        return code;
    size_t used = set->shares[0].needed;
    for (size_t i = 0; i < used; i++) {
        uint8_t w = weight(set, i, used);
        for (size_t at = 0; at < KL_SHARE_BYTES; at++)
            secret[at] ^= mul(w, set->shares[i].bytes[at]);
    }
    code = keys_check(secret, set->shares[0].domain, check, err);
    if (code == KL_OK && CRYPTO_memcmp(check, secret + KL_SHARE_KEYS, sizeof check) != 0)
        code =
            kl_fail(err, KL_BAD_INPUT, "shares",
                    "the shares do not give the domain key back: one of them is not what it says");
    if (code == KL_OK)
        memcpy(ret_keys, secret, KL_SHARE_KEYS);
    kl_wipe(secret, sizeof secret);
    return code;
}
