#include "base/err.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>

KL_PRINTF(4, 0)
static void fill(struct kl_err *err, enum kl_code code, const char *op, const char *fmt, va_list ap)
{
    struct kl_err fresh = {.code = code}; /* the arguments may point into *err */
    (void)snprintf(fresh.op, sizeof fresh.op, "%s", op != NULL ? op : "");
    (void)vsnprintf(fresh.text, sizeof fresh.text, fmt, ap);
    *err = fresh;
}

enum kl_code kl_fail(struct kl_err *err, enum kl_code code, const char *op, const char *fmt, ...)
{
    if (err != NULL) {
        va_list ap;
        va_start(ap, fmt);
        fill(err, code, op, fmt, ap);
        va_end(ap);
    }
    return code;
}

enum kl_code kl_fail_native(struct kl_err *err, enum kl_code code, enum kl_domain domain,
                            unsigned long native, const char *op, const char *fmt, ...)
{
    if (err != NULL) {
        va_list ap;
        va_start(ap, fmt);
        fill(err, code, op, fmt, ap);
        va_end(ap);
        err->domain = domain;
        err->native = native;
    }
    return code;
}

static enum kl_code code_of_errno(int number)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR:
        return KL_NOT_FOUND;
    case EEXIST:
        return KL_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return KL_OS_DENIED;
    case ENOSPC:
    case EDQUOT:
        return KL_NO_SPACE;
    case ENOMEM:
        return KL_NO_MEMORY;
    case ETIMEDOUT:
        return KL_TIMEOUT;
    default:
        return KL_IO;
    }
}

static void append(struct kl_err *err, const char *words)
{
    size_t used = strlen(err->text);
    (void)snprintf(err->text + used, sizeof err->text - used, ": %s", words);
}

enum kl_code kl_fail_errno(struct kl_err *err, const char *op, const char *fmt, ...)
{
    int number = errno;
    enum kl_code code = code_of_errno(number);
    if (err != NULL) {
        char words[96];
        va_list ap;
        va_start(ap, fmt);
        fill(err, code, op, fmt, ap);
        va_end(ap);
        err->domain = KL_DOMAIN_OS;
        err->native = (unsigned long)number;
        append(err, strerror_r(number, words, sizeof words));
    }
    return code;
}

enum kl_code kl_fail_ossl(struct kl_err *err, const char *op, const char *fmt, ...)
{
    unsigned long native = ERR_get_error();
    if (err != NULL) {
        va_list ap;
        va_start(ap, fmt);
        fill(err, KL_CRYPTO, op, fmt, ap);
        va_end(ap);
        err->domain = KL_DOMAIN_OSSL;
        err->native = native;
        ERR_error_string_n(native, err->detail, sizeof err->detail);
    }
    ERR_clear_error();
    return KL_CRYPTO;
}

enum kl_code kl_err_prefix(struct kl_err *err, const char *fmt, ...)
{
    if (err == NULL)
        return KL_INTERNAL;
    char prefix[sizeof err->text];
    char old[sizeof err->text];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(prefix, sizeof prefix, fmt, ap);
    va_end(ap);
    memcpy(old, err->text, sizeof old);
    (void)snprintf(err->text, sizeof err->text, "%s", prefix);
    append(err, old);
    return err->code;
}

const char *kl_code_text(enum kl_code code)
{
    static const char *const texts[] = {
#define KL_CODE_TEXT(code, text) [code] = (text),
        KL_CODES(KL_CODE_TEXT)
#undef KL_CODE_TEXT
    };
    return (size_t)code < KL_COUNT(texts) ? texts[code] : "unknown error";
}

const char *kl_code_name(enum kl_code code)
{
    static const char *const names[] = {
#define KL_CODE_NAME(code, text) [code] = #code,
        KL_CODES(KL_CODE_NAME)
#undef KL_CODE_NAME
    };
    return (size_t)code < KL_COUNT(names) ? names[code] : "KL_UNKNOWN";
}
