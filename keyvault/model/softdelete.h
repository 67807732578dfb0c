/* The life of vaults and keys: one table of transitions, and the calls that walk it. Private to the
 * model. */
#ifndef KL_KEYVAULT_MODEL_SOFTDELETE_H
#define KL_KEYVAULT_MODEL_SOFTDELETE_H

#include "keyvault/model/inside.h"

/** What is in the state column of vaults and objects. Stored: append only. */
enum kl_life {
    KL_LIFE_NEW, /* a key whose first version is being made: nobody sees it, its name is held */
    KL_LIFE_ACTIVE,
    KL_LIFE_DELETED,
    KL_LIFE_PURGING, /* decided and committed; token objects are being destroyed */
    KL_LIFE_PURGED,  /* tombstone; the name is free */
    KL_LIFE_COUNT
};

enum kl_life_event {
    KL_EVENT_READY, /* a version came into being */
    KL_EVENT_DELETE,
    KL_EVENT_RECOVER,
    KL_EVENT_PURGE,
    KL_EVENT_VAULT_PURGE, /* the vault around it is purged */
    KL_EVENT_GONE,        /* the token has nothing of it any more */
    KL_EVENT_COUNT
};

/** What is in the state column of versions. */
enum kl_version_state { KL_VERSION_CREATING, KL_VERSION_READY };

/** KL_OK and *ret = the state after it, or the refusal for a key (vault = false) or a vault. */
enum kl_code kl_life_next(bool vault, enum kl_life from, enum kl_life_event event,
                          enum kl_life *ret) KL_MUST_USE;

/** A vault's row in a session of its own; tags and origins are left out. KL_NOT_FOUND. */
enum kl_code kl_vault_row_find(struct kl_model *m, enum kl_store_query query, const char *key,
                               struct kl_vault_row *ret, struct kl_err *err) KL_MUST_USE;

/** Purge a deleted key or vault; `by_date`: only if its date has come (the sweeper), else also at
 * once where there is no purge protection. */
enum kl_code kl_purge_key(struct kl_model *m, const char *vault_id, const char *token_name,
                          const char *name, bool by_date, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_purge_vault(struct kl_model *m, const char *name, bool by_date,
                            struct kl_err *err) KL_MUST_USE;
/** Bring what is PURGING to its end: token objects destroyed, then the tombstone. KL_OK too when it
 * is PURGED already. */
enum kl_code kl_purge_finish_key(struct kl_model *m, int64_t object_id, const char *token_name,
                                 struct kl_err *err) KL_MUST_USE;
enum kl_code kl_purge_finish_vault(struct kl_model *m, const struct kl_vault_row *row,
                                   struct kl_err *err) KL_MUST_USE;

/** Finish all that is PURGING (after a crash, or a token that was away); adds to *finished. Goes on
 * behind a failure and answers the first. */
enum kl_code kl_purges_finish(struct kl_model *m, unsigned *finished,
                              struct kl_err *err) KL_MUST_USE;

#endif
