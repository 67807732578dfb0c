/* Listings of secrets, and their soft delete. */
#include "keyvault/page.h"
#include "keyvault/wire_secret.h"

#include <string.h>

enum item { ITEM, VERSIONED_ITEM, DELETED_ITEM };

static void reply_page(struct kl_op *op, const struct kl_listing *l,
                       struct kl_vault_secret_page *page, enum item item)
{
    struct kl_buf json = KL_BUF_INIT(KL_ANSWER_CEILING);
    kl_page_begin(&json);
    for (size_t i = 0; i < page->count; i++) {
        const struct kl_vault_secret *s = &page->items[i];
        if (i > 0)
            kl_buf_putc(&json, ',');
        if (item == DELETED_ITEM)
            kl_wire_put_deleted_secret(&json, &op->origin, op->vault, s, true);
        else
            kl_wire_put_secret_item(&json, &op->origin, op->vault, s, item == VERSIONED_ITEM);
    }
    kl_page_end(&json, op, l, page->next);
    kl_vault_secret_page_done(page);
    kl_op_reply_buf(op, 200, &json);
}

static void list_secrets(struct kl_op *op, struct kl_listing *l, enum kl_object_state state)
{
    struct kl_vault_secret_page page;
    enum kl_code code = kl_page_read(op, l);
    if (code == KL_OK)
        code = kl_vault_secret_list(op->service->model, op->vault, state, l->after, l->limit, &page,
                                    &op->err);
    if (kl_op_ok(op, code))
        reply_page(op, l, &page, state == KL_STATE_DELETED ? DELETED_ITEM : ITEM);
}

void kl_op_secret_list(struct kl_op *op)
{
    struct kl_listing l = {.kind = "secrets", .path = "/secrets"};
    list_secrets(op, &l, KL_STATE_ACTIVE);
}

void kl_op_deleted_secret_list(struct kl_op *op)
{
    struct kl_listing l = {.kind = "deletedsecrets", .path = "/deletedsecrets"};
    list_secrets(op, &l, KL_STATE_DELETED);
}

void kl_op_secret_versions(struct kl_op *op)
{
    struct kl_listing l = {.with = NULL};
    struct kl_vault_secret_page page;
    (void)snprintf(l.kind, sizeof l.kind, "secretversions/%s", op->name);
    (void)snprintf(l.path, sizeof l.path, "/secrets/%s/versions", op->name);
    enum kl_code code = kl_page_read(op, &l);
    if (code == KL_OK)
        code = kl_vault_secret_versions(op->service->model, op->vault, op->name, l.after, l.limit,
                                        &page, &op->err);
    if (kl_op_ok(op, code))
        reply_page(op, &l, &page, VERSIONED_ITEM);
}

/* --- soft delete --- */

static void reply_deleted(struct kl_op *op, struct kl_vault_secret *s)
{
    struct kl_buf json = KL_BUF_INIT(KL_ANSWER_CEILING);
    (void)snprintf(op->exact, sizeof op->exact, "secrets/%s/%s", s->name, s->version);
    kl_wire_put_deleted_secret(&json, &op->origin, op->vault, s, false);
    kl_vault_secret_done(s);
    kl_op_reply_buf(op, 200, &json);
}

void kl_op_secret_delete(struct kl_op *op)
{
    struct kl_vault_secret s;
    if (kl_op_ok(op, kl_vault_secret_delete(op->service->model, op->vault, op->name, &s, &op->err)))
        reply_deleted(op, &s);
}

void kl_op_deleted_secret_get(struct kl_op *op)
{
    struct kl_vault_secret s;
    if (kl_op_ok(op,
                 kl_vault_secret_deleted(op->service->model, op->vault, op->name, &s, &op->err)))
        reply_deleted(op, &s);
}

void kl_op_deleted_secret_purge(struct kl_op *op)
{
    struct kl_buf none = KL_BUF_INIT(0);
    if (kl_op_ok(op, kl_vault_secret_purge(op->service->model, op->vault, op->name, &op->err)))
        kl_op_reply_buf(op, 204, &none);
}
