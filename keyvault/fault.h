/* Errors as the API answers them: one switch maps every code to status, error code and inner code,
 * with the wording that clients and their tests compare. Pure. Source: reference of the Key Vault
 * data plane (recorded answers of the real service). */
#ifndef KL_KEYVAULT_FAULT_H
#define KL_KEYVAULT_FAULT_H

#include "base/buf.h"

struct kl_fault {
    int status;        /* HTTP */
    const char *code;  /* "error"."code" */
    const char *inner; /* "error"."innererror"."code", or NULL */
    const char *text;  /* fixed message; NULL = the error's own sentence */
    bool retry;        /* goes with Retry-After: 1 */
};

/** The row of a code; strings are static. */
struct kl_fault kl_fault_of(enum kl_code code);
/** The message that a client sees for this error: fixed, or the error's own sentence. */
const char *kl_fault_message(const struct kl_err *err);
/** Append {"error":{"code","message","innererror":{"code"}}}. */
void kl_fault_put(struct kl_buf *out, const struct kl_err *err);

#endif
