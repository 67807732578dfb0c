/* Secrets of a vault: short values that somebody else made, kept sealed (sealed.h) under the
 * vault's own key. Every state change with its rules, as model.h does for keys; the life of a
 * secret is that of softdelete.h.
 *
 * Functions that set, change, back up or restore may wait for a token and an fsync: job threads
 * only. kl_vault_secret_get waits for a token only when it is told to, the others never. All are
 * thread safe.
 */
#ifndef KL_KEYVAULT_MODEL_VAULT_SECRET_H
#define KL_KEYVAULT_MODEL_VAULT_SECRET_H

#include "base/buf.h"
#include "keyvault/model/model.h"

#define KL_SECRET_VALUE_MAX 25600 /* bytes: Key Vault's 25 KB */

/** One version of a secret, without its value. The caller's; end with kl_vault_secret_done. */
struct kl_vault_secret {
    char name[KL_NAME_MAX + 1]; /* spelled as when it was first set */
    char version[KL_VERSION_LEN + 1];
    bool managed; /* belongs to a certificate */
    struct kl_key_attrs attrs;
    int64_t created, updated;
    int64_t deleted_at, purge_at;         /* 0 while it is not deleted */
    char key_version[KL_VERSION_LEN + 1]; /* of the key behind its certificate, or "" */
    char *content_type;                   /* or NULL */
    char *about;                          /* of a certificate: what listings show, JSON; or NULL */
    char *tags_json;                      /* or NULL */
};
void kl_vault_secret_done(struct kl_vault_secret *s);

struct kl_vault_secret_set {
    const char *value; /* UTF-8, value_len bytes; borrowed, and wiped by its owner */
    size_t value_len;
    const char *content_type, *tags_json; /* or NULL */
    struct kl_key_attrs attrs;
};

/** A new secret, or a new version of one. Acknowledged when it is on disk. KL_BAD_INPUT (name,
 * length), KL_NAME_DELETED, KL_VAULT_NOT_FOUND, KL_TOKEN_*. */
enum kl_code kl_vault_secret_set(struct kl_model *m, struct kl_vault *v, const char *name,
                                 const struct kl_vault_secret_set *how, struct kl_vault_secret *ret,
                                 struct kl_err *err) KL_MUST_USE;

/** A version (NULL or "" = the newest) with its value. KL_SECRET_NOT_FOUND, KL_SECRET_DISABLED,
 * KL_CORRUPT. When the vault's key must first come from the token: waits for it, or with
 * ret_must_wait not NULL answers KL_OK with *ret_must_wait set and nothing else. */
enum kl_code kl_vault_secret_get(struct kl_model *m, struct kl_vault *v, const char *name,
                                 const char *version, struct kl_vault_secret *ret,
                                 struct kl_secret **ret_value, bool *ret_must_wait,
                                 struct kl_err *err) KL_MUST_USE;

struct kl_vault_secret_patch {
    const bool *enabled;
    const int64_t *nbf, *exp; /* NULL = unchanged */
    const char *content_type; /* NULL = unchanged, "" = none */
    const char *tags_json;    /* NULL = unchanged, "{}" = none */
    bool managed; /* it is the certificate that changes: else KL_MANAGED for one behind it */
};
/** Change one version, `version` NULL or "" = newest. KL_SECRET_NOT_FOUND, KL_CORRUPT. */
enum kl_code kl_vault_secret_update(struct kl_model *m, struct kl_vault *v, const char *name,
                                    const char *version, const struct kl_vault_secret_patch *patch,
                                    struct kl_vault_secret *ret, struct kl_err *err) KL_MUST_USE;

struct kl_vault_secret_page {
    struct kl_vault_secret items[KL_PAGE_MAX];
    size_t count;
    char next[KL_NAME_MAX + KL_VERSION_LEN + 8]; /* marker for the next call, "" = last page */
};
/** Secrets of a vault in the order of upper-cased name, each as its newest version; versions of one
 * by version id (an unknown secret is an empty page). `after` = a page's `next` or "". limit 1 …
 * 25. */
enum kl_code kl_vault_secret_list(struct kl_model *m, struct kl_vault *v,
                                  enum kl_object_state state, const char *after, size_t limit,
                                  struct kl_vault_secret_page *ret, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_vault_secret_versions(struct kl_model *m, struct kl_vault *v, const char *name,
                                      const char *after, size_t limit,
                                      struct kl_vault_secret_page *ret,
                                      struct kl_err *err) KL_MUST_USE;
void kl_vault_secret_page_done(struct kl_vault_secret_page *page);

/** All versions, recoverable for the vault's retention; *ret is the newest. KL_SECRET_NOT_FOUND. */
enum kl_code kl_vault_secret_delete(struct kl_model *m, struct kl_vault *v, const char *name,
                                    struct kl_vault_secret *ret, struct kl_err *err) KL_MUST_USE;
/** KL_DELETED_SECRET_NOT_FOUND, here and below. */
enum kl_code kl_vault_secret_deleted(struct kl_model *m, struct kl_vault *v, const char *name,
                                     struct kl_vault_secret *ret, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_vault_secret_recover(struct kl_model *m, struct kl_vault *v, const char *name,
                                     struct kl_vault_secret *ret, struct kl_err *err) KL_MUST_USE;
/** The values and their rows go in one commit. KL_PURGE_PROTECTED. */
enum kl_code kl_vault_secret_purge(struct kl_model *m, struct kl_vault *v, const char *name,
                                   struct kl_err *err) KL_MUST_USE;

/** Sealed blob of all versions with their values, from one state of the store; appended to ret.
 * KL_BACKUP_VERSIONS (more than 500 past ones), KL_TOKEN_UNSUPPORTED (no domain key), KL_TOKEN_*.
 */
enum kl_code kl_vault_secret_backup(struct kl_model *m, struct kl_vault *v, const char *name,
                                    struct kl_buf *ret, struct kl_err *err) KL_MUST_USE;
/** All versions with the ids and attributes that they had; *ret is the newest. KL_BACKUP_MALFORMED,
 * KL_BACKUP_DOMAIN, KL_BACKUP_SCOPE, KL_CONFLICT, KL_NAME_DELETED. All or nothing. */
enum kl_code kl_vault_secret_restore(struct kl_model *m, struct kl_vault *v, const void *blob,
                                     size_t n, struct kl_vault_secret *ret,
                                     struct kl_err *err) KL_MUST_USE;

#endif
