/* Public keys of one issuer by key id (RFC 7517), all of them for RS256. A kid is an index into one
 * issuer's set and nothing more: never a path, a URL or a query. Constant after it is filled; then
 * any thread may read it. */
#ifndef KL_KEYVAULT_JWKS_H
#define KL_KEYVAULT_JWKS_H

#include "base/json.h"

#include <openssl/evp.h>

#define KL_KID_MAX       128 /* characters of a key id */
#define KL_JWKS_MAX_KEYS 64

struct kl_jwks;

/** An empty set; NULL without memory. */
struct kl_jwks *kl_jwks_new(void);
void kl_jwks_free(struct kl_jwks *set);

/** Add a public key (reference counted up). KL_EXISTS for a kid that is there, KL_TOO_BIG for a
 * full set, KL_BAD_INPUT for what is not RSA of 2048 to 4096 bits with an odd exponent from 3 to
 * 2^32, or has the ROCA fingerprint (CVE-2017-15361). */
enum kl_code kl_jwks_add(struct kl_jwks *set, const char *kid, EVP_PKEY *key,
                         struct kl_err *err) KL_MUST_USE;

/** Read an issuer's JWK set. Keys of other types or uses are passed over; a symmetric key or a kid
 * that appears twice condemns the whole set, and so does an RSA signature key that kl_jwks_add
 * refuses. KL_BAD_INPUT. */
enum kl_code kl_jwks_parse(const json_t *document, struct kl_jwks **ret,
                           struct kl_err *err) KL_MUST_USE;

/** The key, or NULL. Borrowed from the set. */
EVP_PKEY *kl_jwks_find(const struct kl_jwks *set, const char *kid);

/** {"keys":[{"kty","use","alg","kid","n","e"},…]}; new reference, NULL without memory. */
json_t *kl_jwks_format(const struct kl_jwks *set);

KL_AUTO_DEFINE(jwks, struct kl_jwks, kl_jwks_free);

#endif
