#include "pkcs11/client.h"

#include "base/clock.h"
#include "base/encoding.h"
#include "base/log.h"
#include "pkcs11/handover.h"
#include "pkcs11/health.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TICK_MS       100  /* how often deadlines are looked at */
#define FAREWELL_MS   3000 /* for C_Finalize at an orderly end */
#define LIVED_MS      5000 /* a worker that came up and lived this long was a good one */
#define LATCH_LOOK_MS 2000 /* how often a refused-PIN latch is looked at */
#define PROBES        3    /* in a row that must find less before it is believed */
#define BURST_MAX     64   /* frames of one lane at a time; deadlines are looked at in between */
#define MANY_WAIT     4    /* calls: fewer may be done before this thread is back */
#define GATHER_US     2000 /* longest pause for more answers */

void kl_supervisor_wake(struct kl_client *c)
{
    uint64_t one = 1;
    ssize_t n = write(c->wake_fd, &one, sizeof one);
    (void)n; /* full counter = it will wake anyway */
}

static void set_state_locked(struct kl_client *c, enum kl_token_state state, const char *text)
{
    c->status.state = state;
    (void)snprintf(c->status.text, sizeof c->status.text, "%s", text);
    (void)pthread_cond_broadcast(&c->left_starting);
}

static void set_state(struct kl_client *c, enum kl_token_state state, const char *text)
{
    (void)pthread_mutex_lock(&c->lock);
    set_state_locked(c, state, text);
    (void)pthread_mutex_unlock(&c->lock);
}

static void answer(struct kl_client *c, const struct kl_call_slot *call,
                   struct kl_token_reply *reply)
{
    (void)c;
    call->done(call->arg, reply);
    kl_secret_free(reply->output); /* unless the callback took it */
}

/* Everything in flight gets this failure; callbacks run without the lock. */
static void fail_all(struct kl_client *c, const char *why)
{
    for (size_t i = 0; i < c->slot_count; i++) {
        (void)pthread_mutex_lock(&c->lock);
        struct kl_call_slot call = c->slots[i];
        if (call.id != 0) {
            kl_slot_release_locked(c, i, false);
            c->status.failures++;
        }
        (void)pthread_mutex_unlock(&c->lock);
        if (call.id == 0)
            continue;
        struct kl_token_reply reply = {.code = KL_TOKEN_UNAVAILABLE};
        (void)kl_fail(&reply.err, KL_TOKEN_UNAVAILABLE, "worker", "token %s is not available: %s",
                      c->conf.name, why);
        answer(c, &call, &reply);
    }
}

static void reap(struct kl_client *c)
{
    (void)kill(c->pid, SIGKILL);
    while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    c->pid = 0;
}

/* The worker is lost, by its own doing or by ours. */
static void bury(struct kl_client *c, enum kl_token_state state, const char *why)
{
    int64_t now = kl_clock_mono_ms();
    uint32_t dice;
    kl_random(&dice, sizeof dice);
    kl_breaker_trip(&c->breaker, c->greeted && now - c->born_ms >= LIVED_MS, now, c->retry_limit_ms,
                    dice);
    (void)pthread_mutex_lock(&c->lock);
    set_state_locked(c, state, why);
    kl_handover_end_locked(c, state, why);
    c->status.worker_pid = 0;
    kl_health_circuit_locked(c, KL_CIRCUIT_OPEN);
    for (size_t i = 0; i < KL_PROTO_LANES; i++) {
        if (c->lanes[i].fd >= 0)
            (void)close(c->lanes[i].fd);
        c->lanes[i].fd = -1;
    }
    (void)pthread_mutex_unlock(&c->lock);
    fail_all(c, why); /* first: a worker may take its time to die in a driver */
    if (c->pid != 0)
        reap(c);
}

static void bring_up(struct kl_client *c)
{
    struct kl_err err;
    c->greeted = false;
    c->born_ms = kl_clock_mono_ms();
    (void)pthread_mutex_lock(&c->lock);
    kl_health_circuit_locked(c, KL_CIRCUIT_HALF_OPEN);
    enum kl_code code = kl_spawn_worker(c, &err);
    c->status.worker_pid = c->pid;
    if (c->breaker.failures > 0)
        c->status.restarts++;
    (void)pthread_mutex_unlock(&c->lock);
    if (code != KL_OK)
        bury(c, KL_TOKEN_DOWN, err.text);
}

