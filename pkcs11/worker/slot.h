/* Choosing the token: by RFC 7512 URI over all slots, never by slot number, exactly one match. One
 * thread, at start. */
#ifndef KL_PKCS11_WORKER_SLOT_H
#define KL_PKCS11_WORKER_SLOT_H

#include "pkcs11/worker/module.h"

/** KL_CONFIG for a URI that cannot select a token (bad syntax, PIN, slot-id, unknown attributes),
 * KL_TOKEN_UNAVAILABLE when no initialised token matches, KL_TOKEN_AMBIGUOUS when several do. A
 * slot that cannot be read is passed over. */
enum kl_code kl_slot_find(const struct kl_module *m, const char *uri, CK_SLOT_ID *ret,
                          CK_TOKEN_INFO *ret_info, struct kl_err *err) KL_MUST_USE;

#endif
