/* The login: once in a worker's life, and again only where the configuration lets the worker keep
 * the PIN. No PIN is sent that was refused before (latch.h), nor to a token that counts its tries
 * down to the last. */
#ifndef KL_PKCS11_WORKER_LOGIN_H
#define KL_PKCS11_WORKER_LOGIN_H

#include "pkcs11/worker/worker.h"

/** Take the PIN from its source into w->pin, where that can be done before the module is loaded and
 * the process confined: not for "prompt" and "protected". Errors as kl_pin_read. */
enum kl_code kl_login_prepare(struct kl_worker *w, int pin_fd, struct kl_err *err) KL_MUST_USE;

/** C_Login on the anchor session; then the PIN is wiped, unless w->conf.relogin. "prompt" waits
 * here for a PIN. A token with a protected authentication path gets none from us. KL_TOKEN_PIN:
 * refused now or before, or the token counts down its tries; the text says what to do, detail holds
 * the latch's path where one is set. CKR_USER_ALREADY_LOGGED_IN is success. */
enum kl_code kl_login(struct kl_worker *w, struct kl_err *err) KL_MUST_USE;

/** The token has lost the login: renew it with the kept PIN. False: none is kept, or the token did
 * not take it (a refusal latches it, and it is not sent a third time). Any lane's thread. */
bool kl_login_again(struct kl_session *s);

#endif
