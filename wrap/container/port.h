/* One end of a stream: a regular file is read and written by position from many threads, everything
 * else in order. No state of its own beyond the descriptor, which stays the caller's. Blocking. */
#ifndef KL_WRAP_CONTAINER_PORT_H
#define KL_WRAP_CONTAINER_PORT_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct kl_port {
    int fd; /* -1: a target that forgets everything */
    bool by_position;
    uint64_t base; /* file offset where the stream begins */
    uint64_t
        size; /* of a source by position: bytes from base to the end of the file as it is now */
};

/** Look at a source. By position when it is a regular file with bytes left behind its offset. */
void kl_port_source(int fd, struct kl_port *ret);
/** Look at a target. By position when it is a regular file without O_APPEND, and `in_order` is not
 * set. */
void kl_port_target(int fd, bool in_order, struct kl_port *ret);

/** Read until n bytes or the end of input; *ret_len less than n means the end. `at` counts from
 * base and is looked at by position only. KL_IO. */
enum kl_code kl_port_read(const struct kl_port *p, uint64_t at, void *bytes, size_t n,
                          size_t *ret_len, struct kl_err *err) KL_MUST_USE;
/** Write all n bytes. KL_IO, KL_NO_SPACE. */
enum kl_code kl_port_write(const struct kl_port *p, uint64_t at, const void *bytes, size_t n,
                           struct kl_err *err) KL_MUST_USE;

#endif
