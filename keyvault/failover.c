#include "keyvault/failover.h"

#include "base/clock.h"
#include "base/log.h"
#include "keyvault/model/model.h"

#include <pthread.h>
#include <string.h>

struct flight;

/* One call in one home's hands. */
struct
try {
    struct flight *flight;
    bool late; /* its share is over and its answer still to come */
};

struct flight {
    struct kl_failover *f;
    struct kl_key_version *key;
    struct kl_token_request req;
    uint8_t *input; /* a copy */
    kl_token_done *done;
    void *arg;
    struct kl_err first; /* what the most preferred home said */
    int64_t started_ms, due_ms;
    struct flight *next, *prev; /* among those that are timed */
    unsigned waiting;           /* answers to come */
    unsigned refs;              /* answers to come, and threads at work here */
    size_t current;             /* the home that has it now */
    unsigned tried;             /* bits by home */
    bool timed, ended;
    struct try tries[KL_HOMES_MAX];
};

struct kl_failover {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    int64_t deadline_ms;
    bool stopping;
    struct flight *timed;
    struct {
        struct kl_token *token;
        unsigned late; /* calls that it keeps waiting */
    } slow[64];
};

/* --- which home --- */

/* Without memory of a token beyond the table it is simply never slow. */
static unsigned *late_locked(struct kl_failover *f, struct kl_token *t)
{
    for (size_t i = 0; i < KL_COUNT(f->slow); i++) {
        if (f->slow[i].token == NULL)
            f->slow[i].token = t;
        if (f->slow[i].token == t)
            return &f->slow[i].late;
    }
    return NULL;
}

static bool is_slow_locked(struct kl_failover *f, struct kl_token *t)
{
    const unsigned *late = late_locked(f, t);
    return late != NULL && *late > 0;
}

/* The next home to try, those that keep others waiting last; home_count when there is none. */
static size_t choose_locked(struct flight *l)
{
    const struct kl_key_version *k = l->key;
    for (int slow = 0; slow < 2 && !l->f->stopping; slow++)
        for (size_t i = 0; i < k->home_count; i++)
            if ((l->tried >> i & 1) == 0 && k->homes[i].token != NULL &&
                (slow == 1 || !is_slow_locked(l->f, k->homes[i].token)))
                return i;
    return k->home_count;
}

/* --- the list of those whose share runs --- */

static void untime_locked(struct flight *l)
{
    if (!l->timed)
        return;
    *(l->prev != NULL ? &l->prev->next : &l->f->timed) = l->next;
    if (l->next != NULL)
        l->next->prev = l->prev;
    l->timed = false;
}

static void time_locked(struct flight *l, int64_t due_ms)
{
    struct kl_failover *f = l->f;
    bool first = f->timed == NULL;
    l->due_ms = due_ms;
    l->prev = NULL;
    l->next = f->timed;
    if (l->next != NULL)
        l->next->prev = l;
    f->timed = l;
    l->timed = true;
    if (first)
        (void)pthread_cond_signal(&f->wake);
}

/* --- one call --- */

static void unref_unlock(struct flight *l)
{
    struct kl_failover *f = l->f;
    bool last = --l->refs == 0;
    (void)pthread_mutex_unlock(&f->lock);
    if (!last)
        return;
    kl_key_version_unref(l->key);
    free(l->input);
    free(l);
}

static void end_failed(struct flight *l, const struct kl_err *err)
{
    struct kl_token_reply reply = {.code = err->code, .err = *err};
    l->done(l->arg, &reply);
}

static void answered(void *arg, struct kl_token_reply *reply);

static void note(struct flight *l, const struct kl_err *err)
{
    if (l->first.code == KL_OK)
        l->first = *err;
}

static void answered_late_locked(struct try *t)
{
    const struct flight *l = t->flight;
    unsigned *late = late_locked(l->f, l->key->homes[t - l->tries].token);
    if (t->late && late != NULL)
        --*late;
    t->late = false;
}

/* Let the next home try; under the lock, which is left while a token is asked. False when none took
 * it. */
