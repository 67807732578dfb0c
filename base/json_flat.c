#include "base/json_flat.h"

#include <string.h>

struct reader {
    const char *at, *end;
};

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

/* The character, with blanks around it. */
static bool take(struct reader *r, char c)
{
    skip_blanks(r);
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    skip_blanks(r);
    return true;
}

/* One pass over the bytes before the closing quote, without a branch for each. */
static bool is_plain(const char *text, size_t n)
{
    unsigned odd = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        odd |= (unsigned)(c < 0x20) | (unsigned)(c > 0x7e) | (unsigned)(c == '\\');
    }
    return odd == 0;
}

static bool take_string(struct reader *r, struct kl_span *ret)
{
    if (r->at == r->end || *r->at != '"')
        return false;
    const char *start = r->at + 1;
    const char *quote = memchr(start, '"', (size_t)(r->end - start));
    if (quote == NULL || !is_plain(start, (size_t)(quote - start)))
        return false;
    *ret = (struct kl_span){start, (size_t)(quote - start)};
    r->at = quote + 1;
    return true;
}

static bool same(struct kl_span a, const char *name, size_t n)
{
    return a.n == n && memcmp(a.text, name, n) == 0;
}

static bool take_member(struct reader *r, struct kl_flat *flat)
{
    struct kl_span name, value;
    if (flat->count == KL_FLAT_MEMBERS || !take_string(r, &name) || !take(r, ':') ||
        !take_string(r, &value))
        return false;
    for (size_t i = 0; i < flat->count; i++)
        if (same(flat->members[i].name, name.text, name.n))
            return false;
    flat->members[flat->count].name = name;
    flat->members[flat->count++].value = value;
    return true;
}

bool kl_json_flat(const char *text, size_t n, struct kl_flat *ret)
{
    struct reader r = {text, text + n};
    struct kl_flat flat = {.count = 0};
    if (!take(&r, '{') || !take_member(&r, &flat))
        return false;
    while (take(&r, ','))
        if (!take_member(&r, &flat))
            return false;
    if (!take(&r, '}') || r.at != r.end)
        return false;
    *ret = flat;
    return true;
}

struct kl_span kl_flat_get(const struct kl_flat *flat, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < flat->count; i++)
        if (same(flat->members[i].name, name, n))
            return flat->members[i].value;
    return (struct kl_span){NULL, 0};
}
