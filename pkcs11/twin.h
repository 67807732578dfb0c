/* A second client on a copy of a token's folder, for proving that copy. Its worker is told of the
 * copy wherever the module is told of the folder: in init-args, in one variable of the environment,
 * or in the file that such a variable names. Client side, private to this folder. */
#ifndef KL_PKCS11_TWIN_H
#define KL_PKCS11_TWIN_H

#include "pkcs11/client.h"

/** Open a client as `c`, but for the folder: `store` is the copy, and a file may be made in it,
 * KL_TWIN_FILE, which the caller removes. It keeps no latch, so that a copy which refuses the PIN
 * stops nobody. KL_TOKEN_UNSUPPORTED: nothing tells this module where its folder is. */
enum kl_code kl_twin_open(const struct kl_client *c, const char *store, struct kl_token **ret,
                          struct kl_err *err) KL_MUST_USE;

#define KL_TWIN_FILE "kluis-twin.conf"

#endif
