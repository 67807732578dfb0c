/* kluis principal: who may log in. */
#include "cli/client_secret.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/principal.h"
#include "cli/table.h"
#include "cli/target.h"
#include "cli/value.h"

#include <string.h>
#include <strings.h>

#define PRINCIPALS "/kluis/v1/principals"

static const struct kl_column columns[] = {
    {"Name", "name", KL_COLUMN_TEXT},         {"ObjectId", "objectId", KL_COLUMN_TEXT},
    {"ClientId", "clientId", KL_COLUMN_TEXT}, {"Roles", "roles", KL_COLUMN_LIST},
    {"Created", "created", KL_COLUMN_TIME},   {"Disabled", "disabled", KL_COLUMN_TEXT},
    {"Type", "type", KL_COLUMN_TEXT},         {"Issuer", "issuer", KL_COLUMN_TEXT},
};

/* ---- find ---- */

static bool is_called(const json_t *principal, const char *who)
{
    static const char *const members[] = {"objectId", "clientId", "name"};

    for (size_t i = 0; i < KL_COUNT(members); i++) {
        const char *value = json_string_value(json_object_get(principal, members[i]));

        if (value != NULL && strcasecmp(value, who) == 0)
            return true;
    }
    return false;
}

/* The only row of `list` that is called so. */
static enum kl_code find_in(const json_t *list, const char *who, char ret[static KL_UUID_LEN + 1],
                            struct kl_err *err)
{
    const char *found = NULL;
    json_t *row;
    size_t i;

    json_array_foreach(list, i, row)
    {
        const char *id = json_string_value(json_object_get(row, "objectId"));

        if (id == NULL || !kl_uuid_valid(id) || !is_called(row, who))
            continue;
        if (found != NULL)
            return kl_fail(err, KL_USAGE, NULL,
                           "more than one principal is called '%.60s'; give the object id", who);
        found = id;
    }
    if (found == NULL)
        return kl_fail(err, KL_NOT_FOUND, NULL, "there is no principal '%.60s'", who);
    memcpy(ret, found, KL_UUID_LEN + 1);
    return KL_OK;
}

enum kl_code kl_principal_find(struct kl_cmd *cmd, const char *who, const char *vault,
                               char ret[static KL_UUID_LEN + 1], struct kl_err *err)
{
    KL_AUTO(json) list = NULL;
    KL_AUTO(char) url = NULL;
    enum kl_code code = kl_target_list(cmd, PRINCIPALS, &list, err);

    if (code == KL_OK)
        return find_in(list, who, ret, err);
    if (code != KL_FORBIDDEN)
        return code;
    if (kl_uuid_valid(who)) {
        memcpy(ret, who, KL_UUID_LEN + 1);
        return KL_OK;
    }
    if (vault == NULL)
        return code;
    code = kl_target_format(&url, err, "/kluis/v1/vaults/%s/policies", vault);
    if (code == KL_OK)
        code = kl_target_list(cmd, url, &list, err);
    return code == KL_OK ? find_in(list, who, ret, err) : code;
}

/* ---- verbs ---- */

static enum kl_code run_list(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(json) list = NULL;
    enum kl_code code = kl_target_list(cmd, PRINCIPALS, &list, err);

    return code == KL_OK ? kl_out_list(cmd, list, columns, KL_COUNT(columns), err) : code;
}

static enum kl_code put_if_given(struct kl_cmd *cmd, const char *option, const char *member,
                                 json_t *body, struct kl_err *err)
{
    const char *value = kl_cmd_value(cmd, option);

    return value != NULL ? kl_value_put_text(body, member, value, err) : KL_OK;
}

static enum kl_code create(struct kl_cmd *cmd, json_t **ret, struct kl_err *err)
{
    static const char *const rows[][2] = {{"name", "name"},          {"type", "type"},
                                          {"issuer", "issuer"},      {"object-id", "objectId"},
                                          {"client-id", "clientId"}, {"subject", "subject"}};
    KL_AUTO(json) body = json_object();
    enum kl_code code = KL_OK;

