/* The thread that looks after the service: trusted clock and purges each minute, reconciliation of
 * database and tokens at the start and whenever a token comes back. */
#ifndef KL_KEYVAULT_HOUSEKEEPING_H
#define KL_KEYVAULT_HOUSEKEEPING_H

#include "keyvault/service.h"

struct kl_housekeeping; /* opaque */

/** The thread begins with kl_housekeeping_run: first of all it brings database and tokens together
 * and says in the log what it found. With 5,000 keys that takes a second, which nobody has to wait
 * for. */
enum kl_code kl_housekeeping_new(struct kl_service *service, struct kl_housekeeping **ret,
                                 struct kl_err *err) KL_MUST_USE;
enum kl_code kl_housekeeping_run(struct kl_housekeeping *h, struct kl_err *err) KL_MUST_USE;
/** End the thread if it runs, free; NULL is fine. */
void kl_housekeeping_free(struct kl_housekeeping *h);

#endif
