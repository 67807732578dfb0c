/* kluis role: Key Vault's built-in roles in vaults that go by them. */
#include "cli/options.h"
#include "cli/out.h"
#include "cli/principal.h"
#include "cli/table.h"
#include "cli/target.h"
#include "cli/value.h"

#include <string.h>

static const struct kl_column role_columns[] = {
    {"Name", "name", KL_COLUMN_TEXT},
    {"Id", "id", KL_COLUMN_TEXT},
};

static const struct kl_column columns[] = {
    {"Principal", "name", KL_COLUMN_TEXT},  {"ObjectId", "objectId", KL_COLUMN_TEXT},
    {"Role", "roleName", KL_COLUMN_TEXT},   {"Id", "id", KL_COLUMN_TEXT},
    {"Created", "created", KL_COLUMN_TIME},
};

static enum kl_code url_of(struct kl_cmd *cmd, char **ret, struct kl_err *err)
{
    const char *vault = kl_cmd_value(cmd, "vault-name");

    if (vault[0] == '\0' || strpbrk(vault, "/?#%.:") != NULL)
        return kl_fail(err, KL_USAGE, NULL, "'%.60s' is no name of a vault: A-Z a-z 0-9 -", vault);
    return kl_target_format(ret, err, "/kluis/v1/vaults/%s/assignments", vault);
}

static enum kl_code run_list(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(json) list = NULL;
    enum kl_code code = kl_target_list(cmd, "/kluis/v1/roles", &list, err);

    return code == KL_OK ? kl_out_list(cmd, list, role_columns, KL_COUNT(role_columns), err) : code;
}

static enum kl_code run_show(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) list = NULL;
    enum kl_code code = url_of(cmd, &url, err);

    if (code == KL_OK)
        code = kl_target_list(cmd, url, &list, err);
    return code == KL_OK ? kl_out_list(cmd, list, columns, KL_COUNT(columns), err) : code;
}

static enum kl_code run_assign(struct kl_cmd *cmd, struct kl_err *err)
{
    char id[KL_UUID_LEN + 1];
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) body = json_object();
    KL_AUTO(json) answer = NULL;
    enum kl_code code = url_of(cmd, &url, err);

    if (code == KL_OK)
        code = kl_principal_find(cmd, kl_cmd_value(cmd, "principal"),
                                 kl_cmd_value(cmd, "vault-name"), id, err);
    if (code == KL_OK)
        code = kl_value_put_text(body, "objectId", id, err);
    if (code == KL_OK)
        code = kl_value_put_text(body, "role", kl_cmd_value(cmd, "role"), err);
    if (code == KL_OK)
        code = kl_target_call(cmd, "POST", url, body, &answer, err);
    return code == KL_OK ? kl_out_show(cmd, answer, columns, KL_COUNT(columns), err) : code;
}

static enum kl_code run_remove(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *id = kl_cmd_value(cmd, "id");
    KL_AUTO(char) url = NULL;
    KL_AUTO(char) whole = NULL;
    KL_AUTO(json) nothing = NULL;
    enum kl_code code = kl_uuid_valid(id) ? url_of(cmd, &url, err)
                                          : kl_fail(err, KL_USAGE, NULL,
                                                    "'%.60s' is no id; 'role show' has them", id);

    if (code == KL_OK)
        code = kl_target_format(&whole, err, "%s/%s", url, id);
    if (code == KL_OK)
        code = kl_target_call(cmd, "DELETE", whole, NULL, &nothing, err);
    if (code == KL_OK)
        kl_cmd_say("Removed.");
    return code;
}

static const struct kl_option show_options[] = {KL_OPT_VAULT_REQUIRED};
static const struct kl_option assign_options[] = {
    KL_OPT_VAULT_REQUIRED,
    KL_OPT_WHO,
    {.name = "role",
     .argument = "ROLE",
     .required = true,
     .help = "The role's name or id: \"Key Vault Crypto User\"."},
};
static const struct kl_option remove_options[] = {
    KL_OPT_VAULT_REQUIRED,
    {.name = "id", .argument = "ID", .required = true, .help = "The assignment's id."},
};

static const struct kl_command commands[] = {
    {.verb = "list",
     .summary = "list the built-in roles",
     .text = "List Key Vault's built-in roles with Azure's ids; -o json says what each holds.",
     .example = "kluis role list -o table",
     .lists = true,
     .remote = true,
     .run = run_list},
    {.verb = "show",
     .summary = "show who has which role in a vault",
     .text = "Show a vault's role assignments. Needs the vault permission getPolicy.",
     .example = "kluis role show --vault-name prod -o table",
     .options = show_options,
     .option_count = KL_COUNT(show_options),
     .lists = true,
     .remote = true,
     .run = run_show},
    {.verb = "assign",
     .summary = "give a principal a role in a vault",
     .text = "Give a principal or group a role in a vault. It counts while the vault goes by roles "
             "('kluis vault update --enable-rbac-authorization'); its policies do not, then. Needs "
             "the vault permission setPolicy.",
     .example = "kluis role assign --vault-name prod --principal backup-server \\\n"
                "    --role \"Key Vault Crypto Service Encryption User\"",
     .options = assign_options,
     .option_count = KL_COUNT(assign_options),
     .lists = true,
     .remote = true,
     .run = run_assign},
    {.verb = "remove",
     .summary = "take a role away",
     .text = "Take a role assignment away, at once. Needs the vault permission setPolicy.",
     .example = "kluis role remove --vault-name prod --id 0b6f1c2e-9d1f-4a57-8d0c-5a1e8f3b7c42",
     .options = remove_options,
     .option_count = KL_COUNT(remove_options),
     .remote = true,
     .run = run_remove},
};

const struct kl_noun kl_noun_role = {
    .name = "role",
    .summary = "built-in roles in vaults that go by them",
    .text = "A vault goes by policies, or by roles. The roles are Key Vault's built-in ones, under "
            "Azure's own names and ids; each stands for a list of permissions.",
    .commands = commands,
    .command_count = KL_COUNT(commands),
};
