/* Whose turn it is at a token. Each caller has a queue before each token, and tokens take from the
 * queues in turn, in proportion to what a call costs (deficit round robin; callers share a queue
 * when their salted hashes meet: stochastic fairness, McKenney 1990). So a caller who asks for
 * twenty times his share waits behind himself, not others behind him.
 *
 * While one caller alone uses a token nothing is held back. Otherwise a token gets no more at a
 * time than keeps its workers busy, as what it has been given can no more be overtaken. Thread
 * safe, never blocks. */
#ifndef KL_KEYVAULT_FAIR_H
#define KL_KEYVAULT_FAIR_H

#include "keyvault/failover.h"

struct kl_fair; /* opaque */

#define KL_FAIR_WAITING_MAX 1024 /* calls of one caller before one token */

/** `windows`: for each of the tokens, how many calls it may have at a time; copied, as is the list
 * of tokens. KL_NO_MEMORY. */
enum kl_code kl_fair_new(struct kl_token *const *tokens, const unsigned *windows, size_t count,
                         struct kl_failover *failover, struct kl_fair **ret,
                         struct kl_err *err) KL_MUST_USE;
/** Only when every call has come back. NULL is fine. */
void kl_fair_free(struct kl_fair *f);

/** As kl_failover_submit, on behalf of `caller` (an object id). The error of a call that had to
 * wait comes by `done`. KL_TOKEN_BUSY: the caller has KL_FAIR_WAITING_MAX waiting, or his share of
 * all that may wait. */
enum kl_code kl_fair_submit(struct kl_fair *f, const char *caller, struct kl_key_version *key,
                            const struct kl_token_request *req, kl_token_done *done, void *arg,
                            struct kl_err *err) KL_MUST_USE;

#endif
