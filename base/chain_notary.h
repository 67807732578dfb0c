/* Has places of a chain log signed on a thread of its own, so that a token that hangs holds up no
 * record. Private to the chain log. One place at a time; the functions are called by the log's
 * writer thread alone. */
#ifndef KL_BASE_CHAIN_NOTARY_H
#define KL_BASE_CHAIN_NOTARY_H

#include "base/chain_parts.h"

struct kl_chain_notary;

/** The members of a checkpoint line for this place, n bytes, or n = 0 when it could not be signed.
 * On the notary's thread. */
typedef void kl_chain_signed(void *arg, const struct kl_chain_point *at, const char *members,
                             size_t n);

/** The signer is copied, its strings too. NULL without memory or thread. */
struct kl_chain_notary *kl_chain_notary_new(const struct kl_chain_signer *signer,
                                            kl_chain_signed *done, void *arg);

/** Have this place signed; `done` comes later. Not before the last one came. */
void kl_chain_notary_ask(struct kl_chain_notary *n, const struct kl_chain_point *at);

/** End the thread; when it is signing, `done` still comes before this returns. */
void kl_chain_notary_stop(struct kl_chain_notary *n);

/** Sign here and now, behind kl_chain_notary_stop: append the members of a checkpoint line. False
 * when it could not be signed. */
bool kl_chain_notary_sign(struct kl_chain_notary *n, const struct kl_chain_point *at,
                          struct kl_buf *ret_members);

/** Free what was stopped; NULL is fine. */
void kl_chain_notary_free(struct kl_chain_notary *n);

#endif
