/* Keys of one container, all derived from its DEK and its header's hash (FORMAT.md section 3). Pure
 * functions. */
#ifndef KL_WRAP_CONTAINER_KEYS_H
#define KL_WRAP_CONTAINER_KEYS_H

#include "base/secret.h"
#include "wrap/container/header.h"

#define KL_DEK_BYTES 32

/* Lives on a stack frame that declares it with KL_KEYS, which wipes it at the end. */
struct kl_keys {
    uint8_t commitment[KL_HASH_BYTES];
    uint8_t slot[KL_HASH_BYTES];    /* HMAC key of the wrap slots */
    uint8_t payload[KL_HASH_BYTES]; /* Tink's key value */
};

static inline void kl_keys_wipe(struct kl_keys *keys)
{
    kl_wipe(keys, sizeof *keys);
}
#define KL_KEYS __attribute__((cleanup(kl_keys_wipe))) struct kl_keys

/** HKDF-SHA256 (RFC 5869), extract then expand, to 32 bytes. An empty info is fine. KL_CRYPTO. */
enum kl_code kl_hkdf(const uint8_t *key, size_t key_len, const uint8_t *salt, size_t salt_len,
                     const uint8_t *info, size_t info_len, uint8_t ret[static KL_HASH_BYTES],
                     struct kl_err *err) KL_MUST_USE;

/** Derive from the DEK (exactly KL_DEK_BYTES, else KL_WRAP_KEY), core->commit_salt and core->hash.
 */
enum kl_code kl_keys_derive(const struct kl_core *core, struct kl_secret *dek, struct kl_keys *ret,
                            struct kl_err *err) KL_MUST_USE;

/** As kl_keys_derive, then compare with the header's commitment in constant time: KL_WRAP_KEY when
 * this DEK and this header were not made for each other. */
enum kl_code kl_keys_open(const struct kl_core *core, struct kl_secret *dek, struct kl_keys *ret,
                          struct kl_err *err) KL_MUST_USE;

#endif
