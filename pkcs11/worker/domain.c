#include "pkcs11/worker/domain.h"

#include "pkcs11/worker/attr.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/create.h"
#include "pkcs11/worker/domain_key.h"
#include "pkcs11/worker/quirk.h"
#include "pkcs11/worker/recover.h"
#include "pkcs11/worker/session.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

/* In a blob's first number. */
#define NAMES_DOMAIN_KEY 0x8000U

static const CK_BBOOL yes = CK_TRUE;

/* No length query: wolfPKCS11 2.1 leaves the operation open after one, NSS is a byte off. */
static CK_RV wrap_with(struct kl_session *s, CK_OBJECT_HANDLE domain, CK_OBJECT_HANDLE key,
                       CK_MECHANISM_TYPE mechanism, uint8_t out[static KL_DOMAIN_WRAPPED_MAX],
                       CK_ULONG *ret_len)
{
    CK_MECHANISM how = {.mechanism = mechanism};
    CK_ULONG got = KL_DOMAIN_WRAPPED_MAX;
    CK_RV rv = kl_session_ensure(s);
    if (rv == CKR_OK)
        rv = kl_f(s)->C_WrapKey(s->handle, &how, domain, key, out, &got);
    if (rv == CKR_OK && got > KL_DOMAIN_WRAPPED_MAX)
        rv = CKR_GENERAL_ERROR;
    if (rv == CKR_OK)
        *ret_len = got;
    return rv;
}

static CK_RV unwrap_with(struct kl_session *s, CK_OBJECT_HANDLE domain, CK_MECHANISM_TYPE mechanism,
                         const uint8_t *wrapped, size_t n, const struct kl_key_spec *spec,
                         const uint8_t *id, bool on_token, CK_OBJECT_HANDLE *ret)
{
    CK_MECHANISM how = {.mechanism = mechanism};
    CK_RV rv = CKR_OK;
    for (int step = KL_TEMPLATE_FULL; step < KL_TEMPLATE_STEPS; step++) {
        struct kl_template t;
        kl_create_private_template(&t, spec, id, on_token, (enum kl_template_step)step, true);
        rv = kl_session_ensure(s);
        if (rv == CKR_OK)
            rv = kl_f(s)->C_UnwrapKey(s->handle, &how, domain, (CK_BYTE *)wrapped, n, t.attrs,
                                      t.count, ret);
        if (rv == CKR_OK || rv == CKR_GENERAL_ERROR || !kl_create_is_template_error(rv))
            return rv;
    }
    return rv;
}

CK_RV kl_domain_probe(struct kl_session *s, CK_OBJECT_HANDLE domain, const struct kl_key *key,
                      CK_MECHANISM_TYPE *ret)
{
    static const CK_MECHANISM_TYPE candidates[] = {KL_CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD};
    struct kl_key_spec spec = {.type = key->type,
                               .curve = key->curve,
                               .profile = KL_PROFILE_DOMAIN,
                               .may_decrypt = key->may_decrypt,
                               .may_sign = key->may_sign,
                               .label = "kluis probe"};
    CK_RV rv = CKR_OK;
    for (size_t i = 0; i < KL_COUNT(candidates); i++) {
        uint8_t wrapped[KL_DOMAIN_WRAPPED_MAX];
        CK_ULONG n = 0;
        CK_OBJECT_HANDLE back = CK_INVALID_HANDLE;
        struct kl_key again;
        rv = wrap_with(s, domain, key->handle, candidates[i], wrapped, &n);
        if (rv == CKR_OK)
            rv =
                unwrap_with(s, domain, candidates[i], wrapped, n, &spec, key->ref.id, false, &back);
        if (rv == CKR_OK)
            rv = kl_keys_read(s, back, CK_INVALID_HANDLE, key->ref.id, &again);
        if (rv == CKR_OK && memcmp(again.modulus, key->modulus, key->size_bytes) == 0) {
            *ret = candidates[i];
            return CKR_OK;
        }
        kl_session_drop(s);
    }
    return rv != CKR_OK ? rv : CKR_MECHANISM_INVALID;
}

/* What our own profile rule says, not what the token would do: NSS 3.87 wraps keys that are not
 * extractable. */
