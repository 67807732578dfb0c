#include "keyvault/page.h"
#include "keyvault/wire.h"

#include <string.h>

static void reply_page(struct kl_op *op, const struct kl_listing *l, struct kl_key_page *page,
                       bool versioned, bool deleted)
{
    struct kl_buf json = KL_BUF_INIT(KL_ANSWER_CEILING);
    kl_page_begin(&json);
    for (size_t i = 0; i < page->count; i++) {
        if (i > 0)
            kl_buf_putc(&json, ',');
        if (deleted)
            kl_wire_put_deleted_item(&json, &op->origin, op->vault, page, i);
        else
            kl_wire_put_item(&json, &op->origin, op->vault, page->items[i], versioned);
    }
    kl_page_end(&json, op, l, page->next);
    kl_key_page_done(page);
    kl_op_reply_buf(op, 200, &json);
}

static void list_keys(struct kl_op *op, struct kl_listing *l, enum kl_object_state state)
{
    struct kl_key_page page;
    enum kl_code code = kl_page_read(op, l);
    if (code == KL_OK)
        code =
            kl_key_list(op->service->model, op->vault, state, l->after, l->limit, &page, &op->err);
    if (kl_op_ok(op, code))
        reply_page(op, l, &page, false, state == KL_STATE_DELETED);
}

void kl_op_key_list(struct kl_op *op)
{
    struct kl_listing l = {.kind = "keys", .path = "/keys"};
    list_keys(op, &l, KL_STATE_ACTIVE);
}

void kl_op_deleted_list(struct kl_op *op)
{
    struct kl_listing l = {.kind = "deletedkeys", .path = "/deletedkeys"};
    list_keys(op, &l, KL_STATE_DELETED);
}

void kl_op_key_versions(struct kl_op *op)
{
    struct kl_listing l = {.with = NULL};
    struct kl_key_page page;
    (void)snprintf(l.kind, sizeof l.kind, "versions/%s", op->name);
    (void)snprintf(l.path, sizeof l.path, "/keys/%s/versions", op->name);
    enum kl_code code = kl_page_read(op, &l);
    if (code == KL_OK)
        code = kl_key_versions(op->service->model, op->vault, op->name, l.after, l.limit, &page,
                               &op->err);
    if (kl_op_ok(op, code))
        reply_page(op, &l, &page, true, false);
}
