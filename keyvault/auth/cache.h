/* Callers by the SHA-256 of the whole Authorization value that showed who they are, so that a token
 * seen before costs one hash: no signature, no look-up of a principal. What is remembered carries
 * the generation of principals and keys that it was made under and is worth nothing under another
 * one. Bounded; locks are per shard. Thread safe. */
#ifndef KL_KEYVAULT_TOKEN_CACHE_H
#define KL_KEYVAULT_TOKEN_CACHE_H

#include "keyvault/auth/authorize.h"

#define KL_TOKEN_CACHE_ENTRIES 4096
#define KL_TOKEN_DIGEST_LEN    32

struct kl_token_cache;

/** NULL without memory. */
struct kl_token_cache *kl_token_cache_new(void);
void kl_token_cache_free(struct kl_token_cache *c);

/** The caller that was put for this digest under this generation, if its token has not expired at
 * `now` (unix seconds). */
bool kl_token_cache_get(struct kl_token_cache *c, const uint8_t digest[static KL_TOKEN_DIGEST_LEN],
                        uint64_t generation, int64_t now, struct kl_caller *ret);
/** Remember; may push out the entry of its set that expires first. Only for what was verified and
 * found with `generation` read before. */
void kl_token_cache_put(struct kl_token_cache *c, const uint8_t digest[static KL_TOKEN_DIGEST_LEN],
                        uint64_t generation, const struct kl_caller *caller);

KL_AUTO_DEFINE(token_cache, struct kl_token_cache, kl_token_cache_free);

#endif
