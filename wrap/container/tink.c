#include "wrap/container/tink.h"

#include "base/encoding.h"
#include "wrap/container/bytes.h"
#include "wrap/container/keys.h"

#include <openssl/crypto.h>
#include <string.h>

enum { NONCE_BYTES = 12, BLOCK_BYTES = 16, AT_SALT = 1, SALT_BYTES = 32, AT_PREFIX = 33 };

enum kl_code kl_tink_resume(const uint8_t key_value[static 32], const uint8_t aad[static 32],
                            uint32_t segment_bytes,
                            const uint8_t header[static KL_TINK_HEADER_BYTES], struct kl_tink *ret,
                            struct kl_err *err)
{
    if (header[0] != KL_TINK_HEADER_BYTES)
        return kl_fail(err, KL_WRAP_PAYLOAD, "payload",
                       "the payload does not begin with a stream header: it was changed");
    KL_TINK t = {.segment_bytes = segment_bytes};
    memcpy(t.header, header, sizeof t.header);
    enum kl_code code = kl_hkdf(key_value, 32, header + AT_SALT, SALT_BYTES, aad, 32, t.key, err);
    if (code == KL_OK)
        *ret = t;
    return code;
}

enum kl_code kl_tink_begin(const uint8_t key_value[static 32], const uint8_t aad[static 32],
                           uint32_t segment_bytes, struct kl_tink *ret, struct kl_err *err)
{
    uint8_t header[KL_TINK_HEADER_BYTES] = {KL_TINK_HEADER_BYTES};
    kl_random(header + 1, sizeof header - 1);
    return kl_tink_resume(key_value, aad, segment_bytes, header, ret, err);
}

EVP_CIPHER_CTX *kl_tink_cipher(const struct kl_tink *t, bool sealing)
{
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    if (cipher != NULL &&
        EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, t->key, NULL, sealing) != 1) {
        EVP_CIPHER_CTX_free(cipher);
        return NULL;
    }
    return cipher;
}

static void nonce_for(const struct kl_tink *t, struct kl_tink_place place, uint8_t *nonce)
{
    memcpy(nonce, t->header + AT_PREFIX, KL_TINK_PREFIX_BYTES);
    kl_be_put(nonce + KL_TINK_PREFIX_BYTES, place.index, 4);
    nonce[NONCE_BYTES - 1] = place.last;
}

enum kl_code kl_tink_seal(const struct kl_tink *t, EVP_CIPHER_CTX *cipher,
                          struct kl_tink_place place, uint8_t *bytes, size_t n, struct kl_err *err)
{
    uint8_t nonce[NONCE_BYTES];
    int part = 0;
    nonce_for(t, place, nonce);
    if (EVP_EncryptInit_ex(cipher, NULL, NULL, NULL, nonce) != 1 ||
        EVP_EncryptUpdate(cipher, bytes, &part, bytes, (int)n) != 1 ||
        EVP_EncryptFinal_ex(cipher, bytes + n, &part) != 1 ||
        EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, KL_TINK_TAG_BYTES, bytes + n) != 1)
        return kl_fail_ossl(err, "EVP_EncryptUpdate", "segment %u cannot be encrypted",
                            place.index);
    return KL_OK;
}

static bool one_block(const struct kl_tink *t, bool encrypt, uint8_t *block)
{
    EVP_CIPHER_CTX *ecb = EVP_CIPHER_CTX_new();
    int n = 0;
    const bool done = ecb != NULL &&
                      EVP_CipherInit_ex(ecb, EVP_aes_256_ecb(), NULL, t->key, NULL, encrypt) == 1 &&
                      EVP_CIPHER_CTX_set_padding(ecb, 0) == 1 &&
                      EVP_CipherUpdate(ecb, block, &n, block, BLOCK_BYTES) == 1;
    EVP_CIPHER_CTX_free(ecb);
    return done;
}

static void counter_block(const struct kl_tink *t, struct kl_tink_place place, uint8_t *block)
{
    nonce_for(t, place, block);
    kl_be_put(block + NONCE_BYTES, 1, 4);
}

