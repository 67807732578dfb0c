/* Where a PIN comes from. The worker alone reads it. */
#ifndef KL_PKCS11_WORKER_PIN_H
#define KL_PKCS11_WORKER_PIN_H

#include "base/secret.h"

#define KL_PIN_MAX 255

/** source: an absolute path, "fd:N" (read from pin_fd, from its beginning), or "credential:NAME"
 * (file NAME in $CREDENTIALS_DIRECTORY). KL_CONFIG for another form; else as kl_secret_read_file.
 */
enum kl_code kl_pin_read(const char *source, int pin_fd, struct kl_secret **ret,
                         struct kl_err *err) KL_MUST_USE;

#endif
