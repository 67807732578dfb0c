#include "wrap/container/slot.h"

#include "wrap/container/bytes.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#define SLOT_MAGIC "KLUISSL1"

enum {
    AT_MAGIC = 0,
    AT_GENERATION = 8,
    AT_WRAPPED_AT = 16,
    AT_ALG = 24,
    AT_ZERO = 25,
    AT_KEK_LEN = 26,
    AT_WRAPPED_LEN = 28,
    AT_PRINCIPAL_LEN = 30,
    AT_KEK = 32,
    AT_WRAPPED = AT_KEK + KL_SLOT_KEK_MAX,
    AT_PRINCIPAL = AT_WRAPPED + KL_SLOT_WRAPPED_MAX,
    AT_MAC = 4032,
    AT_HASH = 4064,
};

static const char *const algs[] = {[1] = "RSA-OAEP", [2] = "RSA-OAEP-256"};

const char *kl_slot_alg_name(unsigned alg)
{
    return alg < KL_COUNT(algs) ? algs[alg] : NULL;
}

uint8_t kl_slot_alg_find(const char *name)
{
    for (size_t i = 1; i < KL_COUNT(algs); i++)
        if (strcmp(algs[i], name) == 0)
            return (uint8_t)i;
    return 0;
}

#define DIGITS  "0123456789"
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/* One run of allowed characters, 1 to max long; NULL when there is none. */
static const char *skip(const char *p, const char *allowed, size_t max)
{
    if (p == NULL)
        return NULL;
    const size_t n = strspn(p, allowed);
    return n >= 1 && n <= max ? p + n : NULL;
}

static const char *skip_word(const char *p, const char *word)
{
    return p != NULL && strncmp(p, word, strlen(word)) == 0 ? p + strlen(word) : NULL;
}

static const char *skip_host(const char *p)
{
    if (p != NULL && *p == '[')
        return skip_word(skip(p + 1, DIGITS "abcdefABCDEF:.", 45), "]");
    return skip(p, DIGITS LETTERS "-.", 253);
}

bool kl_key_url_valid(const char *url, bool versioned)
{
    if (strlen(url) > KL_SLOT_KEK_MAX)
        return false;
    const char *p = skip_host(skip_word(url, "https://"));
    if (p != NULL && *p == ':')
        p = skip(p + 1, DIGITS, 5);
    p = skip(skip_word(p, "/keys/"), DIGITS LETTERS "-", 127);
    if (p != NULL && *p == 0)
        return !versioned;
    p = skip(skip_word(p, "/"), DIGITS LETTERS "-", 64);
    return p != NULL && *p == 0;
}

static enum kl_code seal_off(uint8_t *bytes, const struct kl_keys *keys, struct kl_err *err)
{
    if (HMAC(EVP_sha256(), keys->slot, KL_HASH_BYTES, bytes, AT_MAC, bytes + AT_MAC, NULL) ==
            NULL ||
        EVP_Digest(bytes, AT_HASH, bytes + AT_HASH, NULL, EVP_sha256(), NULL) != 1)
        return kl_fail_ossl(err, "HMAC", "the wrap slot cannot be authenticated");
    return KL_OK;
}

enum kl_code kl_slot_format(const struct kl_slot *slot, const struct kl_keys *keys,
                            uint8_t ret[static KL_SLOT_BYTES], struct kl_err *err)
{
    const size_t kek_len = strlen(slot->kek), principal_len = strlen(slot->principal);
    assert(slot->generation > 0 && kl_slot_alg_name(slot->alg) != NULL);
    assert(kl_key_url_valid(slot->kek, true) && slot->wrapped_len > 0 &&
           slot->wrapped_len <= KL_SLOT_WRAPPED_MAX);
    uint8_t bytes[KL_SLOT_BYTES] = {0};
    memcpy(bytes + AT_MAGIC, SLOT_MAGIC, 8);
    kl_be_put(bytes + AT_GENERATION, slot->generation, 8);
    kl_be_put(bytes + AT_WRAPPED_AT, (uint64_t)slot->wrapped_at_ms, 8);
    bytes[AT_ALG] = slot->alg;
    kl_be_put(bytes + AT_KEK_LEN, kek_len, 2);
    kl_be_put(bytes + AT_WRAPPED_LEN, slot->wrapped_len, 2);
    kl_be_put(bytes + AT_PRINCIPAL_LEN, principal_len, 2);
    memcpy(bytes + AT_KEK, slot->kek, kek_len);
    memcpy(bytes + AT_WRAPPED, slot->wrapped, slot->wrapped_len);
    memcpy(bytes + AT_PRINCIPAL, slot->principal, principal_len);
    enum kl_code code = seal_off(bytes, keys, err);
    if (code == KL_OK)
        memcpy(ret, bytes, sizeof bytes);
    return code;
}

static bool printable(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] < 0x20 || text[i] > 0x7e)
            return false;
    return true;
}

