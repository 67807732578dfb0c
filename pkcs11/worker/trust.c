#include "pkcs11/worker/trust.h"

#include "base/encoding.h"

#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

KL_AUTO_DEFINE(md_ctx, EVP_MD_CTX, EVP_MD_CTX_free);

/* In a user namespace that does not map root, everything of root's (and of all other strangers)
 * shows this owner: what can be seen of it from inside is its mode. */
static bool is_beyond_namespace(uid_t uid)
{
    KL_AUTO(file) overflow = fopen("/proc/sys/kernel/overflowuid", "re");
    KL_AUTO(file) map = fopen("/proc/self/uid_map", "re");
    unsigned long nobody = 65534, inside = 0, outside = 0, count = 0;
    if (overflow != NULL && fscanf(overflow, "%lu", &nobody) != 1)
        nobody = 65534;
    return uid == nobody && map != NULL &&
           fscanf(map, "%lu %lu %lu", &inside, &outside, &count) == 3 && outside != 0;
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

/* The inode that the kernel shows for the mapping (proc(5), /proc/pid/maps). Not the device: on
 * overlayfs and btrfs it is another one than stat's. */
static bool mapped_from(const void *address, uint64_t *ret_inode)
{
    KL_AUTO(file) maps = fopen("/proc/self/maps", "re");
    char line[PATH_MAX + 256];
    uint64_t from, to, inode;
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %*x %*x:%*x %" SCNu64, &from, &to, &inode) !=
                3 ||
            (uintptr_t)address < from || (uintptr_t)address >= to)
            continue;
        *ret_inode = inode;
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
