/* kluis policy: who may do what in a vault. */
#include "cli/options.h"
#include "cli/out.h"
#include "cli/principal.h"
#include "cli/table.h"
#include "cli/target.h"
#include "cli/value.h"

#include <string.h>
#include <strings.h>

static const struct kl_column columns[] = {
    {"Name", "name", KL_COLUMN_TEXT},
    {"ObjectId", "objectId", KL_COLUMN_TEXT},
    {"Keys", "permissions.keys", KL_COLUMN_LIST},
    {"Secrets", "permissions.secrets", KL_COLUMN_LIST},
    {"Certificates", "permissions.certificates", KL_COLUMN_LIST},
    {"Vault", "permissions.vault", KL_COLUMN_LIST},
};

/* The option of each object type, and its member in a policy. */
static const struct {
    const char *option, *member;
} kinds[] = {
    {"key-permissions", "keys"},
    {"secret-permissions", "secrets"},
    {"certificate-permissions", "certificates"},
    {"vault-permissions", "vault"},
};

/* In a table a policy is a row per object type: one row with everything would be wider than any
 * terminal. */
static const struct kl_column flat_columns[] = {
    {"Name", "name", KL_COLUMN_TEXT},
    {"ObjectId", "objectId", KL_COLUMN_TEXT},
    {"Type", "type", KL_COLUMN_TEXT},
    {"Permissions", "permissions", KL_COLUMN_LIST},
};

static enum kl_code flatten(const json_t *list, json_t **ret, struct kl_err *err)
{
    KL_AUTO(json) flat = json_array();
    json_t *row;
    size_t i;

    json_array_foreach(list, i, row)
    {
        for (size_t k = 0; k < KL_COUNT(kinds); k++) {
            json_t *words = json_object_get(json_object_get(row, "permissions"), kinds[k].member);

            if (json_array_size(words) == 0)
                continue;
            if (json_array_append_new(flat, json_pack("{s:O?, s:O?, s:s, s:O}", "name",
                                                      json_object_get(row, "name"), "objectId",
                                                      json_object_get(row, "objectId"), "type",
                                                      kinds[k].member, "permissions", words)) != 0)
                return kl_fail(err, KL_NO_MEMORY, "json", "out of memory");
        }
    }
    *ret = kl_take(flat);
    return KL_OK;
}

static enum kl_code show_policies(struct kl_cmd *cmd, const json_t *list, struct kl_err *err)
{
    KL_AUTO(json) flat = NULL;
    enum kl_code code;

    if (kl_cmd_format(cmd) == KL_FORMAT_JSON)
        return kl_out_list(cmd, list, flat_columns, KL_COUNT(flat_columns), err);
    code = flatten(list, &flat, err);
    return code == KL_OK ? kl_out_list(cmd, flat, flat_columns, KL_COUNT(flat_columns), err) : code;
}

static enum kl_code policies_of(struct kl_cmd *cmd, char **ret_url, json_t **ret_list,
                                struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    const char *vault = kl_cmd_value(cmd, "vault-name");
    enum kl_code code = KL_OK;

    if (vault[0] == '\0' || strpbrk(vault, "/?#%.:") != NULL)
        return kl_fail(err, KL_USAGE, NULL, "'%.60s' is no name of a vault: A-Z a-z 0-9 -", vault);
    code = kl_target_format(&url, err, "/kluis/v1/vaults/%s/policies", vault);
    if (code == KL_OK)
        code = kl_target_list(cmd, url, ret_list, err);
    if (code == KL_OK)
        *ret_url = kl_take(url);
    return code;
}

/* The row of one principal; NULL when it has no policy. Borrowed. */
static const json_t *policy_of(const json_t *list, const char *object_id)
{
    json_t *row;
    size_t i;

    json_array_foreach(list, i, row)
    {
        const char *id = json_string_value(json_object_get(row, "objectId"));

        if (id != NULL && strcasecmp(id, object_id) == 0)
            return row;
    }
    return NULL;
}

static enum kl_code run_show(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *who = kl_cmd_value(cmd, "principal");
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) list = NULL;
    char id[KL_UUID_LEN + 1];
    enum kl_code code = policies_of(cmd, &url, &list, err);

    if (code != KL_OK || who == NULL)
        return code == KL_OK ? show_policies(cmd, list, err) : code;
    code = kl_principal_find(cmd, who, kl_cmd_value(cmd, "vault-name"), id, err);
    if (code == KL_OK && policy_of(list, id) == NULL)
        code = kl_fail(err, KL_NOT_FOUND, NULL, "'%.60s' has no policy in this vault", who);
    return code == KL_OK ? kl_out_show(cmd, policy_of(list, id), columns, KL_COUNT(columns), err)
                         : code;
}

/* Named sets for common jobs: what Azure's portal prefills for backups of encrypted machines, and
 * what a recovery vault needs whose data is encrypted by a key of the customer's. Source:
 * learn.microsoft.com, "Back up and restore encrypted Azure VMs", "Encrypt backup data by using
 * customer-managed keys". */
