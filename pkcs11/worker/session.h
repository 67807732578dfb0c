/* Sessions of the pool: one per thread, R/W. */
#ifndef KL_PKCS11_WORKER_SESSION_H
#define KL_PKCS11_WORKER_SESSION_H

#include "pkcs11/worker/worker.h"

/** Open s->handle unless it is open. Returns C_OpenSession's word. */
CK_RV kl_session_ensure(struct kl_session *s);
/** Close after a failed operation; the next ensure opens a fresh one. */
void kl_session_drop(struct kl_session *s);
/** C_GetSessionInfo says that the user is logged in. */
bool kl_session_logged_in(struct kl_session *s);
/** Use the anchor session, so that the token does not count it idle; a dead one is replaced. */
enum kl_code kl_session_touch_anchor(struct kl_worker *w, struct kl_err *err);
/** The anchor session of the worker; before login, once. */
enum kl_code kl_session_open_anchor(struct kl_worker *w, struct kl_err *err) KL_MUST_USE;

#endif
