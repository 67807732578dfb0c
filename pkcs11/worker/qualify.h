/* `kluis-tokend test` and `bench`: what a token is like, before a service trusts it.
 *
 * Safe on a token in production: the PIN is sent once; objects are session objects where the token
 * has them, else token objects that litter.h finds again, removed also after SIGINT, SIGTERM and
 * SIGHUP; nothing that exists is changed, and the load is what was asked for. One process, one run.
 */
#ifndef KL_PKCS11_WORKER_QUALIFY_H
#define KL_PKCS11_WORKER_QUALIFY_H

#include "pkcs11/worker/worker.h"

/** Try everything and print the report as one JSON object on standard output: {"verdict", "token",
 * "probes": [{"name", "verdict", "asked", "answered", "means"}]}. KL_TOKEN_READBACK when the
 * verdict is "unfit"; KL_INTERRUPTED; errors of kl_start. */
enum kl_code kl_qualify_run(const struct kl_worker_config *conf, int pin_fd,
                            struct kl_err *err) KL_MUST_USE;

/** RSA decryptions a second with 1, 2, 4 … most threads, `seconds` each, and what to set `workers`
 * to; as one JSON object: {"algorithm", "bits", "rows": [{"workers", "perSecond", "p50Ms",
 * "p99Ms"}], "recommended", "reason"}. */
enum kl_code kl_bench_run(const struct kl_worker_config *conf, int pin_fd, unsigned seconds,
                          unsigned most, uint32_t bits, struct kl_err *err) KL_MUST_USE;

/** A key pair for trials: a session object where the token has them. *ret_on_token: else, to be
 * destroyed by its id. The session must stay. CKR of the last try. */
CK_RV kl_trial_key(struct kl_session *s, struct kl_key_spec *spec, struct kl_key *ret,
                   bool *ret_on_token) KL_MUST_USE;

/** Log in and probe; sweep what earlier trials left. SIGINT, SIGTERM and SIGHUP only set a flag
 * from then on: */
enum kl_code kl_trial_begin(struct kl_worker *w, const struct kl_worker_config *conf, int pin_fd,
                            struct kl_session *s, struct kl_err *err) KL_MUST_USE;
bool kl_trial_interrupted(void);
/** Sweep what this one left, finalise the module. *ret_left: objects that a sweep had to remove.
 * KL_TOKEN_UNAVAILABLE when some stay. */
enum kl_code kl_trial_end(struct kl_session *s, int pin_fd, unsigned *ret_left,
                          struct kl_err *err) KL_MUST_USE;

#endif
