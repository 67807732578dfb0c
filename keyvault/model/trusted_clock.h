/* The clock that purges trust: seconds that this service itself has seen pass (CLOCK_BOOTTIME,
 * counted only while it runs, kept across restarts under a MAC), and a watch on the wall clock.
 * Private to the model. Thread safe.
 *
 * A count that cannot be trusted any more (its note was edited or lost) starts again from zero:
 * purges then come late, never early. A wall clock that runs ahead of the monotonic one by more
 * than an hour since the start freezes purges by date until it is back or the service is started
 * anew; the count alone still holds every date. */
#ifndef KL_KEYVAULT_MODEL_TRUSTED_CLOCK_H
#define KL_KEYVAULT_MODEL_TRUSTED_CLOCK_H

#include "base/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct kl_model;
struct kl_protector;

struct kl_trusted_clock {
    pthread_mutex_t lock;
    int64_t wall_start, mono_start_ms; /* unix seconds; CLOCK_BOOTTIME */
    int64_t before;                    /* seconds counted by earlier runs */
    char *note;                        /* as read at the start, until it has been checked */
    bool frozen;
};

/** Begin to count from zero. */
void kl_trusted_clock_start(struct kl_trusted_clock *c);
/** Count on from what an earlier run kept; `note` is taken over. */
void kl_trusted_clock_resume(struct kl_trusted_clock *c, char *note);
void kl_trusted_clock_done(struct kl_trusted_clock *c);

/** Seconds counted so far. */
int64_t kl_trusted_clock_elapsed(struct kl_trusted_clock *c);
/** Has the wall clock jumped? Logs each change. */
bool kl_trusted_clock_frozen(struct kl_trusted_clock *c);

/** Check the earlier run's note, once. Fails only when no token answers. Token call. */
enum kl_code kl_trusted_clock_verify(struct kl_model *m, struct kl_err *err) KL_MUST_USE;

#endif
