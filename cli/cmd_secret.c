/* kluis secret: the rows; secret_value.c and secret_manage.c do the work. */
#include "cli/cmd_secret.h"

#include "cli/options.h"
#include "cli/table.h"

static const char *const encodings[] = {"utf-8", "ascii", "base64", "hex", NULL};

/* what setting and changing share */
#define ATTRIBUTES                                                                                 \
    {.name = "content-type",                                                                       \
     .argument = "TEXT",                                                                           \
     .help = "What the value is, for those who read it: such as application/json."},               \
        {.name = "expires",                                                                        \
         .argument = "TIME",                                                                       \
         .help = "For those who read it; the service goes on answering. 2026-12-31, "              \
                 "2026-12-31T23:59:59Z or +90d."},                                                 \
        {.name = "not-before", .argument = "TIME", .help = "The same for its beginning."},         \
        KL_OPT_TAGS

static const struct kl_option set_options[] = {
    KL_OPT_VAULT_NAME,
    KL_OPT_SECRET_NAME,
    KL_OPT_SECRET_ID,
    {.name = "file",
     .letter = 'f',
     .argument = "FILE",
     .help = "The value, byte for byte. Without it: typed at a terminal, else standard input "
             "without the end of its last line.",
     .complete = KL_COMPLETE_FILE},
    {.name = "encoding",
     .letter = 'e',
     .argument = "WORD",
     .choices = encodings,
     .help = "How the bytes become the text that is kept: base64 or hex for what is no text. "
             "Noted in the tag file-encoding, so that a download undoes it. utf-8 without it."},
    {.name = "value",
     .argument = "TEXT",
     .help = "Refused: an argument is visible to every user of the host, and stays in the shell's "
             "history."},
    {.name = "disabled", .kind = KL_OPTION_BOOL, .help = "Set it, but let nobody read it yet."},
    ATTRIBUTES,
};

static const struct kl_option secret_options[] = {KL_OPT_VAULT_NAME, KL_OPT_SECRET_NAME,
                                                  KL_OPT_SECRET_ID};
static const struct kl_option vault_options[] = {KL_OPT_VAULT_NAME};
static const struct kl_option confirm_options[] = {KL_OPT_VAULT_NAME, KL_OPT_SECRET_NAME,
                                                   KL_OPT_SECRET_ID, KL_OPT_YES};

static const struct kl_option show_options[] = {
    KL_OPT_VAULT_NAME,
    KL_OPT_SECRET_NAME,
    KL_OPT_SECRET_ID,
    KL_OPT_SECRET_VERSION,
    {.name = "show-secret",
     .kind = KL_OPTION_FLAG,
     .help = "Show the value even at a terminal. A pipe or file gets it without."},
};

static const struct kl_option download_options[] = {
    KL_OPT_VAULT_NAME,
    KL_OPT_SECRET_NAME,
    KL_OPT_SECRET_ID,
    KL_OPT_SECRET_VERSION,
    {.name = "file",
     .letter = 'f',
     .argument = "FILE",
     .required = true,
     .help = "Where the value goes: a new file, readable by you only; - is standard output.",
     .complete = KL_COMPLETE_FILE},
    {.name = "encoding",
     .letter = 'e',
     .argument = "WORD",
     .choices = encodings,
     .help = "What to undo. Without it, what the tag file-encoding says."},
    KL_OPT_FORCE,
};

static const struct kl_option attribute_options[] = {
    KL_OPT_VAULT_NAME,
    KL_OPT_SECRET_NAME,
    KL_OPT_SECRET_ID,
    KL_OPT_SECRET_VERSION,
    {.name = "enabled", .kind = KL_OPTION_BOOL, .help = "Let it be read, or not."},
    ATTRIBUTES,
};

static const struct kl_option backup_options[] = {
    KL_OPT_VAULT_NAME,   KL_OPT_SECRET_NAME, KL_OPT_SECRET_ID,
    KL_OPT_SUBSCRIPTION, KL_OPT_BACKUP_OUT,  KL_OPT_FORCE,
};

static const struct kl_option restore_options[] = {
    KL_OPT_VAULT_NAME,
    KL_OPT_SUBSCRIPTION,
    KL_OPT_BACKUP_IN,
};

