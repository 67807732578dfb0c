#include "keyvault/auth/cache.h"

#include <pthread.h>
#include <string.h>

#define SHARDS 16
#define SETS   64
#define WAYS   (KL_TOKEN_CACHE_ENTRIES / SHARDS / SETS)

struct entry {
    uint8_t digest[KL_TOKEN_DIGEST_LEN];
    uint64_t generation;
    struct kl_caller caller; /* expires 0 = empty */
};

struct shard {
    pthread_mutex_t lock;
    struct entry sets[SETS][WAYS];
};

struct kl_token_cache {
    struct shard shards[SHARDS];
};

struct kl_token_cache *kl_token_cache_new(void)
{
    struct kl_token_cache *c = calloc(1, sizeof *c);
    for (size_t i = 0; c != NULL && i < SHARDS; i++)
        (void)pthread_mutex_init(&c->shards[i].lock, NULL);
    return c;
}

void kl_token_cache_free(struct kl_token_cache *c)
{
    for (size_t i = 0; c != NULL && i < SHARDS; i++)
        (void)pthread_mutex_destroy(&c->shards[i].lock);
    free(c);
}

static struct shard *shard_of(struct kl_token_cache *c, const uint8_t *digest)
{
    return &c->shards[digest[0] % SHARDS];
}

/* memcmp may leak by its time how much of a digest fits. That tells an attacker about SHA-256
 * values of tokens, and he cannot choose the digest of a token that he does not have. */
static struct entry *find_locked(struct shard *s, const uint8_t *digest)
{
    struct entry *set = s->sets[digest[1] % SETS];
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].caller.expires != 0 && memcmp(set[i].digest, digest, KL_TOKEN_DIGEST_LEN) == 0)
            return &set[i];
    return NULL;
}

bool kl_token_cache_get(struct kl_token_cache *c, const uint8_t digest[static KL_TOKEN_DIGEST_LEN],
                        uint64_t generation, int64_t now, struct kl_caller *ret)
{
    struct shard *s = shard_of(c, digest);
    (void)pthread_mutex_lock(&s->lock);
    const struct entry *e = find_locked(s, digest);
    bool found = e != NULL && e->generation == generation && now < e->caller.expires;
    if (found)
        *ret = e->caller;
    (void)pthread_mutex_unlock(&s->lock);
    return found;
}

static struct entry *first_to_expire_locked(struct shard *s, const uint8_t *digest)
{
    struct entry *set = s->sets[digest[1] % SETS];
    struct entry *victim = &set[0];
    for (size_t i = 1; i < WAYS; i++)
        if (set[i].caller.expires < victim->caller.expires)
            victim = &set[i];
    return victim;
}

void kl_token_cache_put(struct kl_token_cache *c, const uint8_t digest[static KL_TOKEN_DIGEST_LEN],
                        uint64_t generation, const struct kl_caller *caller)
{
    struct shard *s = shard_of(c, digest);
    (void)pthread_mutex_lock(&s->lock);
    struct entry *e = find_locked(s, digest);
    if (e == NULL)
        e = first_to_expire_locked(s, digest);
    memcpy(e->digest, digest, KL_TOKEN_DIGEST_LEN);
    e->generation = generation;
    e->caller = *caller;
    (void)pthread_mutex_unlock(&s->lock);
}
