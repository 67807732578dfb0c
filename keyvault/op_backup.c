#include "keyvault/ops.h"
#include "keyvault/wire.h"

#include <string.h>

void kl_op_key_backup(struct kl_op *op)
{
    struct kl_buf blob = KL_BUF_INIT(KL_ANSWER_CEILING / 2);
    struct kl_buf json = KL_BUF_INIT(KL_ANSWER_CEILING);
    enum kl_code code = kl_key_backup(op->service->model, op->vault, op->name, &blob, &op->err);
    if (code == KL_OK) {
        kl_buf_puts(&json, "{\"value\":\"");
        kl_b64url_put(&json, kl_buf_text(&blob), blob.len);
        kl_buf_puts(&json, "\"}");
    }
    kl_buf_wipe(&blob);
    if (kl_op_ok(op, code))
        kl_op_reply_buf(op, 200, &json);
}

static enum kl_code restore(struct kl_op *op)
{
    const char *text = NULL;
    enum kl_code code = kl_op_need_body(op);
    if (code == KL_OK)
        code = kl_wire_text(op->body, "value", &text, &op->err);
    if (code != KL_OK)
        return code;
    size_t n = strlen(text), len = 0;
    KL_AUTO(bytes) blob = malloc(n);
    if (blob == NULL)
        return kl_fail(&op->err, KL_NO_MEMORY, "restore", "No memory for the blob");
    if (kl_b64url_decode(text, n, blob, n, &len) != KL_OK)
        return kl_fail(&op->err, KL_BACKUP_MALFORMED, "restore", "The blob is not base64url");
    return kl_key_restore(op->service->model, op->vault, blob, len, &op->key, &op->err);
}

void kl_op_key_restore(struct kl_op *op)
{
    if (kl_op_ok(op, restore(op)))
        kl_op_reply_bundle(op);
}
