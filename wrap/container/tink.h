/* Segments of Tink's AES256-GCM-HKDF streaming AEAD (FORMAT.md section 5): keys, nonces, one
 * segment at a time.
 *
 * Source: developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming: header = length 40 |
 * salt 32 | nonce prefix 7; segment key = HKDF-SHA256(key value, salt, associated data); nonce =
 * prefix | segment number, 4 bytes big-endian | 1 for the last one, else 0. struct kl_tink is read
 * by many threads at once; a cipher belongs to one thread. Not here: reading and writing
 * (stream.h).
 */
#ifndef KL_WRAP_CONTAINER_TINK_H
#define KL_WRAP_CONTAINER_TINK_H

#include "base/secret.h"

#include <openssl/evp.h>

#define KL_TINK_HEADER_BYTES 40
#define KL_TINK_TAG_BYTES    16
#define KL_TINK_PREFIX_BYTES 7

struct kl_tink {
    uint8_t key[32]; /* of the segments */
    uint8_t header[KL_TINK_HEADER_BYTES];
    uint32_t segment_bytes;
};

static inline void kl_tink_wipe(struct kl_tink *t)
{
    kl_wipe(t, sizeof *t);
}
#define KL_TINK __attribute__((cleanup(kl_tink_wipe))) struct kl_tink

/** Fresh salt and nonce prefix for a new stream. KL_CRYPTO. */
enum kl_code kl_tink_begin(const uint8_t key_value[static 32], const uint8_t aad[static 32],
                           uint32_t segment_bytes, struct kl_tink *ret,
                           struct kl_err *err) KL_MUST_USE;
/** From the header of an existing stream; KL_WRAP_PAYLOAD when its first byte is not 40. */
enum kl_code kl_tink_resume(const uint8_t key_value[static 32], const uint8_t aad[static 32],
                            uint32_t segment_bytes,
                            const uint8_t header[static KL_TINK_HEADER_BYTES], struct kl_tink *ret,
                            struct kl_err *err) KL_MUST_USE;

/** Where ciphertext segment `index` begins, counted from the stream's first byte (its header), and
 * the most it can hold. */
static inline uint64_t kl_tink_cipher_at(const struct kl_tink *t, uint64_t index)
{
    return index == 0 ? KL_TINK_HEADER_BYTES : index * t->segment_bytes;
}
static inline size_t kl_tink_cipher_room(const struct kl_tink *t, uint64_t index)
{
    return t->segment_bytes - (index == 0 ? (size_t)KL_TINK_HEADER_BYTES : 0);
}
/** The same for plaintext. */
static inline uint64_t kl_tink_plain_at(const struct kl_tink *t, uint64_t index)
{
    return index == 0 ? 0 : index * (t->segment_bytes - KL_TINK_TAG_BYTES) - KL_TINK_HEADER_BYTES;
}
static inline size_t kl_tink_plain_room(const struct kl_tink *t, uint64_t index)
{
    return kl_tink_cipher_room(t, index) - KL_TINK_TAG_BYTES;
}

/** The segment that holds plaintext byte `offset`. */
static inline uint64_t kl_tink_index_of(const struct kl_tink *t, uint64_t offset)
{
    return (offset + KL_TINK_HEADER_BYTES) / (t->segment_bytes - KL_TINK_TAG_BYTES);
}

/** Segment number and last flag: what a nonce says. */
struct kl_tink_place {
    uint32_t index;
    bool last;
};

/** A cipher with the key set, for kl_tink_seal or for kl_tink_open. Free with EVP_CIPHER_CTX_free.
 * NULL when memory is short. */
EVP_CIPHER_CTX *kl_tink_cipher(const struct kl_tink *t, bool sealing);

/** Encrypt n bytes in place and put the tag behind them: bytes has room for n + KL_TINK_TAG_BYTES.
 */
enum kl_code kl_tink_seal(const struct kl_tink *t, EVP_CIPHER_CTX *cipher,
                          struct kl_tink_place place, uint8_t *bytes, size_t n,
                          struct kl_err *err) KL_MUST_USE;

/** Decrypt n bytes (tag included) in place; the plaintext is the first n - KL_TINK_TAG_BYTES. On
 * failure the bytes are wiped, and the sentence says what happened as far as the segment itself
 * proves it: KL_WRAP_TRUNCATED (the stream was cut), KL_WRAP_PAYLOAD (continued behind its end,
 * segment moved from another place, changed). */
enum kl_code kl_tink_open(const struct kl_tink *t, EVP_CIPHER_CTX *cipher,
                          struct kl_tink_place place, uint8_t *bytes, size_t n,
                          struct kl_err *err) KL_MUST_USE;

#endif
