#include "keyvault/arm.h"

#include "base/clock.h"
#include "keyvault/auth/issuer.h"
#include "keyvault/auth/origin.h"
#include "keyvault/auth/policy.h"
#include "keyvault/service.h"

#include <string.h>

#define PROVIDER "Microsoft.KeyVault"

static json_t *tags_object(const struct kl_vault *v)
{
    json_t *tags = NULL;
    if (v->tags_json != NULL &&
        kl_json_parse(v->tags_json, strlen(v->tags_json), &tags, NULL) == KL_OK)
        return tags;
    return json_object();
}

/* The group that the caller asked with, as ids are compared with it. */
static const char *group_of(const struct kl_op *op)
{
    bool grouped = strstr(op->route->path, "{group}") != NULL;
    return grouped && op->place[0] != 0 ? op->place : KL_ARM_GROUP;
}

json_t *kl_arm_vault_id(const struct kl_op *op, const struct kl_vault *v)
{
    return json_sprintf("/subscriptions/%s/resourceGroups/%s/providers/" PROVIDER "/vaults/%s",
                        v->subscription, group_of(op), v->name);
}

static json_t *vault_uri(const struct kl_vault *v)
{
    struct kl_buf url = KL_BUF_INIT(KL_AUDIENCE_MAX);
    if (v->origin_count == 0)
        return json_null();
    kl_origin_put(&url, &v->origins[0]);
    kl_buf_puts(&url, "/");
    json_t *text = json_string(kl_buf_text(&url));
    kl_buf_done(&url);
    return text;
}

static bool has_data_part(const struct kl_policy *p)
{
    uint64_t any = 0;
    for (size_t kind = 0; kind < KL_PERM_KINDS; kind++)
        any |= kind == KL_PERM_VAULT ? 0 : p->allowed[kind];
    return any != 0;
}

json_t *kl_arm_policies(const struct kl_op *op, const struct kl_vault *v)
{
    const char *tenant = kl_issuer_tenant(op->service->authenticator);
    json_t *list = json_array();
    for (size_t i = 0; i < v->policy_count; i++) {
        if (!has_data_part(&v->policies[i]))
            continue;
        json_t *words = kl_policy_format(&v->policies[i]);
        (void)json_object_del(words, kl_permission_kind_word(KL_PERM_VAULT));
        (void)json_array_append_new(list,
                                    json_pack("{s:s, s:s, s:o}", "tenantId", tenant, "objectId",
                                              v->policies[i].object_id, "permissions", words));
    }
    return list;
}

static json_t *vault_properties(const struct kl_op *op, const struct kl_vault *v)
{
    struct kl_policy rights;
    bool manager =
        kl_rights_of(v, &op->caller, &rights) && kl_policy_allows(&rights, KL_MAY_VAULT_GETPOLICY);
    json_t *properties = json_pack(
        "{s:{s:s, s:s}, s:s, s:o, s:s, s:s, s:b, s:i, s:b, s:b, s:b, s:b}", "sku", "family", "A",
        "name", "standard", "tenantId", kl_issuer_tenant(op->service->authenticator), "vaultUri",
        vault_uri(v), "provisioningState", "Succeeded", "publicNetworkAccess", "Enabled",
        "enableSoftDelete", 1, "softDeleteRetentionInDays", v->retention_days,
        "enableRbacAuthorization", v->rbac, "enabledForDeployment", 0, "enabledForDiskEncryption",
        0, "enabledForTemplateDeployment", 0);
    if (v->purge_protection) /* never false, as clients would echo that */
        (void)json_object_set_new(properties, "enablePurgeProtection", json_true());
    if (manager)
        (void)json_object_set_new(properties, "accessPolicies", kl_arm_policies(op, v));
    return properties;
}

json_t *kl_arm_resource(const struct kl_op *op, const struct kl_vault *v)
{
    return json_pack("{s:o, s:s, s:s, s:s, s:o}", "id", kl_arm_vault_id(op, v), "name", v->name,
                     "type", PROVIDER "/vaults", "location", v->location, "tags", tags_object(v));
}

json_t *kl_arm_vault(const struct kl_op *op, const struct kl_vault *v)
{
    json_t *vault = kl_arm_resource(op, v);
    if (vault != NULL)
        (void)json_object_set_new(vault, "properties", vault_properties(op, v));
    return vault;
}

static json_t *date(int64_t unix_s)
{
    char text[32];
    kl_clock_iso(unix_s * 1000, text);
    return json_string(text);
}

json_t *kl_arm_deleted_vault(const struct kl_op *op, const struct kl_vault *v)
{
    json_t *properties = json_pack("{s:o, s:s, s:o, s:o, s:o}", "vaultId", kl_arm_vault_id(op, v),
                                   "location", v->location, "tags", tags_object(v), "deletionDate",
                                   date(v->deleted_at), "scheduledPurgeDate", date(v->purge_at));
    if (v->purge_protection)
        (void)json_object_set_new(properties, "purgeProtectionEnabled", json_true());
    return json_pack("{s:o, s:s, s:s, s:o}", "id",
                     json_sprintf("/subscriptions/%s/providers/" PROVIDER
                                  "/locations/%s/deletedVaults/%s",
                                  v->subscription, v->location, v->name),
                     "name", v->name, "type", PROVIDER "/deletedVaults", "properties", properties);
}
