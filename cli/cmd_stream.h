/* The verbs that work on containers; cmd_stream.c has their rows. */
#ifndef KL_CLI_CMD_STREAM_H
#define KL_CLI_CMD_STREAM_H

#include "cli/command.h"

/* stream_crypt.c */
enum kl_code kl_stream_encrypt(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_stream_decrypt(struct kl_cmd *cmd, struct kl_err *err);
/* stream_container.c */
enum kl_code kl_stream_inspect(struct kl_cmd *cmd, struct kl_err *err);
enum kl_code kl_stream_rewrap(struct kl_cmd *cmd, struct kl_err *err);

#endif
