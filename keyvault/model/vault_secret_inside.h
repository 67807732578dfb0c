/* What the files on secrets share. Private to the model. */
#ifndef KL_KEYVAULT_MODEL_VAULT_SECRET_INSIDE_H
#define KL_KEYVAULT_MODEL_VAULT_SECRET_INSIDE_H

#include "keyvault/model/domain.h"
#include "keyvault/model/inside.h"
#include "keyvault/model/sealed.h"
#include "keyvault/model/vault_secret.h"

/** A copy of the row. KL_NO_MEMORY. */
enum kl_code kl_vault_secret_copy(const struct kl_object_row *object,
                                  const struct kl_secret_item_row *row, struct kl_vault_secret *ret,
                                  struct kl_err *err) KL_MUST_USE;
/** The object of this name if it is active. The kind's code. */
enum kl_code kl_vault_secret_object(struct kl_store_session *t, const char *vault_id,
                                    enum kl_kind kind, const char *name, struct kl_object_row *ret,
                                    struct kl_err *err) KL_MUST_USE;

/* What vault_secret.h has for secrets, for any kind that is kept as they are. */

enum kl_code kl_vault_item_get(struct kl_model *m, struct kl_vault *v, enum kl_kind kind,
                               const char *name, const char *version, struct kl_vault_secret *ret,
                               struct kl_secret **ret_value, bool *ret_must_wait,
                               struct kl_err *err) KL_MUST_USE;
enum kl_code kl_vault_item_update(struct kl_model *m, struct kl_vault *v, enum kl_kind kind,
                                  const char *name, const char *version,
                                  const struct kl_vault_secret_patch *patch,
                                  struct kl_vault_secret *ret, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_vault_item_list(struct kl_model *m, struct kl_vault *v, enum kl_kind kind,
                                enum kl_object_state state, const char *after, size_t limit,
                                struct kl_vault_secret_page *ret, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_vault_item_versions(struct kl_model *m, struct kl_vault *v, enum kl_kind kind,
                                    const char *name, const char *after, size_t limit,
                                    struct kl_vault_secret_page *ret,
                                    struct kl_err *err) KL_MUST_USE;
/** Delete or recover; *ret is the newest version, or has but a name and dates when there is none.
 */
enum kl_code kl_vault_item_change(struct kl_model *m, struct kl_vault *v, enum kl_kind kind,
                                  const char *name, bool recover, struct kl_vault_secret *ret,
                                  struct kl_err *err) KL_MUST_USE;
enum kl_code kl_vault_item_deleted(struct kl_model *m, struct kl_vault *v, enum kl_kind kind,
                                   const char *name, struct kl_vault_secret *ret,
                                   struct kl_err *err) KL_MUST_USE;
/** A version id that no row has: 32 hex digits. */
void kl_vault_secret_new_version(char out[static KL_VERSION_LEN + 1]);

/** Rows of a secret that are to come into being in one commit, oldest first, numbered here. The
 * object is made when there is none, and may then have to be protected: */
struct kl_vault_secret_birth {
    struct kl_model *m;
    const struct kl_vault *v;
    const char *name;
    enum kl_kind kind;
    bool managed;                   /* behind a certificate */
    const struct kl_vault_key *key; /* sealed the rows, MACs them */
    struct kl_secret_row *rows;
    size_t count;
    bool name_must_be_free;
    struct kl_object_row object; /* filled in */
};
/** KL_NAME_DELETED, KL_CONFLICT, KL_VAULT_NOT_FOUND, store codes, KL_TOKEN_*. */
/** Inside of a write session of the caller's; `p` NULL: *ret_free tells whether a protector is
 * needed, and then nothing has been done. */
enum kl_code kl_vault_secret_place(struct kl_vault_secret_birth *b, struct kl_store_session *t,
                                   const struct kl_protector *p, bool *ret_free,
                                   struct kl_err *err) KL_MUST_USE;
enum kl_code kl_vault_secret_bear(struct kl_vault_secret_birth *b, struct kl_err *err) KL_MUST_USE;

/* Sealed copies: whatever a backup holds, under a key that the token's domain key gives. */

struct kl_sealed_copy {
    char magic[8];
    const char *label; /* of the MAC that is its key */
    const char *what;  /* in the associated data */
};
/** Append a sealed copy of the content, under the token's current domain key. */
enum kl_code kl_sealed_copy_put(const struct kl_sealed_copy *kind, struct kl_token *token,
                                struct kl_secret *content, struct kl_buf *out,
                                struct kl_seal_domain *ret_domain, struct kl_err *err) KL_MUST_USE;
/** KL_BACKUP_MALFORMED, KL_BACKUP_DOMAIN, KL_TOKEN_*. */
enum kl_code kl_sealed_copy_open(const struct kl_sealed_copy *kind, struct kl_token *token,
                                 const void *blob, size_t n, struct kl_secret **ret,
                                 struct kl_err *err) KL_MUST_USE;

#endif
