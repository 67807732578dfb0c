#include "pkcs11/worker/key.h"

#include "pkcs11/worker/attr.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/foreign.h"
#include "pkcs11/worker/mech.h"
#include "pkcs11/worker/progress.h"
#include "pkcs11/worker/session.h"

#include <string.h>

#define MOST_KEYS (1u << 20)
#define STEP_KEYS 64 /* of a listing, between two words to the client */

struct entry {
    uint8_t id[KL_KEY_ID_LEN];
    CK_OBJECT_HANDLE handle;
    CK_OBJECT_HANDLE public_handle; /* EC only; CK_INVALID_HANDLE = look for it */
    bool gone, ambiguous, foreign;
    struct kl_key *bound; /* NULL until first use */
};

struct kl_keys {
    pthread_rwlock_t lock;
    struct entry *entries;
    size_t count, room;
    uint32_t *slots; /* index into entries + 1; 0 = empty; open addressing, a power of two */
    size_t slot_count;
};

KL_AUTO_DEFINE(handles, CK_OBJECT_HANDLE, free);

struct kl_keys *kl_keys_new(void)
{
    struct kl_keys *k = calloc(1, sizeof *k);
    if (k != NULL)
        (void)pthread_rwlock_init(&k->lock, NULL);
    return k;
}

static void clear(struct kl_keys *k)
{
    for (size_t i = 0; i < k->count; i++)
        free(k->entries[i].bound);
    free(k->entries);
    free(k->slots);
    k->entries = NULL;
    k->slots = NULL;
    k->count = k->room = k->slot_count = 0;
}

/* Ids are random, so four of their bytes are a hash; a foreign key's id may be anything, which only
 * costs time. */
static size_t place_of(const struct kl_keys *k, const uint8_t *id)
{
    uint32_t h;
    memcpy(&h, id, sizeof h);
    h ^= (uint32_t)id[8] << 16 ^ (uint32_t)id[15] << 8;
    size_t at = (h * 2654435761u) & (k->slot_count - 1);
    while (k->slots[at] != 0 && memcmp(k->entries[k->slots[at] - 1].id, id, KL_KEY_ID_LEN) != 0)
        at = (at + 1) & (k->slot_count - 1);
    return at;
}

static struct entry *lookup(const struct kl_keys *k, const uint8_t *id)
{
    if (k->slot_count == 0)
        return NULL;
    uint32_t slot = k->slots[place_of(k, id)];
    return slot == 0 ? NULL : &k->entries[slot - 1];
}

static bool grow(struct kl_keys *k)
{
    size_t room = k->room == 0 ? 64 : 2 * k->room;
    struct entry *entries = realloc(k->entries, room * sizeof *entries);
    if (entries == NULL)
        return false;
    k->entries = entries;
    uint32_t *slots = calloc(2 * room, sizeof *slots);
    if (slots == NULL)
        return false;
    free(k->slots);
    k->slots = slots;
    k->slot_count = 2 * room;
    k->room = room;
    for (size_t i = 0; i < k->count; i++)
        k->slots[place_of(k, k->entries[i].id)] = (uint32_t)i + 1;
    return true;
}

/* An entry for the id; a gone one is used again. NULL without memory. */
static struct entry *add(struct kl_keys *k, const uint8_t *id, CK_OBJECT_HANDLE handle)
{
    struct entry *old = lookup(k, id);
    if (old != NULL && !old->gone) {
        old->ambiguous |= old->handle != handle;
        return old;
    }
    if (old == NULL && k->count == k->room && !grow(k))
        return NULL;
    struct entry *e = old;
    if (e == NULL) {
        e = &k->entries[k->count++];
        memcpy(e->id, id, KL_KEY_ID_LEN);
        k->slots[place_of(k, id)] = (uint32_t)k->count;
    }
    e->handle = handle;
    e->public_handle = CK_INVALID_HANDLE;
    e->gone = e->ambiguous = false;
    e->bound = NULL;
    return e;
}

