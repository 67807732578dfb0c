#include "pkcs11/worker/domain_key.h"

#include "base/encoding.h"
#include "pkcs11/worker/attr.h"
#include "pkcs11/worker/create.h"
#include "pkcs11/worker/recover.h"
#include "pkcs11/worker/secret_key.h"
#include "pkcs11/worker/session.h"

#include <string.h>

static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static const CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY;
static const CK_ULONG half = KL_DOMAIN_HALF;

void kl_domain_key_new_id(uint32_t generation, enum kl_domain_origin origin,
                          uint8_t ret[static KL_KEY_ID_LEN])
{
    kl_random(ret, KL_KEY_ID_LEN);
    for (size_t i = 0; i < 4; i++)
        ret[i] = (uint8_t)(generation >> (24 - 8 * i));
    ret[4] = (uint8_t)origin;
}

static bool is_early(const uint8_t *id)
{
    static const uint8_t zeros[KL_KEY_ID_LEN];
    return memcmp(id, zeros, sizeof zeros) == 0;
}

static void read_id(const uint8_t *id, size_t n, struct kl_token_domain *ret)
{
    *ret = (struct kl_token_domain){.origin = KL_DOMAIN_EARLY};
    if (n != KL_KEY_ID_LEN)
        return;
    memcpy(ret->id, id, n);
    for (size_t i = 0; i < 4; i++)
        ret->generation = ret->generation << 8 | id[i];
    ret->origin = id[4];
}

/* SENSITIVE, not EXTRACTABLE, and not for decrypting, which would open what it wraps. */
static enum kl_code read_wrap(struct kl_session *s, CK_OBJECT_HANDLE key, struct kl_domain_key *ret,
                              struct kl_err *err)
{
    CK_BBOOL sensitive = CK_FALSE, extractable = CK_TRUE, decrypts = CK_TRUE;
    uint8_t id[64], inner[256];
    CK_ATTRIBUTE attrs[] = {KL_ATTR_VALUE(CKA_SENSITIVE, sensitive),
                            KL_ATTR_VALUE(CKA_EXTRACTABLE, extractable),
                            KL_ATTR_VALUE(CKA_DECRYPT, decrypts), KL_ATTR(CKA_ID, id, sizeof id)};
    CK_ATTRIBUTE template = KL_ATTR(CKA_UNWRAP_TEMPLATE, NULL, 0);
    CK_RV rv = kl_attr_read(kl_f(s), s->handle, key, attrs, KL_COUNT(attrs));
    if (rv != CKR_OK)
        return kl_recover_fault(s, rv, "C_GetAttributeValue", err);
    if (sensitive != CK_TRUE || extractable != CK_FALSE || decrypts != CK_FALSE)
        return kl_fail(err, KL_TOKEN_READBACK, "C_GetAttributeValue",
                       "the key labelled %s on the token was not made by kluis", KL_DOMAIN_LABEL);
    *ret = (struct kl_domain_key){.wrap = key, .mac = CK_INVALID_HANDLE};
    read_id(id, attrs[3].ulValueLen, &ret->says);
    rv = kl_attr_read(kl_f(s), s->handle, key, &template, 1);
    ret->says.unwrap_template = rv == CKR_OK && template.ulValueLen >= 2 * sizeof(CK_ATTRIBUTE) &&
                                template.ulValueLen <= sizeof inner;
    return KL_OK;
}

static CK_RV find_mac(struct kl_session *s, const uint8_t *id, CK_OBJECT_HANDLE *ret)
{
    CK_OBJECT_HANDLE found[2];
    CK_ULONG count = 0;
    const char *label = is_early(id) ? KL_MAC_LABEL : KL_DOMAIN_MAC_LABEL;
    CK_ATTRIBUTE match[] = {KL_ATTR_VALUE(CKA_CLASS, secret_class), KL_ATTR_VALUE(CKA_TOKEN, yes),
                            KL_ATTR(CKA_LABEL, label, strlen(label)),
                            KL_ATTR(CKA_ID, id, KL_KEY_ID_LEN)};
    CK_RV rv = kl_attr_find(kl_f(s), s->handle, match, KL_COUNT(match) - (is_early(id) ? 1 : 0),
                            found, KL_COUNT(found), &count);
    *ret = rv == CKR_OK && count == 1 ? found[0] : CK_INVALID_HANDLE;
    return rv;
}

static CK_RV find_wraps(struct kl_session *s, CK_OBJECT_HANDLE *ret, CK_ULONG *ret_count)
{
    CK_ATTRIBUTE match[] = {KL_ATTR_VALUE(CKA_CLASS, secret_class), KL_ATTR_VALUE(CKA_TOKEN, yes),
                            KL_ATTR(CKA_LABEL, KL_DOMAIN_LABEL, sizeof KL_DOMAIN_LABEL - 1),
                            KL_ATTR_VALUE(CKA_TRUSTED, yes)};
    CK_RV rv = kl_session_ensure(s);
    return rv == CKR_OK ? kl_attr_find(kl_f(s), s->handle, match, KL_COUNT(match), ret,
                                       KL_DOMAIN_KEYS_MAX, ret_count)
                        : rv;
}

