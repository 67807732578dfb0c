/* The files that a worker may touch: Landlock rules, which hold for every thread and for good. */
#ifndef KL_PKCS11_WORKER_FILES_H
#define KL_PKCS11_WORKER_FILES_H

#include "pkcs11/proto.h"

/** Confine this thread and those it starts. With conf->all_files: to everything but conf->hidden;
 * with conf->files "/" to nothing at all; else to conf->files, store_dir and the module's folder,
 * and to read the system's folders, always without what is hidden. `state_dir` may be written in
 * either case. *ret_confined is false on a kernel without Landlock (before 5.13, or switched off).
 * KL_NOT_FOUND, KL_OS_DENIED: a path of `files`. Source: landlock(7). What Landlock does not look
 * at: connecting to a Unix socket, and names and modes of files (stat). */
enum kl_code kl_files_confine(const struct kl_worker_config *conf, const char *state_dir,
                              bool *ret_confined, struct kl_err *err) KL_MUST_USE;

#endif