static bool step_locked(struct flight *l)
{
    struct kl_failover *f = l->f;
    for (;;) {
        struct kl_err err = {.code = KL_OK};
        size_t at = choose_locked(l);
        if (at == l->key->home_count)
            return false;
        l->tried |= 1u << at;
        l->current = at;
        l->refs++;
        l->waiting++;
        size_t left = 0;
        for (size_t i = 0; i < l->key->home_count; i++)
            left += (l->tried >> i & 1) == 0;
        int64_t end = l->started_ms + f->deadline_ms, now = kl_clock_mono_ms();
        int64_t share = now + f->deadline_ms / (int64_t)l->key->home_count;
        time_locked(l, left > 0 && share < end ? share : end);
        l->req.key = l->key->homes[at].ref;
        struct kl_token_request req = l->req;
        (void)pthread_mutex_unlock(&f->lock);
        enum kl_code code =
            kl_token_submit(l->key->homes[at].token, &req, answered, &l->tries[at], &err);
        (void)pthread_mutex_lock(&f->lock);
        if (code == KL_OK)
            return true;
        if (l->ended) { /* a late answer has served meanwhile */
            l->refs--;
            l->waiting--;
            answered_late_locked(&l->tries[at]);
            return true;
        }
        l->refs--;
        l->waiting--;
        untime_locked(l);
        answered_late_locked(&l->tries[at]);
        note(l, &err);
    }
}

/* Nobody is left to ask: the end, unless one that still owes an answer may yet give it. */
static bool ended_locked(struct flight *l)
{
    if (l->ended || l->waiting > 0)
        return false;
    untime_locked(l);
    return l->ended = true;
}

static void answered(void *arg, struct kl_token_reply *reply)
{
    struct try *t = arg;
    struct flight *l = t->flight;
    struct kl_failover *f = l->f;
    size_t at = (size_t)(t - l->tries);
    (void)pthread_mutex_lock(&f->lock);
    l->waiting--;
    answered_late_locked(t);
    if (!l->ended && !kl_home_may_move(reply->code)) {
        l->ended = true;
        untime_locked(l);
        (void)pthread_mutex_unlock(&f->lock);
        l->done(l->arg, reply);
        (void)pthread_mutex_lock(&f->lock);
    } else if (!l->ended) {
        note(l, &reply->err);
        bool moved = false;
        if (at == l->current) {
            untime_locked(l);
            moved = step_locked(l);
        }
        if (!moved && ended_locked(l)) {
            (void)pthread_mutex_unlock(&f->lock);
            end_failed(l, &l->first);
            (void)pthread_mutex_lock(&f->lock);
        } else if (!moved && !l->timed) {
            time_locked(l, l->started_ms + f->deadline_ms);
        }
    }
    unref_unlock(l);
}

/* --- shares --- */

static void expire(struct kl_failover *f, struct flight *l)
{
    struct kl_token *t = l->key->homes[l->current].token;
    unsigned *late = late_locked(f, t);
    struct kl_err err = {.code = KL_OK};
    untime_locked(l);
    l->refs++;
    if (late != NULL && !l->tries[l->current].late) {
        l->tries[l->current].late = true;
        if (++*late == 1)
            kl_log(KL_LOG_WARNING,
                   "token keeps calls waiting, other homes are asked first token=%s", t->name);
    }
    (void)kl_fail(&err, KL_TOKEN_UNAVAILABLE, "deadline", "token %s does not answer", t->name);
    note(l, &err);
    bool over = kl_clock_mono_ms() >= l->started_ms + f->deadline_ms;
    if (over || !step_locked(l)) {
        if (!l->ended && (over || ended_locked(l))) {
            l->ended = true;
            (void)pthread_mutex_unlock(&f->lock);
            end_failed(l, &l->first);
            (void)pthread_mutex_lock(&f->lock);
        } else if (!l->ended) {
            time_locked(l, l->started_ms + f->deadline_ms);
        }
    }
    unref_unlock(l);
    (void)pthread_mutex_lock(&f->lock);
}

static struct flight *first_due_locked(const struct kl_failover *f)
{
    struct flight *first = f->timed;
    for (struct flight *l = f->timed; l != NULL; l = l->next)
        if (l->due_ms < first->due_ms)
            first = l;
    return first;
}

