#include "keyvault/model/cursor.h"

#include <string.h>

const uint8_t *kl_cursor_get(struct kl_cursor *c, size_t n)
{
    if (c->bad || (size_t)(c->end - c->at) < n) {
        c->bad = true;
        return NULL;
    }
    const uint8_t *bytes = c->at;
    c->at += n;
    return bytes;
}

uint64_t kl_cursor_int(struct kl_cursor *c, size_t bytes)
{
    const uint8_t *p = kl_cursor_get(c, bytes);
    uint64_t value = 0;
    for (size_t i = 0; p != NULL && i < bytes; i++)
        value = value << 8 | p[i];
    return value;
}

struct kl_store_bytes kl_cursor_bytes(struct kl_cursor *c)
{
    size_t n = (size_t)kl_cursor_int(c, 4);
    const uint8_t *p = kl_cursor_get(c, n);
    return (struct kl_store_bytes){p, p != NULL ? n : 0};
}

const char *kl_cursor_text(struct kl_cursor *c)
{
    struct kl_store_bytes b = kl_cursor_bytes(c);
    const char *text = b.len > 0 ? b.bytes : NULL;
    if (text != NULL && memchr(text, '\0', b.len) != text + b.len - 1)
        c->bad = true;
    return c->bad ? NULL : text;
}

void kl_cursor_label(struct kl_cursor *c, char *to, size_t room)
{
    const char *text = kl_cursor_text(c);
    size_t n = text != NULL ? strlen(text) : 0;
    if (n == 0 || n >= room)
        c->bad = true;
    else
        memcpy(to, text, n + 1);
}
