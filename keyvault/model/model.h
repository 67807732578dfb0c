/* The object model: every state change of vaults, keys and principals, with its rules. Holds no
 * HTTP, no SQL text, no PKCS#11.
 *
 * Reads are answered from snapshots in memory (a read-through cache in front of the store) and
 * never touch a token. Writes go through the store's one writer and may block for a token's key
 * generation or an fsync: call them from a job thread, not from an I/O thread. All functions are
 * thread safe.
 */
#ifndef KL_KEYVAULT_MODEL_H
#define KL_KEYVAULT_MODEL_H

#include "keyvault/model/object.h"
#include "keyvault/model/principal.h"

struct kl_model;
struct kl_store_ops;

struct kl_model_config {
    const char *database;     /* path of the SQLite file; made when absent */
    struct kl_token **tokens; /* all configured tokens; borrowed for the model's life */
    size_t token_count;
    const struct kl_store_ops *store_ops; /* keyvault/store/backend.h; NULL = SQLite */
};

/** Open the store (migrating its schema), load vaults and system keys. KL_CORRUPT, KL_IO,
 * KL_CONFIG. No token is asked. */
enum kl_code kl_model_open(const struct kl_model_config *config, struct kl_model **ret,
                           struct kl_err *err) KL_MUST_USE;
void kl_model_close(struct kl_model *m);

/* --- the service itself --- */

/** Tenant GUID: as configured, else made at first start and kept. */
const char *kl_model_tenant(struct kl_model *m);
enum kl_code kl_model_set_tenant(struct kl_model *m, const char *tenant,
                                 struct kl_err *err) KL_MUST_USE;

/** A key that the service itself uses ("issuer": JWT signatures, "audit": checkpoints), generated
 * on `token` (profile fixed; spec->may_decrypt: wraps and unwraps only, else signs only) the first
 * time. *ret is a snapshot like any key version (name = purpose). Job thread. */
enum kl_code kl_model_system_key(struct kl_model *m, struct kl_token *token, const char *purpose,
                                 const struct kl_key_spec *spec, struct kl_key_version **ret,
                                 struct kl_err *err) KL_MUST_USE;

/** As kl_token_call, for req->key = the key on one of its homes after another. What waits for an
 * answer uses kl_failover_submit (keyvault/failover.h). */
enum kl_code kl_home_call(const struct kl_key_version *key, const struct kl_token_request *req,
                          struct kl_secret **ret_output, struct kl_err *err) KL_MUST_USE;

/** Small named values kept in the store (last audit checkpoint, trusted-clock state). Absent =
 * KL_NOT_FOUND; *ret malloc'd. */
enum kl_code kl_model_note_get(struct kl_model *m, const char *name, char **ret,
                               struct kl_err *err) KL_MUST_USE;
enum kl_code kl_model_note_put(struct kl_model *m, const char *name, const char *value,
                               struct kl_err *err) KL_MUST_USE;

/** How far the audit log had come when this was last put (mark.h), under a MAC. KL_NOT_FOUND,
 * KL_CORRUPT when it was changed by a foreign hand. Token call. */
