/* Certificates of a vault, each with a key and a secret of its name: created here (signed by
 * themselves, or by somebody else after a request), or imported. Kept as secrets are
 * (vault_secret.h), with one life for all three (softdelete.h).
 *
 * A struct kl_vault_secret is one version of a certificate: `about` is a JSON object with x5t,
 * x5t256 (base64url), subject, cer (the certificate, base64) and contentType; attrs.nbf and exp are
 * the certificate's own. End it with kl_vault_secret_done.
 *
 * All calls may wait for a token and an fsync, but for the listings: job threads. Thread safe.
 * Source: reference of the Key Vault data plane, section 3.3. */
#ifndef KL_KEYVAULT_MODEL_CERTIFICATE_H
#define KL_KEYVAULT_MODEL_CERTIFICATE_H

#include "base/json.h"
#include "keyvault/model/vault_secret.h"

struct kl_certificate_how {
    const json_t *policy;  /* as requested; NULL where a call allows it */
    const char *tags_json; /* or NULL */
    struct kl_key_attrs attrs;
};

/** Make a key and ask for a certificate: by issuer "Self" it is there when the call returns, else
 * the operation waits for kl_certificate_merge. *ret_op is the operation as it began. KL_BAD_INPUT,
 * KL_CONFLICT (a key or secret has the name; another operation waits), KL_NAME_DELETED, KL_TOKEN_*.
 */
enum kl_code kl_certificate_create(struct kl_model *m, struct kl_vault *v, const char *name,
                                   const struct kl_certificate_how *how, json_t **ret_op,
                                   struct kl_err *err) KL_MUST_USE;

/** The operation under way or the last one: csr (base64), status, request_id, issuer,
 * cancellation_requested, perhaps error. One of issuer "Self" that a crash interrupted goes on.
 * KL_PENDING_NOT_FOUND, KL_CERTIFICATE_NOT_FOUND. */
enum kl_code kl_certificate_pending(struct kl_model *m, struct kl_vault *v, const char *name,
                                    json_t **ret_op, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_certificate_cancel(struct kl_model *m, struct kl_vault *v, const char *name,
                                   json_t **ret_op, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_certificate_forget_pending(struct kl_model *m, struct kl_vault *v, const char *name,
                                           json_t **ret_op, struct kl_err *err) KL_MUST_USE;

struct kl_certificate_bytes {
    const void *bytes;
    size_t len;
};
/** The certificate for an operation that waits, and those above it, each DER. KL_BAD_INPUT (not of
 * the operation's key), KL_PENDING_NOT_FOUND. */
enum kl_code kl_certificate_merge(struct kl_model *m, struct kl_vault *v, const char *name,
                                  const struct kl_certificate_bytes *x5c, size_t count,
                                  const struct kl_certificate_how *how, struct kl_vault_secret *ret,
                                  struct kl_err *err) KL_MUST_USE;

/** A bundle from outside, PKCS#12 or PEM, with its private key. KL_BAD_INPUT, KL_CONFLICT,
 * KL_NAME_DELETED, KL_TOKEN_*. */
enum kl_code kl_certificate_import(struct kl_model *m, struct kl_vault *v, const char *name,
                                   struct kl_secret *bundle, const char *password,
                                   const struct kl_certificate_how *how,
                                   struct kl_vault_secret *ret, struct kl_err *err) KL_MUST_USE;

/** A version, NULL or "" = the newest; before the first one *ret has a name only.
 * KL_CERTIFICATE_NOT_FOUND. */
enum kl_code kl_certificate_get(struct kl_model *m, struct kl_vault *v, const char *name,
                                const char *version, struct kl_vault_secret *ret,
                                struct kl_err *err) KL_MUST_USE;
/** Attributes (enabled: of key and secret too) and tags of a version; a policy for what comes. */
enum kl_code kl_certificate_update(struct kl_model *m, struct kl_vault *v, const char *name,
                                   const char *version, const struct kl_vault_secret_patch *patch,
                                   struct kl_vault_secret *ret, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_certificate_policy(struct kl_model *m, struct kl_vault *v, const char *name,
                                   json_t **ret, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_certificate_set_policy(struct kl_model *m, struct kl_vault *v, const char *name,
                                       const json_t *changes, json_t **ret,
                                       struct kl_err *err) KL_MUST_USE;

/** As with secrets. Those that have no version yet come with `with_pending` only. */
enum kl_code kl_certificate_list(struct kl_model *m, struct kl_vault *v, enum kl_object_state state,
                                 bool with_pending, const char *after, size_t limit,
                                 struct kl_vault_secret_page *ret, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_certificate_versions(struct kl_model *m, struct kl_vault *v, const char *name,
                                     const char *after, size_t limit,
                                     struct kl_vault_secret_page *ret,
                                     struct kl_err *err) KL_MUST_USE;
/** With its key and secret, in one commit each. */
enum kl_code kl_certificate_delete(struct kl_model *m, struct kl_vault *v, const char *name,
                                   struct kl_vault_secret *ret, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_certificate_deleted(struct kl_model *m, struct kl_vault *v, const char *name,
                                    struct kl_vault_secret *ret, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_certificate_recover(struct kl_model *m, struct kl_vault *v, const char *name,
                                    struct kl_vault_secret *ret, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_certificate_purge(struct kl_model *m, struct kl_vault *v, const char *name,
                                  struct kl_err *err) KL_MUST_USE;

/** All versions with key, secret and policy as a sealed blob, and back: as secrets and keys.
 * KL_BACKUP_FIXED where the key cannot leave its token even wrapped. */
enum kl_code kl_certificate_backup(struct kl_model *m, struct kl_vault *v, const char *name,
                                   struct kl_buf *ret, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_certificate_restore(struct kl_model *m, struct kl_vault *v, const void *blob,
                                    size_t n, struct kl_vault_secret *ret,
                                    struct kl_err *err) KL_MUST_USE;

/* --- what a vault knows of issuers and contacts; sealed, as credentials are in it --- */

enum kl_code kl_issuer_put(struct kl_model *m, struct kl_vault *v, const char *name,
                           const json_t *issuer, struct kl_err *err) KL_MUST_USE;
/** KL_ISSUER_NOT_FOUND, here and below. */
enum kl_code kl_issuer_get(struct kl_model *m, struct kl_vault *v, const char *name, json_t **ret,
                           struct kl_err *err) KL_MUST_USE;
enum kl_code kl_issuer_delete(struct kl_model *m, struct kl_vault *v, const char *name,
                              json_t **ret, struct kl_err *err) KL_MUST_USE;
struct kl_issuer_page {
    json_t *items[KL_PAGE_MAX]; /* references */
    size_t count;
    char next[KL_NAME_MAX + 1];
};
enum kl_code kl_issuer_list(struct kl_model *m, struct kl_vault *v, const char *after, size_t limit,
                            struct kl_issuer_page *ret, struct kl_err *err) KL_MUST_USE;
void kl_issuer_page_done(struct kl_issuer_page *page);
/** KL_CONTACTS_NOT_FOUND. */
enum kl_code kl_contacts_put(struct kl_model *m, struct kl_vault *v, const json_t *contacts,
                             struct kl_err *err) KL_MUST_USE;
enum kl_code kl_contacts_get(struct kl_model *m, struct kl_vault *v, json_t **ret,
                             struct kl_err *err) KL_MUST_USE;
enum kl_code kl_contacts_delete(struct kl_model *m, struct kl_vault *v, json_t **ret,
                                struct kl_err *err) KL_MUST_USE;

#endif
