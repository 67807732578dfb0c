/* Operations under way: asked for, cancelled, forgotten, and brought to an end by a merge. */
#include "keyvault/ops.h"
#include "keyvault/wire_certificate.h"

#include <string.h>

#define X5C_MAX 16

static void reply_operation(struct kl_op *op, enum kl_code code, json_t *pending)
{
    KL_AUTO(json) p = pending;
    struct kl_buf json = KL_BUF_INIT(KL_ANSWER_CEILING);
    if (!kl_op_ok(op, code))
        return;
    kl_wire_put_operation(&json, &op->origin, op->name, p);
    kl_op_reply_buf(op, 200, &json);
}

void kl_op_pending_get(struct kl_op *op)
{
    json_t *p = NULL;
    enum kl_code code =
        kl_certificate_pending(op->service->model, op->vault, op->name, &p, &op->err);
    reply_operation(op, code, p);
}

void kl_op_pending_cancel(struct kl_op *op)
{
    json_t *p = NULL;
    bool cancel = false;
    enum kl_code code = kl_op_need_body(op);
    if (code == KL_OK)
        code = kl_json_bool(op->body, "cancellation_requested", &cancel, &op->err);
    if (code == KL_OK && !cancel)
        code = kl_fail(&op->err, KL_BAD_INPUT, "cancellation_requested",
                       "cancellation_requested can be set to true only");
    if (code == KL_OK)
        code = kl_certificate_cancel(op->service->model, op->vault, op->name, &p, &op->err);
    reply_operation(op, code, p);
}

void kl_op_pending_delete(struct kl_op *op)
{
    json_t *p = NULL;
    enum kl_code code =
        kl_certificate_forget_pending(op->service->model, op->vault, op->name, &p, &op->err);
    reply_operation(op, code, p);
}

/* --- merge --- */

struct x5c {
    struct kl_certificate_bytes parts[X5C_MAX];
    size_t count;
};

static void x5c_done(struct x5c *x)
{
    for (size_t i = 0; i < x->count; i++)
        free((void *)(uintptr_t)x->parts[i].bytes);
}

/* The Azure SDK for JavaScript encodes what its documentation has as base64 already. */
static void unwrap(uint8_t *bytes, size_t *len)
{
    size_t n = 0;
    KL_AUTO(bytes) der = malloc(*len + 1);
    if (der == NULL || kl_b64_decode((const char *)bytes, *len, der, *len, &n) != KL_OK)
        return;
    memcpy(bytes, der, n);
    *len = n;
}

/* Standard base64; clients of old send base64url too. */
static enum kl_code add(struct x5c *x, const json_t *item, struct kl_err *err)
{
    const char *text = json_string_value(item);
    size_t n = json_string_length(item), len = 0;
    uint8_t *bytes = text != NULL ? malloc(n + 1) : NULL;
    if (text == NULL || bytes == NULL || x->count == X5C_MAX ||
        (kl_b64_decode(text, n, bytes, n + 1, &len) != KL_OK &&
         kl_b64url_decode(text, n, bytes, n + 1, &len) != KL_OK)) {
        free(bytes);
        return kl_fail(err, KL_BAD_INPUT, "x5c",
                       "x5c must be an array of at most %d certificates in base64", X5C_MAX);
    }
    unwrap(bytes, &len);
    x->parts[x->count++] = (struct kl_certificate_bytes){bytes, len};
    return KL_OK;
}

static enum kl_code parse_x5c(const json_t *body, struct x5c *x, struct kl_err *err)
{
    size_t i;
    const json_t *item, *list = json_object_get(body, "x5c");
    enum kl_code code = KL_OK;
    if (!json_is_array(list) || json_array_size(list) == 0)
        return kl_fail(err, KL_BAD_INPUT, "x5c", "Property x5c is required");
    json_array_foreach(list, i, item)
    {
        if (code == KL_OK)
            code = add(x, item, err);
    }
    return code;
}

void kl_op_pending_merge(struct kl_op *op)
{
    struct x5c x = {.count = 0};
    struct kl_certificate_how how = {.policy = NULL};
    struct kl_vault_secret c;
    struct kl_wire_tags tags = {.text = KL_BUF_INIT(0)};
    enum kl_code code = kl_op_need_body(op);
    if (code == KL_OK)
        code = kl_wire_parse_certificate(op->body, &how, &tags, &op->err);
    if (code == KL_OK)
        code = parse_x5c(op->body, &x, &op->err);
    if (code == KL_OK)
        code = kl_certificate_merge(op->service->model, op->vault, op->name, x.parts, x.count, &how,
                                    &c, &op->err);
    kl_wire_tags_done(&tags);
    x5c_done(&x);
    if (kl_op_ok(op, code))
        kl_op_reply_certificate(op, 201, &c, true);
}