static enum kl_code check_wrappable(struct kl_session *s, const struct kl_key *key,
                                    struct kl_err *err)
{
    CK_BBOOL extractable = CK_FALSE, sensitive = CK_FALSE, trusted_only = CK_FALSE;
    CK_ATTRIBUTE attrs[] = {KL_ATTR_VALUE(CKA_EXTRACTABLE, extractable),
                            KL_ATTR_VALUE(CKA_SENSITIVE, sensitive),
                            KL_ATTR_VALUE(CKA_WRAP_WITH_TRUSTED, trusted_only)};
    CK_RV rv = kl_attr_read(kl_f(s), s->handle, key->handle, attrs, KL_COUNT(attrs));
    if (rv != CKR_OK)
        return kl_recover_fault(s, rv, "C_GetAttributeValue", err);
    if (extractable != CK_TRUE || sensitive != CK_TRUE || trusted_only != CK_TRUE)
        return kl_fail(err, KL_TOKEN_UNSUPPORTED, "C_WrapKey",
                       "the key is fixed to its token and cannot be wrapped");
    return KL_OK;
}

/* The pair to wrap under: the one that is named, else the current one. */
static enum kl_code find_domain(struct kl_session *s, const void *id, size_t n,
                                struct kl_domain_key *ret, struct kl_err *err)
{
    if (n != 0 && n != KL_KEY_ID_LEN)
        return kl_fail(err, KL_BAD_INPUT, "wrap", "the id of a domain key has 16 bytes");
    if (n != 0)
        return kl_domain_keys_find(s, id, ret, err);
    enum kl_code code = kl_domain_keys_current(s, ret, err);
    return code == KL_NOT_FOUND
               ? kl_fail(err, KL_TOKEN_UNSUPPORTED, "C_FindObjects", "the token has no domain key")
               : code;
}

/* Head of a blob: the domain key and the public key. */
static size_t put_head(uint8_t *out, const struct kl_domain_key *domain, const uint8_t *spki,
                       size_t spki_len)
{
    unsigned first = (unsigned)spki_len | NAMES_DOMAIN_KEY;
    out[0] = (uint8_t)first;
    out[1] = (uint8_t)(first >> 8);
    memcpy(out + 2, domain->says.id, KL_KEY_ID_LEN);
    memcpy(out + 2 + KL_KEY_ID_LEN, spki, spki_len);
    return 2 + KL_KEY_ID_LEN + spki_len;
}

static enum kl_code check_can_wrap(const struct kl_worker *w, struct kl_err *err)
{
    if (w->wrap_mechanism == CKM_VENDOR_DEFINED)
        return kl_fail(err, KL_TOKEN_UNSUPPORTED, "C_WrapKey", "the token cannot wrap keys");
    return KL_OK;
}

enum kl_code kl_domain_wrap(struct kl_session *s, const struct kl_token_request *req, uint8_t *out,
                            size_t *ret_len, uint64_t *ret_mechanism, struct kl_err *err)
{
    const struct kl_worker *w = s->worker;
    struct kl_key key;
    struct kl_domain_key domain;
    CK_ULONG n = 0;
    enum kl_code code = kl_recover_key(s, &req->key, &key, err);
    if (code == KL_OK)
        code = check_wrappable(s, &key, err);
    if (code == KL_OK)
        code = find_domain(s, req->input, req->input_len, &domain, err);
    if (code == KL_OK)
        code = check_can_wrap(w, err);
    if (code != KL_OK)
        return code;
    size_t head = put_head(out, &domain, key.spki, key.spki_len);
    CK_RV rv = wrap_with(s, domain.wrap, key.handle, w->wrap_mechanism, out + head, &n);
    if (rv != CKR_OK)
        return kl_recover_fault(s, rv, "C_WrapKey", err);
    *ret_len = head + n;
    *ret_mechanism = w->wrap_mechanism;
    return KL_OK;
}

/* The public half of an unwrapped key: the token has only the private one. */
static CK_RV put_rsa_public(struct kl_session *s, const struct kl_key_spec *spec, const uint8_t *id,
                            const uint8_t *spki, size_t n, CK_OBJECT_HANDLE *ret)
{
    static const CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    static const CK_KEY_TYPE type = CKK_RSA;
    uint8_t modulus[512], exponent[8];
    BIGNUM *bn_n = NULL, *bn_e = NULL;
    EVP_PKEY *pkey = d2i_PUBKEY(NULL, &spki, (long)n);
    int n_len = 0, e_len = 0;
    if (pkey != NULL && EVP_PKEY_get_bn_param(pkey, "n", &bn_n) == 1 &&
        EVP_PKEY_get_bn_param(pkey, "e", &bn_e) == 1 && BN_num_bytes(bn_n) <= 512 &&
        BN_num_bytes(bn_e) <= 8) {
        n_len = BN_bn2bin(bn_n, modulus);
        e_len = BN_bn2bin(bn_e, exponent);
    }
    BN_free(bn_n);
    BN_free(bn_e);
    EVP_PKEY_free(pkey);
    CK_ATTRIBUTE attrs[] = {
        KL_ATTR_VALUE(CKA_CLASS, class),
        KL_ATTR_VALUE(CKA_KEY_TYPE, type),
        KL_ATTR_VALUE(CKA_TOKEN, yes),
        KL_ATTR(CKA_ID, id, KL_KEY_ID_LEN),
        KL_ATTR(CKA_LABEL, spec->label, strlen(spec->label)),
        KL_ATTR(CKA_MODULUS, modulus, n_len),
        KL_ATTR(CKA_PUBLIC_EXPONENT, exponent, e_len),
    };
    return n_len == 0 ? CKR_DATA_INVALID
                      : kl_f(s)->C_CreateObject(s->handle, attrs, KL_COUNT(attrs), ret);
}

