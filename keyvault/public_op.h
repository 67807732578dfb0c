/* Public-key operations in this process, with libcrypto and the public half that the snapshot
 * holds: encrypt, wrapKey and verify never cost a token call. Thread safe: contexts are cached per
 * thread, since OpenSSL's set-up costs a good part of an RSA encryption. */
#ifndef KL_KEYVAULT_PUBLIC_OP_H
#define KL_KEYVAULT_PUBLIC_OP_H

#include "keyvault/alg.h"

#define KL_MAX_MODULUS 512 /* bytes: RSA-4096 */

/** RSA-OAEP under the key into out[KL_MAX_MODULUS]; *ret_len = modulus bytes. KL_BAD_INPUT when the
 * plaintext is empty or longer than kl_alg_max_plain; KL_CRYPTO. */
enum kl_code kl_public_encrypt(const struct kl_api_alg *alg, const struct kl_key_version *key,
                               const void *plain, size_t n, uint8_t out[static KL_MAX_MODULUS],
                               size_t *ret_len, struct kl_err *err) KL_MUST_USE;

/** Whether `signature` (r || s for EC) over `digest` (alg->digest_len bytes) is the key's. A
 * signature of wrong length or form is simply not valid. KL_CRYPTO. */
enum kl_code kl_public_verify(const struct kl_api_alg *alg, const struct kl_key_version *key,
                              const void *digest, const void *signature, size_t n, bool *ret_valid,
                              struct kl_err *err) KL_MUST_USE;

#endif