    for (size_t i = 0; i < KL_COUNT(rows) && code == KL_OK; i++)
        code = put_if_given(cmd, rows[i][0], rows[i][1], body, err);
    if (code == KL_OK)
        code = kl_value_put_words(cmd, "roles", "roles", body, err);
    if (kl_cmd_flag(cmd, "no-secret"))
        (void)json_object_set_new(body, "noSecret", json_true());
    return code == KL_OK ? kl_target_call(cmd, "POST", PRINCIPALS, body, ret, err) : code;
}

static enum kl_code run_create(struct kl_cmd *cmd, struct kl_err *err)
{
    bool no_secret = kl_cmd_flag(cmd, "no-secret") || kl_cmd_value(cmd, "issuer") != NULL;
    struct kl_client_secret secret = {.fd = -1};
    KL_AUTO(json) answer = NULL;
    enum kl_code code = no_secret ? KL_OK : kl_client_secret_begin(cmd, &secret, err);

    if (code == KL_OK)
        code = create(cmd, &answer, err);
    if (!no_secret)
        code = kl_client_secret_end(&secret, code, answer, err);
    return code == KL_OK ? kl_out_show(cmd, answer, columns, KL_COUNT(columns), err) : code;
}

static enum kl_code patch(struct kl_cmd *cmd, const char *who, json_t *body, struct kl_err *err)
{
    char id[KL_UUID_LEN + 1];
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) answer = NULL;
    enum kl_code code = kl_principal_find(cmd, who, NULL, id, err);

    if (code == KL_OK)
        code = kl_target_format(&url, err, PRINCIPALS "/%s", id);
    if (code == KL_OK)
        code = kl_target_call(cmd, "PATCH", url, body, &answer, err);
    return code == KL_OK ? kl_out_show(cmd, answer, columns, KL_COUNT(columns), err) : code;
}

static enum kl_code run_update(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(json) body = json_object();
    bool disabled = false;
    enum kl_code code = kl_value_put_words(cmd, "roles", "roles", body, err);

    if (kl_cmd_bool(cmd, "disabled", &disabled))
        (void)json_object_set_new(body, "disabled", json_boolean(disabled));
    if (code == KL_OK && json_object_size(body) == 0)
        code = kl_fail(err, KL_USAGE, NULL, "nothing to change: give --disabled or --roles");
    return code == KL_OK ? patch(cmd, kl_cmd_value(cmd, "principal"), body, err) : code;
}

static enum kl_code run_delete(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *who = kl_cmd_value(cmd, "principal");
    char id[KL_UUID_LEN + 1];
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) nothing = NULL;
    enum kl_code code = kl_principal_find(cmd, who, NULL, id, err);

    if (code == KL_OK)
        code = kl_cmd_confirm(cmd, who,
                              "This principal can no longer log in, and loses every policy. It "
                              "cannot be recovered.",
                              err);
    if (code == KL_OK)
        code = kl_target_format(&url, err, PRINCIPALS "/%s", id);
    if (code == KL_OK)
        code = kl_target_call(cmd, "DELETE", url, NULL, &nothing, err);
    if (code == KL_OK)
        kl_cmd_say("Deleted.");
    return code;
}

static const char *const roles[] = {"administrator", "auditor", NULL};
static const char *const types[] = {"application", "user", "group", NULL};

#define PRINCIPAL_ROW                                                                              \
    {                                                                                              \
        .name = "principal", .argument = "NAME-OR-ID", .required = true,                           \
        .help = "Its name, client id or object id."                                                \
    }

