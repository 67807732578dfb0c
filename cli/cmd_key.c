/* kluis key: the rows; key_manage.c and key_crypto.c do the work. */
#include "cli/cmd_key.h"

#include "cli/options.h"
#include "cli/table.h"

static const char *const types[] = {"RSA", "RSA-HSM", "EC", "EC-HSM", NULL};
static const char *const sizes[] = {"2048", "3072", "4096", NULL};
static const char *const curves[] = {"P-256", "P-384", "P-521", NULL};
static const char *const protections[] = {"hsm", "software", NULL};
static const char *const operations[] = {"encrypt", "decrypt",   "sign",   "verify",
                                         "wrapKey", "unwrapKey", "import", NULL};
static const char *const encryptions[] = {"RSA-OAEP-256", "RSA-OAEP", "RSA1_5", NULL};
static const char *const signatures[] = {"RS256", "RS384", "RS512", "PS256", "PS384",
                                         "PS512", "ES256", "ES384", "ES512", NULL};

/* the three times and labels that creating and changing share */
#define ATTRIBUTES                                                                                 \
    {.name = "ops",                                                                                \
     .kind = KL_OPTION_SET,                                                                        \
     .argument = "OPERATION",                                                                      \
     .choices = operations,                                                                        \
     .help =                                                                                       \
         "What the key may be used for, several after one another; or import alone, for an RSA "   \
         "key under which others are brought in."},                                                \
        {.name = "expires",                                                                        \
         .argument = "TIME",                                                                       \
         .help = "No wrap, encrypt or sign from then on; unwrap, decrypt and verify go on. "       \
                 "2026-12-31, 2026-12-31T23:59:59Z or +90d."},                                     \
        {.name = "not-before", .argument = "TIME", .help = "Not usable before. As --expires."},    \
        KL_OPT_TAGS

static const struct kl_option create_options[] = {
    KL_OPT_VAULT_NAME,
    KL_OPT_KEY_NAME,
    KL_OPT_KEY_ID,
    {.name = "kty",
     .argument = "TYPE",
     .choices = types,
     .help = "RSA without it. Every key lives on the token; -HSM only says so in the answers."},
    {.name = "size",
     .argument = "BITS",
     .choices = sizes,
     .help = "Length of an RSA key. 2048 without it."},
    {.name = "curve",
     .argument = "CURVE",
     .choices = curves,
     .help = "Curve of an EC key, which signs only. P-256 without it."},
    {.name = "protection",
     .letter = 'p',
     .argument = "WORD",
     .choices = protections,
     .help = "az's word: hsm makes the type -HSM. The key lives on the token either way."},
    {.name = "disabled", .kind = KL_OPTION_BOOL, .help = "Make it, but do not allow its use yet."},
    {.name = "no-backup",
     .kind = KL_OPTION_FLAG,
     .help = "Profile fixed: the key never leaves the token in any form, so it cannot be backed "
             "up either."},
    ATTRIBUTES,
};

#define DISABLED                                                                                   \
    {                                                                                              \
        .name = "disabled", .kind = KL_OPTION_BOOL, .help = "Do not allow its use yet."            \
    }

static const struct kl_option attach_options[] = {
    {.name = "vault-name", .argument = "VAULT", .required = true, .help = "The vault."},
    {.name = "name",
     .letter = 'n',
     .argument = "KEY",
     .required = true,
     .help = "The key's name in the vault."},
    {.name = "pkcs11-uri",
     .argument = "URI",
     .required = true,
     .help = "Which private key, as pkcs11:token=LABEL;object=NAME;id=%01%02 (RFC 7512): by its "
             "label, its id, or both. The token must be one of the vault's."},
    {.name = "destroy-on-purge",
     .kind = KL_OPTION_FLAG,
     .help = "When the key is purged, destroy it on the token too. Without this, whoever made it "
             "there destroys it."},
    DISABLED,
    ATTRIBUTES,
};

