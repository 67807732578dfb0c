/* The durability barrier of a software token's store folder; nothing for tokens that have none. Any
 * thread. */
#ifndef KL_PKCS11_WORKER_DURABLE_H
#define KL_PKCS11_WORKER_DURABLE_H

#include "base/err.h"

#define KL_DURABLE_FREE_BYTES (16ULL << 20)

/** Before anything is written (also a login: SoftHSM 2.6.1 rewrites token.object in place, and a
 * full disk there costs the whole token). store_dir "" = no check. KL_NO_SPACE below 16 MiB,
 * KL_TOKEN_UNAVAILABLE when the folder is not there. */
enum kl_code kl_durable_check(const char *store_dir, struct kl_err *err) KL_MUST_USE;

/** syncfs on the folder: what was made is on disk when this returns KL_OK. store_dir "" = nothing
 * to do. */
enum kl_code kl_durable_barrier(const char *store_dir, struct kl_err *err) KL_MUST_USE;

#endif
