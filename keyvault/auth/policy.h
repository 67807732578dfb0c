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
/** The bits that a word in any case stands for, "all" too; 0 = no such word. */
uint64_t kl_permission_bits(enum kl_permission_kind kind, const char *word);
/** {"keys":["get",…],…} -> ret->allowed (object_id is left alone); words in any case, "all"; an
 * unknown word or kind is KL_BAD_INPUT naming it. */
enum kl_code kl_policy_parse(const json_t *permissions, struct kl_policy *ret,
                             struct kl_err *err) KL_MUST_USE;
/** The reverse, every kind present; new reference, NULL without memory. */
json_t *kl_policy_format(const struct kl_policy *p);

/** Whether the policy holds this permission; never for KL_MAY_NOTHING. */
bool kl_policy_allows(const struct kl_policy *p, enum kl_permission permission);
/** Everything that the caller may in the vault, by itself and by its groups; false when nothing
 * there names any of them. Policies decide, or role assignments where the vault says so. */
bool kl_rights_of(const struct kl_vault *vault, const struct kl_caller *caller,
                  struct kl_policy *ret);
/** Whether anybody may set policies and roles in the vault, leaving out `except` (NULL, a policy's
 * object id, or an assignment's id where roles decide). */
bool kl_vault_has_manager(const struct kl_vault *vault, const char *except);

#endif
