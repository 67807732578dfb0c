/* Verbs about kluis itself: login, logout, whoami, version, completion, reference. */
#include "cli/options.h"
#include "cli/out.h"
#include "cli/reference.h"
#include "cli/session.h"
#include "cli/table.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static const struct kl_column who_columns[] = {
    {"Name", "name", KL_COLUMN_TEXT},         {"ObjectId", "objectId", KL_COLUMN_TEXT},
    {"ClientId", "clientId", KL_COLUMN_TEXT}, {"Tenant", "tenant", KL_COLUMN_TEXT},
    {"Roles", "roles", KL_COLUMN_LIST},
};

/* ---- login ---- */

/* The options of login, in the order of kl_session_rows. */
static const char *const login_names[] = {"url",    "vault-url", "ca",
                                          "tenant", "client-id", "secret-file"};

static enum kl_code take_login_options(const struct kl_cmd *cmd, struct kl_session *s,
                                       struct kl_err *err)
{
    enum kl_code code = KL_OK;

    for (size_t i = 0; i < KL_COUNT(login_names) && code == KL_OK; i++) {
        const char *value = kl_cmd_value(cmd, login_names[i]);

        if (value != NULL)
            code = kl_session_set(s, i, value, err);
        if (code == KL_OK && kl_session_rows[i].required && kl_session_get(s, i) == NULL)
            code = kl_fail(err, KL_USAGE, NULL, "--%s is missing (or %s)", login_names[i],
                           kl_session_rows[i].variable);
    }
    return code;
}

