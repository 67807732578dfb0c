#include "pkcs11/worker/secret_key.h"

#include "pkcs11/worker/attr.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/create.h"
#include "pkcs11/worker/durable.h"
#include "pkcs11/worker/recover.h"
#include "pkcs11/worker/session.h"

#include <openssl/crypto.h>
#include <string.h>

static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static const CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY;
static const CK_ULONG key_bytes = 32;

/* The one secret key with the label; CK_INVALID_HANDLE when there is none. */
static enum kl_code find_label(struct kl_session *s, const char *label, CK_OBJECT_HANDLE *ret,
                               struct kl_err *err)
{
    CK_OBJECT_HANDLE found[2] = {CK_INVALID_HANDLE};
    CK_ULONG count = 0;
    CK_ATTRIBUTE match[] = {KL_ATTR_VALUE(CKA_CLASS, secret_class), KL_ATTR_VALUE(CKA_TOKEN, yes),
                            KL_ATTR(CKA_LABEL, label, strlen(label))};
    CK_RV rv = kl_session_ensure(s);
    if (rv == CKR_OK)
        rv = kl_attr_find(kl_f(s), s->handle, match, KL_COUNT(match), found, 2, &count);
    if (rv != CKR_OK)
        return kl_recover_fault(s, rv, "C_FindObjects", err);
    if (count > 1)
        return kl_fail(err, KL_TOKEN_AMBIGUOUS, "C_FindObjects",
                       "several keys on the token are labelled %s", label);
    *ret = count == 1 ? found[0] : CK_INVALID_HANDLE;
    return KL_OK;
}

/* SENSITIVE, not EXTRACTABLE, not for decrypting (which would open what it wraps), and the flag
 * that the key is for. */
static enum kl_code check_flags(struct kl_session *s, CK_OBJECT_HANDLE key, const char *label,
                                CK_ATTRIBUTE_TYPE purpose, struct kl_err *err)
{
    CK_BBOOL sensitive = CK_FALSE, extractable = CK_TRUE, decrypts = CK_TRUE, for_it = CK_FALSE;
    CK_ATTRIBUTE attrs[] = {KL_ATTR_VALUE(CKA_SENSITIVE, sensitive),
                            KL_ATTR_VALUE(CKA_EXTRACTABLE, extractable),
                            KL_ATTR_VALUE(CKA_DECRYPT, decrypts), KL_ATTR_VALUE(purpose, for_it)};
    CK_RV rv = kl_attr_read(kl_f(s), s->handle, key, attrs, KL_COUNT(attrs));
    if (rv != CKR_OK)
        return kl_recover_fault(s, rv, "C_GetAttributeValue", err);
    if (sensitive != CK_TRUE || extractable != CK_FALSE || decrypts != CK_FALSE ||
        for_it != CK_TRUE)
        return kl_fail(err, KL_TOKEN_READBACK, "C_GetAttributeValue",
                       "the key labelled %s on the token was not made by kluis", label);
    return KL_OK;
}

/* C_GenerateKey with all rows; when refused, with fewer from the end, down to `least`. */
static CK_RV make_with_ladder(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session,
                              CK_MECHANISM_TYPE mechanism, CK_ATTRIBUTE *attrs, CK_ULONG count,
                              CK_ULONG least, CK_OBJECT_HANDLE *ret)
{
    CK_MECHANISM how = {.mechanism = mechanism};
    CK_RV rv;
    do
        rv = f->C_GenerateKey(session, &how, attrs, count, ret);
    while (kl_create_is_template_error(rv) && count-- > least);
    return rv;
}

/* Usage flags are said even where they are false: SoftHSM 2.6.1 makes them true otherwise. */
static CK_RV make_mac(struct kl_session *s, CK_OBJECT_HANDLE *ret)
{
    static const CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_ATTRIBUTE attrs[] = {
        KL_ATTR_VALUE(CKA_CLASS, secret_class),
        KL_ATTR_VALUE(CKA_KEY_TYPE, type),
        KL_ATTR_VALUE(CKA_TOKEN, yes),
        KL_ATTR_VALUE(CKA_PRIVATE, yes),
        KL_ATTR_VALUE(CKA_SENSITIVE, yes),
        KL_ATTR_VALUE(CKA_EXTRACTABLE, no),
        KL_ATTR_VALUE(CKA_SIGN, yes),
        KL_ATTR_VALUE(CKA_VERIFY, yes),
        KL_ATTR_VALUE(CKA_VALUE_LEN, key_bytes),
        KL_ATTR(CKA_LABEL, KL_MAC_LABEL, sizeof KL_MAC_LABEL - 1),
        KL_ATTR_VALUE(CKA_ENCRYPT, no),
        KL_ATTR_VALUE(CKA_DECRYPT, no),
        KL_ATTR_VALUE(CKA_WRAP, no),
        KL_ATTR_VALUE(CKA_UNWRAP, no),
        KL_ATTR_VALUE(CKA_DERIVE, no),
        KL_ATTR_VALUE(CKA_MODIFIABLE, no),
    };
    return make_with_ladder(kl_f(s), s->handle, CKM_GENERIC_SECRET_KEY_GEN, attrs, KL_COUNT(attrs),
                            10, ret);
}