/* By id, which begins with the generation. */
static void put_in_order(struct kl_domain_keys *keys, const struct kl_domain_key *key)
{
    size_t at = keys->count++;
    for (; at > 0 && memcmp(key->says.id, keys->rows[at - 1].says.id, KL_KEY_ID_LEN) < 0; at--)
        keys->rows[at] = keys->rows[at - 1];
    keys->rows[at] = *key;
}

enum kl_code kl_domain_keys_list(struct kl_session *s, struct kl_domain_keys *ret,
                                 struct kl_err *err)
{
    struct kl_domain_keys keys = {.count = 0};
    CK_OBJECT_HANDLE found[KL_DOMAIN_KEYS_MAX];
    CK_ULONG count = 0;
    CK_RV rv = find_wraps(s, found, &count);
    for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++) {
        struct kl_domain_key key;
        enum kl_code code = read_wrap(s, found[i], &key, err);
        if (code != KL_OK)
            return code;
        rv = find_mac(s, key.says.id, &key.mac);
        /* An early key is whole without it: its MAC key is made when it is first used. */
        key.says.whole = key.mac != CK_INVALID_HANDLE || is_early(key.says.id);
        put_in_order(&keys, &key);
    }
    if (rv != CKR_OK)
        return kl_recover_fault(s, rv, "C_FindObjects", err);
    *ret = keys;
    ret->current = NULL;
    for (size_t i = 0; i < ret->count; i++)
        if (ret->rows[i].says.whole)
            ret->current = &ret->rows[i];
    for (size_t i = 0; i < ret->count; i++)
        ret->rows[i].says.current = &ret->rows[i] == ret->current;
    return KL_OK;
}

enum kl_code kl_domain_keys_find(struct kl_session *s, const uint8_t id[static KL_KEY_ID_LEN],
                                 struct kl_domain_key *ret, struct kl_err *err)
{
    struct kl_domain_keys keys;
    enum kl_code code = kl_domain_keys_list(s, &keys, err);
    if (code != KL_OK)
        return code;
    for (size_t i = 0; i < keys.count; i++) {
        if (memcmp(keys.rows[i].says.id, id, KL_KEY_ID_LEN) != 0)
            continue;
        *ret = keys.rows[i];
        return KL_OK;
    }
    char hex[2 * KL_KEY_ID_LEN + 1];
    kl_hex(id, KL_KEY_ID_LEN, hex);
    return kl_fail(err, KL_NOT_FOUND, "C_FindObjects",
                   "the domain key %s is not on the token: retired, or another domain's", hex);
}

enum kl_code kl_domain_keys_current(struct kl_session *s, struct kl_domain_key *ret,
                                    struct kl_err *err)
{
    struct kl_domain_keys keys;
    enum kl_code code = kl_domain_keys_list(s, &keys, err);
    if (code == KL_OK && keys.current == NULL)
        return kl_fail(err, KL_NOT_FOUND, "C_FindObjects", "the token has no domain key");
    if (code == KL_OK)
        *ret = *keys.current;
    return code;
}

/* Made by the token, or brought in, with all rows; when refused, with fewer from the end, down to
 * `least`. `bytes` is the row that says the value's length, for the token; a value takes its place.
 */
static CK_RV make(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session, CK_MECHANISM_TYPE mechanism,
                  CK_ATTRIBUTE *attrs, CK_ULONG count, CK_ULONG least, CK_ATTRIBUTE *bytes,
                  const uint8_t *value)
{
    CK_MECHANISM how = {.mechanism = mechanism};
    CK_OBJECT_HANDLE key;
    CK_RV rv;
    if (value != NULL)
        *bytes = KL_ATTR(CKA_VALUE, value, KL_DOMAIN_HALF);
    do
        rv = value != NULL ? f->C_CreateObject(session, attrs, count, &key)
                           : f->C_GenerateKey(session, &how, attrs, count, &key);
    while (kl_create_is_template_error(rv) && count-- > least);
    return rv;
}

