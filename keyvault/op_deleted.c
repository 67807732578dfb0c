#include "keyvault/ops.h"
#include "keyvault/wire.h"

static void reply_deleted(struct kl_op *op, const struct kl_deleted_key *deleted)
{
    struct kl_buf json = KL_BUF_INIT(KL_ANSWER_CEILING);
    op->key = deleted->latest; /* the request owns the reference now */
    kl_wire_put_deleted(&json, &op->origin, op->vault, deleted);
    kl_op_reply_buf(op, 200, &json);
}

void kl_op_key_delete(struct kl_op *op)
{
    struct kl_deleted_key deleted;
    if (kl_op_ok(op, kl_key_delete(op->service->model, op->vault, op->name, &deleted, &op->err)))
        reply_deleted(op, &deleted);
}

void kl_op_deleted_get(struct kl_op *op)
{
    struct kl_deleted_key deleted;
    if (kl_op_ok(op, kl_key_deleted(op->service->model, op->vault, op->name, &deleted, &op->err)))
        reply_deleted(op, &deleted);
}

void kl_op_deleted_recover(struct kl_op *op)
{
    if (kl_op_ok(op, kl_key_recover(op->service->model, op->vault, op->name, &op->key, &op->err)))
        kl_op_reply_bundle(op);
}

void kl_op_deleted_purge(struct kl_op *op)
{
    struct kl_buf none = KL_BUF_INIT(0);
    if (kl_op_ok(op, kl_key_purge(op->service->model, op->vault, op->name, &op->err)))
        kl_op_reply_buf(op, 204, &none);
}
