/* What the management API changes. A body is checked, turned into that of /kluis/v1, and handed to
 * the same code. */
#include "keyvault/arm.h"

#include "base/buf.h"
#include "keyvault/auth/issuer.h"
#include "keyvault/auth/origin.h"
#include "keyvault/auth/roles.h"
#include "keyvault/op_admin.h"
#include "keyvault/ops.h"

#include <strings.h>
#include <string.h>

/* Members of properties that this service knows. */
enum taken {
    PASSED,   /* on to /kluis/v1 under the same name */
    READ,     /* here, or without a meaning */
    NOT_TRUE, /* a switch that cannot be on */
    NOT_SET,  /* what cannot be configured here: only null and empty */
};

static const struct member {
    const char *name;
    enum taken taken;
} members[] = {
    {"enableSoftDelete", PASSED},
    {"softDeleteRetentionInDays", PASSED},
    {"enablePurgeProtection", PASSED},
    {"enableRbacAuthorization", PASSED},
    {"tenantId", READ},
    {"sku", READ},
    {"accessPolicies", READ},
    {"createMode", READ},
    {"vaultUri", READ},
    {"provisioningState", READ},
    {"hsmPoolResourceId", READ},
    {"publicNetworkAccess", READ},
    {"networkAcls", READ},
    {"enabledForDeployment", NOT_TRUE},
    {"enabledForDiskEncryption", NOT_TRUE},
    {"enabledForTemplateDeployment", NOT_TRUE},
    {"privateEndpointConnections", NOT_SET},
};

static const struct member *member_of(const char *name)
{
    for (size_t i = 0; i < KL_COUNT(members); i++)
        if (strcmp(members[i].name, name) == 0)
            return &members[i];
    return NULL;
}

/* A rule that is taken and not kept would be worse than none. */
static enum kl_code check_network(const json_t *properties, struct kl_err *err)
{
    const json_t *acls = json_object_get(properties, "networkAcls");
    const char *action = NULL, *access = NULL;
    enum kl_code code = kl_json_string(properties, "publicNetworkAccess", &access, err);
    if (code == KL_OK && json_is_object(acls))
        code = kl_json_string(acls, "defaultAction", &action, err);
    if (code != KL_OK)
        return code;
    if ((access != NULL && strcasecmp(access, "Enabled") != 0) ||
        (action != NULL && strcasecmp(action, "Allow") != 0) ||
        json_array_size(json_object_get(acls, "ipRules")) > 0 ||
        json_array_size(json_object_get(acls, "virtualNetworkRules")) > 0)
        return kl_fail(err, KL_BAD_INPUT, "networkAcls",
                       "This service has no network rules; use the firewall of its machine");
    return KL_OK;
}

static enum kl_code check_tenant(const struct kl_op *op, const json_t *properties,
                                 struct kl_err *err)
{
    const char *tenant = NULL;
    enum kl_code code = kl_json_string(properties, "tenantId", &tenant, err);
    if (code == KL_OK && tenant != NULL &&
        strcasecmp(tenant, kl_issuer_tenant(op->service->authenticator)) != 0)
        return kl_fail(err, KL_BAD_INPUT, "tenantId",
                       "This service has one tenant, and not this one");
    return code;
}

static enum kl_code pass_member(const struct member *m, json_t *value, json_t *to,
                                struct kl_err *err)
{
    bool empty = json_is_null(value) || (json_is_array(value) && json_array_size(value) == 0);
    if ((m->taken == NOT_TRUE && json_is_true(value)) || (m->taken == NOT_SET && !empty))
        return kl_fail(err, KL_BAD_INPUT, "properties", "This service does not support %s",
                       m->name);
    if (m->taken == PASSED && !empty)
        (void)json_object_set(to, m->name, value);
    return KL_OK;
}

/* properties -> a body of /kluis/v1, a new reference. */
static enum kl_code translate(const struct kl_op *op, json_t *properties, json_t **ret,
                              struct kl_err *err)
{
    KL_AUTO(json) to = json_object();
    json_t *tags = json_object_get(op->body, "tags");
    const char *name;
    json_t *value;
    enum kl_code code = check_network(properties, err);
    if (code == KL_OK)
        code = check_tenant(op, properties, err);
    json_object_foreach(properties, name, value)
    {
        const struct member *m = member_of(name);
        if (code == KL_OK && m == NULL)
            code =
                kl_fail(err, KL_BAD_INPUT, "properties", "properties has no member '%.60s'", name);
        if (code == KL_OK)
            code = pass_member(m, value, to, err);
    }
    if (tags != NULL && !json_is_null(tags))
        (void)json_object_set(to, "tags", tags);
    if (code == KL_OK)
        *ret = kl_take(to);
    return code;
}

/* --- make --- */

static json_t *new_origins(const struct kl_op *op)
{
    const char *domain = op->service->config->service->vault_domain;
    struct kl_origin origin = op->service->origin;
    bool given = domain != NULL && kl_origin_parse(domain, &origin, NULL) == KL_OK;
    return json_pack("[o]", json_sprintf("%s.%s%s:%u", op->name, given ? "" : "vault.", origin.host,
                                         (unsigned)origin.port));
}

