/* JSON Web Signatures in compact form (RFC 7515), RS256 only, as RFC 8725 wants them read. Knows
 * nothing of claims. Thread safe: no state. */
#ifndef KL_KEYVAULT_JWS_H
#define KL_KEYVAULT_JWS_H

#include "keyvault/auth/jwks.h"

#define KL_JWS_MAX           16384 /* characters of a whole token */
#define KL_JWS_SIGNATURE_MAX 512   /* bytes: RSA-4096 */

struct kl_jws {
    const char *text;  /* the token, borrowed */
    size_t signed_len; /* characters before the second dot: what the signature covers */
    json_t *header;
    const char *kid; /* borrowed from header */
    unsigned char *payload;
    size_t payload_len;
    unsigned char signature[KL_JWS_SIGNATURE_MAX];
    size_t signature_len;
};

/** Take a token of n characters apart: exactly three parts of canonical unpadded base64url; a
 * header that is one JSON object without duplicate names; "alg" exactly "RS256"; "kid" a string of
 * 1 … KL_KID_MAX; "typ", if there, "JWT" in any case; none of crit, b64, jku, jwk, x5u, x5c, zip,
 * enc. Nothing is trusted yet. KL_UNAUTHENTICATED with a sentence. `text` must outlive *ret; end it
 * with kl_jws_done. */
enum kl_code kl_jws_open(const char *text, size_t n, struct kl_jws *ret,
                         struct kl_err *err) KL_MUST_USE;
/** The same without any rule about the header but that it is an object: for those who have rules
 * of their own (assertion.c). ret->kid is NULL. */
enum kl_code kl_jws_split(const char *text, size_t n, struct kl_jws *ret,
                          struct kl_err *err) KL_MUST_USE;
void kl_jws_done(struct kl_jws *jws);

/** Check the signature under the key that the kid names in `keys`. KL_UNAUTHENTICATED: no such key,
 * or not its signature. */
enum kl_code kl_jws_verify(const struct kl_jws *jws, const struct kl_jwks *keys,
                           struct kl_err *err) KL_MUST_USE;

enum kl_jws_alg { KL_JWS_RS256, KL_JWS_PS256 };
/** The same under a given RSA key. */
enum kl_code kl_jws_verify_key(const struct kl_jws *jws, EVP_PKEY *key, enum kl_jws_alg alg,
                               struct kl_err *err) KL_MUST_USE;

#endif
