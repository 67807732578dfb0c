/* The AuditEvent record of a request: Key Vault's members, without the braces, as kl_chain_append
 * wants them. Never a body, a token or a query value of the client. Pure. Source: reference of the
 * Key Vault data plane, section 9 (resultType says "Success" also for refusals that worked as
 * designed; consumers test httpStatusCode). */
#ifndef KL_KEYVAULT_AUDIT_H
#define KL_KEYVAULT_AUDIT_H

#include "keyvault/request.h"

/** Append the members for a request whose answer is known. `message` is the error's public sentence
 * or "". */
void kl_audit_put(struct kl_buf *out, const struct kl_request *r, const char *message,
                  int64_t duration_ms);

struct kl_event; /* keyvault/model/event.h */
/** The same for an event of the service itself: nobody asked, so it has no caller. */
void kl_audit_put_event(struct kl_buf *out, const struct kl_event *e);

#endif
