#include "keyvault/auth/assertion.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

#define SETS 1024
#define WAYS 8

struct entry {
    uint8_t key[16];
    int64_t expires; /* unix seconds; 0 = empty */
};

struct kl_replays {
    pthread_mutex_t lock;
    struct entry sets[SETS][WAYS];
};

struct kl_replays *kl_replays_new(void)
{
    struct kl_replays *r = calloc(1, sizeof *r);
    if (r != NULL)
        (void)pthread_mutex_init(&r->lock, NULL);
    return r;
}

void kl_replays_free(struct kl_replays *r)
{
    if (r != NULL)
        (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

/* By client and jti, as RFC 7523 section 3 says. */
static bool make_key(const struct kl_assertion *a, uint8_t ret[static EVP_MAX_MD_SIZE])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
              EVP_DigestUpdate(ctx, a->client_id, strlen(a->client_id) + 1) == 1 &&
              EVP_DigestUpdate(ctx, a->id, strlen(a->id)) == 1 &&
              EVP_DigestFinal_ex(ctx, ret, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

static enum kl_code note_locked(struct entry *set, const uint8_t *key, int64_t expires, int64_t now,
                                struct kl_err *err)
{
    struct entry *room = NULL;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].expires <= now)
            room = &set[i];
        else if (memcmp(set[i].key, key, sizeof set[i].key) == 0)
            return kl_fail(err, KL_EXISTS, "assertion",
                           "AADSTS700030: this client assertion was used before");
    }
    if (room == NULL)
        return kl_fail(err, KL_THROTTLED, "assertion", "too many client assertions at once");
    memcpy(room->key, key, sizeof room->key);
    room->expires = expires;
    return KL_OK;
}

enum kl_code kl_replays_note(struct kl_replays *r, const struct kl_assertion *a, int64_t now,
                             struct kl_err *err)
{
    uint8_t key[EVP_MAX_MD_SIZE];
    if (!make_key(a, key))
        return kl_fail_ossl(err, "EVP_Digest", "cannot hash an assertion");
    (void)pthread_mutex_lock(&r->lock);
    enum kl_code code =
        note_locked(r->sets[(key[16] | key[17] << 8) % SETS], key, a->expires, now, err);
    (void)pthread_mutex_unlock(&r->lock);
    return code;
}
