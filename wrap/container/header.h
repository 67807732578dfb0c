/* Core header of a container: the 4096 bytes that are written once and never changed (FORMAT.md
 * section 2).
 *
 * One canonical form: fixed offsets, zero padding, so equal content means equal bytes. Its hash H
 * enters every key of the container. Pure functions, thread safe. Not here: keys and the
 * commitment's check (keys.h), slots (slot.h).
 */
#ifndef KL_WRAP_CONTAINER_HEADER_H
#define KL_WRAP_CONTAINER_HEADER_H

#include "base/err.h"

#include <stdint.h>

#define KL_CORE_BYTES      4096
#define KL_HASH_BYTES      32
#define KL_CONTAINER_MAGIC "KLUISRC1"

/** Who holds the key that wraps the DEK. */
enum kl_core_mode { KL_MODE_PLATFORM = 1, KL_MODE_CUSTOMER = 2, KL_MODE_PASSPHRASE = 3 };

struct kl_core {
    uint8_t segment_log2; /* 16, 20 or 22: segments of 64 KiB, 1 MiB, 4 MiB */
    uint8_t mode;         /* enum kl_core_mode */
    uint8_t point_id[16], dek_id[16], vault_id[16], item_id[16]; /* UUIDs; all zero = none */
    uint32_t stream_no;    /* streams of one recovery point share a DEK */
    uint32_t content_type; /* 0 = plain bytes */
    int64_t created_ms;    /* since 1970 UTC */
    uint8_t commit_salt[KL_HASH_BYTES];
    uint8_t hash[KL_HASH_BYTES];       /* H: SHA-256 of all bytes in front of it */
    uint8_t commitment[KL_HASH_BYTES]; /* proves DEK and header to each other (keys.h) */
};

/** Segment size in bytes. */
static inline uint32_t kl_core_segment_bytes(const struct kl_core *core)
{
    return (uint32_t)1 << core->segment_log2;
}

/** 16, 20 and 22 only. */
int kl_core_segment_valid(unsigned segment_log2);

/** Write the canonical form; computes and stores core->hash. The commitment is written as it stands
 * in core. KL_CRYPTO. */
enum kl_code kl_header_format(struct kl_core *core, uint8_t ret[static KL_CORE_BYTES],
                              struct kl_err *err) KL_MUST_USE;

/** Read it back. KL_WRAP_FORMAT: no container, or of a format, suite or segment size that we do not
 * know. KL_WRAP_HEADER: the hash does not fit (damage), or a reserved or padding byte is not zero.
 * Says nothing about authenticity. */
enum kl_code kl_header_parse(const uint8_t bytes[static KL_CORE_BYTES], struct kl_core *ret,
                             struct kl_err *err) KL_MUST_USE;

#endif
