/* The bytes of a key backup; layout in this folder's README.md. Pure: no token, no store. Private
 * to the model.
 *
 * Decoding checks the structure only. Nothing of it may be believed before the MAC has been. */
#ifndef KL_KEYVAULT_MODEL_BACKUP_BLOB_H
#define KL_KEYVAULT_MODEL_BACKUP_BLOB_H

#include "base/buf.h"
#include "keyvault/model/object.h"
#include "keyvault/store/rows.h"

#define KL_BACKUP_BYTES_MAX    ((size_t)8 << 20)
#define KL_BACKUP_VERSIONS_MAX 501 /* the current one and 500 past ones */
#define KL_BACKUP_DOMAIN_LEN   32
#define KL_BACKUP_MAC_LEN      32

struct kl_backup_version {
    struct kl_version_row row; /* as it was; texts and bytes point into the blob */
    uint64_t mechanism;
    struct kl_store_bytes wrapped;
};

struct kl_backup {
    uint8_t domain[KL_BACKUP_DOMAIN_LEN];
    char subscription[KL_ROW_NAME], geography[KL_ROW_NAME], vault[KL_ROW_NAME];
    char name[KL_ROW_NAME];
    struct kl_backup_version *versions; /* oldest first; malloc'd */
    size_t count;
    struct kl_store_bytes content; /* what the MAC covers: all but the MAC */
    const uint8_t *mac;
};

/** Begin a blob: everything in front of the versions. */
void kl_backup_put_head(struct kl_buf *out, const uint8_t domain[static KL_BACKUP_DOMAIN_LEN],
                        const struct kl_vault *v, const char *name, size_t versions);
void kl_backup_put_version(struct kl_buf *out, const struct kl_key_version *k, uint64_t mechanism,
                           const void *wrapped, size_t n);
/** Begin a copy of a decoded blob under another domain: all up to the first version's wrapped key.
 */
void kl_backup_copy_head(struct kl_buf *out, const struct kl_backup *b,
                         const uint8_t domain[static KL_BACKUP_DOMAIN_LEN]);
/** Go on with version i's key as it is wrapped now, and all up to the next one's. */
void kl_backup_copy_version(struct kl_buf *out, const struct kl_backup *b, size_t i,
                            uint64_t mechanism, const void *wrapped, size_t n);
/** Fill in the total length, once all but the MAC is there. */
void kl_backup_put_length(struct kl_buf *out);

/** KL_BACKUP_MALFORMED, KL_NO_MEMORY. The blob must outlive *ret; end with kl_backup_done. */
enum kl_code kl_backup_decode(const void *blob, size_t n, struct kl_backup *ret,
                              struct kl_err *err) KL_MUST_USE;
void kl_backup_done(struct kl_backup *b);

#endif
