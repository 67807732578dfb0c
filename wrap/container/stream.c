#include "wrap/container/stream.h"

#include "wrap/container/port.h"
#include "wrap/container/tink.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What the threads of one call share. `reading` covers the source, `lock` the rest; never both at
 * once but in that order. */
struct job {
    const struct kl_tink *tink;
    const struct kl_stream_options *options;
    bool sealing;
    struct kl_port in, out;

    pthread_mutex_t reading;
    uint64_t next; /* segment to read */
    bool ended;    /* the last one was handed out, or reading failed */
    bool carried;  /* in order: the byte behind the segment read last, which told that it is not the
                      last */
    uint8_t carry;

    pthread_mutex_t lock;
    pthread_cond_t moved;
    uint64_t written;   /* in order: segment whose turn it is */
    uint64_t failed_at; /* lowest segment that failed, UINT64_MAX */
    struct kl_err err;
    uint64_t in_bytes, plain_bytes;
};

/* One thread with its segment. */
struct worker {
    struct job *job;
    EVP_CIPHER_CTX *cipher;
    uint8_t *bytes; /* mapped */
    pthread_t thread;
    struct kl_tink_place place;
    size_t n;
};

static size_t room_of(const struct job *j, uint64_t index)
{
    return j->sealing ? kl_tink_plain_room(j->tink, index) : kl_tink_cipher_room(j->tink, index);
}

static uint64_t input_at(const struct job *j, uint64_t index)
{
    return j->sealing ? kl_tink_plain_at(j->tink, index) : kl_tink_cipher_at(j->tink, index);
}

static uint64_t output_at(const struct job *j, uint64_t index)
{
    return j->sealing ? kl_tink_cipher_at(j->tink, index) : kl_tink_plain_at(j->tink, index);
}

static size_t buffer_bytes(const struct kl_tink *t)
{
    return t->segment_bytes + (size_t)KL_TINK_TAG_BYTES; /* a byte of look-ahead fits as well */
}

static void fail_at(struct job *j, uint64_t index, const struct kl_err *err)
{
    (void)pthread_mutex_lock(&j->lock);
    if (index < j->failed_at) {
        j->failed_at = index;
        j->err = *err;
    }
    (void)pthread_cond_broadcast(&j->moved);
    (void)pthread_mutex_unlock(&j->lock);
}

static bool failed_before(struct job *j, uint64_t index)
{
    (void)pthread_mutex_lock(&j->lock);
    const bool failed = j->failed_at < index;
    (void)pthread_mutex_unlock(&j->lock);
    return failed;
}

/* Read the segment in order, and one byte more to know whether it is the last. */
static enum kl_code read_in_order(struct job *j, struct worker *w, size_t room, struct kl_err *err)
{
    size_t have = 0, got = 0;
    if (j->carried)
        w->bytes[have++] = j->carry;
    enum kl_code code = kl_port_read(&j->in, 0, w->bytes + have, room + 1 - have, &got, err);
    if (code != KL_OK)
        return code;
    have += got;
    j->carried = have > room;
    if (j->carried)
        j->carry = w->bytes[room];
    w->place.last = !j->carried;
    w->n = j->carried ? room : have;
    return KL_OK;
}

static enum kl_code check_limit(const struct job *j, uint64_t index, struct kl_err *err)
{
    if (kl_tink_plain_at(j->tink, index) >= KL_STREAM_MAX_BYTES)
        return kl_fail(err, KL_TOO_BIG, "stream", "a stream cannot hold more than 64 TiB");
    return KL_OK;
}

/* Take the next segment's place and, in order, its bytes. False: there is none. Holds `reading`. */
static bool take_locked(struct job *j, struct worker *w)
{
    if (j->ended || failed_before(j, j->next))
        return false;
    struct kl_err err;
    const uint64_t index = j->next++;
    const size_t room = room_of(j, index);
    w->place = (struct kl_tink_place){.index = (uint32_t)index};
    enum kl_code code = check_limit(j, index, &err);
    if (code == KL_OK && j->in.by_position) {
        const uint64_t at = input_at(j, index);
        w->n = j->in.size - at < room ? (size_t)(j->in.size - at) : room;
        w->place.last = j->in.size - at <= room;
    } else if (code == KL_OK) {
        code = read_in_order(j, w, room, &err);
    }
    j->ended = code != KL_OK || w->place.last;
    if (code != KL_OK)
        fail_at(j, index, &err);
    return code == KL_OK;
}

