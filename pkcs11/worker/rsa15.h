/* Taking RSAES-PKCS1-v1_5 apart on the host, with implicit rejection: a block with a wrong padding
 * yields a text too, made of the ciphertext and a secret of the key, the same each time, of a
 * length that is as random. Nothing tells it from a good one: no answer, no branch, no address.
 * Source: draft-irtf-cfrg-rsa-guidance, section 7 ("PKCS#1 v1.5 implicit rejection"). The secret
 * that the draft hashes from the private exponent, which stays on the token, is the private
 * operation's answer to a fixed number here; nobody else can compute it either. Pure but for
 * OpenSSL's HMAC; any thread. */
#ifndef KL_PKCS11_WORKER_RSA15_H
#define KL_PKCS11_WORKER_RSA15_H

#include "base/err.h"

#include <stdint.h>

#define KL_RSA15_SECRET   32
#define KL_RSA15_OVERHEAD 11 /* bytes of padding at least, RFC 8017 section 7.2.1 */

/** The fixed number of a key, k bytes below its modulus, into out. KL_CRYPTO. */
enum kl_code kl_rsa15_question(const uint8_t *modulus, size_t k, uint8_t *out) KL_MUST_USE;
/** The secret for one ciphertext (k bytes) from the private operation's answer to the question (k
 * bytes). KL_CRYPTO. */
enum kl_code kl_rsa15_secret(const uint8_t *answer, const uint8_t *cipher, size_t k,
                             uint8_t ret[static KL_RSA15_SECRET]) KL_MUST_USE;

/** The block em (k bytes, the leading zero included) into out (room for k): the text is the last n
 * bytes of it, and n the answer; negative when OpenSSL fails. No branch and no address depends on
 * block or secret; the caller may branch on n, which is public, as every block has one. */
int kl_rsa15_check(const uint8_t *em, size_t k, const uint8_t secret[static KL_RSA15_SECRET],
                   uint8_t *out);

#endif
