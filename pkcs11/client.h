/* The real struct kl_token: one worker process and the calls in flight to it. Private to this
 * folder's client side.
 *
 * Threads: any thread submits; one supervisor thread owns the worker's life and calls every `done`.
 * `lock` guards all members but the constant ones at the top. A call's deadline runs from the
 * moment when a worker thread must have taken it off the kernel's queue (lanes are first in, first
 * out), so that a long queue is not mistaken for a stuck module.
 */
#ifndef KL_PKCS11_CLIENT_H
#define KL_PKCS11_CLIENT_H

#include "pkcs11/breaker.h"
#include "pkcs11/proto.h"

#include <pthread.h>
#include <sys/types.h>

#define KL_SLOT_NONE SIZE_MAX

/* One call in flight. */
struct kl_call_slot {
    uint64_t id; /* 0 = free */
    kl_token_done *done;
    void *arg;
    enum kl_token_call call;
    unsigned lane;
    int64_t started_ms; /* 0 = still queued behind others */
    size_t next, prev;  /* free list, or queue of its lane */
};

struct kl_client_lane {
    int fd;             /* -1 = none */
    unsigned threads;   /* of the worker, that answer this lane */
    unsigned running;   /* calls that some thread has taken */
    size_t first, last; /* calls that wait in the kernel's queue, oldest first */
    int64_t deadline_ms;
};

struct kl_client {
    struct kl_token token; /* first */
    struct kl_worker_config conf;
    char worker[1024];
    int64_t start_deadline_ms, keep_alive_ms, retry_limit_ms;
    char variable[2304]; /* NAME=VALUE in place of that of our environment; "" = none */
    struct kl_copies *copies;
    int pin_fd; /* a PIN given as fd:N, copied into a memfd; else -1 */
    int wake_fd;
    pthread_t supervisor;

    pthread_mutex_t lock;
    pthread_cond_t left_starting;
    bool closing;
    struct kl_client_lane lanes[KL_PROTO_LANES];
    struct kl_call_slot *slots;
    size_t slot_count, free_slot, in_flight;
    uint64_t calls_ever;
    struct kl_token_status status;
    bool login_pending; /* a PIN was handed over and nothing came of it yet */
    struct kl_err login_err;

    /* The supervisor's own; no lock. */
    pid_t pid; /* 0 = no worker */
    int64_t born_ms;
    int64_t drained_us, pace_us; /* last look at the short lane; time between its answers */
    struct kl_breaker breaker;
    bool greeted;        /* HELLO seen */
    int64_t step_ms;     /* when the starting worker began what it is at */
    bool step_slow;      /* it may take slow-deadline */
    int64_t keep_out_ms; /* no canary before */
    unsigned short_of;   /* workers in a row whose probe found less than the one before them */
    char latch[256];     /* path of the refused-PIN latch; "" = none */
    bool looks_again;    /* no latch but the token forbids the login: a new worker asks it again */
};

/** token_conf.c: what can be said of a token's URI without its module. KL_CONFIG. */
enum kl_code kl_token_check_uri(const char *uri, struct kl_err *err) KL_MUST_USE;

/** A client as `c` is configured, without a thread yet; the caller may change its `conf`, and runs
 * or frees it. */
enum kl_code kl_client_like(const struct kl_client *c, struct kl_client **ret,
                            struct kl_err *err) KL_MUST_USE;
/** Start its supervisor. On failure the client is freed. */
enum kl_code kl_client_run(struct kl_client *c, struct kl_token **ret,
                           struct kl_err *err) KL_MUST_USE;

/** Take an idle client apart: no worker, no calls, no thread. */
void kl_client_free(struct kl_client *c);

/** The supervisor's thread; arg is the client. Ends after `closing` is set and everything in flight
 * was failed. */
void *kl_supervisor_run(void *arg);
/** Make the supervisor look again. Any thread. */
void kl_supervisor_wake(struct kl_client *c);

/** A call's place is given back; lock held. `answered` = its lane's thread is free again. */
void kl_slot_release_locked(struct kl_client *c, size_t index, bool answered);

/** Start a worker (posix_spawn), connect both lanes, send CONFIG. Fills pid and the lanes'
 * descriptors of *c. KL_NOT_FOUND when the executable is missing, KL_IO, KL_NO_MEMORY. */
enum kl_code kl_spawn_worker(struct kl_client *c, struct kl_err *err) KL_MUST_USE;

/** Copy what is left to read from fd into a memfd without looking at it, so that each worker can
 * read it again. */
enum kl_code kl_spawn_keep_pin(int fd, int *ret, struct kl_err *err) KL_MUST_USE;

#endif