/* A passing fault disturbed the probe, or the token does less now than in the worker's last life.
 * Believed when it was asked three times: a caller would be told for good that his key cannot do
 * what it did. */
static bool falls_short(struct kl_client *c, const struct kl_token_caps *now)
{
    const struct kl_token_caps *before = &c->status.caps;
    bool less = (before->algs & ~now->algs) != 0 || before->domain_wrap > now->domain_wrap ||
                before->mac > now->mac;
    for (size_t i = 0; i < sizeof now->curves_ok; i++)
        less = less || before->curves_ok[i] > now->curves_ok[i];
    for (size_t i = 0; i < sizeof now->rsa_bits_ok; i++)
        less = less || before->rsa_bits_ok[i] > now->rsa_bits_ok[i];
    c->short_of = less ? c->short_of + 1 : 0;
    if (c->short_of >= PROBES)
        kl_log(KL_LOG_WARNING, "token=%s does less than it did before", c->conf.name);
    return less && c->short_of < PROBES;
}

static bool welcome(struct kl_client *c, const void *frame, size_t n)
{
    struct kl_hello hello;
    if (c->greeted || kl_proto_get_hello(frame, n, &hello) != KL_OK)
        return false;
    c->greeted = true;
    if (hello.err.code == KL_TOKEN_PIN) {
        (void)snprintf(c->latch, sizeof c->latch, "%s", hello.err.detail);
        /* the token's own word about its PIN, which a login by hand changes */
        c->looks_again = !hello.login_tried && access(c->latch, F_OK) != 0;
        bury(c, KL_TOKEN_PIN_REFUSED, hello.err.text);
        return true;
    }
    if (hello.err.code != KL_OK) {
        bury(c, KL_TOKEN_DOWN, hello.err.text);
        return true;
    }
    if (hello.threads < 1 || hello.threads > c->conf.workers)
        return false;
    if (falls_short(c, &hello.caps)) {
        bury(c, KL_TOKEN_DOWN, "The token does less than before; it is asked again");
        return true;
    }
    (void)pthread_mutex_lock(&c->lock);
    c->lanes[KL_LANE_SHORT].threads = hello.threads;
    c->status.caps = hello.caps;
    c->status.generation++;
    kl_health_up_locked(c, hello.proved);
    set_state_locked(c, KL_TOKEN_READY, "The token is ready");
    kl_handover_end_locked(c, KL_TOKEN_READY, "");
    (void)pthread_mutex_unlock(&c->lock);
    return true;
}

static void count_locked(struct kl_client *c, const struct kl_call_slot *call, enum kl_code code)
{
    if (code != KL_OK)
        c->status.failures++;
    else if (call->call == KL_CALL_DECRYPT || call->call == KL_CALL_SIGN)
        c->status.last_ok_unix = kl_clock_unix();
}

static enum kl_code take_output(struct kl_token_reply *reply, const struct kl_proto_reply *p)
{
    reply->output = kl_secret_new(KL_TOKEN_MAX_INPUT);
    if (reply->output == NULL ||
        kl_secret_append(reply->output, p->output, p->output_len) != KL_OK) {
        kl_secret_free(reply->output);
        reply->output = NULL;
        reply->code = kl_fail(&reply->err, KL_NO_MEMORY, "reply", "no memory for a token's answer");
    }
    return reply->code;
}

static bool deliver(struct kl_client *c, unsigned lane, const void *frame, size_t n)
{
    struct kl_proto_reply p;
    if (!c->greeted || kl_proto_get_reply(frame, n, &p) != KL_OK)
        return false;
    size_t index = (size_t)(p.id & 0xffff);
    (void)pthread_mutex_lock(&c->lock);
    bool known = index < c->slot_count && p.id != 0 && c->slots[index].id == p.id &&
                 c->slots[index].lane == lane;
    struct kl_call_slot call = known ? c->slots[index] : (struct kl_call_slot){.id = 0};
    if (known) {
        kl_slot_release_locked(c, index, true);
        count_locked(c, &call, p.err.code);
    }
    (void)pthread_mutex_unlock(&c->lock);
    if (!known)
        return false;
    struct kl_token_reply reply = {.code = p.err.code, .err = p.err, .mechanism = p.mechanism};
    if (reply.code == KL_OK && take_output(&reply, &p) == KL_OK && call.call == KL_CALL_PROBE &&
        p.output_len == sizeof c->status.caps) {
        (void)pthread_mutex_lock(&c->lock);
        memcpy(&c->status.caps, p.output, p.output_len);
        kl_proto_end_texts(&c->status.caps);
        (void)pthread_mutex_unlock(&c->lock);
    }
    answer(c, &call, &reply);
    return true;
}

