#include "base/encoding.h"

#include "base/secret.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

void kl_b64url_put(struct kl_buf *b, const void *bytes, size_t n)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *p = bytes;
    char out[256];
    size_t len = 0;
    for (; n >= 3; p += 3, n -= 3) {
        out[len++] = alphabet[p[0] >> 2];
        out[len++] = alphabet[(p[0] & 3) << 4 | p[1] >> 4];
        out[len++] = alphabet[(p[1] & 15) << 2 | p[2] >> 6];
        out[len++] = alphabet[p[2] & 63];
        if (len == sizeof out) {
            kl_buf_put(b, out, len);
            len = 0;
        }
    }
    if (n > 0) {
        uint8_t second = n == 2 ? p[1] : 0;
        out[len++] = alphabet[p[0] >> 2];
        out[len++] = alphabet[(p[0] & 3) << 4 | second >> 4];
        if (n == 2)
            out[len++] = alphabet[(second & 15) << 2];
    }
    kl_buf_put(b, out, len);
    kl_wipe(out, sizeof out);
}

#define STRIDE 16 /* characters decoded side by side, so that the compiler can use vectors */

/* 0xff when c is one of the n characters from `first` on, else 0; without a branch. */
static uint8_t within(uint8_t c, uint8_t first, uint8_t n)
{
    return (uint8_t) - (uint8_t)((uint8_t)(c - first) < n);
}

/* 1 + the value of each character, or 0. Without a table look-up: the bytes may be secret. */
static void values_of(const uint8_t text[static STRIDE], uint8_t c62, uint8_t c63,
                      uint8_t out[static STRIDE])
{
    for (int i = 0; i < STRIDE; i++) {
        uint8_t c = text[i];
        out[i] = (uint8_t)((within(c, 'A', 26) & (uint8_t)(c - 'A' + 1)) |
                           (within(c, 'a', 26) & (uint8_t)(c - 'a' + 27)) |
                           (within(c, '0', 10) & (uint8_t)(c - '0' + 53)) |
                           (within(c, c62, 1) & 63) | (within(c, c63, 1) & 64));
    }
}

/* n characters, at most STRIDE, into n * 6 / 8 bytes; the bits left over must be zero. */
static bool decode_stride(const char *text, size_t n, uint8_t c62, uint8_t c63, uint8_t *out)
{
    uint8_t in[STRIDE], v[STRIDE], packed[STRIDE / 4 * 3];
    unsigned bad = 0;
    memset(in, 'A', sizeof in);
    memcpy(in, text, n);
    values_of(in, c62, c63, v);
    for (size_t i = 0; i < STRIDE; i++)
        bad |= v[i] == 0;
    for (size_t i = 0; i < STRIDE / 4; i++) {
        uint32_t bits = (uint32_t)(v[4 * i] - 1) << 18 | (uint32_t)(v[4 * i + 1] - 1) << 12 |
                        (uint32_t)(v[4 * i + 2] - 1) << 6 | (uint32_t)(v[4 * i + 3] - 1);
        packed[3 * i] = (uint8_t)(bits >> 16);
        packed[3 * i + 1] = (uint8_t)(bits >> 8);
        packed[3 * i + 2] = (uint8_t)bits;
    }
    size_t full = n * 6 / 8;
    bad |= n * 6 % 8 != 0 && packed[full] != 0; /* 'A' behind the end adds no bits */
    memcpy(out, packed, full);
    kl_wipe(packed, sizeof packed);
    kl_wipe(v, sizeof v);
    return bad == 0;
}