static CK_RV put_ec_public(struct kl_session *s, const struct kl_key_spec *spec, const uint8_t *id,
                           const uint8_t *spki, size_t n, CK_OBJECT_HANDLE *ret)
{
    static const CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    static const CK_KEY_TYPE type = CKK_EC;
    uint8_t wrapped[3 + 133];
    size_t len = 0, oid_len = 0;
    const uint8_t *point = kl_spki_point(spec->curve, spki, n, &len);
    const uint8_t *oid = kl_spki_curve_oid(spec->curve, &oid_len);
    if (point == NULL || oid == NULL)
        return CKR_DATA_INVALID;
    size_t head = len < 0x80 ? 2 : 3; /* DER OCTET STRING, PKCS#11 2.40 section 2.3.3 */
    wrapped[0] = 0x04;
    wrapped[1] = head == 2 ? (uint8_t)len : 0x81;
    wrapped[head - 1] = (uint8_t)len;
    memcpy(wrapped + head, point, len);
    CK_ATTRIBUTE attrs[] = {
        KL_ATTR_VALUE(CKA_CLASS, class),
        KL_ATTR_VALUE(CKA_KEY_TYPE, type),
        KL_ATTR_VALUE(CKA_TOKEN, yes),
        KL_ATTR(CKA_ID, id, KL_KEY_ID_LEN),
        KL_ATTR(CKA_LABEL, spec->label, strlen(spec->label)),
        KL_ATTR(CKA_EC_PARAMS, oid, oid_len),
        KL_ATTR(CKA_EC_POINT, wrapped, head + len),
    };
    return kl_f(s)->C_CreateObject(s->handle, attrs, KL_COUNT(attrs), ret);
}

CK_RV kl_domain_put_public(struct kl_session *s, const struct kl_key_spec *spec, const uint8_t *id,
                           const uint8_t *spki, size_t n, CK_OBJECT_HANDLE *ret)
{
    return spec->type == KL_KEY_RSA ? put_rsa_public(s, spec, id, spki, n, ret)
                                    : put_ec_public(s, spec, id, spki, n, ret);
}

struct blob {
    const uint8_t *domain; /* id of its domain key; NULL: made before those had ids */
    const uint8_t *spki, *wrapped;
    size_t spki_len, wrapped_len;
};

static enum kl_code split_blob(const struct kl_token_request *req, struct blob *ret,
                               struct kl_err *err)
{
    const uint8_t *at = req->input;
    size_t n = req->input_len;
    unsigned first = n >= 2 ? (unsigned)(at[0] | at[1] << 8) : 0;
    struct blob b = {.spki_len = first & ~(unsigned)NAMES_DOMAIN_KEY};
    size_t head = 2 + ((first & NAMES_DOMAIN_KEY) != 0 ? (size_t)KL_KEY_ID_LEN : 0);
    uint8_t hash[KL_SPKI_HASH_LEN];
    if (b.spki_len == 0 || b.spki_len > KL_SPKI_MAX || n < head + b.spki_len + 16 ||
        n > head + b.spki_len + KL_DOMAIN_WRAPPED_MAX)
        return kl_fail(err, KL_BAD_INPUT, "unwrap", "the wrapped key is damaged");
    b.domain = head > 2 ? at + 2 : NULL;
    b.spki = at + head;
    b.wrapped = b.spki + b.spki_len;
    b.wrapped_len = n - head - b.spki_len;
    kl_spki_hash(b.spki, b.spki_len, hash);
    if (memcmp(hash, req->key.spki_hash, sizeof hash) != 0)
        return kl_fail(err, KL_BAD_INPUT, "unwrap", "the wrapped key is another key");
    if (req->mechanism != CKM_AES_KEY_WRAP_PAD && req->mechanism != KL_CKM_AES_KEY_WRAP_KWP)
        return kl_fail(err, KL_BAD_INPUT, "unwrap", "the key was wrapped in an unknown way");
    *ret = b;
    return KL_OK;
}

