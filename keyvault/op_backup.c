#include "keyvault/ops.h"
#include "keyvault/wire.h"

#include <string.h>

void kl_op_reply_blob(struct kl_op *op, enum kl_code code, struct kl_buf *blob)
{
    struct kl_buf json = KL_BUF_INIT(KL_ANSWER_CEILING);
    if (code == KL_OK) {
        kl_buf_reserve(&json, KL_B64URL_LEN(blob->len) + 16);
        kl_buf_puts(&json, "{\"value\":\"");
        kl_b64url_put(&json, kl_buf_text(blob), blob->len);
        kl_buf_puts(&json, "\"}");
    }
    kl_buf_wipe(blob);
    if (kl_op_ok(op, code))
        kl_op_reply_buf(op, 200, &json);
}

void kl_op_key_backup(struct kl_op *op)
{
    struct kl_buf blob = KL_BUF_INIT(KL_ANSWER_CEILING);
    enum kl_code code = kl_key_backup(op->service->model, op->vault, op->name, &blob, &op->err);
    kl_op_reply_blob(op, code, &blob);
}

enum kl_code kl_op_read_blob(struct kl_op *op, uint8_t **ret, size_t *ret_len)
{
    const char *text = NULL;
    enum kl_code code = kl_op_need_body(op);
    if (code == KL_OK)
        code = kl_wire_text(op->body, "value", &text, &op->err);
    if (code != KL_OK)
        return code;
    size_t n = strlen(text);
    KL_AUTO(bytes) blob = malloc(n);
    if (blob == NULL)
        return kl_fail(&op->err, KL_NO_MEMORY, "restore", "No memory for the blob");
    if (kl_b64url_decode(text, n, blob, n, ret_len) != KL_OK)
        return kl_fail(&op->err, KL_BACKUP_MALFORMED, "restore", "The blob is not base64url");
    *ret = kl_take(blob);
    return KL_OK;
}

static enum kl_code restore(struct kl_op *op)
{
    KL_AUTO(bytes) blob = NULL;
    size_t len = 0;
    enum kl_code code = kl_op_read_blob(op, &blob, &len);
    return code == KL_OK
               ? kl_key_restore(op->service->model, op->vault, blob, len, &op->key, &op->err)
               : code;
}

void kl_op_key_restore(struct kl_op *op)
{
    if (kl_op_ok(op, restore(op)))
        kl_op_reply_bundle(op);
}

void kl_op_key_reseal(struct kl_op *op)
{
    KL_AUTO(bytes) blob = NULL;
    struct kl_buf out = KL_BUF_INIT(KL_ANSWER_CEILING / 2);
    struct kl_buf json = KL_BUF_INIT(KL_ANSWER_CEILING);
    size_t len = 0;
    bool moved = false;
    enum kl_code code = kl_op_read_blob(op, &blob, &len);
    if (code == KL_OK)
        code = kl_key_reseal(op->service->model, op->vault, blob, len, &out, &moved, &op->err);
    if (code == KL_OK) {
        kl_buf_puts(&json, "{\"value\":\"");
        kl_b64url_put(&json, kl_buf_text(&out), out.len);
        kl_buf_printf(&json, "\",\"moved\":%s}", moved ? "true" : "false");
    }
    kl_buf_wipe(&out);
    if (kl_op_ok(op, code))
        kl_op_reply_buf(op, 200, &json);
}
