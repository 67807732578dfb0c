#include "keyvault/arm.h"

#include "keyvault/auth/issuer.h"
#include "keyvault/auth/policy.h"
#include "keyvault/op_admin.h"

#include <strings.h>
#include <string.h>

#define POLICIES_MAX 1024 /* Key Vault's own limit */

void kl_arm_policies_done(struct kl_arm_policies *p)
{
    free(p->items);
    *p = KL_ARM_POLICIES_INIT;
}

/* The words of a policy; those about the vault itself are not ARM's to give. */
static enum kl_code read_words(const json_t *permissions, struct kl_policy *ret, struct kl_err *err)
{
    if (!json_is_object(permissions))
        return kl_fail(err, KL_BAD_INPUT, "policy", "permissions must be an object");
    if (json_object_get(permissions, kl_permission_kind_word(KL_PERM_VAULT)) != NULL)
        return kl_fail(err, KL_BAD_INPUT, "policy",
                       "permissions has no member 'vault' in this API; use 'kluis policy set'");
    KL_AUTO(json) words = json_copy((json_t *)(uintptr_t)permissions);
    if (words == NULL)
        return kl_fail(err, KL_NO_MEMORY, "policy", "out of memory");
    (void)json_object_del(words, "storage");
    return kl_policy_parse(words, ret, err);
}

static enum kl_code read_item(const struct kl_op *op, const json_t *item, struct kl_policy *ret,
                              struct kl_err *err)
{
    const char *tenant = NULL, *object = NULL, *application = NULL;
    struct kl_principal who;
    enum kl_code code = kl_json_string(item, "tenantId", &tenant, err);
    if (code == KL_OK)
        code = kl_json_string(item, "objectId", &object, err);
    if (code == KL_OK)
        code = kl_json_string(item, "applicationId", &application, err);
    if (code == KL_OK && tenant != NULL &&
        strcasecmp(tenant, kl_issuer_tenant(op->service->authenticator)) != 0)
        code = kl_fail(err, KL_BAD_INPUT, "tenantId", "This service has one tenant, and not this");
    if (code == KL_OK && application != NULL)
        code = kl_fail(err, KL_BAD_INPUT, "applicationId",
                       "Policies for an application on behalf of somebody are not supported");
    if (code == KL_OK)
        code = kl_admin_uuid(object != NULL ? object : "", ret->object_id, err);
    if (code == KL_OK)
        code = read_words(json_object_get(item, "permissions"), ret, err);
    if (code == KL_OK &&
        (kl_principal_find(op->service->model, ret->object_id, &who, NULL) != KL_OK ||
         strcmp(who.object_id, ret->object_id) != 0))
        code = kl_fail(err, KL_BAD_INPUT, "objectId", "There is no principal with object id %s",
                       ret->object_id);
    return code;
}

static const struct kl_policy *find(const struct kl_policy *items, size_t count,
                                    const char *object_id)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(items[i].object_id, object_id) == 0)
            return &items[i];
    return NULL;
}

enum kl_code kl_arm_policies_read(const struct kl_op *op, const json_t *properties,
                                  struct kl_arm_policies *ret, struct kl_err *err)
{
    const json_t *list = json_object_get(properties, "accessPolicies");
    size_t i;
    const json_t *item;
    if (list == NULL || json_is_null(list))
        return KL_OK;
    if (!json_is_array(list) || json_array_size(list) > POLICIES_MAX)
        return kl_fail(err, KL_BAD_INPUT, "accessPolicies",
                       "accessPolicies must be a list of at most %d", POLICIES_MAX);
    struct kl_arm_policies read = {.given = true,
                                   .items = calloc(json_array_size(list) + 1, sizeof *read.items)};
    enum kl_code code =
        read.items != NULL ? KL_OK : kl_fail(err, KL_NO_MEMORY, "accessPolicies", "out of memory");
    json_array_foreach(list, i, item)
    {
        if (code == KL_OK)
            code = read_item(op, item, &read.items[read.count], err);
        if (code == KL_OK && find(read.items, read.count, read.items[read.count].object_id) != NULL)
            code = kl_fail(err, KL_BAD_INPUT, "accessPolicies", "Object id %s appears twice",
                           read.items[read.count].object_id);
        read.count++;
    }
    if (code == KL_OK)
        *ret = read;
    else
        kl_arm_policies_done(&read);
    return code;
}

/* What `now` becomes by a row of the list (NULL = the list does not name it). The part of the vault
 * itself stays. */
static struct kl_policy merged(const struct kl_policy *now, const struct kl_policy *row,
                               enum kl_arm_merge how)
{
    struct kl_policy after = now != NULL ? *now : (struct kl_policy){.allowed = {0}};
    if (row != NULL)
        memcpy(after.object_id, row->object_id, sizeof after.object_id);
    for (size_t kind = 0; kind < KL_PERM_KINDS; kind++) {
        uint64_t words = row != NULL ? row->allowed[kind] : 0;
        if (kind == KL_PERM_VAULT || (row == NULL && how != KL_ARM_ALL))
            continue;
        if (how == KL_ARM_ADD)
            after.allowed[kind] |= words;
        else if (how == KL_ARM_REMOVE)
            after.allowed[kind] &= ~words;
        else
            after.allowed[kind] = words;
    }
    return after;
}

static bool is_empty(const struct kl_policy *p)
{
    uint64_t any = 0;
    for (size_t kind = 0; kind < KL_PERM_KINDS; kind++)
        any |= p->allowed[kind];
    return any == 0;
}

static enum kl_code change(struct kl_op *op, const struct kl_vault *v, const struct kl_policy *now,
                           const struct kl_policy *after)
{
    static const struct kl_policy none;
    if (memcmp(now != NULL ? now->allowed : none.allowed, after->allowed, sizeof none.allowed) == 0)
        return KL_OK;
    enum kl_code code = kl_authorize(&op->caller, KL_SCOPE_NAMED, KL_MAY_VAULT_SETPOLICY, v,
                                     op->route->audit, &op->err);
    if (code != KL_OK)
        return code;
    return is_empty(after)
               ? kl_policy_delete(op->service->model, v->name, after->object_id, &op->err)
               : kl_policy_put(op->service->model, v->name, after, &op->err);
}

/* Grants come before what is taken away: if the caller loses setPolicy here or a crash comes
 * between, too little has been taken rather than given, and the same request finishes it. */
enum kl_code kl_arm_policies_apply(struct kl_op *op, const struct kl_arm_policies *list,
                                   enum kl_arm_merge how, struct kl_vault **vault)
{
    const struct kl_vault *v = *vault;
    struct kl_vault *fresh = NULL;
    enum kl_code code = KL_OK;
    if (!list->given)
        return KL_OK;
    for (size_t i = 0; i < list->count && code == KL_OK; i++) {
        const struct kl_policy *now = find(v->policies, v->policy_count, list->items[i].object_id);
        struct kl_policy after = merged(now, &list->items[i], how);
        code = change(op, v, now, &after);
    }
    for (size_t i = 0; i < v->policy_count && code == KL_OK; i++) {
        if (find(list->items, list->count, v->policies[i].object_id) != NULL)
            continue;
        struct kl_policy after = merged(&v->policies[i], NULL, how);
        code = change(op, v, &v->policies[i], &after);
    }
    if (code == KL_OK)
        code = kl_vault_by_name(op->service->model, v->name, KL_STATE_ACTIVE, &fresh, &op->err);
    if (code != KL_OK)
        return code;
    kl_vault_unref(*vault);
    *vault = fresh;
    return KL_OK;
}
