#include "keyvault/jobs.h"

#include <pthread.h>

struct job {
    kl_job *run;
    void *arg;
};

struct kl_jobs {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct job *ring;
    size_t room, first, count;
    pthread_t *threads;
    unsigned thread_count;
    bool stopping;
};

static void *work_loop(void *arg)
{
    struct kl_jobs *j = arg;
    (void)pthread_mutex_lock(&j->lock);
    for (;;) {
        while (j->count == 0 && !j->stopping)
            (void)pthread_cond_wait(&j->work, &j->lock);
        if (j->count == 0)
            break;
        struct job next = j->ring[j->first];
        j->first = (j->first + 1) % j->room;
        j->count--;
        (void)pthread_mutex_unlock(&j->lock);
        next.run(next.arg);
        (void)pthread_mutex_lock(&j->lock);
    }
    (void)pthread_mutex_unlock(&j->lock);
    return NULL;
}

enum kl_code kl_jobs_start(unsigned threads, size_t max_waiting, struct kl_jobs **ret,
                           struct kl_err *err)
{
    struct kl_jobs *j = calloc(1, sizeof *j);
    if (j != NULL) {
        j->ring = calloc(max_waiting, sizeof *j->ring);
        j->threads = calloc(threads, sizeof *j->threads);
    }
    if (j == NULL || j->ring == NULL || j->threads == NULL) {
        if (j != NULL) {
            free(j->ring);
            free(j->threads);
        }
        free(j);
        return kl_fail(err, KL_NO_MEMORY, "jobs", "No memory for the job threads");
    }
    j->room = max_waiting;
    (void)pthread_mutex_init(&j->lock, NULL);
    (void)pthread_cond_init(&j->work, NULL);
    for (; j->thread_count < threads; j->thread_count++)
        if (pthread_create(&j->threads[j->thread_count], NULL, work_loop, j) != 0) {
            kl_jobs_stop(j);
            return kl_fail(err, KL_IO, "pthread_create", "A job thread cannot be started");
        }
    *ret = j;
    return KL_OK;
}

bool kl_jobs_add(struct kl_jobs *j, kl_job *run, void *arg)
{
    (void)pthread_mutex_lock(&j->lock);
    bool taken = j->count < j->room && !j->stopping;
    if (taken) {
        j->ring[(j->first + j->count) % j->room] = (struct job){.run = run, .arg = arg};
        j->count++;
        (void)pthread_cond_signal(&j->work);
    }
    (void)pthread_mutex_unlock(&j->lock);
    return taken;
}

void kl_jobs_stop(struct kl_jobs *j)
{
    if (j == NULL)
        return;
    (void)pthread_mutex_lock(&j->lock);
    j->stopping = true;
    (void)pthread_cond_broadcast(&j->work);
    (void)pthread_mutex_unlock(&j->lock);
    for (unsigned i = 0; i < j->thread_count; i++)
        (void)pthread_join(j->threads[i], NULL);
    (void)pthread_cond_destroy(&j->work);
    (void)pthread_mutex_destroy(&j->lock);
    free(j->ring);
    free(j->threads);
    free(j);
}
