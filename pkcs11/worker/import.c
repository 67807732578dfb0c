#include "pkcs11/worker/import.h"

#include "pkcs11/worker/attr.h"
#include "pkcs11/worker/create.h"
#include "pkcs11/worker/domain.h"
#include "pkcs11/worker/recover.h"
#include "pkcs11/worker/rsa.h"
#include "pkcs11/worker/session.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>

#define PKCS8_MAX  4096 /* bytes; RSA-4096 takes 2374 */
#define NUMBER_MAX 512  /* bytes of one number of a key */
#define NUMBERS    8

/* PKCS#11 3.0 section 2.1.21; in no header of p11-kit 0.24. */
#define CKM_RSA_AES_KEY_WRAP_30 0x1054UL
struct rsa_aes_params {
    CK_ULONG aes_bits;
    CK_RSA_PKCS_OAEP_PARAMS *oaep;
};

KL_AUTO_DEFINE(pkey, EVP_PKEY, EVP_PKEY_free);
KL_AUTO_DEFINE(wrap_ctx, EVP_CIPHER_CTX, EVP_CIPHER_CTX_free);
KL_AUTO_DEFINE(pkcs8, PKCS8_PRIV_KEY_INFO, PKCS8_PRIV_KEY_INFO_free);

/* One text for all that can be wrong with what is inside: the caller learns nothing by trying. */
static enum kl_code unreadable(struct kl_err *err)
{
    return kl_fail(err, KL_BAD_INPUT, "import", "the key to be imported cannot be read");
}

/* --- the key in the clear --- */

static bool take_kind(EVP_PKEY *pkey, struct kl_key_spec *spec)
{
    static const struct {
        const char *group;
        enum kl_curve curve;
    } groups[] = {
        {"prime256v1", KL_CURVE_P256}, {"secp384r1", KL_CURVE_P384}, {"secp521r1", KL_CURVE_P521}};
    char group[32] = "";
    if (EVP_PKEY_is_a(pkey, "RSA") && spec->type == KL_KEY_RSA) {
        int bits = EVP_PKEY_get_bits(pkey);
        spec->bits = (uint32_t)bits;
        return bits == 2048 || bits == 3072 || bits == 4096;
    }
    if (!EVP_PKEY_is_a(pkey, "EC") || spec->type != KL_KEY_EC ||
        EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group,
                                       NULL) != 1)
        return false;
    for (size_t i = 0; i < KL_COUNT(groups); i++)
        if (strcmp(groups[i].group, group) == 0) {
            spec->curve = groups[i].curve;
            return true;
        }
    return false;
}

/* What a private key consists of, as attributes. Wiped by its user. */
struct numbers {
    uint8_t bytes[NUMBERS][NUMBER_MAX];
    CK_ATTRIBUTE attrs[NUMBERS];
    CK_ULONG count;
};

static bool put_number(struct numbers *n, EVP_PKEY *pkey, const char *param, CK_ATTRIBUTE_TYPE type,
                       size_t width)
{
    BIGNUM *bn = NULL;
    uint8_t *to = n->bytes[n->count];
    int len = -1;
    if (EVP_PKEY_get_bn_param(pkey, param, &bn) == 1 && BN_num_bytes(bn) <= NUMBER_MAX)
        len = width > 0 ? BN_bn2binpad(bn, to, (int)width) : BN_bn2bin(bn, to);
    BN_clear_free(bn);
    if (len <= 0)
        return false;
    n->attrs[n->count++] = KL_ATTR(type, to, len);
    return true;
}

static bool put_rsa(struct numbers *n, EVP_PKEY *pkey)
{
    static const struct {
        const char *param;
        CK_ATTRIBUTE_TYPE type;
    } rows[NUMBERS] = {{OSSL_PKEY_PARAM_RSA_N, CKA_MODULUS},
                       {OSSL_PKEY_PARAM_RSA_E, CKA_PUBLIC_EXPONENT},
                       {OSSL_PKEY_PARAM_RSA_D, CKA_PRIVATE_EXPONENT},
                       {OSSL_PKEY_PARAM_RSA_FACTOR1, CKA_PRIME_1},
                       {OSSL_PKEY_PARAM_RSA_FACTOR2, CKA_PRIME_2},
                       {OSSL_PKEY_PARAM_RSA_EXPONENT1, CKA_EXPONENT_1},
                       {OSSL_PKEY_PARAM_RSA_EXPONENT2, CKA_EXPONENT_2},
                       {OSSL_PKEY_PARAM_RSA_COEFFICIENT1, CKA_COEFFICIENT}};
    bool ok = true;
    for (size_t i = 0; i < KL_COUNT(rows); i++)
        ok = ok && put_number(n, pkey, rows[i].param, rows[i].type, 0);
    return ok;
}

