/* Errors: one code, where it came from, one sentence for the caller, private detail for the log.
 *
 * An error is set once, where it happens (kl_fail, kl_fail_native), and only prefixed on its way
 * out. Functions return the code and fill *err; err may be NULL. The struct is fixed size and owns
 * nothing, so it is copied freely. `text` may be shown to any caller; `detail` and `native` go to
 * the log only. Neither ever holds a secret.
 */
#ifndef KL_BASE_ERR_H
#define KL_BASE_ERR_H

#include "base/auto.h"

#include <stdarg.h>

/* X(code, name): the folder in the comment owns the range; keyvault/fault.c maps each to an HTTP
 * answer. */
#define KL_CODES(X)                                                                                \
    X(KL_OK, "ok")                                                                                 \
    /* base */                                                                                     \
    X(KL_NO_MEMORY, "out of memory")                                                               \
    X(KL_BAD_INPUT, "bad input")                                                                   \
    X(KL_TOO_BIG, "too big")                                                                       \
    X(KL_NOT_FOUND, "not found")                                                                   \
    X(KL_EXISTS, "exists already")                                                                 \
    X(KL_IO, "input/output error")                                                                 \
    X(KL_NO_SPACE, "no space left")                                                                \
    X(KL_OS_DENIED, "denied by the operating system")                                              \
    X(KL_TIMEOUT, "timed out")                                                                     \
    X(KL_CRYPTO, "cryptographic library error")                                                    \
    X(KL_CORRUPT, "damaged data")                                                                  \
    X(KL_CONFIG, "configuration error")                                                            \
    X(KL_UNREACHABLE, "not reachable")                                                             \
    X(KL_HTTP_STATUS, "refused by the server")                                                     \
    X(KL_INTERNAL, "internal error")                                                               \
    /* pkcs11 */                                                                                   \
    X(KL_TOKEN_UNAVAILABLE, "token not available")                                                 \
    X(KL_TOKEN_BUSY, "token overloaded")                                                           \
    X(KL_TOKEN_PIN, "token PIN refused")                                                           \
    X(KL_TOKEN_AMBIGUOUS, "more than one match on the token")                                      \
    X(KL_TOKEN_KEY_MISSING, "key missing on the token")                                            \
    X(KL_TOKEN_UNSUPPORTED, "not supported by the token")                                          \
    X(KL_TOKEN_READBACK, "the token made something else than asked for")                           \
    X(KL_DECRYPT_FAILED, "decryption failed")                                                      \
    /* keyvault */                                                                                 \
    X(KL_UNAUTHENTICATED, "not authenticated")                                                     \
    X(KL_FORBIDDEN, "forbidden by policy")                                                         \
    X(KL_FORBIDDEN_RBAC, "forbidden by role assignments")                                          \
    X(KL_NO_ROUTE, "no such operation")                                                            \
    X(KL_BAD_METHOD, "method not allowed")                                                         \
    X(KL_VAULT_NOT_FOUND, "vault not found")                                                       \
    X(KL_KEY_NOT_FOUND, "key not found")                                                           \
    X(KL_DELETED_KEY_NOT_FOUND, "deleted key not found")                                           \
    X(KL_SECRET_NOT_FOUND, "secret not found")                                                     \
    X(KL_DELETED_SECRET_NOT_FOUND, "deleted secret not found")                                     \
    X(KL_SECRET_DISABLED, "secret disabled")                                                       \
    X(KL_CERTIFICATE_NOT_FOUND, "certificate not found")                                           \
    X(KL_DELETED_CERTIFICATE_NOT_FOUND, "deleted certificate not found")                           \
    X(KL_PENDING_NOT_FOUND, "no pending certificate operation")                                    \
    X(KL_ISSUER_NOT_FOUND, "certificate issuer not found")                                         \
    X(KL_CONTACTS_NOT_FOUND, "no certificate contacts")                                            \
    X(KL_MANAGED, "managed by a certificate")                                                      \
    X(KL_KEY_DISABLED, "key disabled")                                                             \
    X(KL_KEY_NOT_YET_VALID, "key not yet valid")                                                   \
    X(KL_KEY_EXPIRED, "key expired")                                                               \
    X(KL_KEY_OP_FORBIDDEN, "operation not permitted on this key")                                  \
    X(KL_ALG_MISMATCH, "algorithm does not fit the key")                                           \
    X(KL_NAME_DELETED, "name held by a deleted object")                                            \
    X(KL_CONFLICT, "conflict")                                                                     \
    X(KL_PURGE_PROTECTED, "purge protection")                                                      \
    X(KL_BACKUP_MALFORMED, "malformed backup blob")                                                \
    X(KL_BACKUP_SCOPE, "backup of another subscription or geography")                              \
    X(KL_BACKUP_DOMAIN, "backup not from this domain")                                             \
    X(KL_BACKUP_FIXED, "key cannot be backed up")                                                  \
    X(KL_BACKUP_VERSIONS, "too many versions for a backup")                                        \
    X(KL_WRAP_GATE, "private half of the key not proven")                                          \
    X(KL_THROTTLED, "too many requests")                                                           \
    X(KL_READ_ONLY, "store cannot be written")                                                     \
    X(KL_CLOCK_FROZEN, "clock not trusted")                                                        \
    /* wrap */                                                                                     \
    X(KL_WRAP_FORMAT, "not a kluis container")                                                     \
    X(KL_WRAP_HEADER, "header damaged")                                                            \
    X(KL_WRAP_SLOT, "no usable wrap slot")                                                         \
    X(KL_WRAP_KEY, "wrong data key")                                                               \
    X(KL_WRAP_PAYLOAD, "payload damaged")                                                          \
    X(KL_WRAP_TRUNCATED, "payload cut off")                                                        \
    /* cli */                                                                                      \
    X(KL_USAGE, "usage")

