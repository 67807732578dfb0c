/* Files: whole reads with a limit, and replacement that a power cut leaves either old or new.
 * Blocking. Thread safe. */
#ifndef KL_BASE_IO_H
#define KL_BASE_IO_H

#include "base/err.h"

#include <stddef.h>
#include <sys/types.h>

/** Read a whole file of at most `limit` bytes. *ret is malloc'd, NUL-terminated behind *ret_len
 * bytes; the caller frees. KL_NOT_FOUND, KL_OS_DENIED, KL_TOO_BIG, KL_IO. Not for secrets
 * (kl_secret_read_file). */
enum kl_code kl_io_read_file(const char *path, size_t limit, char **ret, size_t *ret_len,
                             struct kl_err *err) KL_MUST_USE;

/** Write n bytes to a new file beside `path` with this mode, fsync it, rename it over `path`, fsync
 * the folder. The file has its final mode from its first moment (tang CVE-2023-1672). */
enum kl_code kl_io_replace_file(const char *path, mode_t mode, const void *bytes, size_t n,
                                struct kl_err *err) KL_MUST_USE;

/** write(2) until all n bytes are out. */
enum kl_code kl_io_write_all(int fd, const void *bytes, size_t n, struct kl_err *err) KL_MUST_USE;

/** mkdir -p with this mode for the folders that it makes. */
enum kl_code kl_io_make_dirs(const char *path, mode_t mode, struct kl_err *err) KL_MUST_USE;

/** Folder of the running executable, from /proc/self/exe, without a trailing slash, into out. */
enum kl_code kl_io_own_folder(char *out, size_t room, struct kl_err *err) KL_MUST_USE;

#endif