static const struct kl_command commands[] = {
    {KL_LISTING_ROW("set", kl_secret_cmd_set, set_options),
     .summary = "set a secret, or a new version of one",
     .text =
         "Keep a value of up to 25 KB in the vault. If a secret of that name exists, this makes "
         "a new version of it; older ones stay readable by their version.\n\nThe value never "
         "comes from the command line: give it by --file, on standard input, or type it.",
     .example = "kluis secret set --vault-name prod --name db-password\n"
                "pwgen 32 1 | kluis secret set --vault-name prod --name db-password\n"
                "kluis secret set --vault-name prod --name tls --file key.pem\n"
                "kluis secret set --vault-name prod --name blob --file blob.bin --encoding base64"},
    {KL_LISTING_ROW("show", kl_secret_cmd_show, show_options),
     .summary = "show a secret with its value",
     .text = "Show a secret's newest version, or the one that --version names. At a terminal the "
             "value is left out unless --show-secret.",
     .example = "kluis secret show --vault-name prod --name db-password -o json\n"
                "kluis secret show --vault-name prod --name db-password --show-secret"},
    {KL_LISTING_ROW("download", kl_secret_cmd_download, download_options),
     .summary = "write a secret's value to a file",
     .text = "Write the value, and nothing but the value, to a new file of mode 0600. What 'set' "
             "encoded is decoded, so that the file is the one that was set.",
     .example = "kluis secret download --vault-name prod --name tls --file key.pem\n"
                "PGPASSWORD=$(kluis secret download --vault-name prod --name db-password -f -) "
                "psql"},
    {KL_LISTING_ROW("list", kl_secret_cmd_list, vault_options),
     .summary = "list the secrets of a vault",
     .text = "List the secrets of a vault, one row each, without values. Deleted ones: 'kluis "
             "secret list-deleted'.",
     .example = "kluis secret list --vault-name prod -o table"},
    {KL_LISTING_ROW("list-versions", kl_secret_cmd_list_versions, secret_options),
     .summary = "list a secret's versions",
     .text = "List every version of a secret, without values.",
     .example = "kluis secret list-versions --vault-name prod --name db-password"},
    {KL_LISTING_ROW("set-attributes", kl_secret_cmd_set_attributes, attribute_options),
     .summary = "enable, disable, set times, content type and tags",
     .text = "Change one version of a secret (the newest without --version). What is not named "
             "stays as it is; the value never changes.",
     .example = "kluis secret set-attributes -n db-password --vault-name prod --enabled false\n"
                "kluis secret set-attributes -n db-password --vault-name prod --expires +90d"},
    {KL_LISTING_ROW("delete", kl_secret_cmd_delete, confirm_options),
     .summary = "delete a secret; it can be recovered",
     .text = "Delete a secret with all its versions. Nobody can read it until 'kluis secret "
             "recover'. The name stays taken.\n\nAt a terminal you are asked for the secret's "
             "name, unless --yes.",
     .example = "kluis secret delete --vault-name prod --name old-password"},
    {KL_LISTING_ROW("list-deleted", kl_secret_cmd_list_deleted, vault_options),
     .summary = "list the deleted secrets of a vault",
     .text = "List the secrets that are deleted and not yet purged, with the day of their end.",
     .example = "kluis secret list-deleted --vault-name prod"},
    {KL_LISTING_ROW("show-deleted", kl_secret_cmd_show_deleted, secret_options),
     .summary = "show one deleted secret",
     .text = "Show a deleted secret: when it was deleted and when it will be purged. Its value "
             "cannot be read.",
     .example = "kluis secret show-deleted --vault-name prod --name old-password"},
    {KL_LISTING_ROW("recover", kl_secret_cmd_recover, secret_options),
     .summary = "bring a deleted secret back",
     .text = "Bring a deleted secret back with every version, as it was.",
     .example = "kluis secret recover --vault-name prod --name old-password"},
    {KL_LISTING_ROW("purge", kl_secret_cmd_purge, confirm_options),
     .summary = "destroy a deleted secret for good",
     .text = "Destroy a deleted secret and all its versions. There is no way back but a backup. "
             "Refused under purge protection.\n\nAt a terminal you are asked for the secret's "
             "name, unless --yes.",
     .example = "kluis secret purge --vault-name test --name old-password"},
    {KL_LISTING_ROW("backup", kl_secret_cmd_backup, backup_options),
     .summary = "write a sealed copy of a secret to a file",
     .text = "Write a secret with all its versions to a file that only this service's token domain "
             "can open, and only into a vault of the same subscription and geography. Needs the "
             "permission backup.\n\nOn failure no file is left behind.",
     .example = "kluis secret backup --vault-name prod --name db-password --file db-password.blob"},
    {KL_LISTING_ROW("restore", kl_secret_cmd_restore, restore_options),
     .summary = "bring a secret back from its backup file",
     .text = "Restore a secret, with its name, versions and attributes, from a backup into a vault "
             "of the same subscription and geography. Refused while the name is taken, also by a "
             "deleted secret. Needs the permission restore.",
     .example = "kluis secret restore --vault-name standby --file db-password.blob"},
};

const struct kl_noun kl_noun_secret = {
    .name = "secret",
    .summary = "secrets: set, read, list, delete, recover, back up",
    .text = "A secret is a value of up to 25 KB that somebody else made: a password, a connection "
            "string, a private key. It is kept encrypted under a key of its vault that the token "
            "wraps. A secret is named by --vault-name and --name, or by --id URL; each has "
            "versions.",
    .commands = commands,
    .command_count = KL_COUNT(commands),
};
