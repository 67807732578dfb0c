#include "base/chain_parts.h"

#include "base/encoding.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define WINDOW (4 * KL_CHAIN_MAX_LINE)

static const struct kl_chain_point beginning;

static enum kl_code open_file(const char *path, int *ret, struct kl_err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (fd < 0)
        return kl_fail_errno(err, "open", "%s cannot be opened", path);
    *ret = fd;
    return KL_OK;
}

static enum kl_code sync_with_folder(int fd, const char *path, struct kl_err *err)
{
    char folder[PATH_MAX];
    (void)snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    (void)snprintf(slash != NULL ? slash + 1 : folder, 2, ".");
    int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = folder_fd >= 0 && fsync(fd) == 0 && fsync(folder_fd) == 0;
    enum kl_code code = ok ? KL_OK : kl_fail_errno(err, "fsync", "%s cannot be synced", path);
    if (folder_fd >= 0)
        (void)close(folder_fd);
    return code;
}

/* Does the line that ends at the point carry the point's chain value? */
static bool ends_there(int fd, const struct kl_chain_point *at)
{
    char expected[KL_CHAIN_HEX + 4], found[KL_CHAIN_HEX + 3];
    if (at->seq == 0)
        return at->size == 0;
    kl_hex(at->chain, KL_CHAIN_BYTES, expected);
    memcpy(expected + KL_CHAIN_HEX, "\"}\n", 4);
    return at->size > sizeof found &&
           pread(fd, found, sizeof found, (off_t)(at->size - sizeof found)) ==
               (ssize_t)sizeof found &&
           memcmp(found, expected, sizeof found) == 0;
}

enum kl_code kl_chain_mark_seq(const char *mark, size_t n, uint64_t *ret, struct kl_err *err)
{
    struct kl_chain_point at;
    enum kl_code code = kl_chain_parse_head(mark, n, &at, err);
    if (code == KL_OK)
        *ret = at.seq;
    return code;
}

enum kl_code kl_chain_check_mark(const char *path, const char *mark, size_t n, struct kl_err *err)
{
    struct kl_chain_point at;
    enum kl_code code = kl_chain_parse_head(mark, n, &at, err);
    if (code != KL_OK || at.seq == 0)
        return code;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 && errno != ENOENT)
        return kl_fail_errno(err, "open", "%s cannot be opened", path);
    bool there = fd >= 0 && ends_there(fd, &at);
    if (fd >= 0)
        (void)close(fd);
    return there ? KL_OK
                 : kl_fail(err, KL_CORRUPT, "chain",
                           "%s lacks record %llu, which the service had written: the log was cut, "
                           "or is another one",
                           path, (unsigned long long)at.seq);
}

static bool last_is_checkpoint(int fd, const struct kl_chain_point *at)
{
    char tail[4096];
    size_t n = at->size < sizeof tail ? (size_t)at->size : sizeof tail;
    if (n < 2 || pread(fd, tail, n, (off_t)(at->size - n)) != (ssize_t)n)
        return false;
    const char *before = memrchr(tail, '\n', n - 1);
    const char *line = before != NULL ? before + 1 : tail;
    return kl_chain_is_checkpoint(line, (size_t)(tail + n - line));
}

/* Check the lines in `bytes`, which follow f->at. What a crash leaves at the end was never
 * acknowledged: an unfinished line, or zero bytes where blocks did not reach the disk; there
 * *ret_end is set. Anything else that does not fit was done to the file. */
static const char *follow(struct kl_chain_files *f, EVP_MD_CTX *hasher, const char *bytes, size_t n,
                          bool *ret_end)
{
    const char *fault = NULL;
    size_t i = 0;
    while (fault == NULL) {
        const char *end = memchr(bytes + i, '\n', n - i);
        size_t length = end != NULL ? (size_t)(end - bytes) - i : n - i;
        *ret_end = memchr(bytes + i, 0, length) != NULL;
        if (end == NULL || *ret_end)
            return NULL;
        fault = kl_chain_check_line(hasher, &f->at, bytes + i, length);
        i += length + 1;
    }
    return fault;
}

/* Go through the lines behind f->at up to the end of the file, and write each once more: they may
 * be leftovers of a writer whose fsync failed, whose pages are then clean in memory yet missing on
 * disk. */
