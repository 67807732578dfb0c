/* Counters of the process, and the Prometheus text made of them. Thread safe, never blocks. */
#ifndef KL_KEYVAULT_METRICS_H
#define KL_KEYVAULT_METRICS_H

#include "base/buf.h"
#include "keyvault/service.h"

/** Count one answered request; `route_index` is KL_NO_ROUTE_INDEX where no row matched. */
void kl_metrics_request(size_t route_index, int status, int64_t duration_ms);
/** An audit record was queued / came back from the disk (or failed). */
void kl_metrics_audit_queued(void);
void kl_metrics_audit_done(bool failed);
/** Append everything in the text exposition format 0.0.4. */
void kl_metrics_put(struct kl_buf *out, const struct kl_service *service);

#endif
