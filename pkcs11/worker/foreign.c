#include "pkcs11/worker/foreign.h"

#include "pkcs11/worker/attr.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/create.h"
#include "pkcs11/worker/recover.h"
#include "pkcs11/worker/session.h"

#include <openssl/evp.h>
#include <p11-kit/uri.h>
#include <string.h>

#define NAME_BYTES 255  /* of a CKA_ID or a CKA_LABEL */
#define MOST_KEYS  4096 /* that are looked through for an alias */

KL_AUTO_DEFINE(key_uri, P11KitUri, p11_kit_uri_free);
KL_AUTO_DEFINE(found, CK_OBJECT_HANDLE, free);

static const CK_BBOOL yes = CK_TRUE;

/* How somebody named an object: by its CKA_ID, or by its CKA_LABEL. */
struct name {
    CK_ATTRIBUTE_TYPE type;
    uint8_t bytes[NAME_BYTES];
    CK_ULONG len;
};

static bool read_one(struct kl_session *s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                     struct name *ret)
{
    CK_ATTRIBUTE attr = KL_ATTR(type, ret->bytes, sizeof ret->bytes);
    CK_RV rv = kl_attr_read(kl_f(s), s->handle, object, &attr, 1);
    ret->type = type;
    ret->len = attr.ulValueLen;
    return rv == CKR_OK && attr.ulValueLen > 0 && attr.ulValueLen <= sizeof ret->bytes;
}

static bool read_name(struct kl_session *s, CK_OBJECT_HANDLE object, struct name *ret)
{
    return read_one(s, object, CKA_ID, ret) || read_one(s, object, CKA_LABEL, ret);
}

bool kl_foreign_alias(struct kl_session *s, CK_OBJECT_HANDLE object,
                      uint8_t id[static KL_KEY_ID_LEN])
{
    static const char purpose[] = "kluis alias of a key 1";
    uint8_t input[sizeof purpose + 1 + NAME_BYTES], digest[32];
    struct name n;
    if (!read_name(s, object, &n))
        return false;
    if (n.type == CKA_ID && n.len == KL_KEY_ID_LEN) {
        memcpy(id, n.bytes, KL_KEY_ID_LEN);
        return true;
    }
    memcpy(input, purpose, sizeof purpose);
    input[sizeof purpose] = n.type == CKA_ID;
    memcpy(input + sizeof purpose + 1, n.bytes, n.len);
    if (EVP_Digest(input, sizeof purpose + 1 + n.len, digest, NULL, EVP_sha256(), NULL) != 1)
        return false;
    memcpy(id, digest, KL_KEY_ID_LEN);
    return true;
}

CK_RV kl_foreign_find(struct kl_session *s, const uint8_t id[static KL_KEY_ID_LEN],
                      CK_OBJECT_HANDLE ret[static 2], CK_ULONG *ret_count)
{
    static const CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE match[] = {KL_ATTR_VALUE(CKA_CLASS, class), KL_ATTR_VALUE(CKA_TOKEN, yes)};
    KL_AUTO(found) all = calloc(MOST_KEYS, sizeof *all);
    CK_ULONG count = 0;
    *ret_count = 0;
    if (all == NULL)
        return CKR_HOST_MEMORY;
    CK_RV rv = kl_attr_find(kl_f(s), s->handle, match, KL_COUNT(match), all, MOST_KEYS, &count);
    for (CK_ULONG i = 0; rv == CKR_OK && i < count && *ret_count < 2; i++) {
        uint8_t alias[KL_KEY_ID_LEN];
        if (kl_foreign_alias(s, all[i], alias) && memcmp(alias, id, sizeof alias) == 0)
            ret[(*ret_count)++] = all[i];
    }
    return rv;
}

CK_RV kl_foreign_public(struct kl_session *s, CK_OBJECT_HANDLE private,
                        CK_OBJECT_HANDLE ret[static 2], CK_ULONG *ret_count)
{
    static const CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    struct name n;
    *ret_count = 0;
    if (!read_name(s, private, &n))
        return CKR_OK;
    CK_ATTRIBUTE match[] = {KL_ATTR_VALUE(CKA_CLASS, class), KL_ATTR_VALUE(CKA_TOKEN, yes),
                            KL_ATTR(n.type, n.bytes, n.len)};
    return kl_attr_find(kl_f(s), s->handle, match, KL_COUNT(match), ret, 2, ret_count);
}

