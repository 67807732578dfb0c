#include "pkcs11/worker/share_file.h"

#include "base/encoding.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_MAX 4096

char *kl_share_files_path(const struct kl_share *share, const char *folder)
{
    char set[2 * KL_SHARE_SET_LEN + 1], *path = NULL;
    kl_hex(share->set, sizeof share->set, set);
    if (asprintf(&path, "%s/kluis-share-%s-%u-of-%u.txt", folder, set, share->number,
                 share->count) < 0)
        return NULL;
    return path;
}

static enum kl_code write_one(const struct kl_share *share, const char *folder, struct kl_err *err)
{
    KL_AUTO(char) path = kl_share_files_path(share, folder);
    struct kl_buf text = KL_BUF_INIT(TEXT_MAX);
    if (path == NULL)
        return kl_fail(err, KL_NO_MEMORY, "asprintf", "no memory for a share");
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return kl_fail_errno(err, "open", "the share %s cannot be written", path);
    kl_buf_reserve(&text, TEXT_MAX / 2);
    kl_share_print(share, &text);
    enum kl_code code = kl_buf_failed(&text) ? kl_fail(err, KL_NO_MEMORY, "share", "no memory")
                                             : kl_io_write_all(fd, text.bytes, text.len, err);
    if (code == KL_OK && (fchmod(fd, 0600) != 0 || fsync(fd) != 0))
        code = kl_fail_errno(err, "fsync", "the share %s cannot be written", path);
    (void)close(fd);
    kl_buf_wipe(&text);
    return code;
}

static enum kl_code sync_folder(const char *folder, struct kl_err *err)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return kl_fail_errno(err, "open", "there is no folder %s for shares", folder);
    bool synced = fsync(fd) == 0;
    (void)close(fd);
    return synced ? KL_OK : kl_fail_errno(err, "fsync", "the folder %s cannot be synced", folder);
}

enum kl_code kl_share_files_write(const struct kl_share_set *set, const char *folder,
                                  struct kl_err *err)
{
    enum kl_code code = sync_folder(folder, err);
    for (size_t i = 0; code == KL_OK && i < set->count; i++)
        code = write_one(&set->shares[i], folder, err);
    if (code == KL_OK)
        code = sync_folder(folder, err);
    if (code != KL_OK)
        kl_share_files_remove(set, folder);
    return code;
}

void kl_share_files_remove(const struct kl_share_set *set, const char *folder)
{
    static const char zeros[TEXT_MAX];
    for (size_t i = 0; i < set->count; i++) {
        struct stat st;
        KL_AUTO(char) path = kl_share_files_path(&set->shares[i], folder);
        int fd = path != NULL ? open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
        if (fd < 0)
            continue;
        if (fstat(fd, &st) == 0 && st.st_size <= TEXT_MAX)
            (void)!kl_io_write_all(fd, zeros, (size_t)st.st_size, NULL);
        (void)fsync(fd);
        (void)close(fd);
        (void)unlink(path);
    }
}

static enum kl_code read_one(const char *path, struct kl_share *ret, struct kl_err *err)
{
    KL_AUTO(secret) text = NULL;
    enum kl_code code = kl_secret_read_file(path, TEXT_MAX, &text, err);
    if (code == KL_TOO_BIG)
        return kl_fail(err, KL_BAD_INPUT, "shares", "%s is no share of a domain key", path);
    return code == KL_OK ? kl_share_parse((const char *)kl_secret_bytes(text), kl_secret_len(text),
                                          path, ret, err)
                         : code;
}

enum kl_code kl_share_files_read(const char *const *paths, size_t count, struct kl_share_set *ret,
                                 struct kl_err *err)
{
    if (count > KL_SHARES_MAX)
        return kl_fail(err, KL_BAD_INPUT, "shares", "a set has at most %d shares", KL_SHARES_MAX);
    ret->count = 0;
    for (size_t i = 0; i < count; i++) {
        enum kl_code code = read_one(paths[i], &ret->shares[i], err);
        if (code != KL_OK)
            return code;
        ret->count++;
    }
    return KL_OK;
}
