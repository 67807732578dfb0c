/* The rows of the service API (/kluis/v1) and of the token service, and the few steps that their
 * handlers share. The handlers are in op_vaults.c, op_policies.c, op_principals.c, op_tokens.c and
 * op_identity.c; op.h says how one ends. */
#ifndef KL_KEYVAULT_OP_ADMIN_H
#define KL_KEYVAULT_OP_ADMIN_H

#include "keyvault/op.h"
#include "keyvault/service.h"

extern const struct kl_route kl_admin_routes[];
extern const size_t kl_admin_route_count;

/* op_vaults.c */
kl_op_handler kl_op_vault_list, kl_op_vault_create, kl_op_vault_get, kl_op_vault_update,
    kl_op_vault_delete, kl_op_deletedvault_list, kl_op_deletedvault_get, kl_op_deletedvault_recover,
    kl_op_deletedvault_purge;
/** Make the vault op->name from the body of PUT /kluis/v1/vaults/NAME; change op->vault by that of
 * PATCH. The caller has checked that they may. */
enum kl_code kl_admin_make_vault(struct kl_op *op, struct kl_vault **ret) KL_MUST_USE;
enum kl_code kl_admin_change_vault(struct kl_op *op, struct kl_vault **ret) KL_MUST_USE;
/* op_policies.c */
kl_op_handler kl_op_policy_list, kl_op_policy_set, kl_op_policy_delete;
/* op_principals.c */
kl_op_handler kl_op_whoami, kl_op_principal_list, kl_op_principal_create, kl_op_principal_get,
    kl_op_principal_update, kl_op_principal_delete;
/* op_credentials.c */
kl_op_handler kl_op_credential_list, kl_op_credential_add, kl_op_credential_delete;
/* op_roles.c */
kl_op_handler kl_op_role_list, kl_op_assignment_list, kl_op_assignment_add, kl_op_assignment_delete;
/** The part of a vault's update that says whether policies or roles decide there: for who may set
 * both, and never so that nobody could set either any more. *vault is the answer so far; it is
 * replaced by a new reference. */
enum kl_code kl_admin_set_rbac(struct kl_op *op, struct kl_vault **vault) KL_MUST_USE;
/* op_tokens.c */
kl_op_handler kl_op_token_list, kl_op_token_get, kl_op_audit_head;
/* op_domain.c */
kl_op_handler kl_op_domain_keys;
/* op_login.c */
kl_op_handler kl_op_token_login;
/* op_identity.c */
kl_op_handler kl_op_openid_v2, kl_op_openid_v1, kl_op_openid_adfs, kl_op_jwks;
/* op_grant.c */
kl_op_handler kl_op_token_tenant, kl_op_token_adfs, kl_op_identity_get, kl_op_identity_post;

/** The body must be an object with no members but these: a misspelt "enablePurgeProtection" must
 * not pass unseen. KL_BAD_INPUT naming the stranger. */
enum kl_code kl_admin_members(const struct kl_op *op, const char *const *names, size_t count,
                              struct kl_err *err) KL_MUST_USE;
/** End with an object, whose reference is taken; NULL = it could not be made for want of memory. */
void kl_admin_reply(struct kl_op *op, int status, json_t *object);
/** End with {"value":[…],"nextLink":null}; the array's reference is taken. */
void kl_admin_reply_list(struct kl_op *op, json_t *array);
/** Lower-case copy of a UUID; KL_BAD_INPUT for anything else. */
enum kl_code kl_admin_uuid(const char *text, char ret[static KL_UUID_LEN + 1],
                           struct kl_err *err) KL_MUST_USE;
/** ["administrator", …]; new reference. */
json_t *kl_admin_roles(unsigned roles);

/* op_import.c */
kl_op_handler kl_op_key_attach;

#endif
