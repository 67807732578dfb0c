/* The calls of lane 1: generate, destroy, wrap, unwrap, list, probe. One thread, so creation is
 * serialised by construction. */
#ifndef KL_PKCS11_WORKER_MANAGE_H
#define KL_PKCS11_WORKER_MANAGE_H

#include "pkcs11/worker/worker.h"

/** Room for an answer. */
struct kl_answer {
    uint8_t bytes[KL_TOKEN_MAX_INPUT];
    size_t len;
    uint64_t mechanism;
};

/** Serve one management request. KL_BAD_INPUT for a call of the other lane. */
enum kl_code kl_manage_serve(struct kl_session *s, const struct kl_token_request *req,
                             struct kl_answer *ret, struct kl_err *err) KL_MUST_USE;

#endif
