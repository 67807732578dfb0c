#include "wrap/outfile.h"

#include "base/encoding.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct kl_outfile {
    int fd;
    int folder;              /* -1 when written directly */
    char *path;              /* as given, for sentences */
    char *name;              /* in the folder */
    char temp[NAME_MAX + 1]; /* "" while the file has no name */
    bool nameless;
};

static enum kl_code open_direct(struct kl_outfile *f, struct kl_err *err)
{
    f->fd = open(f->path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    return f->fd >= 0 ? KL_OK : kl_fail_errno(err, "open", "%s cannot be written", f->path);
}

/* Folder and last part of the target; a link is replaced where it points to, not where it stands.
 */
static enum kl_code open_folder(struct kl_outfile *f, struct kl_err *err)
{
    KL_AUTO(char) real = realpath(f->path, NULL);
    KL_AUTO(char) folder = strdup(real != NULL ? real : f->path);
    if (folder == NULL)
        return kl_fail(err, KL_NO_MEMORY, "strdup", "no memory for a path");
    char *slash = strrchr(folder, '/');
    f->name = strdup(slash != NULL ? slash + 1 : folder);
    if (f->name == NULL)
        return kl_fail(err, KL_NO_MEMORY, "strdup", "no memory for a path");
    if (f->name[0] == 0)
        return kl_fail(err, KL_BAD_INPUT, "open", "%s does not name a file", f->path);
    if (slash != NULL)
        slash[slash == folder ? 1 : 0] = 0;
    f->folder = open(slash != NULL ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->folder < 0)
        return kl_fail_errno(err, "open", "the folder of %s cannot be opened", f->path);
    return KL_OK;
}

static void new_temp_name(struct kl_outfile *f)
{
    uint8_t random[8];
    char hex[2 * sizeof random + 1];
    kl_random(random, sizeof random);
    kl_hex(random, sizeof random, hex);
    (void)snprintf(f->temp, sizeof f->temp, ".kluis-%s.part", hex);
}

static enum kl_code open_temp(struct kl_outfile *f, mode_t mode, struct kl_err *err)
{
    f->fd = openat(f->folder, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, mode);
    f->nameless = f->fd >= 0;
    if (!f->nameless) {
        new_temp_name(f);
        f->fd = openat(f->folder, f->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    }
    if (f->fd < 0) {
        f->temp[0] = 0;
        return kl_fail_errno(err, "open", "no file can be made beside %s", f->path);
    }
    return KL_OK;
}

enum kl_code kl_outfile_open(const char *path, struct kl_outfile **ret, struct kl_err *err)
{
    KL_AUTO(outfile) f = calloc(1, sizeof *f);
    struct stat st = {.st_mode = S_IFREG | 0600};
    if (f == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for an output file");
    f->fd = f->folder = -1;
    f->path = strdup(path);
    if (f->path == NULL)
        return kl_fail(err, KL_NO_MEMORY, "strdup", "no memory for a path");
    (void)stat(path, &st); /* absent: as preset */
    if (S_ISDIR(st.st_mode))
        return kl_fail(err, KL_BAD_INPUT, "open", "%s is a folder", path);
    enum kl_code code = KL_OK;
    if (!S_ISREG(st.st_mode)) {
        code = open_direct(f, err);
    } else {
        code = open_folder(f, err);
        if (code == KL_OK)
            code = open_temp(f, st.st_mode & 0777, err);
    }
    if (code == KL_OK)
        *ret = kl_take(f);
    return code;
}

int kl_outfile_fd(const struct kl_outfile *f)
{
    return f->fd;
}

bool kl_outfile_direct(const struct kl_outfile *f)
{
    return f->folder < 0;
}

/* linkat cannot replace a file, rename can: a nameless file gets a passing name first. */
static bool give_temp_name(struct kl_outfile *f)
{
    char self[64];
    (void)snprintf(self, sizeof self, "/proc/self/fd/%d", f->fd);
    new_temp_name(f);
    if (linkat(AT_FDCWD, self, f->folder, f->temp, AT_SYMLINK_FOLLOW) == 0)
        return true;
    f->temp[0] = 0;
    return false;
}

enum kl_code kl_outfile_commit(struct kl_outfile *f, struct kl_err *err)
{
    if (fsync(f->fd) != 0 && !(kl_outfile_direct(f) && (errno == EINVAL || errno == EROFS)))
        return kl_fail_errno(err, "fsync", "%s cannot be brought to disk", f->path);
    if (kl_outfile_direct(f))
        return KL_OK;
    if (f->nameless && !give_temp_name(f))
        return kl_fail_errno(err, "linkat", "%s cannot be given its name", f->path);
    if (renameat(f->folder, f->temp, f->folder, f->name) != 0)
        return kl_fail_errno(err, "rename", "%s cannot be replaced", f->path);
    f->temp[0] = 0;
    if (fsync(f->folder) != 0)
        return kl_fail_errno(err, "fsync", "the folder of %s cannot be brought to disk", f->path);
    return KL_OK;
}

void kl_outfile_close(struct kl_outfile *f)
{
    if (f == NULL)
        return;
    if (f->temp[0] != 0)
        (void)unlinkat(f->folder, f->temp, 0);
    if (f->fd >= 0)
        (void)close(f->fd);
    if (f->folder >= 0)
        (void)close(f->folder);
    free(f->path);
    free(f->name);
    free(f);
}
