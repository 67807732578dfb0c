#include "keyvault/alg.h"
#include "keyvault/ops.h"
#include "keyvault/wire.h"

void kl_op_key_get(struct kl_op *op)
{
    if (kl_op_ok(op, kl_key_find(op->service->model, op->vault, op->name, op->version, &op->key,
                                 &op->err)))
        kl_op_reply_bundle(op);
}

static enum kl_code check_token(struct kl_op *op, const struct kl_key_spec *spec)
{
    struct kl_token_status status;
    struct kl_token *token;
    enum kl_code code = kl_vault_token(op->vault, &token, &op->err);
    if (code != KL_OK)
        return code;
    kl_token_status(token, &status);
    return kl_alg_token_fits(spec, &status.caps, &op->err);
}

void kl_op_key_create(struct kl_op *op)
{
    struct kl_key_create how;
    struct kl_wire_tags tags = {.text = KL_BUF_INIT(0)};
    enum kl_code code = kl_op_need_body(op);
    if (code == KL_OK)
        code = kl_wire_parse_create(op->body, &how, &tags, &op->err);
    if (code == KL_OK)
        code = check_token(op, &how.spec);
    if (code == KL_OK)
        code = kl_key_create(op->service->model, op->vault, op->name, &how, &op->key, &op->err);
    kl_wire_tags_done(&tags);
    if (kl_op_ok(op, code))
        kl_op_reply_bundle(op);
}

void kl_op_key_update(struct kl_op *op)
{
    KL_AUTO(key_version) before = NULL;
    struct kl_wire_patch patch = {.tags = {.text = KL_BUF_INIT(0)}};
    enum kl_code code = kl_op_need_body(op);
    if (code == KL_OK)
        code = kl_key_find(op->service->model, op->vault, op->name, op->version, &before, &op->err);
    if (code == KL_OK)
        code = kl_wire_parse_patch(op->body, before->type, &patch, &op->err);
    if (code == KL_OK) /* the version that was looked at, even when a newer one comes meanwhile */
        code = kl_key_update(op->service->model, op->vault, op->name, before->version, &patch.patch,
                             &op->key, &op->err);
    kl_wire_tags_done(&patch.tags);
    if (kl_op_ok(op, code))
        kl_op_reply_bundle(op);
}

void kl_op_key_rotate(struct kl_op *op)
{
    if (kl_op_ok(op, kl_key_rotate(op->service->model, op->vault, op->name, &op->key, &op->err)))
        kl_op_reply_bundle(op);
}