static bool take(struct job *j, struct worker *w)
{
    (void)pthread_mutex_lock(&j->reading);
    const bool taken = take_locked(j, w);
    (void)pthread_mutex_unlock(&j->reading);
    return taken;
}

static enum kl_code fetch(const struct job *j, struct worker *w, struct kl_err *err)
{
    size_t got = 0;
    if (!j->in.by_position)
        return KL_OK;
    enum kl_code code =
        kl_port_read(&j->in, input_at(j, w->place.index), w->bytes, w->n, &got, err);
    if (code == KL_OK && got != w->n)
        return kl_fail(err, KL_IO, "pread", "the input became shorter while it was read");
    return code;
}

/* In order: wait for our turn. False when an earlier segment failed, so that ours must not go out.
 */
static bool await_turn(struct job *j, uint64_t index)
{
    (void)pthread_mutex_lock(&j->lock);
    while (j->written != index && j->failed_at > index)
        (void)pthread_cond_wait(&j->moved, &j->lock);
    const bool ours = j->failed_at > index;
    (void)pthread_mutex_unlock(&j->lock);
    return ours;
}

static void account(struct job *j, size_t in_bytes, size_t plain_bytes)
{
    (void)pthread_mutex_lock(&j->lock);
    j->written++;
    j->in_bytes += in_bytes;
    j->plain_bytes += plain_bytes;
    if (j->options->progress != NULL)
        j->options->progress(j->options->arg, j->in_bytes);
    (void)pthread_cond_broadcast(&j->moved);
    (void)pthread_mutex_unlock(&j->lock);
}

static enum kl_code pass_segment(struct job *j, struct worker *w, struct kl_err *err)
{
    enum kl_code code = fetch(j, w, err);
    if (code == KL_OK)
        code = j->sealing ? kl_tink_seal(j->tink, w->cipher, w->place, w->bytes, w->n, err)
                          : kl_tink_open(j->tink, w->cipher, w->place, w->bytes, w->n, err);
    if (code != KL_OK)
        return code;
    const size_t out = j->sealing ? w->n + KL_TINK_TAG_BYTES : w->n - KL_TINK_TAG_BYTES;
    if (!j->out.by_position && !await_turn(j, w->place.index))
        return KL_OK;
    code = kl_port_write(&j->out, output_at(j, w->place.index), w->bytes, out, err);
    if (code == KL_OK)
        account(j, w->n, j->sealing ? w->n : out);
    return code;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct job *j = w->job;
    struct kl_err err;
    while (take(j, w))
        if (pass_segment(j, w, &err) != KL_OK)
            fail_at(j, w->place.index, &err);
    return NULL;
}

static unsigned processors(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    return (unsigned)CPU_COUNT(&set);
}

static unsigned threads_for(const struct job *j)
{
    unsigned n = j->options->threads;
    if (n == 0)
        n = processors() + !j->in.by_position + !j->out.by_position;
    if (n > KL_STREAM_MAX_THREADS)
        n = KL_STREAM_MAX_THREADS;
    if (j->in.by_position) {
        const uint64_t segments = j->in.size / j->tink->segment_bytes + 1;
        n = n < segments ? n : (unsigned)segments;
    }
    return n;
}

static bool worker_begin(struct worker *w, struct job *j)
{
    w->job = j;
    w->cipher = kl_tink_cipher(j->tink, j->sealing);
    void *p = mmap(NULL, buffer_bytes(j->tink), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);
    w->bytes = p != MAP_FAILED ? p : NULL;
    if (w->bytes != NULL)
        (void)madvise(p, buffer_bytes(j->tink), MADV_DONTDUMP);
    return w->cipher != NULL && w->bytes != NULL;
}

static void worker_end(struct worker *w)
{
    EVP_CIPHER_CTX_free(w->cipher);
    if (w->bytes != NULL) {
        kl_wipe(w->bytes, buffer_bytes(w->job->tink));
        (void)munmap(w->bytes, buffer_bytes(w->job->tink));
    }
}

