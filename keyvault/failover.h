/* Calls with a key that is on several tokens. A key with one home costs nothing: its call goes
 * straight to the token. Otherwise the call goes to the most preferred home, and on to the next
 * when that one refuses it (down, latched, busy), answers with a failure that is its own, or is
 * silent for its share of the deadline; a home that has kept a call waiting is tried last until it
 * answers again. What is wrong with the data is final wherever it is found. One thread minds the
 * shares. Thread safe. */
#ifndef KL_KEYVAULT_FAILOVER_H
#define KL_KEYVAULT_FAILOVER_H

#include "keyvault/model/object.h"

struct kl_failover; /* opaque */

/** `deadline_ms`: how long a caller may wait for all homes together; each try but the last gets
 * this divided by the number of homes. KL_NO_MEMORY. */
enum kl_code kl_failover_new(int64_t deadline_ms, struct kl_failover **ret,
                             struct kl_err *err) KL_MUST_USE;
/** From now on no call moves to another home. Before the tokens are closed. NULL is fine. */
void kl_failover_stop(struct kl_failover *f);
/** Only after the tokens are closed, when every call has come back. NULL is fine. */
void kl_failover_free(struct kl_failover *f);

/** As kl_token_submit, for req->key = the key wherever it is (its ref is filled in here). Not KL_OK
 * = no home took it, `done` will not come; the error is the first home's. The input is copied where
 * it must outlive this call. */
enum kl_code kl_failover_submit(struct kl_failover *f, struct kl_key_version *key,
                                const struct kl_token_request *req, kl_token_done *done, void *arg,
                                struct kl_err *err) KL_MUST_USE;

#endif
