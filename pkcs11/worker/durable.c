#include "pkcs11/worker/durable.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum kl_code kl_durable_check(const char *store_dir, struct kl_err *err)
{
    struct statvfs fs;
    if (store_dir[0] == 0)
        return KL_OK;
    if (statvfs(store_dir, &fs) != 0) {
        (void)kl_fail_errno(err, "statvfs", "the token's store %s is not there", store_dir);
        if (err != NULL)
            err->code = KL_TOKEN_UNAVAILABLE;
        return KL_TOKEN_UNAVAILABLE;
    }
    if ((unsigned long long)fs.f_bavail * fs.f_frsize < KL_DURABLE_FREE_BYTES)
        return kl_fail(err, KL_NO_SPACE, "statvfs", "less than 16 MiB are free on %s", store_dir);
    return KL_OK;
}

enum kl_code kl_durable_barrier(const char *store_dir, struct kl_err *err)
{
    if (store_dir[0] == 0)
        return KL_OK;
    int fd = open(store_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return kl_fail_errno(err, "open", "the token's store %s cannot be synced", store_dir);
    enum kl_code code = KL_OK;
    if (syncfs(fd) != 0)
        code = kl_fail_errno(err, "syncfs", "the token's store %s cannot be synced", store_dir);
    (void)close(fd);
    return code;
}