/* The alphabets differ in their last two characters. */
static enum kl_code get_base64(char c62, char c63, const char *text, size_t n, uint8_t *out,
                               size_t room, size_t *ret_len)
{
    size_t full = n / 4 * 3 + (n % 4 != 0 ? n % 4 - 1 : 0);
    if (n % 4 == 1)
        return KL_BAD_INPUT;
    if (full > room)
        return KL_TOO_BIG;
    for (size_t i = 0; i < n; i += STRIDE)
        if (!decode_stride(text + i, n - i < STRIDE ? n - i : STRIDE, (uint8_t)c62, (uint8_t)c63,
                           out + i / 4 * 3))
            return KL_BAD_INPUT;
    *ret_len = full;
    return KL_OK;
}

/* Characters before correct padding, or n + 1 when the padding is wrong. */
static size_t without_padding(const char *text, size_t n)
{
    size_t end = n;
    while (end > 0 && n - end < 2 && text[end - 1] == '=')
        end--;
    return end == n || n % 4 == 0 ? end : n + 1;
}

enum kl_code kl_b64url_decode(const char *text, size_t n, void *out, size_t room, size_t *ret_len)
{
    size_t end = without_padding(text, n);
    if (end > n)
        return KL_BAD_INPUT;
    return get_base64('-', '_', text, end, out, room, ret_len);
}

enum kl_code kl_b64_decode(const char *text, size_t n, void *out, size_t room, size_t *ret_len)
{
    if (n % 4 != 0)
        return KL_BAD_INPUT;
    return get_base64('+', '/', text, without_padding(text, n), out, room, ret_len);
}

void kl_hex(const void *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = bytes;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum kl_code kl_unhex(const char *text, void *out, size_t n)
{
    uint8_t *p = out;
    if (strnlen(text, 2 * n + 1) != 2 * n)
        return KL_BAD_INPUT;
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return KL_BAD_INPUT;
        p[i] = (uint8_t)(high << 4 | low);
    }
    return KL_OK;
}

enum kl_code kl_percent_decode(const char *text, size_t n, bool form, char *out)
{
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c == '%') {
            if (n - i < 3 || hex_digit(text[i + 1]) < 0 || hex_digit(text[i + 2]) < 0)
                return KL_BAD_INPUT;
            c = (char)(hex_digit(text[i + 1]) << 4 | hex_digit(text[i + 2]));
            i += 2;
        } else if (c == '+' && form) {
            c = ' ';
        }
        if (c == 0)
            return KL_BAD_INPUT;
        *out++ = c;
    }
    *out = 0;
    return KL_OK;
}

/* One system call for several: identifiers only have to be unique, so they may lie in memory before
 * their use. A fork would give them twice; the program execs, and never forks on. */
static void take_random(uint8_t out[static 16])
{
    static _Thread_local uint8_t pool[256];
    static _Thread_local size_t left;
    if (left == 0) {
        kl_random(pool, sizeof pool);
        left = sizeof pool;
    }
    left -= 16;
    memcpy(out, pool + left, 16);
}

void kl_uuid_new(char out[static KL_UUID_LEN + 1])
{
    static const uint8_t groups[] = {4, 2, 2, 2, 6}; /* bytes between the dashes */
    uint8_t r[16];
    take_random(r);
    r[6] = (uint8_t)((r[6] & 0x0f) | 0x40);
    r[8] = (uint8_t)((r[8] & 0x3f) | 0x80);
    const uint8_t *from = r;
    for (size_t i = 0; i < KL_COUNT(groups); i++) {
        kl_hex(from, groups[i], out);
        from += groups[i];
        out += 2 * groups[i];
        *out++ = '-';
    }
    out[-1] = 0;
}

bool kl_uuid_valid(const char *text)
{
    if (strnlen(text, KL_UUID_LEN + 1) != KL_UUID_LEN)
        return false;
    for (int i = 0; i < KL_UUID_LEN; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : hex_digit(text[i]) < 0)
            return false;
    }
    return true;
}

void kl_random(void *bytes, size_t n)
{
    uint8_t *p = bytes;
    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR) /* only reads above 256 bytes can be interrupted */
            continue;
        if (got <= 0)
            abort();
        p += got;
        n -= (size_t)got;
    }
}
