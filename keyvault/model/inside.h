/* What the files of the model share. Private to keyvault/model.
 *
 * Locks, in the order they may be taken: reconciling -> births.lock -> backup_notes.lock -> store
 * session -> world -> directory -> cache stripes; clock.lock and that of the vault keys are leaves.
 * No token is called with any of them held but `reconciling`.
 */
#ifndef KL_KEYVAULT_MODEL_INSIDE_H
#define KL_KEYVAULT_MODEL_INSIDE_H

#include "keyvault/model/cache.h"
#include "keyvault/model/directory.h"
#include "keyvault/model/model.h"
#include "keyvault/model/protect.h"
#include "keyvault/model/seal.h"
#include "keyvault/model/trusted_clock.h"
#include "keyvault/model/vault_key.h"
#include "keyvault/store/store.h"

#include <pthread.h>

struct kl_host {
    char host[KL_HOST_MAX + 1];
    struct kl_vault *vault; /* borrowed from the vault list */
};

struct kl_lists {
    struct kl_vault **vaults; /* active and deleted, by folded name */
    size_t vault_count, vault_room;
    struct kl_host *hosts; /* of active vaults, sorted */
    size_t host_count, host_room;
};

/** Everything that is answered without the store, apart from keys. Changed under `lock` by the
 * thread that holds the write session, after its commit. */
struct kl_world {
    pthread_rwlock_t lock;
    struct kl_lists now;
};

/** Notes of backups that the store could not take yet (backup_note.c). */
struct kl_backup_notes {
    pthread_mutex_t lock;
    struct kl_backup_late *first; /* oldest first */
    size_t count;
};

struct kl_birth;
struct kl_move_in;

struct kl_model {
    struct kl_store *store;
    struct kl_token **tokens;
    size_t token_count;
    struct kl_world world;
    struct kl_directory directory;
    struct kl_seals seals;
    struct kl_cache *cache;
    struct kl_vault_keys *vault_keys;
    struct kl_trusted_clock clock;
    struct kl_backup_notes backup_notes;
    char tenant[KL_UUID_LEN + 1];
    struct {
        bool receiver; /* somebody listens (event.h) */
        int64_t most;  /* that may wait */
        atomic_ullong lost;
    } events;
    pthread_mutex_t reconciling;
    struct {
        pthread_mutex_t lock;
        struct kl_birth *first;    /* creations under way: their CREATING rows are not a crash's */
        struct kl_move_in *moving; /* the same for further homes */
    } births;
};

/* --- model.c --- */

/** The configured token of this name, or NULL. */
struct kl_token *kl_model_token(const struct kl_model *m, const char *name);
/** As above, KL_TOKEN_UNAVAILABLE when the configuration lacks it. */
enum kl_code kl_model_token_named(const struct kl_model *m, const char *name, struct kl_token **ret,
                                  struct kl_err *err) KL_MUST_USE;
/** Commit. The session stays open, so that memory can follow before the next writer comes. When the
 * commit fails its outcome is unknown: memory is read back from what the database says. */
enum kl_code kl_model_commit(struct kl_model *m, struct kl_store_session *t,
                             struct kl_err *err) KL_MUST_USE;
/** Upper case of an object's name; `out` has the room of a row's name. */
void kl_model_fold(const char *name, char *out, size_t room);

/* --- attributes.c --- */

/** row->attr_mac for a version that is to be written. KL_TOKEN_UNAVAILABLE when nothing can be
 * sealed now; zeros where no token can MAC. */
enum kl_code kl_attributes_seal(const struct kl_model *m, struct kl_version_row *row,
                                struct kl_err *err) KL_MUST_USE;
/** Is a READY version's row as this service wrote it? KL_CORRUPT, with a line in the log; KL_OK
 * while the key of the seals is not held. Any session. */
enum kl_code kl_attributes_check(const struct kl_model *m, const struct kl_version_row *row,
                                 struct kl_err *err) KL_MUST_USE;
/** Seal those that have no MAC, or `all`, in this write session. */
enum kl_code kl_attributes_seal_all(const struct kl_model *m, struct kl_store_session *t, bool all,
                                    struct kl_err *err) KL_MUST_USE;
/** How many do not fit. No store session may be open. */
enum kl_code kl_attributes_check_all(const struct kl_model *m, unsigned *ret_wrong,
                                     struct kl_err *err) KL_MUST_USE;

/* --- backup_note.c --- */

void kl_backup_notes_init(struct kl_backup_notes *n);
void kl_backup_notes_done(struct kl_backup_notes *n);
/** Write what waits. KL_NO_SPACE, KL_READ_ONLY, KL_IO while the store still cannot be written. */
enum kl_code kl_backup_notes_write(struct kl_model *m, struct kl_err *err) KL_MUST_USE;

