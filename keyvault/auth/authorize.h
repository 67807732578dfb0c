/* Who is calling, and whether the one route row that was matched lets them. The only place where a
 * permission is decided: the decision is a function of the authenticated principal, the vault and
 * the row, and of nothing else in the request. Thread safe, never blocks. */
#ifndef KL_KEYVAULT_AUTHORIZE_H
#define KL_KEYVAULT_AUTHORIZE_H

#include "keyvault/model/model.h"

#include <openssl/x509.h>

/** Permissions; each belongs to one kind (kl_permission_kind_of) and has one word (policy.c). Order
 * is stored in databases: append only. */
enum kl_permission {
    KL_MAY_NOTHING, /* rows without a permission */
    /* keys */
    KL_MAY_KEY_ENCRYPT,
    KL_MAY_KEY_DECRYPT,
    KL_MAY_KEY_WRAP,
    KL_MAY_KEY_UNWRAP,
    KL_MAY_KEY_SIGN,
    KL_MAY_KEY_VERIFY,
    KL_MAY_KEY_GET,
    KL_MAY_KEY_LIST,
    KL_MAY_KEY_CREATE,
    KL_MAY_KEY_UPDATE,
    KL_MAY_KEY_IMPORT,
    KL_MAY_KEY_DELETE,
    KL_MAY_KEY_BACKUP,
    KL_MAY_KEY_RESTORE,
    KL_MAY_KEY_RECOVER,
    KL_MAY_KEY_PURGE,
    KL_MAY_KEY_RELEASE,
    KL_MAY_KEY_ROTATE,
    KL_MAY_KEY_GETROTATIONPOLICY,
    KL_MAY_KEY_SETROTATIONPOLICY,
    /* the vault itself */
    KL_MAY_VAULT_GET,
    KL_MAY_VAULT_LIST,
    KL_MAY_VAULT_UPDATE,
    KL_MAY_VAULT_DELETE,
    KL_MAY_VAULT_RECOVER,
    KL_MAY_VAULT_PURGE,
    KL_MAY_VAULT_GETPOLICY,
    KL_MAY_VAULT_SETPOLICY,
    /* secrets and certificates: words that policies may hold already */
    KL_MAY_SECRET_GET,
    KL_MAY_SECRET_LIST,
    KL_MAY_SECRET_SET,
    KL_MAY_SECRET_DELETE,
    KL_MAY_SECRET_BACKUP,
    KL_MAY_SECRET_RESTORE,
    KL_MAY_SECRET_RECOVER,
    KL_MAY_SECRET_PURGE,
    KL_MAY_CERTIFICATE_GET,
    KL_MAY_CERTIFICATE_LIST,
    KL_MAY_CERTIFICATE_DELETE,
    KL_MAY_CERTIFICATE_CREATE,
    KL_MAY_CERTIFICATE_IMPORT,
    KL_MAY_CERTIFICATE_UPDATE,
    KL_MAY_CERTIFICATE_MANAGECONTACTS,
    KL_MAY_CERTIFICATE_GETISSUERS,
    KL_MAY_CERTIFICATE_LISTISSUERS,
    KL_MAY_CERTIFICATE_SETISSUERS,
    KL_MAY_CERTIFICATE_DELETEISSUERS,
    KL_MAY_CERTIFICATE_MANAGEISSUERS,
    KL_MAY_CERTIFICATE_RECOVER,
    KL_MAY_CERTIFICATE_PURGE,
    KL_MAY_CERTIFICATE_BACKUP,
    KL_MAY_CERTIFICATE_RESTORE,
    KL_PERMISSION_COUNT
};

/** Where a row applies and what it asks of the caller. */
enum kl_scope {
    KL_SCOPE_OPEN,   /* no authentication: token service, health */
    KL_SCOPE_CALLER, /* any authenticated principal */
    KL_SCOPE_HOST,   /* the vault that the Host header selects; `permission` by its policy */
    KL_SCOPE_NAMED,  /* the vault that {name} of a /kluis route names; `permission` by its policy */
    KL_SCOPE_NAMED_OR_NEW, /* the same; where there is no such vault, role administrator */
    KL_SCOPE_ADMIN,        /* role administrator */
    KL_SCOPE_AUDITOR,      /* role administrator or auditor */
};

#define KL_CALLER_GROUPS_MAX 32

