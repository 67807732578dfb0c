/* What a token can do, found by doing it (mechanism lists and flags are wrong in the field).
 * Session objects only, where the token takes them. */
#ifndef KL_PKCS11_WORKER_PROBE_H
#define KL_PKCS11_WORKER_PROBE_H

#include "base/buf.h"
#include "pkcs11/worker/worker.h"

/** Fill the worker's caps and wrap_mechanism. Before the lanes run, or on the management thread
 * (the others only read single words). KL_TOKEN_UNAVAILABLE when the token fails altogether. */
enum kl_code kl_probe_run(struct kl_session *s, struct kl_err *err) KL_MUST_USE;

/** Append the caps as one JSON object. */
void kl_probe_print(const struct kl_token_caps *caps, struct kl_buf *out);

#endif
