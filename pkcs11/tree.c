#include "pkcs11/tree.h"

#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEEPEST 8 /* folders in folders; a token's store has one or two */

KL_AUTO_DEFINE(dir, DIR, (void)closedir);

/* What one entry of a folder is given to; `to` is its path in the copy, or NULL. */
typedef enum kl_code visit(const char *from, const char *to, const struct stat *st, void *arg,
                           struct kl_err *err);

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static enum kl_code walk(const char *from, const char *to, int depth, visit *see, void *arg,
                         struct kl_err *err)
{
    KL_AUTO(dir) dir = opendir(from);
    if (dir == NULL)
        return kl_fail_errno(err, "opendir", "%s cannot be read", from);
    enum kl_code code = KL_OK;
    for (struct dirent *e; code == KL_OK && (e = readdir(dir)) != NULL;) {
        char path[2048], other[2048];
        struct stat st;
        if (is_dots(e->d_name))
            continue;
        if (snprintf(path, sizeof path, "%s/%s", from, e->d_name) >= (int)sizeof path ||
            snprintf(other, sizeof other, "%s/%s", to, e->d_name) >= (int)sizeof other)
            return kl_fail(err, KL_TOO_BIG, "readdir", "a path below %s is too long", from);
        if (lstat(path, &st) != 0 || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
            continue;
        code = see(path, other, &st, arg, err);
        if (code == KL_OK && S_ISDIR(st.st_mode) && depth < DEEPEST)
            code = walk(path, other, depth + 1, see, arg, err);
    }
    return code;
}

static enum kl_code add_size(const char *from, const char *to, const struct stat *st, void *arg,
                             struct kl_err *err)
{
    uint64_t *sum = arg;
    (void)from, (void)to, (void)err;
    *sum += S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
    return KL_OK;
}

enum kl_code kl_tree_size(const char *from, uint64_t *ret, struct kl_err *err)
{
    uint64_t sum = 0;
    enum kl_code code = walk(from, from, 0, add_size, &sum, err);
    if (code == KL_OK)
        *ret = sum;
    return code;
}

static enum kl_code copy_bytes(int in, int out, const char *to, struct kl_err *err)
{
    ssize_t n;
    do {
        n = sendfile(out, in, NULL, 1 << 20);
    } while (n > 0 || (n < 0 && errno == EINTR));
    return n == 0 ? KL_OK : kl_fail_errno(err, "sendfile", "%s cannot be written", to);
}

static enum kl_code copy_file(const char *from, const char *to, const struct stat *st,
                              struct kl_err *err)
{
    int in = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (in < 0)
        return errno == ENOENT ? KL_OK : kl_fail_errno(err, "open", "%s cannot be read", from);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st->st_mode & 0777);
    enum kl_code code = out < 0 ? kl_fail_errno(err, "open", "%s cannot be made", to)
                                : copy_bytes(in, out, to, err);
    if (out >= 0) {
        int kept = fchown(out, st->st_uid, st->st_gid);
        (void)kept; /* only root may give files away, and only root has to */
        (void)close(out);
    }
    (void)close(in);
    return code;
}

static enum kl_code make_folder(const char *to, const struct stat *st, struct kl_err *err)
{
    if (mkdir(to, st->st_mode & 0777) != 0)
        return kl_fail_errno(err, "mkdir", "%s cannot be made", to);
    int kept = lchown(to, st->st_uid, st->st_gid);
    (void)kept;
    return KL_OK;
}

static enum kl_code copy_one(const char *from, const char *to, const struct stat *st, void *arg,
                             struct kl_err *err)
{
    (void)arg;
    return S_ISDIR(st->st_mode) ? make_folder(to, st, err) : copy_file(from, to, st, err);
}

enum kl_code kl_tree_copy(const char *from, const char *to, struct kl_err *err)
{
    struct stat st;
    if (stat(from, &st) != 0)
        return kl_fail_errno(err, "stat", "%s cannot be read", from);
    enum kl_code code = make_folder(to, &st, err);
    return code == KL_OK ? walk(from, to, 0, copy_one, NULL, err) : code;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

enum kl_code kl_tree_remove(const char *path, struct kl_err *err)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT)
        return KL_OK;
    return kl_fail_errno(err, "remove", "%s cannot be removed", path);
}

static int64_t changed_ns(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

int64_t kl_tree_changed_ns(const char *path)
{
    struct stat st;
    KL_AUTO(dir) dir = opendir(path);
    if (dir == NULL || fstat(dirfd(dir), &st) != 0)
        return 0;
    int64_t latest = changed_ns(&st);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (!is_dots(e->d_name) && fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISDIR(st.st_mode) && changed_ns(&st) > latest)
            latest = changed_ns(&st);
    return latest;
}