/* All token objects of a class (and key type, if given). */
static CK_RV list_class(struct kl_session *s, CK_OBJECT_CLASS class, const CK_KEY_TYPE *type,
                        CK_OBJECT_HANDLE **ret, CK_ULONG *ret_count)
{
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE match[] = {KL_ATTR_VALUE(CKA_CLASS, class), KL_ATTR_VALUE(CKA_TOKEN, yes),
                            KL_ATTR(CKA_KEY_TYPE, type, sizeof *type)};
    CK_ULONG room = 1024, found = 0;
    KL_AUTO(handles) list = NULL;
    CK_RV rv = CKR_OK;
    do {
        room *= 8;
        CK_OBJECT_HANDLE *bigger = realloc(list, room * sizeof *bigger);
        if (bigger == NULL)
            return CKR_HOST_MEMORY;
        list = bigger;
        rv = kl_attr_find(kl_f(s), s->handle, match, type != NULL ? 3 : 2, list, room, &found);
    } while (rv == CKR_OK && found == room && room < MOST_KEYS);
    if (rv != CKR_OK)
        return rv;
    *ret = kl_take(list);
    *ret_count = found;
    return CKR_OK;
}

/* `type` may be NULL: SoftHSM opens the object's file once more for each attribute. */
static CK_RV read_id(struct kl_session *s, CK_OBJECT_HANDLE object, uint8_t id[static 64],
                     CK_KEY_TYPE *type, bool *ret_ours, bool *ret_foreign)
{
    CK_KEY_TYPE unasked = CKK_VENDOR_DEFINED;
    CK_KEY_TYPE *kind = type != NULL ? type : &unasked;
    *ret_foreign = false;
    CK_ATTRIBUTE attrs[] = {KL_ATTR(CKA_ID, id, 64), KL_ATTR_VALUE(CKA_KEY_TYPE, *kind)};
    CK_RV rv = kl_attr_read(kl_f(s), s->handle, object, attrs, type != NULL ? 2 : 1);
    *ret_ours = rv == CKR_OK && kl_attr_has(&attrs[0], KL_KEY_ID_LEN);
    if (rv == CKR_OBJECT_HANDLE_INVALID)
        return CKR_OK; /* an object may vanish while we list */
    if (!*ret_ours && (rv == CKR_OK || rv == CKR_BUFFER_TOO_SMALL))
        *ret_ours = *ret_foreign = kl_foreign_alias(s, object, id);
    return rv == CKR_BUFFER_TOO_SMALL ? CKR_OK : rv;
}

static CK_RV index_private(struct kl_keys *k, struct kl_session *s, bool *ret_any_ec)
{
    KL_AUTO(handles) list = NULL;
    CK_ULONG count = 0, vanished = 0;
    CK_RV rv = list_class(s, CKO_PRIVATE_KEY, NULL, &list, &count);
    for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++) {
        uint8_t id[64];
        CK_KEY_TYPE type = CKK_VENDOR_DEFINED;
        bool ours, foreign;
        if (i % STEP_KEYS == 0)
            kl_progress_step("C_GetAttributeValue", false);
        rv = read_id(s, list[i], id, *ret_any_ec ? NULL : &type, &ours, &foreign);
        if (kl_ckr_class(rv) == KL_CKR_HANDLE && ++vanished < count)
            rv = CKR_OK; /* an object may vanish while we list; not all of them */
        if (rv != CKR_OK || !ours)
            continue;
        *ret_any_ec |= type == CKK_EC;
        struct entry *e = add(k, id, list[i]);
        if (e == NULL)
            rv = CKR_HOST_MEMORY;
        else
            e->foreign = foreign;
    }
    return rv;
}

static CK_RV index_ec_public(struct kl_keys *k, struct kl_session *s)
{
    KL_AUTO(handles) list = NULL;
    CK_ULONG count = 0;
    CK_KEY_TYPE ec = CKK_EC;
    CK_RV rv = list_class(s, CKO_PUBLIC_KEY, &ec, &list, &count);
    for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++) {
        uint8_t id[64];
        bool ours, foreign;
        rv = read_id(s, list[i], id, NULL, &ours, &foreign);
        if (kl_ckr_class(rv) == KL_CKR_HANDLE)
            rv = CKR_OK; /* looked for again where it is needed */
        struct entry *e = rv == CKR_OK && ours ? lookup(k, id) : NULL;
        if (e != NULL)
            e->public_handle = list[i];
    }
    return rv;
}

