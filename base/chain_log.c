#include "base/chain_notary.h"

#include "base/clock.h"
#include "base/encoding.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BURST_PAUSE_US 20 /* and the 50 us of slack that the kernel adds to every sleep */
#define QUEUE_CEILING  ((size_t)256 * 1024 * 1024)

struct item {
    size_t n;
    kl_chain_done *done;
    void *arg;
    uint64_t covers; /* a checkpoint: of this line; 0 = a record */
};

/* Records in order: their members one behind the other, and who waits for each. */
struct queue {
    struct kl_buf members;
    struct item *items;
    size_t count, room;
};

struct kl_chain_log {
    pthread_t writer;
    pthread_mutex_t lock; /* of the block below */
    pthread_cond_t more;
    struct queue in;
    size_t waiting; /* in `in` and with the writer */
    bool asleep, gathering, stop, failed;
    bool unsigned_again; /* the notary could not do what it was asked last */
    struct kl_chain_point durable;

    atomic_int coming; /* announced by kl_chain_expect */

    /* the writer's own */
    struct kl_chain_files files;
    struct kl_chain_point at; /* behind the lines that are made but not yet durable */
    EVP_MD_CTX *hasher;
    struct queue out;
    struct kl_buf lines;
    struct kl_chain_notary *notary; /* NULL = no checkpoints */
    bool signing;                   /* the notary was asked and has not answered */
    size_t max_waiting;
    unsigned checkpoint_records, uncovered;
    int64_t checkpoint_ms, checkpoint_due_ms; /* due: 0 = nothing to cover */
    int64_t gather_us;
    void (*before_done)(void), (*after_done)(void);
    size_t last_batch; /* records in it */
};

static bool queue_put(struct queue *q, const char *members, const struct item *item)
{
    size_t n = item->n;
    if (q->count == q->room) {
        size_t room = q->room != 0 ? q->room * 2 : 64;
        struct item *bigger = realloc(q->items, room * sizeof *bigger);
        if (bigger == NULL)
            return false;
        q->items = bigger;
        q->room = room;
    }
    size_t before = q->members.len;
    kl_buf_put(&q->members, members, n);
    if (kl_buf_failed(&q->members)) {
        q->members.failed = false; /* nothing was appended */
        q->members.len = before;
        return false;
    }
    q->items[q->count++] = *item;
    return true;
}

static void queue_clear(struct queue *q)
{
    kl_buf_clear(&q->members);
    q->count = 0;
}

void kl_chain_expect(struct kl_chain_log *log, int change)
{
    (void)atomic_fetch_add_explicit(&log->coming, change, memory_order_relaxed);
}

static bool worth_waiting(struct kl_chain_log *log)
{
    return !log->stop && atomic_load_explicit(&log->coming, memory_order_relaxed) > KL_CHAIN_FEW;
}

enum kl_code kl_chain_append(struct kl_chain_log *log, const char *members, size_t n,
                             kl_chain_done *done, void *arg)
{
    static const char reserved[] = "\"checkpoint\"";
    if (n > KL_CHAIN_MAX_LINE / 2)
        return KL_TOO_BIG;
    if (memchr(members, '\n', n) != NULL || memchr(members, 0, n) != NULL ||
        (n >= sizeof reserved - 1 && memcmp(members, reserved, sizeof reserved - 1) == 0))
        return KL_BAD_INPUT;
    enum kl_code code = KL_OK;
    (void)pthread_mutex_lock(&log->lock);
    if (log->failed)
        code = KL_IO;
    else if (log->waiting >= log->max_waiting)
        code = KL_THROTTLED;
    else if (!queue_put(&log->in, members, &(struct item){n, done, arg, 0}))
        code = KL_NO_MEMORY;
    else
        log->waiting++;
    bool wake = code == KL_OK && (log->asleep || (log->gathering && !worth_waiting(log)));
    log->asleep = log->asleep && !wake;
    (void)pthread_mutex_unlock(&log->lock);
    if (wake)
        (void)pthread_cond_signal(&log->more);
    return code;
}

/* Everything in log->lines becomes durable, or nothing of it. Once a sync has failed nobody knows
 * what is on disk: the kernel reports it once and forgets, so that is the end (KL_IO). A write that
 * found no room is undone, and that made durable, before going on. */
