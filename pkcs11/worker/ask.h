/* PINs of people who run kluis-tokend by hand: from a file, a descriptor, or typed without an echo.
 */
#ifndef KL_PKCS11_WORKER_ASK_H
#define KL_PKCS11_WORKER_ASK_H

#include "base/secret.h"

/** file, if not NULL or ""; else fd, if not negative; else the terminal, where `prompt` is shown.
 * KL_CONFIG without a terminal, and errors as of kl_secret_read_file. */
enum kl_code kl_ask_pin(const char *file, int fd, const char *prompt, struct kl_secret **ret,
                        struct kl_err *err) KL_MUST_USE;

/** Put a PIN where kl_login finds it: a sealed memory file, for the pin source "fd:0"; -1 in
 * *ret_fd when that fails. */
enum kl_code kl_ask_keep(struct kl_secret *pin, int *ret_fd, struct kl_err *err) KL_MUST_USE;

#endif
