/* The service's audit log: a chain log whose checkpoints the token signs, and which is opened again
 * after a failure (full disk), since a chain log itself never goes on after one. Thread safe. */
#ifndef KL_KEYVAULT_AUDIT_LOG_H
#define KL_KEYVAULT_AUDIT_LOG_H

#include "base/chain_log.h"
#include "keyvault/config.h"
#include "keyvault/model/model.h"

struct kl_audit_log; /* opaque */

/** Open. `key` is the token key of the checkpoints; reference taken. `accept_loss`: go on after a
 * log whose end is missing. KL_CORRUPT when the end is missing, KL_IO, KL_NO_SPACE. Blocking. */
enum kl_code kl_audit_log_open(const struct kl_audit_config *config, struct kl_key_version *key,
                               bool accept_loss, struct kl_audit_log **ret,
                               struct kl_err *err) KL_MUST_USE;
/** Write what waits, sign a last checkpoint, free. */
void kl_audit_log_close(struct kl_audit_log *a);

/** As kl_chain_append. */
enum kl_code kl_audit_log_append(struct kl_audit_log *a, const char *members, size_t n,
                                 kl_chain_done *done, void *arg) KL_MUST_USE;
/** As kl_chain_expect: a request that will end in a record soon, or has. */
void kl_audit_log_expect(struct kl_audit_log *a, int change);
/** As kl_chain_head. */
void kl_audit_log_head(struct kl_audit_log *a, uint64_t *ret_seq, char ret_chain[static 65]);

KL_AUTO_DEFINE(audit_log, struct kl_audit_log, kl_audit_log_close);

#endif
