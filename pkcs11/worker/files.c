#include "pkcs11/worker/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

#define READING                                                                                    \
    ((uint64_t)(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |                        \
                LANDLOCK_ACCESS_FS_READ_DIR))
#define OF_A_FILE                                                                                  \
    ((uint64_t)(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |                        \
                LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE))
#define MOST_HIDDEN 512
#define DEEPEST     64

struct rules {
    int fd;
    uint64_t known; /* rights that this kernel knows */
    char *hidden[MOST_HIDDEN];
    size_t hidden_count;
};

static uint64_t known_rights(long version)
{
    uint64_t rights = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1; /* the last one of version 1 */
    if (version >= 2)
        rights |= LANDLOCK_ACCESS_FS_REFER;
    if (version >= 3)
        rights |= LANDLOCK_ACCESS_FS_TRUNCATE;
    return rights;
}

/* A hidden file, or what its owner puts beside it: "kluis.db" hides "kluis.db-wal". */
static bool is_hidden(const struct rules *r, const char *path)
{
    for (size_t i = 0; i < r->hidden_count; i++) {
        size_t n = strlen(r->hidden[i]);
        if (strncmp(path, r->hidden[i], n) == 0 && strchr(path + n, '/') == NULL)
            return true;
    }
    return false;
}

static bool is_above_hidden(const struct rules *r, const char *path)
{
    size_t n = strcmp(path, "/") == 0 ? 0 : strlen(path);
    for (size_t i = 0; i < r->hidden_count; i++)
        if (strncmp(r->hidden[i], path, n) == 0 && r->hidden[i][n] == '/')
            return true;
    return false;
}

static enum kl_code add_rule(const struct rules *r, const char *path, uint64_t rights,
                             struct kl_err *err)
{
    struct stat st;
    int fd = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) != 0) {
        enum kl_code code = kl_fail_errno(err, "open", "%s cannot be given to the module", path);
        if (fd >= 0)
            (void)close(fd);
        return code;
    }
    rights &= r->known & (S_ISDIR(st.st_mode) ? ~UINT64_C(0) : OF_A_FILE);
    struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};
    long rc = S_ISLNK(st.st_mode)
                  ? 0 /* what it leads to has, or lacks, a rule of its own */
                  : syscall(SYS_landlock_add_rule, r->fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    enum kl_code code =
        rc == 0 ? KL_OK
                : kl_fail_errno(err, "landlock_add_rule", "%s cannot be given to the module", path);
    (void)close(fd);
    return code;
}

/* A rule holds for everything below, so a folder with something hidden in it is given entry by
 * entry. What comes into being there later stays closed. NOLINTNEXTLINE(misc-no-recursion) */
static enum kl_code grant(const struct rules *r, const char *path, uint64_t rights, int depth,
                          struct kl_err *err)
{
    if (is_hidden(r, path))
        return KL_OK;
    if (!is_above_hidden(r, path) || depth > DEEPEST)
        return add_rule(r, path, rights, err);
    DIR *folder = opendir(path);
    const struct dirent *entry;
    if (folder == NULL)
        return kl_fail_errno(err, "opendir", "%s cannot be listed", path);
    while ((entry = readdir(folder)) != NULL) {
        char below[PATH_MAX];
        int n = snprintf(below, sizeof below, "%s/%s", path[1] == 0 ? "" : path, entry->d_name);
        if (n < (int)sizeof below && strcmp(entry->d_name, ".") != 0 &&
            strcmp(entry->d_name, "..") != 0)
            (void)grant(r, below, rights, depth + 1,
                        NULL); /* gone already, or no business of ours */
    }
    (void)closedir(folder);
    return KL_OK;
}

static enum kl_code grant_real(const struct rules *r, const char *path, uint64_t rights,
                               struct kl_err *err)
{
    char real[PATH_MAX];
    if (realpath(path, real) == NULL)
        return kl_fail_errno(err, "realpath", "%s cannot be given to the module", path);
    return grant(r, real, rights, 0, err);
}

/* The file may not be there yet, its folder is. */
static enum kl_code hide_name(struct rules *r, const char *path, struct kl_err *err)
{
    char copy[PATH_MAX], folder[PATH_MAX];
    if (snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy ||
        r->hidden_count == MOST_HIDDEN)
        return kl_fail(err, KL_CONFIG, "files", "%.80s cannot be closed to the module", path);
    char *name = strrchr(copy, '/');
    *name++ = 0;
    if (realpath(copy[0] != 0 ? copy : "/", folder) == NULL)
        return errno == ENOENT ? KL_OK /* nothing there to hide */
                               : kl_fail_errno(err, "realpath", "%s cannot be looked at", copy);
    if (asprintf(&r->hidden[r->hidden_count], "%s/%s", folder[1] == 0 ? "" : folder, name) < 0)
        return kl_fail(err, KL_NO_MEMORY, "asprintf", "no memory to close files to the module");
    r->hidden_count++;
    return KL_OK;
}

