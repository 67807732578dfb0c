/* What to do about an error of the module: one ladder for all calls. New session -> log in again,
 * where the configuration lets the worker keep the PIN (relogin) -> find the key again -> ask the
 * canary -> give up this process, and a new worker logs in. */
#ifndef KL_PKCS11_WORKER_RECOVER_H
#define KL_PKCS11_WORKER_RECOVER_H

#include "pkcs11/worker/worker.h"

/** One attempt at an idempotent operation with a key; the session is open. */
typedef CK_RV kl_key_op(struct kl_session *s, const struct kl_key *key, void *arg);

/** Run op with the key that ref names, at most twice. KL_BAD_INPUT: the token is well, so the data
 * is at fault (the caller says so in its own words). KL_TOKEN_KEY_MISSING, KL_TOKEN_AMBIGUOUS,
 * KL_TOKEN_UNSUPPORTED, KL_TOKEN_BUSY. KL_TOKEN_UNAVAILABLE condemns the worker. `what` is the C_
 * function for the error. */
enum kl_code kl_recover_run(struct kl_session *s, const struct kl_key_ref *ref, kl_key_op *op,
                            void *arg, const char *what, struct kl_err *err) KL_MUST_USE;

/** The key that ref names, compared with its fingerprint (all zero = any). Errors as
 * kl_recover_run. A key counts as missing only after the login and other keys were found well. */
enum kl_code kl_recover_key(struct kl_session *s, const struct kl_key_ref *ref, struct kl_key *ret,
                            struct kl_err *err) KL_MUST_USE;

/** An error of a call that has no key to blame (random, generate, wrap …): KL_TOKEN_BUSY,
 * KL_TOKEN_UNSUPPORTED (the token is well and refuses), or KL_TOKEN_UNAVAILABLE with the worker
 * condemned, or, at the first error that a new session may cure, for kl_recover_again. Drops the
 * session. */
enum kl_code kl_recover_fault(struct kl_session *s, CK_RV rv, const char *what, struct kl_err *err);

/** The same for a key that was made a moment ago and is being proved: KL_TOKEN_READBACK where the
 * token is well and refuses. */
enum kl_code kl_recover_proof(struct kl_session *s, CK_RV rv, const char *what, struct kl_err *err);

/** After every try of such a call, with its code: true = run it again from its beginning. Once. */
bool kl_recover_again(struct kl_session *s, enum kl_code code);

#endif
