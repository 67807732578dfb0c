/* The management API of Azure Resource Manager, as far as `az keyvault` and the management SDKs use
 * it for vaults. It has no state of its own: its vaults, policies and deletions are those of
 * /kluis/v1, by the same calls into the model.
 *
 * What has no counterpart here is fixed or refused, never taken and forgotten:
 * - A subscription is the label of that name of a vault. A resource group is a word in the path:
 *   any may be given, none is kept, and ids say the one that was asked for, else "kluis".
 * - accessPolicies are the parts keys, secrets and certificates of our policies. The part vault
 *   (who may delete the vault, set policies) has no words in ARM; it is neither shown nor changed.
 * - Network rules, private endpoints and the deployment switches are refused.
 *
 * Sources: Azure REST reference, Microsoft.KeyVault 2022-07-01 (Vaults) and Microsoft.Resources;
 * requests seen from Debian's azure-cli 2.45.0. */
#ifndef KL_KEYVAULT_ARM_H
#define KL_KEYVAULT_ARM_H

#include "keyvault/op.h"

#define KL_ARM_GROUP "kluis" /* the resource group of ids where the path names none */

extern const struct kl_route kl_arm_routes[];
extern const size_t kl_arm_route_count;

/* op_arm.c */
kl_op_handler kl_op_arm_metadata, kl_op_arm_subscriptions, kl_op_arm_resources, kl_op_arm_groups,
    kl_op_arm_group, kl_op_arm_vaults, kl_op_arm_no_hsms, kl_op_arm_name, kl_op_arm_vault,
    kl_op_arm_deleted_list, kl_op_arm_deleted;
/* op_arm_vault.c */
kl_op_handler kl_op_arm_put, kl_op_arm_patch, kl_op_arm_delete, kl_op_arm_policies, kl_op_arm_purge,
    kl_op_arm_purge_result;

/* --- arm_json.c: new references, NULL without memory --- */

/** "/subscriptions/S/resourceGroups/G/providers/Microsoft.KeyVault/vaults/NAME". */
json_t *kl_arm_vault_id(const struct kl_op *op, const struct kl_vault *v);
/** A vault; accessPolicies only where the caller may read policies. */
json_t *kl_arm_vault(const struct kl_op *op, const struct kl_vault *v);
/** A vault as a row of /resources. */
json_t *kl_arm_resource(const struct kl_op *op, const struct kl_vault *v);
json_t *kl_arm_deleted_vault(const struct kl_op *op, const struct kl_vault *v);
/** The data parts of its policies. */
json_t *kl_arm_policies(const struct kl_op *op, const struct kl_vault *v);

/* --- arm_policies.c --- */

/** What a list of access policies means for a vault. */
enum kl_arm_merge { KL_ARM_ALL, KL_ARM_ADD, KL_ARM_REPLACE, KL_ARM_REMOVE };

struct kl_arm_policies {
    bool given; /* there was a list, be it empty */
    struct kl_policy *items;
    size_t count;
};
#define KL_ARM_POLICIES_INIT                                                                       \
    (struct kl_arm_policies)                                                                       \
    {                                                                                              \
        .given = false                                                                             \
    }

/** Member accessPolicies of `properties`, absent or null = not given. Words of the kind storage are
 * dropped: there are no storage accounts to give rights to. KL_BAD_INPUT (another tenant, a
 * compound identity, an unknown principal or word, an object id twice). */
enum kl_code kl_arm_policies_read(const struct kl_op *op, const json_t *properties,
                                  struct kl_arm_policies *ret, struct kl_err *err) KL_MUST_USE;
void kl_arm_policies_done(struct kl_arm_policies *p);
/** Make the vault's policies what the list says; those that stay as they are are not written. Needs
 * the caller's setPolicy as soon as anything changes. *vault, a reference, is replaced by a newer
 * one. */
enum kl_code kl_arm_policies_apply(struct kl_op *op, const struct kl_arm_policies *list,
                                   enum kl_arm_merge how, struct kl_vault **vault) KL_MUST_USE;

#endif
