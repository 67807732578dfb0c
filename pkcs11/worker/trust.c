#include "pkcs11/worker/trust.h"

#include "base/encoding.h"

#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

KL_AUTO_DEFINE(md_ctx, EVP_MD_CTX, EVP_MD_CTX_free);

/* The first line of a file of /proc as numbers; how many there are. */
static size_t read_numbers(const char *path, unsigned long *out, size_t room)
{
    KL_AUTO(file) f = fopen(path, "re");
    char line[128];
    size_t count = 0;
    if (f == NULL || fgets(line, sizeof line, f) == NULL)
        return 0;
    for (char *at = line, *end; count < room; at = end) {
        unsigned long value = strtoul(at, &end, 10);
        if (end == at)
            break;
        out[count++] = value;
    }
    return count;
}

/* In a user namespace that does not map root, everything of root's (and of all other strangers)
 * shows this owner: what can be seen of it from inside is its mode. */
static bool is_beyond_namespace(uid_t uid)
{
    unsigned long nobody = 65534, map[3]; /* inside, outside, count: user_namespaces(7) */
    (void)read_numbers("/proc/sys/kernel/overflowuid", &nobody, 1);
    return uid == nobody && read_numbers("/proc/self/uid_map", map, 3) == 3 && map[1] != 0;
}

static enum kl_code check_owner(const char *path, const struct stat *st, struct kl_err *err)
{
    bool sticky_folder = S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX) != 0;
    if (st->st_uid != 0 && st->st_uid != geteuid() && !is_beyond_namespace(st->st_uid))
        return kl_fail(err, KL_CONFIG, "module",
                       "the module is not loaded: %s belongs to user %u and must belong to root or "
                       "to the service's user",
                       path, (unsigned)st->st_uid);
    if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0 && !sticky_folder)
        return kl_fail(err, KL_CONFIG, "module",
                       "the module is not loaded: others can write to %s (chmod go-w %s)", path,
                       path);
    return KL_OK;
}

static enum kl_code check_folders(const char *path, struct kl_err *err)
{
    char folder[PATH_MAX];
    struct stat st;
    (void)snprintf(folder, sizeof folder, "%s", path);
    for (char *slash = strrchr(folder, '/'); slash != NULL; slash = strrchr(folder, '/')) {
        *slash = 0;
        const char *name = folder[0] != 0 ? folder : "/";
        if (stat(name, &st) != 0)
            return kl_fail_errno(err, "stat", "%s cannot be looked at", name);
        enum kl_code code = check_owner(name, &st, err);
        if (code != KL_OK)
            return code;
    }
    return KL_OK;
}

static enum kl_code digest(int fd, const char *path, char ret[static 65], struct kl_err *err)
{
    KL_AUTO(md_ctx) ctx = EVP_MD_CTX_new();
    unsigned char chunk[16384], out[EVP_MAX_MD_SIZE];
    ssize_t n = 0;
    bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
    while (ok && (n = read(fd, chunk, sizeof chunk)) > 0)
        ok = EVP_DigestUpdate(ctx, chunk, (size_t)n) == 1;
    if (n < 0)
        return kl_fail_errno(err, "read", "the module %s cannot be read", path);
    if (!ok || EVP_DigestFinal_ex(ctx, out, NULL) != 1)
        return kl_fail_ossl(err, "sha256", "the digest of %s cannot be made", path);
    kl_hex(out, 32, ret);
    return KL_OK;
}

static enum kl_code check_file(int fd, const char *sha256, struct kl_trusted *t, struct kl_err *err)
{
    char found[65];
    if (fstat(fd, &t->file) != 0)
        return kl_fail_errno(err, "fstat", "the module %s cannot be looked at", t->path);
    if (!S_ISREG(t->file.st_mode))
        return kl_fail(err, KL_CONFIG, "module", "the module %s is no file", t->path);
    enum kl_code code = check_owner(t->path, &t->file, err);
    if (code != KL_OK || sha256[0] == 0)
        return code;
    code = digest(fd, t->path, found, err);
    if (code == KL_OK && strcmp(found, sha256) != 0)
        code =
            kl_fail(err, KL_CONFIG, "module-sha256",
                    "the module %s is not loaded: its SHA-256 is %s, module-sha256 says otherwise",
                    t->path, found);
    return code;
}

enum kl_code kl_trust_module(const char *path, const char *sha256, struct kl_trusted *ret,
                             struct kl_err *err)
{
    struct kl_trusted t;
    if (path[0] != '/')
        return kl_fail(err, KL_CONFIG, "module", "the module's path %s must begin with a slash",
                       path);
    if (realpath(path, t.path) == NULL)
        return kl_fail_errno(err, "realpath", "the module %s cannot be found", path);
    enum kl_code code = check_folders(t.path, err);
    if (code != KL_OK)
        return code;
    int fd = open(t.path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return kl_fail_errno(err, "open", "the module %s cannot be opened", t.path);
    code = check_file(fd, sha256, &t, err);
    (void)close(fd);
    if (code == KL_OK)
        *ret = t;
    return code;
}

/* The inode that the kernel shows for the mapping (proc(5), /proc/pid/maps: "from-to mode offset
 * device inode"). Not the device: on overlayfs and btrfs it is another one than stat's. */
static bool mapped_from(const void *address, uint64_t *ret_inode)
{
    KL_AUTO(file) maps = fopen("/proc/self/maps", "re");
    char line[PATH_MAX + 256];
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        char *at;
        uint64_t from = strtoull(line, &at, 16);
        uint64_t to = *at == '-' ? strtoull(at + 1, &at, 16) : 0;
        if ((uintptr_t)address < from || (uintptr_t)address >= to)
            continue;
        for (int words = 0; words < 3; words++) {
            at += strspn(at, " ");
            at += strcspn(at, " ");
        }
        *ret_inode = strtoull(at, NULL, 10);
        return true;
    }
    return false;
}

enum kl_code kl_trust_loaded(const struct kl_trusted *checked, const void *address,
                             struct kl_err *err)
{
    struct stat now;
    uint64_t inode = 0;
    if (stat(checked->path, &now) != 0 || !mapped_from(address, &inode))
        return kl_fail_errno(err, "stat", "the module %s cannot be looked at", checked->path);
    const struct stat *then = &checked->file;
    if (inode != then->st_ino || now.st_ino != then->st_ino || now.st_dev != then->st_dev ||
        now.st_mtim.tv_sec != then->st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != then->st_mtim.tv_nsec || now.st_size != then->st_size)
        return kl_fail(err, KL_CONFIG, "module", "the module %s was changed while it was loaded",
                       checked->path);
    return KL_OK;
}
