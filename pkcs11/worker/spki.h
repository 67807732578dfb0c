/* SubjectPublicKeyInfo from what a token shows of a public key (RFC 5280 section 4.1, RFC 8017 A.1,
 * RFC 5480), and the other way. Written by hand for the one shape of each, because a start with
 * thousands of keys must not pay for a general encoder. Pure. */
#ifndef KL_PKCS11_WORKER_SPKI_H
#define KL_PKCS11_WORKER_SPKI_H

#include "pkcs11/token.h"

#define KL_SPKI_MAX 640 /* bytes; RSA-4096 takes 550 */

/** Big-endian numbers, leading zeros allowed. 0 when it does not fit KL_SPKI_MAX or a number is
 * zero. */
size_t kl_spki_put_rsa(const uint8_t *n, size_t n_len, const uint8_t *e, size_t e_len,
                       uint8_t out[static KL_SPKI_MAX]);

/** point: 04 || x || y, bare or as a DER OCTET STRING (tokens show either). 0 when it is not a
 * point of the curve's size. */
size_t kl_spki_put_ec(enum kl_curve curve, const uint8_t *point, size_t point_len,
                      uint8_t out[static KL_SPKI_MAX]);

/** DER of the curve's OID, as CKA_EC_PARAMS; *ret_len bytes, static. NULL for KL_CURVE_NONE. */
const uint8_t *kl_spki_curve_oid(enum kl_curve curve, size_t *ret_len);
/** The curve with these CKA_EC_PARAMS, or KL_CURVE_NONE. */
enum kl_curve kl_spki_curve_of(const uint8_t *params, size_t n);

/** The bare point inside an SPKI that kl_spki_put_ec made; NULL when it is another one. */
const uint8_t *kl_spki_point(enum kl_curve curve, const uint8_t *spki, size_t n, size_t *ret_len);

#endif
