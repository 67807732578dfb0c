#include "keyvault/housekeeping.h"

#include "base/clock.h"
#include "base/log.h"
#include "keyvault/events.h"
#include "keyvault/model/rotation.h"
#include "keyvault/sealing.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define LOOK_MS  500
#define SWEEP_MS 60000

struct kl_housekeeping {
    struct kl_service *service;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool running, stopping;
    uint64_t *generations; /* of each token when it was last reconciled */
};

static void reconcile(struct kl_service *service)
{
    struct kl_reconcile_report report = {0};
    struct kl_err err;
    if (kl_model_reconcile(service->model, &report, &err) != KL_OK) {
        kl_log_err(KL_LOG_ERROR, "reconciliation", &err);
        return;
    }
    bool alarm = report.missing_on_token > 0 || report.tampered > 0;
    kl_log(alarm ? KL_LOG_ERROR : KL_LOG_INFO,
           "reconciled rolled_back=%u purges_finished=%u copied=%u missing_on_token=%u "
           "unknown_on_token=%u tampered=%u",
           report.rolled_back, report.purges_finished, report.copied, report.missing_on_token,
           report.unknown_on_token, report.tampered);
}

/* True when a token is ready that was not, or has a new worker. */
static bool tokens_changed(struct kl_housekeeping *h)
{
    bool changed = false;
    for (size_t i = 0; i < h->service->token_count; i++) {
        struct kl_token_status status;
        kl_token_status(h->service->tokens[i], &status);
        if (status.state == KL_TOKEN_READY && status.generation != h->generations[i]) {
            h->generations[i] = status.generation;
            changed = true;
        }
    }
    return changed;
}

static void sweep(struct kl_service *s)
{
    struct kl_err err;
    unsigned purged = 0;
    if (kl_model_tick(s->model, &err) != KL_OK)
        kl_log_err(KL_LOG_WARNING, "trusted clock", &err);
    if (kl_mark_set(s, &err) != KL_OK)
        kl_log_err(KL_LOG_WARNING, "the audit log's end is not marked", &err);
    if (kl_model_sweep(s->model, &purged, &err) != KL_OK)
        kl_log_err(KL_LOG_WARNING, "sweep", &err);
    if (purged > 0)
        kl_log(KL_LOG_INFO, "swept purged=%u", purged);
}

/* Rotations first: a version that has just been replaced needs no notice. */
static void rotate_and_notify(struct kl_service *s)
{
    struct kl_err err;
    unsigned rotated = 0, found = 0;
    int64_t now = kl_clock_unix();
    if (kl_rotation_run(s->model, now, &rotated, &err) != KL_OK)
        kl_log_err(KL_LOG_WARNING, "rotation policies", &err);
    if (kl_event_scan(s->model, now, &found, &err) != KL_OK)
        kl_log_err(KL_LOG_WARNING, "expiries", &err);
    if (rotated > 0 || found > 0)
        kl_events_wake(s->events);
}

/* At a start without a token nobody could tell whether mark or rights were changed by a foreign
 * hand. */
static void check_access(struct kl_service *s)
{
    const struct kl_mark_accept nothing = {.changed_access = false};
    struct kl_err err;
    if (kl_model_access_checked(s->model))
        return;
    enum kl_code code = kl_mark_check(s, nothing, &err);
    if (code == KL_OK)
        code = kl_sealing_check(s, false, &err);
    if (code == KL_OK)
        code = kl_sealing_record(s, &err);
    if (code == KL_OK)
        return;
    kl_log_err(KL_LOG_ERROR, "principals and policies not checked", &err);
    if (code == KL_CORRUPT) /* the next start says so, and what to do */
        (void)kill(getpid(), SIGTERM);
}

/* False when the thread is to end. */
static bool pause_ms(struct kl_housekeeping *h, long ms)
{
    const struct timespec until = kl_clock_deadline(ms * 1000);
    (void)pthread_mutex_lock(&h->lock);
    if (!h->stopping)
        (void)pthread_cond_timedwait(&h->wake, &h->lock, &until);
    bool go_on = !h->stopping;
    (void)pthread_mutex_unlock(&h->lock);
    return go_on;
}

static void *look_after(void *arg)
{
    struct kl_housekeeping *h = arg;
    int64_t next_sweep = kl_clock_mono_ms();
    do {
        /* At once, yet beside the first requests: what a crash left behind is seen by nobody.
         * Looked at first: a worker that comes up meanwhile is done in the next round. */
        if (tokens_changed(h)) {
            check_access(h->service);
            reconcile(h->service);
        }
        if (kl_clock_mono_ms() >= next_sweep) {
            sweep(h->service);
            rotate_and_notify(h->service);
            next_sweep = kl_clock_mono_ms() + SWEEP_MS;
        }
    } while (pause_ms(h, LOOK_MS));
    return NULL;
}

enum kl_code kl_housekeeping_new(struct kl_service *service, struct kl_housekeeping **ret,
                                 struct kl_err *err)
{
    struct kl_housekeeping *h = calloc(1, sizeof *h);
    pthread_condattr_t monotonic;
    if (h != NULL)
        h->generations = calloc(service->token_count + 1, sizeof *h->generations);
    if (h == NULL || h->generations == NULL) {
        free(h);
        return kl_fail(err, KL_NO_MEMORY, "housekeeping", "No memory for the housekeeping");
    }
    h->service = service;
    (void)pthread_mutex_init(&h->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&h->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    *ret = h;
    return KL_OK;
}

enum kl_code kl_housekeeping_run(struct kl_housekeeping *h, struct kl_err *err)
{
    if (pthread_create(&h->thread, NULL, look_after, h) != 0)
        return kl_fail(err, KL_IO, "pthread_create", "The housekeeping thread cannot be started");
    h->running = true;
    return KL_OK;
}

void kl_housekeeping_free(struct kl_housekeeping *h)
{
    if (h == NULL)
        return;
    (void)pthread_mutex_lock(&h->lock);
    h->stopping = true;
    (void)pthread_cond_broadcast(&h->wake);
    (void)pthread_mutex_unlock(&h->lock);
    if (h->running)
        (void)pthread_join(h->thread, NULL);
    (void)pthread_cond_destroy(&h->wake);
    (void)pthread_mutex_destroy(&h->lock);
    free(h->generations);
    free(h);
}