/* One frame of a lane, if there is one. The worker is buried when there is none to come, or one
 * that makes no sense. */
static bool receive(struct kl_client *c, unsigned lane)
{
    uint8_t frame[KL_PROTO_MAX + 1];
    ssize_t n = recv(c->lanes[lane].fd, frame, sizeof frame, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        if (lane != KL_LANE_MANAGE && !c->greeted)
            return false; /* that it ended shows on the other lane too, behind why it did */
        bury(c, KL_TOKEN_DOWN, "The worker ended");
        return false;
    }
    bool sane = false;
    if (n <= KL_PROTO_MAX && lane == KL_LANE_MANAGE &&
        kl_proto_kind(frame, (size_t)n) == KL_FRAME_HELLO)
        sane = welcome(c, frame, (size_t)n);
    else if (n <= KL_PROTO_MAX && lane == KL_LANE_MANAGE &&
             kl_proto_kind(frame, (size_t)n) == KL_FRAME_PROGRESS)
        sane = kl_health_step(c, frame, (size_t)n);
    else if (n <= KL_PROTO_MAX && lane == KL_LANE_MANAGE &&
             kl_proto_kind(frame, (size_t)n) == KL_FRAME_ASK_PIN)
        sane = kl_handover_asked(c, frame, (size_t)n);
    else if (n <= KL_PROTO_MAX)
        sane = deliver(c, lane, frame, (size_t)n);
    kl_wipe(frame, (size_t)n);
    if (!sane)
        bury(c, KL_TOKEN_DOWN, "The worker sent a malformed frame");
    return sane;
}

/* What has come on the lane; how many frames. */
static unsigned receive_all(struct kl_client *c, unsigned lane)
{
    unsigned count = 0;
    while (count < BURST_MAX && c->pid != 0 && receive(c, lane))
        count++;
    return count;
}

/* Calls that no thread of the worker has taken yet. */
static size_t queued(struct kl_client *c)
{
    const struct kl_client_lane *lane = &c->lanes[KL_LANE_SHORT];
    (void)pthread_mutex_lock(&c->lock);
    size_t n = c->in_flight > lane->running ? c->in_flight - lane->running : 0;
    (void)pthread_mutex_unlock(&c->lock);
    return n;
}

/* While many calls wait in the kernel, the worker will not idle for a while: then one wake takes
 * several answers. Each wake of this thread costs more than an answer does. */
static void let_answers_gather(struct kl_client *c)
{
    size_t waiting = c->pace_us > 0 ? queued(c) : 0;
    if (waiting < MANY_WAIT)
        return;
    int64_t us = (int64_t)waiting * c->pace_us / 4;
    us = us < GATHER_US ? us : GATHER_US;
    const struct timespec pause = {.tv_nsec = us * 1000};
    (void)nanosleep(&pause, NULL);
}

/* Microseconds between two answers while calls wait; a mean that follows quickly. */
static void learn_pace(struct kl_client *c, unsigned answers)
{
    int64_t now = kl_clock_mono_us(), passed = now - c->drained_us;
    c->drained_us = now;
    if (answers == 0)
        return;
    int64_t each = passed / answers;
    each = each < GATHER_US ? each : GATHER_US;
    c->pace_us = c->pace_us > 0 ? (3 * c->pace_us + each) / 4 : each;
}

static bool deadline_missed(struct kl_client *c)
{
    int64_t now = kl_clock_mono_ms();
    if (!c->greeted)
        return !kl_handover_waits(c, now) && kl_health_start_hangs(c, now);
    bool missed = false;
    (void)pthread_mutex_lock(&c->lock);
    for (size_t i = 0; c->in_flight > 0 && i < c->slot_count && !missed; i++) {
        const struct kl_call_slot *s = &c->slots[i];
        missed =
            s->id != 0 && s->started_ms != 0 && now - s->started_ms > c->lanes[s->lane].deadline_ms;
    }
    (void)pthread_mutex_unlock(&c->lock);
    return missed;
}

