/* Verbs of `kluis token` that have files of their own; the rows are in cmd_token.c. */
#ifndef KL_CLI_CMD_TOKEN_H
#define KL_CLI_CMD_TOKEN_H

#include "cli/command.h"

#define KL_TOKENS_PATH "/kluis/v1/tokens"

#define KL_TOKEN_LOGIN_OPTIONS  3
#define KL_TOKEN_TEST_OPTIONS   5
#define KL_TOKEN_BENCH_OPTIONS  8
#define KL_TOKEN_DOMAIN_OPTIONS 13

/* token_login.c */
enum kl_code kl_cmd_token_login(struct kl_cmd *cmd, struct kl_err *err) KL_MUST_USE;
extern const struct kl_option kl_cmd_token_login_options[KL_TOKEN_LOGIN_OPTIONS];

/* token_domain.c */
enum kl_code kl_token_domain_key(struct kl_cmd *cmd, struct kl_err *err) KL_MUST_USE;
extern const struct kl_option kl_token_domain_options[KL_TOKEN_DOMAIN_OPTIONS];

/* token_reseal.c: key backups in files, brought under the current domain key. */
enum kl_code kl_token_reseal(struct kl_cmd *cmd, const char *const *paths, size_t count,
                             struct kl_err *err) KL_MUST_USE;

/* token_trial.c */
enum kl_code kl_token_test(struct kl_cmd *cmd, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_token_bench(struct kl_cmd *cmd, struct kl_err *err) KL_MUST_USE;
extern const struct kl_option kl_token_test_options[KL_TOKEN_TEST_OPTIONS];
extern const struct kl_option kl_token_bench_options[KL_TOKEN_BENCH_OPTIONS];

#endif
