#include "pkcs11/worker/ckr.h"

#include <string.h>

static const struct row {
    CK_RV rv;
    const char *name;
    enum kl_ckr_class class;
} rows[] = {
#define ROW(name, class)                                                                           \
    {                                                                                              \
        name, #name, class                                                                         \
    }
    ROW(CKR_OK, KL_CKR_GOOD),
    /* SoftHSM 2.7, NSS, openCryptoki 3.27, wolf: seen for a bad ciphertext */
    ROW(CKR_ENCRYPTED_DATA_INVALID, KL_CKR_REQUEST),
    ROW(CKR_ENCRYPTED_DATA_LEN_RANGE, KL_CKR_REQUEST),
    ROW(CKR_DATA_INVALID, KL_CKR_REQUEST),
    ROW(CKR_DATA_LEN_RANGE, KL_CKR_REQUEST),
    ROW(CKR_WRAPPED_KEY_INVALID, KL_CKR_REQUEST),
    ROW(CKR_WRAPPED_KEY_LEN_RANGE, KL_CKR_REQUEST),
    ROW(CKR_SIGNATURE_INVALID, KL_CKR_REQUEST),
    ROW(CKR_SIGNATURE_LEN_RANGE, KL_CKR_REQUEST),
    /* SoftHSM 2.6.1, tpm2: GENERAL_ERROR for a bad ciphertext; NSS: ARGUMENTS_BAD for one too
       large; openCryptoki 3.8.1: FUNCTION_FAILED; all of them also for a dead token */
    ROW(CKR_GENERAL_ERROR, KL_CKR_AMBIGUOUS),
    ROW(CKR_ARGUMENTS_BAD, KL_CKR_AMBIGUOUS),
    ROW(CKR_FUNCTION_FAILED, KL_CKR_AMBIGUOUS),
    ROW(CKR_FUNCTION_REJECTED, KL_CKR_AMBIGUOUS),
    /* NetHSM: any HTTP 400; YubiHSM: invalid data; remoting, pkcs11-proxy: connection lost */
    ROW(CKR_DEVICE_ERROR, KL_CKR_SUSPECT),
    ROW(CKR_FUNCTION_CANCELED, KL_CKR_SUSPECT),
    ROW(CKR_CANCEL, KL_CKR_SUSPECT),
    ROW(CKR_SESSION_HANDLE_INVALID, KL_CKR_SESSION),
    ROW(CKR_SESSION_CLOSED, KL_CKR_SESSION),
    ROW(CKR_SESSION_READ_ONLY, KL_CKR_SESSION),
    ROW(CKR_OPERATION_ACTIVE, KL_CKR_SESSION),
    ROW(CKR_OPERATION_NOT_INITIALIZED, KL_CKR_SESSION),
    /* after a lost login SoftHSM says OBJECT_HANDLE_INVALID, not USER_NOT_LOGGED_IN */
    ROW(CKR_OBJECT_HANDLE_INVALID, KL_CKR_HANDLE),
    ROW(CKR_KEY_HANDLE_INVALID, KL_CKR_HANDLE),
    ROW(CKR_WRAPPING_KEY_HANDLE_INVALID, KL_CKR_HANDLE),
    ROW(CKR_UNWRAPPING_KEY_HANDLE_INVALID, KL_CKR_HANDLE),
    ROW(CKR_USER_NOT_LOGGED_IN, KL_CKR_HANDLE),
    ROW(KL_CKR_WRONG_ANSWER, KL_CKR_HANDLE),
    ROW(CKR_SESSION_COUNT, KL_CKR_LOAD),
    ROW(CKR_DEVICE_MEMORY, KL_CKR_LOAD), /* YubiHSM: audit log full */
    ROW(CKR_HOST_MEMORY, KL_CKR_LOAD),
    ROW(CKR_TOKEN_NOT_PRESENT, KL_CKR_TOKEN),
    ROW(CKR_TOKEN_NOT_RECOGNIZED, KL_CKR_TOKEN),
    ROW(CKR_DEVICE_REMOVED, KL_CKR_TOKEN),
    ROW(CKR_SLOT_ID_INVALID, KL_CKR_TOKEN),
    ROW(CKR_CRYPTOKI_NOT_INITIALIZED, KL_CKR_LIBRARY),
    ROW(CKR_CRYPTOKI_ALREADY_INITIALIZED, KL_CKR_LIBRARY),
    ROW(CKR_MUTEX_BAD, KL_CKR_LIBRARY),
    ROW(CKR_MUTEX_NOT_LOCKED, KL_CKR_LIBRARY),
    ROW(CKR_CANT_LOCK, KL_CKR_LIBRARY),
    ROW(CKR_PIN_INCORRECT, KL_CKR_PIN),
    ROW(CKR_PIN_INVALID, KL_CKR_PIN),
    ROW(CKR_PIN_LEN_RANGE, KL_CKR_PIN),
    ROW(CKR_PIN_EXPIRED, KL_CKR_PIN),
    ROW(CKR_PIN_LOCKED, KL_CKR_PIN),
    ROW(CKR_USER_PIN_NOT_INITIALIZED, KL_CKR_PIN),
    ROW(CKR_USER_TYPE_INVALID, KL_CKR_REFUSED), /* NSS: no security officer once there is a user */
    ROW(CKR_MECHANISM_INVALID, KL_CKR_REFUSED),
    ROW(CKR_MECHANISM_PARAM_INVALID, KL_CKR_REFUSED),
    ROW(CKR_FUNCTION_NOT_SUPPORTED, KL_CKR_REFUSED),
    ROW(CKR_KEY_TYPE_INCONSISTENT, KL_CKR_REFUSED),
    ROW(CKR_KEY_SIZE_RANGE, KL_CKR_REFUSED),
    ROW(CKR_KEY_FUNCTION_NOT_PERMITTED, KL_CKR_REFUSED),
    ROW(CKR_KEY_NOT_WRAPPABLE, KL_CKR_REFUSED),
    ROW(CKR_KEY_UNEXTRACTABLE, KL_CKR_REFUSED),
    ROW(CKR_WRAPPING_KEY_TYPE_INCONSISTENT, KL_CKR_REFUSED),
    ROW(CKR_WRAPPING_KEY_SIZE_RANGE, KL_CKR_REFUSED),
    ROW(CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT, KL_CKR_REFUSED),
    ROW(CKR_UNWRAPPING_KEY_SIZE_RANGE, KL_CKR_REFUSED),
    ROW(CKR_TEMPLATE_INCOMPLETE, KL_CKR_REFUSED),
    ROW(CKR_TEMPLATE_INCONSISTENT, KL_CKR_REFUSED),
    ROW(CKR_ATTRIBUTE_READ_ONLY, KL_CKR_REFUSED),
    ROW(CKR_ATTRIBUTE_SENSITIVE, KL_CKR_REFUSED),
    ROW(CKR_ATTRIBUTE_TYPE_INVALID, KL_CKR_REFUSED),
    ROW(CKR_ATTRIBUTE_VALUE_INVALID, KL_CKR_REFUSED),
    ROW(CKR_DOMAIN_PARAMS_INVALID, KL_CKR_REFUSED),
    ROW(CKR_TOKEN_WRITE_PROTECTED, KL_CKR_REFUSED),
    ROW(CKR_RANDOM_NO_RNG, KL_CKR_REFUSED),
    ROW(CKR_ACTION_PROHIBITED, KL_CKR_REFUSED),
    ROW(CKR_BUFFER_TOO_SMALL, KL_CKR_OURS),
#undef ROW
};

static const struct row *find(CK_RV rv)
{
    for (size_t i = 0; i < KL_COUNT(rows); i++)
        if (rows[i].rv == rv)
            return &rows[i];
    return NULL;
}

enum kl_ckr_class kl_ckr_class(CK_RV rv)
{
    const struct row *row = find(rv);
    return row != NULL ? row->class : KL_CKR_SUSPECT;
}

const char *kl_ckr_name(CK_RV rv)
{
    const struct row *row = find(rv);
    if (row != NULL)
        return row->name;
    return rv >= CKR_VENDOR_DEFINED ? "CKR_VENDOR_DEFINED" : "CKR_?";
}

enum kl_code kl_ckr_fail(struct kl_err *err, enum kl_code code, CK_RV rv, const char *op,
                         const char *fmt, ...)
{
    char text[sizeof err->text];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return kl_fail_native(err, code, KL_DOMAIN_PKCS11, rv, op, "%.*s (%s)", (int)(sizeof text - 48),
                          text, kl_ckr_name(rv));
}
