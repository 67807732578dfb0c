/* The line and head formats of a chain log, shared by chain_log.c (writer), chain_open.c (recovery)
 * and chain_verify.c. */
#ifndef KL_BASE_CHAIN_PARTS_H
#define KL_BASE_CHAIN_PARTS_H

#include "base/chain_log.h"

#include <stddef.h>

#define KL_CHAIN_BYTES     32
#define KL_CHAIN_HEX       (2 * KL_CHAIN_BYTES)
#define KL_CHAIN_LOOK_BACK 65536         /* lines; a checkpoint speaks of a line less far back */
#define KL_CHAIN_MAX_LINE  (1024 * 1024) /* longer records are refused */

/** A place between two lines. */
struct kl_chain_point {
    uint64_t seq;  /* of the line before it, 0 = the beginning */
    uint64_t size; /* bytes of the log up to here */
    uint8_t chain[KL_CHAIN_BYTES];
};

/** Hashing state that is reused from line to line; NULL without memory. Free with EVP_MD_CTX_free.
 */
EVP_MD_CTX *kl_chain_hasher(void);

/** Append the line behind *at with these members, and move *at behind it. A failure shows in out.
 */
void kl_chain_put_line(EVP_MD_CTX *hasher, struct kl_chain_point *at, const char *members, size_t n,
                       struct kl_buf *out);

/** Check one line of n bytes (without its line feed) that should follow *at, and move *at behind
 * it. NULL when it does, else a static sentence. */
const char *kl_chain_check_line(EVP_MD_CTX *hasher, struct kl_chain_point *at, const char *line,
                                size_t n);
/** Does the line begin as a checkpoint does? */
bool kl_chain_is_checkpoint(const char *line, size_t n);

/** Append the bytes that a checkpoint's signature covers. */
void kl_chain_put_signed(const struct kl_chain_point *at, struct kl_buf *out);

/** Write the head file in place: always the same number of bytes. */
enum kl_code kl_chain_write_head(int fd, const struct kl_chain_point *at, struct kl_err *err);
enum kl_code kl_chain_parse_head(const char *text, size_t n, struct kl_chain_point *ret,
                                 struct kl_err *err);
/** KL_NOT_FOUND when the file is missing or empty, KL_CORRUPT when it is no head. */
enum kl_code kl_chain_read_head(const char *path, struct kl_chain_point *ret, struct kl_err *err);

/** pwrite until all n bytes are out. */
enum kl_code kl_chain_write_at(int fd, const void *bytes, size_t n, uint64_t offset,
                               struct kl_err *err);

/** The descriptors of an open log, and where it goes on. */
struct kl_chain_files {
    int log_fd, head_fd;
    struct kl_chain_point at;
    bool covered; /* the last line is a checkpoint, or there is none */
    bool lost;    /* the tail was cut, and that was accepted */
    struct kl_chain_point lost_head;
};

/** Open, lock and repair. `accept_loss`: a tail cut off is no error. */
enum kl_code kl_chain_open_files(const char *path, const char *head_path, bool accept_loss,
                                 struct kl_chain_files *ret, struct kl_err *err);
void kl_chain_close_files(struct kl_chain_files *f);

#endif