static enum kl_code commit(struct kl_chain_log *log)
{
    int fd = log->files.log_fd;
    struct kl_err err = {0};
    enum kl_code code = KL_NO_MEMORY;
    if (!kl_buf_failed(&log->lines))
        code = kl_chain_write_at(fd, log->lines.bytes, log->lines.len, log->durable.size, &err);
    if (code == KL_OK && fdatasync(fd) != 0)
        return KL_IO;
    if (code != KL_OK) {
        log->at = log->durable;
        if (ftruncate(fd, (off_t)log->durable.size) != 0 || fdatasync(fd) != 0)
            return KL_IO;
        return code == KL_NO_SPACE || code == KL_NO_MEMORY ? code : KL_IO;
    }
    (void)pthread_mutex_lock(&log->lock);
    log->durable = log->at;
    (void)pthread_mutex_unlock(&log->lock);
    /* Only behind the sync: the head never knows more than the log has. It may know less after a
     * power cut, or when it cannot be written just now; then the next opening follows the lines
     * from where it points. */
    (void)kl_chain_write_head(log->files.head_fd, &log->durable, NULL);
    return KL_OK;
}

static void fail_for_good(struct kl_chain_log *log)
{
    (void)pthread_mutex_lock(&log->lock);
    log->failed = true;
    (void)pthread_mutex_unlock(&log->lock);
}

static void note_uncovered(struct kl_chain_log *log, size_t count)
{
    if (log->notary == NULL || count == 0)
        return;
    log->uncovered += (unsigned)count;
    if (log->checkpoint_due_ms == 0)
        log->checkpoint_due_ms = kl_clock_mono_ms() + log->checkpoint_ms;
}

/* The lines of the batch into log->lines; *ret_records = how many are no checkpoints. */
static void put_batch(struct kl_chain_log *log, size_t *ret_records)
{
    const char *members = kl_buf_text(&log->out.members);
    *ret_records = 0;
    for (size_t i = 0; i < log->out.count; i++) {
        const struct item *item = &log->out.items[i];
        /* a signature that took too long speaks of a place that no verifier remembers */
        bool stale = item->covers != 0 && log->at.seq - item->covers >= KL_CHAIN_LOOK_BACK;
        if (!stale)
            kl_chain_put_line(log->hasher, &log->at, members, item->n, &log->lines);
        members += item->n;
        *ret_records += item->covers == 0;
        log->signing = log->signing && item->covers == 0;
    }
}

static void write_batch(struct kl_chain_log *log)
{
    size_t records;
    kl_buf_clear(&log->lines);
    put_batch(log, &records);
    enum kl_code code = log->failed ? KL_IO : commit(log);
    if (code == KL_IO)
        fail_for_good(log);
    else if (code == KL_OK)
        note_uncovered(log, records);
    log->before_done();
    for (size_t i = 0; i < log->out.count; i++) {
        const struct item *item = &log->out.items[i];
        if (item->done != NULL)
            item->done(item->arg, code);
    }
    log->after_done();
    (void)pthread_mutex_lock(&log->lock);
    log->waiting -= log->out.count;
    (void)pthread_mutex_unlock(&log->lock);
    queue_clear(&log->out);
}

/* On the notary's thread. */
static void on_signed(void *arg, const struct kl_chain_point *at, const char *members, size_t n)
{
    struct kl_chain_log *log = arg;
    const struct item item = {.n = n, .covers = at->seq};
    (void)pthread_mutex_lock(&log->lock);
    if (n > 0 && !log->failed && queue_put(&log->in, members, &item))
        log->waiting++;
    else
        log->unsigned_again = true;
    log->asleep = false;
    (void)pthread_mutex_unlock(&log->lock);
    (void)pthread_cond_signal(&log->more);
}

/* Have signed where the log stands; records go on meanwhile. */
static void ask_notary(struct kl_chain_log *log)
{
    log->signing = true;
    log->uncovered = 0;
    log->checkpoint_due_ms = 0;
    kl_chain_notary_ask(log->notary, &log->durable);
}

/* The token was away: the next occasion is one period later, since records matter more. */
static void put_off(struct kl_chain_log *log)
{
    log->signing = false;
    if (log->checkpoint_due_ms == 0)
        log->checkpoint_due_ms = kl_clock_mono_ms() + log->checkpoint_ms;
}

