/* Values at rest: AES-256-GCM and row MACs under the two halves of a vault's key. Private to the
 * model. Thread safe.
 *
 * A sealed value is 12 bytes nonce (random), the ciphertext, 16 bytes tag. Its associated data are
 * vault id, kind, name and version, so that a value copied to another row does not open. Source:
 * NIST SP 800-38D section 8.2.2; a key seals far fewer than 2^32 values. */
#ifndef KL_KEYVAULT_MODEL_SEALED_H
#define KL_KEYVAULT_MODEL_SEALED_H

#include "base/buf.h"
#include "base/secret.h"
#include "keyvault/store/rows.h"

#define KL_SEALED_KEY_LEN  32 /* bytes of each half */
#define KL_SEALED_OVERHEAD 28

/** Whose value it is. Texts are borrowed; the name counts in upper case, as it is compared. */
struct kl_sealed_place {
    const char *vault_id, *kind, *folded, *version;
};

/** Append the sealed form of n bytes to `out`. KL_CRYPTO, KL_NO_MEMORY. */
enum kl_code kl_sealed_put(const uint8_t key[static KL_SEALED_KEY_LEN],
                           const struct kl_sealed_place *place, const void *plain, size_t n,
                           struct kl_buf *out, struct kl_err *err) KL_MUST_USE;
/** The value of a sealed form. KL_CORRUPT when it is not what was sealed, there, under this key. */
enum kl_code kl_sealed_get(const uint8_t key[static KL_SEALED_KEY_LEN],
                           const struct kl_sealed_place *place, const void *sealed, size_t n,
                           struct kl_secret **ret, struct kl_err *err) KL_MUST_USE;

/** Set row->mac over everything else in the row and its vault; check it (KL_CORRUPT). */
enum kl_code kl_sealed_mac(const uint8_t key[static KL_SEALED_KEY_LEN], const char *vault_id,
                           struct kl_secret_item_row *row, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_sealed_check(const uint8_t key[static KL_SEALED_KEY_LEN], const char *vault_id,
                             const struct kl_secret_item_row *row, struct kl_err *err) KL_MUST_USE;

#endif
