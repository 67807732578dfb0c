/* Growing byte buffer with a ceiling and a sticky failure, for bytes that are not secret (JSON
 * answers, audit lines, frames). Append as often as you like and look at kl_buf_failed once. Not
 * thread safe. */
#ifndef KL_BASE_BUF_H
#define KL_BASE_BUF_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kl_buf {
    char *bytes; /* len bytes, then one NUL; NULL while empty */
    size_t len, room, ceiling;
    bool failed;
};

/** An empty buffer that never grows beyond `ceiling` bytes. Storage is the caller's; end it with
 * kl_buf_done. */
#define KL_BUF_INIT(ceiling_bytes)                                                                 \
    (struct kl_buf)                                                                                \
    {                                                                                              \
        .ceiling = (ceiling_bytes)                                                                 \
    }

/** Free the bytes; the buffer is empty and usable again. */
void kl_buf_done(struct kl_buf *b);
/** Wipe, then kl_buf_done: for a buffer that has held a secret after all. */
void kl_buf_wipe(struct kl_buf *b);
/** Forget the content, keep the memory. Clears the failure. */
void kl_buf_clear(struct kl_buf *b);

/** Room for n more bytes at once, so that what follows is not moved: for answers that hold a secret
 * and end in kl_buf_wipe. */
void kl_buf_reserve(struct kl_buf *b, size_t n);
void kl_buf_put(struct kl_buf *b, const void *bytes, size_t n);
void kl_buf_puts(struct kl_buf *b, const char *text);
void kl_buf_putc(struct kl_buf *b, char c);
void kl_buf_printf(struct kl_buf *b, const char *fmt, ...) KL_PRINTF(2, 3);
/** Append text as a quoted JSON string (RFC 8259 section 7); bytes that are not UTF-8 become
 * U+FFFD, so that hostile names stay one line. n bytes, not NUL-terminated. */
void kl_buf_put_json(struct kl_buf *b, const char *text, size_t n);

/** KL_NO_MEMORY or KL_TOO_BIG was met at some append. */
static inline bool kl_buf_failed(const struct kl_buf *b)
{
    return b->failed;
}

/** The content as a C string ("" while empty); borrowed. */
static inline const char *kl_buf_text(const struct kl_buf *b)
{
    return b->bytes != NULL ? b->bytes : "";
}

/** Hand the content over as a malloc'd C string (never NULL unless failed); the buffer is empty
 * afterwards. */
char *kl_buf_take(struct kl_buf *b);

#endif