static void warn_of_open_secret(const char *path)
{
    struct stat st;

    if (stat(path, &st) == 0 && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        kl_cmd_say("Warning: %s can be read by others; 'chmod 600' it.", path);
}

static enum kl_code run_login(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(session) session = NULL;
    KL_AUTO(vault_client) client = NULL;
    KL_AUTO(json) who = NULL;
    KL_AUTO(char) path = NULL;
    enum kl_code code = kl_session_load(&session, err);

    if (code == KL_OK)
        code = take_login_options(cmd, session, err);
    if (code == KL_OK) {
        warn_of_open_secret(session->secret_file);
        code = kl_session_client(session, NULL, 0, &client, err);
    }
    if (code == KL_OK)
        code = kl_vault_whoami(client, &who, err);
    if (code == KL_OK)
        code = kl_session_save(session, err);
    if (code == KL_OK)
        code = kl_session_path(&path, err);
    if (code != KL_OK)
        return code;
    kl_cmd_say("Logged in. %s notes where, and which file holds the secret.", path);
    return kl_out_show(cmd, who, who_columns, KL_COUNT(who_columns), err);
}

static enum kl_code run_logout(struct kl_cmd *cmd, struct kl_err *err)
{
    (void)cmd;
    return kl_session_forget(err);
}

static enum kl_code run_whoami(struct kl_cmd *cmd, struct kl_err *err)
{
    struct kl_vault_client *client = NULL;
    KL_AUTO(json) who = NULL;
    enum kl_code code = kl_cmd_client(cmd, &client, err);

    if (code == KL_OK)
        code = kl_vault_whoami(client, &who, err);
    return code == KL_OK ? kl_out_show(cmd, who, who_columns, KL_COUNT(who_columns), err) : code;
}

/* ---- generated texts ---- */

struct generator {
    const char *word;
    void (*put)(struct kl_buf *out);
};

static const struct generator completions[] = {{"bash", kl_completion_bash}, {NULL, NULL}};
static const struct generator references[] = {
    {"markdown", kl_reference_markdown}, {"man", kl_reference_man}, {NULL, NULL}};

static enum kl_code generate(struct kl_cmd *cmd, const struct generator *rows, struct kl_err *err)
{
    struct kl_buf out = KL_BUF_INIT(4 << 20);
    const char *const *words;
    enum kl_code code = KL_OK;

    (void)kl_cmd_positionals(cmd, &words);
    while (rows->word != NULL && strcmp(rows->word, words[0]) != 0)
        rows++;
    if (rows->word == NULL)
        return kl_fail(err, KL_USAGE, NULL, "'%.40s' cannot be made", words[0]);
    rows->put(&out);
    code = kl_buf_failed(&out) ? kl_fail(err, KL_NO_MEMORY, NULL, "out of memory")
                               : kl_out_bytes(kl_buf_text(&out), out.len, err);
    kl_buf_done(&out);
    return code;
}

static enum kl_code run_completion(struct kl_cmd *cmd, struct kl_err *err)
{
    return generate(cmd, completions, err);
}

static enum kl_code run_reference(struct kl_cmd *cmd, struct kl_err *err)
{
    return generate(cmd, references, err);
}

static enum kl_code run_version(struct kl_cmd *cmd, struct kl_err *err)
{
    static const char text[] = "kluis " KLUIS_VERSION "\n";

    (void)cmd;
    return kl_out_bytes(text, sizeof(text) - 1, err);
}

/* ---- the table ---- */

static const struct kl_option login_options[] = {
    {.name = "url",
     .argument = "URL",
     .help = "The service, https://HOST:PORT. Without it, KLUIS_URL."},
    {.name = "vault-url",
     .argument = "URL",
     .help = "The vault that is meant without --vault-name. Without it, KLUIS_VAULT_URL."},
    {.name = "ca",
     .argument = "FILE",
     .help = "The CA certificate in PEM that vouches for the service. Without it, KLUIS_CA, else "
             "the system's.",
     .complete = KL_COMPLETE_FILE},
    {.name = "tenant",
     .letter = 't',
     .argument = "ID",
     .help = "The service's tenant. Without it, KLUIS_TENANT."},
    {.name = "client-id",
     .letter = 'u',
     .argument = "ID",
     .help = "Who you are. Without it, KLUIS_CLIENT_ID."},
    {.name = "secret-file",
     .argument = "FILE",
     .help = "The file with your client secret. It stays where it is; only its path is noted. "
             "Without it, KLUIS_CLIENT_SECRET_FILE.",
     .complete = KL_COMPLETE_FILE},
    {.name = "service-principal",
     .kind = KL_OPTION_FLAG,
     .help = "az's word, accepted: every login is one of a service principal."},
};

static const struct kl_command commands[] = {
    {.verb = "login",
     .summary = "try your credentials and note them for the next commands",
     .text = "Log in to the service, show who you are, and note the service, the CA, the tenant, "
             "your client id and the path of your secret's file in ~/.config/kluis/login.json. "
             "The secret itself is never copied. The environment (KLUIS_URL and so on) overrides "
             "what is noted.",
     .example =
         "kluis login --url https://kluis.example.org:8443 --ca /etc/kluis/ca.pem \\\n"
         "    --tenant 11111111-2222-3333-4444-555555555555 \\\n"
         "    --client-id 66666666-7777-8888-9999-000000000000 --secret-file ~/.kluis-secret",
     .options = login_options,
     .option_count = KL_COUNT(login_options),
     .lists = true,
     .remote = true,
     .run = run_login},
    {.verb = "logout",
     .summary = "forget what login noted",
     .text = "Remove ~/.config/kluis/login.json. The secret's file stays.",
     .example = "kluis logout",
     .run = run_logout},
    {.verb = "whoami",
     .summary = "show who the service thinks you are",
     .text = "Log in and show your name, ids and roles. A quick check that the service is there "
             "and your credentials are good.",
     .example = "kluis whoami -o table",
     .lists = true,
     .remote = true,
     .run = run_whoami},
    {.verb = "completion",
     .summary = "print the completion script for bash",
     .text = "Print a script that completes nouns, verbs, options and their words in bash.",
     .example = "kluis completion bash > /etc/bash_completion.d/kluis\n"
                "source <(kluis completion bash)   # for this shell only",
     .positional = "bash",
     .positional_min = 1,
     .positional_max = 1,
     .run = run_completion},
    {.verb = "reference",
     .summary = "print the reference of all commands",
     .text = "Print every command with its options, as Markdown or as a man page.",
     .example = "kluis reference man | man -l -",
     .positional = "markdown|man",
     .positional_min = 1,
     .positional_max = 1,
     .run = run_reference},
    {.verb = "version",
     .summary = "print the version",
     .text = "Print the version of this program.",
     .example = "kluis version",
     .run = run_version},
};

const struct kl_noun kl_noun_self = {
    .summary = "kluis itself",
    .commands = commands,
    .command_count = KL_COUNT(commands),
};