static const struct {
    const char *name;
    const char *keys[5], *secrets[5];
} templates[] = {
    {"azure-backup", {"get", "list", "backup", NULL}, {"get", "list", "backup", NULL}},
    {"azure-backup-cmk", {"get", "list", "wrapKey", "unwrapKey", NULL}, {NULL}},
};

static enum kl_code put_words(json_t *permissions, const char *member, const char *const *words,
                              struct kl_err *err)
{
    KL_AUTO(json) list = json_array();

    for (size_t i = 0; words[i] != NULL; i++)
        (void)json_array_append_new(list, json_string(words[i]));
    if (json_array_size(list) > 0 && json_object_set(permissions, member, list) != 0)
        return kl_fail(err, KL_NO_MEMORY, "json", "out of memory");
    return KL_OK;
}

static enum kl_code use_template(const char *name, json_t *permissions, struct kl_err *err)
{
    enum kl_code code = KL_OK;

    for (size_t i = 0; i < KL_COUNT(templates) && code == KL_OK; i++) {
        if (strcmp(templates[i].name, name) != 0)
            continue;
        code = put_words(permissions, "keys", templates[i].keys, err);
        if (code == KL_OK)
            code = put_words(permissions, "secrets", templates[i].secrets, err);
    }
    return code;
}

/* The permissions after this command: those that are named replace the old ones of their type, the
 * others stay. */
static enum kl_code merge(struct kl_cmd *cmd, const json_t *old, json_t **ret, struct kl_err *err)
{
    const json_t *before = json_object_get(old, "permissions");
    KL_AUTO(json) permissions = before != NULL ? json_deep_copy(before) : json_object();
    enum kl_code code = KL_OK;
    const char *template = kl_cmd_value(cmd, "template");
    bool any = template != NULL;

    if (template != NULL)
        code = use_template(template, permissions, err);
    for (size_t i = 0; i < KL_COUNT(kinds) && code == KL_OK; i++) {
        const char *const *words;
        bool given = false;

        (void)kl_cmd_words(cmd, kinds[i].option, &words, &given);
        any = any || given;
        code = kl_value_put_words(cmd, kinds[i].option, kinds[i].member, permissions, err);
    }
    if (code == KL_OK && !any)
        code = kl_fail(err, KL_USAGE, NULL,
                       "nothing to set: --key-permissions (or another type's) "
                       "is missing");
    if (code == KL_OK)
        *ret = kl_take(permissions);
    return code;
}

static void say_change(const json_t *old, const json_t *permissions)
{
    for (size_t i = 0; i < KL_COUNT(kinds); i++) {
        struct kl_buf before = KL_BUF_INIT(4096), after = KL_BUF_INIT(4096);
        char path[64];

        snprintf(path, sizeof(path), "permissions.%s", kinds[i].member);
        kl_out_value(old, &(struct kl_column){"", path, KL_COLUMN_LIST}, &before);
        kl_out_value(permissions, &(struct kl_column){"", kinds[i].member, KL_COLUMN_LIST}, &after);
        if (strcmp(kl_buf_text(&before), kl_buf_text(&after)) != 0)
            kl_cmd_say("%s: %s -> %s", kinds[i].member, kl_buf_text(&before), kl_buf_text(&after));
        kl_buf_done(&before);
        kl_buf_done(&after);
    }
}

static enum kl_code put_policy(struct kl_cmd *cmd, const char *policies_url, const char *id,
                               const json_t *permissions, struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) body = json_object();
    KL_AUTO(json) answer = NULL;
    enum kl_code code = kl_target_format(&url, err, "%s/%s", policies_url, id);

    json_object_set(body, "permissions", (json_t *)(uintptr_t)permissions);
    if (code == KL_OK)
        code = kl_target_call(cmd, "PUT", url, body, &answer, err);
    return code == KL_OK ? kl_out_show(cmd, answer, columns, KL_COUNT(columns), err) : code;
}

static enum kl_code run_set(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) list = NULL;
    KL_AUTO(json) permissions = NULL;
    const json_t *old = NULL;
    char id[KL_UUID_LEN + 1];
    enum kl_code code = policies_of(cmd, &url, &list, err);

    if (code == KL_OK)
        code = kl_principal_find(cmd, kl_cmd_value(cmd, "principal"),
                                 kl_cmd_value(cmd, "vault-name"), id, err);
    if (code == KL_OK) {
        old = policy_of(list, id);
        code = merge(cmd, old, &permissions, err);
    }
    if (code != KL_OK)
        return code;
    say_change(old, permissions);
    if (kl_cmd_flag(cmd, "dry-run")) {
        kl_cmd_say("Dry run: nothing was changed.");
        return KL_OK;
    }
    return put_policy(cmd, url, id, permissions, err);
}

