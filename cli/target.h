/* Which vault and which object in it a command means, as URLs: from --vault-name, --name, --version
 * and
 * --id. Not thread safe. */
#ifndef KL_CLI_TARGET_H
#define KL_CLI_TARGET_H

#include "base/json.h"
#include "cli/command.h"

/** The origin ("https://host:port", malloc'd) of the vault that --vault-name names: KLUIS_VAULT_URL
 * when its host's first label is that name (or the option is absent), else what the service says of
 * the vault, else (when the caller may not ask) the sibling host of KLUIS_VAULT_URL. KL_USAGE
 * without any vault, KL_NOT_FOUND. */
enum kl_code kl_target_vault(struct kl_cmd *cmd, char **ret, struct kl_err *err) KL_MUST_USE;

enum kl_target_part {
    KL_TARGET_KEYS,    /* VAULT/keys */
    KL_TARGET_DELETED, /* VAULT/deletedkeys */
    KL_TARGET_SECRETS, /* VAULT/secrets */
    KL_TARGET_DELETED_SECRETS,
    KL_TARGET_CERTIFICATES, /* VAULT/certificates */
    KL_TARGET_DELETED_CERTIFICATES,
};

/** "keys" … as in URLs. */
const char *kl_target_collection(enum kl_target_part part);

/** URL of an object of that part: that of --id, else VAULT/keys/NAME[/VERSION] (malloc'd); `suffix`
 * (may be NULL) is put behind with a "/". A deleted one has no version. KL_USAGE when neither --id
 * nor --name is there, or the id is not one of this kind. */
enum kl_code kl_target_key(struct kl_cmd *cmd, enum kl_target_part part, const char *suffix,
                           char **ret, struct kl_err *err) KL_MUST_USE;

/** The NAME that kl_target_key would use, for words to the human; borrowed or "" (an id's name is
 * cut out into `room`). */
const char *kl_target_key_name(const struct kl_cmd *cmd, char *room, size_t n);
/** kl_cmd_confirm for the object that the command names. */
enum kl_code kl_target_confirm(struct kl_cmd *cmd, const char *sentence,
                               struct kl_err *err) KL_MUST_USE;

/** One call of the service, as kl_vault_call with the command's client. */
enum kl_code kl_target_call(struct kl_cmd *cmd, const char *method, const char *url,
                            const json_t *body, json_t **ret, struct kl_err *err) KL_MUST_USE;

/** GET a list and every page behind it; *ret is one array. */
enum kl_code kl_target_list(struct kl_cmd *cmd, const char *url, json_t **ret,
                            struct kl_err *err) KL_MUST_USE;

/** printf into a malloc'd URL or text; KL_NO_MEMORY. */
enum kl_code kl_target_format(char **ret, struct kl_err *err, const char *fmt, ...) KL_PRINTF(3, 4);

#endif
