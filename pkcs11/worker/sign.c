#include "pkcs11/worker/sign.h"

#include "base/encoding.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/pubkey.h"

#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

KL_AUTO_DEFINE(evp_pkey_ctx, EVP_PKEY_CTX, EVP_PKEY_CTX_free);
KL_AUTO_DEFINE(ecdsa_sig, ECDSA_SIG, ECDSA_SIG_free);

static size_t signature_bytes(const struct kl_key *key)
{
    return key->type == KL_KEY_EC ? 2 * key->size_bytes : key->size_bytes;
}

static CK_RV make(struct kl_session *s, const struct kl_key *key, const struct kl_mech *m,
                  const uint8_t *digest, uint8_t out[static KL_SIGNATURE_MAX], size_t *ret_len)
{
    struct kl_mech_call call;
    uint8_t input[32 + EVP_MAX_MD_SIZE];
    CK_ULONG got = KL_SIGNATURE_MAX;
    if (m->prefix_bytes > 0)
        memcpy(input, m->prefix, m->prefix_bytes);
    memcpy(input + m->prefix_bytes, digest, m->digest_bytes);
    CK_RV rv = kl_f(s)->C_SignInit(s->handle, kl_mech_prepare(m, &call), key->handle);
    if (rv == CKR_OK)
        rv = kl_f(s)->C_Sign(s->handle, input, m->prefix_bytes + m->digest_bytes, out, &got);
    if (rv == CKR_OK && key->type == KL_KEY_RSA && got < key->size_bytes) {
        memmove(out + (key->size_bytes - got), out, got); /* stripped leading zeros */
        memset(out, 0, key->size_bytes - got);
        got = key->size_bytes;
    }
    if (rv == CKR_OK && got != signature_bytes(key))
        return CKR_GENERAL_ERROR;
    if (rv == CKR_OK)
        *ret_len = got;
    return rv;
}

static bool verify_der(EVP_PKEY_CTX *ctx, const struct kl_key *key, const struct kl_mech *m,
                       const uint8_t *digest, const uint8_t *signature)
{
    KL_AUTO(ecdsa_sig) sig = ECDSA_SIG_new();
    int half = (int)key->size_bytes;
    BIGNUM *r = BN_bin2bn(signature, half, NULL), *t = BN_bin2bn(signature + half, half, NULL);
    if (sig == NULL || r == NULL || t == NULL || ECDSA_SIG_set0(sig, r, t) != 1) {
        BN_free(r);
        BN_free(t);
        return false;
    }
    uint8_t der[KL_SIGNATURE_MAX], *p = der;
    int n = i2d_ECDSA_SIG(sig, &p);
    return n > 0 && EVP_PKEY_verify(ctx, der, (size_t)n, digest, m->digest_bytes) == 1;
}

static bool set_padding(EVP_PKEY_CTX *ctx, const struct kl_mech *m)
{
    if (EVP_PKEY_CTX_set_signature_md(ctx, m->md()) <= 0)
        return false;
    if (m->kind == KL_MECH_PSS)
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) > 0 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) > 0;
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) > 0;
}

static bool verify(struct kl_session *s, const struct kl_key *key, const struct kl_mech *m,
                   const uint8_t *digest, const uint8_t *signature, size_t n)
{
    bool good = false;
    EVP_PKEY *pkey = kl_pubkey(s, key);
    KL_AUTO(evp_pkey_ctx) ctx = pkey == NULL ? NULL : EVP_PKEY_CTX_new(pkey, NULL);
    if (ctx != NULL && n == signature_bytes(key) && EVP_PKEY_verify_init(ctx) > 0) {
        if (m->kind == KL_MECH_ECDSA)
            good = verify_der(ctx, key, m, digest, signature);
        else
            good = set_padding(ctx, m) &&
                   EVP_PKEY_verify(ctx, signature, n, digest, m->digest_bytes) == 1;
    }
    ERR_clear_error();
    return good;
}

CK_RV kl_sign_digest(struct kl_session *s, const struct kl_key *key, const struct kl_mech *m,
                     const uint8_t *digest, uint8_t out[static KL_SIGNATURE_MAX], size_t *ret_len)
{
    CK_RV rv = make(s, key, m, digest, out, ret_len);
    return rv == CKR_OK && !verify(s, key, m, digest, out, *ret_len) ? KL_CKR_WRONG_ANSWER : rv;
}

CK_RV kl_sign_round_trip(struct kl_session *s, const struct kl_key *key, const struct kl_mech *m,
                         bool *ret_ok)
{
    uint8_t digest[EVP_MAX_MD_SIZE], signature[KL_SIGNATURE_MAX];
    size_t n = 0;
    kl_random(digest, sizeof digest);
    *ret_ok = false;
    CK_RV rv = kl_sign_digest(s, key, m, digest, signature, &n);
    *ret_ok = rv == CKR_OK;
    return rv == KL_CKR_WRONG_ANSWER ? CKR_OK : rv;
}
