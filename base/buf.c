#include "base/buf.h"

#include "base/secret.h"

#include <string.h>

void kl_buf_done(struct kl_buf *b)
{
    free(b->bytes);
    *b = KL_BUF_INIT(b->ceiling);
}

void kl_buf_wipe(struct kl_buf *b)
{
    if (b->bytes != NULL)
        kl_wipe(b->bytes, b->room);
    kl_buf_done(b);
}

void kl_buf_clear(struct kl_buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->bytes != NULL)
        b->bytes[0] = 0;
}

/* Room for n more bytes and the NUL. */
static bool reserve(struct kl_buf *b, size_t n)
{
    if (b->failed || n > b->ceiling - b->len) {
        b->failed = true;
        return false;
    }
    size_t wanted = b->len + n + 1;
    if (wanted <= b->room)
        return true;
    size_t room = b->room != 0 ? b->room * 2 : 256;
    if (room < wanted)
        room = wanted;
    char *bigger =
        kl_wiping_realloc(b->bytes, room); /* kl_buf_wipe must not miss an outgrown copy */
    if (bigger == NULL) {
        b->failed = true;
        return false;
    }
    b->bytes = bigger;
    b->room = room;
    return true;
}

void kl_buf_reserve(struct kl_buf *b, size_t n)
{
    (void)reserve(b, n);
}

void kl_buf_put(struct kl_buf *b, const void *bytes, size_t n)
{
    if (!reserve(b, n))
        return;
    if (n > 0)
        memcpy(b->bytes + b->len, bytes, n);
    b->len += n;
    b->bytes[b->len] = 0;
}

void kl_buf_puts(struct kl_buf *b, const char *text)
{
    kl_buf_put(b, text, strlen(text));
}

void kl_buf_putc(struct kl_buf *b, char c)
{
    kl_buf_put(b, &c, 1);
}

void kl_buf_printf(struct kl_buf *b, const char *fmt, ...)
{
    va_list ap;
    if (!reserve(b, 0))
        return;
    size_t left = b->room - b->len; /* mostly enough, so that one pass does */
    va_start(ap, fmt);
    int n = vsnprintf(b->bytes + b->len, left, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < left && (size_t)n <= b->ceiling - b->len) {
        b->len += (size_t)n;
        return;
    }
    b->bytes[b->len] = 0;
    if (n < 0 || !reserve(b, (size_t)n))
        return;
    va_start(ap, fmt);
    (void)vsnprintf(b->bytes + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
}

/* Length of the well-formed UTF-8 sequence at p (Unicode 15 table 3-7), or 0. */
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
    static const struct {
        unsigned char first, last, second_min, second_max, length;
    } rows[] = {
        {0x20, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        if (p[0] < rows[i].first || p[0] > rows[i].last)
            continue;
        if (rows[i].length > n)
            return 0;
        if (rows[i].length > 1 && (p[1] < rows[i].second_min || p[1] > rows[i].second_max))
            return 0;
        for (size_t k = 2; k < rows[i].length; k++)
            if ((p[k] & 0xc0) != 0x80)
                return 0;
        return rows[i].length;
    }
    return 0;
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Eight bytes at once: false where one of them may need a second look. */
static bool are_plain(const unsigned char *p)
{
    const uint64_t ones = 0x0101010101010101U, tops = ones << 7;
    uint64_t v;
    memcpy(&v, p, sizeof v);
    uint64_t quote = v ^ (ones * '"'), slash = v ^ (ones * '\\');
    /* the top bit of a byte: below 0x20, zero after the xor, or from 0x7f on */
    return (((v - ones * 0x20) | (quote - ones) | (slash - ones) | (v + ones) | v) & tops) == 0;
}

/* The longest stretch that needs no escape. */
static size_t plain_run(const unsigned char *p, size_t n)
{
    size_t run = 0;
    while (n - run >= 8 && are_plain(p + run))
        run += 8;
    while (run < n && is_plain(p[run]))
        run++;
    return run;
}

void kl_buf_put_json(struct kl_buf *b, const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text;
    kl_buf_putc(b, '"');
    for (size_t i = 0; i < n;) {
        size_t run = plain_run(p + i, n - i);
        kl_buf_put(b, p + i, run);
        i += run;
        if (i >= n)
            break;
        size_t length = utf8_sequence(p + i, n - i);
        if (p[i] == '"' || p[i] == '\\') {
            kl_buf_putc(b, '\\');
            kl_buf_putc(b, (char)p[i++]);
        } else if (p[i] < 0x20 || p[i] == 0x7f) {
            kl_buf_printf(b, "\\u%04x", p[i++]);
        } else if (length == 0) {
            kl_buf_puts(b, "\xef\xbf\xbd");
            i++;
        } else {
            kl_buf_put(b, p + i, length);
            i += length;
        }
    }
    kl_buf_putc(b, '"');
}

char *kl_buf_take(struct kl_buf *b)
{
    if (!reserve(b, 0))
        return NULL;
    b->bytes[b->len] = 0;
    char *taken = kl_take(b->bytes);
    kl_buf_done(b);
    return taken;
}
