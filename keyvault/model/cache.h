/* Key versions by (vault, name, version) and the newest of each name: bounded, read-through, never
 * stale after the write that changed it has returned. Private to the model. Thread safe: stripes
 * with a read-write lock each. */
#ifndef KL_KEYVAULT_MODEL_CACHE_H
#define KL_KEYVAULT_MODEL_CACHE_H

#include "keyvault/model/object.h"

struct kl_cache;

/** NULL without memory. */
struct kl_cache *kl_cache_new(void);
void kl_cache_free(struct kl_cache *c);

/** A new reference, or NULL. `version` "" = newest. Names and versions in any case. */
struct kl_key_version *kl_cache_get(struct kl_cache *c, const char *vault_id, const char *name,
                                    const char *version);
/** Take this before reading the store, and give it to kl_cache_put: what was forgotten in between
 * is not put back. */
uint64_t kl_cache_epoch(struct kl_cache *c, const char *vault_id, const char *name);
/** Keep k under its version, and as the newest when `newest`. Returns a reference to the snapshot
 * to use: the one already there for this version (it carries the proof of its private half), else
 * k. */
struct kl_key_version *kl_cache_put(struct kl_cache *c, struct kl_key_version *k, bool newest,
                                    uint64_t epoch);
/** Drop all entries of a name; call between a commit and the end of its session. */
void kl_cache_forget(struct kl_cache *c, const char *vault_id, const char *name);
void kl_cache_flush(struct kl_cache *c);

KL_AUTO_DEFINE(cache, struct kl_cache, kl_cache_free);

#endif