/* --- attach --- */

static enum kl_code parse(struct kl_session *s, const struct kl_token_request *req, P11KitUri **ret,
                          struct kl_err *err)
{
    char text[1024];
    KL_AUTO(key_uri) uri = p11_kit_uri_new();
    if (uri == NULL)
        return kl_fail(err, KL_NO_MEMORY, "p11_kit_uri_new", "no memory for the key's URI");
    if (req->input_len >= sizeof text || memchr(req->input, 0, req->input_len) != NULL)
        return kl_fail(err, KL_BAD_INPUT, "uri", "the key's URI is too long");
    memcpy(text, req->input, req->input_len);
    text[req->input_len] = 0;
    int rc = p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, uri);
    if (rc != P11_KIT_URI_OK || p11_kit_uri_any_unrecognized(uri))
        return kl_fail(err, KL_BAD_INPUT, "uri", "the key's URI is malformed: %s",
                       rc != P11_KIT_URI_OK ? p11_kit_uri_message(rc) : "an unknown attribute");
    if (p11_kit_uri_get_pin_value(uri) != NULL || p11_kit_uri_get_pin_source(uri) != NULL)
        return kl_fail(err, KL_BAD_INPUT, "uri", "the key's URI must not say anything about a PIN");
    if (p11_kit_uri_get_attribute(uri, CKA_ID) == NULL &&
        p11_kit_uri_get_attribute(uri, CKA_LABEL) == NULL)
        return kl_fail(err, KL_BAD_INPUT, "uri", "the key's URI must say id= or object=");
    if (!p11_kit_uri_match_token_info(uri, &s->worker->info))
        return kl_fail(err, KL_NOT_FOUND, "uri", "the URI is another token's");
    *ret = kl_take(uri);
    return KL_OK;
}

static enum kl_code find_one(struct kl_session *s, P11KitUri *uri, CK_OBJECT_HANDLE *ret,
                             struct kl_err *err)
{
    static const CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE match[4] = {KL_ATTR_VALUE(CKA_CLASS, class), KL_ATTR_VALUE(CKA_TOKEN, yes)};
    const CK_ATTRIBUTE_TYPE types[] = {CKA_ID, CKA_LABEL};
    CK_ULONG count = 2, found = 0;
    CK_OBJECT_HANDLE handles[2];
    for (size_t i = 0; i < KL_COUNT(types); i++) {
        const CK_ATTRIBUTE *a = p11_kit_uri_get_attribute(uri, types[i]);
        if (a != NULL)
            match[count++] = *a;
    }
    CK_RV rv = kl_session_ensure(s);
    if (rv == CKR_OK)
        rv = kl_attr_find(kl_f(s), s->handle, match, count, handles, 2, &found);
    if (rv != CKR_OK)
        return kl_recover_fault(s, rv, "C_FindObjects", err);
    if (found == 0)
        return kl_fail(err, KL_NOT_FOUND, "C_FindObjects", "the token has no such private key");
    if (found > 1)
        return kl_fail(err, KL_BAD_INPUT, "C_FindObjects",
                       "several private keys of the token fit the URI: let it say id= and object=");
    *ret = handles[0];
    return KL_OK;
}

/* A key that can be read, or taken off the token, is none to rely on. */
static enum kl_code check_kept(struct kl_session *s, CK_OBJECT_HANDLE private,
                               struct kl_token_attached *ret, struct kl_err *err)
{
    struct {
        CK_ATTRIBUTE_TYPE type;
        CK_BBOOL is;
    } rows[] = {{CKA_SENSITIVE, 2},
                {CKA_EXTRACTABLE, 2},
                {CKA_ALWAYS_SENSITIVE, 2},
                {CKA_NEVER_EXTRACTABLE, 2},
                {CKA_ALWAYS_AUTHENTICATE, CK_FALSE}};
    CK_ATTRIBUTE attrs[KL_COUNT(rows)];
    for (size_t i = 0; i < KL_COUNT(rows); i++)
        attrs[i] = KL_ATTR_VALUE(rows[i].type, rows[i].is);
    CK_RV rv = kl_attr_read(kl_f(s), s->handle, private, attrs, KL_COUNT(attrs));
    if (rv != CKR_OK)
        return kl_recover_fault(s, rv, "C_GetAttributeValue", err);
    if (rows[0].is != CK_TRUE)
        return kl_fail(err, KL_BAD_INPUT, "CKA_SENSITIVE",
                       "the key is not SENSITIVE: its value can be read off the token");
    if (rows[1].is != CK_FALSE)
        return kl_fail(err, KL_BAD_INPUT, "CKA_EXTRACTABLE",
                       "the key is EXTRACTABLE: it can be taken off the token wrapped");
    if (rows[4].is == CK_TRUE)
        return kl_fail(err, KL_BAD_INPUT, "CKA_ALWAYS_AUTHENTICATE",
                       "the key wants a PIN for each use, which a service cannot give");
    ret->always_kept = rows[2].is == CK_TRUE && rows[3].is == CK_TRUE;
    return KL_OK;
}

