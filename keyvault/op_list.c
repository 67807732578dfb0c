#include "keyvault/auth/origin.h"
#include "keyvault/ops.h"
#include "keyvault/wire.h"

#include <string.h>

/* What a listing asks for, and how its next page is named. */
struct listing {
    const char *kind; /* binds a page token to its listing */
    char after[KL_NAME_MAX + KL_VERSION_LEN + 8];
    char max_text[16]; /* maxresults as sent, "" when not */
    size_t limit;
};

static enum kl_code read_listing(struct kl_op *op, const char *kind, struct listing *ret)
{
    char token[1024];
    *ret = (struct listing){.kind = kind, .limit = KL_PAGE_MAX};
    enum kl_code code =
        kl_op_query(op, "maxresults", ret->max_text, sizeof ret->max_text, &op->err);
    if (code == KL_OK)
        code = kl_op_query(op, "$skiptoken", token, sizeof token, &op->err);
    if (code == KL_OK && token[0] != 0)
        code = kl_wire_parse_skiptoken(token, kind, ret->after, sizeof ret->after, &op->err);
    if (code != KL_OK || ret->max_text[0] == 0)
        return code;
    char *end;
    unsigned long n = strtoul(ret->max_text, &end, 10);
    if (ret->max_text[0] < '0' || ret->max_text[0] > '9' || *end != 0 || n < 1 || n > KL_PAGE_MAX)
        return kl_fail(&op->err, KL_BAD_INPUT, "maxresults", "maxresults must be between 1 and %d",
                       KL_PAGE_MAX);
    ret->limit = n;
    return KL_OK;
}

/* Clients follow nextLink as it is: absolute, with api-version, and maxresults only if they sent
 * it. */
static void put_next_link(struct kl_buf *out, const struct kl_op *op, const struct listing *l,
                          const char *path, const char *next)
{
    kl_buf_puts(out, "],\"nextLink\":");
    if (next[0] == 0) {
        kl_buf_puts(out, "null}");
        return;
    }
    kl_buf_putc(out, '"');
    kl_origin_put(out, &op->origin);
    kl_buf_puts(out, path);
    kl_buf_puts(out, "?api-version=");
    kl_buf_puts(out, op->api_version);
    kl_buf_puts(out, "&$skiptoken=");
    kl_wire_put_skiptoken(out, l->kind, next);
    if (l->max_text[0] != 0)
        kl_buf_printf(out, "&maxresults=%zu", l->limit);
    kl_buf_puts(out, "\"}");
}

static void reply_page(struct kl_op *op, const struct listing *l, const char *path,
                       struct kl_key_page *page, bool versioned, bool deleted)
{
    struct kl_buf json = KL_BUF_INIT(KL_ANSWER_CEILING);
    kl_buf_puts(&json, "{\"value\":[");
    for (size_t i = 0; i < page->count; i++) {
        if (i > 0)
            kl_buf_putc(&json, ',');
        if (deleted)
            kl_wire_put_deleted_item(&json, &op->origin, op->vault, page, i);
        else
            kl_wire_put_item(&json, &op->origin, op->vault, page->items[i], versioned);
    }
    put_next_link(&json, op, l, path, page->next);
    kl_key_page_done(page);
    kl_op_reply_buf(op, 200, &json);
}

static void list_keys(struct kl_op *op, const char *kind, const char *path,
                      enum kl_object_state state)
{
    struct listing l;
    struct kl_key_page page;
    enum kl_code code = read_listing(op, kind, &l);
    if (code == KL_OK)
        code = kl_key_list(op->service->model, op->vault, state, l.after, l.limit, &page, &op->err);
    if (kl_op_ok(op, code))
        reply_page(op, &l, path, &page, false, state == KL_STATE_DELETED);
}

void kl_op_key_list(struct kl_op *op)
{
    list_keys(op, "keys", "/keys", KL_STATE_ACTIVE);
}

void kl_op_deleted_list(struct kl_op *op)
{
    list_keys(op, "deletedkeys", "/deletedkeys", KL_STATE_DELETED);
}

void kl_op_key_versions(struct kl_op *op)
{
    struct listing l;
    struct kl_key_page page;
    char kind[KL_OP_SEGMENT_MAX + 16], path[KL_OP_SEGMENT_MAX + 32];
    (void)snprintf(kind, sizeof kind, "versions/%s", op->name);
    (void)snprintf(path, sizeof path, "/keys/%s/versions", op->name);
    enum kl_code code = read_listing(op, kind, &l);
    if (code == KL_OK)
        code = kl_key_versions(op->service->model, op->vault, op->name, l.after, l.limit, &page,
                               &op->err);
    if (kl_op_ok(op, code))
        reply_page(op, &l, path, &page, true, false);
}
