/* What a CK_RV means to us: one table. Pure functions. Source: PKCS#11 2.40 section 5.1; classes
 * from field reports. */
#ifndef KL_PKCS11_WORKER_CKR_H
#define KL_PKCS11_WORKER_CKR_H

#include "base/err.h"

#include <p11-kit/pkcs11.h>

/** No token's word but ours: it said CKR_OK, and what it gave was not made with the key that was
 * asked for. Class KL_CKR_HANDLE. */
#define KL_CKR_WRONG_ANSWER (CKR_VENDOR_DEFINED | 0x6b6c0001UL)

enum kl_ckr_class {
    KL_CKR_GOOD,
    KL_CKR_REQUEST,   /* the data's fault, by its number */
    KL_CKR_AMBIGUOUS, /* the data's fault or the token's: a canary decides, its result holds for
                         a hundredth of a second */
    KL_CKR_SUSPECT, /* as ambiguous, but more often the token: only a canary begun after the failure
                       decides */
    KL_CKR_SESSION, /* a new session, once more */
    KL_CKR_HANDLE,  /* look at the login, find the key again, once more */
    KL_CKR_LOAD,    /* later */
    KL_CKR_TOKEN,   /* the token is gone: a new worker */
    KL_CKR_LIBRARY, /* the module is beyond help: a new worker */
    KL_CKR_PIN,     /* stop logging in */
    KL_CKR_REFUSED, /* mechanism, template, key usage: the token cannot or will not */
    KL_CKR_OURS     /* a mistake of ours */
};

/** Vendor-defined and unknown numbers are KL_CKR_SUSPECT. */
enum kl_ckr_class kl_ckr_class(CK_RV rv);

/** "CKR_GENERAL_ERROR"; "CKR_VENDOR_DEFINED" or "CKR_?" for numbers without a row. */
const char *kl_ckr_name(CK_RV rv);

/** kl_fail_native for a C_ function; the text gets the name of rv in brackets. */
enum kl_code kl_ckr_fail(struct kl_err *err, enum kl_code code, CK_RV rv, const char *op,
                         const char *fmt, ...) KL_PRINTF(5, 6);

#endif
