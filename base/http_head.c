/* A look at each request before evhttp takes it apart: who asks decides how large its body may be,
 * and the framing of chunks is held to the letter, which evhttp does not. */
#include "base/http_parts.h"

#include "base/secret.h"

#include <ctype.h>
#include <event2/buffer.h>
#include <string.h>
#include <strings.h>

#define END        "\r\n\r\n"
#define SIZE_MAX_X 8 /* hex digits of a chunk's size */

/* --- chunks (RFC 9112 section 7.1), without extensions and trailers --- */

/* One byte of a line; data is skipped by the caller. */
static enum kl_http_chunks step(struct kl_http_head *h, char c)
{
    switch (h->chunks) {
    case KL_HTTP_CHUNK_SIZE:
        if (c == '\r' && h->digits > 0)
            return KL_HTTP_CHUNK_SIZE_LF;
        if (!isxdigit((unsigned char)c) || h->digits++ == SIZE_MAX_X)
            return KL_HTTP_CHUNK_BAD;
        h->left =
            h->left * 16 + (uint64_t)(isdigit((unsigned char)c) ? c - '0' : (c | 0x20) - 'a' + 10);
        return KL_HTTP_CHUNK_SIZE;
    case KL_HTTP_CHUNK_SIZE_LF:
        if (c != '\n')
            return KL_HTTP_CHUNK_BAD;
        return h->left > 0 ? KL_HTTP_CHUNK_DATA : KL_HTTP_CHUNK_LAST_CR;
    case KL_HTTP_CHUNK_DATA: /* all of it went by */
        return c == '\r' ? KL_HTTP_CHUNK_DATA_LF : KL_HTTP_CHUNK_BAD;
    case KL_HTTP_CHUNK_DATA_LF:
        h->digits = 0;
        return c == '\n' ? KL_HTTP_CHUNK_SIZE : KL_HTTP_CHUNK_BAD;
    case KL_HTTP_CHUNK_LAST_CR:
        return c == '\r' ? KL_HTTP_CHUNK_LAST_LF : KL_HTTP_CHUNK_BAD;
    case KL_HTTP_CHUNK_LAST_LF:
        return c == '\n' ? KL_HTTP_CHUNK_END : KL_HTTP_CHUNK_BAD;
    case KL_HTTP_CHUNK_NONE:
    case KL_HTTP_CHUNK_END:
    case KL_HTTP_CHUNK_BAD:
        break;
    }
    return h->chunks;
}

static void follow_bytes(struct kl_http_head *h, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (h->chunks == KL_HTTP_CHUNK_DATA && h->left > 0) {
            size_t skip = h->left < n - i ? (size_t)h->left : n - i;
            h->left -= skip;
            i += skip - 1;
        } else {
            h->chunks = step(h, bytes[i]);
        }
    }
}

static void follow_chunks(struct kl_http_head *h, struct evbuffer *in, size_t from)
{
    char bytes[4096];
    struct evbuffer_ptr at;
    ev_ssize_t n = 0;
    size_t end = evbuffer_get_length(in);
    for (; from < end; from += (size_t)n) {
        if (evbuffer_ptr_set(in, &at, from, EVBUFFER_PTR_SET) != 0)
            return;
        n = evbuffer_copyout_from(in, &at, bytes, sizeof bytes);
        if (n <= 0)
            return;
        follow_bytes(h, bytes, (size_t)n);
    }
    kl_wipe(bytes, sizeof bytes);
}

/* --- the head --- */

/* The value when the line has this name ("name:", lower case); blanks before it skipped. */
static const char *value_of(const char *line, size_t n, const char *name, size_t *ret_len)
{
    size_t length = strlen(name);
    if (n < length || strncasecmp(line, name, length) != 0)
        return NULL;
    while (length < n && (line[length] == ' ' || line[length] == '\t'))
        length++;
    *ret_len = n - length;
    return line + length;
}

struct found {
    const char *authorization;
    size_t authorization_len;
    bool large, chunked;
};

static void read_line(const char *line, size_t n, size_t small, struct found *f)
{
    size_t len;
    const char *value;
    if ((value = value_of(line, n, "content-length:", &len)) != NULL)
        f->large = f->large || len > 15 || strtoull(value, NULL, 10) > small;
    else if (value_of(line, n, "transfer-encoding:", &len) != NULL)
        f->chunked = true;
    else if ((value = value_of(line, n, "authorization:", &len)) != NULL) {
        f->authorization = value;
        f->authorization_len = len;
    }
}

static bool is_vouched_for(const struct kl_http_server_config *config, const struct found *f)
{
    char *copy = f->authorization != NULL ? kl_wiping_malloc(f->authorization_len + 1) : NULL;
    if (copy == NULL)
        return false;
    memcpy(copy, f->authorization, f->authorization_len);
    copy[f->authorization_len] = 0;
    bool yes = config->vouch(copy, config->arg);
    kl_wiping_free(copy);
    return yes;
}

/* `bytes` end with a line feed. */
static void read_head(struct kl_http_conn *c, const char *bytes, size_t n)
{
    const struct kl_http_server_config *config = &c->thread->server->config;
    struct found f = {0};
    c->head.seen = true;
    c->head.bad = memchr(bytes, 0, n) != NULL;
    for (const char *line = bytes, *end = bytes + n; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t length = (size_t)(stop - line);
        read_line(line, length > 0 && stop[-1] == '\r' ? length - 1 : length,
                  config->max_unvouched_bytes, &f);
        line = stop + 1;
    }
    c->head.chunks = f.chunked ? KL_HTTP_CHUNK_SIZE : KL_HTTP_CHUNK_NONE;
    if (config->vouch != NULL && (f.large || f.chunked) && is_vouched_for(config, &f))
        evhttp_connection_set_max_body_size(c->evcon, (ev_ssize_t)config->max_body_bytes);
}

void kl_http_head_begin(struct kl_http_conn *c)
{
    const struct kl_http_server_config *config = &c->thread->server->config;
    c->head = (struct kl_http_head){.chunks = KL_HTTP_CHUNK_NONE};
    if (config->vouch != NULL && c->evcon != NULL)
        evhttp_connection_set_max_body_size(c->evcon, (ev_ssize_t)config->max_unvouched_bytes);
}

void kl_http_head_input(struct kl_http_conn *c, struct evbuffer *in, size_t added)
{
    size_t from = evbuffer_get_length(in) - added;
    if (!c->head.seen && c->evcon != NULL) {
        struct evbuffer_ptr end = evbuffer_search(in, END, sizeof END - 1, NULL);
        const char *bytes =
            end.pos >= 0 ? (const char *)evbuffer_pullup(in, (ev_ssize_t)(end.pos + 2)) : NULL;
        if (bytes == NULL)
            return;
        read_head(c, bytes, (size_t)end.pos + 2);
        from = (size_t)end.pos + sizeof END - 1;
    }
    if (c->head.chunks != KL_HTTP_CHUNK_NONE)
        follow_chunks(&c->head, in, from);
}
