/* The pairs of secret keys that make a domain: 'kluis-domain' (AES-256, wraps private keys, made by
 * the security officer as TRUSTED) and 'kluis-domain-mac' (generic secret, HMAC-SHA-256, made by
 * the user, as the officer cannot handle private objects). Both halves have one CKA_ID.
 *
 * A token holds one pair, or several after rotations; the one with the highest generation is the
 * current one, the others only open what was wrapped before. An id is: generation, 4 bytes,
 * big-endian; enum kl_domain_origin, 1 byte; 11 random bytes. A domain key without CKA_ID was made
 * before pairs had ids: its id is all zeros, and its MAC key is 'kluis-mac'. */
#ifndef KL_PKCS11_WORKER_DOMAIN_KEY_H
#define KL_PKCS11_WORKER_DOMAIN_KEY_H

#include "pkcs11/worker/worker.h"

#define KL_DOMAIN_LABEL     "kluis-domain"
#define KL_DOMAIN_MAC_LABEL "kluis-domain-mac"
#define KL_DOMAIN_KEYS_MAX  16 /* on one token */
#define KL_DOMAIN_HALF      32 /* bytes of each key of a pair */

struct kl_domain_key {
    struct kl_token_domain says;
    CK_OBJECT_HANDLE wrap, mac; /* mac: CK_INVALID_HANDLE when it is not there (or not visible) */
};

struct kl_domain_keys {
    struct kl_domain_key rows[KL_DOMAIN_KEYS_MAX]; /* oldest generation first */
    size_t count;
    const struct kl_domain_key *current; /* NULL: no whole pair */
};

/** All domain keys, as the token has them now. Keys with the label that are not TRUSTED are passed
 * over: anybody with the PIN can make those. KL_TOKEN_READBACK when a TRUSTED one is not SENSITIVE,
 * is EXTRACTABLE or may decrypt. KL_TOKEN_UNAVAILABLE and the like. */
enum kl_code kl_domain_keys_list(struct kl_session *s, struct kl_domain_keys *ret,
                                 struct kl_err *err) KL_MUST_USE;

/** The pair with this id. KL_NOT_FOUND in words that fit a blob that needs it. */
enum kl_code kl_domain_keys_find(struct kl_session *s, const uint8_t id[static KL_KEY_ID_LEN],
                                 struct kl_domain_key *ret, struct kl_err *err) KL_MUST_USE;

/** The current pair. KL_NOT_FOUND when there is none. */
enum kl_code kl_domain_keys_current(struct kl_session *s, struct kl_domain_key *ret,
                                    struct kl_err *err) KL_MUST_USE;

/** A new id: generation and origin as given, the rest random. */
void kl_domain_key_new_id(uint32_t generation, enum kl_domain_origin origin,
                          uint8_t ret[static KL_KEY_ID_LEN]);

/** Make one half. `so` is a session of the security officer for the wrapping key, `user` one of the
 * user for the MAC key. value: KL_DOMAIN_HALF bytes to bring in, or NULL: the token makes them. CKR
 * of the last rung of the template ladder. */
CK_RV kl_domain_key_make_wrap(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE so,
                              const uint8_t id[static KL_KEY_ID_LEN],
                              const uint8_t *value) KL_MUST_USE;
CK_RV kl_domain_key_make_mac(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE user,
                             const uint8_t id[static KL_KEY_ID_LEN],
                             const uint8_t *value) KL_MUST_USE;

/** Destroy the MAC key of a pair; the session is the user's. CKR_OK also when there is none. */
CK_RV kl_domain_key_destroy_mac(struct kl_session *s,
                                const uint8_t id[static KL_KEY_ID_LEN]) KL_MUST_USE;

/** KL_CALL_MAC under the pair that req names. */
enum kl_code kl_domain_key_mac(struct kl_session *s, const struct kl_token_request *req,
                               uint8_t out[static KL_DOMAIN_HALF], struct kl_err *err) KL_MUST_USE;

#endif
