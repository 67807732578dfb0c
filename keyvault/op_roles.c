/* Roles: what Azure calls RBAC, per vault. */
#include "keyvault/auth/roles.h"

#include "keyvault/auth/policy.h"
#include "keyvault/op_admin.h"
#include "keyvault/ops.h"

#include <string.h>

void kl_op_role_list(struct kl_op *op)
{
    json_t *list = json_array();
    const struct kl_role_row *row;
    for (size_t i = 0; (row = kl_role_at(i)) != NULL; i++) {
        struct kl_policy rights = {.allowed = {0}};
        kl_role_add(row->id, &rights);
        (void)json_array_append_new(list,
                                    json_pack("{s:s, s:s, s:o}", "id", row->id, "name", row->name,
                                              "permissions", kl_policy_format(&rights)));
    }
    kl_admin_reply_list(op, list);
}

static json_t *assignment_json(const struct kl_op *op, const struct kl_assignment *a)
{
    struct kl_principal who = {0};
    const struct kl_role_row *role = kl_role_find(a->role);
    bool known = kl_principal_find(op->service->model, a->object_id, &who, NULL) == KL_OK;
    return json_pack("{s:s, s:s, s:s?, s:s, s:s?, s:I}", "id", a->id, "objectId", a->object_id,
                     "name", known ? who.name : NULL, "role", a->role, "roleName",
                     role != NULL ? role->name : NULL, "created", (json_int_t)a->created);
}

void kl_op_assignment_list(struct kl_op *op)
{
    json_t *list = json_array();
    for (size_t i = 0; i < op->vault->assignment_count; i++)
        (void)json_array_append_new(list, assignment_json(op, &op->vault->assignments[i]));
    kl_admin_reply_list(op, list);
}

static enum kl_code read_assignment(struct kl_op *op, char object_id[static KL_UUID_LEN + 1],
                                    const struct kl_role_row **ret_role, struct kl_err *err)
{
    static const char *const members[] = {"objectId", "role"};
    struct kl_principal who;
    const char *object = NULL, *role = NULL;
    enum kl_code code = kl_admin_members(op, members, KL_COUNT(members), err);
    if (code == KL_OK)
        code = kl_json_string(op->body, "objectId", &object, err);
    if (code == KL_OK)
        code = kl_json_string(op->body, "role", &role, err);
    if (code == KL_OK)
        code = kl_admin_uuid(object != NULL ? object : "", object_id, err);
    if (code != KL_OK)
        return code;
    *ret_role = role != NULL ? kl_role_find(role) : NULL;
    if (*ret_role == NULL)
        return kl_fail(err, KL_BAD_INPUT, "role",
                       "role must be the id or the name of a built-in role ('kluis role list')");
    if (kl_principal_find(op->service->model, object_id, &who, NULL) != KL_OK ||
        strcmp(who.object_id, object_id) != 0)
        return kl_fail(err, KL_BAD_INPUT, "objectId", "There is no principal with this object id");
    return KL_OK;
}

void kl_op_assignment_add(struct kl_op *op)
{
    char object_id[KL_UUID_LEN + 1];
    const struct kl_role_row *role = NULL;
    struct kl_assignment made;
    enum kl_code code = read_assignment(op, object_id, &role, &op->err);
    if (code == KL_OK)
        code = kl_assignment_add(op->service->model, op->vault->name, object_id, role->id, &made,
                                 &op->err);
    if (!kl_op_ok(op, code))
        return;
    (void)snprintf(op->version, sizeof op->version, "%s", made.id); /* for the audit record */
    kl_admin_reply(op, 200, assignment_json(op, &made));
}

/* As with policies: the last who can give roles cannot lose the one that lets it. */
static enum kl_code keep_a_manager(const struct kl_vault *vault, const char *id, struct kl_err *err)
{
    if (!vault->rbac || !kl_vault_has_manager(vault, NULL) || kl_vault_has_manager(vault, id))
        return KL_OK;
    return kl_fail(err, KL_CONFLICT, "assignment",
                   "Nobody could give roles in this vault any more; give Owner or Key Vault Data "
                   "Access Administrator to another principal first");
}

void kl_op_assignment_delete(struct kl_op *op)
{
    char id[KL_UUID_LEN + 1];
    enum kl_code code = kl_admin_uuid(op->version, id, &op->err);
    if (code == KL_OK)
        code = keep_a_manager(op->vault, id, &op->err);
    if (code == KL_OK)
        code = kl_assignment_delete(op->service->model, op->vault->name, id, &op->err);
    if (kl_op_ok(op, code))
        kl_op_reply(op, 204, NULL);
}

/* Whoever could manage before must not be alone in it afterwards: somebody else's rights would be
 * decided by lists that nobody can change. */
static enum kl_code may_switch(struct kl_op *op, bool rbac, struct kl_err *err)
{
    struct kl_vault after = {.rbac = rbac,
                             .policies = op->vault->policies,
                             .policy_count = op->vault->policy_count,
                             .assignments = op->vault->assignments,
                             .assignment_count = op->vault->assignment_count};
    enum kl_code code = kl_authorize(&op->caller, KL_SCOPE_NAMED, KL_MAY_VAULT_SETPOLICY, op->vault,
                                     op->route->audit, err);
    if (code == KL_OK && !kl_vault_has_manager(&after, NULL))
        code = kl_fail(err, KL_CONFLICT, "enableRbacAuthorization",
                       rbac ? "Nobody could give roles in this vault then; assign Owner or Key "
                              "Vault Data Access Administrator first"
                            : "Nobody could set policies in this vault then; give setPolicy first");
    return code;
}

enum kl_code kl_admin_set_rbac(struct kl_op *op, struct kl_vault **vault)
{
    bool rbac = (*vault)->rbac;
    struct kl_vault *fresh = NULL;
    enum kl_code code = kl_json_bool(op->body, "enableRbacAuthorization", &rbac, &op->err);
    if (code != KL_OK || rbac == (*vault)->rbac)
        return code;
    code = may_switch(op, rbac, &op->err);
    if (code == KL_OK)
        code = kl_vault_set_rbac(op->service->model, op->vault->name, rbac, &fresh, &op->err);
    if (code != KL_OK)
        return code;
    kl_vault_unref(*vault);
    *vault = fresh;
    return KL_OK;
}
