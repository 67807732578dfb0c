/* Handlers of `kluis certificate`: certificate_make.c (what comes to be), certificate_manage.c;
 * cmd_certificate.c holds their rows. Not thread safe. */
#ifndef KL_CLI_CMD_CERTIFICATE_H
#define KL_CLI_CMD_CERTIFICATE_H

#include "base/json.h"
#include "cli/command.h"
#include "cli/out.h"

/* Every one is a kl_command.run: KL_USAGE for what its options lack, else what the service
 * answered. */
enum kl_code kl_certificate_cmd_create(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_certificate_cmd_import(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_certificate_cmd_download(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_certificate_cmd_default_policy(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_certificate_cmd_pending(struct kl_cmd *cmd, struct kl_err *err);

enum kl_code kl_certificate_cmd_show(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_certificate_cmd_list(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_certificate_cmd_list_versions(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_certificate_cmd_list_deleted(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_certificate_cmd_show_deleted(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_certificate_cmd_set_attributes(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_certificate_cmd_delete(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_certificate_cmd_recover(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_certificate_cmd_purge(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_certificate_cmd_backup(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_certificate_cmd_restore(struct kl_cmd *cmd, struct kl_err *err);

/** Show a CertificateBundle. */
enum kl_code kl_certificate_cmd_bundle(const struct kl_cmd *cmd, const json_t *bundle,
                                       struct kl_err *err) KL_MUST_USE;
/** Tags, and --disabled or --enabled, into a body. `enabled` NULL = not given. */
enum kl_code kl_certificate_cmd_attributes(const struct kl_cmd *cmd, const bool *enabled,
                                           json_t *body, struct kl_err *err) KL_MUST_USE;
/** --policy @FILE or JSON into body["policy"]; nothing when it was not given. */
enum kl_code kl_certificate_cmd_policy(const struct kl_cmd *cmd, json_t *body,
                                       struct kl_err *err) KL_MUST_USE;

#endif