static bool put_ec(struct numbers *n, EVP_PKEY *pkey, enum kl_curve curve)
{
    size_t len = 0;
    const uint8_t *oid = kl_spki_curve_oid(curve, &len);
    if (!put_number(n, pkey, OSSL_PKEY_PARAM_PRIV_KEY, CKA_VALUE, kl_curve_bytes(curve)))
        return false;
    n->attrs[n->count++] = KL_ATTR(CKA_EC_PARAMS, oid, len);
    return true;
}

static CK_RV create_private(struct kl_session *s, const struct kl_token_request *req,
                            const struct numbers *n, CK_OBJECT_HANDLE *ret)
{
    CK_RV rv = CKR_OK;
    for (int step = KL_TEMPLATE_FULL; step < KL_TEMPLATE_STEPS; step++) {
        struct kl_template t;
        kl_create_private_template(&t, &req->spec, req->key.id, true, (enum kl_template_step)step,
                                   true);
        for (CK_ULONG i = 0; i < n->count && t.count < KL_TEMPLATE_MAX; i++)
            t.attrs[t.count++] = n->attrs[i];
        rv = kl_session_ensure(s);
        if (rv == CKR_OK)
            rv = kl_f(s)->C_CreateObject(s->handle, t.attrs, t.count, ret);
        if (rv == CKR_OK || !kl_create_is_template_error(rv))
            return rv;
    }
    return rv;
}

static enum kl_code create(struct kl_session *s, const struct kl_token_request *req, EVP_PKEY *pkey,
                           CK_OBJECT_HANDLE *ret_private, CK_OBJECT_HANDLE *ret_public,
                           struct kl_err *err)
{
    struct numbers n = {.count = 0};
    unsigned char *spki = NULL;
    int len = i2d_PUBKEY(pkey, &spki);
    bool ok = len > 0 && (req->spec.type == KL_KEY_RSA ? put_rsa(&n, pkey)
                                                       : put_ec(&n, pkey, req->spec.curve));
    CK_RV rv = ok ? create_private(s, req, &n, ret_private) : CKR_OK;
    if (ok && rv == CKR_OK)
        rv = kl_domain_put_public(s, &req->spec, req->key.id, spki, (size_t)len, ret_public);
    kl_wipe(&n, sizeof n);
    OPENSSL_free(spki);
    if (!ok)
        return unreadable(err);
    return rv == CKR_OK ? KL_OK : kl_recover_fault(s, rv, "C_CreateObject", err);
}

static enum kl_code create_from(struct kl_session *s, struct kl_token_request *req,
                                const uint8_t *der, size_t n, CK_OBJECT_HANDLE *ret_private,
                                CK_OBJECT_HANDLE *ret_public, struct kl_err *err)
{
    const unsigned char *at = der;
    KL_AUTO(pkcs8) info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)n);
    if (info == NULL || at != der + n)
        return unreadable(err);
    KL_AUTO(pkey) pkey = EVP_PKCS82PKEY(info);
    if (pkey == NULL || !take_kind(pkey, &req->spec))
        return unreadable(err);
    return create(s, req, pkey, ret_private, ret_public, err);
}

/* --- the key in its wrapping --- */

struct opening {
    const uint8_t *cipher;
    uint8_t key[KL_RSA_MAX];
    size_t len;
    bool bad;
};

static CK_RV open_once(struct kl_session *s, const struct kl_key *key, void *arg)
{
    struct opening *o = arg;
    bool native = (atomic_load(&s->worker->native_algs) >> KL_ALG_OAEP_SHA1 & 1) != 0;
    o->bad = !kl_rsa_ciphertext_fits(key, o->cipher, key->size_bytes);
    return o->bad ? CKR_OK
                  : kl_rsa_decrypt(s, key, kl_mech_get(KL_ALG_OAEP_SHA1), native, o->cipher, o->key,
                                   &o->len, &o->bad);
}

static const EVP_CIPHER *kwp_of(size_t key_bytes)
{
    return key_bytes == 32   ? EVP_aes_256_wrap_pad()
           : key_bytes == 24 ? EVP_aes_192_wrap_pad()
           : key_bytes == 16 ? EVP_aes_128_wrap_pad()
                             : NULL;
}

