/* Rows that several nouns share: initialisers for struct kl_option, and the beginning of one for
 * struct kl_command. Header only. */
#ifndef KL_CLI_OPTIONS_H
#define KL_CLI_OPTIONS_H

#include "cli/command.h"

#define KL_OPT_VAULT_NAME                                                                          \
    {                                                                                              \
        .name = "vault-name", .argument = "VAULT",                                                 \
        .help = "The vault. Without it, the one that KLUIS_VAULT_URL names."                       \
    }
#define KL_OPT_KEY_NAME                                                                            \
    {                                                                                              \
        .name = "name", .letter = 'n', .argument = "NAME", .help = "The key's name."               \
    }
#define KL_OPT_KEY_ID                                                                              \
    {                                                                                              \
        .name = "id", .argument = "URL",                                                           \
        .help = "The key's full id, in place of --vault-name, --name and --version."               \
    }
#define KL_OPT_KEY_VERSION                                                                         \
    {                                                                                              \
        .name = "version", .letter = 'v', .argument = "VERSION",                                   \
        .help = "A version of the key. Without it, the newest."                                    \
    }
#define KL_OPT_VAULT                                                                               \
    {                                                                                              \
        .name = "name", .letter = 'n', .argument = "VAULT", .required = true,                      \
        .help = "The vault's name."                                                                \
    }
#define KL_OPT_TAGS                                                                                \
    {                                                                                              \
        .name = "tags", .kind = KL_OPTION_WORDS, .argument = "KEY=VALUE",                          \
        .help = "Labels, several after one another. --tags without words removes all."             \
    }
#define KL_OPT_SUBSCRIPTION                                                                        \
    {                                                                                              \
        .name = "subscription", .argument = "TEXT",                                                \
        .help = "Go on only if the vault is in this subscription. With --vault-name."              \
    }
#define KL_OPT_SECRET_NAME                                                                         \
    {                                                                                              \
        .name = "name", .letter = 'n', .argument = "NAME", .help = "The secret's name."            \
    }
#define KL_OPT_SECRET_ID                                                                           \
    {                                                                                              \
        .name = "id", .argument = "URL",                                                           \
        .help = "The secret's full id, in place of --vault-name, --name and --version."            \
    }
#define KL_OPT_SECRET_VERSION                                                                      \
    {                                                                                              \
        .name = "version", .letter = 'v', .argument = "VERSION",                                   \
        .help = "A version of the secret. Without it, the newest."                                 \
    }
#define KL_OPT_YES                                                                                 \
    {                                                                                              \
        .name = "yes", .letter = 'y', .kind = KL_OPTION_FLAG,                                      \
        .help = "Do not ask for confirmation at a terminal."                                       \
    }
#define KL_OPT_FORCE                                                                               \
    {                                                                                              \
        .name = "force", .kind = KL_OPTION_FLAG,                                                   \
        .help = "Replace the file if it is there already."                                         \
    }
#define KL_OPT_BACKUP_OUT                                                                          \
    {                                                                                              \
        .name = "file", .letter = 'f', .argument = "FILE", .required = true,                       \
        .help = "Where the backup goes: a new file, readable by you only.",                        \
        .complete = KL_COMPLETE_FILE                                                               \
    }
#define KL_OPT_BACKUP_IN                                                                           \
    {                                                                                              \
        .name = "file", .letter = 'f', .argument = "FILE", .required = true,                       \
        .help = "The backup.", .complete = KL_COMPLETE_FILE                                        \
    }
#define KL_OPT_VAULT_REQUIRED                                                                      \
    {                                                                                              \
        .name = "vault-name", .argument = "VAULT", .required = true, .help = "The vault's name."   \
    }
#define KL_OPT_WHO                                                                                 \
    {                                                                                              \
        .name = "principal", .argument = "NAME-OR-ID", .required = true,                           \
        .help = "Who: its name, client id or object id."                                           \
    }

/* The beginning of a struct kl_command that asks the service and shows what it says. */
#define KL_LISTING_ROW(verb_, run_, options_)                                                      \
    .verb = verb_, .options = options_, .option_count = KL_COUNT(options_), .lists = true,         \
    .remote = true, .run = run_

#endif