static const struct kl_option import_options[] = {
    KL_OPT_VAULT_NAME,
    KL_OPT_KEY_NAME,
    KL_OPT_KEY_ID,
    {.name = "pem-file",
     .argument = "FILE",
     .help = "The private key in PEM, RSA or EC.",
     .complete = KL_COMPLETE_FILE},
    {.name = "pem-password-file",
     .argument = "FILE",
     .help = "Holds the password of an encrypted PEM file. Never an argument: those are visible to "
             "every user of the host.",
     .complete = KL_COMPLETE_FILE},
    {.name = "byok-file",
     .argument = "FILE",
     .help = "The key in Key Vault's BYOK form: wrapped under a key of this vault that was made "
             "with --ops import.",
     .complete = KL_COMPLETE_FILE},
    {.name = "kty",
     .argument = "TYPE",
     .choices = types,
     .help = "What is in a BYOK file. RSA without it. A PEM file says it itself."},
    {.name = "protection",
     .letter = 'p',
     .argument = "WORD",
     .choices = protections,
     .help = "az's word: hsm makes the type -HSM. The key lives on the token either way."},
    {.name = "no-backup",
     .kind = KL_OPTION_FLAG,
     .help = "Profile fixed: the key cannot be backed up from the token either."},
    DISABLED,
    ATTRIBUTES,
};

static const struct kl_option key_options[] = {KL_OPT_VAULT_NAME, KL_OPT_KEY_NAME, KL_OPT_KEY_ID};
static const struct kl_option version_options[] = {KL_OPT_VAULT_NAME, KL_OPT_KEY_NAME,
                                                   KL_OPT_KEY_ID, KL_OPT_KEY_VERSION};
static const struct kl_option rotation_options[] = {
    KL_OPT_VAULT_NAME,
    KL_OPT_KEY_NAME,
    KL_OPT_KEY_ID,
    {.name = "rotate-after",
     .argument = "DURATION",
     .help = "update: make a new version so long after the newest was made."},
    {.name = "rotate-before",
     .argument = "DURATION",
     .help = "update: make a new version so long before the newest expires."},
    {.name = "notify-before",
     .argument = "DURATION",
     .help = "update: send the event of a near expiry so long before. 30 days without it."},
    {.name = "expiry-time",
     .argument = "DURATION",
     .help = "update: versions that a rotation makes expire so long after."},
    {.name = "value",
     .argument = "JSON|FILE",
     .help = "update: the whole policy as Key Vault's JSON, or the file that holds it, as az has "
             "it."},
    {.name = "file",
     .argument = "FILE",
     .help = "update: the file that holds the policy.",
     .complete = KL_COMPLETE_FILE},
};

static const struct kl_option vault_options[] = {KL_OPT_VAULT_NAME};
static const struct kl_option confirm_options[] = {KL_OPT_VAULT_NAME, KL_OPT_KEY_NAME,
                                                   KL_OPT_KEY_ID, KL_OPT_YES};

static const struct kl_option set_options[] = {
    KL_OPT_VAULT_NAME,
    KL_OPT_KEY_NAME,
    KL_OPT_KEY_ID,
    KL_OPT_KEY_VERSION,
    {.name = "enabled", .kind = KL_OPTION_BOOL, .help = "Allow its use, or not."},
    ATTRIBUTES,
};

static const struct kl_option backup_options[] = {
    KL_OPT_VAULT_NAME,   KL_OPT_KEY_NAME,   KL_OPT_KEY_ID,
    KL_OPT_SUBSCRIPTION, KL_OPT_BACKUP_OUT, KL_OPT_FORCE,
};

static const struct kl_option restore_options[] = {
    KL_OPT_VAULT_NAME,
    KL_OPT_SUBSCRIPTION,
    KL_OPT_BACKUP_IN,
};

#define ALGORITHM                                                                                  \
    {                                                                                              \
        .name = "algorithm", .letter = 'a', .argument = "ALGORITHM", .choices = encryptions,       \
        .help = "RSA-OAEP-256 without it."                                                         \
    }
#define OUT(what)                                                                                  \
    {                                                                                              \
        .name = "out", .argument = "FILE",                                                         \
        .help = "Write the raw " what " there (readable by you only; - is standard output). "      \
                "Without it, base64url in the chosen format.",                                     \
        .complete = KL_COMPLETE_FILE                                                               \
    }

