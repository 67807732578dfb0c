/* What the files on secrets share. Private to the model. */
#ifndef KL_KEYVAULT_MODEL_VAULT_SECRET_INSIDE_H
#define KL_KEYVAULT_MODEL_VAULT_SECRET_INSIDE_H

#include "keyvault/model/inside.h"
#include "keyvault/model/sealed.h"
#include "keyvault/model/vault_secret.h"

/** A copy of the row. KL_NO_MEMORY. */
enum kl_code kl_vault_secret_copy(const struct kl_object_row *object,
                                  const struct kl_secret_item_row *row, struct kl_vault_secret *ret,
                                  struct kl_err *err) KL_MUST_USE;
/** The secret of this name if it is active. KL_SECRET_NOT_FOUND. */
enum kl_code kl_vault_secret_object(struct kl_store_session *t, const char *vault_id,
                                    const char *name, struct kl_object_row *ret,
                                    struct kl_err *err) KL_MUST_USE;
/** A version id that no row has: 32 hex digits. */
void kl_vault_secret_new_version(char out[static KL_VERSION_LEN + 1]);
/** A version id as stored, cut to its length. */
void kl_vault_secret_lower(const char *version, char out[static KL_VERSION_LEN + 1]);

/** Rows of a secret that are to come into being in one commit, oldest first, numbered here. The
 * object is made when there is none, and may then have to be protected: */
struct kl_vault_secret_birth {
    struct kl_model *m;
    const struct kl_vault *v;
    const char *name;
    const struct kl_vault_key *key; /* sealed the rows, MACs them */
    struct kl_secret_row *rows;
    size_t count;
    bool name_must_be_free;
    struct kl_object_row object; /* filled in */
};
/** KL_NAME_DELETED, KL_CONFLICT, KL_VAULT_NOT_FOUND, store codes, KL_TOKEN_*. */
enum kl_code kl_vault_secret_bear(struct kl_vault_secret_birth *b, struct kl_err *err) KL_MUST_USE;

#endif
