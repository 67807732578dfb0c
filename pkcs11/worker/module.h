/* The vendor's module: loaded once per process, never unloaded (exit handlers of unloaded modules
 * crash). The worker forks never. */
#ifndef KL_PKCS11_WORKER_MODULE_H
#define KL_PKCS11_WORKER_MODULE_H

#include "base/err.h"

#include <p11-kit/pkcs11.h>

struct kl_module {
    CK_FUNCTION_LIST *f;
    char manufacturer[33]; /* of the library (CK_INFO), trimmed */
};

/** Check the file (trust.h; sha256 "" = any content), dlopen(RTLD_NOW | RTLD_LOCAL) it, take the
 * function list (C_GetInterface if it is the module's own, else C_GetFunctionList), C_Initialize
 * with CKF_OS_LOCKING_OK and init_args ("" = none) as pReserved. Nothing of 3.x is used. KL_CONFIG
 * when the file is no module, KL_TOKEN_UNAVAILABLE when it does not initialise. */
enum kl_code kl_module_open(const char *path, const char *sha256, const char *init_args,
                            struct kl_module *ret, struct kl_err *err) KL_MUST_USE;

/** C_Finalize. Only when no thread is inside the module. */
void kl_module_close(struct kl_module *m);

#endif