/* The name, and what it leads to when it is a symbolic link. */
static enum kl_code hide(struct rules *r, const char *path, struct kl_err *err)
{
    char real[PATH_MAX];
    enum kl_code code = hide_name(r, path, err);
    return code == KL_OK && realpath(path, real) != NULL ? hide_name(r, real, err) : code;
}

static enum kl_code hide_all(struct rules *r, const char *list, struct kl_err *err)
{
    char text[sizeof(((struct kl_worker_config *)NULL)->hidden)], *rest = NULL;
    enum kl_code code = KL_OK;
    (void)snprintf(text, sizeof text, "%s", list);
    for (char *p = strtok_r(text, "\n", &rest); code == KL_OK && p != NULL;
         p = strtok_r(NULL, "\n", &rest))
        code = hide(r, p, err);
    return code;
}

static enum kl_code grant_list(const struct rules *r, const char *list, struct kl_err *err)
{
    char text[sizeof(((struct kl_worker_config *)NULL)->files)], *rest = NULL;
    enum kl_code code = KL_OK;
    (void)snprintf(text, sizeof text, "%s", list);
    for (char *p = strtok_r(text, "\n", &rest); code == KL_OK && p != NULL;
         p = strtok_r(NULL, "\n", &rest))
        code = grant_real(r, p, r->known, err);
    return code == KL_OK ? KL_OK : kl_err_prefix(err, "files");
}

/* Also the folders that hold libraries under other names on some systems; what is not there is
 * passed over. */
static void grant_system(const struct rules *r, const char *module)
{
    static const char *const readable[] = {"/usr", "/lib", "/lib32", "/lib64",
                                           "/etc", "/opt", "/proc",  "/sys"};
    static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random",
                                          "/dev/urandom"};
    char folder[PATH_MAX];
    for (size_t i = 0; i < KL_COUNT(readable); i++)
        (void)!grant_real(r, readable[i], READING, NULL);
    for (size_t i = 0; i < KL_COUNT(devices); i++)
        (void)!grant_real(r, devices[i], r->known, NULL);
    if (realpath(module, folder) == NULL)
        return; /* the loader will say it better */
    *strrchr(folder, '/') = 0;
    (void)!grant_real(r, folder[0] != 0 ? folder : "/", READING, NULL);
}

static enum kl_code add_all(struct rules *r, const struct kl_worker_config *conf,
                            const char *state_dir, struct kl_err *err)
{
    enum kl_code code = hide_all(r, conf->hidden, err);
    if (code != KL_OK)
        return code;
    if (conf->all_files) {
        code = grant(r, "/", r->known, 0, err);
    } else {
        grant_system(r, conf->module);
        code = grant_list(r, conf->files, err);
    }
    if (code == KL_OK && conf->store_dir[0] != 0)
        code = grant_real(r, conf->store_dir, r->known, err);
    if (code == KL_OK && state_dir[0] != 0) {
        r->hidden_count = 0; /* it may lie where nothing else is given */
        code = grant_real(r, state_dir, r->known, err);
    }
    return code;
}

enum kl_code kl_files_confine(const struct kl_worker_config *conf, const char *state_dir,
                              bool *ret_confined, struct kl_err *err)
{
    struct rules r = {.fd = -1};
    if (strcmp(conf->files, "/") == 0 || (conf->all_files && conf->hidden[0] == 0)) {
        *ret_confined = true; /* nothing was forbidden */
        return KL_OK;
    }
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1) {
        *ret_confined = false;
        return KL_OK;
    }
    r.known = known_rights(version);
    struct landlock_ruleset_attr attr = {.handled_access_fs = r.known};
    r.fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (r.fd < 0)
        return kl_fail_errno(err, "landlock_create_ruleset",
                             "files cannot be closed to the module");
    char **hidden = r.hidden;
    enum kl_code code = add_all(&r, conf, state_dir, err);
    if (code == KL_OK && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
                          syscall(SYS_landlock_restrict_self, r.fd, 0) != 0))
        code = kl_fail_errno(err, "landlock_restrict_self", "files cannot be closed to the module");
    for (size_t i = 0; i < MOST_HIDDEN; i++)
        free(hidden[i]);
    (void)close(r.fd);
    if (code == KL_OK)
        *ret_confined = true;
    return code;
}
