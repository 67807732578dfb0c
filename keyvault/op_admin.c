#include "keyvault/op_admin.h"

#include "keyvault/ops.h"

#include <string.h>

#define ROW(m, p, scope_, permission_, run_, handler_, audit_, summary_)                           \
    {                                                                                              \
        .method = (m), .path = (p), .scope = (scope_), .permission = (permission_), .run = (run_), \
        .handler = (handler_), .audit = (audit_), .summary = (summary_)                            \
    }
#define OPEN(m, p, handler_, audit_, summary_)                                                     \
    ROW(m, p, KL_SCOPE_OPEN, KL_MAY_NOTHING, KL_RUN_LOOP, handler_, audit_, summary_)
#define CALLER(m, p, run_, handler_, audit_, summary_)                                             \
    ROW(m, p, KL_SCOPE_CALLER, KL_MAY_NOTHING, run_, handler_, audit_, summary_)
#define NAMED(m, p, permission_, handler_, audit_, summary_)                                       \
    ROW(m, p, KL_SCOPE_NAMED, permission_, KL_RUN_JOB, handler_, audit_, summary_)
#define ADMIN(m, p, handler_, audit_, summary_)                                                    \
    ROW(m, p, KL_SCOPE_ADMIN, KL_MAY_NOTHING, KL_RUN_JOB, handler_, audit_, summary_)
#define AUDITOR(m, p, handler_, audit_, summary_)                                                  \
    ROW(m, p, KL_SCOPE_AUDITOR, KL_MAY_NOTHING, KL_RUN_LOOP, handler_, audit_, summary_)

const struct kl_route kl_admin_routes[] = {
    /* vaults */
    CALLER("GET", "/kluis/v1/vaults", KL_RUN_READ, kl_op_vault_list, "VaultList",
           "Vaults where the caller has a policy; all for administrators"),
    ADMIN("PUT", "/kluis/v1/vaults/{name}", kl_op_vault_create, "VaultPut", "Make a vault"),
    NAMED("GET", "/kluis/v1/vaults/{name}", KL_MAY_VAULT_GET, kl_op_vault_get, "VaultGet",
          "A vault"),
    NAMED("PATCH", "/kluis/v1/vaults/{name}", KL_MAY_VAULT_UPDATE, kl_op_vault_update, "VaultPatch",
          "Change tags, switch purge protection on"),
    NAMED("DELETE", "/kluis/v1/vaults/{name}", KL_MAY_VAULT_DELETE, kl_op_vault_delete,
          "VaultDelete", "Delete a vault, recoverably"),
    ADMIN("GET", "/kluis/v1/deletedvaults", kl_op_deletedvault_list, "VaultListDeleted",
          "Deleted vaults"),
    ADMIN("GET", "/kluis/v1/deletedvaults/{name}", kl_op_deletedvault_get, "VaultGetDeleted",
          "A deleted vault"),
    ADMIN("POST", "/kluis/v1/deletedvaults/{name}/recover", kl_op_deletedvault_recover,
          "VaultRecover", "Make a deleted vault usable again"),
    ADMIN("DELETE", "/kluis/v1/deletedvaults/{name}", kl_op_deletedvault_purge, "VaultPurge",
          "Destroy a deleted vault and its keys for good; needs the vault's purge permission too"),
    ADMIN("POST", "/kluis/v1/vaults/{name}/attach", kl_op_key_attach, "KeyAttach",
          "Serve a key that was made on the token by somebody else; needs the vault's import "
          "permission too"),
    /* policies */
    NAMED("GET", "/kluis/v1/vaults/{name}/policies", KL_MAY_VAULT_GETPOLICY, kl_op_policy_list,
          "VaultGetPolicies", "Who may do what in a vault"),
    NAMED("PUT", "/kluis/v1/vaults/{name}/policies/{objectId}", KL_MAY_VAULT_SETPOLICY,
          kl_op_policy_set, "VaultSetPolicy", "Set a principal's permissions in a vault"),
    NAMED("DELETE", "/kluis/v1/vaults/{name}/policies/{objectId}", KL_MAY_VAULT_SETPOLICY,
          kl_op_policy_delete, "VaultDeletePolicy", "Take a principal's permissions away"),
    /* roles */
    CALLER("GET", "/kluis/v1/roles", KL_RUN_LOOP, kl_op_role_list, "RoleList",
           "Key Vault's built-in roles and what they hold"),
    NAMED("GET", "/kluis/v1/vaults/{name}/assignments", KL_MAY_VAULT_GETPOLICY,
          kl_op_assignment_list, "VaultGetRoleAssignments", "Who has which role in a vault"),
    NAMED("POST", "/kluis/v1/vaults/{name}/assignments", KL_MAY_VAULT_SETPOLICY,
          kl_op_assignment_add, "VaultAddRoleAssignment",
          "Give a role; it counts where enableRbacAuthorization is on"),
    NAMED("DELETE", "/kluis/v1/vaults/{name}/assignments/{id}", KL_MAY_VAULT_SETPOLICY,
          kl_op_assignment_delete, "VaultDeleteRoleAssignment", "Take a role away"),
    /* principals */
    CALLER("GET", "/kluis/v1/whoami", KL_RUN_LOOP, kl_op_whoami, "Whoami", "Who the caller is"),
    ADMIN("GET", "/kluis/v1/principals", kl_op_principal_list, "PrincipalList", "Principals"),
    ADMIN("POST", "/kluis/v1/principals", kl_op_principal_create, "PrincipalCreate",
          "Make a principal; the answer alone shows its client secret"),
    ADMIN("GET", "/kluis/v1/principals/{objectId}", kl_op_principal_get, "PrincipalGet",
          "A principal"),
    ADMIN("PATCH", "/kluis/v1/principals/{objectId}", kl_op_principal_update, "PrincipalUpdate",
          "Disable or enable a principal, change its roles; acts at once"),
    ADMIN("GET", "/kluis/v1/principals/{objectId}/credentials", kl_op_credential_list,
          "PrincipalListCredentials", "What a principal logs in with, without the secrets"),
    ADMIN("POST", "/kluis/v1/principals/{objectId}/credentials", kl_op_credential_add,
          "PrincipalAddCredential",
          "Add a secret (the answer alone shows it), a certificate or a certificate's subject"),
    ADMIN("DELETE", "/kluis/v1/principals/{objectId}/credentials/{name}", kl_op_credential_delete,
          "PrincipalDeleteCredential", "Take a credential away; acts at once"),
    ADMIN("DELETE", "/kluis/v1/principals/{objectId}", kl_op_principal_delete, "PrincipalDelete",
          "Remove a principal with its policies"),
    /* tokens and audit */
    AUDITOR("GET", "/kluis/v1/tokens", kl_op_token_list, "TokenList", "PKCS#11 tokens"),
    AUDITOR("GET", "/kluis/v1/tokens/{name}", kl_op_token_get, "TokenGet", "A PKCS#11 token"),
    OPEN("POST", "/kluis/v1/tokens/{name}/login", kl_op_token_login, "TokenLogin",
         "Hand its PIN to a token that waits for one; a form with client_id, client_secret (or a "
         "Bearer token) of an administrator, and pin"),
    ROW("GET", "/kluis/v1/tokens/{name}/domain-keys", KL_SCOPE_AUDITOR, KL_MAY_NOTHING, KL_RUN_JOB,
        kl_op_domain_keys, "TokenListDomainKeys",
        "The domain keys of a token, and how many backups need each"),
    AUDITOR("GET", "/kluis/v1/audit/head", kl_op_audit_head, "AuditHead",
            "Newest record of the audit log, and the key of its checkpoints"),
    /* the token service */
    OPEN("POST", "/{name}/oauth2/v2.0/token", kl_op_token_tenant, "TokenIssue",
         "Access token for client credentials; {name} is the tenant"),
    OPEN("POST", "/{name}/oauth2/token", kl_op_token_tenant, "TokenIssue",
         "The same in the older form"),
    OPEN("POST", "/adfs/oauth2/token", kl_op_token_adfs, "TokenIssue",
         "The same for clients that skip instance discovery only here"),
    OPEN("GET", "/metadata/identity/oauth2/token", kl_op_identity_get, "TokenIssue",
         "Managed-identity form, credentials in X-IDENTITY-HEADER or Secret"),
    OPEN("POST", "/metadata/identity/oauth2/token", kl_op_identity_post, "TokenIssue",
         "Managed-identity form, credentials in Secret"),
    OPEN("GET", "/{name}/v2.0/.well-known/openid-configuration", kl_op_openid_v2, NULL,
         "OpenID document of the tenant"),
    OPEN("GET", "/{name}/.well-known/openid-configuration", kl_op_openid_v1, NULL,
         "The same, naming the older token endpoint"),
    OPEN("GET", "/adfs/.well-known/openid-configuration", kl_op_openid_adfs, NULL,
         "OpenID document under /adfs"),
    OPEN("GET", "/{name}/discovery/v2.0/keys", kl_op_jwks, NULL,
         "Keys that access tokens are signed with"),
};