static const struct kl_option encrypt_options[] = {
    KL_OPT_VAULT_NAME,
    KL_OPT_KEY_NAME,
    KL_OPT_KEY_ID,
    KL_OPT_KEY_VERSION,
    ALGORITHM,
    {.name = "file",
     .argument = "FILE",
     .help = "The plaintext, raw. Standard input without it. Never an argument: those are visible "
             "to every user of the host.",
     .complete = KL_COMPLETE_FILE},
    OUT("ciphertext"),
    KL_OPT_FORCE,
};

static const struct kl_option decrypt_options[] = {
    KL_OPT_VAULT_NAME,
    KL_OPT_KEY_NAME,
    KL_OPT_KEY_ID,
    KL_OPT_KEY_VERSION,
    ALGORITHM,
    {.name = "value",
     .argument = "BASE64",
     .help = "The ciphertext in base64 or base64url, in place of --file."},
    {.name = "file",
     .argument = "FILE",
     .help = "The ciphertext, raw. Standard input without it.",
     .complete = KL_COMPLETE_FILE},
    OUT("plaintext"),
    KL_OPT_FORCE,
    {.name = "show-secret",
     .kind = KL_OPTION_FLAG,
     .help = "Show the plaintext (as base64url) even at a terminal."},
};

#define SIGNATURE_INPUT                                                                            \
    {.name = "algorithm",                                                                          \
     .letter = 'a',                                                                                \
     .argument = "ALGORITHM",                                                                      \
     .required = true,                                                                             \
     .choices = signatures,                                                                        \
     .help = "RS and PS for RSA keys, ES for EC keys."},                                           \
        {.name = "file",                                                                           \
         .argument = "FILE",                                                                       \
         .help = "The message; it is hashed here. Standard input without it.",                     \
         .complete = KL_COMPLETE_FILE},                                                            \
    {                                                                                              \
        .name = "digest", .argument = "BASE64", .help = "The message's hash, in place of --file."  \
    }

static const struct kl_option sign_options[] = {
    KL_OPT_VAULT_NAME, KL_OPT_KEY_NAME,  KL_OPT_KEY_ID, KL_OPT_KEY_VERSION,
    SIGNATURE_INPUT,   OUT("signature"), KL_OPT_FORCE,
};

static const struct kl_option verify_options[] = {
    KL_OPT_VAULT_NAME,
    KL_OPT_KEY_NAME,
    KL_OPT_KEY_ID,
    KL_OPT_KEY_VERSION,
    SIGNATURE_INPUT,
    {.name = "signature", .argument = "BASE64", .help = "The signature in base64 or base64url."},
    {.name = "signature-file",
     .argument = "FILE",
     .help = "The signature, raw.",
     .complete = KL_COMPLETE_FILE},
};

