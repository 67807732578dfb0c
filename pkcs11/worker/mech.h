/* Algorithm <-> mechanism: one table row each. Pure, but for the digests of OpenSSL. */
#ifndef KL_PKCS11_WORKER_MECH_H
#define KL_PKCS11_WORKER_MECH_H

#include "pkcs11/token.h"

#include <openssl/evp.h>
#include <p11-kit/pkcs11.h>

enum kl_mech_kind { KL_MECH_OAEP, KL_MECH_RSA_PKCS, KL_MECH_PSS, KL_MECH_ECDSA, KL_MECH_RSA15 };

struct kl_mech {
    enum kl_token_alg alg;
    enum kl_mech_kind kind;
    const char *name;
    CK_MECHANISM_TYPE mechanism, hash;
    CK_RSA_PKCS_MGF_TYPE mgf;
    const EVP_MD *(*md)(void);
    size_t digest_bytes;
    const uint8_t *prefix; /* DigestInfo in front of the digest, RFC 8017 section 9.2 note 1 */
    size_t prefix_bytes;
    enum kl_curve curve;
};

/** The row of alg, or NULL. */
const struct kl_mech *kl_mech_get(enum kl_token_alg alg);

/** Does the algorithm go with a key of this kind? */
bool kl_mech_fits(const struct kl_mech *m, enum kl_key_type type, enum kl_curve curve);

/** Does it decrypt? Else it signs. */
bool kl_mech_decrypts(const struct kl_mech *m);

/** Storage for a CK_MECHANISM with its parameters. */
struct kl_mech_call {
    CK_MECHANISM mechanism;
    CK_RSA_PKCS_OAEP_PARAMS oaep;
    CK_RSA_PKCS_PSS_PARAMS pss;
};

/** The mechanism as a token wants it: same hash in MGF1, source CKZ_DATA_SPECIFIED with NULL and 0
 * (anything else is refused by some module), salt as long as the digest. Points into *call. */
CK_MECHANISM *kl_mech_prepare(const struct kl_mech *m, struct kl_mech_call *call);

/** Bytes of a curve's coordinate: 32, 48, 66; 0 for KL_CURVE_NONE. */
size_t kl_curve_bytes(enum kl_curve curve);

#endif
