/* Events as bytes: Event Grid's schema, CloudEvents 1.0 (JSON format), the validation of a
 * receiver, signatures, audit records. Pure. Sources: learn.microsoft.com/azure/event-grid, "Event
 * Grid event schema", "Webhook event delivery" and "Key Vault as Event Grid source";
 * CloudEvents 1.0 and its HTTP 1.1 Web Hooks 1.0; Standard Webhooks 1.0. */
#ifndef KL_KEYVAULT_EVENT_WIRE_H
#define KL_KEYVAULT_EVENT_WIRE_H

#include "base/buf.h"
#include "base/secret.h"
#include "keyvault/model/event.h"

/** Append the body of a delivery: an array of one event, or a CloudEvent. */
void kl_event_put_grid(struct kl_buf *out, const struct kl_event *e);
void kl_event_put_cloud(struct kl_buf *out, const struct kl_event *e);
/** Append Event Grid's SubscriptionValidation event, for a receiver that is to give `code` back. */
void kl_event_put_validation(struct kl_buf *out, const char *code);
/** Does the receiver's answer {"validationResponse": code} hold the code? */
bool kl_event_validated(const char *answer, size_t n, const char *code);

/** A file's secret as key bytes: "whsec_" and base64, or the text itself. KL_CONFIG, KL_NO_MEMORY.
 */
enum kl_code kl_event_key(struct kl_secret *text, struct kl_secret **ret,
                          struct kl_err *err) KL_MUST_USE;
#define KL_EVENT_SIGNATURE_MAX 64
/** "v1,BASE64" of HMAC-SHA256 over "id.seconds.body". KL_CRYPTO, KL_NO_MEMORY. */
enum kl_code kl_event_sign(struct kl_secret *key, const char *id, int64_t seconds,
                           const struct kl_buf *body, char ret[static KL_EVENT_SIGNATURE_MAX],
                           struct kl_err *err) KL_MUST_USE;

#endif
