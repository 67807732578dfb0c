/* Row-protection keys in escrow among the tokens of one service, so that a vault whose token is
 * away can still be changed by means of another. Private to the model.
 *
 * The row key of a token (protect.h) is encrypted with AES-256-GCM under what another token's
 * KL_CALL_MAC answers to a label that names the first, and kept as a note. Whoever can use the
 * other token's MAC key, that is this service, gets it back; the database alone is of no use. */
#ifndef KL_KEYVAULT_MODEL_ESCROW_H
#define KL_KEYVAULT_MODEL_ESCROW_H

#include "base/secret.h"

struct kl_model;

/** The row key of `token_name` through any token that is ready. KL_NOT_FOUND when none has it.
 * Token calls; no store session may be open. */
enum kl_code kl_escrow_get(const struct kl_model *m, const char *token_name, struct kl_secret **ret,
                           struct kl_err *err) KL_MUST_USE;

/** Put every ready token's row key in escrow with every other one, where it is not. Failures are
 * logged and looked at again next time. Nothing to do with one token. */
void kl_escrow_fill(struct kl_model *m);

#endif
