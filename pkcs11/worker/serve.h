/* The worker's two lanes: threads that receive a frame, do it on their own session, send the
 * answer. No reader thread: the kernel is the queue. */
#ifndef KL_PKCS11_WORKER_SERVE_H
#define KL_PKCS11_WORKER_SERVE_H

#include "pkcs11/worker/worker.h"

/** Start, greet, serve until the client closes its ends, C_Finalize. Returns the process's exit
 * status; ends the process itself when the token is beyond help or a frame makes no sense. */
int kl_serve(const struct kl_worker_config *conf, const int lanes[KL_PROTO_LANES], int pin_fd);

#endif
