#include "keyvault/arm.h"

#include "base/buf.h"
#include "keyvault/auth/issuer.h"
#include "keyvault/auth/origin.h"
#include "keyvault/auth/policy.h"
#include "keyvault/op_admin.h"
#include "keyvault/ops.h"

#include <strings.h>
#include <string.h>

#define SUBSCRIPTION  "/subscriptions/{subscription}"
#define PROVIDER      SUBSCRIPTION "/providers/Microsoft.KeyVault"
#define GROUP         SUBSCRIPTION "/resourceGroups/{group}"
#define VAULTS        GROUP "/providers/Microsoft.KeyVault/vaults"
#define LOCATION      PROVIDER "/locations/{location}"
#define DEFAULT_LABEL "default" /* what the model calls a subscription or location by itself */

#define ROW(m, p, scope_, permission_, run_, handler_, audit_, summary_)                           \
    {                                                                                              \
        .method = (m), .path = (p), .scope = (scope_), .permission = (permission_), .run = (run_), \
        .handler = (handler_), .audit = (audit_), .summary = (summary_)                            \
    }
#define CALLER(m, p, handler_, audit_, summary_)                                                   \
    ROW(m, p, KL_SCOPE_CALLER, KL_MAY_NOTHING, KL_RUN_READ, handler_, audit_, summary_)
#define NAMED(m, p, permission_, handler_, audit_, summary_)                                       \
    ROW(m, p, KL_SCOPE_NAMED, permission_, KL_RUN_JOB, handler_, audit_, summary_)
#define ADMIN(m, p, handler_, audit_, summary_)                                                    \
    ROW(m, p, KL_SCOPE_ADMIN, KL_MAY_NOTHING, KL_RUN_JOB, handler_, audit_, summary_)

const struct kl_route kl_arm_routes[] = {
    ROW("GET", "/metadata/endpoints", KL_SCOPE_OPEN, KL_MAY_NOTHING, KL_RUN_LOOP,
        kl_op_arm_metadata, NULL, "What 'az cloud register' asks a cloud for"),
    CALLER("GET", "/subscriptions", kl_op_arm_subscriptions, "SubscriptionList",
           "Subscriptions of the caller's vaults"),
    CALLER("GET", SUBSCRIPTION "/resources", kl_op_arm_resources, "ResourceList",
           "The caller's vaults as resources"),
    CALLER("GET", SUBSCRIPTION "/resourceGroups", kl_op_arm_groups, "ResourceGroupList",
           "One resource group: vaults are in none"),
    CALLER("GET", GROUP, kl_op_arm_group, "ResourceGroupGet", "A resource group: any is there"),
    CALLER("GET", PROVIDER "/vaults", kl_op_arm_vaults, "VaultList", "The caller's vaults"),
    CALLER("GET", VAULTS, kl_op_arm_vaults, "VaultList", "The same: groups hold nothing"),
    NAMED("GET", VAULTS "/{name}", KL_MAY_VAULT_GET, kl_op_arm_vault, "VaultGet", "A vault"),
    ROW("PUT", VAULTS "/{name}", KL_SCOPE_NAMED_OR_NEW, KL_MAY_VAULT_UPDATE, KL_RUN_JOB,
        kl_op_arm_put, "VaultPut",
        "Make or recover a vault (administrators), change one; policies need setPolicy"),
    NAMED("PATCH", VAULTS "/{name}", KL_MAY_VAULT_UPDATE, kl_op_arm_patch, "VaultPatch",
          "Change what the body names; policies need setPolicy"),
    NAMED("DELETE", VAULTS "/{name}", KL_MAY_VAULT_DELETE, kl_op_arm_delete, "VaultDelete",
          "Delete a vault, recoverably"),
    NAMED("PUT", VAULTS "/{name}/accessPolicies/{kind}", KL_MAY_VAULT_SETPOLICY, kl_op_arm_policies,
          "VaultSetPolicy", "Add, replace or remove access policies"),
    ADMIN("POST", PROVIDER "/checkNameAvailability", kl_op_arm_name, "VaultCheckName",
          "Whether a vault of this name can be made"),
    ADMIN("GET", PROVIDER "/deletedVaults", kl_op_arm_deleted_list, "VaultListDeleted",
          "Deleted vaults"),
    ADMIN("GET", LOCATION "/deletedVaults/{name}", kl_op_arm_deleted, "VaultGetDeleted",
          "A deleted vault"),
    ADMIN("POST", LOCATION "/deletedVaults/{name}/purge", kl_op_arm_purge, "VaultPurge",
          "Destroy a deleted vault and its keys for good; needs the vault's purge permission too"),
    ADMIN("GET", LOCATION "/operationResults/{name}", kl_op_arm_purge_result, "VaultPurgeResult",
          "Whether the deleted vault of this name is gone"),
    CALLER("GET", PROVIDER "/managedHSMs", kl_op_arm_no_hsms, "ManagedHsmList",
           "There are none; az asks beside the vaults"),
    CALLER("GET", PROVIDER "/deletedManagedHSMs", kl_op_arm_no_hsms, "ManagedHsmListDeleted",
           "The same"),
};

