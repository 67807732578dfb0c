/* Signatures of certificates and requests, made on the token. */
#include "keyvault/model/x509.h"

#include <openssl/ec.h>
#include <string.h>

#define DIGEST_MAX 64

struct scheme {
    enum kl_key_type type;
    enum kl_curve curve;
    enum kl_token_alg alg;
    int nid;          /* of the signature algorithm */
    const char *hash; /* OpenSSL's name */
};

/* RFC 5754 sections 3.2, 3.3; RFC 5758 section 3.2: the hash fits the curve. */
static const struct scheme schemes[] = {
    {KL_KEY_RSA, KL_CURVE_NONE, KL_ALG_RS256, NID_sha256WithRSAEncryption, "SHA256"},
    {KL_KEY_EC, KL_CURVE_P256, KL_ALG_ES256, NID_ecdsa_with_SHA256, "SHA256"},
    {KL_KEY_EC, KL_CURVE_P384, KL_ALG_ES384, NID_ecdsa_with_SHA384, "SHA384"},
    {KL_KEY_EC, KL_CURVE_P521, KL_ALG_ES512, NID_ecdsa_with_SHA512, "SHA512"},
};

static const struct scheme *scheme_of(const struct kl_key_version *key)
{
    for (size_t i = 0; i < KL_COUNT(schemes); i++)
        if (schemes[i].type == key->type && schemes[i].curve == key->curve)
            return &schemes[i];
    return NULL;
}

static enum kl_code ask(struct kl_token *token, const struct kl_key_ref *ref,
                        const struct scheme *s, const uint8_t *digest, size_t n,
                        struct kl_secret **ret, struct kl_err *err)
{
    const struct kl_token_request req = {
        .call = KL_CALL_SIGN, .alg = s->alg, .key = *ref, .input = digest, .input_len = n};
    return kl_token_call(token, &req, ret, NULL, err);
}

/* The first home that signs; the error is that of the last one asked. */
static enum kl_code sign_digest(const struct kl_key_version *key, const struct scheme *s,
                                const uint8_t *digest, size_t n, struct kl_secret **ret,
                                struct kl_err *err)
{
    enum kl_code code = kl_fail(err, KL_TOKEN_UNAVAILABLE, "token", "no token of the key is there");
    if (key->home_count == 0 && key->token != NULL)
        return ask(key->token, &key->ref, s, digest, n, ret, err);
    for (size_t i = 0; i < key->home_count && code != KL_OK; i++)
        if (key->homes[i].token != NULL)
            code = ask(key->homes[i].token, &key->homes[i].ref, s, digest, n, ret, err);
    return code;
}

/* Tokens give r || s, certificates hold a sequence (RFC 3279 section 2.2.3). */
static int ecdsa_der(struct kl_secret *raw, unsigned char **ret)
{
    size_t half = kl_secret_len(raw) / 2;
    const uint8_t *bytes = kl_secret_bytes(raw);
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(bytes, (int)half, NULL), *s = BN_bin2bn(bytes + half, (int)half, NULL);
    int len = -1;
    if (sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1)
        len = i2d_ECDSA_SIG(sig, ret);
    else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(sig);
    return len;
}

static bool set_bits(ASN1_BIT_STRING *to, const void *bytes, size_t n)
{
    to->flags &= ~(ASN1_STRING_FLAG_BITS_LEFT | 0x07L);
    to->flags |= ASN1_STRING_FLAG_BITS_LEFT; /* no unused bits */
    return ASN1_STRING_set(to, bytes, (int)n) == 1;
}

static enum kl_code put_signature(const struct scheme *s, struct kl_secret *raw,
                                  ASN1_BIT_STRING *to, struct kl_err *err)
{
    unsigned char *der = NULL;
    bool good;
    if (s->type == KL_KEY_RSA) {
        good = set_bits(to, kl_secret_bytes(raw), kl_secret_len(raw));
    } else {
        int len = ecdsa_der(raw, &der);
        good = len > 0 && set_bits(to, der, (size_t)len);
    }
    OPENSSL_free(der);
    return good ? KL_OK : kl_fail_ossl(err, "ASN1_STRING_set", "cannot put a signature");
}

static void set_algorithm(const struct scheme *s, const X509_ALGOR *a)
{
    /* OpenSSL has no setter for it in a certificate, only for one who holds the private key. */
    (void)X509_ALGOR_set0((X509_ALGOR *)(uintptr_t)a, OBJ_nid2obj(s->nid),
                          s->type == KL_KEY_RSA ? V_ASN1_NULL : V_ASN1_UNDEF, NULL);
}

enum kl_code kl_x509_sign(const struct kl_key_version *key, X509 *x, X509_REQ *req,
                          struct kl_err *err)
{
    const struct scheme *s = scheme_of(key);
    const ASN1_BIT_STRING *sig = NULL;
    const X509_ALGOR *outer = NULL;
    unsigned char *tbs = NULL;
    uint8_t digest[DIGEST_MAX];
    size_t n = 0;
    KL_AUTO(secret) raw = NULL;
    if (s == NULL)
        return kl_fail(err, KL_BAD_INPUT, "key", "a key of this kind signs no certificates");
    if (x != NULL) {
        X509_get0_signature(&sig, &outer, x);
        set_algorithm(s, X509_get0_tbs_sigalg(x));
    } else {
        X509_REQ_get0_signature(req, &sig, &outer);
    }
    set_algorithm(s, outer);
    int len = x != NULL ? i2d_re_X509_tbs(x, &tbs) : i2d_re_X509_REQ_tbs(req, &tbs);
    bool good = len > 0 && EVP_Q_digest(NULL, s->hash, NULL, tbs, (size_t)len, digest, &n) == 1;
    OPENSSL_free(tbs);
    if (!good)
        return kl_fail_ossl(err, "EVP_Q_digest", "cannot encode what is to be signed");
    enum kl_code code = sign_digest(key, s, digest, n, &raw, err);
    return code == KL_OK ? put_signature(s, raw, (ASN1_BIT_STRING *)(uintptr_t)sig, err) : code;
}
