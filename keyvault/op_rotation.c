/* When keys rotate, and their release. Source of the shapes and rules: Key Vault's data plane,
 * KeyRotationPolicy; replies of the real service for what is added to a policy without Notify. */
#include "keyvault/model/rotation.h"
#include "keyvault/ops.h"
#include "keyvault/wire.h"

#include <strings.h>
#include <string.h>

/* Members may be absent, null or empty, and mean the same. */
static enum kl_code read_duration(const json_t *object, const char *name, struct kl_duration *ret,
                                  struct kl_err *err)
{
    const char *text = NULL;
    enum kl_code code = kl_json_string(object, name, &text, err);
    if (code != KL_OK || text == NULL || text[0] == 0)
        return code;
    return kl_duration_parse(text, ret, err);
}

static enum kl_code bad_actions(struct kl_err *err)
{
    return kl_fail(err, KL_BAD_INPUT, "lifetimeActions",
                   "lifetimeActions has at most one action of type Rotate and one of type Notify, "
                   "each with one trigger: timeAfterCreate (Rotate only) or timeBeforeExpiry");
}

static enum kl_code read_action(const json_t *item, struct kl_rotation *policy, struct kl_err *err)
{
    const json_t *trigger = json_object_get(item, "trigger");
    const char *type = NULL;
    struct kl_duration after = {.seconds = 0}, before = {.seconds = 0};
    enum kl_code code = kl_json_string(json_object_get(item, "action"), "type", &type, err);
    if (code == KL_OK)
        code = read_duration(trigger, "timeAfterCreate", &after, err);
    if (code == KL_OK)
        code = read_duration(trigger, "timeBeforeExpiry", &before, err);
    if (code != KL_OK)
        return code;
    bool one = (after.seconds != 0) != (before.seconds != 0);
    if (type == NULL || !one)
        return bad_actions(err);
    if (strcasecmp(type, "Rotate") == 0 && policy->rotate.seconds == 0) {
        policy->rotate_before_expiry = before.seconds != 0;
        policy->rotate = policy->rotate_before_expiry ? before : after;
        return KL_OK;
    }
    if (strcasecmp(type, "Notify") == 0 && policy->notify.seconds == 0 && before.seconds != 0) {
        policy->notify = before;
        return KL_OK;
    }
    return bad_actions(err);
}

static enum kl_code read_policy(const json_t *body, struct kl_rotation *ret, struct kl_err *err)
{
    const json_t *actions = json_object_get(body, "lifetimeActions");
    const json_t *attributes = json_object_get(body, "attributes");
    *ret = (struct kl_rotation){.rotate_before_expiry = false};
    if (actions != NULL && !json_is_null(actions) && !json_is_array(actions))
        return bad_actions(err);
    if (attributes != NULL && !json_is_null(attributes) && !json_is_object(attributes))
        return kl_fail(err, KL_BAD_INPUT, "attributes", "attributes must be an object");
    enum kl_code code = KL_OK;
    for (size_t i = 0; i < json_array_size(actions) && code == KL_OK; i++)
        code = read_action(json_array_get(actions, i), ret, err);
    return code == KL_OK ? read_duration(attributes, "expiryTime", &ret->expiry, err) : code;
}

static void put_action(struct kl_buf *out, const char *comma, const char *trigger,
                       const struct kl_duration *when, const char *type)
{
    if (when->seconds != 0)
        kl_buf_printf(out, "%s{\"trigger\":{\"%s\":\"%s\"},\"action\":{\"type\":\"%s\"}}", comma,
                      trigger, when->text, type);
}

static void reply_policy(struct kl_op *op, const struct kl_rotation *p)
{
    struct kl_buf json = KL_BUF_INIT(4096);
    kl_buf_puts(&json, "{\"id\":\"");
    kl_wire_put_id(&json, &op->origin, "keys", op->name, "rotationpolicy");
    kl_buf_puts(&json, "\",\"lifetimeActions\":[");
    put_action(&json, "", p->rotate_before_expiry ? "timeBeforeExpiry" : "timeAfterCreate",
               &p->rotate, "Rotate");
    put_action(&json, p->rotate.seconds != 0 ? "," : "", "timeBeforeExpiry", &p->notify, "Notify");
    kl_buf_puts(&json, "],\"attributes\":{");
    if (p->expiry.seconds != 0)
        kl_buf_printf(&json, "\"expiryTime\":\"%s\"%s", p->expiry.text, p->created != 0 ? "," : "");
    if (p->created != 0)
        kl_buf_printf(&json, "\"created\":%lld,\"updated\":%lld", (long long)p->created,
                      (long long)p->updated);
    kl_buf_puts(&json, "}}");
    kl_op_reply_buf(op, 200, &json);
}

void kl_op_rotation_get(struct kl_op *op)
{
    struct kl_rotation policy;
    if (kl_op_ok(op, kl_rotation_get(op->service->model, op->vault, op->name, &policy, &op->err)))
        reply_policy(op, &policy);
}

void kl_op_rotation_put(struct kl_op *op)
{
    struct kl_rotation policy;
    enum kl_code code = kl_op_need_body(op);
    if (code == KL_OK)
        code = read_policy(op->body, &policy, &op->err);
    if (code == KL_OK)
        code = kl_rotation_put(op->service->model, op->vault, op->name, &policy, &op->err);
    if (kl_op_ok(op, code))
        reply_policy(op, &policy);
}

/* A release hands a key to an attested environment. Keys here leave their token for nobody, so what
 * remains is to say so, once it is known that there is such a key. */
void kl_op_key_release(struct kl_op *op)
{
    const char *target = NULL;
    enum kl_code code = kl_op_need_body(op);
    if (code == KL_OK)
        code = kl_json_string(op->body, "target", &target, &op->err);
    if (code == KL_OK && (target == NULL || target[0] == 0))
        code = kl_fail(&op->err, KL_BAD_INPUT, "target", "Property target is required");
    if (code == KL_OK)
        code =
            kl_key_find(op->service->model, op->vault, op->name, op->version, &op->key, &op->err);
    if (code == KL_OK)
        code = kl_fail(&op->err, KL_KEY_OP_FORBIDDEN, "release",
                       "Operation release is not permitted on this key: it is not exportable, and "
                       "no key of this service ever leaves its token");
    (void)kl_op_ok(op, code);
}
