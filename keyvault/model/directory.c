#include "keyvault/model/directory.h"

#include <string.h>
#include <strings.h>

void kl_directory_init(struct kl_directory *d)
{
    (void)pthread_rwlock_init(&d->lock, NULL);
    atomic_init(&d->generation, 1);
}

static void empty(struct kl_people *p)
{
    for (size_t i = 0; i < p->credential_count; i++)
        kl_credential_done(&p->credentials[i]);
    free(p->principals);
    free(p->credentials);
    free(p->slots);
    *p = (struct kl_people){0};
}

void kl_directory_done(struct kl_directory *d)
{
    empty(&d->now);
    (void)pthread_rwlock_destroy(&d->lock);
}

/* --- the index --- */

/* FNV-1a over lower-cased text: names are made by administrators, ids by us, so nobody outside
 * chooses what collides. */
static uint64_t hash_text(const char *text)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        c = c >= 'A' && c <= 'Z' ? (unsigned char)(c + 32) : c;
        h = (h ^ c) * UINT64_C(1099511628211);
    }
    return h;
}

static uint64_t hash_proof(const uint8_t hash[static 32])
{
    uint64_t h;
    memcpy(&h, hash, sizeof h);
    return h;
}

static void put_slot(struct kl_people *p, uint64_t hash, size_t place)
{
    size_t at = (size_t)hash & (p->slot_count - 1);
    while (p->slots[at] != 0)
        at = (at + 1) & (p->slot_count - 1);
    p->slots[at] = (uint32_t)place + 1;
}

/* Three words for a principal, one for a credential, and at least half of the slots free. */
static enum kl_code build_index(struct kl_people *p, struct kl_err *err)
{
    size_t words = 3 * p->principal_count + p->credential_count;
    p->slot_count = 16;
    while (p->slot_count < 2 * words)
        p->slot_count *= 2;
    p->slots = calloc(p->slot_count, sizeof *p->slots);
    if (p->slots == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for the index of principals");
    for (size_t i = 0; i < p->principal_count; i++) {
        put_slot(p, hash_text(p->principals[i].object_id), i);
        put_slot(p, hash_text(p->principals[i].client_id), i);
        put_slot(p, hash_text(p->principals[i].name), i);
    }
    for (size_t i = 0; i < p->credential_count; i++)
        if (p->credentials[i].kind != KL_CREDENTIAL_SECRET)
            put_slot(p, hash_proof(p->credentials[i].hash), p->principal_count + i);
    return KL_OK;
}

static bool answers_to(const struct kl_principal *p, const char *any)
{
    return strcasecmp(p->object_id, any) == 0 || strcasecmp(p->client_id, any) == 0 ||
           strcasecmp(p->name, any) == 0;
}

const struct kl_principal *kl_people_find(const struct kl_people *p, const char *any)
{
    size_t mask = p->slot_count - 1;
    if (p->slot_count == 0)
        return NULL;
    for (size_t at = (size_t)hash_text(any) & mask; p->slots[at] != 0; at = (at + 1) & mask) {
        size_t place = p->slots[at] - 1;
        if (place < p->principal_count && answers_to(&p->principals[place], any))
            return &p->principals[place];
    }
    return NULL;
}

const struct kl_credential *kl_people_proof(const struct kl_people *p, enum kl_credential_kind kind,
                                            const uint8_t hash[static 32])
{
    size_t mask = p->slot_count - 1;
    if (p->slot_count == 0)
        return NULL;
    for (size_t at = (size_t)hash_proof(hash) & mask; p->slots[at] != 0; at = (at + 1) & mask) {
        size_t place = p->slots[at] - 1;
        if (place < p->principal_count)
            continue;
        const struct kl_credential *c = &p->credentials[place - p->principal_count];
        if (c->kind == kind && memcmp(c->hash, hash, sizeof c->hash) == 0)
            return c;
    }
    return NULL;
}

const struct kl_credential *kl_people_credentials(const struct kl_people *p, const char *object_id,
                                                  size_t *ret_count)
{
    size_t low = 0, high = p->credential_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(p->credentials[middle].object_id, object_id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    size_t end = low;
    while (end < p->credential_count && strcmp(p->credentials[end].object_id, object_id) == 0)
        end++;
    *ret_count = end - low;
    return &p->credentials[low];
}

/* --- loading --- */

static bool grow(void **array, size_t *room, size_t count, size_t size)
{
    if (count < *room)
        return true;
    size_t more = *room == 0 ? 16 : 2 * *room;
    void *p = realloc(*array, more * size);
    if (p == NULL)
        return false;
    *array = p;
    *room = more;
    return true;
}

static enum kl_code add_principal(void *arg, const void *row_, struct kl_err *err)
{
    struct kl_people *p = arg;
    const struct kl_principal_row *row = row_;
    void *list = p->principals;
    bool ok = grow(&list, &p->principal_room, p->principal_count, sizeof *p->principals);
    p->principals = list;
    if (!ok)
        return kl_fail(err, KL_NO_MEMORY, "realloc", "no memory for the list of principals");
    struct kl_principal *who = &p->principals[p->principal_count++];
    *who = (struct kl_principal){.kind = (enum kl_principal_kind)row->kind,
                                 .roles = (unsigned)row->roles,
                                 .disabled = row->disabled != 0,
                                 .created = row->created};
    memcpy(who->object_id, row->object_id, sizeof who->object_id);
    memcpy(who->client_id, row->client_id, sizeof who->client_id);
    memcpy(who->name, row->name, sizeof who->name);
    memcpy(who->issuer, row->issuer, sizeof who->issuer);
    return KL_OK;
}

static enum kl_code add_credential(void *arg, const void *row_, struct kl_err *err)
{
    struct kl_people *p = arg;
    const struct kl_credential_row *row = row_;
    void *list = p->credentials;
    bool ok = grow(&list, &p->credential_room, p->credential_count, sizeof *p->credentials);
    p->credentials = list;
    KL_AUTO(char) value = row->value != NULL ? strdup(row->value) : NULL;
    if (!ok || (row->value != NULL && value == NULL))
        return kl_fail(err, KL_NO_MEMORY, "realloc", "no memory for the list of credentials");
    struct kl_credential *c = &p->credentials[p->credential_count++];
    *c = (struct kl_credential){.kind = (enum kl_credential_kind)row->kind,
                                .created = row->created,
                                .expires = row->expires,
                                .value = kl_take(value)};
    memcpy(c->id, row->id, sizeof c->id);
    memcpy(c->object_id, row->object_id, sizeof c->object_id);
    memcpy(c->name, row->name, sizeof c->name);
    memcpy(c->salt, row->salt, sizeof c->salt);
    memcpy(c->hash, row->hash, sizeof c->hash);
    return KL_OK;
}

enum kl_code kl_directory_load(struct kl_directory *d, struct kl_store_session *t,
                               struct kl_err *err)
{
    struct kl_people fresh = {0};
    enum kl_code code = kl_store_each(t, KL_Q_PRINCIPALS, NULL, 0, add_principal, &fresh, err);
    if (code == KL_OK)
        code = kl_store_each(t, KL_Q_CREDENTIALS, NULL, 0, add_credential, &fresh, err);
    if (code == KL_OK)
        code = build_index(&fresh, err);
    if (code == KL_OK) {
        (void)pthread_rwlock_wrlock(&d->lock);
        struct kl_people old = d->now;
        d->now = fresh;
        (void)atomic_fetch_add(&d->generation, 1);
        (void)pthread_rwlock_unlock(&d->lock);
        fresh = old;
    }
    empty(&fresh);
    return code;
}
