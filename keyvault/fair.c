#include "keyvault/fair.h"

#include "base/clock.h"
#include "base/encoding.h"

#include <pthread.h>
#include <string.h>

#define QUEUES        256
#define ALL_MAX       8192 /* calls that wait before one token */
#define CONTENTION_MS 5000 /* after the last change from one caller to another */
#define NO_QUEUE      SIZE_MAX
#define BIG_BITS      3072
#define BIGGER_BITS   4096
#define COST_BIG      4 /* as the service limits count keys (limit.c) */
#define COST_BIGGER   8

struct line;

struct call {
    struct call *next;
    struct line *line;
    struct kl_key_version *key; /* a reference while it waits */
    struct kl_token_request req;
    kl_token_done *done;
    void *arg;
    unsigned cost;
    uint8_t input[]; /* a copy while it waits */
};

struct queue {
    struct call *first, *last;
    size_t waiting;
    unsigned credit;
    size_t next; /* in the ring of those that have calls */
};

/* Before one token. */
struct line {
    struct kl_fair *f;
    struct kl_token *token;
    unsigned window, running;
    size_t waiting, active; /* calls, queues */
    size_t turn;            /* last queue of the ring: its next is the one to serve */
    size_t latest;          /* queue of the last call that came */
    int64_t contended_until_ms;
    struct queue queues[QUEUES];
};

struct kl_fair {
    pthread_mutex_t lock;
    struct kl_failover *failover;
    uint64_t salt;
    size_t count;
    struct line lines[];
};

enum kl_code kl_fair_new(struct kl_token *const *tokens, const unsigned *windows, size_t count,
                         struct kl_failover *failover, struct kl_fair **ret, struct kl_err *err)
{
    struct kl_fair *f = calloc(1, sizeof *f + count * sizeof f->lines[0]);
    if (f == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "No memory for the queues before tokens");
    (void)pthread_mutex_init(&f->lock, NULL);
    f->failover = failover;
    f->count = count;
    kl_random(&f->salt, sizeof f->salt);
    for (size_t i = 0; i < count; i++) {
        f->lines[i].f = f;
        f->lines[i].token = tokens[i];
        f->lines[i].window = windows[i];
        f->lines[i].turn = f->lines[i].latest = NO_QUEUE;
    }
    *ret = f;
    return KL_OK;
}

void kl_fair_free(struct kl_fair *f)
{
    if (f != NULL)
        (void)pthread_mutex_destroy(&f->lock);
    free(f);
}

static size_t queue_of(const struct kl_fair *f, const char *caller)
{
    uint64_t h = f->salt;
    for (; *caller != 0; caller++)
        h = (h ^ (unsigned char)*caller) * UINT64_C(1099511628211);
    h ^= h >> 29;
    return (size_t)(h * UINT64_C(0x9e3779b97f4a7c15) >> 56) % QUEUES;
}

static struct line *line_of(struct kl_fair *f, const struct kl_key_version *key)
{
    const struct kl_token *t = key->home_count > 0 ? key->homes[0].token : key->token;
    for (size_t i = 0; i < f->count; i++)
        if (f->lines[i].token == t)
            return &f->lines[i];
    return NULL;
}

static unsigned cost_of(const struct kl_key_version *key)
{
    if (key->type != KL_KEY_RSA || key->bits < BIG_BITS)
        return 1;
    return key->bits < BIGGER_BITS ? COST_BIG : COST_BIGGER;
}

/* --- the ring --- */

static void put_locked(struct line *l, size_t at, struct call *c)
{
    struct queue *q = &l->queues[at];
    c->next = NULL;
    *(q->first == NULL ? &q->first : &q->last->next) = c;
    q->last = c;
    l->waiting++;
    if (q->waiting++ > 0)
        return;
    l->active++;
    if (l->turn == NO_QUEUE) {
        q->next = at;
    } else {
        q->next = l->queues[l->turn].next;
        l->queues[l->turn].next = at;
    }
    l->turn = at;
}

static void leave_ring_locked(struct line *l, size_t before, size_t at)
{
    l->queues[before].next = l->queues[at].next;
    l->queues[at].credit = 0;
    l->turn = before == at ? NO_QUEUE : before;
    l->active--;
}

/* The next call whose queue can pay for it; each queue that cannot gets one more and goes to the
 * end. NULL when nothing waits. */
static struct call *take_locked(struct line *l)
{
    while (l->turn != NO_QUEUE) {
        size_t before = l->turn, at = l->queues[before].next;
        struct queue *q = &l->queues[at];
        struct call *c = q->first;
        if (++q->credit < c->cost) {
            l->turn = at;
            continue;
        }
        q->credit -= c->cost;
        q->first = c->next;
        l->waiting--;
        if (--q->waiting == 0)
            leave_ring_locked(l, before, at);
        else
            l->turn = at;
        return c;
    }
    return NULL;
}