/* Where was this segment sealed? `bytes` holds what decryption at `place` made of it, its tag
 * behind. A GCM tag is GHASH(ciphertext) xor E(nonce | 1). Sealing the bytes again at `place` gives
 * the same ciphertext and so the same GHASH; the two tags then give E(its own nonce | 1), which the
 * key turns back into the nonce itself. False when the segment was never one of this stream. */
static bool origin_of(const struct kl_tink *t, struct kl_tink_place place, uint8_t *bytes, size_t n,
                      struct kl_tink_place *ret)
{
    uint8_t stored[BLOCK_BYTES], block[BLOCK_BYTES], expected[BLOCK_BYTES];
    memcpy(stored, bytes + n, sizeof stored);
    EVP_CIPHER_CTX *cipher = kl_tink_cipher(t, true);
    const bool sealed = cipher != NULL && kl_tink_seal(t, cipher, place, bytes, n, NULL) == KL_OK;
    EVP_CIPHER_CTX_free(cipher);
    counter_block(t, place, block);
    if (!sealed || !one_block(t, true, block))
        return false;
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (uint8_t)(block[i] ^ bytes[n + i] ^ stored[i]);
    if (!one_block(t, false, block))
        return false;
    *ret = (struct kl_tink_place){
        .index = (uint32_t)kl_be_get(block + KL_TINK_PREFIX_BYTES, 4),
        .last = block[NONCE_BYTES - 1] != 0,
    };
    counter_block(t, *ret, expected);
    return memcmp(block, expected, sizeof block) == 0;
}

static enum kl_code explain(const struct kl_tink *t, struct kl_tink_place place, uint8_t *bytes,
                            size_t n, struct kl_err *err)
{
    struct kl_tink_place origin;
    if (!origin_of(t, place, bytes, n, &origin)) {
        if (place.index == 0)
            return kl_fail(err, KL_WRAP_PAYLOAD, "payload",
                           "the first segment does not verify: the payload was changed, cut, or "
                           "comes from another container");
        if (place.last && n + KL_TINK_TAG_BYTES < kl_tink_cipher_room(t, place.index))
            return kl_fail(
                err, KL_WRAP_TRUNCATED, "payload",
                "the file does not end where segment %u ends: it was cut or extended, or "
                "that segment was changed",
                place.index);
        return kl_fail(err, KL_WRAP_PAYLOAD, "payload",
                       "segment %u was changed or comes from another container", place.index);
    }
    if (origin.index != place.index)
        return kl_fail(err, KL_WRAP_PAYLOAD, "payload",
                       "segments were reordered: segment %u stands in the place of segment %u",
                       origin.index, place.index);
    if (place.last)
        return kl_fail(err, KL_WRAP_TRUNCATED, "payload",
                       "the file was cut off behind segment %u, which is not the last one",
                       place.index);
    return kl_fail(err, KL_WRAP_PAYLOAD, "payload",
                   "the file goes on behind segment %u, which is the last one: it was extended",
                   place.index);
}

enum kl_code kl_tink_open(const struct kl_tink *t, EVP_CIPHER_CTX *cipher,
                          struct kl_tink_place place, uint8_t *bytes, size_t n, struct kl_err *err)
{
    if (n < KL_TINK_TAG_BYTES)
        return kl_fail(err, KL_WRAP_TRUNCATED, "payload", "the file ends inside segment %u",
                       place.index);
    uint8_t nonce[NONCE_BYTES];
    const size_t plain = n - KL_TINK_TAG_BYTES;
    int part = 0;
    nonce_for(t, place, nonce);
    if (EVP_DecryptInit_ex(cipher, NULL, NULL, NULL, nonce) != 1 ||
        EVP_DecryptUpdate(cipher, bytes, &part, bytes, (int)plain) != 1 ||
        EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, KL_TINK_TAG_BYTES, bytes + plain) != 1) {
        kl_wipe(bytes, n);
        return kl_fail_ossl(err, "EVP_DecryptUpdate", "segment %u cannot be decrypted",
                            place.index);
    }
    if (EVP_DecryptFinal_ex(cipher, bytes + plain, &part) == 1)
        return KL_OK;
    enum kl_code code = explain(t, place, bytes, plain, err);
    kl_wipe(bytes, n);
    return code;
}
