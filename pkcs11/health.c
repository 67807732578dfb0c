#include "pkcs11/health.h"

#include "base/clock.h"

void kl_health_circuit_locked(struct kl_client *c, enum kl_circuit circuit)
{
    struct kl_token_health *h = &c->status.health;
    h->circuit = circuit;
    h->losses = c->breaker.failures;
    (void)snprintf(h->step, sizeof h->step, "%s", circuit == KL_CIRCUIT_HALF_OPEN ? "exec" : "");
    c->step_ms = kl_clock_mono_ms();
    c->step_slow = false;
}

void kl_health_up_locked(struct kl_client *c, bool proved)
{
    kl_health_circuit_locked(c, KL_CIRCUIT_CLOSED);
    if (proved)
        c->status.health.canary_unix = kl_clock_unix();
    c->keep_out_ms = kl_clock_mono_ms() + c->keep_alive_ms;
}

bool kl_health_step(struct kl_client *c, const void *frame, size_t n)
{
    struct kl_progress p;
    if (c->greeted || kl_proto_get_progress(frame, n, &p) != KL_OK)
        return false;
    (void)pthread_mutex_lock(&c->lock);
    (void)snprintf(c->status.health.step, sizeof c->status.health.step, "%s", p.step);
    (void)pthread_mutex_unlock(&c->lock);
    c->step_ms = kl_clock_mono_ms();
    c->step_slow = p.slow;
    return true;
}

static int64_t step_deadline(const struct kl_client *c)
{
    int64_t slow = c->lanes[KL_LANE_MANAGE].deadline_ms;
    return c->step_slow && slow > c->start_deadline_ms ? slow : c->start_deadline_ms;
}

bool kl_health_start_hangs(const struct kl_client *c, int64_t now_ms)
{
    return now_ms - c->step_ms > step_deadline(c);
}

void kl_health_tell_hang(struct kl_client *c, char *out, size_t room)
{
    (void)pthread_mutex_lock(&c->lock);
    (void)snprintf(out, room,
                   "The start hung in %s; %s bounds that step, raise it if it needs longer",
                   c->status.health.step, c->step_slow ? "slow-deadline" : "start-deadline");
    (void)pthread_mutex_unlock(&c->lock);
}

/* On whatever thread answers are delivered. A canary that failed needs nothing here: its worker
 * ends by itself. */
static void canary_done(void *arg, struct kl_token_reply *reply)
{
    struct kl_client *c = arg;
    bool passed = reply->code == KL_OK && reply->output != NULL &&
                  kl_secret_len(reply->output) == 1 && kl_secret_bytes(reply->output)[0] == 1;
    if (!passed)
        return;
    (void)pthread_mutex_lock(&c->lock);
    c->status.health.canary_unix = kl_clock_unix();
    (void)pthread_mutex_unlock(&c->lock);
}

/* Busy or not: what callers do shows only that their keys work, and may all be refused. When the
 * queue is full the calls in it are watched, and the next canary comes a moment later. */
void kl_health_keep(struct kl_client *c, int64_t now_ms)
{
    const struct kl_token_request canary = {.call = KL_CALL_CANARY};
    if (c->keep_alive_ms == 0 || now_ms < c->keep_out_ms)
        return;
    if (kl_token_submit(&c->token, &canary, canary_done, c, NULL) == KL_OK)
        c->keep_out_ms = now_ms + c->keep_alive_ms;
}