CK_RV kl_domain_key_make_wrap(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE so,
                              const uint8_t id[static KL_KEY_ID_LEN], const uint8_t *value)
{
    static const CK_KEY_TYPE type = CKK_AES;
    CK_ATTRIBUTE inner[] = {KL_ATTR_VALUE(CKA_SENSITIVE, yes),
                            KL_ATTR_VALUE(CKA_WRAP_WITH_TRUSTED, yes)};
    /* PRIVATE is false because the SO cannot handle private objects */
    CK_ATTRIBUTE attrs[] = {
        KL_ATTR_VALUE(CKA_VALUE_LEN, half),
        KL_ATTR_VALUE(CKA_CLASS, secret_class),
        KL_ATTR_VALUE(CKA_KEY_TYPE, type),
        KL_ATTR_VALUE(CKA_TOKEN, yes),
        KL_ATTR_VALUE(CKA_PRIVATE, no),
        KL_ATTR_VALUE(CKA_SENSITIVE, yes),
        KL_ATTR_VALUE(CKA_EXTRACTABLE, no),
        KL_ATTR_VALUE(CKA_TRUSTED, yes),
        KL_ATTR_VALUE(CKA_WRAP, yes),
        KL_ATTR_VALUE(CKA_UNWRAP, yes),
        KL_ATTR_VALUE(CKA_ENCRYPT, no),
        KL_ATTR_VALUE(CKA_DECRYPT, no),
        KL_ATTR(CKA_LABEL, KL_DOMAIN_LABEL, sizeof KL_DOMAIN_LABEL - 1),
        KL_ATTR(CKA_ID, id, KL_KEY_ID_LEN),
        KL_ATTR_VALUE(CKA_SIGN, no),
        KL_ATTR_VALUE(CKA_VERIFY, no),
        KL_ATTR_VALUE(CKA_DERIVE, no),
        KL_ATTR_VALUE(CKA_MODIFIABLE, no),
        KL_ATTR(CKA_UNWRAP_TEMPLATE, inner, sizeof inner),
        KL_ATTR_VALUE(CKA_COPYABLE, no),
    };
    return make(f, so, CKM_AES_KEY_GEN, attrs, KL_COUNT(attrs), 14, &attrs[0], value);
}

/* Usage flags are said even where they are false: SoftHSM 2.6.1 makes them true otherwise. */
CK_RV kl_domain_key_make_mac(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE user,
                             const uint8_t id[static KL_KEY_ID_LEN], const uint8_t *value)
{
    static const CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_ATTRIBUTE attrs[] = {
        KL_ATTR_VALUE(CKA_VALUE_LEN, half),
        KL_ATTR_VALUE(CKA_CLASS, secret_class),
        KL_ATTR_VALUE(CKA_KEY_TYPE, type),
        KL_ATTR_VALUE(CKA_TOKEN, yes),
        KL_ATTR_VALUE(CKA_PRIVATE, yes),
        KL_ATTR_VALUE(CKA_SENSITIVE, yes),
        KL_ATTR_VALUE(CKA_EXTRACTABLE, no),
        KL_ATTR_VALUE(CKA_SIGN, yes),
        KL_ATTR_VALUE(CKA_VERIFY, yes),
        KL_ATTR(CKA_LABEL, KL_DOMAIN_MAC_LABEL, sizeof KL_DOMAIN_MAC_LABEL - 1),
        KL_ATTR(CKA_ID, id, KL_KEY_ID_LEN),
        KL_ATTR_VALUE(CKA_ENCRYPT, no),
        KL_ATTR_VALUE(CKA_DECRYPT, no),
        KL_ATTR_VALUE(CKA_WRAP, no),
        KL_ATTR_VALUE(CKA_UNWRAP, no),
        KL_ATTR_VALUE(CKA_DERIVE, no),
        KL_ATTR_VALUE(CKA_MODIFIABLE, no),
        KL_ATTR_VALUE(CKA_COPYABLE, no),
    };
    return make(f, user, CKM_GENERIC_SECRET_KEY_GEN, attrs, KL_COUNT(attrs), 11, &attrs[0], value);
}

CK_RV kl_domain_key_destroy_mac(struct kl_session *s, const uint8_t id[static KL_KEY_ID_LEN])
{
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_RV rv = kl_session_ensure(s);
    if (rv == CKR_OK)
        rv = find_mac(s, id, &key);
    return rv == CKR_OK && key != CK_INVALID_HANDLE ? kl_f(s)->C_DestroyObject(s->handle, key) : rv;
}

enum kl_code kl_domain_key_mac(struct kl_session *s, const struct kl_token_request *req,
                               uint8_t out[static KL_DOMAIN_HALF], struct kl_err *err)
{
    const uint8_t *id = req->key.id;
    if (is_early(id))
        return kl_secret_key_mac_call(s, req, out, err);
    for (int attempt = 0;; attempt++) {
        struct kl_domain_key key;
        enum kl_code code = kl_domain_keys_find(s, id, &key, err);
        if (code == KL_OK && key.mac == CK_INVALID_HANDLE)
            code = kl_fail(err, KL_TOKEN_KEY_MISSING, "C_FindObjects",
                           "the domain key's MAC key is not on the token");
        if (code != KL_OK)
            return code;
        CK_RV rv = kl_secret_key_hmac(s, key.mac, req->input, req->input_len, out);
        if (rv == CKR_OK)
            return KL_OK;
        if (attempt > 0)
            return kl_recover_fault(s, rv, "C_Sign", err);
        kl_session_drop(s);
    }
}