static enum kl_code follow_file(struct kl_chain_files *f, const char *path, EVP_MD_CTX *hasher,
                                struct kl_err *err)
{
    KL_AUTO(bytes) window = malloc(WINDOW);
    bool end = false;
    if (window == NULL || hasher == NULL)
        return kl_fail(err, KL_NO_MEMORY, "malloc", "no memory to check %s", path);
    while (!end) {
        uint64_t from = f->at.size;
        ssize_t n = pread(f->log_fd, window, WINDOW, (off_t)from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kl_fail_errno(err, "pread", "%s cannot be read", path);
        const char *fault = follow(f, hasher, (const char *)window, (size_t)n, &end);
        if (fault != NULL)
            return kl_fail(err, KL_CORRUPT, "chain",
                           "%s: the line behind sequence number %llu is damaged: %s", path,
                           (unsigned long long)f->at.seq, fault);
        end = end || f->at.size == from; /* nothing, or no whole line */
        enum kl_code code =
            kl_chain_write_at(f->log_fd, window, (size_t)(f->at.size - from), from, err);
        if (code != KL_OK)
            return code;
    }
    return KL_OK;
}

/* Cut off what no line ended, and make all that is left durable before anything builds on it. */
static enum kl_code settle_tail(struct kl_chain_files *f, const char *path, uint64_t size,
                                struct kl_err *err)
{
    if (size - f->at.size >= KL_CHAIN_MAX_LINE * (uint64_t)2 && !f->lost)
        return kl_fail(err, KL_CORRUPT, "chain", "%s ends in %llu bytes that are no lines", path,
                       (unsigned long long)(size - f->at.size));
    if (f->at.size != size && ftruncate(f->log_fd, (off_t)f->at.size) != 0)
        return kl_fail_errno(err, "ftruncate", "the unfinished end of %s cannot be cut off", path);
    if (fsync(f->log_fd) != 0)
        return kl_fail_errno(err, "fsync", "%s cannot be synced", path);
    f->covered = f->at.seq == 0 || last_is_checkpoint(f->log_fd, &f->at);
    return f->lost ? KL_OK : kl_chain_write_head(f->head_fd, &f->at, err);
}

/* Where to begin: behind the head's line, or at the beginning when the head cannot be met and that
 * is accepted. */
static enum kl_code find_start(struct kl_chain_files *f, const char *path, const char *head_path,
                               bool accept_loss, uint64_t size, struct kl_err *err)
{
    struct kl_chain_point head = beginning;
    enum kl_code code = kl_chain_read_head(head_path, &head, err);
    if (code == KL_NOT_FOUND && size == 0) {
        code = kl_chain_write_head(f->head_fd, &beginning, err);
        if (code == KL_OK)
            code = sync_with_folder(f->head_fd, head_path, err);
        return code == KL_OK ? sync_with_folder(f->log_fd, path, err) : code;
    }
    if (code == KL_OK && head.size <= size && ends_there(f->log_fd, &head)) {
        f->at = head;
        return KL_OK;
    }
    if (code == KL_OK)
        code = kl_fail(
            err, KL_CORRUPT, "chain",
            "%s ends before or differs at sequence number %llu, which its head file %s knows: "
            "its end was cut off",
            path, (unsigned long long)head.seq, head_path);
    else if (code == KL_NOT_FOUND)
        code = kl_fail(err, KL_CORRUPT, "chain", "%s has lines but its head file %s is gone", path,
                       head_path);
    if (code != KL_CORRUPT || !accept_loss)
        return code;
    f->lost = true;
    f->lost_head = head;
    return KL_OK;
}

static enum kl_code open_both(struct kl_chain_files *f, const char *path, const char *head_path,
                              bool accept_loss, struct kl_err *err)
{
    struct stat st;
    enum kl_code code = open_file(path, &f->log_fd, err);
    if (code == KL_OK)
        code = open_file(head_path, &f->head_fd, err);
    if (code != KL_OK)
        return code;
    if (flock(f->log_fd, LOCK_EX | LOCK_NB) != 0)
        return kl_fail(err, KL_EXISTS, "flock", "%s is being written by another process", path);
    if (fstat(f->log_fd, &st) != 0)
        return kl_fail_errno(err, "fstat", "%s cannot be read", path);
    uint64_t size = (uint64_t)st.st_size;
    code = find_start(f, path, head_path, accept_loss, size, err);
    if (code != KL_OK)
        return code;
    EVP_MD_CTX *hasher = kl_chain_hasher();
    code = follow_file(f, path, hasher, err);
    EVP_MD_CTX_free(hasher);
    return code == KL_OK ? settle_tail(f, path, size, err) : code;
}

enum kl_code kl_chain_open_files(const char *path, const char *head_path, bool accept_loss,
                                 struct kl_chain_files *ret, struct kl_err *err)
{
    struct kl_chain_files f = {.log_fd = -1, .head_fd = -1};
    enum kl_code code = open_both(&f, path, head_path, accept_loss, err);
    if (code != KL_OK)
        kl_chain_close_files(&f);
    else
        *ret = f;
    return code;
}

void kl_chain_close_files(struct kl_chain_files *f)
{
    if (f->log_fd >= 0)
        (void)close(f->log_fd);
    if (f->head_fd >= 0)
        (void)close(f->head_fd);
}
