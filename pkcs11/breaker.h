/* The circuit breaker of one token: after a worker was lost, when is the next one tried?
 *
 * Closed: a worker serves. Open: none is tried, and callers are refused at once. Half open: one
 * worker is starting, and only what proves itself (its probe, its canary) closes the circuit. Only
 * the loss of a worker counts, never a request that failed. Pure functions; the caller locks.
 */
#ifndef KL_PKCS11_BREAKER_H
#define KL_PKCS11_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

struct kl_breaker {
    unsigned failures; /* in a row, without a worker that lived */
    int64_t next_ms;   /* monotonic: not before */
};

/** A worker was lost. `lived`: it had come up and served for a while, so that this is no
 * continuation of what was before. The pauses are 0, 1, 1, 2, 5, 10, 60, 300 s (the series of
 * NetHSM's PKCS#11 module 2.2), none above limit_ms, each shortened by up to a fifth so that many
 * services do not come back in step: `dice` is any random number. */
void kl_breaker_trip(struct kl_breaker *b, bool lived, int64_t now_ms, int64_t limit_ms,
                     uint32_t dice);

/** Milliseconds until the next try; 0 = now. */
int64_t kl_breaker_wait_ms(const struct kl_breaker *b, int64_t now_ms);

#endif