CK_RV kl_keys_list(struct kl_keys *k, struct kl_session *s)
{
    bool any_ec = false;
    struct kl_keys fresh = {.count = 0}; /* filled aside, so that nobody waits for the token */
    CK_RV rv = index_private(&fresh, s, &any_ec);
    if (rv == CKR_OK && any_ec)
        rv = index_ec_public(&fresh, s);
    (void)pthread_rwlock_wrlock(&k->lock);
    if (rv == CKR_OK) {
        clear(k);
        k->entries = kl_take(fresh.entries);
        k->slots = kl_take(fresh.slots);
        k->count = fresh.count;
        k->room = fresh.room;
        k->slot_count = fresh.slot_count;
        fresh.count = 0;
    }
    (void)pthread_rwlock_unlock(&k->lock);
    clear(&fresh);
    return rv;
}

size_t kl_keys_count(struct kl_keys *k)
{
    (void)pthread_rwlock_rdlock(&k->lock);
    size_t n = 0;
    for (size_t i = 0; i < k->count; i++)
        n += !k->entries[i].gone;
    (void)pthread_rwlock_unlock(&k->lock);
    return n;
}

static CK_RV find_by_id(struct kl_session *s, CK_OBJECT_CLASS class, const uint8_t *id,
                        CK_OBJECT_HANDLE *ret, CK_ULONG *ret_count)
{
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE match[] = {KL_ATTR_VALUE(CKA_CLASS, class), KL_ATTR_VALUE(CKA_TOKEN, yes),
                            KL_ATTR(CKA_ID, id, KL_KEY_ID_LEN)};
    return kl_attr_find(kl_f(s), s->handle, match, KL_COUNT(match), ret, 2, ret_count);
}

static CK_RV read_point(struct kl_session *s, CK_OBJECT_HANDLE public, struct kl_key *key)
{
    CK_OBJECT_HANDLE found[2] = {public};
    CK_ULONG count = 1;
    CK_RV rv = CKR_OK;
    if (public == CK_INVALID_HANDLE)
        rv = kl_foreign_public(s, key->handle, found, &count);
    if (rv != CKR_OK || count != 1)
        return rv;
    uint8_t point[160];
    CK_ATTRIBUTE attr = KL_ATTR(CKA_EC_POINT, point, sizeof point);
    rv = kl_attr_read(kl_f(s), s->handle, found[0], &attr, 1);
    if (rv == CKR_OK && attr.ulValueLen <= sizeof point)
        key->spki_len = kl_spki_put_ec(key->curve, point, attr.ulValueLen, key->spki);
    return rv;
}

static void bind_rsa(struct kl_key *key, const CK_ATTRIBUTE *n, const CK_ATTRIBUTE *e)
{
    const uint8_t *modulus = n->pValue;
    size_t len = n->ulValueLen;
    if (len > sizeof key->modulus + 1 || e->ulValueLen > 8)
        return; /* also when one was not readable */
    while (len > 0 && *modulus == 0) {
        modulus++;
        len--;
    }
    if (len > sizeof key->modulus)
        return;
    memcpy(key->modulus, modulus, len);
    key->size_bytes = len;
    key->spki_len = kl_spki_put_rsa(modulus, len, e->pValue, e->ulValueLen, key->spki);
}

