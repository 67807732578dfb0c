#include "pkcs11/worker/manage.h"

#include "pkcs11/worker/attr.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/create.h"
#include "pkcs11/worker/domain.h"
#include "pkcs11/worker/domain_key.h"
#include "pkcs11/worker/durable.h"
#include "pkcs11/worker/foreign.h"
#include "pkcs11/worker/import.h"
#include "pkcs11/worker/probe.h"
#include "pkcs11/worker/recover.h"
#include "pkcs11/worker/session.h"

#include <string.h>

static void put(struct kl_answer *a, const void *bytes, size_t n)
{
    memcpy(a->bytes + a->len, bytes, n);
    a->len += n;
}

/* Nothing may have the id yet, and there must be room. */
static enum kl_code check_new_id(struct kl_session *s, const uint8_t *id, struct kl_err *err)
{
    struct kl_key key;
    CK_RV rv = kl_session_ensure(s);
    if (rv != CKR_OK)
        return kl_recover_fault(s, rv, "C_OpenSession", err);
    switch (kl_keys_get(s->worker->keys, s, id, &key, &rv, err)) {
    case KL_TOKEN_KEY_MISSING:
        return kl_durable_check(s->worker->conf.store_dir, err);
    case KL_TOKEN_UNAVAILABLE:
        return kl_recover_fault(s, rv, "C_FindObjects", err);
    default:
        return kl_fail(err, KL_EXISTS, "C_FindObjects", "the token has a key with this id already");
    }
}

/* Judge a pair that is on the token now: attributes, public half, fingerprint if one is named, all
 * algorithms, disk. */
static enum kl_code accept_pair(struct kl_session *s, const struct kl_token_request *req,
                                CK_OBJECT_HANDLE private, CK_OBJECT_HANDLE public,
                                const uint8_t *spki_hash, struct kl_answer *ret, struct kl_err *err)
{
    struct kl_key key;
    enum kl_code code = kl_create_check(s, private, &req->spec, err);
    if (code != KL_OK)
        return code;
    CK_RV rv = kl_keys_read(s, private, public, req->key.id, &key);
    if (rv != CKR_OK)
        return kl_recover_proof(s, rv, "C_GetAttributeValue", err);
    if (key.spki_len == 0)
        return kl_fail(err, KL_TOKEN_READBACK, "C_GetAttributeValue",
                       "the token does not show the public half of the new key");
    if (key.type != req->spec.type || key.curve != req->spec.curve ||
        (key.type == KL_KEY_RSA && req->spec.bits != 0 && key.size_bytes * 8 != req->spec.bits))
        return kl_fail(err, KL_TOKEN_READBACK, "C_GetAttributeValue",
                       "the token made a key of another kind");
    if (spki_hash != NULL && memcmp(spki_hash, key.ref.spki_hash, KL_SPKI_HASH_LEN) != 0)
        return kl_fail(err, KL_TOKEN_READBACK, "C_GetAttributeValue",
                       "the unwrapped key is another key");
    code = kl_create_round_trips(s, &key, err);
    if (code == KL_OK)
        code = kl_durable_barrier(s->worker->conf.store_dir, err);
    if (code != KL_OK)
        return code;
    kl_keys_put(s->worker->keys, &key);
    put(ret, key.spki, key.spki_len);
    return KL_OK;
}

/* After a failure nothing may stay, however far it came. */
static enum kl_code undo(struct kl_session *s, const uint8_t *id, enum kl_code code,
                         struct kl_err *err)
{
    kl_session_drop(s);
    CK_RV rv = kl_create_destroy(s, id);
    if (rv != CKR_OK && s->again) { /* a second try would meet what is left */
        s->again = false;
        atomic_store(&s->worker->condemned, true);
    }
    if (rv != CKR_OK && err != NULL)
        (void)snprintf(err->detail, sizeof err->detail, "and the clean-up failed: %s",
                       kl_ckr_name(rv));
    return code;
}

