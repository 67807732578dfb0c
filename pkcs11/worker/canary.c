#include "pkcs11/worker/canary.h"

#include "base/clock.h"
#include "base/encoding.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/rsa.h"
#include "pkcs11/worker/secret_key.h"
#include "pkcs11/worker/session.h"
#include "pkcs11/worker/sign.h"

#include <string.h>

#define MOST_OTHERS 8   /* keys that fail before the token counts as ill */
#define MOST_PLACES 256 /* of the listing that are looked at for a key that can be tried */

static bool works(const struct kl_worker *w, enum kl_token_alg alg)
{
    return (atomic_load(&w->algs) >> alg & 1) != 0;
}

/* A refusal of the use as such says nothing of the token's health. */
static enum kl_canary_proof proof_of(CK_RV rv, bool ok)
{
    if (rv == CKR_OK)
        return ok ? KL_CANARY_PROVEN : KL_CANARY_FAILED;
    return kl_ckr_class(rv) == KL_CKR_REFUSED ? KL_CANARY_UNFIT : KL_CANARY_FAILED;
}

enum kl_canary_proof kl_canary_prove(struct kl_session *s, const struct kl_key *key)
{
    const struct kl_worker *w = s->worker;
    uint8_t plain[32];
    bool ok = false;
    kl_random(plain, sizeof plain);
    for (int alg = KL_ALG_OAEP_SHA1; alg < KL_ALG_COUNT; alg++) {
        const struct kl_mech *m = kl_mech_get((enum kl_token_alg)alg);
        bool decrypts = kl_mech_decrypts(m);
        if (!works(w, m->alg) || !kl_mech_fits(m, key->type, key->curve) ||
            !(decrypts ? key->may_decrypt : key->may_sign))
            continue;
        CK_RV rv = kl_session_ensure(s);
        if (rv == CKR_OK)
            rv = decrypts
                     ? kl_rsa_round_trip(s, key, m, (atomic_load(&w->native_algs) >> alg & 1) != 0,
                                         plain, sizeof plain, &ok)
                     : kl_sign_round_trip(s, key, m, &ok);
        if (rv != CKR_OK)
            kl_session_drop(s);
        return proof_of(rv, ok);
    }
    return KL_CANARY_UNFIT;
}

static enum kl_canary_proof try_id(struct kl_session *s, const uint8_t *id)
{
    struct kl_key key;
    CK_RV rv = kl_session_ensure(s);
    if (rv != CKR_OK)
        return KL_CANARY_FAILED;
    enum kl_code code = kl_keys_get(s->worker->keys, s, id, &key, &rv, NULL);
    if (code == KL_OK)
        return kl_canary_prove(s, &key);
    if (code == KL_TOKEN_UNSUPPORTED || code == KL_TOKEN_AMBIGUOUS)
        return KL_CANARY_UNFIT;
    kl_session_drop(s);
    return KL_CANARY_FAILED;
}

/* Once more with a new session and a new handle: either may have died of idleness. */
static enum kl_canary_proof prove_id(struct kl_session *s, const uint8_t *id)
{
    enum kl_canary_proof proof = try_id(s, id);
    if (proof != KL_CANARY_FAILED)
        return proof;
    kl_session_drop(s);
    kl_keys_forget(s->worker->keys, id);
    return try_id(s, id);
}

static bool same(const uint8_t *a, const uint8_t *b)
{
    return b != NULL && memcmp(a, b, KL_KEY_ID_LEN) == 0;
}

/* The last witness, on a token without another key pair: the MAC key, if it was in use. */
static enum kl_canary_word ask_mac(struct kl_session *s)
{
    CK_OBJECT_HANDLE key = atomic_load(&s->worker->mac_key);
    uint8_t mac[KL_MAC_LEN];
    if (key == CK_INVALID_HANDLE)
        return KL_CANARY_MUTE;
    if (kl_secret_key_hmac(s, key, "canary", 6, mac) == CKR_OK)
        return KL_CANARY_WELL;
    kl_session_drop(s);
    return KL_CANARY_ILL;
}