/* The last line of a life covers all before it. */
static void write_last_checkpoint(struct kl_chain_log *log)
{
    struct kl_buf members = KL_BUF_INIT(8192);
    kl_buf_clear(&log->lines);
    if (kl_chain_notary_sign(log->notary, &log->durable, &members)) {
        kl_chain_put_line(log->hasher, &log->at, members.bytes, members.len, &log->lines);
        (void)commit(log); /* without it the log merely lacks this signature */
    }
    kl_buf_done(&members);
}

static bool checkpoint_is_due(const struct kl_chain_log *log)
{
    return !log->failed && !log->signing && log->checkpoint_due_ms != 0 &&
           ((log->checkpoint_records != 0 && log->uncovered >= log->checkpoint_records) ||
            kl_clock_mono_ms() >= log->checkpoint_due_ms);
}

/* Until there is something to do; with the lock held. */
static void wait_for_more(struct kl_chain_log *log)
{
    log->asleep = true;
    if (log->failed || log->signing || log->checkpoint_due_ms == 0) {
        (void)pthread_cond_wait(&log->more, &log->lock);
    } else {
        int64_t left = log->checkpoint_due_ms - kl_clock_mono_ms();
        struct timespec until = kl_clock_deadline((left < 1 ? 1 : left) * 1000);
        (void)pthread_cond_timedwait(&log->more, &log->lock, &until);
    }
    log->asleep = false;
}

/* A burst: as long as more came within the last pause, more will. Costs one wake a pause, not one a
 * record. */
static void let_burst_pass(struct kl_chain_log *log)
{
    const struct timespec pause = {.tv_nsec = BURST_PAUSE_US * 1000};
    int64_t left_us = log->gather_us;
    size_t before = 0;
    while (log->last_batch > KL_CHAIN_FEW && log->in.count > before && left_us > 0 && !log->stop) {
        before = log->in.count;
        left_us -= BURST_PAUSE_US;
        (void)pthread_mutex_unlock(&log->lock);
        (void)nanosleep(&pause, NULL);
        (void)pthread_mutex_lock(&log->lock);
    }
}

/* There is something to write: let those that are nearly here come along. With the lock held. */
static void gather(struct kl_chain_log *log)
{
    if (log->gather_us == 0)
        return;
    struct timespec until = kl_clock_deadline(log->gather_us);
    log->gathering = true;
    while (worth_waiting(log) && pthread_cond_timedwait(&log->more, &log->lock, &until) == 0)
        ;
    log->gathering = false;
    let_burst_pass(log);
}

/* Take what there is to write; with the lock held. What comes meanwhile is the next batch. */
static void take_batch_locked(struct kl_chain_log *log)
{
    struct queue got = log->in;
    log->in = log->out;
    log->out = got;
    if (got.count > 0)
        log->last_batch = got.count;
}

static void finish(struct kl_chain_log *log)
{
    if (log->notary == NULL)
        return;
    kl_chain_notary_stop(log->notary);
    (void)pthread_mutex_lock(&log->lock);
    take_batch_locked(log);
    bool again = log->unsigned_again;
    (void)pthread_mutex_unlock(&log->lock);
    if (log->out.count > 0)
        write_batch(log);
    if (again)
        put_off(log);
    if (!log->failed && log->checkpoint_due_ms != 0)
        write_last_checkpoint(log);
}

static void *writer(void *arg)
{
    struct kl_chain_log *log = arg;
    for (bool stop = false; !stop;) {
        (void)pthread_mutex_lock(&log->lock);
        while (log->in.count == 0 && !log->stop && !log->unsigned_again && !checkpoint_is_due(log))
            wait_for_more(log);
        if (log->in.count > 0)
            gather(log);
        take_batch_locked(log);
        stop = log->stop && log->out.count == 0;
        bool again = log->unsigned_again;
        log->unsigned_again = false;
        (void)pthread_mutex_unlock(&log->lock);
        if (log->out.count > 0)
            write_batch(log);
        if (again)
            put_off(log);
        if (!stop && checkpoint_is_due(log))
            ask_notary(log);
    }
    finish(log);
    return NULL;
}

static void queue_done(struct queue *q)
{
    kl_buf_done(&q->members);
    free(q->items);
}