static enum kl_code generate(struct kl_session *s, const struct kl_token_request *req,
                             struct kl_answer *ret, struct kl_err *err)
{
    CK_OBJECT_HANDLE private = CK_INVALID_HANDLE, public = CK_INVALID_HANDLE;
    struct kl_token_request asked = *req;
    enum kl_code code = kl_create_check_spec(&req->spec, err);
    if (code == KL_OK)
        code = check_new_id(s, req->key.id, err);
    if (code != KL_OK)
        return code;
    asked.spec.may_unwrap = req->spec.may_unwrap && kl_import_is_inside(s);
    CK_RV rv = kl_create_generate(s, &asked.spec, req->key.id, true, &private, &public);
    code = rv == CKR_OK ? accept_pair(s, &asked, private, public, NULL, ret, err)
                        : kl_recover_fault(s, rv, "C_GenerateKeyPair", err);
    return code == KL_OK ? KL_OK : undo(s, req->key.id, code, err);
}

static enum kl_code unwrap(struct kl_session *s, const struct kl_token_request *req,
                           struct kl_answer *ret, struct kl_err *err)
{
    CK_OBJECT_HANDLE private = CK_INVALID_HANDLE, public = CK_INVALID_HANDLE;
    struct kl_token_request asked = *req;
    asked.spec.profile = KL_PROFILE_DOMAIN; /* what comes out of a blob stays in the domain */
    enum kl_code code = kl_create_check_spec(&asked.spec, err);
    if (code == KL_OK)
        code = check_new_id(s, req->key.id, err);
    if (code != KL_OK)
        return code;
    code = kl_domain_unwrap(s, &asked, &private, &public, err);
    if (code == KL_OK)
        code = accept_pair(s, &asked, private, public, req->key.spki_hash, ret, err);
    return code == KL_OK ? KL_OK : undo(s, req->key.id, code, err);
}

static enum kl_code import(struct kl_session *s, const struct kl_token_request *req,
                           struct kl_answer *ret, struct kl_err *err)
{
    CK_OBJECT_HANDLE private = CK_INVALID_HANDLE, public = CK_INVALID_HANDLE;
    struct kl_token_request found = *req; /* its spec as the key turns out to be */
    enum kl_code code = check_new_id(s, req->key.id, err);
    if (code != KL_OK)
        return code;
    code = kl_import_objects(s, &found, &private, &public, &ret->mechanism, err);
    if (code == KL_OK)
        code = accept_pair(s, &found, private, public, NULL, ret, err);
    return code == KL_OK ? KL_OK : undo(s, req->key.id, code, err);
}

static enum kl_code destroy(struct kl_session *s, const struct kl_token_request *req,
                            struct kl_err *err)
{
    struct kl_key key;
    enum kl_code code = kl_recover_key(s, &req->key, &key, err);
    bool other = code == KL_TOKEN_KEY_MISSING && kl_keys_knows(s->worker->keys, req->key.id);
    if (other || (code != KL_OK && code != KL_TOKEN_KEY_MISSING && code != KL_TOKEN_UNSUPPORTED))
        return code; /* another key under this id is not ours to destroy */
    CK_RV rv = kl_session_ensure(s);
    if (rv == CKR_OK && code == KL_OK && key.foreign)
        rv = kl_foreign_destroy(s, &key);
    else if (rv == CKR_OK)
        rv = kl_create_destroy(s, req->key.id);
    if (rv != CKR_OK)
        return kl_recover_fault(s, rv, "C_DestroyObject", err);
    return kl_durable_barrier(s->worker->conf.store_dir, err);
}

static CK_RV read_label(struct kl_session *s, const struct kl_key *key, char out[static 64])
{
    char label[512];
    CK_ATTRIBUTE attr = KL_ATTR(CKA_LABEL, label, sizeof label);
    CK_RV rv = kl_attr_read(kl_f(s), s->handle, key->handle, &attr, 1);
    size_t n = rv == CKR_OK && attr.ulValueLen <= sizeof label ? attr.ulValueLen : 0;
    if (n > 63)
        n = 63;
    memcpy(out, label, n);
    out[n] = 0;
    return rv == CKR_BUFFER_TOO_SMALL ? CKR_OK : rv;
}

