#include "keyvault/auth/failures.h"

#include "base/encoding.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

#define SETS    512
#define WAYS    8
#define KEY_LEN 16

struct entry {
    uint8_t key[KEY_LEN];
    unsigned count; /* 0 = empty */
    int64_t first_ms;
};

struct kl_failures {
    pthread_mutex_t lock;
    uint8_t salt[32]; /* so that nobody can aim at one set of the table */
    struct entry sets[SETS][WAYS];
};

struct kl_failures *kl_failures_new(void)
{
    struct kl_failures *f = calloc(1, sizeof *f);
    if (f != NULL) {
        (void)pthread_mutex_init(&f->lock, NULL);
        kl_random(f->salt, sizeof f->salt);
    }
    return f;
}

void kl_failures_free(struct kl_failures *f)
{
    if (f != NULL)
        (void)pthread_mutex_destroy(&f->lock);
    free(f);
}

static void make_key(const struct kl_failures *f, const char *client, const char *address,
                     uint8_t ret[static EVP_MAX_MD_SIZE])
{
    struct kl_buf text = KL_BUF_INIT(4096);
    kl_buf_put(&text, f->salt, sizeof f->salt);
    kl_buf_printf(&text, "%.300s\n%.100s", client, address);
    memset(ret, 0, EVP_MAX_MD_SIZE);
    (void)EVP_Digest(kl_buf_text(&text), text.len, ret, NULL, EVP_sha256(), NULL);
    kl_buf_done(&text);
}

/* The pair's entry if its window is open, else NULL. */
static struct entry *find_locked(struct entry *set, const uint8_t *key, int64_t now_ms)
{
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].count != 0 && now_ms - set[i].first_ms < KL_FAILURES_WINDOW_MS &&
            memcmp(set[i].key, key, KEY_LEN) == 0)
            return &set[i];
    return NULL;
}

static struct entry *oldest_locked(struct entry *set)
{
    struct entry *oldest = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].count == 0)
            return &set[i];
        if (set[i].first_ms < oldest->first_ms)
            oldest = &set[i];
    }
    return oldest;
}

static struct entry *set_of(struct kl_failures *f, const uint8_t *key)
{
    return f->sets[(key[KEY_LEN] | key[KEY_LEN + 1] << 8) % SETS];
}

bool kl_failures_blocked(struct kl_failures *f, const char *client, const char *address,
                         int64_t now_ms)
{
    uint8_t key[EVP_MAX_MD_SIZE];
    make_key(f, client, address, key);
    (void)pthread_mutex_lock(&f->lock);
    const struct entry *e = find_locked(set_of(f, key), key, now_ms);
    bool blocked = e != NULL && e->count >= KL_FAILURES_MAX;
    (void)pthread_mutex_unlock(&f->lock);
    return blocked;
}

void kl_failures_note(struct kl_failures *f, const char *client, const char *address,
                      int64_t now_ms)
{
    uint8_t key[EVP_MAX_MD_SIZE];
    make_key(f, client, address, key);
    (void)pthread_mutex_lock(&f->lock);
    struct entry *e = find_locked(set_of(f, key), key, now_ms);
    if (e == NULL) {
        e = oldest_locked(set_of(f, key));
        memcpy(e->key, key, KEY_LEN);
        e->count = 0;
        e->first_ms = now_ms;
    }
    e->count++;
    (void)pthread_mutex_unlock(&f->lock);
}
