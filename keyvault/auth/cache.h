/* Verified tokens by the SHA-256 of the whole Authorization value, so that a token seen before
 * costs one hash. Bounded; locks are per shard. Thread safe. */
#ifndef KL_KEYVAULT_TOKEN_CACHE_H
#define KL_KEYVAULT_TOKEN_CACHE_H

#include "keyvault/auth/jwt.h"

#define KL_TOKEN_CACHE_ENTRIES 4096
#define KL_TOKEN_DIGEST_LEN    32

struct kl_token_cache;

/** NULL without memory. */
struct kl_token_cache *kl_token_cache_new(void);
void kl_token_cache_free(struct kl_token_cache *c);

/** The claims that were put for this digest, if they have not expired at `now` (unix seconds). */
bool kl_token_cache_get(struct kl_token_cache *c, const uint8_t digest[static KL_TOKEN_DIGEST_LEN],
                        int64_t now, struct kl_jwt_claims *ret);
/** Remember; may push out the entry of its set that expires first. Only for what kl_jwt_verify
 * accepted. */
void kl_token_cache_put(struct kl_token_cache *c, const uint8_t digest[static KL_TOKEN_DIGEST_LEN],
                        const struct kl_jwt_claims *claims);

KL_AUTO_DEFINE(token_cache, struct kl_token_cache, kl_token_cache_free);

#endif
