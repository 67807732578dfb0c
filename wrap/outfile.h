/* A file that appears under its name only when it is complete. Until kl_outfile_commit it has no
 * name at all where the file system can do that (O_TMPFILE), else a hidden one beside the target.
 * Targets that are no regular files (devices, pipes) are written directly. Not thread safe.
 * Blocking. */
#ifndef KL_WRAP_OUTFILE_H
#define KL_WRAP_OUTFILE_H

#include "base/err.h"

#include <stdbool.h>

struct kl_outfile;

/** Begin to write what will be `path` (a symbolic link is followed). New files are 0600, replaced
 * ones keep their mode. KL_OS_DENIED, KL_NOT_FOUND (folder), KL_IO. */
enum kl_code kl_outfile_open(const char *path, struct kl_outfile **ret,
                             struct kl_err *err) KL_MUST_USE;
/** Where to write; borrowed. */
int kl_outfile_fd(const struct kl_outfile *f);
/** The target is written directly, so what is written cannot be taken back: write in order and only
 * what is verified. */
bool kl_outfile_direct(const struct kl_outfile *f);
/** fsync, give it its name (replacing), fsync the folder. After a failure the old file is still
 * there. */
enum kl_code kl_outfile_commit(struct kl_outfile *f, struct kl_err *err) KL_MUST_USE;
/** Close; without a commit before, nothing is left behind. */
void kl_outfile_close(struct kl_outfile *f);

KL_AUTO_DEFINE(outfile, struct kl_outfile, kl_outfile_close);

#endif
