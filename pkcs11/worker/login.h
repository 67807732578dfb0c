/* The one login of a worker's life, and the latch that keeps a refused PIN from ever being sent
 * again.
 *
 * The latch is the file pin-refused-LABEL-SERIAL in state_dir. It remembers the refused PIN by one
 * byte of a salted scrypt digest: enough to see that the PIN was changed (255 times in 256; else
 * remove the file), too little to find the PIN from the file. Not the PIN file's time: a systemd
 * credential is a new file at each start.
 */
#ifndef KL_PKCS11_WORKER_LOGIN_H
#define KL_PKCS11_WORKER_LOGIN_H

#include "pkcs11/worker/worker.h"

/** Read the PIN, C_Login on the anchor session, wipe the PIN. KL_TOKEN_PIN: refused now or before,
 * or the token counts down its tries; the text says what to do, detail holds the latch's path where
 * one is set. CKR_USER_ALREADY_LOGGED_IN is success. */
enum kl_code kl_login(struct kl_worker *w, int pin_fd, struct kl_err *err) KL_MUST_USE;

#endif
