/* The threads that may block: database writes, key generation. A fixed number of threads and
 * bounded queues, so that slow work is refused (429) instead of piling up. What only reads the
 * database has threads of its own: a token that hangs holds up whoever waits for it, and no
 * listing. Thread safe. */
#ifndef KL_KEYVAULT_JOBS_H
#define KL_KEYVAULT_JOBS_H

#include "base/err.h"

#include <stdbool.h>

struct kl_jobs; /* opaque */

enum kl_job_kind {
    KL_JOB_ANY,  /* may wait for a token */
    KL_JOB_READ, /* never does */
    KL_JOB_KINDS,
};

typedef void kl_job(void *arg);

/** Start `threads` threads, and two more that read, with room for `max_waiting` jobs of each kind.
 * KL_NO_MEMORY, KL_IO (no thread). */
enum kl_code kl_jobs_start(unsigned threads, size_t max_waiting, struct kl_jobs **ret,
                           struct kl_err *err) KL_MUST_USE;
/** Queue one; false when the queue is full: the job will not run. */
bool kl_jobs_add(struct kl_jobs *j, enum kl_job_kind kind, kl_job *run, void *arg) KL_MUST_USE;
/** Run what is queued, end the threads, free. */
void kl_jobs_stop(struct kl_jobs *j);

#endif
