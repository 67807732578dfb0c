/* How much one vault, and one caller in it, may ask for: Key Vault's service limits, or a site's
 * own. GCRA (a leaky bucket kept as one number): no lock, no allocation, a table of fixed size.
 *
 * Budgets are units in ten seconds. A key operation costs by its key, as Key Vault's table weighs
 * them: RSA-2048 and curves 1, RSA-3072 4, RSA-4096 8; twice that for a key that answers as -HSM.
 * What is refused costs nothing. Source: learn.microsoft.com, "Azure Key Vault service limits". */
#ifndef KL_KEYVAULT_LIMIT_H
#define KL_KEYVAULT_LIMIT_H

#include "base/conf.h"
#include "keyvault/op.h"

/** A [limits] section. */
struct kl_limit_config {
    char *profile; /* off, azure, custom */
    int64_t key_operations, key_creations, secret_creations, requests;
    int64_t caller_percent;       /* of a vault's budget that one caller may take */
    int64_t subscription_percent; /* of a vault's budget that all vaults of a subscription share */
};

/** The kind of section, for config.c. */
const struct kl_conf_section *kl_limit_conf_section(void);

struct kl_limits;

/** Make the table. KL_NO_MEMORY. */
enum kl_code kl_limits_new(const struct kl_limit_config *config, struct kl_limits **ret,
                           struct kl_err *err) KL_MUST_USE;
void kl_limits_free(struct kl_limits *l);

/** Charge a request by its route row; operations with a key are charged by kl_limit_key instead.
 * KL_THROTTLED, with the wait in *ret_wait_ms (from 1). Rows outside of a vault are free. */
enum kl_code kl_limit_request(struct kl_limits *l, const struct kl_op *op, int64_t *ret_wait_ms,
                              struct kl_err *err) KL_MUST_USE;
/** Charge an operation with the key that op->key names. */
enum kl_code kl_limit_key(struct kl_limits *l, const struct kl_op *op, int64_t *ret_wait_ms,
                          struct kl_err *err) KL_MUST_USE;

#endif
