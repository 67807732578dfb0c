#include "pkcs11/worker/mech.h"

static const uint8_t prefix_256[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                     0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
static const uint8_t prefix_384[] = {0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                     0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04, 0x30};
static const uint8_t prefix_512[] = {0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                     0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40};

#define SHA1   .hash = CKM_SHA_1, .mgf = CKG_MGF1_SHA1, .md = EVP_sha1, .digest_bytes = 20
#define SHA256 .hash = CKM_SHA256, .mgf = CKG_MGF1_SHA256, .md = EVP_sha256, .digest_bytes = 32
#define SHA384 .hash = CKM_SHA384, .mgf = CKG_MGF1_SHA384, .md = EVP_sha384, .digest_bytes = 48
#define SHA512 .hash = CKM_SHA512, .mgf = CKG_MGF1_SHA512, .md = EVP_sha512, .digest_bytes = 64
#define OAEP   .kind = KL_MECH_OAEP, .mechanism = CKM_RSA_PKCS_OAEP
#define PSS    .kind = KL_MECH_PSS, .mechanism = CKM_RSA_PKCS_PSS
#define EC(c)  .kind = KL_MECH_ECDSA, .mechanism = CKM_ECDSA, .curve = (c)
#define RS(p)                                                                                      \
    .kind = KL_MECH_RSA_PKCS, .mechanism = CKM_RSA_PKCS, .prefix = (p), .prefix_bytes = sizeof(p)
#define ROW(a, n) [a] = {.alg = (a), .name = (n),

/* clang-format off */
static const struct kl_mech rows[KL_ALG_COUNT] = {
    ROW(KL_ALG_OAEP_SHA1, "RSA-OAEP") OAEP, SHA1},
    ROW(KL_ALG_OAEP_SHA256, "RSA-OAEP-256") OAEP, SHA256},
    ROW(KL_ALG_OAEP_SHA384, "RSA-OAEP-384") OAEP, SHA384},
    ROW(KL_ALG_OAEP_SHA512, "RSA-OAEP-512") OAEP, SHA512},
    ROW(KL_ALG_RS256, "RS256") RS(prefix_256), SHA256},
    ROW(KL_ALG_RS384, "RS384") RS(prefix_384), SHA384},
    ROW(KL_ALG_RS512, "RS512") RS(prefix_512), SHA512},
    ROW(KL_ALG_PS256, "PS256") PSS, SHA256},
    ROW(KL_ALG_PS384, "PS384") PSS, SHA384},
    ROW(KL_ALG_PS512, "PS512") PSS, SHA512},
    ROW(KL_ALG_ES256, "ES256") EC(KL_CURVE_P256), SHA256},
    ROW(KL_ALG_ES384, "ES384") EC(KL_CURVE_P384), SHA384},
    ROW(KL_ALG_ES512, "ES512") EC(KL_CURVE_P521), SHA512},
    /* never CKM_RSA_PKCS: its errors tell good paddings from bad ones */
    ROW(KL_ALG_RSA15, "RSA1_5") .kind = KL_MECH_RSA15, .mechanism = CKM_RSA_X_509, SHA1},
};
/* clang-format on */

const struct kl_mech *kl_mech_get(enum kl_token_alg alg)
{
    if (alg <= KL_ALG_NONE || alg >= KL_ALG_COUNT)
        return NULL;
    return &rows[alg];
}

bool kl_mech_fits(const struct kl_mech *m, enum kl_key_type type, enum kl_curve curve)
{
    if (m->kind == KL_MECH_ECDSA)
        return type == KL_KEY_EC && m->curve == curve;
    return type == KL_KEY_RSA;
}

bool kl_mech_decrypts(const struct kl_mech *m)
{
    return m->kind == KL_MECH_OAEP || m->kind == KL_MECH_RSA15;
}

CK_MECHANISM *kl_mech_prepare(const struct kl_mech *m, struct kl_mech_call *call)
{
    *call = (struct kl_mech_call){.mechanism = {.mechanism = m->mechanism}};
    if (m->kind == KL_MECH_OAEP) {
        call->oaep = (CK_RSA_PKCS_OAEP_PARAMS){
            .hashAlg = m->hash, .mgf = m->mgf, .source = CKZ_DATA_SPECIFIED};
        call->mechanism.pParameter = &call->oaep;
        call->mechanism.ulParameterLen = sizeof call->oaep;
    } else if (m->kind == KL_MECH_PSS) {
        call->pss =
            (CK_RSA_PKCS_PSS_PARAMS){.hashAlg = m->hash, .mgf = m->mgf, .sLen = m->digest_bytes};
        call->mechanism.pParameter = &call->pss;
        call->mechanism.ulParameterLen = sizeof call->pss;
    }
    return &call->mechanism;
}

size_t kl_curve_bytes(enum kl_curve curve)
{
    switch (curve) {
    case KL_CURVE_P256:
        return 32;
    case KL_CURVE_P384:
        return 48;
    case KL_CURVE_P521:
        return 66;
    case KL_CURVE_NONE:
        break;
    }
    return 0;
}