static enum kl_code run_delete(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *who = kl_cmd_value(cmd, "principal");
    KL_AUTO(char) policies = NULL;
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) list = NULL;
    KL_AUTO(json) nothing = NULL;
    char id[KL_UUID_LEN + 1];
    enum kl_code code = policies_of(cmd, &policies, &list, err);

    if (code == KL_OK)
        code = kl_principal_find(cmd, who, kl_cmd_value(cmd, "vault-name"), id, err);
    if (code == KL_OK && policy_of(list, id) == NULL)
        code = kl_fail(err, KL_NOT_FOUND, NULL, "'%.60s' has no policy in this vault", who);
    if (code == KL_OK)
        code = kl_target_format(&url, err, "%s/%s", policies, id);
    if (code == KL_OK)
        code = kl_target_call(cmd, "DELETE", url, NULL, &nothing, err);
    if (code == KL_OK)
        kl_cmd_say("Deleted: '%s' may nothing in this vault any more.", who);
    return code;
}

/* ---- the table: Key Vault's own words, in its spelling ---- */

static const char *const key_words[] = {"get",
                                        "list",
                                        "create",
                                        "update",
                                        "import",
                                        "delete",
                                        "recover",
                                        "purge",
                                        "backup",
                                        "restore",
                                        "encrypt",
                                        "decrypt",
                                        "wrapKey",
                                        "unwrapKey",
                                        "sign",
                                        "verify",
                                        "rotate",
                                        "release",
                                        "getRotationPolicy",
                                        "setRotationPolicy",
                                        "all",
                                        NULL};
static const char *const secret_words[] = {"get",    "list",    "set",   "delete", "recover",
                                           "backup", "restore", "purge", "all",    NULL};
static const char *const certificate_words[] = {
    "get",        "list",        "create",         "update",
    "import",     "delete",      "recover",        "backup",
    "restore",    "purge",       "manageContacts", "manageIssuers",
    "getIssuers", "listIssuers", "setIssuers",     "deleteIssuers",
    "all",        NULL};
static const char *const vault_words[] = {"get",   "list",      "update",    "delete", "recover",
                                          "purge", "getPolicy", "setPolicy", "all",    NULL};

static const char *const template_names[] = {"azure-backup", "azure-backup-cmk", NULL};

#define PERMISSIONS(name_, words_, what)                                                           \
    {                                                                                              \
        .name = name_, .kind = KL_OPTION_SET, .argument = "PERMISSION", .choices = words_,         \
        .help = "What it may do with " what ", parted by blanks or commas. Replaces what it had; " \
                "the option alone takes everything away."                                          \
    }

static const struct kl_option set_options[] = {
    KL_OPT_VAULT_REQUIRED,
    KL_OPT_WHO,
    PERMISSIONS("key-permissions", key_words, "keys"),
    PERMISSIONS("secret-permissions", secret_words, "secrets"),
    PERMISSIONS("certificate-permissions", certificate_words, "certificates"),
    PERMISSIONS("vault-permissions", vault_words, "the vault itself"),
    {.name = "template",
     .argument = "NAME",
     .choices = template_names,
     .help = "A set for a common job. azure-backup, for machines with encrypted disks: get, list, "
             "backup on keys and secrets. azure-backup-cmk, for a recovery vault under a key of "
             "yours: get, list, wrapKey, unwrapKey on keys. The options above replace its types."},
    {.name = "dry-run", .kind = KL_OPTION_FLAG, .help = "Only say what would change."},
};

static const struct kl_option show_options[] = {
    KL_OPT_VAULT_REQUIRED,
    {.name = "principal", .argument = "NAME-OR-ID", .help = "Only this principal's policy."},
};

static const struct kl_option delete_options[] = {
    KL_OPT_VAULT_REQUIRED,
    KL_OPT_WHO,
};

static const struct kl_command commands[] = {
    {KL_LISTING_ROW("set", run_set, set_options),
     .summary = "say what a principal may do in a vault",
     .text = "Give a principal permissions in a vault. The types that are named are replaced, the "
             "others stay as they are, and the change is shown. Give as little as will do: a "
             "backup server needs get, wrapKey and unwrapKey on keys, and nobody needs purge "
             "every day.\n\nNeeds the vault permission setPolicy.",
     .example = "kluis policy set --vault-name prod --principal backup-server \\\n"
                "    --key-permissions get wrapKey unwrapKey --dry-run\n"
                "kluis policy set --vault-name prod --principal alice --key-permissions get,list"},
    {KL_LISTING_ROW("show", run_show, show_options), .summary = "show who may do what in a vault",
     .text = "Show the policies of a vault, or one principal's. Needs the vault permission "
             "getPolicy.",
     .example = "kluis policy show --vault-name prod -o table\n"
                "kluis policy show --vault-name prod --principal alice"},
    {KL_LISTING_ROW("delete", run_delete, delete_options),
     .summary = "take a principal's policy away",
     .text = "Take every permission of a principal in a vault away, at once. Needs the vault "
             "permission setPolicy.",
     .example = "kluis policy delete --vault-name prod --principal alice"},
};

const struct kl_noun kl_noun_policy = {
    .name = "policy",
    .summary = "who may do what in a vault",
    .text = "A policy lists what one principal may do in one vault, in Key Vault's own words. "
            "Nobody may anything without one.",
    .commands = commands,
    .command_count = KL_COUNT(commands),
};