/* Whoever makes a vault can manage it; where policies are given, they alone say who may use it. */
static enum kl_code settle_owner(struct kl_op *op, const struct kl_arm_policies *policies,
                                 bool rbac, struct kl_vault **vault)
{
    struct kl_assignment made;
    struct kl_vault *fresh = NULL;
    enum kl_code code = kl_arm_policies_apply(op, policies, KL_ARM_ALL, vault);
    if (code != KL_OK || !rbac)
        return code;
    const char *name = (*vault)->name;
    code = kl_assignment_add(op->service->model, name, op->caller.who.object_id,
                             kl_role_find("Owner")->id, &made, &op->err);
    if (code == KL_OK)
        code = kl_vault_set_rbac(op->service->model, name, true, &fresh, &op->err);
    if (code != KL_OK)
        return code;
    kl_vault_unref(*vault);
    *vault = fresh;
    return KL_OK;
}

static enum kl_code make(struct kl_op *op, json_t *to, const struct kl_arm_policies *policies,
                         struct kl_vault **ret)
{
    const char *location = NULL;
    bool rbac = false;
    KL_AUTO(vault) vault = NULL;
    enum kl_code code = kl_json_string(op->body, "location", &location, &op->err);
    if (code == KL_OK)
        code = kl_json_bool(to, "enableRbacAuthorization", &rbac, &op->err);
    if (code != KL_OK)
        return code;
    (void)json_object_del(to, "enableRbacAuthorization");
    (void)json_object_set_new(to, "subscription", json_string(op->subscription));
    if (location != NULL)
        (void)json_object_set_new(to, "location", json_string(location));
    (void)json_object_set_new(to, "origins", new_origins(op));
    json_decref(op->body);
    op->body = json_incref(to);
    code = kl_admin_make_vault(op, &vault);
    if (code == KL_OK)
        code = settle_owner(op, policies, rbac, &vault);
    if (code == KL_OK)
        *ret = kl_take(vault);
    return code;
}

/* --- change --- */

/* What is fixed at creation may be repeated, as clients echo what they read. */
static enum kl_code check_fixed(const struct kl_op *op, json_t *to, struct kl_err *err)
{
    int64_t days = op->vault->retention_days;
    const char *location = NULL;
    enum kl_code code = kl_json_int(to, "softDeleteRetentionInDays", 7, 90, &days, err);
    if (code == KL_OK)
        code = kl_json_string(op->body, "location", &location, err);
    if (code != KL_OK)
        return code;
    if (days != op->vault->retention_days)
        return kl_fail(err, KL_BAD_INPUT, "softDeleteRetentionInDays",
                       "softDeleteRetentionInDays is fixed when a vault is made (%d here)",
                       op->vault->retention_days);
    if (location != NULL && strcasecmp(location, op->vault->location) != 0)
        return kl_fail(err, KL_BAD_INPUT, "location",
                       "The location is fixed when a vault is made (%s here)", op->vault->location);
    (void)json_object_del(to, "softDeleteRetentionInDays");
    return KL_OK;
}

static enum kl_code alter(struct kl_op *op, json_t *to, const struct kl_arm_policies *policies,
                          struct kl_vault **ret)
{
    KL_AUTO(vault) vault = NULL;
    enum kl_code code = check_fixed(op, to, &op->err);
    if (code != KL_OK)
        return code;
    json_decref(op->body);
    op->body = json_incref(to);
    code = kl_admin_change_vault(op, &vault);
    if (code == KL_OK)
        code = kl_arm_policies_apply(op, policies, KL_ARM_ALL, &vault);
    if (code == KL_OK)
        *ret = kl_take(vault);
    return code;
}

static enum kl_code get_properties(struct kl_op *op, json_t **ret)
{
    *ret = json_object_get(op->body, "properties");
    if (json_is_object(*ret))
        return KL_OK;
    return kl_fail(&op->err, KL_BAD_INPUT, "properties",
                   "The request body needs an object 'properties'");
}

static enum kl_code put(struct kl_op *op, struct kl_vault **ret)
{
    KL_AUTO(json) to = NULL;
    json_t *properties = NULL;
    const char *mode = NULL;
    struct kl_arm_policies policies = KL_ARM_POLICIES_INIT;
    enum kl_code code = get_properties(op, &properties);
    if (code == KL_OK)
        code = kl_json_string(properties, "createMode", &mode, &op->err);
    if (code == KL_OK)
        code = translate(op, properties, &to, &op->err);
    if (code == KL_OK)
        code = kl_arm_policies_read(op, properties, &policies, &op->err);
    if (code == KL_OK && op->vault != NULL)
        code = alter(op, to, &policies, ret);
    else if (code == KL_OK && mode != NULL && strcasecmp(mode, "recover") == 0)
        code = kl_vault_recover(op->service->model, op->name, ret, &op->err);
    else if (code == KL_OK)
        code = make(op, to, &policies, ret);
    kl_arm_policies_done(&policies);
    return code;
}