/* Offset of the first byte that had to be zero and is not, or 0. */
static size_t stray_byte(const uint8_t *bytes, size_t kek_len, size_t wrapped_len, size_t who_len)
{
    const struct {
        size_t from, to;
    } gaps[] = {{AT_ZERO, AT_ZERO + 1},
                {AT_KEK + kek_len, AT_WRAPPED},
                {AT_WRAPPED + wrapped_len, AT_PRINCIPAL},
                {AT_PRINCIPAL + who_len, AT_MAC}};
    for (size_t i = 0; i < KL_COUNT(gaps); i++) {
        const size_t at = kl_first_nonzero(bytes, gaps[i].from, gaps[i].to);
        if (at != gaps[i].to)
            return at;
    }
    return 0;
}

static enum kl_code parse_fields(const uint8_t *bytes, struct kl_slot *slot, struct kl_err *err)
{
    const size_t kek_len = kl_be_get(bytes + AT_KEK_LEN, 2);
    const size_t wrapped_len = kl_be_get(bytes + AT_WRAPPED_LEN, 2);
    const size_t who_len = kl_be_get(bytes + AT_PRINCIPAL_LEN, 2);
    slot->generation = kl_be_get(bytes + AT_GENERATION, 8);
    slot->wrapped_at_ms = (int64_t)kl_be_get(bytes + AT_WRAPPED_AT, 8);
    slot->alg = bytes[AT_ALG];
    if (slot->generation == 0 || kek_len > KL_SLOT_KEK_MAX || wrapped_len == 0 ||
        wrapped_len > KL_SLOT_WRAPPED_MAX || who_len > KL_SLOT_PRINCIPAL_MAX)
        return kl_fail(err, KL_WRAP_SLOT, "slot", "a field is out of its range");
    if (kl_slot_alg_name(slot->alg) == NULL)
        return kl_fail(err, KL_WRAP_SLOT, "slot", "wrap algorithm %u is not one of the format",
                       slot->alg);
    const size_t stray = stray_byte(bytes, kek_len, wrapped_len, who_len);
    if (stray != 0)
        return kl_fail(err, KL_WRAP_SLOT, "slot", "padding is not zero (byte %zu of the slot)",
                       stray);
    memcpy(slot->kek, bytes + AT_KEK, kek_len);
    memcpy(slot->principal, bytes + AT_PRINCIPAL, who_len);
    memcpy(slot->wrapped, bytes + AT_WRAPPED, wrapped_len);
    slot->wrapped_len = (uint16_t)wrapped_len;
    if (strlen(slot->kek) != kek_len || !kl_key_url_valid(slot->kek, true))
        return kl_fail(err, KL_WRAP_SLOT, "slot", "it does not name a key version by its URL");
    if (!printable(slot->principal, who_len))
        return kl_fail(err, KL_WRAP_SLOT, "slot", "the principal's name is not printable");
    return KL_OK;
}

enum kl_code kl_slot_parse(const uint8_t bytes[static KL_SLOT_BYTES], struct kl_slot *ret,
                           struct kl_err *err)
{
    *ret = (struct kl_slot){.state = KL_SLOT_EMPTY};
    if (kl_first_nonzero(bytes, 0, KL_SLOT_BYTES) == KL_SLOT_BYTES)
        return KL_OK;
    *ret = (struct kl_slot){.state = KL_SLOT_BROKEN};
    uint8_t hash[KL_HASH_BYTES];
    if (EVP_Digest(bytes, AT_HASH, hash, NULL, EVP_sha256(), NULL) != 1)
        return kl_fail_ossl(err, "EVP_Digest", "the wrap slot cannot be hashed");
    if (memcmp(hash, bytes + AT_HASH, sizeof hash) != 0)
        return kl_fail(err, KL_WRAP_SLOT, "slot", "it is torn or damaged: its hash does not fit");
    if (memcmp(bytes + AT_MAGIC, SLOT_MAGIC, 8) != 0)
        return kl_fail(err, KL_WRAP_SLOT, "slot", "it is not a wrap slot of format 1");
    struct kl_slot slot = {.state = KL_SLOT_USABLE};
    enum kl_code code = parse_fields(bytes, &slot, err);
    if (code == KL_OK)
        *ret = slot;
    return code;
}

enum kl_code kl_slot_check_mac(const uint8_t bytes[static KL_SLOT_BYTES],
                               const struct kl_keys *keys, struct kl_err *err)
{
    uint8_t mac[KL_HASH_BYTES];
    if (HMAC(EVP_sha256(), keys->slot, KL_HASH_BYTES, bytes, AT_MAC, mac, NULL) == NULL)
        return kl_fail_ossl(err, "HMAC", "the wrap slot cannot be authenticated");
    if (CRYPTO_memcmp(mac, bytes + AT_MAC, sizeof mac) != 0)
        return kl_fail(err, KL_WRAP_SLOT, "slot",
                       "it was edited after it was written: its authentication code does not fit");
    return KL_OK;
}
