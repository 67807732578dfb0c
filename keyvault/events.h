/* The thread that takes events (model/event.h) to the audit log and to one HTTPS receiver, in Event
 * Grid's schema or as CloudEvents 1.0, each until it has arrived or its lifetime is over. Requests
 * never wait for it.
 *
 * A receiver agrees before it gets anything: Event Grid's SubscriptionValidation event with a code
 * that it gives back, or for CloudEvents OPTIONS with WebHook-Request-Origin. Deliveries are signed
 * where a secret is configured: webhook-id, webhook-timestamp and webhook-signature (the
 * Standard Webhooks specification 1.0: HMAC-SHA256 over "id.timestamp.body"). 400, 401, 403 and 413
 * end an event, as Event Grid does; anything else but 2xx is tried again. */
#ifndef KL_KEYVAULT_EVENTS_H
#define KL_KEYVAULT_EVENTS_H

#include "base/conf.h"
#include "keyvault/model/event.h"
#include "keyvault/service.h"

struct kl_event_config {
    char *url; /* NULL = no receiver */
    char *format, *ca_file, *secret_file;
    int64_t timeout_ms, retry_first_ms, retry_most_ms, lifetime_ms, most;
};

/** The rows of [events]. */
const struct kl_conf_section *kl_event_conf_section(void);

struct kl_events; /* opaque */

/** Start the thread. KL_CONFIG and kl_secret_read_file's codes for the secret, KL_NO_MEMORY, KL_IO.
 * The service must have its model and audit log until kl_events_stop. */
enum kl_code kl_events_start(struct kl_service *service, struct kl_events **ret,
                             struct kl_err *err) KL_MUST_USE;
/** There are new events. */
void kl_events_wake(struct kl_events *e);
/** End the thread after the exchange under way, free; NULL is fine. What was not delivered stays in
 * the store. */
void kl_events_stop(struct kl_events *e);

#endif
