/* Who may log in, and what each proves itself with. Included by model.h.
 *
 * Principals and their credentials are answered from memory; a change writes the store first and
 * then replaces what is in memory as a whole, and with it the generation: who remembers something
 * about a principal (the token cache) remembers the generation beside it, so that a principal that
 * is disabled or removed is out with the next request. Changes block for the disk: job threads.
 * All functions are thread safe. */
#ifndef KL_KEYVAULT_PRINCIPAL_H
#define KL_KEYVAULT_PRINCIPAL_H

#include "keyvault/model/object.h"

struct kl_model;

enum kl_role { KL_ROLE_ADMINISTRATOR = 1, KL_ROLE_AUDITOR = 2 }; /* bits */

/** Numbers as in databases. */
enum kl_principal_kind {
    KL_PRINCIPAL_APPLICATION = 1, /* logs in with credentials of its own */
    KL_PRINCIPAL_USER = 2,        /* someone whom an external issuer's tokens name */
    KL_PRINCIPAL_GROUP = 3,       /* named by the `groups` of tokens; never a caller itself */
};

#define KL_ISSUER_NAME_MAX 63 /* characters of an [issuer NAME] */

struct kl_principal {
    char object_id[KL_UUID_LEN + 1], client_id[KL_UUID_LEN + 1];
    char name[128];
    enum kl_principal_kind kind;
    unsigned roles;
    bool disabled;
    int64_t created;
    char issuer[KL_ISSUER_NAME_MAX + 1]; /* the [issuer NAME] whose tokens speak for it; "" = the
                                            service's own */
};

struct kl_principal_spec {
    const char *name;
    enum kl_principal_kind kind; /* 0 = application */
    unsigned roles;
    const char *object_id, *client_id; /* lower-case UUIDs; NULL = made */
    const char *issuer;                /* NULL or "" = the service's own */
    bool no_secret;                    /* it gets other credentials, or has none here */
};

/** Make a principal; an application of the service's own gets a client secret without an end
 * (43 base64url characters) into *ret_secret, all others NULL. KL_EXISTS for a taken name or id,
 * KL_BAD_INPUT for a name that is empty, too long or a GUID. */
enum kl_code kl_principal_create(struct kl_model *m, const struct kl_principal_spec *spec,
                                 struct kl_principal *ret, struct kl_secret **ret_secret,
                                 struct kl_err *err) KL_MUST_USE;
/** By client id, object id or name, any case. KL_NOT_FOUND. From memory. */
enum kl_code kl_principal_find(struct kl_model *m, const char *any, struct kl_principal *ret,
                               struct kl_err *err) KL_MUST_USE;
/** All, by name; *ret malloc'd array. */
enum kl_code kl_principal_list(struct kl_model *m, struct kl_principal **ret, size_t *ret_count,
                               struct kl_err *err) KL_MUST_USE;
/** Change roles or disable; NULL = unchanged. KL_NOT_FOUND; KL_CONFLICT where no enabled
 * administrator would be left. */
enum kl_code kl_principal_update(struct kl_model *m, const char *object_id, const unsigned *roles,
                                 const bool *disabled, struct kl_principal *ret,
                                 struct kl_err *err) KL_MUST_USE;
/** Removes it with its credentials, policies and role assignments. The last administrator cannot
 * be removed (KL_CONFLICT). */
enum kl_code kl_principal_delete(struct kl_model *m, const char *object_id,
                                 struct kl_err *err) KL_MUST_USE;
/** Grows with each change of a principal or credential. Read it before what is remembered. */
uint64_t kl_principal_generation(struct kl_model *m);

/* --- credentials --- */

#define KL_CREDENTIALS_MAX 32 /* of one principal */

/** Numbers as in databases. */
enum kl_credential_kind {
    KL_CREDENTIAL_SECRET = 1,      /* hash = SHA-256(salt || secret) */
    KL_CREDENTIAL_CERTIFICATE = 2, /* value = PEM; hash = SHA-256 of its DER; a client assertion's
                                      signature, or a TLS client's certificate */
    KL_CREDENTIAL_SUBJECT = 3,     /* value = "dns:NAME", "uri:URI" or "ip:ADDRESS": a subject
                                      alternative name of TLS client certificates of the client CA;
                                      hash = its SHA-256 */
};

struct kl_credential {
    char id[KL_UUID_LEN + 1], object_id[KL_UUID_LEN + 1];
    enum kl_credential_kind kind;
    char name[128];
    uint8_t salt[16], hash[32]; /* secrets are 256 random bits of ours, never a human's choice */
    int64_t created, expires;   /* unix seconds; expires 0 = never */
    char *value;                /* NULL for a secret */
};

/** Add a secret. KL_NOT_FOUND (no such application of ours), KL_CONFLICT (KL_CREDENTIALS_MAX). */
enum kl_code kl_credential_add_secret(struct kl_model *m, const char *object_id, const char *name,
                                      int64_t expires, struct kl_credential *ret,
                                      struct kl_secret **ret_secret,
                                      struct kl_err *err) KL_MUST_USE;
/** The same, while every other secret of the principal ends at `others_end` (unix seconds) at the
 * latest: a rotation with overlap. */
enum kl_code kl_credential_reset(struct kl_model *m, const char *object_id, const char *name,
                                 int64_t expires, int64_t others_end, struct kl_credential *ret,
                                 struct kl_secret **ret_secret, struct kl_err *err) KL_MUST_USE;
/** Add a certificate (PEM; RSA of 2048 to 4096 bits or P-256, P-384, P-521; it ends with itself at
 * the latest) or a subject. KL_BAD_INPUT; KL_EXISTS when any principal has it already: it could not
 * say who is calling. */
enum kl_code kl_credential_add_proof(struct kl_model *m, const char *object_id, const char *name,
                                     enum kl_credential_kind kind, const char *value,
                                     int64_t expires, struct kl_credential *ret,
                                     struct kl_err *err) KL_MUST_USE;
/** A principal's credentials, oldest first; free with kl_credential_list_free. KL_NOT_FOUND. */
enum kl_code kl_credential_list(struct kl_model *m, const char *object_id,
                                struct kl_credential **ret, size_t *ret_count,
                                struct kl_err *err) KL_MUST_USE;
void kl_credential_list_free(struct kl_credential *list, size_t count);
void kl_credential_done(struct kl_credential *c);
enum kl_code kl_credential_delete(struct kl_model *m, const char *object_id, const char *id,
                                  struct kl_err *err) KL_MUST_USE;

/** Check a presented secret against all of a principal's (object id; NULL: one that has none) in
 * constant time for each. KL_NOT_FOUND: none fits. KL_KEY_EXPIRED: one fits, whose time is over.
 * From memory. */
enum kl_code kl_credential_check(struct kl_model *m, const char *object_id,
                                 struct kl_secret *secret, int64_t now) KL_MUST_USE;
/** The credential of this kind and hash, and whose it is; expired ones are not found. From memory.
 * KL_NOT_FOUND. */
enum kl_code kl_credential_owner(struct kl_model *m, enum kl_credential_kind kind,
                                 const uint8_t hash[static 32], int64_t now,
                                 struct kl_principal *ret, struct kl_err *err) KL_MUST_USE;

KL_AUTO_DEFINE(credential, struct kl_credential, kl_credential_done);

#endif