/* --- birth.c --- */

/** KL_VAULT_NOT_FOUND unless the vault is active as the session sees it, or `vault_id` is "" (the
 * service's own keys). */
enum kl_code kl_vault_must_be_active(struct kl_store_session *t, const char *vault_id,
                                     struct kl_err *err) KL_MUST_USE;

/* --- create.c --- */

/** One version of a key of the service itself. KL_NOT_FOUND. */
enum kl_code kl_system_key_version(struct kl_model *m, const char *purpose, const char *version,
                                   struct kl_key_version **ret, struct kl_err *err) KL_MUST_USE;

/* --- snapshot.c --- */

/** Immutable copies of rows; *ret has one reference. KL_CORRUPT, KL_NO_MEMORY. */
enum kl_code kl_snapshot_version(const struct kl_model *m, const struct kl_object_row *object,
                                 const struct kl_version_row *row, struct kl_key_version **ret,
                                 struct kl_err *err) KL_MUST_USE;
/** The vault with its policies, as the session sees it. KL_NOT_FOUND. */
enum kl_code kl_snapshot_vault(const struct kl_model *m, struct kl_store_session *t, const char *id,
                               struct kl_vault **ret, struct kl_err *err) KL_MUST_USE;
/** The newest version of an object. KL_NOT_FOUND. */
enum kl_code kl_snapshot_newest(const struct kl_model *m, struct kl_store_session *t,
                                const struct kl_object_row *object, struct kl_key_version **ret,
                                struct kl_err *err) KL_MUST_USE;
/** The answers of a version query, at most `room`, each a reference. */
enum kl_code kl_snapshot_versions(const struct kl_model *m, struct kl_store_session *t,
                                  const struct kl_object_row *object, enum kl_store_query query,
                                  const struct kl_store_value *args, size_t arg_count,
                                  struct kl_key_version **ret, size_t room, size_t *ret_count,
                                  struct kl_err *err) KL_MUST_USE;

/** A vault's row as the session sees it, with its texts on the heap. Free with kl_vault_copy_done.
 */
struct kl_vault_copy {
    struct kl_vault_row row;
    char *tags, *origins;
};
enum kl_code kl_vault_copy_read(struct kl_store_session *t, enum kl_store_query query,
                                const char *key, struct kl_vault_copy *ret,
                                struct kl_err *err) KL_MUST_USE;
void kl_vault_copy_done(struct kl_vault_copy *c);
/** The row of an active vault, by name. KL_VAULT_NOT_FOUND. */
enum kl_code kl_vault_active_row(struct kl_store_session *t, const char *name,
                                 struct kl_vault_copy *ret, struct kl_err *err) KL_MUST_USE;
/** Commit a change of a vault or of who may what in it, and show it; *ret may be NULL. */
enum kl_code kl_vault_commit(struct kl_model *m, struct kl_store_session *t, const char *id,
                             struct kl_vault **ret, struct kl_err *err) KL_MUST_USE;
/** Write the changeable columns and the MAC. */
enum kl_code kl_vault_row_write(struct kl_store_session *t, const struct kl_vault_row *row,
                                struct kl_err *err) KL_MUST_USE;
enum kl_code kl_object_row_write(struct kl_store_session *t, const struct kl_object_row *row,
                                 struct kl_err *err) KL_MUST_USE;
/** The object of this kind that holds this name in the vault, in any state but purged.
 * KL_NOT_FOUND. */
enum kl_code kl_object_read(struct kl_store_session *t, const char *vault_id, enum kl_kind kind,
                            const char *name, struct kl_object_row *ret,
                            struct kl_err *err) KL_MUST_USE;

/* --- world.c --- */

void kl_world_init(struct kl_world *w);
void kl_world_done(struct kl_world *w);
/** Make room, so that the calls below cannot fail after a commit. KL_NO_MEMORY. */
enum kl_code kl_world_reserve(struct kl_world *w, struct kl_err *err) KL_MUST_USE;
/** Show this vault in place of the one with its id; takes the reference. */
void kl_world_put_vault(struct kl_world *w, struct kl_vault *v);
void kl_world_drop_vault(struct kl_world *w, const char *id);
/** Read all from the store, replacing what is there only when everything could be read. The session
 * must be a write session once there are other threads: else what they publish meanwhile would be
 * lost. */
enum kl_code kl_world_load(struct kl_model *m, struct kl_store_session *t,
                           struct kl_err *err) KL_MUST_USE;
/** Does an active or deleted vault have this host? Under a write session. */
bool kl_world_host_taken(struct kl_world *w, const char *host);

#endif