static void drain_wake(struct kl_client *c)
{
    uint64_t count;
    ssize_t n = read(c->wake_fd, &count, sizeof count);
    (void)n;
}

static void attend(struct kl_client *c, int64_t *next_check_ms)
{
    struct pollfd fds[] = {{.fd = c->wake_fd, .events = POLLIN},
                           {.fd = c->lanes[KL_LANE_SHORT].fd, .events = POLLIN},
                           {.fd = c->lanes[KL_LANE_MANAGE].fd, .events = POLLIN}};
    let_answers_gather(c);
    int ready = poll(fds, KL_COUNT(fds), TICK_MS);
    if (ready > 0 && fds[0].revents != 0)
        drain_wake(c);
    for (unsigned lane = KL_PROTO_LANES; ready > 0 && lane-- > 0;) {
        unsigned count = c->pid != 0 && fds[1 + lane].revents != 0 ? receive_all(c, lane) : 0;
        if (lane == KL_LANE_SHORT)
            learn_pace(c, count);
    }
    int64_t now = kl_clock_mono_ms();
    if (now < *next_check_ms)
        return;
    *next_check_ms = now + TICK_MS;
    if (c->pid == 0)
        return;
    char why[sizeof c->status.text] = "A call missed its deadline";
    if (deadline_missed(c)) {
        if (!c->greeted)
            kl_health_tell_hang(c, why, sizeof why);
        bury(c, KL_TOKEN_DOWN, why);
    } else if (c->greeted) {
        kl_health_keep(c, now);
    }
}

/* No worker: wait for the next try. A refused PIN waits until an operator removes the latch. */
static void linger(struct kl_client *c)
{
    int64_t left = kl_breaker_wait_ms(&c->breaker, kl_clock_mono_ms());
    bool latched = c->status.state == KL_TOKEN_PIN_REFUSED && !c->looks_again &&
                   strcmp(c->conf.pin_source, "prompt") != 0; /* that worker asks anew */
    if (latched && c->latch[0] != 0 && access(c->latch, F_OK) != 0 && errno == ENOENT) {
        set_state(c, KL_TOKEN_DOWN, "The refused-PIN latch was removed");
        latched = false;
    }
    if (!latched && left <= 0) {
        bring_up(c);
        return;
    }
    struct pollfd wake = {.fd = c->wake_fd, .events = POLLIN};
    if (poll(&wake, 1, latched ? LATCH_LOOK_MS : (int)left) > 0)
        drain_wake(c);
}

static bool is_closing(struct kl_client *c)
{
    (void)pthread_mutex_lock(&c->lock);
    bool closing = c->closing;
    (void)pthread_mutex_unlock(&c->lock);
    return closing;
}

/* Let the worker see the end of both lanes and finish by itself; the end of its lane shows that it
 * has. */
static void say_farewell(struct kl_client *c)
{
    for (size_t i = 0; i < KL_PROTO_LANES; i++)
        (void)shutdown(c->lanes[i].fd, SHUT_WR);
    int64_t until = kl_clock_mono_ms() + FAREWELL_MS, left;
    uint8_t frame[KL_PROTO_MAX];
    while ((left = until - kl_clock_mono_ms()) > 0) {
        struct pollfd lane = {.fd = c->lanes[KL_LANE_MANAGE].fd, .events = POLLIN};
        if (poll(&lane, 1, (int)left) <= 0)
            continue;
        if (recv(lane.fd, frame, sizeof frame, MSG_DONTWAIT) <= 0)
            break;
    }
    kl_wipe(frame, sizeof frame);
}

void *kl_supervisor_run(void *arg)
{
    struct kl_client *c = arg;
    int64_t next_check_ms = 0;
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, NULL);
    while (!is_closing(c)) {
        if (c->pid == 0)
            linger(c);
        else
            attend(c, &next_check_ms);
    }
    if (c->pid != 0)
        say_farewell(c);
    bury(c, KL_TOKEN_DOWN, "The token is closed");
    return NULL;
}
