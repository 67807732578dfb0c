/* Handlers of `kluis secret`: secret_value.c (what has to do with the value), secret_manage.c;
 * cmd_secret.c holds their rows. Not thread safe. */
#ifndef KL_CLI_CMD_SECRET_H
#define KL_CLI_CMD_SECRET_H

#include "base/json.h"
#include "cli/command.h"

/* Every one is a kl_command.run: KL_USAGE for what its options lack, else what the service
 * answered. */
enum kl_code kl_secret_cmd_set(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_secret_cmd_show(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_secret_cmd_download(struct kl_cmd *cmd, struct kl_err *err);

enum kl_code kl_secret_cmd_list(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_secret_cmd_list_versions(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_secret_cmd_list_deleted(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_secret_cmd_show_deleted(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_secret_cmd_set_attributes(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_secret_cmd_delete(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_secret_cmd_recover(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_secret_cmd_purge(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_secret_cmd_backup(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_secret_cmd_restore(struct kl_cmd *cmd, struct kl_err *err);

/** Attributes, content type and tags of the options into a body, as set and set-attributes both
 * take them. `enabled` NULL = not given. */
enum kl_code kl_secret_cmd_put_attributes(const struct kl_cmd *cmd, const bool *enabled,
                                          json_t *body, struct kl_err *err) KL_MUST_USE;
/** Show a SecretBundle; its value is left out at a terminal unless --show-secret was given. */
enum kl_code kl_secret_cmd_show_bundle(struct kl_cmd *cmd, json_t *bundle,
                                       struct kl_err *err) KL_MUST_USE;

#endif
