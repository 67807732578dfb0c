/* The authenticator as authorize.c and issuer.c share it. Private to the two. Constant after
 * kl_authenticator_new but for the cache and the failure counts, which have their own locks. */
#ifndef KL_KEYVAULT_AUTH_PARTS_H
#define KL_KEYVAULT_AUTH_PARTS_H

#include "keyvault/auth/assertion.h"
#include "keyvault/auth/authorize.h"
#include "keyvault/auth/cache.h"
#include "keyvault/auth/failures.h"
#include "keyvault/auth/issuers.h"
#include "keyvault/auth/jwt.h"

struct kl_authenticator {
    struct kl_model *model;
    struct kl_key_version *issuer_key;
    struct kl_failover *failover;
    struct kl_origin origin;
    char tenant[KL_UUID_LEN + 1];
    char issuer[256];                   /* iss of our own tokens */
    char kid[2 * KL_SPKI_HASH_LEN + 1]; /* of our own key: hex of the SPKI's SHA-256 */
    struct kl_jwks *own_keys;
    struct kl_jwt_issuer own;  /* who may say who a caller is: we ourselves, */
    struct kl_issuers *others; /* and those of the configuration */
    struct kl_token_cache *cache;
    struct kl_failures *failures;
    struct kl_replays *replays;
    EVP_MD *sha256; /* fetched once: a look-up by name costs more than the hash */
    int64_t lifetime_s;
};

/** Whether a token may be issued for, and is accepted with, this audience: an origin of the service
 * or of an active vault, its parent, or the public cloud's own name for Key Vault. */
bool kl_authenticator_audience_ok(const struct kl_authenticator *a, const char *audience);

#endif
