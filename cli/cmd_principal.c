/* kluis principal: who may log in. */
#include "cli/options.h"
#include "cli/out.h"
#include "cli/principal.h"
#include "cli/table.h"
#include "cli/target.h"
#include "cli/value.h"

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define PRINCIPALS "/kluis/v1/principals"

static const struct kl_column columns[] = {
    {"Name", "name", KL_COLUMN_TEXT},         {"ObjectId", "objectId", KL_COLUMN_TEXT},
    {"ClientId", "clientId", KL_COLUMN_TEXT}, {"Roles", "roles", KL_COLUMN_LIST},
    {"Created", "created", KL_COLUMN_TIME},   {"Disabled", "disabled", KL_COLUMN_TEXT},
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

/* Reserve the secret's file before the principal exists: a secret that cannot be written would be
 * lost. */
static enum kl_code reserve_file(const char *path, int *ret, struct kl_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0 && errno == EEXIST)
        return kl_fail_native(err, KL_EXISTS, KL_DOMAIN_OS, EEXIST, "open",
                              "%s is there already; a client secret never replaces a file", path);
    if (fd < 0)
        return kl_fail_errno(err, "open", "cannot write %s", path);
    *ret = fd;
    return KL_OK;
}

static enum kl_code write_secret(const json_t *answer, int fd, const char *path, struct kl_err *err)
{
    const char *secret = NULL;
    enum kl_code code = kl_json_string(answer, "clientSecret", &secret, err);

    if (code == KL_OK && secret == NULL)
        code = kl_fail(err, KL_CORRUPT, NULL, "the service's answer holds no client secret");
    if (code == KL_OK) /* not dprintf, whose buffer is not wiped */
        code = kl_io_write_all(fd, secret, strlen(secret), err);
    if (code == KL_OK)
        code = kl_io_write_all(fd, "\n", 1, err);
    if (code == KL_OK && fsync(fd) != 0)
        code = kl_fail_errno(err, "fsync", "cannot write %s", path);
    return code;
}

static enum kl_code create(struct kl_cmd *cmd, json_t **ret, struct kl_err *err)
{
    KL_AUTO(json) body = json_object();
    enum kl_code code = kl_value_put_text(body, "name", kl_cmd_value(cmd, "name"), err);

    if (code == KL_OK)
        code = kl_value_put_words(cmd, "roles", "roles", body, err);
    return code == KL_OK ? kl_target_call(cmd, "POST", PRINCIPALS, body, ret, err) : code;
}

static enum kl_code run_create(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *path = kl_cmd_value(cmd, "secret-file");
    bool show = kl_cmd_flag(cmd, "show-secret");
    KL_AUTO(json) answer = NULL;
    enum kl_code code = KL_OK;
    int fd = -1;

    if ((path == NULL) != show)
        return kl_fail(err, KL_USAGE, NULL,
                       "the client secret is shown only once: name a new file with --secret-file, "
                       "or say --show-secret to have it printed");
    if (path != NULL)
        code = reserve_file(path, &fd, err);
    if (code == KL_OK)
        code = create(cmd, &answer, err);
    if (code == KL_OK && path != NULL)
        code = write_secret(answer, fd, path, err);
    if (fd >= 0)
        close(fd);
    if (code != KL_OK && fd >= 0)
        unlink(path);
    if (code != KL_OK)
        return code;
    if (show)
        kl_cmd_say("Client secret: %s", json_string_value(json_object_get(answer, "clientSecret")));
    json_object_del(answer, "clientSecret");
    return kl_out_show(cmd, answer, columns, KL_COUNT(columns), err);
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
    {.name = "secret-file",
     .argument = "FILE",
     .help = "Write the client secret to this new file, readable by you only.",
     .complete = KL_COMPLETE_FILE},
    {.name = "show-secret",
     .kind = KL_OPTION_FLAG,
     .help = "Print the client secret on standard error instead."},
};

static const struct kl_option delete_options[] = {
    {.name = "principal",
     .argument = "NAME-OR-ID",
     .required = true,
     .help = "Its name, client id or object id."},
    KL_OPT_YES,
};

static const struct kl_command commands[] = {
    {.verb = "create",
     .summary = "make a principal and its client secret",
     .text = "Make a principal: a person, a program or a server that logs in with a client id "
             "and a client secret. The secret is made by the service and told only now. It may "
             "nothing until 'kluis policy set' gives it permissions in a vault.\n\nNeeds the "
             "role administrator.",
     .example = "kluis principal create --name backup-server --secret-file backup-server.secret\n"
                "kluis policy set --vault-name prod --principal backup-server \\\n"
                "    --key-permissions get wrapKey unwrapKey",
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
    .summary = "who may log in: make, list, delete",
    .text = "A principal is a person, a program or a server with credentials of its own. Roles let "
            "it administer or audit the service; what it may do with keys is said per vault, by "
            "'kluis policy'.",
    .commands = commands,
    .command_count = KL_COUNT(commands),
};
