#include "keyvault/auth/assertion.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

#define SETS 1024
#define WAYS 8

struct entry {
    uint8_t key[16], peer[16];
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

/* Two texts, the first with its NUL. */
static bool hash(const char *a, const char *b, uint8_t ret[static EVP_MAX_MD_SIZE])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
              EVP_DigestUpdate(ctx, a, strlen(a) + 1) == 1 &&
              EVP_DigestUpdate(ctx, b, strlen(b)) == 1 && EVP_DigestFinal_ex(ctx, ret, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

static enum kl_code seen_before(const struct entry *e, const struct entry *use, bool brief,
                                struct kl_err *err)
{
    if (brief && memcmp(e->peer, use->peer, sizeof use->peer) == 0)
        return KL_OK;
    return kl_fail(err, KL_EXISTS, "assertion",
                   "AADSTS700030: this client assertion was used before (from one address only, "
                   "one that is good for ten minutes at most may be used again)");
}

static enum kl_code note_locked(struct entry *set, const struct entry *use, bool brief, int64_t now,
                                struct kl_err *err)
{
    struct entry *room = NULL;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].expires <= now)
            room = &set[i];
        else if (memcmp(set[i].key, use->key, sizeof use->key) == 0)
            return seen_before(&set[i], use, brief, err);
    }
    if (room == NULL)
        return kl_fail(err, KL_THROTTLED, "assertion", "too many client assertions at once");
    *room = *use;
    return KL_OK;
}

enum kl_code kl_replays_note(struct kl_replays *r, const struct kl_assertion *a, const char *peer,
                             int64_t now, struct kl_err *err)
{
    uint8_t key[EVP_MAX_MD_SIZE], from[EVP_MAX_MD_SIZE];
    struct entry use = {.expires = a->expires};
    /* by client and jti, as RFC 7523 section 3 says */
    if (!hash(a->client_id, a->id, key) || !hash("peer", peer, from))
        return kl_fail_ossl(err, "EVP_Digest", "cannot hash an assertion");
    memcpy(use.key, key, sizeof use.key);
    memcpy(use.peer, from, sizeof use.peer);
    (void)pthread_mutex_lock(&r->lock);
    enum kl_code code =
        note_locked(r->sets[(key[16] | key[17] << 8) % SETS], &use, a->brief, now, err);
    (void)pthread_mutex_unlock(&r->lock);
    return code;
}
