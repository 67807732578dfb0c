/* Payload of a container: whole streams, segments in parallel, memory constant (one segment per
 * thread).
 *
 * Input and output that are regular files are read and written by position, each thread for itself;
 * everything else in order. A segment's plaintext goes out only after its tag verified; in order,
 * what went out before a failure is a verified prefix. Calls block and start their own threads,
 * which end before they return; several calls may run at once.
 */
#ifndef KL_WRAP_CONTAINER_STREAM_H
#define KL_WRAP_CONTAINER_STREAM_H

#include "wrap/container/keys.h"

#include <stdint.h>

#define KL_STREAM_MAX_BYTES   ((uint64_t)1 << 46) /* plaintext of one stream: 64 TiB */
#define KL_STREAM_MAX_THREADS 64

struct kl_stream_options {
    unsigned
        threads;   /* 0: the processors we may use, and one more for each end that goes in order */
    bool in_order; /* write in order even to a regular file */
    /* Called now and then, on any of the threads but one at a time, with the bytes of input done so
     * far. May be NULL. */
    void (*progress)(void *arg, uint64_t bytes);
    void *arg;
};

/** Encrypt in_fd from its offset to its end (a regular file: as long as it is now) and write the
 * stream to out_fd from its offset. *ret_bytes: plaintext length. KL_IO, KL_NO_SPACE, KL_TOO_BIG,
 * KL_NO_MEMORY, KL_CRYPTO. */
enum kl_code kl_stream_seal(const struct kl_core *core, const struct kl_keys *keys, int in_fd,
                            int out_fd, const struct kl_stream_options *options,
                            uint64_t *ret_bytes, struct kl_err *err) KL_MUST_USE;

/** Decrypt in_fd, whose offset is at the stream's first byte, to out_fd; -1 only verifies. Besides
 * the codes of sealing: KL_WRAP_PAYLOAD, KL_WRAP_TRUNCATED (tink.h). With several faults the one
 * that stands first in the stream is told. */
enum kl_code kl_stream_open(const struct kl_core *core, const struct kl_keys *keys, int in_fd,
                            int out_fd, const struct kl_stream_options *options,
                            uint64_t *ret_bytes, struct kl_err *err) KL_MUST_USE;

/** Random access: n plaintext bytes from `offset` on of the stream that begins at byte `at` of the
 * regular file fd and reaches to its end. Reads the last segment (which proves the length) and
 * those that hold the range, no others. *ret_len < n: the end. */
enum kl_code kl_stream_read_at(const struct kl_core *core, const struct kl_keys *keys, int fd,
                               uint64_t at, uint64_t offset, void *bytes, size_t n, size_t *ret_len,
                               struct kl_err *err) KL_MUST_USE;

/** Plaintext length that a stream of so many bytes has if it is whole; UINT64_MAX when no stream is
 * that long. */
uint64_t kl_stream_plain_bytes(const struct kl_core *core, uint64_t stream_bytes);

#endif
