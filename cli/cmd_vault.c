/* kluis vault: the vaults of the service, and the soft-deleted ones. */
#include "cli/options.h"
#include "cli/out.h"
#include "cli/target.h"
#include "cli/table.h"
#include "cli/value.h"

#include <string.h>

#define VAULTS         "/kluis/v1/vaults"
#define DELETED_VAULTS "/kluis/v1/deletedvaults"

static const struct kl_column list_columns[] = {
    {"Name", "name", KL_COLUMN_TEXT},
    {"URL", "vaultUri", KL_COLUMN_TEXT},
    {"Profile", "profile", KL_COLUMN_TEXT},
    {"Token", "token", KL_COLUMN_TEXT},
    {"RetentionDays", "softDeleteRetentionInDays", KL_COLUMN_TEXT},
    {"PurgeProtection", "enablePurgeProtection", KL_COLUMN_TEXT},
};

static const struct kl_column show_columns[] = {
    {"Name", "name", KL_COLUMN_TEXT},
    {"URL", "vaultUri", KL_COLUMN_TEXT},
    {"Origins", "origins", KL_COLUMN_LIST},
    {"Subscription", "subscription", KL_COLUMN_TEXT},
    {"Geography", "geography", KL_COLUMN_TEXT},
    {"Location", "location", KL_COLUMN_TEXT},
    {"Profile", "profile", KL_COLUMN_TEXT},
    {"Tokens", "tokens", KL_COLUMN_LIST},
    {"SoftDelete", "enableSoftDelete", KL_COLUMN_TEXT},
    {"RetentionDays", "softDeleteRetentionInDays", KL_COLUMN_TEXT},
    {"PurgeProtection", "enablePurgeProtection", KL_COLUMN_TEXT},
    {"Created", "created", KL_COLUMN_TIME},
    {"Updated", "updated", KL_COLUMN_TIME},
    {"Tags", "tags", KL_COLUMN_LIST},
};

static const struct kl_column deleted_columns[] = {
    {"Name", "name", KL_COLUMN_TEXT},
    {"Deleted", "deletedDate", KL_COLUMN_TIME},
    {"PurgedAt", "scheduledPurgeDate", KL_COLUMN_TIME},
    {"PurgeProtection", "enablePurgeProtection", KL_COLUMN_TEXT},
};

/* ---- one call, one answer ---- */

/* base/NAME[/suffix] of --name. */
static enum kl_code vault_url(const struct kl_cmd *cmd, const char *base, const char *suffix,
                              char **ret, struct kl_err *err)
{
    const char *name = kl_cmd_value(cmd, "name");

    if (strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") !=
            strlen(name) ||
        name[0] == '\0')
        return kl_fail(err, KL_USAGE, NULL, "'%.60s' is no name of a vault: A-Z a-z 0-9 -", name);
    return kl_target_format(ret, err, "%s/%s%s", base, name, suffix);
}

static enum kl_code call_and_show(struct kl_cmd *cmd, const char *method, const char *base,
                                  const char *suffix, const json_t *body,
                                  const struct kl_column *columns, size_t count, struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) answer = NULL;
    enum kl_code code = vault_url(cmd, base, suffix, &url, err);

    if (code == KL_OK)
        code = kl_target_call(cmd, method, url, body, &answer, err);
    return code == KL_OK ? kl_out_show(cmd, answer, columns, count, err) : code;
}

static void put_extras(const struct kl_cmd *cmd, json_t *body)
{
    bool on = false;

    if (kl_cmd_bool(cmd, "allow-rsa1-5", &on))
        (void)json_object_set_new(body, "allowRsa15", json_boolean(on));
    if (kl_cmd_bool(cmd, "unwrap-older-versions", &on))
        (void)json_object_set_new(body, "unwrapOlderVersions", json_boolean(on));
}

static enum kl_code run_create(struct kl_cmd *cmd, struct kl_err *err)
{
    static const struct {
        const char *option, *member;
    } texts[] = {{"subscription", "subscription"},
                 {"geography", "geography"},
                 {"location", "location"},
                 {"profile", "profile"}};
    KL_AUTO(json) body = json_object();
    int64_t days = -1;
    bool protect = false;
    enum kl_code code = kl_value_put_words(cmd, "origins", "origins", body, err);

