/* Putting the running service together, and taking it apart again. */
#ifndef KL_KEYVAULT_BOOT_H
#define KL_KEYVAULT_BOOT_H

#include "keyvault/mark.h"

struct kl_running; /* opaque */

/** Start everything: lock of the state folder, tokens, model, reconciliation, system keys, audit
 * log, threads, HTTPS. Serves when this returns KL_OK. A token that is down is no failure once the
 * service was set up on it. KL_CONFLICT when another kluisd runs on the state folder. */
enum kl_code kl_boot(const struct kl_config *config, struct kl_mark_accept accept,
                     struct kl_running **ret, struct kl_err *err) KL_MUST_USE;
/** Read certificate and key again; the old ones stay when the new ones are bad. */
void kl_boot_reload(struct kl_running *r);
/** Answer what runs, stop, free. */
void kl_boot_stop(struct kl_running *r);

/** Take the lock of the state folder (made when absent); *ret_fd holds it until closed. KL_EXISTS.
 */
enum kl_code kl_boot_lock(const char *state_dir, int *ret_fd, struct kl_err *err) KL_MUST_USE;

/** Make the first principal: role administrator, its client secret into the new file `secret_file`
 * (0600). Prints {"tenant","objectId","clientId"} on standard output. KL_EXISTS when the name is
 * taken; then nothing was written. */
enum kl_code kl_bootstrap(const struct kl_config *config, const char *name, const char *secret_file,
                          struct kl_err *err) KL_MUST_USE;

#endif