static enum kl_code check_strength(const struct kl_key *key, struct kl_err *err)
{
    if (key->spki_len == 0)
        return kl_fail(err, KL_BAD_INPUT, "C_GetAttributeValue",
                       "the token does not show the public half, or it is no RSA or EC key (P-256, "
                       "P-384, P-521) that is served");
    if (key->type == KL_KEY_RSA &&
        (key->size_bytes < 256 || key->size_bytes > 512 || (key->modulus[0] & 0x80) == 0))
        return kl_fail(err, KL_BAD_INPUT, "CKA_MODULUS",
                       "RSA keys of 2048 to 4096 bits are served, this one has %zu",
                       8 * key->size_bytes);
    return KL_OK;
}

static enum kl_code bind(struct kl_session *s, CK_OBJECT_HANDLE private, struct kl_key *key,
                         struct kl_err *err)
{
    uint8_t alias[KL_KEY_ID_LEN], real[64];
    CK_ATTRIBUTE id = KL_ATTR(CKA_ID, real, sizeof real);
    if (!kl_foreign_alias(s, private, alias))
        return kl_fail(err, KL_BAD_INPUT, "C_GetAttributeValue",
                       "the key has neither a CKA_ID nor a label to find it by");
    CK_RV rv = kl_attr_read(kl_f(s), s->handle, private, &id, 1);
    bool foreign = rv != CKR_OK || !kl_attr_has(&id, KL_KEY_ID_LEN);
    rv = kl_keys_read(s, private, CK_INVALID_HANDLE, alias, key);
    if (rv != CKR_OK)
        return kl_recover_fault(s, rv, "C_GetAttributeValue", err);
    key->foreign = foreign;
    return check_strength(key, err);
}

enum kl_code kl_foreign_attach(struct kl_session *s, const struct kl_token_request *req,
                               uint8_t *out, size_t *ret_len, struct kl_err *err)
{
    KL_AUTO(key_uri) uri = NULL;
    CK_OBJECT_HANDLE private = CK_INVALID_HANDLE;
    struct kl_token_attached says = {.always_kept = 0};
    struct kl_key key;
    enum kl_code code = parse(s, req, &uri, err);
    if (code == KL_OK)
        code = find_one(s, uri, &private, err);
    if (code == KL_OK)
        code = check_kept(s, private, &says, err);
    if (code == KL_OK)
        code = bind(s, private, &key, err);
    if (code == KL_OK)
        code = kl_create_round_trips(s, &key, err);
    if (code != KL_OK)
        return code;
    kl_keys_put(s->worker->keys, &key);
    memcpy(says.id, key.ref.id, sizeof says.id);
    says.may_decrypt = key.may_decrypt;
    says.may_sign = key.may_sign;
    memcpy(out, &says, sizeof says);
    memcpy(out + sizeof says, key.spki, key.spki_len);
    *ret_len = sizeof says + key.spki_len;
    return KL_OK;
}

CK_RV kl_foreign_destroy(struct kl_session *s, const struct kl_key *key)
{
    CK_OBJECT_HANDLE public[2], left[2];
    CK_ULONG count = 0, still = 0;
    CK_RV rv = kl_foreign_public(s, key->handle, public, &count);
    kl_keys_forget(s->worker->keys, key->ref.id);
    if (rv == CKR_OK)
        rv = kl_f(s)->C_DestroyObject(s->handle, key->handle);
    for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++)
        rv = kl_f(s)->C_DestroyObject(s->handle, public[i]);
    if (rv == CKR_OK)
        rv = kl_foreign_find(s, key->ref.id, left, &still);
    return rv == CKR_OK && still > 0 ? CKR_FUNCTION_FAILED : rv;
}