static enum kl_code find_or_make_mac(struct kl_session *s, bool must_exist, CK_OBJECT_HANDLE *ret,
                                     struct kl_err *err)
{
    const char *store = s->worker->conf.store_dir;
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    enum kl_code code = find_label(s, KL_MAC_LABEL, &key, err);
    if (code == KL_OK && key == CK_INVALID_HANDLE && must_exist)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "C_FindObjects",
                       "the token does not show the key '" KL_MAC_LABEL
                       "' that protects this service's records: another token, or one that is "
                       "not well");
    if (code == KL_OK && key == CK_INVALID_HANDLE) {
        code = kl_durable_check(store, err);
        CK_RV rv = code == KL_OK ? make_mac(s, &key) : CKR_OK;
        if (rv != CKR_OK)
            return kl_recover_fault(s, rv, "C_GenerateKey", err);
        if (code == KL_OK)
            code = kl_durable_barrier(store, err);
    }
    if (code == KL_OK)
        code = check_flags(s, key, KL_MAC_LABEL, CKA_SIGN, err);
    if (code == KL_OK)
        *ret = key;
    return code;
}

/* The token's MAC key; its handle is remembered. */
static enum kl_code mac_key(struct kl_session *s, bool must_exist, CK_OBJECT_HANDLE *ret,
                            struct kl_err *err)
{
    struct kl_worker *w = s->worker;
    CK_OBJECT_HANDLE key = atomic_load(&w->mac_key);
    enum kl_code code = KL_OK;
    if (key == CK_INVALID_HANDLE) {
        (void)pthread_mutex_lock(&w->creating);
        code = find_or_make_mac(s, must_exist, &key, err);
        if (code == KL_OK)
            atomic_store(&w->mac_key, key);
        (void)pthread_mutex_unlock(&w->creating);
    }
    if (code == KL_OK)
        *ret = key;
    return code;
}

CK_RV kl_secret_key_hmac(struct kl_session *s, CK_OBJECT_HANDLE key, const void *bytes, size_t n,
                         uint8_t out[static KL_MAC_LEN])
{
    CK_MECHANISM how = {.mechanism = CKM_SHA256_HMAC};
    uint8_t mac[64];
    CK_ULONG got = sizeof mac;
    CK_RV rv = kl_session_ensure(s);
    if (rv == CKR_OK)
        rv = kl_f(s)->C_SignInit(s->handle, &how, key);
    if (rv == CKR_OK)
        rv = kl_f(s)->C_Sign(s->handle, (CK_BYTE *)bytes, n, mac, &got);
    if (rv == CKR_OK && got != KL_MAC_LEN)
        rv = CKR_GENERAL_ERROR;
    if (rv == CKR_OK)
        memcpy(out, mac, KL_MAC_LEN);
    return rv;
}

static CK_RV mac_twice(struct kl_session *s, CK_OBJECT_HANDLE key,
                       const struct kl_token_request *req, uint8_t out[static KL_MAC_LEN])
{
    uint8_t again[KL_MAC_LEN];
    CK_RV rv = kl_secret_key_hmac(s, key, req->input, req->input_len, out);
    if (rv == CKR_OK)
        rv = kl_secret_key_hmac(s, key, req->input, req->input_len, again);
    if (rv == CKR_OK && CRYPTO_memcmp(out, again, sizeof again) != 0)
        rv = KL_CKR_WRONG_ANSWER;
    kl_wipe(again, sizeof again);
    return rv;
}

enum kl_code kl_secret_key_mac_call(struct kl_session *s, const struct kl_token_request *req,
                                    uint8_t out[static KL_MAC_LEN], struct kl_err *err)
{
    bool must_exist = req->count == KL_MAC_KEY_EXISTS;
    for (int attempt = 0;; attempt++) {
        CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
        enum kl_code code = mac_key(s, must_exist, &key, err);
        if (code != KL_OK)
            return code;
        CK_RV rv = mac_twice(s, key, req, out);
        if (rv == CKR_OK)
            return KL_OK;
        enum kl_ckr_class class = kl_ckr_class(rv);
        if (attempt > 0 || class != KL_CKR_SESSION)
            return kl_recover_fault(s, rv, "C_Sign",
                                    err); /* a lost handle: never make a second MAC key */
        kl_session_drop(s);
    }
}
