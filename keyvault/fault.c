#include "keyvault/fault.h"

#include <string.h>

#define FAULT(number, word, inner_word, sentence)                                                  \
    (struct kl_fault)                                                                              \
    {                                                                                              \
        .status = (number), .code = (word), .inner = (inner_word), .text = (sentence)              \
    }
#define FAULT_RETRY(number, word, sentence)                                                        \
    (struct kl_fault)                                                                              \
    {                                                                                              \
        .status = (number), .code = (word), .text = (sentence), .retry = true                      \
    }

/* What went wrong inside is for the log: paths, library and driver texts stay there. */
static const char internal[] = "The service met an internal error. Its log names the cause under "
                               "this answer's x-ms-request-id.";
static const char no_token[] = "The token of this key is not available at the moment. Try again.";

/* One switch, so that the compiler finds a code that is left out.
 * NOLINTNEXTLINE(readability-function-size) */
struct kl_fault kl_fault_of(enum kl_code code)
{
    switch (code) {
    case KL_OK:
    case KL_NO_MEMORY:
    case KL_OS_DENIED:
    case KL_CRYPTO:
    case KL_CORRUPT:
    case KL_CONFIG:
    case KL_INTERNAL:
    case KL_HTTP_STATUS:
    case KL_USAGE:
    case KL_WRAP_FORMAT:
    case KL_WRAP_HEADER:
    case KL_WRAP_SLOT:
    case KL_WRAP_KEY:
    case KL_WRAP_PAYLOAD:
    case KL_WRAP_TRUNCATED:
    case KL_TOKEN_AMBIGUOUS:
    case KL_TOKEN_READBACK:
    case KL_CODE_COUNT:
        return FAULT(500, "InternalServerError", NULL, internal);
    case KL_BAD_INPUT:
        return FAULT(400, "BadParameter", NULL, NULL);
    case KL_TOO_BIG:
        return FAULT(413, "RequestEntityTooLarge", NULL, NULL);
    case KL_NOT_FOUND:
    case KL_NO_ROUTE:
        return FAULT(404, "NotFound", NULL, NULL);
    case KL_EXISTS:
    case KL_CONFLICT:
        return FAULT(409, "Conflict", NULL, NULL);
    case KL_IO:
    case KL_TIMEOUT:
    case KL_UNREACHABLE:
        return FAULT_RETRY(503, "ServiceUnavailable", "The service cannot answer at the moment.");
    case KL_NO_SPACE:
    case KL_READ_ONLY:
        return FAULT_RETRY(503, "ServiceUnavailable",
                           "The service cannot store changes at the moment.");
    case KL_CLOCK_FROZEN:
        return FAULT_RETRY(503, "ServiceUnavailable",
                           "The service does not trust its clock at the moment.");
    case KL_TOKEN_UNAVAILABLE:
    case KL_TOKEN_PIN:
        return FAULT_RETRY(503, "ServiceUnavailable", no_token);
    case KL_TOKEN_KEY_MISSING:
        return FAULT_RETRY(503, "ServiceUnavailable",
                           "The private half of this key is not on its token.");
    case KL_WRAP_GATE:
        return FAULT_RETRY(503, "ServiceUnavailable",
                           "The private half of this key did not prove itself, so nothing is "
                           "encrypted under it now.");
    case KL_TOKEN_BUSY:
    case KL_THROTTLED:
        return FAULT_RETRY(429, "Throttled",
                           "Request was not processed because too many requests were received. "
                           "Reason: VaultRequestTypeLimitReached");
    case KL_TOKEN_UNSUPPORTED:
        return FAULT(400, "BadParameter", NULL, "The token of this key does not support that.");
    case KL_DECRYPT_FAILED: /* one answer whatever is wrong with the data: no padding oracle */
        return FAULT(400, "BadParameter", NULL, "The parameter is incorrect.");
    case KL_UNAUTHENTICATED:
        return FAULT(401, "Unauthorized", NULL, NULL);
    case KL_FORBIDDEN:
        return FAULT(403, "Forbidden", "ForbiddenByPolicy", NULL);
    case KL_FORBIDDEN_RBAC:
        return FAULT(403, "Forbidden", "ForbiddenByRbac", NULL);
    case KL_BAD_METHOD: /* goes with Allow */
        return FAULT(405, "BadParameter", NULL, NULL);
    case KL_VAULT_NOT_FOUND:
        return FAULT(404, "VaultNotFound", NULL, NULL);
    case KL_KEY_NOT_FOUND:
    case KL_DELETED_KEY_NOT_FOUND:
        return FAULT(404, "KeyNotFound", NULL, NULL);
    case KL_SECRET_NOT_FOUND:
    case KL_DELETED_SECRET_NOT_FOUND:
        return FAULT(404, "SecretNotFound", NULL, NULL);
    case KL_CERTIFICATE_NOT_FOUND:
    case KL_DELETED_CERTIFICATE_NOT_FOUND:
        return FAULT(404, "CertificateNotFound", NULL, NULL);
    case KL_PENDING_NOT_FOUND:
        return FAULT(404, "PendingCertificateNotFound", NULL, NULL);
    case KL_ISSUER_NOT_FOUND:
        return FAULT(404, "CertificateIssuerNotFound", NULL, NULL);
    case KL_CONTACTS_NOT_FOUND:
        return FAULT(404, "ContactsNotFound", NULL, NULL);
    case KL_MANAGED:
        return FAULT(403, "Forbidden", NULL, NULL);
    case KL_SECRET_DISABLED:
        return FAULT(403, "Forbidden", "SecretDisabled", NULL);
    case KL_KEY_DISABLED:
        return FAULT(403, "Forbidden", "KeyDisabled", NULL);
    case KL_KEY_NOT_YET_VALID:
        return FAULT(403, "Forbidden", "KeyNotYetValid", NULL);
    case KL_KEY_EXPIRED:
        return FAULT(403, "Forbidden", "KeyExpired", NULL);
    case KL_KEY_OP_FORBIDDEN:
        return FAULT(403, "Forbidden", "KeyOperationForbidden", NULL);
    case KL_ALG_MISMATCH:
        return FAULT(400, "BadParameter", NULL, NULL);
    case KL_NAME_DELETED:
        return FAULT(409, "Conflict", "ObjectIsDeletedButRecoverable", NULL);
    case KL_PURGE_PROTECTED:
        return FAULT(403, "Forbidden", "PurgeProtectionEnabled", NULL);
    case KL_BACKUP_MALFORMED: /* the SDKs' own tests compare these words */
        return FAULT(400, "Malformed backup blob", NULL,
                     "Backup blob contains invalid or corrupt version.");
    case KL_BACKUP_SCOPE:
    case KL_BACKUP_DOMAIN:
    case KL_BACKUP_FIXED:
    case KL_BACKUP_VERSIONS:
        return FAULT(400, "BadParameter", NULL, NULL);
    }
    return FAULT(500, "InternalServerError", NULL, internal);
}

const char *kl_fault_message(const struct kl_err *err)
{
    const char *fixed = kl_fault_of(err->code).text;
    if (fixed != NULL)
        return fixed;
    return err->text[0] != 0 ? err->text : kl_code_text(err->code);
}

void kl_fault_put(struct kl_buf *out, const struct kl_err *err)
{
    struct kl_fault fault = kl_fault_of(err->code);
    const char *message = kl_fault_message(err);
    kl_buf_puts(out, "{\"error\":{\"code\":\"");
    kl_buf_puts(out, fault.code);
    kl_buf_puts(out, "\",\"message\":");
    kl_buf_put_json(out, message, strlen(message));
    if (fault.inner != NULL) {
        kl_buf_puts(out, ",\"innererror\":{\"code\":\"");
        kl_buf_puts(out, fault.inner);
        kl_buf_puts(out, "\"}");
    }
    kl_buf_puts(out, "}}");
}