static void log_free(struct kl_chain_log *log)
{
    kl_chain_close_files(&log->files);
    queue_done(&log->in);
    queue_done(&log->out);
    kl_buf_done(&log->lines);
    EVP_MD_CTX_free(log->hasher);
    (void)pthread_cond_destroy(&log->more);
    (void)pthread_mutex_destroy(&log->lock);
    kl_chain_notary_free(log->notary);
    free(log);
}

static void nothing(void)
{
}

static struct kl_chain_log *log_new(const struct kl_chain_config *config)
{
    struct kl_chain_log *log = calloc(1, sizeof *log);
    pthread_condattr_t monotonic;
    if (log == NULL)
        return NULL;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&log->more, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    (void)pthread_mutex_init(&log->lock, NULL);
    log->files.log_fd = log->files.head_fd = -1;
    log->in.members = log->out.members = log->lines = KL_BUF_INIT(QUEUE_CEILING);
    log->max_waiting = config->max_waiting;
    log->checkpoint_records = config->checkpoint_records;
    log->checkpoint_ms = config->checkpoint_ms;
    log->gather_us = config->gather_us;
    log->before_done = config->before_done != NULL ? config->before_done : nothing;
    log->after_done = config->after_done != NULL ? config->after_done : nothing;
    log->hasher = kl_chain_hasher();
    if (log->hasher == NULL) {
        log_free(log);
        return NULL;
    }
    return log;
}

/* The gap is part of the record from now on. */
static enum kl_code append_loss(struct kl_chain_log *log)
{
    char members[256], hex[KL_CHAIN_HEX + 1];
    kl_hex(log->files.lost_head.chain, KL_CHAIN_BYTES, hex);
    int n = snprintf(members, sizeof members,
                     "\"tail_lost\":{\"found_seq\":%" PRIu64 ",\"head_seq\":%" PRIu64
                     ",\"head_chain\":\"%s\"}",
                     log->at.seq, log->files.lost_head.seq, hex);
    return kl_chain_append(log, members, (size_t)n, NULL, NULL);
}

static enum kl_code open_log(const struct kl_chain_config *config, bool accept_loss,
                             struct kl_chain_log **ret, struct kl_err *err)
{
    struct kl_chain_log *log = log_new(config);
    if (log == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for the log %s", config->path);
    enum kl_code code =
        kl_chain_open_files(config->path, config->head_path, accept_loss, &log->files, err);
    if (code != KL_OK) {
        log_free(log);
        return code;
    }
    log->at = log->durable = log->files.at;
    if (config->signer != NULL &&
        (log->notary = kl_chain_notary_new(config->signer, on_signed, log)) == NULL) {
        log_free(log);
        return kl_fail(err, KL_NO_MEMORY, "pthread_create", "no thread for the log %s",
                       config->path);
    }
    if (!log->files.covered)
        note_uncovered(log, 1);
    if (log->files.lost)
        code = append_loss(log);
    if (code != KL_OK || pthread_create(&log->writer, NULL, writer, log) != 0) {
        log_free(log);
        return kl_fail(err, KL_NO_MEMORY, "pthread_create", "no thread for the log %s",
                       config->path);
    }
    *ret = log;
    return KL_OK;
}

enum kl_code kl_chain_open(const struct kl_chain_config *config, struct kl_chain_log **ret,
                           struct kl_err *err)
{
    return open_log(config, false, ret, err);
}

enum kl_code kl_chain_open_after_loss(const struct kl_chain_config *config,
                                      struct kl_chain_log **ret, struct kl_err *err)
{
    return open_log(config, true, ret, err);
}

void kl_chain_close(struct kl_chain_log *log)
{
    if (log == NULL)
        return;
    (void)pthread_mutex_lock(&log->lock);
    log->stop = true;
    (void)pthread_mutex_unlock(&log->lock);
    (void)pthread_cond_signal(&log->more);
    (void)pthread_join(log->writer, NULL);
    if (!log->failed)
        (void)fsync(log->files.head_fd); /* best effort: it may lag */
    log_free(log);
}

void kl_chain_head(struct kl_chain_log *log, uint64_t *ret_seq, char ret_chain[static 65])
{
    (void)pthread_mutex_lock(&log->lock);
    *ret_seq = log->durable.seq;
    kl_hex(log->durable.chain, KL_CHAIN_BYTES, ret_chain);
    (void)pthread_mutex_unlock(&log->lock);
}