const size_t kl_arm_route_count = KL_COUNT(kl_arm_routes);

/* The /adfs authority is what keeps az from asking the public cloud about this one. */
void kl_op_arm_metadata(struct kl_op *op)
{
    struct kl_buf base = KL_BUF_INIT(KL_AUDIENCE_MAX);
    kl_origin_put(&base, &op->origin);
    const char *url = kl_buf_text(&base);
    kl_admin_reply(op, 200,
                   json_pack("{s:o, s:s, s:s, s:{s:o, s:[s]}}", "galleryEndpoint",
                             json_sprintf("%s/", url), "graphEndpoint", url, "portalEndpoint", url,
                             "authentication", "loginEndpoint", json_sprintf("%s/adfs", url),
                             "audiences", url));
    kl_buf_done(&base);
}

/* --- lists of what the caller may see --- */

static bool is_administrator(const struct kl_op *op)
{
    return (op->caller.who.roles & KL_ROLE_ADMINISTRATOR) != 0;
}

typedef json_t *kl_arm_row(const struct kl_op *op, const struct kl_vault *v);

/* Active vaults of the path's subscription where the caller has a policy, as for /kluis/v1; all for
 * administrators. */
static enum kl_code visible(struct kl_op *op, kl_arm_row *row, json_t *ret)
{
    struct kl_vault **vaults = NULL;
    struct kl_policy rights;
    size_t count = 0;
    enum kl_code code =
        kl_vault_list(op->service->model, KL_STATE_ACTIVE, &vaults, &count, &op->err);
    if (code != KL_OK)
        return code;
    for (size_t i = 0; i < count; i++)
        if ((op->subscription[0] == 0 ||
             strcasecmp(vaults[i]->subscription, op->subscription) == 0) &&
            (is_administrator(op) || kl_rights_of(vaults[i], &op->caller, &rights)))
            (void)json_array_append_new(ret, row(op, vaults[i]));
    kl_vault_list_free(vaults, count);
    return KL_OK;
}

/* ARM's lists have no nextLink on their last page. */
static void reply_list(struct kl_op *op, enum kl_code code, json_t *list)
{
    if (kl_op_ok(op, code))
        kl_admin_reply(op, 200, json_pack("{s:o}", "value", list));
    else
        json_decref(list);
}

static json_t *subscription_of(const struct kl_op *op, const struct kl_vault *v)
{
    (void)op;
    return json_string(v->subscription);
}

static json_t *subscription_json(const struct kl_op *op, const char *name)
{
    return json_pack("{s:o, s:s, s:s, s:s, s:s, s:s}", "id",
                     json_sprintf("/subscriptions/%s", name), "subscriptionId", name, "displayName",
                     name, "state", "Enabled", "tenantId",
                     kl_issuer_tenant(op->service->authenticator), "authorizationSource", "Legacy");
}

void kl_op_arm_subscriptions(struct kl_op *op)
{
    KL_AUTO(json) names = json_array();
    KL_AUTO(json) seen = json_object();
    json_t *list = json_array();
    size_t i;
    json_t *item;
    enum kl_code code = visible(op, subscription_of, names);
    if (is_administrator(op)) /* somewhere for the first vault */
        (void)json_array_append_new(names, json_string(DEFAULT_LABEL));
    json_array_foreach(names, i, item)
    {
        const char *name = json_string_value(item);
        if (json_object_get(seen, name) != NULL)
            continue;
        (void)json_object_set_new(seen, name, json_true());
        (void)json_array_append_new(list, subscription_json(op, name));
    }
    reply_list(op, code, list);
}

