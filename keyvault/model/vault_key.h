/* A vault's key for values at rest: 64 random bytes, an AES-256 key and an HMAC key. In the
 * database it is wrapped by RSA-OAEP under a key of the service itself that lives on the vault's
 * token, and covered by a row MAC; unwrapped it exists only in locked memory, for a while, behind a
 * bounded cache. Private to the model. Thread safe.
 *
 * As at the wrap gate, nothing new is sealed unless the token has unwrapped the key within the last
 * minute: else a lost key would go on swallowing secrets that nobody can open. Reads go on for five
 * minutes without the token. */
#ifndef KL_KEYVAULT_MODEL_VAULT_KEY_H
#define KL_KEYVAULT_MODEL_VAULT_KEY_H

#include "keyvault/model/object.h"

struct kl_model;
struct kl_vault_key;  /* immutable, with a reference count */
struct kl_vault_keys; /* the cache */

/** NULL without memory. */
struct kl_vault_keys *kl_vault_keys_new(void);
void kl_vault_keys_free(struct kl_vault_keys *keys);

/** From memory; NULL when the token has to be asked. A reference. Once a key is past half its time,
 * one caller gets NULL in order to renew it, while the others go on. */
struct kl_vault_key *kl_vault_key_at_hand(struct kl_model *m, int64_t id);
/** Unwrapped by the token. Blocks for two token calls; not inside of a store session.
 * KL_TOKEN_UNAVAILABLE and the like, unless a key at hand is still good; KL_CORRUPT when the row is
 * not as it was written. */
enum kl_code kl_vault_key_open(struct kl_model *m, const struct kl_vault *v, int64_t id,
                               struct kl_vault_key **ret, struct kl_err *err) KL_MUST_USE;
/** The vault's newest key, proved within the last minute; made when there is none. Blocks as above,
 * and for the generation of an RSA key the first time. */
enum kl_code kl_vault_key_for_sealing(struct kl_model *m, const struct kl_vault *v,
                                      struct kl_vault_key **ret, struct kl_err *err) KL_MUST_USE;

/** Its number in the store, and its halves, KL_SEALED_KEY_LEN bytes each, borrowed. */
int64_t kl_vault_key_id(const struct kl_vault_key *k);
const uint8_t *kl_vault_key_cipher(const struct kl_vault_key *k);
const uint8_t *kl_vault_key_mac(const struct kl_vault_key *k);
void kl_vault_key_unref(struct kl_vault_key *k);

KL_AUTO_DEFINE(vault_key, struct kl_vault_key, kl_vault_key_unref);

#endif
