/* How key versions come into being, for create, rotate, restore and system keys alike. Private to
 * the model.
 *
 *   begin   rows CREATING with fresh CKA_IDs, committed: whatever the token makes from now on is
 * named in the database …       the caller makes each version on the token and fills in its public
 * key ready   all rows READY in one commit: acknowledged, visible undo    token objects destroyed;
 * only then the rows removed. What cannot be destroyed now stays for kl_model_reconcile
 */
#ifndef KL_KEYVAULT_MODEL_BIRTH_H
#define KL_KEYVAULT_MODEL_BIRTH_H

#include "keyvault/model/inside.h"

struct kl_birth {
    struct kl_model *m;
    const char *vault_id; /* "" = the service's own keys */
    const char *name;
    struct kl_token *token;      /* the versions are made there; vouches for their rows */
    const char *vouching;        /* the vault's token, which vouches for the object's row */
    struct kl_version_row *rows; /* oldest first; the caller's */
    size_t count;
    bool managed;           /* behind a certificate: only of its own kind may be there before */
    int64_t replaces;       /* seq that must be the newest still, by a policy's rotation; 0 = any */
    bool name_must_be_free; /* else a new version of an existing key is fine */
    /* further rows for the commit that makes the versions ready; the protector is the vault's. May
     * be NULL */
    enum kl_code (*also)(void *arg, struct kl_store_session *t, const struct kl_protector *p,
                         struct kl_err *err);
    void *also_arg;
    /* filled in */
    struct kl_object_row object;
    size_t touched; /* rows for which the token was asked, so that it may hold an object */
    bool unknown;   /* the last commit's outcome could not be read back */
    struct kl_birth *next;
};

/** KL_VAULT_NOT_FOUND, KL_NAME_DELETED, KL_CONFLICT (name_must_be_free), store codes. After KL_OK,
 * ready or undo must follow. */
enum kl_code kl_birth_begin(struct kl_birth *b, struct kl_err *err) KL_MUST_USE;
/** *ret = the newest of the rows. On failure everything has been undone. */
enum kl_code kl_birth_ready(struct kl_birth *b, struct kl_key_version **ret,
                            struct kl_err *err) KL_MUST_USE;
void kl_birth_undo(struct kl_birth *b);

/** Whether an unfinished version's token object is ours to destroy: one that was attached is not.
 */
bool kl_birth_owns(int64_t origin);

/** Make sure that the token holds nothing under the id of a version that was never acknowledged.
 * KL_OK = it is known to be gone. */
enum kl_code kl_birth_destroy(struct kl_token *token, const uint8_t id[static KL_KEY_ID_LEN],
                              struct kl_err *err) KL_MUST_USE;

/** A row for a new version, with ids, from what its creator asked; no public key yet. */
void kl_birth_fill(const struct kl_key_create *how, const struct kl_key_spec *spec,
                   const char *token_name, struct kl_version_row *row);
/** A random version id (32 hex digits) and CKA_ID into the row. */
void kl_birth_ids(struct kl_version_row *row, bool new_version);

#endif