struct kl_caller {
    bool authenticated;
    struct kl_principal who; /* of an external issuer: only its ids, where it is not made known */
    char app_id[KL_UUID_LEN + 1]; /* appid / azp claim; "" when there is none */
    const char *issuer;           /* iss claim, borrowed for the service's life; NULL = none */
    const char *method; /* for the audit record, static text: secret, assertion, certificate (TLS),
                         * issuer (a token from outside), bearer (nobody said); NULL = none */
    char token_id[40];  /* uti/jti for the audit record */
    int64_t expires;    /* unix seconds */
    unsigned group_count; /* groups that are known here, sorted out at the login */
    char groups[KL_CALLER_GROUPS_MAX][KL_UUID_LEN + 1];
};

struct kl_authenticator; /* issuer keys, token cache */
struct kl_issuer_config; /* keyvault/auth/issuers.h */

struct kl_authenticator_config {
    struct kl_model *model;
    struct kl_key_version *issuer_key; /* RS256 key on a token; reference taken */
    struct kl_failover *failover;      /* for a key on several tokens; borrowed */
    const char *origin;                /* "https://localhost:8443" */
    const char *tenant;                /* a GUID */
    int64_t token_lifetime_s;
    const struct kl_issuer_config *const *issuers; /* external ones; must outlive it */
    size_t issuer_count;
};

/** Make one; the strings are copied, the model must outlive it. KL_BAD_INPUT (origin, issuer key),
 * KL_CONFIG (tenant, lifetime), KL_NO_MEMORY. */
enum kl_code kl_authenticator_new(const struct kl_authenticator_config *config,
                                  struct kl_authenticator **ret, struct kl_err *err) KL_MUST_USE;
void kl_authenticator_free(struct kl_authenticator *a);

/** Is there an external issuer of this name? */
bool kl_authenticator_knows(const struct kl_authenticator *a, const char *issuer);
/** The object id by which a subject of an external issuer ([issuer NAME]) goes here (jwt.h:
 * kl_jwt_derive_id). KL_BAD_INPUT without such an issuer. */
enum kl_code kl_authenticator_subject_id(const struct kl_authenticator *a, const char *issuer,
                                         const char *subject, char ret[static KL_UUID_LEN + 1],
                                         struct kl_err *err) KL_MUST_USE;

/** Check an Authorization header value ("Bearer …", NULL = none) in full (RFC 8725: RS256 only,
 * exact issuer, audience one of ours, exp, nbf, iat, tenant, principal still there and enabled). A
 * token seen before costs one hash: the cache holds callers by SHA-256 of the token, never longer
 * than their exp, and none that was put before the last change of any principal, credential or
 * external key. KL_UNAUTHENTICATED with Key Vault's AKV… wording. */
enum kl_code kl_authenticate(struct kl_authenticator *a, const char *authorization,
                             struct kl_caller *ret, struct kl_err *err) KL_MUST_USE;
/** The principal that has this TLS client certificate, or a name that it carries, as a credential;
 * `trusted`: it leads to a CA of the configuration. The handshake has shown that the client holds
 * its key. KL_UNAUTHENTICATED: nobody, more than one, disabled, or out of its time. */
enum kl_code kl_authenticate_certificate(struct kl_authenticator *a, X509 *certificate,
                                         bool trusted, struct kl_caller *ret,
                                         struct kl_err *err) KL_MUST_USE;

/** The decision. `vault` is NULL for rows without one, and for a host or name that no vault has:
 * then administrators get KL_VAULT_NOT_FOUND and all others the same KL_FORBIDDEN as for a vault
 * where they have no policy. So call it before anything else that depends on the vault.
 * KL_FORBIDDEN comes in Key Vault's ForbiddenByPolicy wording. Administrators have no permission in
 * a vault by their role, but for one: getPolicy and setPolicy where nobody holds setPolicy any
 * more. */
enum kl_code kl_authorize(const struct kl_caller *caller, enum kl_scope scope,
                          enum kl_permission permission, const struct kl_vault *vault,
                          const char *operation, struct kl_err *err) KL_MUST_USE;

/** Value of WWW-Authenticate for a request to `origin` (host, port of the matched vault origin, or
 * the service's): Bearer authorization="https://ORIGIN/TENANT", resource="https://PARENT", with the
 * parent of kl_origin_parent. NUL-terminated, cut off at `room` bytes. */
void kl_challenge(const struct kl_authenticator *a, const struct kl_origin *origin, char *out,
                  size_t room);

#endif