    for (size_t i = 0; i < KL_COUNT(texts) && code == KL_OK; i++) {
        const char *value = kl_cmd_value(cmd, texts[i].option);

        if (value != NULL)
            code = kl_value_put_text(body, texts[i].member, value, err);
    }
    if (code == KL_OK)
        code = kl_value_put_list(cmd, "token", "tokens", body, err);
    if (code == KL_OK)
        code = kl_cmd_int(cmd, "retention-days", 7, 90, &days, err);
    if (code == KL_OK && days >= 0)
        json_object_set_new(body, "softDeleteRetentionInDays", json_integer(days));
    if (code == KL_OK && kl_cmd_bool(cmd, "enable-purge-protection", &protect))
        json_object_set_new(body, "enablePurgeProtection", json_boolean(protect));
    put_extras(cmd, body);
    if (code == KL_OK)
        code = kl_value_put_tags(cmd, body, err);
    if (code != KL_OK)
        return code;
    return call_and_show(cmd, "PUT", VAULTS, "", body, show_columns, KL_COUNT(show_columns), err);
}

static enum kl_code run_show(struct kl_cmd *cmd, struct kl_err *err)
{
    return call_and_show(cmd, "GET", VAULTS, "", NULL, show_columns, KL_COUNT(show_columns), err);
}

static enum kl_code run_update(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(json) body = json_object();
    bool on = false;
    enum kl_code code;

    put_extras(cmd, body);
    if (kl_cmd_bool(cmd, "enable-soft-delete", &on))
        json_object_set_new(body, "enableSoftDelete", json_boolean(on));
    if (kl_cmd_bool(cmd, "enable-rbac-authorization", &on))
        (void)json_object_set_new(body, "enableRbacAuthorization", json_boolean(on));
    if (kl_cmd_bool(cmd, "enable-purge-protection", &on))
        json_object_set_new(body, "enablePurgeProtection", json_boolean(on));
    code = kl_value_put_tags(cmd, body, err);
    if (code == KL_OK)
        code = kl_value_put_list(cmd, "token", "tokens", body, err);
    if (code == KL_OK && json_object_size(body) == 0)
        code = kl_fail(err, KL_USAGE, NULL,
                       "nothing to change: --enable-purge-protection, --enable-soft-delete, "
                       "--token or --tags is missing");
    if (code != KL_OK)
        return code;
    return call_and_show(cmd, "PATCH", VAULTS, "", body, show_columns, KL_COUNT(show_columns), err);
}

static enum kl_code list(struct kl_cmd *cmd, const char *url, const struct kl_column *columns,
                         size_t count, struct kl_err *err)
{
    KL_AUTO(json) all = NULL;
    enum kl_code code = kl_target_list(cmd, url, &all, err);

    return code == KL_OK ? kl_out_list(cmd, all, columns, count, err) : code;
}

static enum kl_code run_list(struct kl_cmd *cmd, struct kl_err *err)
{
    return list(cmd, VAULTS, list_columns, KL_COUNT(list_columns), err);
}

static enum kl_code run_list_deleted(struct kl_cmd *cmd, struct kl_err *err)
{
    return list(cmd, DELETED_VAULTS, deleted_columns, KL_COUNT(deleted_columns), err);
}

static enum kl_code run_show_deleted(struct kl_cmd *cmd, struct kl_err *err)
{
    return call_and_show(cmd, "GET", DELETED_VAULTS, "", NULL, deleted_columns,
                         KL_COUNT(deleted_columns), err);
}

static enum kl_code run_delete(struct kl_cmd *cmd, struct kl_err *err)
{
    enum kl_code code = kl_cmd_confirm(cmd, kl_cmd_value(cmd, "name"),
                                       "Every key of this vault stops working at once. The vault "
                                       "can be recovered until its retention ends.",
                                       err);

    if (code == KL_OK)
        code = call_and_show(cmd, "DELETE", VAULTS, "", NULL, deleted_columns,
                             KL_COUNT(deleted_columns), err);
    if (code == KL_OK)
        kl_cmd_say("Deleted. 'kluis vault recover --name %s' brings it back.",
                   kl_cmd_value(cmd, "name"));
    return code;
}