/* Run the job on the calling thread and as many others as can be had. */
static enum kl_code run(struct job *j, struct kl_err *err)
{
    struct worker workers[KL_STREAM_MAX_THREADS] = {0};
    const unsigned wanted = threads_for(j);
    unsigned begun = 0, started = 0;
    while (begun < wanted && worker_begin(&workers[begun], j))
        begun++;
    if (begun == 0) {
        worker_end(&workers[0]);
        return kl_fail(err, KL_NO_MEMORY, "mmap", "there is no memory for one segment");
    }
    while (started + 1 < begun &&
           pthread_create(&workers[started + 1].thread, NULL, work, &workers[started + 1]) == 0)
        started++;
    (void)work(&workers[0]);
    for (unsigned i = 1; i <= started; i++)
        (void)pthread_join(workers[i].thread, NULL);
    for (unsigned i = 0; i < KL_COUNT(workers) && workers[i].job != NULL; i++)
        worker_end(&workers[i]);
    if (j->failed_at == UINT64_MAX)
        return KL_OK;
    if (err != NULL)
        *err = j->err;
    return j->err.code;
}

static enum kl_code run_job(struct job *j, uint64_t *ret_bytes, struct kl_err *err)
{
    static const struct kl_stream_options none;
    if (j->options == NULL)
        j->options = &none;
    j->failed_at = UINT64_MAX;
    (void)pthread_mutex_init(&j->reading, NULL);
    (void)pthread_mutex_init(&j->lock, NULL);
    (void)pthread_cond_init(&j->moved, NULL);
    enum kl_code code = run(j, err);
    (void)pthread_cond_destroy(&j->moved);
    (void)pthread_mutex_destroy(&j->lock);
    (void)pthread_mutex_destroy(&j->reading);
    if (code != KL_OK)
        return code;
    /* Leave the target's offset behind the stream, as writing in order would have. */
    const uint64_t end = output_at(j, j->next - 1) + j->plain_bytes -
                         kl_tink_plain_at(j->tink, j->next - 1) +
                         (j->sealing ? (uint64_t)KL_TINK_TAG_BYTES : 0);
    if (j->out.fd >= 0 && j->out.by_position)
        (void)lseek(j->out.fd, (off_t)(j->out.base + end), SEEK_SET);
    *ret_bytes = j->plain_bytes;
    return KL_OK;
}

enum kl_code kl_stream_seal(const struct kl_core *core, const struct kl_keys *keys, int in_fd,
                            int out_fd, const struct kl_stream_options *options,
                            uint64_t *ret_bytes, struct kl_err *err)
{
    KL_TINK tink;
    enum kl_code code =
        kl_tink_begin(keys->payload, core->hash, kl_core_segment_bytes(core), &tink, err);
    if (code != KL_OK)
        return code;
    struct job j = {.tink = &tink, .options = options, .sealing = true};
    kl_port_source(in_fd, &j.in);
    kl_port_target(out_fd, options != NULL && options->in_order, &j.out);
    code = kl_port_write(&j.out, 0, tink.header, sizeof tink.header, err);
    return code == KL_OK ? run_job(&j, ret_bytes, err) : code;
}

enum kl_code kl_stream_open(const struct kl_core *core, const struct kl_keys *keys, int in_fd,
                            int out_fd, const struct kl_stream_options *options,
                            uint64_t *ret_bytes, struct kl_err *err)
{
    uint8_t header[KL_TINK_HEADER_BYTES];
    size_t got = 0;
    struct job j = {.options = options};
    kl_port_source(in_fd, &j.in);
    kl_port_target(out_fd, options != NULL && options->in_order, &j.out);
    enum kl_code code = kl_port_read(&j.in, 0, header, sizeof header, &got, err);
    if (code != KL_OK)
        return code;
    if (got < sizeof header)
        return kl_fail(err, KL_WRAP_TRUNCATED, "payload",
                       "the file ends inside the payload's stream header");
    KL_TINK tink;
    code =
        kl_tink_resume(keys->payload, core->hash, kl_core_segment_bytes(core), header, &tink, err);
    j.tink = &tink;
    return code == KL_OK ? run_job(&j, ret_bytes, err) : code;
}
