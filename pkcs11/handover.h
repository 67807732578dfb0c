/* A PIN on its way from an administrator to a worker that waits for one (pin-source = prompt). It
 * passes through one wiped buffer here and is kept nowhere. */
#ifndef KL_PKCS11_HANDOVER_H
#define KL_PKCS11_HANDOVER_H

#include "pkcs11/client.h"

/** What the configuration says of the worker's limits, into c->conf. KL_CONFIG: too long, or a
 * relative path. */
enum kl_code kl_handover_limits(struct kl_client *c, const struct kl_token_config *config,
                                struct kl_err *err) KL_MUST_USE;

/** An ASK_PIN frame; false = it makes no sense. Supervisor's thread. */
bool kl_handover_asked(struct kl_client *c, const void *frame, size_t n);

/** The worker waits for people: no deadline runs. Supervisor's thread. */
bool kl_handover_waits(struct kl_client *c, int64_t now_ms);

/** The start is over, well (KL_TOKEN_READY) or not: whoever handed a PIN over is told. The lock is
 * held. */
void kl_handover_end_locked(struct kl_client *c, enum kl_token_state state, const char *text);

/** A row of struct kl_token_ops. */
enum kl_code kl_handover_login(struct kl_token *t, struct kl_secret *pin, int64_t wait_ms,
                               struct kl_err *err) KL_MUST_USE;

#endif