/* RFC 5649; 0 when it does not open. */
static size_t kwp_open(const uint8_t *key, size_t key_bytes, const uint8_t *in, size_t n,
                       uint8_t out[static PKCS8_MAX + 16])
{
    KL_AUTO(wrap_ctx) c = EVP_CIPHER_CTX_new();
    int len = 0;
    if (c == NULL || kwp_of(key_bytes) == NULL || n > PKCS8_MAX || n < 16)
        return 0;
    EVP_CIPHER_CTX_set_flags(c, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (EVP_DecryptInit_ex(c, kwp_of(key_bytes), NULL, key, NULL) != 1 ||
        EVP_DecryptUpdate(c, out, &len, in, (int)n) != 1 || len < 0)
        return 0;
    return (size_t)len;
}

static enum kl_code open_here(struct kl_session *s, struct kl_token_request *req, size_t modulus,
                              CK_OBJECT_HANDLE *ret_private, CK_OBJECT_HANDLE *ret_public,
                              struct kl_err *err)
{
    const uint8_t *in = req->input;
    struct opening o = {.cipher = in};
    uint8_t der[PKCS8_MAX + 16];
    size_t n = 0;
    enum kl_code code = kl_recover_run(s, &req->wrapping, open_once, &o, "C_Decrypt", err);
    if (code == KL_BAD_INPUT) /* the token's way to say that it does not decrypt */
        o.bad = true;
    if (o.bad)
        code = KL_OK;
    if (code == KL_OK && !o.bad)
        n = kwp_open(o.key, o.len, in + modulus, req->input_len - modulus, der);
    if (code == KL_OK)
        code = n > 0 ? create_from(s, req, der, n, ret_private, ret_public, err) : unreadable(err);
    kl_wipe(&o, sizeof o);
    kl_wipe(der, sizeof der);
    return code;
}

bool kl_import_is_inside(struct kl_session *s)
{
    CK_MECHANISM_INFO info;
    return kl_f(s)->C_GetMechanismInfo(s->worker->slot, CKM_RSA_AES_KEY_WRAP_30, &info) == CKR_OK &&
           (info.flags & CKF_UNWRAP) != 0;
}

/* The length of the AES key is not said anywhere; the Key Vault tools take 256 bits. */
static CK_RV unwrap_inside(struct kl_session *s, const struct kl_token_request *req,
                           CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE *ret)
{
    CK_RSA_PKCS_OAEP_PARAMS oaep = {
        .hashAlg = CKM_SHA_1, .mgf = CKG_MGF1_SHA1, .source = CKZ_DATA_SPECIFIED};
    struct rsa_aes_params params = {256, &oaep};
    CK_MECHANISM how = {CKM_RSA_AES_KEY_WRAP_30, &params, sizeof params};
    CK_RV rv = CKR_OK;
    for (int step = KL_TEMPLATE_FULL; step < KL_TEMPLATE_STEPS; step++) {
        struct kl_template t;
        kl_create_private_template(&t, &req->spec, req->key.id, true, (enum kl_template_step)step,
                                   true);
        rv = kl_session_ensure(s);
        if (rv == CKR_OK)
            rv = kl_f(s)->C_UnwrapKey(s->handle, &how, kek, (CK_BYTE *)req->input, req->input_len,
                                      t.attrs, t.count, ret);
        if (rv == CKR_OK || !kl_create_is_template_error(rv))
            return rv;
    }
    return rv;
}

static bool open_inside(struct kl_session *s, struct kl_token_request *req,
                        const struct kl_key *kek, CK_OBJECT_HANDLE *ret_private,
                        CK_OBJECT_HANDLE *ret_public)
{
    struct kl_key key;
    CK_RV rv = unwrap_inside(s, req, kek->handle, ret_private);
    if (rv == CKR_OK)
        rv = kl_keys_read(s, *ret_private, CK_INVALID_HANDLE, req->key.id, &key);
    if (rv == CKR_OK)
        rv = kl_domain_put_public(s, &req->spec, req->key.id, key.spki, key.spki_len, ret_public);
    if (rv == CKR_OK) {
        req->spec.bits = (uint32_t)(8 * key.size_bytes);
        return true;
    }
    kl_session_drop(s);
    (void)!kl_create_destroy(s, req->key.id);
    return false;
}

static bool is_wrapped(const struct kl_token_request *req)
{
    static const uint8_t none[KL_KEY_ID_LEN];
    return memcmp(req->wrapping.id, none, sizeof none) != 0;
}

enum kl_code kl_import_objects(struct kl_session *s, struct kl_token_request *req,
                               CK_OBJECT_HANDLE *ret_private, CK_OBJECT_HANDLE *ret_public,
                               uint64_t *ret_mechanism, struct kl_err *err)
{
    struct kl_key kek;
    if (!is_wrapped(req))
        return create_from(s, req, req->input, req->input_len, ret_private, ret_public, err);
    enum kl_code code = kl_recover_key(s, &req->wrapping, &kek, err);
    if (code != KL_OK)
        return code;
    if (kek.type != KL_KEY_RSA || req->input_len <= kek.size_bytes)
        return unreadable(err);
    /* the public point of an EC key cannot be had from its private half */
    if (req->spec.type == KL_KEY_RSA && kl_import_is_inside(s) &&
        open_inside(s, req, &kek, ret_private, ret_public)) {
        *ret_mechanism = CKM_RSA_AES_KEY_WRAP_30;
        return KL_OK;
    }
    return open_here(s, req, kek.size_bytes, ret_private, ret_public, err);
}
