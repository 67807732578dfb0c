/* kluis certificate: the rows; certificate_make.c and certificate_manage.c do the work. */
#include "cli/cmd_certificate.h"

#include "cli/options.h"
#include "cli/table.h"

static const char *const encodings[] = {"PEM", "DER", NULL};

#define NAME                                                                                       \
    {                                                                                              \
        .name = "name", .letter = 'n', .argument = "NAME", .help = "The certificate's name."       \
    }
#define ID                                                                                         \
    {                                                                                              \
        .name = "id", .argument = "URL",                                                           \
        .help = "The certificate's full id, in place of --vault-name, --name and --version."       \
    }
#define VERSION                                                                                    \
    {                                                                                              \
        .name = "version", .letter = 'v', .argument = "VERSION",                                   \
        .help = "A version of the certificate. Without it, the newest."                            \
    }
#define POLICY                                                                                     \
    {                                                                                              \
        .name = "policy", .letter = 'p', .argument = "JSON",                                       \
        .help = "The policy as JSON, or @FILE. 'kluis certificate get-default-policy' writes one " \
                "to start from."                                                                   \
    }
#define DISABLED                                                                                   \
    {                                                                                              \
        .name = "disabled", .kind = KL_OPTION_BOOL,                                                \
        .help = "Make it, but let nobody use its key and secret yet."                              \
    }

static const struct kl_option create_options[] = {
    KL_OPT_VAULT_NAME,
    NAME,
    ID,
    POLICY,
    {.name = "subject",
     .argument = "NAME",
     .help = "The subject, such as 'CN=www.example.org, O=Example'. Without --policy the "
             "certificate signs itself."},
    DISABLED,
    KL_OPT_TAGS,
};
static const struct kl_option import_options[] = {
    KL_OPT_VAULT_NAME,
    NAME,
    ID,
    {.name = "file",
     .letter = 'f',
     .argument = "FILE",
     .required = true,
     .help = "PKCS#12, or PEM with an unencrypted private key and its certificates.",
     .complete = KL_COMPLETE_FILE},
    {.name = "password-file",
     .argument = "FILE",
     .help = "The password of the bundle, on the first line of a file.",
     .complete = KL_COMPLETE_FILE},
    {.name = "password",
     .argument = "TEXT",
     .help = "Refused: an argument is visible to every user of the host."},
    POLICY,
    DISABLED,
    KL_OPT_TAGS,
};
static const struct kl_option pending_options[] = {
    KL_OPT_VAULT_NAME,
    NAME,
    ID,
    {.name = "file",
     .letter = 'f',
     .argument = "FILE",
     .help = "For merge: the signed certificate and those above it, PEM or DER.",
     .complete = KL_COMPLETE_FILE},
    DISABLED,
    KL_OPT_TAGS,
};
static const struct kl_option download_options[] = {
    KL_OPT_VAULT_NAME,
    NAME,
    ID,
    VERSION,
    {.name = "file",
     .letter = 'f',
     .argument = "FILE",
     .required = true,
     .help = "Where the certificate goes.",
     .complete = KL_COMPLETE_FILE},
    {.name = "encoding",
     .letter = 'e',
     .argument = "WORD",
     .choices = encodings,
     .help = "PEM, which it is without this, or DER."},
    KL_OPT_FORCE,
};
static const struct kl_option attribute_options[] = {
    KL_OPT_VAULT_NAME,
    NAME,
    ID,
    VERSION,
    {.name = "enabled", .kind = KL_OPTION_BOOL, .help = "Whether its key and secret may be used."},
    POLICY,
    KL_OPT_TAGS,
};
static const struct kl_option one_options[] = {KL_OPT_VAULT_NAME, NAME, ID};
static const struct kl_option show_options[] = {KL_OPT_VAULT_NAME, NAME, ID, VERSION};
static const struct kl_option confirm_options[] = {KL_OPT_VAULT_NAME, NAME, ID, KL_OPT_YES};
static const struct kl_option vault_options[] = {KL_OPT_VAULT_NAME};
static const struct kl_option list_options[] = {
    KL_OPT_VAULT_NAME,
    {.name = "include-pending",
     .kind = KL_OPTION_FLAG,
     .help = "Those too whose first certificate is not there yet."},
};
static const struct kl_option default_options[] = {
    {.name = "scaffold", .kind = KL_OPTION_FLAG, .help = "With members to fill in."},
};
static const struct kl_option backup_options[] = {
    KL_OPT_VAULT_NAME, NAME, ID, KL_OPT_SUBSCRIPTION, KL_OPT_BACKUP_OUT, KL_OPT_FORCE};
static const struct kl_option restore_options[] = {KL_OPT_VAULT_NAME, KL_OPT_SUBSCRIPTION,
                                                   KL_OPT_BACKUP_IN};

