/* Shares on disk: one file each, KLUIS-SHARE-set-n-of-N, mode 0600. One thread. */
#ifndef KL_PKCS11_WORKER_SHARE_FILE_H
#define KL_PKCS11_WORKER_SHARE_FILE_H

#include "pkcs11/worker/share.h"

/** Write each share to a new file in `folder` and sync. Nothing is left when it fails. KL_EXISTS,
 * KL_NOT_FOUND (the folder), KL_IO. */
enum kl_code kl_share_files_write(const struct kl_share_set *set, const char *folder,
                                  struct kl_err *err) KL_MUST_USE;
/** Overwrite and remove what kl_share_files_write wrote. */
void kl_share_files_remove(const struct kl_share_set *set, const char *folder);
/** The path of one share, malloc'd; NULL without memory. */
char *kl_share_files_path(const struct kl_share *share, const char *folder);

/** Read `count` files; ret->count of them. KL_BAD_INPUT (too many, or one is no share),
 * KL_NOT_FOUND, KL_IO. */
enum kl_code kl_share_files_read(const char *const *paths, size_t count, struct kl_share_set *ret,
                                 struct kl_err *err) KL_MUST_USE;

#endif
