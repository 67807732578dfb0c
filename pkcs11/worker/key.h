/* The index of private keys: CKA_ID -> handle and public parts, in a hash table filled by one
 * listing at start.
 *
 * Looking a key up costs the same whatever their number: C_FindObjects takes 5 to 7 us per object
 * of the token (SoftHSM 2.6.1), so it runs only for an id that the index does not know, and after a
 * handle turned out stale. Public parts are read on first use. A handle is good for one login only;
 * the index lives as long as that. Thread safe.
 */
#ifndef KL_PKCS11_WORKER_KEY_H
#define KL_PKCS11_WORKER_KEY_H

#include "pkcs11/token.h"
#include "pkcs11/worker/spki.h"

#include <p11-kit/pkcs11.h>

struct kl_session;
struct kl_keys; /* opaque */

/** A copy of what is known of one key. */
struct kl_key {
    struct kl_key_ref ref; /* with the fingerprint of what is on the token */
    CK_OBJECT_HANDLE handle;
    enum kl_key_type type;
    enum kl_curve curve;
    bool may_decrypt, may_sign;
    bool foreign;      /* its CKA_ID is not ours: ref.id is the alias of foreign.h */
    size_t size_bytes; /* RSA: of the modulus; EC: of a coordinate */
    uint8_t modulus[512];
    size_t spki_len;
    uint8_t spki[KL_SPKI_MAX];
};

/** Lives as long as the process. NULL without memory. */
struct kl_keys *kl_keys_new(void);

/** Forget all, list the token's private keys: those with a CKA_ID of 16 bytes under it, others
 * under their alias. */
CK_RV kl_keys_list(struct kl_keys *keys, struct kl_session *s) KL_MUST_USE;

/** How many keys the index knows. */
size_t kl_keys_count(struct kl_keys *keys);

/** The key with this id: KL_OK and a copy. KL_TOKEN_KEY_MISSING: not on the token, as far as it
 * says. KL_TOKEN_AMBIGUOUS: several private keys have the id. Otherwise the token failed: *ret_rv
 * (never NULL) says how, the code is KL_TOKEN_UNAVAILABLE. KL_TOKEN_UNSUPPORTED for a kind of key
 * that we do not serve. */
enum kl_code kl_keys_get(struct kl_keys *keys, struct kl_session *s,
                         const uint8_t id[static KL_KEY_ID_LEN], struct kl_key *ret, CK_RV *ret_rv,
                         struct kl_err *err) KL_MUST_USE;

/** Everything of a key but its secret, straight from the token. public may be CK_INVALID_HANDLE:
 * then it is looked for by id where it is needed (EC). spki_len stays 0 for a kind of key that we
 * do not serve. */
CK_RV kl_keys_read(struct kl_session *s, CK_OBJECT_HANDLE private, CK_OBJECT_HANDLE public,
                   const uint8_t id[static KL_KEY_ID_LEN], struct kl_key *ret) KL_MUST_USE;

/** Whether the token still shows the same public half behind the key's handle. */
bool kl_keys_still(struct kl_session *s, const struct kl_key *key);

/** Enter a key that was made just now, as kl_keys_read gave it. */
void kl_keys_put(struct kl_keys *keys, const struct kl_key *key);

/** Drop an id whose handle is stale or whose key was destroyed. */
void kl_keys_forget(struct kl_keys *keys, const uint8_t id[static KL_KEY_ID_LEN]);

/** The index has this id, without asking the token. */
bool kl_keys_knows(struct kl_keys *keys, const uint8_t id[static KL_KEY_ID_LEN]);

/** The id at this place, in the order of the listing, of keys with an id like ours; false behind
 * the last. */
bool kl_keys_id_at(struct kl_keys *keys, size_t place, uint8_t ret[static KL_KEY_ID_LEN]);

#endif