static const struct kl_option create_options[] = {
    {.name = "name",
     .letter = 'n',
     .argument = "NAME",
     .required = true,
     .help = "A name for people and for --principal."},
    {.name = "roles",
     .kind = KL_OPTION_SET,
     .argument = "ROLE",
     .choices = roles,
     .help = "Without it, the principal may only do what vault policies give it."},
    KL_OPT_CLIENT_SECRET,
    {.name = "no-secret",
     .kind = KL_OPTION_FLAG,
     .help = "Make no client secret; 'kluis principal credential add' gives it something else."},
    {.name = "issuer",
     .argument = "NAME",
     .help = "It comes from this [issuer NAME] of the service's configuration, and logs in there."},
    {.name = "type",
     .argument = "TYPE",
     .choices = types,
     .help = "What an issuer's tokens call it: application (the default), user or group."},
    {.name = "object-id",
     .argument = "GUID",
     .help = "The id that the issuer's tokens carry for it (oid, or one of their groups)."},
    {.name = "subject",
     .argument = "TEXT",
     .help = "The same for issuers without GUIDs: the sub of its tokens, or a group's name."},
    {.name = "client-id", .argument = "GUID", .help = "The issuer's client id, if it has one."},
};

static const struct kl_option update_options[] = {
    PRINCIPAL_ROW,
    {.name = "disabled",
     .kind = KL_OPTION_BOOL,
     .help = "Shut it out at once, its access tokens too; --disabled false lets it in again."},
    {.name = "roles",
     .kind = KL_OPTION_SET,
     .argument = "ROLE",
     .choices = roles,
     .help = "Replaces the roles that it has; the option alone takes them away."},
};

static const struct kl_option delete_options[] = {
    PRINCIPAL_ROW,
    KL_OPT_YES,
};

static const struct kl_command commands[] = {
    {.verb = "create",
     .summary = "make a principal and its client secret",
     .text = "Make a principal: a person, a program or a server that logs in with a client id "
             "and a client secret. The secret is made by the service and told only now. It may "
             "nothing until 'kluis policy set' gives it permissions in a vault.\n\nUsers, groups "
             "and applications of an issuer in the configuration are made known here, by the id "
             "that the issuer's tokens carry; they get no secret. Needs the role "
             "administrator.",
     .example = "kluis principal create --name backup-server --secret-file backup-server.secret\n"
                "kluis policy set --vault-name prod --principal backup-server \\\n"
                "    --key-permissions get wrapKey unwrapKey\n"
                "kluis principal create --name operators --issuer entra --type group \\\n"
                "    --object-id 7b2f7d9e-4a5c-4c39-9b8e-2f1d6c0a8e51",
     .options = create_options,
     .option_count = KL_COUNT(create_options),
     .lists = true,
     .remote = true,
     .run = run_create},
    {.verb = "list",
     .summary = "list the principals",
     .text = "List every principal with its ids and roles. Needs the role administrator.",
     .example = "kluis principal list -o table",
     .lists = true,
     .remote = true,
     .run = run_list},
    {.verb = "update",
     .summary = "disable a principal, or change its roles",
     .text = "Shut a principal out, or let it in again; say which roles it has. It acts with the "
             "next request: access tokens that it holds are worth nothing while it is disabled. "
             "The last administrator cannot be shut out. Needs the role administrator.",
     .example = "kluis principal update --principal backup-server --disabled\n"
                "kluis principal update --principal alice --roles auditor",
     .options = update_options,
     .option_count = KL_COUNT(update_options),
     .lists = true,
     .remote = true,
     .run = run_update},
    KL_COMMAND_CREDENTIAL,
    {.verb = "delete",
     .summary = "delete a principal",
     .text = "Delete a principal. Its tokens and policies are worth nothing from then on. Needs "
             "the role administrator.\n\nAt a terminal you are asked for its name, unless --yes.",
     .example = "kluis principal delete --principal backup-server",
     .options = delete_options,
     .option_count = KL_COUNT(delete_options),
     .remote = true,
     .run = run_delete},
};

const struct kl_noun kl_noun_principal = {
    .name = "principal",
    .summary = "who may log in, and with what",
    .text = "A principal is a person, a program or a server with credentials of its own. Roles let "
            "it administer or audit the service; what it may do with keys is said per vault, by "
            "'kluis policy'.",
    .commands = commands,
    .command_count = KL_COUNT(commands),
};