const size_t kl_admin_route_count = KL_COUNT(kl_admin_routes);

enum kl_code kl_admin_members(const struct kl_op *op, const char *const *names, size_t count,
                              struct kl_err *err)
{
    if (op->body == NULL)
        return kl_fail(err, KL_BAD_INPUT, "body", "The request body is missing");
    const char *name;
    json_t *value;
    json_object_foreach(op->body, name, value)
    {
        size_t i = 0;
        while (i < count && strcmp(names[i], name) != 0)
            i++;
        if (i == count)
            return kl_fail(err, KL_BAD_INPUT, "body", "The request body knows no member '%.60s'",
                           name);
    }
    return KL_OK;
}

void kl_admin_reply(struct kl_op *op, int status, json_t *object)
{
    if (object != NULL)
        kl_op_reply(op, status, object);
    else
        (void)kl_op_ok(op, kl_fail(&op->err, KL_NO_MEMORY, "json", "out of memory"));
}

void kl_admin_reply_list(struct kl_op *op, json_t *array)
{
    kl_admin_reply(op, 200, json_pack("{s:o, s:n}", "value", array, "nextLink"));
}

enum kl_code kl_admin_uuid(const char *text, char ret[static KL_UUID_LEN + 1], struct kl_err *err)
{
    if (!kl_uuid_valid(text))
        return kl_fail(err, KL_BAD_INPUT, "uuid", "'%.60s' is not an object id", text);
    for (size_t i = 0; i <= KL_UUID_LEN; i++)
        ret[i] = (char)(text[i] >= 'A' && text[i] <= 'F' ? text[i] + 32 : text[i]);
    return KL_OK;
}

json_t *kl_admin_roles(unsigned roles)
{
    json_t *words = json_array();
    if ((roles & KL_ROLE_ADMINISTRATOR) != 0)
        (void)json_array_append_new(words, json_string("administrator"));
    if ((roles & KL_ROLE_AUDITOR) != 0)
        (void)json_array_append_new(words, json_string("auditor"));
    return words;
}