/* --- calls --- */

static void finished(void *arg, struct kl_token_reply *reply);

static void call_free(struct call *c)
{
    kl_key_version_unref(c->key);
    free(c);
}

static void fail(struct call *c, const struct kl_err *err)
{
    struct kl_token_reply reply = {.code = err->code, .err = *err};
    c->done(c->arg, &reply);
    call_free(c);
}

/* Give the token what it has room for. A token that takes nothing ends all that wait for it. */
static void pump(struct line *l)
{
    (void)pthread_mutex_lock(&l->f->lock);
    while (l->running < l->window) {
        struct kl_err err = {.code = KL_OK};
        struct call *c = take_locked(l);
        if (c == NULL)
            break;
        l->running++;
        (void)pthread_mutex_unlock(&l->f->lock);
        enum kl_code code = kl_failover_submit(l->f->failover, c->key, &c->req, finished, c, &err);
        if (code != KL_OK)
            fail(c, &err);
        (void)pthread_mutex_lock(&l->f->lock);
        l->running -= code != KL_OK;
    }
    (void)pthread_mutex_unlock(&l->f->lock);
}

static void finished(void *arg, struct kl_token_reply *reply)
{
    struct call *c = arg;
    struct line *l = c->line;
    (void)pthread_mutex_lock(&l->f->lock);
    l->running--;
    bool more = l->waiting > 0;
    (void)pthread_mutex_unlock(&l->f->lock);
    if (more) /* first, so that the token does not idle */
        pump(l);
    c->done(c->arg, reply);
    call_free(c);
}

static struct call *call_new(struct line *l, struct kl_key_version *key,
                             const struct kl_token_request *req, kl_token_done *done, void *arg)
{
    struct call *c = malloc(sizeof *c + req->input_len);
    if (c == NULL)
        return NULL;
    *c = (struct call){.line = l,
                       .key = kl_key_version_ref(key),
                       .req = *req,
                       .done = done,
                       .arg = arg,
                       .cost = cost_of(key)};
    if (req->input_len > 0)
        memcpy(c->input, req->input, req->input_len);
    c->req.input = c->input;
    return c;
}

static void note_contention_locked(struct line *l, size_t at)
{
    if (l->latest != NO_QUEUE && l->latest != at)
        l->contended_until_ms = kl_clock_mono_ms() + CONTENTION_MS;
    l->latest = at;
}

static bool may_pass_locked(const struct line *l)
{
    return l->waiting == 0 &&
           (l->running < l->window || kl_clock_mono_ms() >= l->contended_until_ms);
}

static bool is_full_locked(const struct line *l, const struct queue *q)
{
    size_t share = ALL_MAX / (l->active + (q->waiting == 0));
    return q->waiting >= KL_FAIR_WAITING_MAX || (l->waiting >= ALL_MAX && q->waiting >= share);
}

/* The token has room, or nobody else wants it. */
static enum kl_code pass(struct call *c, struct kl_err *err)
{
    struct line *l = c->line;
    enum kl_code code = kl_failover_submit(l->f->failover, c->key, &c->req, finished, c, err);
    if (code == KL_OK)
        return KL_OK;
    call_free(c);
    (void)pthread_mutex_lock(&l->f->lock);
    l->running--;
    (void)pthread_mutex_unlock(&l->f->lock);
    pump(l);
    return code;
}

enum kl_code kl_fair_submit(struct kl_fair *f, const char *caller, struct kl_key_version *key,
                            const struct kl_token_request *req, kl_token_done *done, void *arg,
                            struct kl_err *err)
{
    struct line *l = line_of(f, key);
    if (l == NULL) /* not configured: the error is the failover's */
        return kl_failover_submit(f->failover, key, req, done, arg, err);
    size_t at = queue_of(f, caller);
    struct call *c = call_new(l, key, req, done, arg);
    if (c == NULL)
        return kl_fail(err, KL_NO_MEMORY, "malloc", "No memory for a call");
    (void)pthread_mutex_lock(&f->lock);
    note_contention_locked(l, at);
    bool passes = may_pass_locked(l), full = !passes && is_full_locked(l, &l->queues[at]);
    if (passes)
        l->running++;
    else if (!full)
        put_locked(l, at, c);
    (void)pthread_mutex_unlock(&f->lock);
    if (passes)
        return pass(c, err);
    if (!full)
        return KL_OK;
    call_free(c);
    return kl_fail(err, KL_TOKEN_BUSY, "queue", "too many calls of this caller wait for token %s",
                   l->token->name);
}