CK_RV kl_keys_read(struct kl_session *s, CK_OBJECT_HANDLE private, CK_OBJECT_HANDLE public,
                   const uint8_t id[static KL_KEY_ID_LEN], struct kl_key *key)
{
    CK_KEY_TYPE type = CKK_VENDOR_DEFINED;
    CK_BBOOL decrypt = CK_FALSE, sign = CK_FALSE, ask_again = CK_FALSE;
    uint8_t modulus[sizeof key->modulus + 1], exponent[8], params[16];
    CK_ATTRIBUTE attrs[] = {
        KL_ATTR_VALUE(CKA_KEY_TYPE, type),
        KL_ATTR_VALUE(CKA_DECRYPT, decrypt),
        KL_ATTR_VALUE(CKA_SIGN, sign),
        KL_ATTR(CKA_MODULUS, modulus, sizeof modulus),
        KL_ATTR(CKA_PUBLIC_EXPONENT, exponent, sizeof exponent),
        KL_ATTR(CKA_EC_PARAMS, params, sizeof params),
        KL_ATTR_VALUE(CKA_ALWAYS_AUTHENTICATE, ask_again),
    };
    CK_RV rv = kl_attr_read(kl_f(s), s->handle, private, attrs, KL_COUNT(attrs));
    if (rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL)
        return rv;
    *key = (struct kl_key){
        .handle = private, .may_decrypt = decrypt == CK_TRUE, .may_sign = sign == CK_TRUE};
    memcpy(key->ref.id, id, KL_KEY_ID_LEN);
    rv = CKR_OK;
    if (ask_again == CK_TRUE)
        return rv; /* wants a PIN for each use: nothing for a daemon */
    if (type == CKK_RSA) {
        key->type = KL_KEY_RSA;
        bind_rsa(key, &attrs[3], &attrs[4]);
    } else if (type == CKK_EC && attrs[5].ulValueLen <= sizeof params) {
        key->type = KL_KEY_EC;
        key->curve = kl_spki_curve_of(params, attrs[5].ulValueLen);
        key->size_bytes = kl_curve_bytes(key->curve);
        if (key->curve != KL_CURVE_NONE)
            rv = read_point(s, public, key);
    }
    if (key->spki_len != 0)
        kl_spki_hash(key->spki, key->spki_len, key->ref.spki_hash);
    return rv;
}

bool kl_keys_still(struct kl_session *s, const struct kl_key *key)
{
    struct kl_key now = {.handle = CK_INVALID_HANDLE};
    return kl_session_ensure(s) == CKR_OK &&
           kl_keys_read(s, key->handle, CK_INVALID_HANDLE, key->ref.id, &now) == CKR_OK &&
           memcmp(now.ref.spki_hash, key->ref.spki_hash, KL_SPKI_HASH_LEN) == 0;
}

static void forget_locked(struct entry *e)
{
    e->gone = true;
    free(e->bound);
    e->bound = NULL;
}

/* Make the entry known to the index, if the token has the key. KL_NOT_FOUND otherwise. */
static enum kl_code discover(struct kl_keys *k, struct kl_session *s, const uint8_t *id,
                             CK_RV *ret_rv)
{
    CK_OBJECT_HANDLE found[2];
    CK_ULONG count = 0;
    *ret_rv = find_by_id(s, CKO_PRIVATE_KEY, id, found, &count);
    if (*ret_rv != CKR_OK)
        return KL_TOKEN_UNAVAILABLE;
    (void)pthread_rwlock_rdlock(&k->lock);
    const struct entry *before = lookup(k, id);
    bool foreign = before != NULL && before->foreign; /* seen before; only its handle is stale */
    (void)pthread_rwlock_unlock(&k->lock);
    if (count == 0 && foreign)
        *ret_rv = kl_foreign_find(s, id, found, &count);
    if (*ret_rv != CKR_OK)
        return KL_TOKEN_UNAVAILABLE;
    if (count == 0)
        return KL_TOKEN_KEY_MISSING;
    if (count > 1)
        return KL_TOKEN_AMBIGUOUS;
    (void)pthread_rwlock_wrlock(&k->lock);
    struct entry *e = lookup(k, id);
    if (e != NULL && e->ambiguous && !e->gone) /* a listing was wrong */
        forget_locked(e);
    e = add(k, id, found[0]);
    if (e != NULL)
        e->foreign = foreign;
    (void)pthread_rwlock_unlock(&k->lock);
    *ret_rv = e != NULL ? CKR_OK : CKR_HOST_MEMORY;
    return e != NULL ? KL_OK : KL_TOKEN_UNAVAILABLE;
}

enum lookup_result { UNKNOWN, UNBOUND, BOUND, TWICE };

static enum lookup_result copy_out(struct kl_keys *k, const uint8_t *id, struct entry *ret_entry,
                                   struct kl_key *ret)
{
    enum lookup_result result = UNKNOWN;
    (void)pthread_rwlock_rdlock(&k->lock);
    const struct entry *e = lookup(k, id);
    if (e != NULL && !e->gone) {
        *ret_entry = *e;
        result = e->ambiguous ? TWICE : e->bound == NULL ? UNBOUND : BOUND;
        if (result == BOUND)
            *ret = *e->bound;
    }
    (void)pthread_rwlock_unlock(&k->lock);
    return result;
}

