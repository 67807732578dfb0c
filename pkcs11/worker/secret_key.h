/* The service's own MAC key, found by its label 'kluis-mac' (generic secret, HMAC-SHA-256): it
 * vouches for the records of one site. Those of a domain are in domain_key.h. */
#ifndef KL_PKCS11_WORKER_SECRET_KEY_H
#define KL_PKCS11_WORKER_SECRET_KEY_H

#include "pkcs11/worker/worker.h"

#define KL_MAC_LABEL "kluis-mac"
#define KL_MAC_LEN   32

/** HMAC-SHA-256 over n bytes with this key, one attempt. */
CK_RV kl_secret_key_hmac(struct kl_session *s, CK_OBJECT_HANDLE key, const void *bytes, size_t n,
                         uint8_t out[static KL_MAC_LEN]) KL_MUST_USE;

/** KL_CALL_MAC. Done twice and compared: a wrong MAC would be believed for good. The key is made
 * when there is none, unless the request says that it must exist: then KL_TOKEN_UNAVAILABLE.
 * KL_TOKEN_AMBIGUOUS when there are two; KL_TOKEN_READBACK when the object with the label is not
 * SENSITIVE, or EXTRACTABLE: the label alone proves nothing, anybody with the PIN can give it to a
 * key of known value. KL_TOKEN_UNAVAILABLE, and the errors of making it. */
enum kl_code kl_secret_key_mac_call(struct kl_session *s, const struct kl_token_request *req,
                                    uint8_t out[static KL_MAC_LEN], struct kl_err *err) KL_MUST_USE;

#endif
