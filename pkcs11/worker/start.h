/* Bringing a worker up: module, token, room on disk, anchor session, login, index, probe. One
 * thread. */
#ifndef KL_PKCS11_WORKER_START_H
#define KL_PKCS11_WORKER_START_H

#include "pkcs11/worker/worker.h"

/** Module, slot, quirks, anchor session; w->conf is filled, all else zero. */
enum kl_code kl_start_token(struct kl_worker *w, struct kl_err *err) KL_MUST_USE;

/** kl_start_token, login, index of keys, probe. *w serves afterwards. */
enum kl_code kl_start(struct kl_worker *w, int pin_fd, struct kl_err *err) KL_MUST_USE;

/** The same without confining the process: for a module of which nobody has yet found out what it
 * needs, run by a person with that person's rights. */
enum kl_code kl_start_by_hand(struct kl_worker *w, int pin_fd, struct kl_err *err) KL_MUST_USE;

#endif