static enum kl_code list(struct kl_session *s, const struct kl_token_request *req,
                         struct kl_answer *ret, struct kl_err *err)
{
    CK_RV rv = kl_session_ensure(s);
    if (rv == CKR_OK && req->offset == 0)
        rv = kl_keys_list(s->worker->keys, s); /* others may have made keys */
    if (rv != CKR_OK)
        return kl_recover_fault(s, rv, "C_FindObjects", err);
    for (size_t place = req->offset; ret->len + sizeof(struct kl_token_listed) <= sizeof ret->bytes;
         place++) {
        struct kl_token_listed row = {.label = ""};
        struct kl_key key;
        if (!kl_keys_id_at(s->worker->keys, place, row.key.id))
            break;
        enum kl_code code = kl_keys_get(s->worker->keys, s, row.key.id, &key, &rv, err);
        if (code == KL_OK) {
            row.key = key.ref;
            rv = read_label(s, &key, row.label);
        }
        if (rv != CKR_OK && kl_ckr_class(rv) != KL_CKR_HANDLE)
            return kl_recover_fault(s, rv, "C_GetAttributeValue", err);
        put(ret, &row, sizeof row); /* an ambiguous or foreign key: with an empty fingerprint */
    }
    return KL_OK;
}

static enum kl_code list_domain_keys(struct kl_session *s, struct kl_answer *ret,
                                     struct kl_err *err)
{
    struct kl_domain_keys keys;
    enum kl_code code = kl_domain_keys_list(s, &keys, err);
    for (size_t i = 0; code == KL_OK && i < keys.count; i++)
        put(ret, &keys.rows[i].says, sizeof keys.rows[i].says);
    return code;
}

static enum kl_code probe(struct kl_session *s, struct kl_answer *ret, struct kl_err *err)
{
    enum kl_code code = kl_probe_run(s, err);
    if (code == KL_OK)
        put(ret, &s->worker->caps, sizeof s->worker->caps);
    return code;
}

static enum kl_code serve_locked(struct kl_session *s, const struct kl_token_request *req,
                                 struct kl_answer *ret, struct kl_err *err)
{
    switch (req->call) {
    case KL_CALL_PROBE:
        return probe(s, ret, err);
    case KL_CALL_GENERATE:
        return generate(s, req, ret, err);
    case KL_CALL_DESTROY:
        return destroy(s, req, err);
    case KL_CALL_WRAP:
        return kl_domain_wrap(s, req, ret->bytes, &ret->len, &ret->mechanism, err);
    case KL_CALL_UNWRAP:
        return unwrap(s, req, ret, err);
    case KL_CALL_LIST:
        return list(s, req, ret, err);
    case KL_CALL_DOMAIN:
        return list_domain_keys(s, ret, err);
    case KL_CALL_RESEAL:
        return kl_domain_reseal(s, req, ret->bytes, &ret->len, &ret->mechanism, err);
    case KL_CALL_ATTACH:
        return kl_foreign_attach(s, req, ret->bytes, &ret->len, err);
    case KL_CALL_IMPORT:
        return import(s, req, ret, err);
    case KL_CALL_DECRYPT:
    case KL_CALL_SIGN:
    case KL_CALL_RANDOM:
    case KL_CALL_MAC:
    case KL_CALL_FIND:
    case KL_CALL_CANARY:
    case KL_CALL_COUNT:
        break;
    }
    return kl_fail(err, KL_BAD_INPUT, "lane", "this call has no business on the management lane");
}

enum kl_code kl_manage_serve(struct kl_session *s, const struct kl_token_request *req,
                             struct kl_answer *ret, struct kl_err *err)
{
    enum kl_code code;
    (void)pthread_mutex_lock(&s->worker->creating); /* a MAC key may be in the making on lane 0 */
    do {
        ret->len = 0;
        ret->mechanism = 0;
        code = serve_locked(s, req, ret, err);
    } while (kl_recover_again(s, code));
    (void)pthread_mutex_unlock(&s->worker->creating);
    return code;
}
