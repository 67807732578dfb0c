#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum kl_code kl_io_read_file(const char *path, size_t limit, char **ret, size_t *ret_len,
                             struct kl_err *err)
{
    KL_AUTO(file) f = fopen(path, "re");
    if (f == NULL)
        return kl_fail_errno(err, "open", "%s cannot be opened", path);
    KL_AUTO(char) bytes = NULL;
    size_t len = 0, room = 0;
    do {
        room = room != 0 ? room * 2 : 4096;
        char *bigger = realloc(bytes, room + 1);
        if (bigger == NULL)
            return kl_fail(err, KL_NO_MEMORY, "realloc", "no memory to read %s", path);
        bytes = bigger;
        len += fread(bytes + len, 1, room - len, f);
        if (len > limit)
            return kl_fail(err, KL_TOO_BIG, "read", "%s has more than %zu bytes", path, limit);
    } while (len == room);
    if (ferror(f))
        return kl_fail_errno(err, "read", "%s cannot be read", path);
    bytes[len] = 0;
    *ret = kl_take(bytes);
    *ret_len = len;
    return KL_OK;
}

enum kl_code kl_io_write_all(int fd, const void *bytes, size_t n, struct kl_err *err)
{
    const char *p = bytes;
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return kl_fail_errno(err, "write", "writing failed");
        p += done;
        n -= (size_t)done;
    }
    return KL_OK;
}

static enum kl_code sync_folder_of(const char *path, struct kl_err *err)
{
    char folder[PATH_MAX];
    (void)snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        (void)snprintf(folder, sizeof folder, ".");
    else
        slash[slash == folder ? 1 : 0] = 0;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        enum kl_code code = kl_fail_errno(err, "fsync", "folder %s cannot be synced", folder);
        if (fd >= 0)
            (void)close(fd);
        return code;
    }
    (void)close(fd);
    return KL_OK;
}

enum kl_code kl_io_replace_file(const char *path, mode_t mode, const void *bytes, size_t n,
                                struct kl_err *err)
{
    static atomic_uint count; /* threads may replace the same file: the last one wins whole */
    char temp[PATH_MAX];
    if ((size_t)snprintf(temp, sizeof temp, "%s.new.%d.%u", path, (int)getpid(),
                         atomic_fetch_add(&count, 1)) >= sizeof temp)
        return kl_fail(err, KL_BAD_INPUT, "open", "the path %s is too long", path);
    (void)unlink(temp);
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return kl_fail_errno(err, "open", "%s cannot be created", temp);
    enum kl_code code = KL_OK;
    if (fchmod(fd, mode) != 0) /* the umask may have taken bits away */
        code = kl_fail_errno(err, "fchmod", "%s cannot get its mode", temp);
    if (code == KL_OK) {
        code = kl_io_write_all(fd, bytes, n, err);
        if (code != KL_OK)
            (void)kl_err_prefix(err, "%s", temp);
    }
    if (code == KL_OK && fsync(fd) != 0)
        code = kl_fail_errno(err, "fsync", "%s cannot be synced", temp);
    if (close(fd) != 0 && code == KL_OK)
        code = kl_fail_errno(err, "close", "%s cannot be written", temp);
    if (code == KL_OK && rename(temp, path) != 0)
        code = kl_fail_errno(err, "rename", "%s cannot be replaced", path);
    if (code != KL_OK) {
        (void)unlink(temp);
        return code;
    }
    return sync_folder_of(path, err);
}

enum kl_code kl_io_make_dirs(const char *path, mode_t mode, struct kl_err *err)
{
    char part[PATH_MAX];
    struct stat st;
    if (*path == 0 || (size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part)
        return kl_fail(err, KL_BAD_INPUT, "mkdir", "the path %s is empty or too long", path);
    for (char *p = part + 1;; p++) {
        const bool end = *p == 0;
        if (*p != '/' && !end)
            continue;
        *p = 0;
        if (mkdir(part, mode) != 0 &&
            (errno != EEXIST || stat(part, &st) != 0 || !S_ISDIR(st.st_mode)))
            return kl_fail_errno(err, "mkdir", "folder %s cannot be made", part);
        if (end)
            return KL_OK;
        *p = '/';
    }
}

enum kl_code kl_io_own_folder(char *out, size_t room, struct kl_err *err)
{
    ssize_t n = readlink("/proc/self/exe", out, room - 1);
    if (n < 0)
        return kl_fail_errno(err, "readlink", "/proc/self/exe cannot be read");
    if ((size_t)n == room - 1)
        return kl_fail(err, KL_TOO_BIG, "readlink", "the path of the executable is too long");
    out[n] = 0;
    char *slash = strrchr(out, '/');
    if (slash != NULL)
        *slash = 0;
    return KL_OK;
}