enum kl_code {
#define KL_CODE_ENUM(code, name) code,
    KL_CODES(KL_CODE_ENUM)
#undef KL_CODE_ENUM
        KL_CODE_COUNT
};

/** Whose numbers `native` holds. */
enum kl_domain {
    KL_DOMAIN_NONE,
    KL_DOMAIN_OS,     /* errno */
    KL_DOMAIN_OSSL,   /* ERR_get_error() */
    KL_DOMAIN_PKCS11, /* CK_RV */
    KL_DOMAIN_SQL,    /* SQLite extended result code */
    KL_DOMAIN_HTTP,   /* HTTP status */
    KL_DOMAIN_CURL,   /* CURLcode */
};

struct kl_err {
    enum kl_code code;
    enum kl_domain domain;
    unsigned long native;
    char op[32];      /* the call that failed, e.g. "C_Decrypt", "open" */
    char text[320];   /* one sentence, no secret, may be shown to callers */
    char detail[256]; /* for the log only */
};

/** Set *err (if not NULL) and return code. `op` is the failing call; the text is a sentence without
 * a full stop at the end. */
enum kl_code kl_fail(struct kl_err *err, enum kl_code code, const char *op, const char *fmt, ...)
    KL_PRINTF(4, 5);

/** As kl_fail, keeping the native number of `domain`. */
enum kl_code kl_fail_native(struct kl_err *err, enum kl_code code, enum kl_domain domain,
                            unsigned long native, const char *op, const char *fmt, ...)
    KL_PRINTF(6, 7);

/** As kl_fail for a failed system call: maps errno to a code (ENOENT, EACCES, ENOSPC, …) and
 * appends strerror. */
enum kl_code kl_fail_errno(struct kl_err *err, const char *op, const char *fmt, ...)
    KL_PRINTF(3, 4);

/** As kl_fail for OpenSSL: takes the oldest queued error as native and detail, and empties the
 * queue. Returns KL_CRYPTO. */
enum kl_code kl_fail_ossl(struct kl_err *err, const char *op, const char *fmt, ...) KL_PRINTF(3, 4);

/** Put "prefix: " before the text of an error on its way out; returns err's code (KL_INTERNAL when
 * err is NULL). */
enum kl_code kl_err_prefix(struct kl_err *err, const char *fmt, ...) KL_PRINTF(2, 3);

/** The words of KL_CODES; never NULL. */
const char *kl_code_text(enum kl_code code);

/** The enumerator's own name, e.g. "KL_NOT_FOUND"; for logs. */
const char *kl_code_name(enum kl_code code);

#endif