static const struct kl_command commands[] = {
    {KL_LISTING_ROW("create", kl_certificate_cmd_create, create_options),
     .summary = "make a key and a certificate for it",
     .text =
         "Make a key on the vault's token and a certificate for it. With the issuer Self it signs "
         "itself and is there at once; with any other issuer a request (CSR) waits for 'pending "
         "merge'.\n\nThe private key never leaves the token, unless the policy says \"exportable\": "
         "true: then it is made in the service's memory, a copy goes onto the token, and another, "
         "sealed, into the secret of the same name.",
     .example = "kluis certificate create --vault-name prod --name www --subject "
                "CN=www.example.org\n"
                "kluis certificate create --vault-name prod -n www --policy @policy.json"},
    {KL_LISTING_ROW("import", kl_certificate_cmd_import, import_options),
     .summary = "import a certificate with its private key",
     .text = "Import PKCS#12 or PEM. The private key goes onto the token and, sealed, into the "
             "secret of the same name, unless the policy says \"exportable\": false.",
     .example = "kluis certificate import --vault-name prod --name www --file www.pfx "
                "--password-file pass"},
    {KL_LISTING_ROW("show", kl_certificate_cmd_show, show_options),
     .summary = "show a certificate and its policy",
     .text = "Show a version of a certificate, the newest without --version.",
     .example = "kluis certificate show --vault-name prod --name www"},
    {KL_LISTING_ROW("list", kl_certificate_cmd_list, list_options),
     .summary = "list the certificates of a vault",
     .text = "List the certificates of a vault, each as its newest version.",
     .example = "kluis certificate list --vault-name prod -o table"},
    {KL_LISTING_ROW("list-versions", kl_certificate_cmd_list_versions, one_options),
     .summary = "list a certificate's versions", .text = "List every version of a certificate.",
     .example = "kluis certificate list-versions --vault-name prod --name www"},
    {.verb = "download",
     .options = download_options,
     .option_count = KL_COUNT(download_options),
     .remote = true,
     .run = kl_certificate_cmd_download,
     .summary = "write a certificate to a file",
     .text = "Write the certificate, without a private key. Certificate and key together, where "
             "the policy allows that, are the secret of the same name: 'kluis secret download'.",
     .example = "kluis certificate download --vault-name prod --name www --file www.pem"},
    {KL_LISTING_ROW("set-attributes", kl_certificate_cmd_set_attributes, attribute_options),
     .summary = "enable, disable, tag, or change the policy",
     .text = "Change a version's tags, enable or disable it with its key and secret, or change "
             "the policy that the next version is made by.",
     .example = "kluis certificate set-attributes -n www --vault-name prod --enabled false"},
    {.verb = "get-default-policy",
     .options = default_options,
     .option_count = KL_COUNT(default_options),
     .run = kl_certificate_cmd_default_policy,
     .summary = "write a policy to start from",
     .text = "Write the policy of a certificate that signs itself, as JSON for --policy. Asks no "
             "service.",
     .example = "kluis certificate get-default-policy > policy.json"},
    {KL_LISTING_ROW("pending", kl_certificate_cmd_pending, pending_options),
     .positional = "merge|show|delete", .positional_min = 1, .positional_max = 1,
     .summary = "the request that waits: show, delete, merge its answer",
     .text = "'pending show' shows the operation with its request (Csr, base64 of PKCS#10 DER); "
             "'pending merge --file' brings in the certificate that your authority signed; "
             "'pending delete' forgets the operation.",
     .example = "kluis certificate pending show --vault-name prod --name www\n"
                "kluis certificate pending merge --vault-name prod --name www --file signed.pem"},
    {KL_LISTING_ROW("delete", kl_certificate_cmd_delete, confirm_options),
     .summary = "delete a certificate; it can be recovered",
     .text = "Delete a certificate with its key and secret. The names stay taken.\n\nAt a "
             "terminal you are asked for the certificate's name, unless --yes.",
     .example = "kluis certificate delete --vault-name prod --name old"},
    {KL_LISTING_ROW("list-deleted", kl_certificate_cmd_list_deleted, vault_options),
     .summary = "list the deleted certificates of a vault",
     .text = "List the certificates that are deleted and not yet purged.",
     .example = "kluis certificate list-deleted --vault-name prod"},
    {KL_LISTING_ROW("show-deleted", kl_certificate_cmd_show_deleted, one_options),
     .summary = "show one deleted certificate",
     .text = "Show when a certificate was deleted and when it will be purged.",
     .example = "kluis certificate show-deleted --vault-name prod --name old"},
    {KL_LISTING_ROW("recover", kl_certificate_cmd_recover, one_options),
     .summary = "bring a deleted certificate back",
     .text = "Bring a deleted certificate back with its key and secret, as they were.",
     .example = "kluis certificate recover --vault-name prod --name old"},
    {KL_LISTING_ROW("purge", kl_certificate_cmd_purge, confirm_options),
     .summary = "destroy a deleted certificate for good",
     .text = "Destroy a deleted certificate, its key on the token and its secret. There is no way "
             "back but a backup. Refused under purge protection.\n\nAt a terminal you are asked "
             "for the certificate's name, unless --yes.",
     .example = "kluis certificate purge --vault-name test --name old"},
    {KL_LISTING_ROW("backup", kl_certificate_cmd_backup, backup_options),
     .summary = "write a sealed copy of a certificate to a file",
     .text = "Write a certificate with all versions, its key, secret and policy to a file that "
             "only this service's token domain can open. Needs the permission backup.\n\nOn "
             "failure no file is left behind.",
     .example = "kluis certificate backup --vault-name prod --name www --file www.blob"},
    {KL_LISTING_ROW("restore", kl_certificate_cmd_restore, restore_options),
     .summary = "bring a certificate back from its backup file",
     .text = "Restore a certificate with its key, secret and policy into a vault of the same "
             "subscription and geography. Refused while a certificate, key or secret has the name, "
             "also a deleted one. Needs the permission restore.",
     .example = "kluis certificate restore --vault-name standby --file www.blob"},
};

const struct kl_noun kl_noun_certificate = {
    .name = "certificate",
    .summary = "certificates: create, import, merge, list, delete, recover, back up",
    .text = "A certificate comes with a key and a secret of its name, which change with it only. "
            "It is named by --vault-name and --name, or by --id URL; each has versions.",
    .commands = commands,
    .command_count = KL_COUNT(commands),
};
