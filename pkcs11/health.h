/* What the supervisor knows of a token's health: the steps of a starting worker, canaries, the
 * circuit breaker's state for those who ask. Supervisor's thread unless a name says _locked. */
#ifndef KL_PKCS11_HEALTH_H
#define KL_PKCS11_HEALTH_H

#include "pkcs11/client.h"

/** The circuit changes; the lock is held. */
void kl_health_circuit_locked(struct kl_client *c, enum kl_circuit circuit);
/** A worker is up; the lock is held. `proved`: its own canary passed. */
void kl_health_up_locked(struct kl_client *c, bool proved);

/** A PROGRESS frame; false = it makes no sense. */
bool kl_health_step(struct kl_client *c, const void *frame, size_t n);
/** The worker did not get from one step of its start to the next in time. */
bool kl_health_start_hangs(const struct kl_client *c, int64_t now_ms);
/** One sentence on that. */
void kl_health_tell_hang(struct kl_client *c, char *out, size_t room);

/** Send the canary that is due, if one is. */
void kl_health_keep(struct kl_client *c, int64_t now_ms);

#endif
