/* Handlers of `kluis key`: key_manage.c (life of a key), key_crypto.c; cmd_key.c
 * holds their rows. Not thread safe. */
#ifndef KL_CLI_CMD_KEY_H
#define KL_CLI_CMD_KEY_H

#include "cli/command.h"

/* Every one is a kl_command.run: KL_USAGE for what its options lack, else what the service
 * answered. */
enum kl_code kl_key_create(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_key_attach(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_key_import(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_key_show(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_key_list(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_key_list_versions(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_key_set_attributes(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_key_rotate(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_key_rotation_policy(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_key_delete(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_key_list_deleted(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_key_show_deleted(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_key_recover(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_key_purge(struct kl_cmd *cmd, struct kl_err *err);

enum kl_code kl_key_backup(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_key_restore(struct kl_cmd *cmd, struct kl_err *err);

enum kl_code kl_key_encrypt(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_key_decrypt(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_key_wrap(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_key_unwrap(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_key_sign(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_key_verify(struct kl_cmd *cmd, struct kl_err *err);

struct kl_column;
/** How a key bundle is shown: the columns and their number. */
const struct kl_column *kl_key_columns(size_t *ret_count);

#endif
