/* Whether a module's file may be loaded. Whoever can write it, or a folder above it, has the keys.
 */
#ifndef KL_PKCS11_WORKER_TRUST_H
#define KL_PKCS11_WORKER_TRUST_H

#include "base/err.h"

#include <limits.h>
#include <sys/stat.h>

struct kl_trusted {
    char path[PATH_MAX]; /* without symbolic links */
    struct stat file;
};

/** Resolve the absolute path and check it: a regular file; it and every folder above it belong to
 * root or to the user that we run as, and nobody else may write there (a sticky folder such as /tmp
 * may be open to all: what lies in it is its owner's). `sha256`: "" or the lower-case hex digest
 * that the content must have. KL_CONFIG says which path and what to do; KL_NOT_FOUND. */
enum kl_code kl_trust_module(const char *path, const char *sha256, struct kl_trusted *ret,
                             struct kl_err *err) KL_MUST_USE;

/** The file that is mapped at `address` is the one that was checked, unchanged since. KL_CONFIG. */
enum kl_code kl_trust_loaded(const struct kl_trusted *checked, const void *address,
                             struct kl_err *err) KL_MUST_USE;

#endif
