/* A client secret on its way from the service's answer to a new file, or to the terminal. Not
 * thread safe. */
#ifndef KL_CLI_CLIENT_SECRET_H
#define KL_CLI_CLIENT_SECRET_H

#include "base/json.h"
#include "cli/command.h"

struct kl_client_secret {
    const char *path; /* NULL: it is shown */
    int fd;           /* -1 = none */
};

/** The rows of the options that say where it goes. */
#define KL_OPT_CLIENT_SECRET                                                                       \
    {.name = "secret-file",                                                                        \
     .argument = "FILE",                                                                           \
     .help = "Write the client secret to this new file, readable by you only.",                    \
     .complete = KL_COMPLETE_FILE},                                                                \
    {                                                                                              \
        .name = "show-secret", .kind = KL_OPTION_FLAG,                                             \
        .help = "Print the client secret on standard error instead."                               \
    }

/** Reserve its file before the service makes it: a secret that cannot be written would be lost.
 * KL_USAGE when the options do not say exactly one place; KL_EXISTS for a file that is there. */
enum kl_code kl_client_secret_begin(struct kl_cmd *cmd, struct kl_client_secret *ret,
                                    struct kl_err *err) KL_MUST_USE;
/** `code` is how the call to the service went. Writes or shows the answer's "clientSecret" and
 * takes it out of the answer; after a failure the file is gone again. */
enum kl_code kl_client_secret_end(struct kl_client_secret *s, enum kl_code code, json_t *answer,
                                  struct kl_err *err) KL_MUST_USE;

/** The row of 'kluis principal credential' (credential.c). */
extern const struct kl_option kl_credential_options[];
enum kl_code kl_credential_run(struct kl_cmd *cmd, struct kl_err *err) KL_MUST_USE;
#define KL_CREDENTIAL_OPTIONS 9
#define KL_COMMAND_CREDENTIAL                                                                       \
    {                                                                                               \
        .verb = "credential",                                                                       \
        .summary = "add, list, remove or reset what a principal logs in with",                      \
        .text =                                                                                     \
            "What a principal logs in with: client secrets, certificates whose key signs a client " \
            "assertion or a TLS handshake, and names in TLS client certificates of the service's "  \
            "client CA. It may have several, so that a new one is in place before the old one "     \
            "goes.\n\nadd makes a client secret, or takes a certificate (--certificate) or a name " \
            "(--subject). reset makes a new secret and lets the older ones end after --overlap. "   \
            "list shows them without the secrets, remove takes one away at once. Needs the role "   \
            "administrator.",                                                                       \
        .example =                                                                                  \
            "kluis principal credential reset --principal backup-server --overlap 24h \\\n"         \
            "    --secret-file backup-server.secret\n"                                              \
            "kluis principal credential add --principal web --certificate web.pem\n"                \
            "kluis principal credential add --principal web --subject dns:web.example.com\n"        \
            "kluis principal credential list --principal web -o table\n"                            \
            "kluis principal credential remove --principal web --id "                               \
            "0b6f1c2e-9d1f-4a57-8d0c-5a1e8f3b7c42",                                                 \
        .options = kl_credential_options, .option_count = KL_CREDENTIAL_OPTIONS,                    \
        .positional = "add|list|remove|reset", .positional_min = 1, .positional_max = 1,            \
        .lists = true, .remote = true, .run = kl_credential_run                                     \
    }

#endif
