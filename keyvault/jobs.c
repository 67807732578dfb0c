#include "keyvault/jobs.h"

#include <pthread.h>

#define READERS 2

struct job {
    kl_job *run;
    void *arg;
};

/* The jobs of one kind and the threads that do them. */
struct queue {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct job *ring;
    size_t room, first, count;
    pthread_t *threads;
    unsigned thread_count;
    bool stopping;
};

struct kl_jobs {
    struct queue queues[KL_JOB_KINDS];
};

static void *work_loop(void *arg)
{
    struct queue *q = arg;
    (void)pthread_mutex_lock(&q->lock);
    for (;;) {
        while (q->count == 0 && !q->stopping)
            (void)pthread_cond_wait(&q->work, &q->lock);
        if (q->count == 0)
            break;
        struct job next = q->ring[q->first];
        q->first = (q->first + 1) % q->room;
        q->count--;
        (void)pthread_mutex_unlock(&q->lock);
        next.run(next.arg);
        (void)pthread_mutex_lock(&q->lock);
    }
    (void)pthread_mutex_unlock(&q->lock);
    return NULL;
}

static enum kl_code start(struct queue *q, unsigned threads, size_t max_waiting, struct kl_err *err)
{
    q->ring = calloc(max_waiting, sizeof *q->ring);
    q->threads = calloc(threads, sizeof *q->threads);
    if (q->ring == NULL || q->threads == NULL)
        return kl_fail(err, KL_NO_MEMORY, "jobs", "No memory for the job threads");
    q->room = max_waiting;
    for (; q->thread_count < threads; q->thread_count++)
        if (pthread_create(&q->threads[q->thread_count], NULL, work_loop, q) != 0)
            return kl_fail(err, KL_IO, "pthread_create", "A job thread cannot be started");
    return KL_OK;
}

enum kl_code kl_jobs_start(unsigned threads, size_t max_waiting, struct kl_jobs **ret,
                           struct kl_err *err)
{
    struct kl_jobs *j = calloc(1, sizeof *j);
    if (j == NULL)
        return kl_fail(err, KL_NO_MEMORY, "jobs", "No memory for the job threads");
    for (int kind = 0; kind < KL_JOB_KINDS; kind++) {
        (void)pthread_mutex_init(&j->queues[kind].lock, NULL);
        (void)pthread_cond_init(&j->queues[kind].work, NULL);
    }
    enum kl_code code = start(&j->queues[KL_JOB_ANY], threads, max_waiting, err);
    if (code == KL_OK)
        code = start(&j->queues[KL_JOB_READ], READERS, max_waiting, err);
    if (code != KL_OK) {
        kl_jobs_stop(j);
        return code;
    }
    *ret = j;
    return KL_OK;
}

bool kl_jobs_add(struct kl_jobs *j, enum kl_job_kind kind, kl_job *run, void *arg)
{
    struct queue *q = &j->queues[kind];
    (void)pthread_mutex_lock(&q->lock);
    bool taken = q->count < q->room && !q->stopping;
    if (taken) {
        q->ring[(q->first + q->count) % q->room] = (struct job){.run = run, .arg = arg};
        q->count++;
        (void)pthread_cond_signal(&q->work);
    }
    (void)pthread_mutex_unlock(&q->lock);
    return taken;
}

static void stop(struct queue *q)
{
    (void)pthread_mutex_lock(&q->lock);
    q->stopping = true;
    (void)pthread_cond_broadcast(&q->work);
    (void)pthread_mutex_unlock(&q->lock);
    for (unsigned i = 0; i < q->thread_count; i++)
        (void)pthread_join(q->threads[i], NULL);
    (void)pthread_cond_destroy(&q->work);
    (void)pthread_mutex_destroy(&q->lock);
    free(q->ring);
    free(q->threads);
}

void kl_jobs_stop(struct kl_jobs *j)
{
    if (j == NULL)
        return;
    for (int kind = 0; kind < KL_JOB_KINDS; kind++)
        stop(&j->queues[kind]);
    free(j);
}
