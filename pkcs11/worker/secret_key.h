/* The two secret keys of a domain, found by label: 'kluis-domain' (AES-256, wraps private keys,
 * made by the SO as TRUSTED) and 'kluis-mac' (generic secret, HMAC-SHA-256). */
#ifndef KL_PKCS11_WORKER_SECRET_KEY_H
#define KL_PKCS11_WORKER_SECRET_KEY_H

#include "pkcs11/worker/worker.h"

#define KL_DOMAIN_LABEL "kluis-domain"
#define KL_MAC_LABEL    "kluis-mac"
#define KL_MAC_LEN      32

/** The token's domain key. KL_NOT_FOUND when there is none; KL_TOKEN_AMBIGUOUS when there are two;
 * KL_TOKEN_READBACK when the object with the label is not TRUSTED, not SENSITIVE or EXTRACTABLE:
 * the label alone proves nothing, anybody with the PIN can give it to a key of known value.
 * KL_TOKEN_UNAVAILABLE. */
enum kl_code kl_secret_key_domain(struct kl_session *s, CK_OBJECT_HANDLE *ret,
                                  struct kl_err *err) KL_MUST_USE;

/** The token's MAC key; made when there is none. The handle is remembered. Errors as above, and
 * those of making it. */
enum kl_code kl_secret_key_mac(struct kl_session *s, CK_OBJECT_HANDLE *ret,
                               struct kl_err *err) KL_MUST_USE;

/** C_GenerateKey of the domain key; the session is the SO's. CKR of the last rung of the ladder. */
CK_RV kl_secret_key_make_domain(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE so) KL_MUST_USE;

/** HMAC-SHA-256 over n bytes with this key, one attempt. */
CK_RV kl_secret_key_hmac(struct kl_session *s, CK_OBJECT_HANDLE key, const void *bytes, size_t n,
                         uint8_t out[static KL_MAC_LEN]) KL_MUST_USE;

/** KL_CALL_MAC. */
enum kl_code kl_secret_key_mac_call(struct kl_session *s, const void *bytes, size_t n,
                                    uint8_t out[static KL_MAC_LEN], struct kl_err *err) KL_MUST_USE;

#endif