void kl_op_arm_put(struct kl_op *op)
{
    KL_AUTO(vault) vault = NULL;
    bool there = op->vault != NULL;
    if (kl_op_ok(op, put(op, &vault)))
        kl_admin_reply(op, there ? 200 : 201, kl_arm_vault(op, vault));
}

/* As PUT, but properties may be left out; the vault is there. */
void kl_op_arm_patch(struct kl_op *op)
{
    KL_AUTO(vault) vault = NULL;
    enum kl_code code = kl_op_need_body(op);
    if (code == KL_OK && json_object_get(op->body, "properties") == NULL)
        (void)json_object_set_new(op->body, "properties", json_object());
    if (code == KL_OK)
        code = put(op, &vault);
    if (kl_op_ok(op, code))
        kl_admin_reply(op, 200, kl_arm_vault(op, vault));
}

void kl_op_arm_delete(struct kl_op *op)
{
    KL_AUTO(vault) vault = NULL;
    if (kl_op_ok(op, kl_vault_delete(op->service->model, op->vault->name, &vault, &op->err)))
        kl_admin_reply(op, 200, json_object());
}

void kl_op_arm_policies(struct kl_op *op)
{
    static const struct {
        const char *word;
        enum kl_arm_merge how;
    } kinds[] = {{"add", KL_ARM_ADD}, {"replace", KL_ARM_REPLACE}, {"remove", KL_ARM_REMOVE}};
    KL_AUTO(vault) vault = kl_vault_ref(op->vault);
    json_t *properties = NULL;
    struct kl_arm_policies policies = KL_ARM_POLICIES_INIT;
    size_t k = 0;
    while (k < KL_COUNT(kinds) && strcasecmp(kinds[k].word, op->version) != 0)
        k++;
    enum kl_code code = k < KL_COUNT(kinds)
                            ? get_properties(op, &properties)
                            : kl_fail(&op->err, KL_BAD_INPUT, "accessPolicies",
                                      "Access policies can be changed by add, replace and remove");
    if (code == KL_OK)
        code = kl_arm_policies_read(op, properties, &policies, &op->err);
    if (code == KL_OK)
        code = kl_arm_policies_apply(op, &policies, kinds[k].how, &vault);
    kl_arm_policies_done(&policies);
    if (!kl_op_ok(op, code))
        return;
    json_t *id = kl_arm_vault_id(op, vault);
    kl_admin_reply(op, 200,
                   json_pack("{s:o, s:s, s:s, s:s, s:{s:o}}", "id", id, "name", vault->name, "type",
                             "Microsoft.KeyVault/vaults/accessPolicies", "location",
                             vault->location, "properties", "accessPolicies",
                             kl_arm_policies(op, vault)));
}

/* --- purge: done when it is answered, but ARM's clients want to ask --- */

static enum kl_code purge(struct kl_op *op)
{
    KL_AUTO(vault) vault = NULL;
    enum kl_code code =
        kl_vault_by_name(op->service->model, op->name, KL_STATE_DELETED, &vault, &op->err);
    if (code == KL_OK && (strcasecmp(vault->subscription, op->subscription) != 0 ||
                          strcasecmp(vault->location, op->place) != 0))
        code = kl_fail(&op->err, KL_VAULT_NOT_FOUND, "vault", "There is no such deleted vault");
    if (code == KL_OK)
        code = kl_authorize(&op->caller, KL_SCOPE_NAMED, KL_MAY_VAULT_PURGE, vault,
                            op->route->audit, &op->err);
    return code == KL_OK ? kl_vault_purge(op->service->model, op->name, &op->err) : code;
}

/* Names of the path, which server.c has checked: only blanks need an escape. */
static void put_segment(struct kl_buf *url, const char *text)
{
    for (; *text != 0; text++)
        kl_buf_puts(url, *text == ' ' ? "%20" : (const char[]){*text, 0});
}

static void reply_accepted(struct kl_op *op)
{
    struct kl_buf url = KL_BUF_INIT(4096);
    kl_origin_put(&url, &op->origin);
    kl_buf_puts(&url, "/subscriptions/");
    put_segment(&url, op->subscription);
    kl_buf_puts(&url, "/providers/Microsoft.KeyVault/locations/");
    put_segment(&url, op->place);
    kl_buf_puts(&url, "/operationResults/");
    put_segment(&url, op->name);
    kl_buf_puts(&url, "?api-version=2022-07-01");
    kl_op_reply_accepted(op, kl_buf_text(&url));
    kl_buf_done(&url);
}

void kl_op_arm_purge(struct kl_op *op)
{
    if (kl_op_ok(op, purge(op)))
        reply_accepted(op);
}

void kl_op_arm_purge_result(struct kl_op *op)
{
    KL_AUTO(vault) vault = NULL;
    if (kl_vault_by_name(op->service->model, op->name, KL_STATE_DELETED, &vault, NULL) == KL_OK)
        reply_accepted(op);
    else
        kl_admin_reply(op, 200, json_object());
}
