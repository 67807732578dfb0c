/* JSON of the secrets API <-> structs, as wire.h does for keys: no I/O, no model calls. Not thread
 * safe per buffer. Source: reference of the Key Vault data plane, sections 3.2, 4, 5. */
#ifndef KL_KEYVAULT_WIRE_SECRET_H
#define KL_KEYVAULT_WIRE_SECRET_H

#include "keyvault/model/vault_secret.h"
#include "keyvault/wire.h"

#define KL_CONTENT_TYPE_MAX 255 /* characters */

/** Append a SecretBundle, with its value when that is not NULL. The buffer must be empty and is not
 * moved once the value is in it; end it with kl_buf_wipe. */
void kl_wire_put_secret(struct kl_buf *out, const struct kl_origin *origin,
                        const struct kl_vault *vault, const struct kl_vault_secret *secret,
                        const char *value, size_t value_len);
/** Append a DeletedSecretBundle, or a DeletedSecretItem (`item`: the identifier without version).
 */
void kl_wire_put_deleted_secret(struct kl_buf *out, const struct kl_origin *origin,
                                const struct kl_vault *vault, const struct kl_vault_secret *secret,
                                bool item);
/** Append a SecretItem; `versioned`: the identifier names the version. */
void kl_wire_put_secret_item(struct kl_buf *out, const struct kl_origin *origin,
                             const struct kl_vault *vault, const struct kl_vault_secret *secret,
                             bool versioned);

/** Body of set. What `ret` borrows lives in body and tags. KL_BAD_INPUT. */
enum kl_code kl_wire_parse_secret(const json_t *body, struct kl_vault_secret_set *ret,
                                  struct kl_wire_tags *tags, struct kl_err *err) KL_MUST_USE;

/** Body of update, with the values that the patch points to. */
struct kl_wire_secret_patch {
    struct kl_vault_secret_patch patch;
    struct kl_key_attrs attrs;
    struct kl_wire_tags tags;
};
/** End with kl_wire_tags_done(&ret->tags). KL_BAD_INPUT. */
enum kl_code kl_wire_parse_secret_patch(const json_t *body, struct kl_wire_secret_patch *ret,
                                        struct kl_err *err) KL_MUST_USE;

#endif
