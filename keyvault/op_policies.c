#include "keyvault/op_admin.h"
#include "keyvault/ops.h"

#include "keyvault/auth/policy.h"

#include <string.h>

static json_t *policy_json(const struct kl_op *op, const struct kl_policy *p)
{
    struct kl_principal who = {0};
    bool known = kl_principal_find(op->service->model, p->object_id, &who, NULL) == KL_OK;
    return json_pack("{s:s, s:s?, s:o}", "objectId", p->object_id, "name", known ? who.name : NULL,
                     "permissions", kl_policy_format(p));
}

/* A vault must keep one principal who can set policies. Two requests that take the last two away at
 * the same moment both see the other one still there; an administrator can then set one again (see
 * kl_authorize). Where roles decide, policies are of no weight in this. */
static enum kl_code keep_a_manager(const struct kl_vault *vault, const char *object_id,
                                   struct kl_err *err)
{
    if (vault->rbac || !kl_vault_has_manager(vault, NULL) || kl_vault_has_manager(vault, object_id))
        return KL_OK;
    return kl_fail(err, KL_CONFLICT, "policy",
                   "Nobody could set policies on this vault any more; give setPolicy to another "
                   "principal first");
}

static enum kl_code read_policy(struct kl_op *op, struct kl_policy *ret, struct kl_err *err)
{
    static const char *const members[] = {"permissions"};
    struct kl_principal who;
    enum kl_code code = kl_admin_members(op, members, KL_COUNT(members), err);
    if (code == KL_OK)
        code = kl_admin_uuid(op->version, ret->object_id, err);
    if (code == KL_OK)
        code = kl_policy_parse(json_object_get(op->body, "permissions"), ret, err);
    if (code != KL_OK)
        return code;
    if (kl_principal_find(op->service->model, ret->object_id, &who, NULL) != KL_OK ||
        strcmp(who.object_id, ret->object_id) != 0)
        return kl_fail(err, KL_BAD_INPUT, "policy", "There is no principal with this object id");
    if (!kl_policy_allows(ret, KL_MAY_VAULT_SETPOLICY))
        return keep_a_manager(op->vault, ret->object_id, err);
    return KL_OK;
}

void kl_op_policy_list(struct kl_op *op)
{
    json_t *list = json_array();
    for (size_t i = 0; i < op->vault->policy_count; i++)
        (void)json_array_append_new(list, policy_json(op, &op->vault->policies[i]));
    kl_admin_reply_list(op, list);
}

void kl_op_policy_set(struct kl_op *op)
{
    struct kl_policy policy = {0};
    enum kl_code code = read_policy(op, &policy, &op->err);
    if (code == KL_OK)
        code = kl_policy_put(op->service->model, op->vault->name, &policy, &op->err);
    if (kl_op_ok(op, code))
        kl_admin_reply(op, 200, policy_json(op, &policy));
}

void kl_op_policy_delete(struct kl_op *op)
{
    char object_id[KL_UUID_LEN + 1];
    enum kl_code code = kl_admin_uuid(op->version, object_id, &op->err);
    if (code == KL_OK)
        code = keep_a_manager(op->vault, object_id, &op->err);
    if (code == KL_OK)
        code = kl_policy_delete(op->service->model, op->vault->name, object_id, &op->err);
    if (kl_op_ok(op, code))
        kl_op_reply(op, 204, NULL);
}