/* Keys other than `except`: first the one that worked last, then a few of the listing. */
static enum kl_canary_word ask_others_locked(struct kl_session *s, const uint8_t *except)
{
    struct kl_canary *c = &s->worker->canary;
    unsigned failed = 0;
    uint8_t id[KL_KEY_ID_LEN];
    if (c->have_good && !same(c->good.id, except) && kl_keys_knows(s->worker->keys, c->good.id)) {
        failed++;
        if (prove_id(s, c->good.id) == KL_CANARY_PROVEN)
            return KL_CANARY_WELL;
    }
    for (size_t place = 0;
         place < MOST_PLACES && failed < MOST_OTHERS && kl_keys_id_at(s->worker->keys, place, id);
         place++) {
        if (same(id, except))
            continue;
        enum kl_canary_proof proof = prove_id(s, id);
        if (proof == KL_CANARY_PROVEN) {
            memcpy(c->good.id, id, sizeof id); /* the first to ask the next time */
            c->have_good = true;
            return KL_CANARY_WELL;
        }
        failed += proof == KL_CANARY_FAILED;
    }
    return failed > 0 ? KL_CANARY_ILL : ask_mac(s);
}

static bool may_try_locked(struct kl_canary *c, int64_t now_ms)
{
    int64_t from = c->spent_ms > now_ms ? c->spent_ms : now_ms;
    if (from - now_ms > KL_CANARY_BURST_MS)
        return false;
    c->spent_ms = from + KL_CANARY_SPACING_MS;
    return true;
}

enum kl_canary_word kl_canary_ask(struct kl_session *s, const struct kl_key *suspect,
                                  int64_t not_before_ms)
{
    struct kl_canary *c = &s->worker->canary;
    enum kl_canary_word word;
    (void)pthread_mutex_lock(&c->lock);
    int64_t began = kl_clock_mono_ms();
    bool held = c->passed_ms != 0 && c->passed_ms >= not_before_ms;
    bool late = !held && !may_try_locked(c, began);
    if (held || (!late && suspect != NULL && kl_canary_prove(s, suspect) == KL_CANARY_PROVEN)) {
        word = KL_CANARY_WELL;
    } else if (late) {
        word = KL_CANARY_LATER;
    } else if (suspect == NULL) {
        word = ask_others_locked(s, NULL);
    } else {
        bool others = ask_others_locked(s, suspect->ref.id) == KL_CANARY_WELL;
        word = others ? KL_CANARY_KEY_ILL : KL_CANARY_ILL;
    }
    if (word == KL_CANARY_WELL && !held)
        c->passed_ms = began;
    (void)pthread_mutex_unlock(&c->lock);
    return word;
}

enum kl_canary_word kl_canary_ask_others(struct kl_session *s,
                                         const uint8_t id[static KL_KEY_ID_LEN])
{
    struct kl_canary *c = &s->worker->canary;
    (void)pthread_mutex_lock(&c->lock);
    enum kl_canary_word word = ask_others_locked(s, id);
    (void)pthread_mutex_unlock(&c->lock);
    return word;
}

enum kl_canary_word kl_canary_keep_alive(struct kl_session *s)
{
    struct kl_canary *c = &s->worker->canary;
    (void)pthread_mutex_lock(&c->lock);
    int64_t began = kl_clock_mono_ms();
    enum kl_canary_word word = ask_others_locked(s, NULL);
    if (word == KL_CANARY_WELL)
        c->passed_ms = began;
    (void)pthread_mutex_unlock(&c->lock);
    if (word == KL_CANARY_MUTE && !kl_session_logged_in(s))
        word = KL_CANARY_ILL; /* the only thing that can be asked of an empty token */
    if (word == KL_CANARY_ILL)
        atomic_store(&s->worker->condemned, true);
    return word;
}

void kl_canary_note(struct kl_worker *w, const struct kl_key *key)
{
    struct kl_canary *c = &w->canary;
    int64_t now = kl_clock_mono_ms();
    if (now - atomic_load_explicit(&c->noted_ms, memory_order_relaxed) < 1000)
        return;
    if (pthread_mutex_trylock(&c->lock) != 0)
        return; /* next time */
    atomic_store_explicit(&c->noted_ms, now, memory_order_relaxed);
    c->good = key->ref;
    c->have_good = true;
    (void)pthread_mutex_unlock(&c->lock);
}
