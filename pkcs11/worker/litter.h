/* What trials leave on a token when they are killed, and how the next one finds it.
 *
 * Token objects of a trial are labelled 'kluis-test', and their CKA_ID says whose they are: "kt", 4
 * bytes of a hash of this machine's id, process id and time of making (4 bytes each, big-endian), 2
 * that tell them apart. Removed are those of processes of this machine that live no more, and those
 * of another machine that are a day old. */
#ifndef KL_PKCS11_WORKER_LITTER_H
#define KL_PKCS11_WORKER_LITTER_H

#include "pkcs11/worker/worker.h"

#define KL_LITTER_LABEL "kluis-test"

/** An id for the next object (or pair) of this process. Any thread. */
void kl_litter_id(uint8_t ret[static KL_KEY_ID_LEN]);

/** Destroy what earlier trials left; with `own` also what this process made. *ret_count objects are
 * gone. The session is logged in. */
CK_RV kl_litter_sweep(struct kl_session *s, bool own, unsigned *ret_count) KL_MUST_USE;

#endif