static void *mind(void *arg)
{
    struct kl_failover *f = arg;
    (void)pthread_mutex_lock(&f->lock);
    while (!f->stopping) {
        struct flight *l = first_due_locked(f);
        int64_t left = l != NULL ? l->due_ms - kl_clock_mono_ms() : 0;
        if (l == NULL) {
            (void)pthread_cond_wait(&f->wake, &f->lock);
        } else if (left > 0) {
            const struct timespec until = kl_clock_deadline(left * 1000);
            (void)pthread_cond_timedwait(&f->wake, &f->lock, &until);
        } else {
            expire(f, l);
        }
    }
    (void)pthread_mutex_unlock(&f->lock);
    return NULL;
}

enum kl_code kl_failover_new(int64_t deadline_ms, struct kl_failover **ret, struct kl_err *err)
{
    struct kl_failover *f = calloc(1, sizeof *f);
    pthread_condattr_t monotonic;
    if (f == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "No memory for failover");
    f->deadline_ms = deadline_ms;
    (void)pthread_mutex_init(&f->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&f->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    if (pthread_create(&f->thread, NULL, mind, f) != 0) {
        f->stopping = true;
        kl_failover_free(f);
        return kl_fail(err, KL_NO_MEMORY, "pthread_create", "No thread for failover");
    }
    *ret = f;
    return KL_OK;
}

void kl_failover_stop(struct kl_failover *f)
{
    if (f == NULL || f->stopping)
        return;
    (void)pthread_mutex_lock(&f->lock);
    f->stopping = true;
    (void)pthread_cond_broadcast(&f->wake);
    (void)pthread_mutex_unlock(&f->lock);
    (void)pthread_join(f->thread, NULL);
}

void kl_failover_free(struct kl_failover *f)
{
    if (f == NULL)
        return;
    kl_failover_stop(f);
    (void)pthread_cond_destroy(&f->wake);
    (void)pthread_mutex_destroy(&f->lock);
    free(f);
}

/* --- submit --- */

static enum kl_code unconfigured(struct kl_err *err)
{
    return kl_fail(err, KL_TOKEN_UNAVAILABLE, "token", "The token is not configured");
}

static enum kl_code submit_one(struct kl_key_version *key, const struct kl_token_request *req,
                               kl_token_done *done, void *arg, struct kl_err *err)
{
    struct kl_token_request own = *req;
    own.key = key->ref;
    return key->token != NULL ? kl_token_submit(key->token, &own, done, arg, err)
                              : unconfigured(err);
}

static struct flight *flight_new(struct kl_failover *f, struct kl_key_version *key,
                                 const struct kl_token_request *req, kl_token_done *done, void *arg)
{
    struct flight *l = calloc(1, sizeof *l);
    uint8_t *input = malloc(req->input_len + 1);
    if (l == NULL || input == NULL) {
        free(l);
        free(input);
        return NULL;
    }
    if (req->input_len > 0)
        memcpy(input, req->input, req->input_len);
    *l = (struct flight){.f = f,
                         .key = kl_key_version_ref(key),
                         .req = *req,
                         .input = input,
                         .done = done,
                         .arg = arg,
                         .started_ms = kl_clock_mono_ms(),
                         .refs = 1};
    l->req.input = input;
    for (size_t i = 0; i < KL_HOMES_MAX; i++)
        l->tries[i].flight = l;
    return l;
}

enum kl_code kl_failover_submit(struct kl_failover *f, struct kl_key_version *key,
                                const struct kl_token_request *req, kl_token_done *done, void *arg,
                                struct kl_err *err)
{
    if (key->home_count < 2)
        return submit_one(key, req, done, arg, err);
    struct flight *l = flight_new(f, key, req, done, arg);
    if (l == NULL)
        return kl_fail(err, KL_NO_MEMORY, "malloc", "No memory for a call");
    (void)pthread_mutex_lock(&f->lock);
    enum kl_code code = KL_OK;
    if (!step_locked(l)) {
        /* refused by all that are there, or by none that is configured */
        code = l->first.code != KL_OK ? l->first.code : unconfigured(&l->first);
        if (err != NULL)
            *err = l->first;
    }
    unref_unlock(l);
    return code;
}
