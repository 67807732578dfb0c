/* The threads that may block: database writes, key generation. A fixed number of threads and a
 * bounded queue, so that slow work is refused (429) instead of piling up. Thread safe. */
#ifndef KL_KEYVAULT_JOBS_H
#define KL_KEYVAULT_JOBS_H

#include "base/err.h"

#include <stdbool.h>

struct kl_jobs; /* opaque */

typedef void kl_job(void *arg);

/** Start `threads` threads with room for `max_waiting` jobs. KL_NO_MEMORY, KL_IO (no thread). */
enum kl_code kl_jobs_start(unsigned threads, size_t max_waiting, struct kl_jobs **ret,
                           struct kl_err *err) KL_MUST_USE;
/** Queue one; false when the queue is full: the job will not run. */
bool kl_jobs_add(struct kl_jobs *j, kl_job *run, void *arg) KL_MUST_USE;
/** Run what is queued, end the threads, free. */
void kl_jobs_stop(struct kl_jobs *j);

#endif
