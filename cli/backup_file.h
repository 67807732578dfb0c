/* Backup files of keys and secrets, for their verbs backup and restore. Not thread safe. */
#ifndef KL_CLI_BACKUP_FILE_H
#define KL_CLI_BACKUP_FILE_H

#include "cli/out.h"
#include "cli/target.h"

/** Write the object's backup to --file, a new one unless --force; on failure none is left behind.
 * Options: vault-name, name, id, subscription, file, force. */
enum kl_code kl_backup_to_file(struct kl_cmd *cmd, enum kl_target_part part,
                               struct kl_err *err) KL_MUST_USE;
/** Restore what is in --file into the vault, and show what came back. Options: vault-name,
 * subscription, file. */
enum kl_code kl_backup_from_file(struct kl_cmd *cmd, enum kl_target_part part,
                                 const struct kl_column *columns, size_t count,
                                 struct kl_err *err) KL_MUST_USE;

#endif
