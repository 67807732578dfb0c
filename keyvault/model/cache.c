/* Set-associative: an entry may live in any of WAYS places of one set. No chains and no allocation
 * after the start, so that a write can always drop what it made stale. All entries of a name lie in
 * one stripe, whose epoch guards them. */
#include "keyvault/model/cache.h"

#include <pthread.h>
#include <string.h>
#include <strings.h>

#define STRIPES 64 /* powers of two */
#define SETS    64
#define WAYS    8

struct entry {
    uint64_t hash;
    struct kl_key_version *key; /* NULL = free */
    bool newest;
};

struct set {
    struct entry ways[WAYS];
    unsigned next; /* the way that is given up next */
};

struct stripe {
    _Alignas(64) pthread_rwlock_t lock;
    uint64_t epoch;
    struct set sets[SETS];
};

struct kl_cache {
    struct stripe stripes[STRIPES];
};

/* Names and versions consist of letters, digits and "-": setting bit 5 folds the case and changes
 * nothing else. */
static uint64_t mix(uint64_t hash, const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i += 8) {
        uint64_t part = 0;
        memcpy(&part, text + i, n - i < 8 ? n - i : 8);
        hash = (hash ^ (part | UINT64_C(0x2020202020202020))) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 32;
    }
    /* Names differ in a digit or two: every bit must reach the few that choose the place. */
    hash = (hash ^ n) * UINT64_C(0xD6E8FEB86659FD93);
    hash ^= hash >> 32;
    hash *= UINT64_C(0xD6E8FEB86659FD93);
    return hash ^ hash >> 32;
}

static uint64_t hash_name(const char *vault_id, const char *name)
{
    return mix(mix(UINT64_C(0x6B6C756973), vault_id), name);
}

static struct stripe *stripe_of(struct kl_cache *c, uint64_t name_hash)
{
    return &c->stripes[(name_hash >> 40) % STRIPES];
}

static struct set *set_of(struct stripe *s, uint64_t hash)
{
    return &s->sets[(hash >> 20) % SETS];
}

struct kl_cache *kl_cache_new(void)
{
    struct kl_cache *c = aligned_alloc(64, sizeof *c);
    if (c == NULL)
        return NULL;
    memset(c, 0, sizeof *c);
    for (size_t i = 0; i < STRIPES; i++)
        (void)pthread_rwlock_init(&c->stripes[i].lock, NULL);
    return c;
}

void kl_cache_free(struct kl_cache *c)
{
    if (c == NULL)
        return;
    kl_cache_flush(c);
    for (size_t i = 0; i < STRIPES; i++)
        (void)pthread_rwlock_destroy(&c->stripes[i].lock);
    free(c);
}

static bool is(const struct entry *e, uint64_t hash, const char *vault_id, const char *name,
               const char *version)
{
    return e->key != NULL && e->hash == hash && e->newest == (version[0] == '\0') &&
           strcmp(e->key->vault_id, vault_id) == 0 && strcasecmp(e->key->name, name) == 0 &&
           (e->newest || strcasecmp(e->key->version, version) == 0);
}

static struct entry *find_locked(struct set *set, uint64_t hash, const char *vault_id,
                                 const char *name, const char *version)
{
    for (size_t i = 0; i < WAYS; i++)
        if (is(&set->ways[i], hash, vault_id, name, version))
            return &set->ways[i];
    return NULL;
}

struct kl_key_version *kl_cache_get(struct kl_cache *c, const char *vault_id, const char *name,
                                    const char *version)
{
    uint64_t name_hash = hash_name(vault_id, name);
    uint64_t hash = mix(name_hash, version);
    struct stripe *s = stripe_of(c, name_hash);
    (void)pthread_rwlock_rdlock(&s->lock);
    struct entry *e = find_locked(set_of(s, hash), hash, vault_id, name, version);
    struct kl_key_version *k = e != NULL ? kl_key_version_ref(e->key) : NULL;
    (void)pthread_rwlock_unlock(&s->lock);
    return k;
}

uint64_t kl_cache_epoch(struct kl_cache *c, const char *vault_id, const char *name)
{
    struct stripe *s = stripe_of(c, hash_name(vault_id, name));
    (void)pthread_rwlock_rdlock(&s->lock);
    uint64_t epoch = s->epoch;
    (void)pthread_rwlock_unlock(&s->lock);
    return epoch;
}

static struct entry *place_locked(struct set *set)
{
    for (size_t i = 0; i < WAYS; i++)
        if (set->ways[i].key == NULL)
            return &set->ways[i];
    struct entry *e = &set->ways[set->next++ % WAYS];
    kl_key_version_unref(e->key);
    return e;
}

/* Returns the snapshot that the entry holds now: one that was there stays. */
static struct kl_key_version *insert_locked(struct stripe *s, uint64_t name_hash,
                                            struct kl_key_version *k, bool newest)
{
    const char *version = newest ? "" : k->version;
    uint64_t hash = mix(name_hash, version);
    struct set *set = set_of(s, hash);
    struct entry *e = find_locked(set, hash, k->vault_id, k->name, version);
    if (e == NULL) {
        e = place_locked(set);
        *e = (struct entry){hash, kl_key_version_ref(k), newest};
    }
    return e->key;
}

struct kl_key_version *kl_cache_put(struct kl_cache *c, struct kl_key_version *k, bool newest,
                                    uint64_t epoch)
{
    uint64_t name_hash = hash_name(k->vault_id, k->name);
    struct stripe *s = stripe_of(c, name_hash);
    struct kl_key_version *use = k;
    (void)pthread_rwlock_wrlock(&s->lock);
    if (s->epoch == epoch) {
        use = kl_key_version_ref(insert_locked(s, name_hash, k, false));
        if (newest)
            (void)insert_locked(s, name_hash, use, true);
    } else {
        (void)kl_key_version_ref(use);
    }
    (void)pthread_rwlock_unlock(&s->lock);
    return use;
}

static void drop_locked(struct entry *e)
{
    kl_key_version_unref(e->key);
    *e = (struct entry){0};
}

void kl_cache_forget(struct kl_cache *c, const char *vault_id, const char *name)
{
    struct stripe *s = stripe_of(c, hash_name(vault_id, name));
    (void)pthread_rwlock_wrlock(&s->lock);
    s->epoch++;
    for (size_t i = 0; i < SETS * WAYS; i++) {
        struct entry *e = &s->sets[i / WAYS].ways[i % WAYS];
        if (e->key != NULL && strcmp(e->key->vault_id, vault_id) == 0 &&
            strcasecmp(e->key->name, name) == 0)
            drop_locked(e);
    }
    (void)pthread_rwlock_unlock(&s->lock);
}

void kl_cache_flush(struct kl_cache *c)
{
    for (size_t n = 0; n < STRIPES; n++) {
        struct stripe *s = &c->stripes[n];
        (void)pthread_rwlock_wrlock(&s->lock);
        s->epoch++;
        for (size_t i = 0; i < SETS * WAYS; i++)
            drop_locked(&s->sets[i / WAYS].ways[i % WAYS]);
        (void)pthread_rwlock_unlock(&s->lock);
    }
}