static enum kl_code run_recover(struct kl_cmd *cmd, struct kl_err *err)
{
    return call_and_show(cmd, "POST", DELETED_VAULTS, "/recover", NULL, show_columns,
                         KL_COUNT(show_columns), err);
}

static enum kl_code run_purge(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) nothing = NULL;
    enum kl_code code = kl_cmd_confirm(cmd, kl_cmd_value(cmd, "name"),
                                       "This destroys the deleted vault and every key in it, on "
                                       "the token too, for good. Backups that were made under "
                                       "these keys cannot be opened afterwards.",
                                       err);

    if (code == KL_OK)
        code = vault_url(cmd, DELETED_VAULTS, "", &url, err);
    if (code == KL_OK)
        code = kl_target_call(cmd, "DELETE", url, NULL, &nothing, err);
    if (code == KL_OK)
        kl_cmd_say("Purged.");
    return code;
}

/* ---- the table ---- */

static const char *const profiles[] = {"domain-backed", "fixed", NULL};

#define EXTRAS                                                                                     \
    {.name = "allow-rsa1-5",                                                                       \
     .kind = KL_OPTION_BOOL,                                                                       \
     .help = "Serve RSA1_5 too, for clients that cannot do RSA-OAEP. Wrong paddings are not told " \
             "from good ones: they decrypt to something else. Never for keys under which backups " \
             "were made."},                                                                        \
    {                                                                                              \
        .name = "unwrap-older-versions", .kind = KL_OPTION_BOOL,                                   \
        .help = "An unwrap or decrypt that names no version of the key tries older enabled "       \
                "versions where the newest does not open the value, for clients that do not keep " \
                "the version (MongoDB without keyVersion). Key Vault itself does not."             \
    }

static const struct kl_option create_options[] = {
    KL_OPT_VAULT,
    EXTRAS,
    {.name = "origins",
     .kind = KL_OPTION_SET,
     .argument = "HOST:PORT",
     .required = true,
     .help = "The addresses under which clients reach the vault. The first becomes its URL and "
             "stands in every key id."},
    {.name = "retention-days",
     .argument = "DAYS",
     .help = "How long deleted objects can be recovered, 7 to 90. Fixed for good once the vault "
             "is made. 90 without it."},
    {.name = "enable-purge-protection",
     .kind = KL_OPTION_BOOL,
     .help = "Nobody can purge before the retention ends. Once on, it stays on."},
    {.name = "profile",
     .argument = "PROFILE",
     .choices = profiles,
     .help = "What its keys are: domain-backed ones can be backed up under the token's domain "
             "key, fixed ones never leave the token in any form. Without it, domain-backed where "
             "the token can."},
    {.name = "token",
     .argument = "TOKEN[,TOKEN…]",
     .help = "The token that holds its keys. Several, in order of preference: each key is made on "
             "the first that is there and copied to the others under their common domain key; when "
             "one is away the next one serves. The first configured without it."},
    {.name = "subscription",
     .argument = "TEXT",
     .help = "Label: backups are restorable within one subscription only."},
    {.name = "geography",
     .argument = "TEXT",
     .help = "Label: backups are restorable within one geography only."},
    {.name = "location", .letter = 'l', .argument = "TEXT", .help = "Label: the region."},
    KL_OPT_TAGS,
};

static const struct kl_option name_only[] = {KL_OPT_VAULT};
static const struct kl_option name_and_yes[] = {KL_OPT_VAULT, KL_OPT_YES};

static const struct kl_option update_options[] = {
    KL_OPT_VAULT,
    EXTRAS,
    {.name = "enable-rbac-authorization",
     .kind = KL_OPTION_BOOL,
     .help = "Go by role assignments instead of policies ('kluis role'), or back. Needs setPolicy "
             "too, and somebody who holds it either way."},
    {.name = "enable-purge-protection",
     .kind = KL_OPTION_BOOL,
     .help = "Switch purge protection on. There is no way back."},
    {.name = "enable-soft-delete",
     .kind = KL_OPTION_BOOL,
     .help = "Soft delete is always on; true is accepted, false refused."},
    {.name = "token",
     .argument = "TOKEN[,TOKEN…]",
     .help = "The tokens of its keys from now on, in order of preference. Keys that there are get "
             "copies on tokens that are new in the list; nothing is removed from one that leaves "
             "it."},
    KL_OPT_TAGS,
};

