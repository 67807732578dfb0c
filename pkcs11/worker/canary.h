/* Is the token well? Asked by doing something whose answer is known, with a key that should work:
 * the only question that no module answers from memory. One canary at a time; a good result holds
 * for a moment, so garbage cannot multiply the token's load. */
#ifndef KL_PKCS11_WORKER_CANARY_H
#define KL_PKCS11_WORKER_CANARY_H

#include "pkcs11/worker/key.h"

#include <pthread.h>

#define KL_CANARY_SPACING_MS 100 /* ten a second in the long run, whatever callers send */
#define KL_CANARY_BURST_MS   500 /* after some quiet, five at once */

struct kl_worker;
struct kl_session;

struct kl_canary {
    pthread_mutex_t lock;
    int64_t passed_ms;      /* when the last good one began; 0 = none */
    int64_t spent_ms;       /* until when the allowance of new tries is used up */
    struct kl_key_ref good; /* a key that did a request lately */
    bool have_good;
    _Atomic int64_t noted_ms;
};

enum kl_canary_word {
    KL_CANARY_WELL,    /* the suspect itself (or, without one, some key) works */
    KL_CANARY_KEY_ILL, /* other keys work, the suspect does not */
    KL_CANARY_ILL,     /* no key works */
    KL_CANARY_MUTE,    /* no key to try but the suspect, or none at all */
    KL_CANARY_LATER    /* the last canary began a moment ago, and too early for this question */
};

/** suspect may be NULL. A good result that began at or after not_before_ms (monotonic) is taken
 * instead of a new try. New tries are KL_CANARY_SPACING_MS apart in the long run. */
enum kl_canary_word kl_canary_ask(struct kl_session *s, const struct kl_key *suspect,
                                  int64_t not_before_ms);

/** The same question without the key of this id, which is known not to be there. */
enum kl_canary_word kl_canary_ask_others(struct kl_session *s,
                                         const uint8_t id[static KL_KEY_ID_LEN]);

/** A request with this key went well. Cheap. */
void kl_canary_note(struct kl_worker *w, const struct kl_key *key);

enum kl_canary_proof {
    KL_CANARY_PROVEN,
    KL_CANARY_FAILED,
    KL_CANARY_UNFIT, /* the key may not do anything that could be checked: no witness */
};

/** One known-answer operation with the key: a decrypt where it may, else a signature. */
enum kl_canary_proof kl_canary_prove(struct kl_session *s, const struct kl_key *key);

/** Is the token well, whatever was seen before? On this very session, so that the token does not
 * count it idle. KL_CANARY_ILL condemns the worker. */
enum kl_canary_word kl_canary_keep_alive(struct kl_session *s);

#endif