/* az asks with "resourceType eq 'Microsoft.KeyVault/vaults'"; nothing of another type is here. */
void kl_op_arm_resources(struct kl_op *op)
{
    char filter[512];
    json_t *list = json_array();
    enum kl_code code = kl_op_query(op, "$filter", filter, sizeof filter, &op->err);
    bool other = strcasestr(filter, "resourceType") != NULL &&
                 strcasestr(filter, "'Microsoft.KeyVault/vaults'") == NULL;
    if (code == KL_OK && !other)
        code = visible(op, kl_arm_resource, list);
    reply_list(op, code, list);
}

void kl_op_arm_vaults(struct kl_op *op)
{
    json_t *list = json_array();
    reply_list(op, visible(op, kl_arm_vault, list), list);
}

void kl_op_arm_no_hsms(struct kl_op *op)
{
    reply_list(op, KL_OK, json_array());
}

static json_t *group_json(const struct kl_op *op, const char *group)
{
    return json_pack("{s:o, s:s, s:s, s:s, s:{s:s}}", "id",
                     json_sprintf("/subscriptions/%s/resourceGroups/%s", op->subscription, group),
                     "name", group, "type", "Microsoft.Resources/resourceGroups", "location",
                     DEFAULT_LABEL, "properties", "provisioningState", "Succeeded");
}

void kl_op_arm_groups(struct kl_op *op)
{
    json_t *list = json_array();
    (void)json_array_append_new(list, group_json(op, KL_ARM_GROUP));
    reply_list(op, KL_OK, list);
}

void kl_op_arm_group(struct kl_op *op)
{
    kl_admin_reply(op, 200, group_json(op, op->place));
}

/* --- one vault --- */

void kl_op_arm_vault(struct kl_op *op)
{
    kl_admin_reply(op, 200, kl_arm_vault(op, op->vault));
}

void kl_op_arm_name(struct kl_op *op)
{
    const char *name = NULL, *reason = NULL, *message = NULL;
    KL_AUTO(vault) there = NULL;
    enum kl_code code = kl_op_need_body(op);
    if (code == KL_OK)
        code = kl_json_string(op->body, "name", &name, &op->err);
    if (code == KL_OK && name == NULL)
        code = kl_fail(&op->err, KL_BAD_INPUT, "name", "The body needs a name");
    if (!kl_op_ok(op, code))
        return;
    if (!kl_vault_name_valid(name)) {
        reason = "AccountNameInvalid";
        message = "A vault's name has 3 to 24 letters, digits and single hyphens, begins with a "
                  "letter and does not end in a hyphen.";
    } else if (kl_vault_by_name(op->service->model, name, KL_STATE_ACTIVE, &there, NULL) == KL_OK ||
               kl_vault_by_name(op->service->model, name, KL_STATE_DELETED, &there, NULL) ==
                   KL_OK) {
        reason = "AlreadyExists";
        message = "The vault name is already in use, maybe by a deleted vault.";
    }
    kl_admin_reply(op, 200,
                   json_pack("{s:b, s:s*, s:s*}", "nameAvailable", reason == NULL, "reason", reason,
                             "message", message));
}

/* --- deleted vaults --- */

void kl_op_arm_deleted_list(struct kl_op *op)
{
    struct kl_vault **vaults = NULL;
    size_t count = 0;
    json_t *list = json_array();
    enum kl_code code =
        kl_vault_list(op->service->model, KL_STATE_DELETED, &vaults, &count, &op->err);
    for (size_t i = 0; code == KL_OK && i < count; i++)
        if (strcasecmp(vaults[i]->subscription, op->subscription) == 0)
            (void)json_array_append_new(list, kl_arm_deleted_vault(op, vaults[i]));
    if (code == KL_OK)
        kl_vault_list_free(vaults, count);
    reply_list(op, code, list);
}

void kl_op_arm_deleted(struct kl_op *op)
{
    KL_AUTO(vault) vault = NULL;
    enum kl_code code =
        kl_vault_by_name(op->service->model, op->name, KL_STATE_DELETED, &vault, &op->err);
    if (code == KL_OK && (strcasecmp(vault->subscription, op->subscription) != 0 ||
                          strcasecmp(vault->location, op->place) != 0))
        code = kl_fail(&op->err, KL_VAULT_NOT_FOUND, "vault", "There is no such deleted vault");
    if (kl_op_ok(op, code))
        kl_admin_reply(op, 200, kl_arm_deleted_vault(op, vault));
}
