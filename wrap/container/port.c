#include "wrap/container/port.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* What pipes are enlarged to: a default pipe of 64 KiB costs one change of process per sixteenth of
 * a segment. */
enum { PIPE_BYTES = 1 << 20 };

static bool regular_at(int fd, uint64_t *ret_offset, uint64_t *ret_size)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return false;
    if (S_ISFIFO(st.st_mode))
        (void)fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES); /* a wish: the system's limit may say no */
    const off_t at = S_ISREG(st.st_mode) ? lseek(fd, 0, SEEK_CUR) : -1;
    if (at < 0)
        return false;
    *ret_offset = (uint64_t)at;
    *ret_size = st.st_size > at ? (uint64_t)(st.st_size - at) : 0;
    return true;
}

void kl_port_source(int fd, struct kl_port *ret)
{
    struct kl_port p = {.fd = fd};
    /* Files of /proc are regular, have size 0, and have content. */
    p.by_position = regular_at(fd, &p.base, &p.size) && p.size > 0;
    if (p.by_position)
        (void)posix_fadvise(fd, (off_t)p.base, 0, POSIX_FADV_SEQUENTIAL);
    *ret = p;
}

void kl_port_target(int fd, bool in_order, struct kl_port *ret)
{
    struct kl_port p = {.fd = fd};
    const int flags = fd >= 0 ? fcntl(fd, F_GETFL) : -1;
    p.by_position = fd < 0 || (regular_at(fd, &p.base, &p.size) && !in_order && flags >= 0 &&
                               (flags & O_APPEND) == 0);
    *ret = p;
}

enum kl_code kl_port_read(const struct kl_port *p, uint64_t at, void *bytes, size_t n,
                          size_t *ret_len, struct kl_err *err)
{
    size_t have = 0;
    while (have < n) {
        char *to = (char *)bytes + have;
        const ssize_t got = p->by_position
                                ? pread(p->fd, to, n - have, (off_t)(p->base + at + have))
                                : read(p->fd, to, n - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return kl_fail_errno(err, "read", "the input cannot be read");
        if (got == 0)
            break;
        have += (size_t)got;
    }
    *ret_len = have;
    return KL_OK;
}

enum kl_code kl_port_write(const struct kl_port *p, uint64_t at, const void *bytes, size_t n,
                           struct kl_err *err)
{
    if (p->fd < 0)
        return KL_OK;
    for (size_t done = 0; done < n;) {
        const char *from = (const char *)bytes + done;
        const ssize_t put = p->by_position
                                ? pwrite(p->fd, from, n - done, (off_t)(p->base + at + done))
                                : write(p->fd, from, n - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return kl_fail_errno(err, "write", "the output cannot be written");
        done += (size_t)put;
    }
    return KL_OK;
}
