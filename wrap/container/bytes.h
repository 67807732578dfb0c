/* Big-endian integers at fixed offsets of the container (FORMAT.md section 1). Header only, pure
 * functions. */
#ifndef KL_WRAP_CONTAINER_BYTES_H
#define KL_WRAP_CONTAINER_BYTES_H

#include <stddef.h>
#include <stdint.h>

/** Write the low n bytes of value, most significant first. */
static inline void kl_be_put(uint8_t *out, uint64_t value, size_t n)
{
    for (size_t i = n; i > 0; i--, value >>= 8)
        out[i - 1] = (uint8_t)value;
}

/** Read n bytes (at most 8), most significant first. */
static inline uint64_t kl_be_get(const uint8_t *in, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++)
        value = value << 8 | in[i];
    return value;
}

/** Index of the first byte of [from, to) that is not zero, or `to`. */
static inline size_t kl_first_nonzero(const uint8_t *bytes, size_t from, size_t to)
{
    while (from < to && bytes[from] == 0)
        from++;
    return from;
}

#endif
