/* The seals over who may do what (model/seal.h) at a start. Seals that are missing are made only
 * once, for a database of a service that had none, and the audit log tells of it.
 *
 * What says that they were never made is not the schema, which whoever writes to the database
 * chooses, but the mark (mark.h): its MAC covers whether they were. An older mark, from before
 * them, put back into the database is behind the file of the state folder; with that gone too, the
 * audit log holds the record of their making, or, where there was never a mark, records at all. */
#ifndef KL_KEYVAULT_SEALING_H
#define KL_KEYVAULT_SEALING_H

#include "keyvault/mark.h"

/** After kl_mark_check. KL_CORRUPT with a sentence that says what to do; KL_TOKEN_… when no token
 * answers. Token calls. */
enum kl_code kl_sealing_check(const struct kl_service *s, bool accept,
                              struct kl_err *err) KL_MUST_USE;
/** Write what the audit log does not know of it yet, nor of what an operator accepted (mark.h), and
 * wait for the disk. */
enum kl_code kl_sealing_record(const struct kl_service *s, struct kl_err *err) KL_MUST_USE;

#endif