/* A blob without the id of its domain key comes from when a token had only one: the early one. */
static enum kl_code find_opener(struct kl_session *s, const struct blob *b,
                                struct kl_domain_key *ret, struct kl_err *err)
{
    static const uint8_t early[KL_KEY_ID_LEN];
    return kl_domain_keys_find(s, b->domain != NULL ? b->domain : early, ret, err);
}

static CK_RV tighten(struct kl_session *s, CK_OBJECT_HANDLE private)
{
    CK_ATTRIBUTE sensitive = KL_ATTR_VALUE(CKA_SENSITIVE, yes);
    if ((s->worker->quirks & KL_QUIRK_FORGETS_SENSITIVE) == 0)
        return CKR_OK;
    return kl_f(s)->C_SetAttributeValue(s->handle, private, &sensitive, 1);
}

static enum kl_code unwrap_fault(struct kl_session *s, CK_RV rv, struct kl_err *err)
{
    enum kl_code code = kl_recover_fault(s, rv, "C_UnwrapKey", err);
    return code != KL_TOKEN_UNSUPPORTED
               ? code
               : kl_ckr_fail(err, KL_BAD_INPUT, rv, "C_UnwrapKey",
                             "the wrapped key does not open under this token's domain key");
}

enum kl_code kl_domain_unwrap(struct kl_session *s, const struct kl_token_request *req,
                              CK_OBJECT_HANDLE *ret_private, CK_OBJECT_HANDLE *ret_public,
                              struct kl_err *err)
{
    struct blob b = {0};
    struct kl_domain_key domain;
    enum kl_code code = split_blob(req, &b, err);
    if (code == KL_OK)
        code = find_opener(s, &b, &domain, err);
    if (code != KL_OK)
        return code;
    CK_RV rv = unwrap_with(s, domain.wrap, req->mechanism, b.wrapped, b.wrapped_len, &req->spec,
                           req->key.id, true, ret_private);
    if (rv == CKR_OK)
        rv = tighten(s, *ret_private);
    if (rv != CKR_OK)
        return unwrap_fault(s, rv, err);
    rv = kl_domain_put_public(s, &req->spec, req->key.id, b.spki, b.spki_len, ret_public);
    return rv == CKR_OK ? KL_OK : kl_recover_fault(s, rv, "C_CreateObject", err);
}

/* In a session object on the way, which nobody sees and which goes with the session. */
static enum kl_code move(struct kl_session *s, const struct kl_token_request *req,
                         const struct blob *b, const struct kl_domain_key *from,
                         const struct kl_domain_key *to, uint8_t *out, CK_ULONG *ret_len,
                         struct kl_err *err)
{
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    struct kl_key_spec spec = req->spec;
    spec.profile = KL_PROFILE_DOMAIN;
    CK_RV rv = unwrap_with(s, from->wrap, req->mechanism, b->wrapped, b->wrapped_len, &spec,
                           req->key.id, false, &key);
    if (rv == CKR_OK)
        rv = tighten(s, key);
    if (rv != CKR_OK)
        return unwrap_fault(s, rv, err);
    rv = wrap_with(s, to->wrap, key, s->worker->wrap_mechanism, out, ret_len);
    (void)kl_f(s)->C_DestroyObject(s->handle, key);
    return rv == CKR_OK ? KL_OK : kl_recover_fault(s, rv, "C_WrapKey", err);
}

enum kl_code kl_domain_reseal(struct kl_session *s, const struct kl_token_request *req,
                              uint8_t *out, size_t *ret_len, uint64_t *ret_mechanism,
                              struct kl_err *err)
{
    struct blob b = {0};
    struct kl_domain_key from, to;
    CK_ULONG n = 0;
    enum kl_code code = split_blob(req, &b, err);
    if (code == KL_OK)
        code = check_can_wrap(s->worker, err);
    if (code == KL_OK)
        code = find_opener(s, &b, &from, err);
    if (code == KL_OK)
        code = find_domain(s, NULL, 0, &to, err);
    if (code != KL_OK)
        return code;
    size_t head = put_head(out, &to, b.spki, b.spki_len);
    code = move(s, req, &b, &from, &to, out + head, &n, err);
    if (code != KL_OK)
        return code;
    *ret_len = head + n;
    *ret_mechanism = s->worker->wrap_mechanism;
    return KL_OK;
}