static const struct kl_command commands[] = {
    {KL_LISTING_ROW("create", kl_key_create, create_options),
     .summary = "make a key, or a new version of one",
     .text = "Make a key on the vault's token. If a key of that name exists, this makes a new "
             "version of it; 'kluis key rotate' does that without repeating the options.\n\n"
             "An RSA key wraps and unwraps data keys. An EC key signs.",
     .example = "kluis key create --vault-name prod --name backup-kek --ops wrapKey unwrapKey\n"
                "kluis key create --vault-name prod --name archive --size 4096 --no-backup\n"
                "kluis key create --vault-name prod --name signer --kty EC --curve P-384"},
    {KL_LISTING_ROW("attach", kl_key_attach, attach_options),
     .summary = "serve a key that was made on the token by somebody else",
     .text = "Serve a private key that the HSM's own people made on the vault's token. Nothing on "
             "the token is changed. The key must be sensitive and not extractable, RSA of 2048 to "
             "4096 bits or EC on P-256, P-384 or P-521, and prove itself by a round trip; the same "
             "key is not served twice. From then on it is a key like others, of profile fixed.\n\n"
             "Purging it leaves it on the token, unless --destroy-on-purge. Needs the role "
             "administrator and the permission import.",
     .example = "kluis key attach --vault-name prod --name master \\\n"
                "    --pkcs11-uri 'pkcs11:token=production;object=master-2026'"},
    {KL_LISTING_ROW("import", kl_key_import, import_options),
     .summary = "bring a key from outside onto the token",
     .text = "Bring a private key onto the vault's token, from a PEM file or from a BYOK file that "
             "was wrapped for this vault. 'kluis key show' says of such a key that it came from "
             "outside: whoever had the file has the key, however well the token keeps it. Prefer "
             "a key made here.\n\nFor BYOK, make a key with --ops import, hand its public half "
             "('kluis key show') to the other side's tool, and import what that makes. Needs the "
             "permission import.",
     .example = "kluis key import --vault-name prod --name old-kek --pem-file old-kek.pem\n"
                "kluis key create --vault-name prod --name exchange --kty RSA-HSM --ops import\n"
                "kluis key import --vault-name prod --name brought --byok-file key.byok"},
    {KL_LISTING_ROW("show", kl_key_show, version_options), .summary = "show a key",
     .text = "Show a key's newest version, or the one that --version names. The profile says "
             "whether it can be backed up (domain-backed) or not (fixed).",
     .example = "kluis key show --vault-name prod --name backup-kek\n"
                "kluis key show --id https://prod.vault.example.org:8443/keys/backup-kek -o json"},
    {KL_LISTING_ROW("list", kl_key_list, vault_options), .summary = "list the keys of a vault",
     .text = "List the keys of a vault, one row each. Deleted ones: 'kluis key list-deleted'.",
     .example = "kluis key list --vault-name prod -o table"},
    {KL_LISTING_ROW("list-versions", kl_key_list_versions, key_options),
     .summary = "list a key's versions",
     .text = "List every version of a key. Old versions stay usable for what they wrapped until "
             "you disable them.",
     .example = "kluis key list-versions --vault-name prod --name backup-kek"},
    {KL_LISTING_ROW("set-attributes", kl_key_set_attributes, set_options),
     .summary = "enable, disable, set times, operations and tags",
     .text = "Change one version of a key (the newest without --version). What is not named stays "
             "as it is.\n\nDisabling a version makes everything that it wrapped unreadable until "
             "it is enabled again: re-wrap first ('kluis rewrap').",
     .example = "kluis key set-attributes -n backup-kek --vault-name prod \\\n"
                "    --version 0123456789abcdef0123456789abcdef --enabled false\n"
                "kluis key set-attributes -n backup-kek --vault-name prod --expires +365d"},
    {KL_LISTING_ROW("rotate", kl_key_rotate, key_options),
     .summary = "make a new version of a key, like the last",
     .text = "Make a new version of a key with the same type, size and operations. New wraps use "
             "it at once; what older versions wrapped still opens. 'kluis rewrap' moves streams "
             "to the new version without touching their data.",
     .example = "kluis key rotate --vault-name prod --name backup-kek"},
    {KL_LISTING_ROW("rotation-policy", kl_key_rotation_policy, rotation_options),
     .summary = "when a key rotates by itself, and who is told before it expires",
     .text = "show: the policy of a key. update: change what is named, or the whole of it by "
             "--value or --file. The service makes the new version when the time has come, also "
             "when it was down then; older versions go on opening what they wrapped. Durations "
             "are ISO 8601: P90D, P3M, P1Y, PT48H; 'none' takes an action away.\n\n"
             "A rotation is at least 7 days after a version's creation and 7 days before its "
             "expiry; an expiry at least 28 days after the creation. Needs the permission "
             "getRotationPolicy or setRotationPolicy.",
     .example =
         "kluis key rotation-policy show --vault-name prod --name backup-kek\n"
         "kluis key rotation-policy update --vault-name prod --name backup-kek \\\n"
         "    --rotate-after P90D --expiry-time P1Y --notify-before P30D\n"
         "kluis key rotation-policy update --vault-name prod -n backup-kek --value policy.json",
     .positional = "WORD", .positional_min = 1, .positional_max = 1},
    {KL_LISTING_ROW("delete", kl_key_delete, confirm_options),
     .summary = "delete a key; it can be recovered",
     .text = "Delete a key with all its versions. They stop working at once, so what they wrapped "
             "cannot be opened until 'kluis key recover'. The name stays taken.\n\nAt a terminal "
             "you are asked for the key's name, unless --yes.",
     .example = "kluis key delete --vault-name prod --name old-kek"},
    {KL_LISTING_ROW("list-deleted", kl_key_list_deleted, vault_options),
     .summary = "list the deleted keys of a vault",
     .text = "List the keys that are deleted and not yet purged, with the day of their end.",
     .example = "kluis key list-deleted --vault-name prod"},
    {KL_LISTING_ROW("show-deleted", kl_key_show_deleted, key_options),
     .summary = "show one deleted key",
     .text = "Show a deleted key: when it was deleted and when it will be purged.",
     .example = "kluis key show-deleted --vault-name prod --name old-kek"},
    {KL_LISTING_ROW("recover", kl_key_recover, key_options), .summary = "bring a deleted key back",
     .text = "Bring a deleted key back with every version, as it was.",
     .example = "kluis key recover --vault-name prod --name old-kek"},
    {KL_LISTING_ROW("purge", kl_key_purge, confirm_options),
     .summary = "destroy a deleted key for good",
     .text = "Destroy a deleted key and all its versions, on the token too. There is no way back "
             "but a key backup. Refused under purge protection.\n\nAt a terminal you are asked "
             "for the key's name, unless --yes.",
     .example = "kluis key purge --vault-name test --name old-kek"},
    {KL_LISTING_ROW("backup", kl_key_backup, backup_options),
     .summary = "write a sealed copy of a key to a file",
     .text = "Write a key with all its versions to a file that only this service's token domain "
             "can open, and only into a vault of the same subscription and geography. It is a "
             "copy of this moment: after a rotation, make a new one. Needs the permission "
             "backup.\n\nOn failure no file is left behind.",
     .example = "kluis key backup --vault-name prod --name backup-kek --file backup-kek.blob"},
    {KL_LISTING_ROW("restore", kl_key_restore, restore_options),
     .summary = "bring a key back from its backup file",
     .text = "Restore a key, with its name, versions and attributes, from a backup into a vault "
             "of the same subscription and geography. Refused while the name is taken, also by a "
             "deleted key. Needs the permission restore.",
     .example = "kluis key restore --vault-name standby --file backup-kek.blob"},
    {KL_LISTING_ROW("encrypt", kl_key_encrypt, encrypt_options),
     .summary = "encrypt a few bytes under a key",
     .text = "Encrypt up to a few hundred bytes directly under an RSA key. For files and streams "
             "of any size use 'kluis encrypt'.",
     .example = "kluis key encrypt -n backup-kek --vault-name prod --file note --out note.enc"},
    {KL_LISTING_ROW("decrypt", kl_key_decrypt, decrypt_options),
     .summary = "decrypt a few bytes with a key",
     .text = "Decrypt what 'kluis key encrypt' made. Name the version that encrypted it if the "
             "key was rotated since.",
     .example = "kluis key decrypt -n backup-kek --vault-name prod --file note.enc --out note"},
    {KL_LISTING_ROW("wrap", kl_key_wrap, encrypt_options), .summary = "wrap a data key",
     .text = "Wrap a data-encryption key (up to a few hundred bytes). Keep the key id of the "
             "answer: unwrapping needs that version.",
     .example = "kluis key wrap -n backup-kek --vault-name prod --file dek --out dek.wrapped"},
    {KL_LISTING_ROW("unwrap", kl_key_unwrap, decrypt_options), .summary = "unwrap a data key",
     .text = "Unwrap a data-encryption key, by the version that wrapped it.",
     .example =
         "kluis key unwrap -n backup-kek --vault-name prod --version 0123456789abcdef0123456789abcdef \\\n"
         "    --file dek.wrapped --out dek"},
    {KL_LISTING_ROW("sign", kl_key_sign, sign_options), .summary = "sign a file",
     .text = "Hash a file here and have the token sign the hash.",
     .example = "kluis key sign -n signer --vault-name prod -a ES384 --file release.tar --out "
                "release.sig"},
    {KL_LISTING_ROW("verify", kl_key_verify, verify_options), .summary = "check a signature",
     .text = "Check a signature of 'kluis key sign'. Exit code 0 when it is valid, 1 when not.",
     .example = "kluis key verify -n signer --vault-name prod -a ES384 --file release.tar \\\n"
                "    --signature-file release.sig"},
};

const struct kl_noun kl_noun_key = {
    .name = "key",
    .summary = "keys: make, use, rotate, delete, recover, back up",
    .text = "Keys live on the token and never leave it in the clear. A key is named by "
            "--vault-name and --name, or by --id URL; each has versions, and a rotation adds one.",
    .commands = commands,
    .command_count = KL_COUNT(commands),
};
