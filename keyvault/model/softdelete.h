/* The life of vaults and of all that is in them: one table of transitions, and the calls that walk
 * it. What differs between kinds is in kind.h. Private to the model. */
#ifndef KL_KEYVAULT_MODEL_SOFTDELETE_H
#define KL_KEYVAULT_MODEL_SOFTDELETE_H

#include "keyvault/model/inside.h"
#include "keyvault/model/kind.h"

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

/** KL_OK and *ret = the state after it, or the refusal. `kind` is an object's, or KL_KIND_VAULT.
 * KL_CORRUPT for numbers that are no kind, state or event. */
enum kl_code kl_life_next(enum kl_kind kind, enum kl_life from, enum kl_life_event event,
                          enum kl_life *ret) KL_MUST_USE;

/** One change under way: the row-protection key fetched, then a write session with the rows read
 * and checked. Zeroed but for the first three; end with kl_change_done. */
struct kl_change {
    struct kl_model *m;
    enum kl_life_event event;
    bool by_date; /* the sweeper's purge: only the date allows it */
    struct kl_protector protector;
    struct kl_store_session *t;
    struct kl_vault_copy vault;
    struct kl_object_row object;
    enum kl_life next;
    int64_t led_key; /* of a certificate that is purged: its key, which the token must let go of */
};
void kl_change_done(struct kl_change *c);
/** Fetch the key, begin the session. */
enum kl_code kl_change_begin(struct kl_change *c, const char *token_name,
                             struct kl_err *err) KL_MUST_USE;
/** Read and check the vault. */
enum kl_code kl_change_read_vault(struct kl_change *c, const char *vault_id,
                                  struct kl_err *err) KL_MUST_USE;
/** Turns KL_CORRUPT into KL_PURGE_PROTECTED for a purge: a changed row is never purged. */
enum kl_code kl_change_checked(const struct kl_change *c, enum kl_code code, struct kl_err *err);
/** Write the object with this state and its MAC. */
enum kl_code kl_change_write_object(struct kl_change *c, struct kl_object_row *o, enum kl_life next,
                                    struct kl_err *err) KL_MUST_USE;
/** Remove what the database has of the versions of an object that has nothing on a token (any
 * more), and leave its tombstone. */
enum kl_code kl_change_bury_object(struct kl_change *c, struct kl_object_row *o,
                                   struct kl_err *err) KL_MUST_USE;

struct kl_stamps {
    int64_t deleted_at, purge_at, elapsed;
};
/** Of a deletion now. */
struct kl_stamps kl_stamps_now(struct kl_change *c);
/** Key and secret that are managed go the way that their certificate (c->object) goes by c->event.
 */
enum kl_code kl_change_lead(struct kl_change *c, struct kl_stamps s,
                            struct kl_err *err) KL_MUST_USE;
/** Is this object behind a certificate that is still there? Then nothing else may change it. */
enum kl_code kl_change_is_led(struct kl_store_session *t, const struct kl_object_row *o, bool *ret,
                              struct kl_err *err) KL_MUST_USE;

/** May what was deleted then be purged now? KL_PURGE_PROTECTED, KL_CLOCK_FROZEN. */
enum kl_code kl_change_may_purge(struct kl_change *c, struct kl_stamps deleted,
                                 struct kl_err *err) KL_MUST_USE;

/** Called in the session of a change, before its commit: read what the answer needs. */
typedef enum kl_code kl_change_look(void *arg, struct kl_model *m, struct kl_store_session *t,
                                    const struct kl_object_row *object, struct kl_err *err);

/** Delete or recover an object with all its versions (`event`); `look` sees it as it is afterwards.
 * The kind's codes, KL_VAULT_NOT_FOUND. */
enum kl_code kl_object_change(struct kl_model *m, const struct kl_vault *v, enum kl_kind kind,
                              const char *name, enum kl_life_event event, kl_change_look *look,
                              void *arg, struct kl_err *err) KL_MUST_USE;
/** Look at a deleted object. */
enum kl_code kl_object_deleted(struct kl_model *m, const struct kl_vault *v, enum kl_kind kind,
                               const char *name, kl_change_look *look, void *arg,
                               struct kl_err *err) KL_MUST_USE;

/** A vault's row in a session of its own; tags and origins are left out. KL_NOT_FOUND. */
enum kl_code kl_vault_row_find(struct kl_model *m, enum kl_store_query query, const char *key,
                               struct kl_vault_row *ret, struct kl_err *err) KL_MUST_USE;

/** Purge a deleted object or vault; `by_date`: only if its date has come (the sweeper), else also
 * at once where there is no purge protection. */
enum kl_code kl_purge_object(struct kl_model *m, const char *vault_id, const char *token_name,
                             enum kl_kind kind, const char *name, bool by_date,
                             struct kl_err *err) KL_MUST_USE;
enum kl_code kl_purge_vault(struct kl_model *m, const char *name, bool by_date,
                            struct kl_err *err) KL_MUST_USE;
/** Bring what is PURGING to its end: token objects destroyed, then the tombstone. KL_OK too when it
 * is PURGED already. */
enum kl_code kl_purge_finish_object(struct kl_model *m, int64_t object_id, const char *token_name,
                                    struct kl_err *err) KL_MUST_USE;
enum kl_code kl_purge_finish_vault(struct kl_model *m, const struct kl_vault_row *row,
                                   struct kl_err *err) KL_MUST_USE;

/** Finish all that is PURGING (after a crash, or a token that was away); adds to *finished. Goes on
 * behind a failure and answers the first. */
enum kl_code kl_purges_finish(struct kl_model *m, unsigned *finished,
                              struct kl_err *err) KL_MUST_USE;

#endif