enum kl_code kl_model_mark_get(struct kl_model *m, char **ret, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_model_mark_put(struct kl_model *m, const char *text,
                               struct kl_err *err) KL_MUST_USE;
enum kl_mark_seals {
    KL_MARK_NONE,     /* no mark: no service has run on this database */
    KL_MARK_UNSEALED, /* put by a service without seals, or without all kinds of them */
    KL_MARK_SEALED,
};
/** What the mark says of the seals (seal.h). KL_CORRUPT; KL_TOKEN_… when its MAC cannot be checked.
 * Token call. */
enum kl_code kl_model_mark_seals(struct kl_model *m, enum kl_mark_seals *ret,
                                 struct kl_err *err) KL_MUST_USE;

enum kl_seal_rule {
    KL_SEAL_MUST_FIT,     /* a seal less is a foreign hand's work too */
    KL_SEAL_BEGIN,        /* no service has run on this database */
    KL_SEAL_MAKE_MISSING, /* of a database that had no seals, or not all kinds of them */
    KL_SEAL_TAKE_AS_IS,   /* an operator accepts what is there */
};

/** A note (kl_model_note_get): a sentence about seals that were made and that the audit log does
 * not say yet, or "". */
#define KL_NOTE_SEALING "sealing-to-record"

/** Check that principals, credentials, policies, role assignments and the attributes of keys are as
 * this service wrote them (seal.h). KL_CORRUPT: a foreign hand has changed them. KL_TOKEN_… when no
 * token answers: nobody's rights can be changed until a later call gets through. Token call. */
enum kl_code kl_model_access_check(struct kl_model *m, enum kl_seal_rule rule,
                                   struct kl_err *err) KL_MUST_USE;
/** Has a call of kl_model_access_check got an answer from a token? */
bool kl_model_access_checked(const struct kl_model *m);

/* --- vaults --- */

struct kl_vault_spec {
    const char *name, *subscription, *geography, *location; /* labels may be NULL: "default" */
    const char *token_names[KL_HOMES_MAX]; /* homes of its keys, the most preferred first */
    size_t token_count;                    /* 0 = the first configured */
    enum kl_profile profile;               /* 0 = domain-backed where the token can, else fixed */
    int retention_days;                    /* 0 = 90 */
    bool purge_protection;
    unsigned extras; /* enum kl_vault_extra */
    const char *tags_json;
    struct kl_origin origins[KL_MAX_ORIGINS];
    size_t origin_count;
    const char *owner_object_id; /* gets a policy with everything */
};

/** Make a vault with its owner's policy. KL_BAD_INPUT (name, retention, origins, labels),
 * KL_CONFLICT (the name is an active vault's, or a host any vault's), KL_NAME_DELETED, KL_TOKEN_*
 * (the row gets a MAC of the token). */
enum kl_code kl_vault_create(struct kl_model *m, const struct kl_vault_spec *spec,
                             struct kl_vault **ret, struct kl_err *err) KL_MUST_USE;
/** Active vault whose origin has this host (lower case, no port). KL_VAULT_NOT_FOUND. Fast, for
 * every request. */
enum kl_code kl_vault_by_host(struct kl_model *m, const char *host, struct kl_vault **ret,
                              struct kl_err *err) KL_MUST_USE;
/** By name, any case; one in this state. KL_VAULT_NOT_FOUND. From memory. */
enum kl_code kl_vault_by_name(struct kl_model *m, const char *name, enum kl_object_state state,
                              struct kl_vault **ret, struct kl_err *err) KL_MUST_USE;
/** Where a new key of the vault is made: its first home that is ready, else the first of all, whose
 * answer then says what is wrong. KL_TOKEN_UNAVAILABLE when none is configured. */
enum kl_code kl_vault_token(const struct kl_vault *v, struct kl_token **ret,
                            struct kl_err *err) KL_MUST_USE;
/** All of one state, by name; malloc'd array of references, free with kl_vault_list_free. */
enum kl_code kl_vault_list(struct kl_model *m, enum kl_object_state state, struct kl_vault ***ret,
                           size_t *ret_count, struct kl_err *err) KL_MUST_USE;
void kl_vault_list_free(struct kl_vault **list, size_t count);
/** Change the homes of new keys. What there is gets copies on the tokens that are new in the list;
 * nothing is removed from one that leaves it. KL_VAULT_NOT_FOUND, KL_BAD_INPUT, KL_TOKEN_*. */
enum kl_code kl_vault_set_homes(struct kl_model *m, const char *name,
                                const char *const *token_names, size_t count, struct kl_vault **ret,
                                struct kl_err *err) KL_MUST_USE;
/** Purge protection on (one-way) and tags; NULL = unchanged. */
enum kl_code kl_vault_update(struct kl_model *m, const char *name, const bool *purge_protection,
                             const char *tags_json, struct kl_vault **ret,
                             struct kl_err *err) KL_MUST_USE;
/** Recoverable until the retention ends; its name and hosts stay its own. Recover brings it back
 * with its keys and policies. Both KL_VAULT_NOT_FOUND. */
enum kl_code kl_vault_delete(struct kl_model *m, const char *name, struct kl_vault **ret,
                             struct kl_err *err) KL_MUST_USE;
enum kl_code kl_vault_recover(struct kl_model *m, const char *name, struct kl_vault **ret,
                              struct kl_err *err) KL_MUST_USE;
/** KL_PURGE_PROTECTED before the date under protection. Destroys the keys' token objects too. */
enum kl_code kl_vault_purge(struct kl_model *m, const char *name, struct kl_err *err) KL_MUST_USE;

/** Set or replace a principal's whole policy in an active vault; remove it. KL_VAULT_NOT_FOUND;
 * delete also KL_NOT_FOUND when there is none. Who may is the caller's question (auth/). */
enum kl_code kl_policy_put(struct kl_model *m, const char *vault_name,
                           const struct kl_policy *policy, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_policy_delete(struct kl_model *m, const char *vault_name, const char *object_id,
                              struct kl_err *err) KL_MUST_USE;

/** Give a role (an id of keyvault/auth/roles.c) in an active vault; take it away. They count where
 * kl_vault_set_rbac has said that roles decide. KL_VAULT_NOT_FOUND; KL_EXISTS, KL_NOT_FOUND. */
enum kl_code kl_assignment_add(struct kl_model *m, const char *vault_name, const char *object_id,
                               const char *role, struct kl_assignment *ret,
                               struct kl_err *err) KL_MUST_USE;
enum kl_code kl_assignment_delete(struct kl_model *m, const char *vault_name, const char *id,
                                  struct kl_err *err) KL_MUST_USE;
/** What it allows beside the usual, enum kl_vault_extra. */
enum kl_code kl_vault_set_extras(struct kl_model *m, const char *name, unsigned extras,
                                 struct kl_vault **ret, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_vault_set_rbac(struct kl_model *m, const char *name, bool rbac,
                               struct kl_vault **ret, struct kl_err *err) KL_MUST_USE;

/* --- keys --- */

struct kl_key_create {
    struct kl_key_spec
        spec; /* type, bits, curve; label is set by the model; profile 0 = the vault's default */
    bool hsm; /* answer as kty RSA-HSM / EC-HSM */
    bool managed; /* behind the certificate of its name */
    unsigned ops; /* 0 = all that fit the type */
    struct kl_key_attrs attrs;
    const char *tags_json;
    int64_t replaces; /* seq: KL_CONFLICT when that is not the newest version any more; 0 = any */
};

/** New key or new version of a key. Two phases: row CREATING, token generate (verified), row READY.
 * KL_NAME_DELETED when a deleted object holds the name. */
enum kl_code kl_key_create(struct kl_model *m, struct kl_vault *v, const char *name,
                           const struct kl_key_create *how, struct kl_key_version **ret,
                           struct kl_err *err) KL_MUST_USE;
/** New version with the newest one's type, size, ops and tags, and the expiry that the key's
 * rotation policy says (rotation.h). */
enum kl_code kl_key_rotate(struct kl_model *m, struct kl_vault *v, const char *name,
                           struct kl_key_version **ret, struct kl_err *err) KL_MUST_USE;

struct kl_key_attach {
    const char *uri; /* RFC 7512, of the private key */
    unsigned ops;    /* 0 = all that its attributes allow */
    struct kl_key_attrs attrs;
    const char *tags_json;
    bool destroy_on_purge; /* else a purge leaves it on the token */
};
/** A key that somebody made on a token of the vault, as a key or a new version of one, of the fixed
 * profile; nothing on the token changes. KL_NOT_FOUND, KL_CONFLICT (served already),
 * KL_BAD_INPUT (the URI, or several keys that fit it; a key that is not safe enough, or of a kind
 * that is not served). */
enum kl_code kl_key_attach(struct kl_model *m, struct kl_vault *v, const char *name,
                           const struct kl_key_attach *how, struct kl_key_version **ret,
                           struct kl_err *err) KL_MUST_USE;

struct kl_key_import {
    struct kl_key_create as; /* spec.type must be said; bits and curve are the key's own */
    struct kl_secret
        *bytes; /* PKCS#8 DER; or ciphertext of CKM_RSA_AES_KEY_WRAP under `wrapping` */
    struct kl_key_version *wrapping; /* NULL: bytes are in the clear */
};
/** A private key onto the vault's token (that of `wrapping`), as a key or a new version of one.
 * KL_BAD_INPUT: no such key inside. KL_CONFLICT (served already), KL_NAME_DELETED, KL_TOKEN_*. */
enum kl_code kl_key_import(struct kl_model *m, struct kl_vault *v, const char *name,
                           const struct kl_key_import *how, struct kl_key_version **ret,
                           struct kl_err *err) KL_MUST_USE;

/** `version` NULL or "" = newest. KL_KEY_NOT_FOUND. From memory when seen before: the request path.
 */
enum kl_code kl_key_find(struct kl_model *m, struct kl_vault *v, const char *name,
                         const char *version, struct kl_key_version **ret,
                         struct kl_err *err) KL_MUST_USE;

/** The next older version, below `seq`, that is enabled. KL_NOT_FOUND. */
enum kl_code kl_key_older(struct kl_model *m, struct kl_vault *v, const char *name, int64_t seq,
                          struct kl_key_version **ret, struct kl_err *err) KL_MUST_USE;
/** Note for good that backups were made under this key. KL_KEY_NOT_FOUND. */
enum kl_code kl_key_mark_for_backups(struct kl_model *m, struct kl_vault *v, const char *name,
                                     struct kl_err *err) KL_MUST_USE;

struct kl_key_patch {
    const bool *enabled;
    const int64_t *nbf, *exp; /* NULL = unchanged */
    const unsigned *ops;
    bool managed; /* it is the certificate that changes: else KL_MANAGED for a key behind one */
    const char *tags_json; /* NULL = unchanged, "{}" = none */
};
/** Change one version, `version` NULL or "" = newest. KL_KEY_NOT_FOUND. */
enum kl_code kl_key_update(struct kl_model *m, struct kl_vault *v, const char *name,
                           const char *version, const struct kl_key_patch *patch,
                           struct kl_key_version **ret, struct kl_err *err) KL_MUST_USE;

#define KL_PAGE_MAX 25
struct kl_key_page {
    struct kl_key_version *items[KL_PAGE_MAX];
    int64_t deleted_at[KL_PAGE_MAX], purge_at[KL_PAGE_MAX]; /* deleted listings only */
    size_t count;
    char next[KL_NAME_MAX + KL_VERSION_LEN + 8]; /* marker for the next call, "" = last page */
};
/** Keys of a vault in the order of upper-cased name, each as its newest version; `after` = a page's
 * `next` or "". limit 1 … 25. */
enum kl_code kl_key_list(struct kl_model *m, struct kl_vault *v, enum kl_object_state state,
                         const char *after, size_t limit, struct kl_key_page *ret,
                         struct kl_err *err) KL_MUST_USE;
/** Versions of one key by version id; an unknown key is an empty page (as the real service
 * answers). */
enum kl_code kl_key_versions(struct kl_model *m, struct kl_vault *v, const char *name,
                             const char *after, size_t limit, struct kl_key_page *ret,
                             struct kl_err *err) KL_MUST_USE;
void kl_key_page_done(struct kl_key_page *page);

/** All versions, recoverable for the vault's retention; ret->latest is a reference.
 * KL_KEY_NOT_FOUND. */
enum kl_code kl_key_delete(struct kl_model *m, struct kl_vault *v, const char *name,
                           struct kl_deleted_key *ret, struct kl_err *err) KL_MUST_USE;
/** KL_DELETED_KEY_NOT_FOUND. */
enum kl_code kl_key_deleted(struct kl_model *m, struct kl_vault *v, const char *name,
                            struct kl_deleted_key *ret, struct kl_err *err) KL_MUST_USE;
/** All versions back; *ret is the newest. KL_DELETED_KEY_NOT_FOUND. */
enum kl_code kl_key_recover(struct kl_model *m, struct kl_vault *v, const char *name,
                            struct kl_key_version **ret, struct kl_err *err) KL_MUST_USE;
/** Destroys the token objects of all versions, then the rows; KL_PURGE_PROTECTED. */
enum kl_code kl_key_purge(struct kl_model *m, struct kl_vault *v, const char *name,
                          struct kl_err *err) KL_MUST_USE;

/** Sealed blob of all versions, from one snapshot; appended to ret. KL_BACKUP_FIXED,
 * KL_BACKUP_VERSIONS (more than 500 past versions), KL_TOKEN_*. */
enum kl_code kl_key_backup(struct kl_model *m, struct kl_vault *v, const char *name,
                           struct kl_buf *ret, struct kl_err *err) KL_MUST_USE;
/** KL_BACKUP_MALFORMED, KL_BACKUP_DOMAIN, KL_BACKUP_SCOPE, KL_CONFLICT (name taken, also by a
 * deleted key). All or nothing. */
enum kl_code kl_key_restore(struct kl_model *m, struct kl_vault *v, const void *blob, size_t n,
                            struct kl_key_version **ret, struct kl_err *err) KL_MUST_USE;
/** The same backup under the current domain key of the vault's token, appended to *ret: re-wrapped
 * on the token, nothing restored. *ret_moved = false: it is there already, and came back as it is;
 * that is also how a caller says that the new bytes have been stored. Errors as kl_key_restore but
 * for the name. */
enum kl_code kl_key_reseal(struct kl_model *m, struct kl_vault *v, const void *blob, size_t n,
                           struct kl_buf *ret, bool *ret_moved, struct kl_err *err) KL_MUST_USE;

#define KL_DOMAIN_KEYS_MOST 16
struct kl_domain_key_state {
    struct kl_token_domain key;
    char name[65];   /* as its backups name it, hex */
    int64_t backups; /* objects whose newest known backup needs it */
};
/** The domain keys of a token into ret[KL_DOMAIN_KEYS_MOST], oldest first. Token calls. */
enum kl_code kl_domain_states(struct kl_model *m, struct kl_token *token,
                              struct kl_domain_key_state *ret, size_t *ret_count,
                              struct kl_err *err) KL_MUST_USE;

/* --- housekeeping --- */

struct kl_reconcile_report {
    unsigned rolled_back; /* creations that a crash interrupted; none was acknowledged */
    unsigned purges_finished;
    unsigned copied; /* keys that got a home which they lacked */
    unsigned
        missing_on_token; /* READY rows whose private half is not there: alarmed, never removed */
    unsigned unknown_on_token; /* private keys that no row names: reported, never removed */
    unsigned tampered; /* protected rows whose MAC is wrong: alarmed, never purged, never changed */
};
/** Bring database and token together after a crash, for every token that is READY. Nothing is
 * removed because something else looks missing. */
enum kl_code kl_model_reconcile(struct kl_model *m, struct kl_reconcile_report *ret,
                                struct kl_err *err) KL_MUST_USE;
/** Purge what its date has come for, by the trusted clock (wall clock and service-observed elapsed
 * time must both agree). *ret_purged objects. */
enum kl_code kl_model_sweep(struct kl_model *m, unsigned *ret_purged,
                            struct kl_err *err) KL_MUST_USE;
/** Tell the trusted clock that time passed; call about once a minute. */
enum kl_code kl_model_tick(struct kl_model *m, struct kl_err *err) KL_MUST_USE;

KL_AUTO_DEFINE(model, struct kl_model, kl_model_close);

#endif