static void keep(struct kl_keys *k, const struct kl_key *key)
{
    struct kl_key *copy = malloc(sizeof *copy);
    if (copy == NULL)
        return; /* read again next time */
    *copy = *key;
    (void)pthread_rwlock_wrlock(&k->lock);
    struct entry *e = lookup(k, key->ref.id);
    if (e != NULL && !e->gone && e->handle == key->handle && e->bound == NULL)
        e->bound = kl_take(copy);
    (void)pthread_rwlock_unlock(&k->lock);
    free(copy);
}

void kl_keys_put(struct kl_keys *k, const struct kl_key *key)
{
    (void)pthread_rwlock_wrlock(&k->lock);
    struct entry *e = add(k, key->ref.id, key->handle);
    if (e != NULL) /* without memory: found again when it is asked for */
        e->foreign = key->foreign;
    (void)pthread_rwlock_unlock(&k->lock);
    keep(k, key);
}

static enum kl_code explain(enum kl_code code, CK_RV rv, struct kl_err *err)
{
    switch (code) {
    case KL_TOKEN_KEY_MISSING:
        return kl_fail(err, code, "C_FindObjects", "the key is not on the token");
    case KL_TOKEN_AMBIGUOUS:
        return kl_fail(err, code, "C_FindObjects", "several keys on the token have the same id");
    case KL_TOKEN_UNSUPPORTED:
        return kl_fail(err, code, "C_GetAttributeValue", "a kind of key that is not served");
    default:
        return kl_ckr_fail(err, code, rv, "C_FindObjects", "the token cannot look for the key");
    }
}

enum kl_code kl_keys_get(struct kl_keys *k, struct kl_session *s,
                         const uint8_t id[static KL_KEY_ID_LEN], struct kl_key *ret, CK_RV *ret_rv,
                         struct kl_err *err)
{
    struct entry e = {.handle = CK_INVALID_HANDLE};
    enum lookup_result found = copy_out(k, id, &e, ret);
    *ret_rv = CKR_OK;
    if (found == UNKNOWN || (found == TWICE && !e.foreign)) {
        enum kl_code code = discover(k, s, id, ret_rv);
        if (code != KL_OK)
            return explain(code, *ret_rv, err);
        found = copy_out(k, id, &e, ret);
    }
    if (found == TWICE)
        return explain(KL_TOKEN_AMBIGUOUS, CKR_OK, err);
    if (found == BOUND)
        return KL_OK;
    struct kl_key key;
    *ret_rv = found == UNKNOWN ? CKR_OBJECT_HANDLE_INVALID
                               : kl_keys_read(s, e.handle, e.public_handle, id, &key);
    if (*ret_rv != CKR_OK)
        return explain(KL_TOKEN_UNAVAILABLE, *ret_rv, err);
    if (key.spki_len == 0)
        return explain(KL_TOKEN_UNSUPPORTED, CKR_OK, err);
    key.foreign = e.foreign;
    keep(k, &key);
    *ret = key;
    return KL_OK;
}

void kl_keys_forget(struct kl_keys *k, const uint8_t id[static KL_KEY_ID_LEN])
{
    (void)pthread_rwlock_wrlock(&k->lock);
    struct entry *e = lookup(k, id);
    if (e != NULL)
        forget_locked(e);
    (void)pthread_rwlock_unlock(&k->lock);
}

bool kl_keys_id_at(struct kl_keys *k, size_t place, uint8_t ret[static KL_KEY_ID_LEN])
{
    bool found = false;
    (void)pthread_rwlock_rdlock(&k->lock);
    for (size_t i = 0; i < k->count && !found; i++) {
        if (k->entries[i].gone || k->entries[i].foreign || place-- > 0)
            continue;
        memcpy(ret, k->entries[i].id, KL_KEY_ID_LEN);
        found = true;
    }
    (void)pthread_rwlock_unlock(&k->lock);
    return found;
}

bool kl_keys_knows(struct kl_keys *k, const uint8_t id[static KL_KEY_ID_LEN])
{
    (void)pthread_rwlock_rdlock(&k->lock);
    const struct entry *e = lookup(k, id);
    bool knows = e != NULL && !e->gone;
    (void)pthread_rwlock_unlock(&k->lock);
    return knows;
}
