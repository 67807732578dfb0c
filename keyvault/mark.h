/* Database and audit log vouch for each other. Each minute, and when the service stops, the place
 * that the log has reached is noted in the database, under a MAC of the token, and in a file of the
 * state folder. At the next start a log that lacks that place was cut, even when its head file was
 * cut with it; a database whose note is behind the file's is an older copy. Not thread safe. */
#ifndef KL_KEYVAULT_MARK_H
#define KL_KEYVAULT_MARK_H

#include "keyvault/service.h"

#include <stdbool.h>

/** Name of the file in the state folder; its bytes are those of a head file (chain_log.h). */
#define KL_MARK_FILE "audit-mark"

/** A note of the model: what an operator went on with and the audit log does not say yet, or "". */
#define KL_MARK_NOTE_ACCEPTED "accepted-to-record"

struct kl_mark_accept {
    /* go on, with a line in the log */
    bool audit_loss, older_database;
    bool changed_access; /* principals and policies that a foreign hand has changed (seal.h) */
};

/** Before the audit log is opened. KL_CORRUPT with a sentence that says what to do; a file
 * that is missing while the database has a mark is one that was taken away. Token call. */
enum kl_code kl_mark_check(const struct kl_service *s, struct kl_mark_accept accept,
                           struct kl_err *err) KL_MUST_USE;
/** Note how far the log is on disk. Token call. */
enum kl_code kl_mark_set(const struct kl_service *s, struct kl_err *err) KL_MUST_USE;

#endif
