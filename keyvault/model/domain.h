/* Domain keys of a token, as backups need them: which one is current, which one a blob names, and
 * the seal that a domain puts on one. Private to the model. Every call blocks for token calls; no
 * store session may be open.
 *
 * A domain is named in blobs by 32 bytes: the 16 of the domain key's id, then 16 of the SHA-256 of
 * its MAC of a fixed label, which tell two keys apart that claim one id. A domain key from before
 * they had ids is named by the whole SHA-256 of the MAC that the service's own key makes. */
#ifndef KL_KEYVAULT_MODEL_DOMAIN_H
#define KL_KEYVAULT_MODEL_DOMAIN_H

#include "pkcs11/token.h"

#define KL_DOMAIN_NAME_LEN 32
#define KL_DOMAIN_SEAL_LEN 32
#define KL_DOMAIN_MOST     16 /* on one token */

struct kl_seal_domain {
    uint8_t name[KL_DOMAIN_NAME_LEN];
    struct kl_token_domain key;
};

/** All domain keys of the token whose halves are both there, oldest first. */
enum kl_code kl_domain_list(struct kl_token *token,
                            struct kl_seal_domain ret[static KL_DOMAIN_MOST], size_t *ret_count,
                            struct kl_err *err) KL_MUST_USE;

/** The one that new backups are made under. KL_TOKEN_UNSUPPORTED when the token has none. */
enum kl_code kl_domain_current(struct kl_token *token, struct kl_seal_domain *ret,
                               struct kl_err *err) KL_MUST_USE;

/** The one that a blob names. KL_BACKUP_DOMAIN. */
enum kl_code kl_domain_named(struct kl_token *token, const uint8_t name[static KL_DOMAIN_NAME_LEN],
                             struct kl_seal_domain *ret, struct kl_err *err) KL_MUST_USE;

/** The domain's MAC of label (with its NUL) and the SHA-256 of n bytes. label: at most 63
 * characters, one for each kind of blob. */
enum kl_code kl_domain_seal(struct kl_token *token, const struct kl_seal_domain *domain,
                            const char *label, const void *content, size_t n,
                            uint8_t ret[static KL_DOMAIN_SEAL_LEN], struct kl_err *err) KL_MUST_USE;

/** As above, compared in constant time. KL_BACKUP_MALFORMED. */
enum kl_code kl_domain_check_seal(struct kl_token *token, const struct kl_seal_domain *domain,
                                  const char *label, const void *content, size_t n,
                                  const uint8_t seal[static KL_DOMAIN_SEAL_LEN],
                                  struct kl_err *err) KL_MUST_USE;

#endif
