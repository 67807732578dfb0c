/* Key Vault's built-in roles (RBAC) as permission masks. Pure tables.
 * Source: learn.microsoft.com, "Azure built-in roles", section Security; the ids are Azure's. */
#ifndef KL_KEYVAULT_ROLES_H
#define KL_KEYVAULT_ROLES_H

#include "keyvault/model/object.h"

struct kl_role_row {
    const char *id;   /* a lower-case UUID */
    const char *name; /* "Key Vault Crypto Officer" */
};

/** By id or name, any case; NULL = no such role. Static. */
const struct kl_role_row *kl_role_find(const char *id_or_name);
/** The index-th role, NULL behind the last. */
const struct kl_role_row *kl_role_at(size_t index);
/** Add what the role (an id) allows to *to; nothing for an unknown one. */
void kl_role_add(const char *id, struct kl_policy *to);

#endif
