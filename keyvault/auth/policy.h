/* Key Vault's permission words as bits. Pure tables. */
#ifndef KL_KEYVAULT_POLICY_H
#define KL_KEYVAULT_POLICY_H

#include "base/json.h"
#include "keyvault/auth/authorize.h"

/** The kind of a permission; KL_PERM_KEYS for KL_MAY_NOTHING, whose bit is 0. */
enum kl_permission_kind kl_permission_kind_of(enum kl_permission p);
/** The word ("wrapKey"); "" for KL_MAY_NOTHING. */
const char *kl_permission_word(enum kl_permission p);
/** The member name of a kind ("keys"). */
const char *kl_permission_kind_word(enum kl_permission_kind kind);
/** The bit of a permission within kl_policy.allowed[kind]; 0 for KL_MAY_NOTHING. */
uint64_t kl_permission_bit(enum kl_permission p);
/** Every bit of a kind ("all"). Secrets and certificates have their words here too, so that
 * policies written today hold for them. */
uint64_t kl_permission_all(enum kl_permission_kind kind);
/** {"keys":["get",…],…} -> ret->allowed (object_id is left alone); words in any case, "all"; an
 * unknown word or kind is KL_BAD_INPUT naming it. */
enum kl_code kl_policy_parse(const json_t *permissions, struct kl_policy *ret,
                             struct kl_err *err) KL_MUST_USE;
/** The reverse, every kind present; new reference, NULL without memory. */
json_t *kl_policy_format(const struct kl_policy *p);

/** Whether the policy holds this permission; never for KL_MAY_NOTHING. */
bool kl_policy_allows(const struct kl_policy *p, enum kl_permission permission);
/** The vault's policy for a principal, or NULL; borrowed from the vault. */
const struct kl_policy *kl_policy_of(const struct kl_vault *vault, const char *object_id);

#endif
