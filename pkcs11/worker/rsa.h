/* RSA-OAEP: decrypt on the token, encrypt in software. One attempt each; what an error means is
 * recover.c's matter. */
#ifndef KL_PKCS11_WORKER_RSA_H
#define KL_PKCS11_WORKER_RSA_H

#include "pkcs11/worker/mech.h"
#include "pkcs11/worker/worker.h"

#define KL_RSA_MAX 512 /* bytes of an RSA-4096 block */

/** A ciphertext of exactly modulus size and smaller than the modulus: anything else never reaches a
 * module. */
bool kl_rsa_ciphertext_fits(const struct kl_key *key, const uint8_t *cipher, size_t n);

/** Decrypt key->size_bytes of ciphertext: by the token's own OAEP, or (native = false) by
 * CKM_RSA_X_509 and kl_oaep_unpad; RSA1_5 always by the latter and kl_rsa15_check. The session is
 * open. CKR_OK with *ret_bad = true: the software check refused the block, and the block was the
 * right one; KL_CKR_WRONG_ANSWER when it was not. */
CK_RV kl_rsa_decrypt(struct kl_session *s, const struct kl_key *key, const struct kl_mech *m,
                     bool native, const uint8_t *cipher, uint8_t out[static KL_RSA_MAX],
                     size_t *ret_len, bool *ret_bad) KL_MUST_USE;

/** Encrypt n bytes (at most 64) here, decrypt them there, compare. *ret_ok says whether the same
 * came back. */
CK_RV kl_rsa_round_trip(struct kl_session *s, const struct kl_key *key, const struct kl_mech *m,
                        bool native, const uint8_t *plain, size_t n, bool *ret_ok) KL_MUST_USE;

#endif