static const struct kl_command commands[] = {
    {.verb = "create",
     .summary = "make a vault",
     .text = "Make a vault. You get a policy with every permission in it; give others theirs with "
             "'kluis policy set'. Needs the role administrator.\n\n"
             "Retention and purge protection guard against deletion, by mistake or on purpose: a "
             "vault whose keys protect backups should have purge protection.",
     .example = "kluis vault create --name prod --origins prod.vault.example.org:8443 \\\n"
                "    --enable-purge-protection --geography nl --location ams1",
     .options = create_options,
     .option_count = KL_COUNT(create_options),
     .lists = true,
     .remote = true,
     .run = run_create},
    {.verb = "list",
     .summary = "list the vaults that you may see",
     .text = "List the vaults in which you have a policy; administrators see all.",
     .example = "kluis vault list -o table",
     .lists = true,
     .remote = true,
     .run = run_list},
    {.verb = "show",
     .summary = "show one vault",
     .text = "Show a vault's addresses, labels, retention and protection.",
     .example = "kluis vault show --name prod\n"
                "kluis vault show -n prod -o json | jq -r .vaultUri",
     .options = name_only,
     .option_count = KL_COUNT(name_only),
     .lists = true,
     .remote = true,
     .run = run_show},
    {.verb = "update",
     .summary = "switch on purge protection, change tokens and tags",
     .text = "Change what can be changed of a vault. The retention is fixed when the vault is "
             "made, and purge protection can be switched on but never off.",
     .example = "kluis vault update --name prod --enable-purge-protection true\n"
                "kluis vault update --name prod --token ams1,ams2",
     .options = update_options,
     .option_count = KL_COUNT(update_options),
     .lists = true,
     .remote = true,
     .run = run_update},
    {.verb = "delete",
     .summary = "delete a vault; it can be recovered",
     .text = "Delete a vault. Its keys stop working at once, so everything that is wrapped by "
             "them cannot be opened until 'kluis vault recover'. The name stays taken, and "
             "nothing on the token is destroyed before the retention ends or the vault is "
             "purged.\n\nAt a terminal you are asked for the vault's name, unless --yes.",
     .example = "kluis vault delete --name test",
     .options = name_and_yes,
     .option_count = KL_COUNT(name_and_yes),
     .lists = true,
     .remote = true,
     .run = run_delete},
    {.verb = "list-deleted",
     .summary = "list the deleted vaults",
     .text = "List the vaults that are deleted and not yet purged, with the day of their end. "
             "Needs the role administrator.",
     .example = "kluis vault list-deleted",
     .lists = true,
     .remote = true,
     .run = run_list_deleted},
    {.verb = "show-deleted",
     .summary = "show one deleted vault",
     .text = "Show a deleted vault: when it was deleted and when it will be purged. Needs the "
             "role administrator.",
     .example = "kluis vault show-deleted --name test",
     .options = name_only,
     .option_count = KL_COUNT(name_only),
     .lists = true,
     .remote = true,
     .run = run_show_deleted},
    {.verb = "recover",
     .summary = "bring a deleted vault back",
     .text = "Bring a deleted vault back with everything in it, as it was. Needs the role "
             "administrator.",
     .example = "kluis vault recover --name test",
     .options = name_only,
     .option_count = KL_COUNT(name_only),
     .lists = true,
     .remote = true,
     .run = run_recover},
    {.verb = "purge",
     .summary = "destroy a deleted vault for good",
     .text = "Destroy a deleted vault and its keys, on the token too. There is no way back but "
             "key backups. Refused under purge protection. Needs the role administrator and the "
             "permission purge.\n\nAt a terminal you are asked for the vault's name, unless "
             "--yes.",
     .example = "kluis vault purge --name test",
     .options = name_and_yes,
     .option_count = KL_COUNT(name_and_yes),
     .remote = true,
     .run = run_purge},
};

const struct kl_noun kl_noun_vault = {
    .name = "vault",
    .summary = "vaults: make, show, protect, delete, recover",
    .text = "A vault holds keys, says who may use them, and decides how long deleted ones can be "
            "recovered. It lives at its own address.",
    .commands = commands,
    .command_count = KL_COUNT(commands),
};
