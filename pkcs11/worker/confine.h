/* What a worker gives up before it loads the module: its user, files, system calls. In this order,
 * as each step needs what the next one takes away. */
#ifndef KL_PKCS11_WORKER_CONFINE_H
#define KL_PKCS11_WORKER_CONFINE_H

#include "pkcs11/proto.h"

#define KL_STATE_PATH_MAX 64

/** Confine the process by its configuration, for good; one thread, PIN already read. ret_state gets
 * the path by which the token's own state folder is reached from now on ("" when conf->state_dir is
 * ""): state_dir/token-NAME, made where it is missing. KL_CONFIG and the errors of the steps; then
 * the process must not load the module. */
enum kl_code kl_confine(const struct kl_worker_config *conf,
                        char ret_state[static KL_STATE_PATH_MAX], struct kl_err *err) KL_MUST_USE;

#endif
