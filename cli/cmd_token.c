/* kluis token: the tokens behind the service, as it sees them, and the ceremony that makes a domain
 * key. */
#include "base/conf.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/process.h"
#include "cli/table.h"
#include "cli/target.h"

#include <stdlib.h>
#include <string.h>

#define TOKENS "/kluis/v1/tokens"

static const struct kl_column list_columns[] = {
    {"Name", "name", KL_COLUMN_TEXT},         {"State", "state", KL_COLUMN_TEXT},
    {"LastOk", "lastOk", KL_COLUMN_TIME},     {"Calls", "calls", KL_COLUMN_TEXT},
    {"Failures", "failures", KL_COLUMN_TEXT}, {"Restarts", "restarts", KL_COLUMN_TEXT},
    {"Model", "model", KL_COLUMN_TEXT},       {"Text", "text", KL_COLUMN_TEXT},
};

static const struct kl_column show_columns[] = {
    {"Name", "name", KL_COLUMN_TEXT},
    {"State", "state", KL_COLUMN_TEXT},
    {"Text", "text", KL_COLUMN_TEXT},
    {"Circuit", "circuit", KL_COLUMN_TEXT},
    {"LastOk", "lastOk", KL_COLUMN_TIME},
    {"LastCanary", "lastCanary", KL_COLUMN_TIME},
    {"LastCopy", "lastCopy", KL_COLUMN_TIME},
    {"Generation", "generation", KL_COLUMN_TEXT},
    {"Calls", "calls", KL_COLUMN_TEXT},
    {"Failures", "failures", KL_COLUMN_TEXT},
    {"Restarts", "restarts", KL_COLUMN_TEXT},
    {"Label", "label", KL_COLUMN_TEXT},
    {"Manufacturer", "manufacturer", KL_COLUMN_TEXT},
    {"Model", "model", KL_COLUMN_TEXT},
    {"Serial", "serial", KL_COLUMN_TEXT},
    {"Firmware", "firmware", KL_COLUMN_TEXT},
    {"Algorithms", "algorithms", KL_COLUMN_LIST},
    {"Native", "native", KL_COLUMN_LIST},
    {"RsaBits", "rsaBits", KL_COLUMN_LIST},
    {"Curves", "curves", KL_COLUMN_LIST},
    {"DomainWrap", "domainWrap", KL_COLUMN_TEXT},
    {"Mac", "mac", KL_COLUMN_TEXT},
};

static enum kl_code run_list(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(json) list = NULL;
    enum kl_code code = kl_target_list(cmd, TOKENS, &list, err);

    return code == KL_OK ? kl_out_list(cmd, list, list_columns, KL_COUNT(list_columns), err) : code;
}

static enum kl_code run_show(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *name = kl_cmd_value(cmd, "name");
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) answer = NULL;
    enum kl_code code = KL_OK;

    if (name[0] == '\0' || strpbrk(name, "/?#%") != NULL)
        return kl_fail(err, KL_USAGE, NULL, "'%.60s' is no name of a token", name);
    code = kl_target_format(&url, err, TOKENS "/%s", name);
    if (code == KL_OK)
        code = kl_target_call(cmd, "GET", url, NULL, &answer, err);
    return code == KL_OK ? kl_out_show(cmd, answer, show_columns, KL_COUNT(show_columns), err)
                         : code;
}

/* An option's value, else that key of the [token …] section of the configuration; malloc'd. */
static enum kl_code value_or_conf(const struct kl_cmd *cmd, const char *option, const char *key,
                                  bool path, char **ret, struct kl_err *err)
{
    const char *given = kl_cmd_value(cmd, option);
    const char *config = getenv("KLUIS_CONFIG");
    enum kl_code code;

    if (given != NULL)
        return kl_target_format(ret, err, "%s", given);
    if (config == NULL)
        return kl_fail(err, KL_USAGE, NULL, "--%s is missing, and KLUIS_CONFIG names no file",
                       option);
    code = kl_conf_lookup(config, "token", key, path, ret, err);
    if (code == KL_NOT_FOUND)
        code = kl_fail(err, KL_USAGE, NULL, "--%s is missing, and %s has no %s for a token", option,
                       config, key);
    return code;
}

/* The user PIN's file: a pin-source that is a descriptor or a credential exists only inside the
 * service. */
static enum kl_code pin_file(const struct kl_cmd *cmd, char **ret, struct kl_err *err)
{
    KL_AUTO(char) raw = NULL;
    enum kl_code code = value_or_conf(cmd, "pin-file", "pin-source", false, &raw, err);

    if (code != KL_OK)
        return code;
    if (kl_cmd_value(cmd, "pin-file") == NULL &&
        (strncmp(raw, "fd:", 3) == 0 || strncmp(raw, "credential:", 11) == 0))
        return kl_fail(err, KL_USAGE, NULL,
                       "--pin-file is missing: the configuration's %s can be "
                       "read by the service only",
                       raw);
    return value_or_conf(cmd, "pin-file", "pin-source", true, ret, err);
}

/* What only some tokens need: the option, else the configuration's where the module comes from
 * there too, else "". */
static enum kl_code value_or_none(const struct kl_cmd *cmd, const char *option, bool path,
                                  char **ret, struct kl_err *err)
{
    const char *given = kl_cmd_value(cmd, option);
    const char *config = getenv("KLUIS_CONFIG");
    enum kl_code code = KL_NOT_FOUND;

    if (given == NULL && kl_cmd_value(cmd, "module") == NULL && config != NULL)
        code = kl_conf_lookup(config, "token", option, path, ret, err);
    return code == KL_NOT_FOUND ? kl_target_format(ret, err, "%s", given != NULL ? given : "")
                                : code;
}

