/* Signatures over digests: made on the token, checked in software. One attempt each. */
#ifndef KL_PKCS11_WORKER_SIGN_H
#define KL_PKCS11_WORKER_SIGN_H

#include "pkcs11/worker/mech.h"
#include "pkcs11/worker/worker.h"

#define KL_SIGNATURE_MAX 512

/** Sign m->digest_bytes of digest: CKM_RSA_PKCS over a DigestInfo of ours (works on more tokens
 * than CKM_SHA256_RSA_PKCS), CKM_RSA_PKCS_PSS, or CKM_ECDSA (r || s). The session is open. A
 * signature of the wrong length is CKR_GENERAL_ERROR; one that the public half refuses never leaves
 * here (a handle that means another key by now; a fault in the arithmetic, which would give an RSA
 * key away: Boneh, DeMillo, Lipton 1997): KL_CKR_WRONG_ANSWER. */
CK_RV kl_sign_digest(struct kl_session *s, const struct kl_key *key, const struct kl_mech *m,
                     const uint8_t *digest, uint8_t out[static KL_SIGNATURE_MAX],
                     size_t *ret_len) KL_MUST_USE;

/** Sign a random digest there, verify it here. */
CK_RV kl_sign_round_trip(struct kl_session *s, const struct kl_key *key, const struct kl_mech *m,
                         bool *ret_ok) KL_MUST_USE;

#endif
