/* Folders as a whole: their size, a copy, their end. Regular files and folders only; links and
 * sockets are left out, and never followed. Blocking. Thread safe. */
#ifndef KL_PKCS11_TREE_H
#define KL_PKCS11_TREE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/** Bytes of all files below. KL_NOT_FOUND, KL_IO … as errno says. */
enum kl_code kl_tree_size(const char *from, uint64_t *ret, struct kl_err *err) KL_MUST_USE;
/** Copy `from` to the new folder `to`, with modes and, where this process may, owners. A file that
 * vanishes meanwhile is left out. */
enum kl_code kl_tree_copy(const char *from, const char *to, struct kl_err *err) KL_MUST_USE;
/** Remove a folder and all below. One that is not there is fine. */
enum kl_code kl_tree_remove(const char *path, struct kl_err *err) KL_MUST_USE;

/** When something was made or removed in the folder or one right below it: the latest change time,
 * in nanoseconds; 0 = it is not there. */
int64_t kl_tree_changed_ns(const char *path);

#endif