static enum kl_code run_domain_key(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *const *words;
    KL_AUTO(char) program = NULL;
    KL_AUTO(char) module = NULL;
    KL_AUTO(char) uri = NULL;
    KL_AUTO(char) pin = NULL;
    KL_AUTO(char) init_args = NULL;
    KL_AUTO(char) store_dir = NULL;
    int status = 0;
    enum kl_code code = KL_OK;

    (void)kl_cmd_positionals(cmd, &words);
    if (strcmp(words[0], "create") != 0)
        code =
            kl_fail(err, KL_USAGE, NULL, "the only word here is 'create', not '%.40s'", words[0]);
    if (code == KL_OK)
        code = kl_process_beside("kluis-tokend", &program, err);
    if (code == KL_OK)
        code = value_or_conf(cmd, "module", "module", true, &module, err);
    if (code == KL_OK)
        code = value_or_conf(cmd, "uri", "uri", false, &uri, err);
    if (code == KL_OK)
        code = pin_file(cmd, &pin, err);
    if (code == KL_OK)
        code = value_or_none(cmd, "init-args", false, &init_args, err);
    if (code == KL_OK)
        code = value_or_none(cmd, "store-dir", true, &store_dir, err);
    if (code != KL_OK)
        return code;
    char *argv[] = {program,
                    (char[]){"domain-key"},
                    (char[]){"create"},
                    (char[]){"--module"},
                    module,
                    (char[]){"--uri"},
                    uri,
                    (char[]){"--so-pin-file"},
                    (char *)(uintptr_t)kl_cmd_value(cmd, "so-pin-file"),
                    (char[]){"--pin-file"},
                    pin,
                    (char[]){"--init-args"},
                    init_args,
                    (char[]){"--store-dir"},
                    store_dir,
                    NULL};

    code = kl_process_run(argv, NULL, &status, err);
    if (code == KL_OK && status == KL_EXIT_REFUSED)
        code = kl_fail(err, KL_EXISTS, NULL, "the token has a domain key already, and keeps it");
    if (code == KL_OK && status != 0)
        code = kl_fail(err, KL_IO, "kluis-tokend", "the ceremony failed, see the lines above");
    if (code == KL_OK)
        kl_cmd_say("The token has its domain key. Restart kluisd, so that its next probe sees it.");
    return code;
}

static const struct kl_option show_options[] = {
    {.name = "name",
     .letter = 'n',
     .argument = "TOKEN",
     .required = true,
     .help = "The token's name in the service's configuration."},
};

static const struct kl_option domain_options[] = {
    {.name = "so-pin-file",
     .argument = "FILE",
     .required = true,
     .help = "Holds the security officer's PIN.",
     .complete = KL_COMPLETE_FILE},
    {.name = "pin-file",
     .argument = "FILE",
     .help = "Holds the user PIN. Without it, the pin-source of the configuration.",
     .complete = KL_COMPLETE_FILE},
    {.name = "module",
     .argument = "FILE",
     .help = "The PKCS#11 module. Without it, the first token's of the file that KLUIS_CONFIG "
             "names.",
     .complete = KL_COMPLETE_FILE},
    {.name = "uri",
     .argument = "URI",
     .help = "The token, as pkcs11:token=LABEL. Without it, as --module."},
    {.name = "init-args",
     .argument = "TEXT",
     .help = "String for C_Initialize, for a module that wants one. Without it, as --module."},
    {.name = "store-dir",
     .argument = "DIR",
     .help = "Folder of a software token's store, which is synced. Without it, as --module.",
     .complete = KL_COMPLETE_FOLDER},
};

static const struct kl_command commands[] = {
    {.verb = "list",
     .summary = "list the tokens and their health",
     .text = "List the tokens behind the service: their state, when they last answered, how often "
             "they were called, failed and were restarted. Needs the role administrator or "
             "auditor.",
     .example = "kluis token list -o table",
     .lists = true,
     .remote = true,
     .run = run_list},
    {.verb = "show",
     .summary = "show what a token is and can do",
     .text = "Show one token: what it calls itself, and which algorithms, key sizes and curves it "
             "proved to master when it was last probed. Native are those that it does itself; "
             "the others are completed in software around its raw operation.",
     .example = "kluis token show --name main",
     .options = show_options,
     .option_count = KL_COUNT(show_options),
     .lists = true,
     .remote = true,
     .run = run_show},
    {.verb = "domain-key",
     .summary = "make the domain key that key backups are sealed under",
     .text = "Make the token's domain key, once in its life ('kluis token domain-key create'). "
             "Vaults of the profile domain-backed need it: private keys leave the token only "
             "wrapped by it. The security officer makes it, on the machine of the token, with the "
             "service stopped or before its first start. The PINs are read from files and never "
             "shown.",
     .example = "KLUIS_CONFIG=/etc/kluis/kluis.conf kluis token domain-key create \\\n"
                "    --so-pin-file /root/so-pin",
     .options = domain_options,
     .option_count = KL_COUNT(domain_options),
     .positional = "create",
     .positional_min = 1,
     .positional_max = 1,
     .run = run_domain_key},
};

const struct kl_noun kl_noun_token = {
    .name = "token",
    .summary = "the tokens behind the service: health, abilities, domain key",
    .text =
        "A token is an HSM, or its software stand-in, reached through its PKCS#11 module. Every "
        "key of the service lives on one.",
    .commands = commands,
    .command_count = KL_COUNT(commands),
};
