/* kluis token: the tokens behind the service, as it sees them, and the ceremony that makes a domain
 * key. */
#include "base/conf.h"
#include "cli/cmd_token.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/process.h"
#include "cli/table.h"
#include "cli/target.h"

#include <stdlib.h>
#include <string.h>

static const struct kl_column list_columns[] = {
    {"Name", "name", KL_COLUMN_TEXT},         {"State", "state", KL_COLUMN_TEXT},
    {"LastOk", "lastOk", KL_COLUMN_SEEN},     {"Calls", "calls", KL_COLUMN_TEXT},
    {"Failures", "failures", KL_COLUMN_TEXT}, {"Restarts", "restarts", KL_COLUMN_TEXT},
    {"Model", "model", KL_COLUMN_TEXT},       {"Text", "text", KL_COLUMN_TEXT},
};

static const struct kl_column show_columns[] = {
    {"Name", "name", KL_COLUMN_TEXT},
    {"State", "state", KL_COLUMN_TEXT},
    {"Text", "text", KL_COLUMN_TEXT},
    {"Circuit", "circuit", KL_COLUMN_TEXT},
    {"LastOk", "lastOk", KL_COLUMN_SEEN},
    {"LastCanary", "lastCanary", KL_COLUMN_SEEN},
    {"LastCopy", "lastCopy", KL_COLUMN_SEEN},
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
    enum kl_code code = kl_target_list(cmd, KL_TOKENS_PATH, &list, err);

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
    code = kl_target_format(&url, err, KL_TOKENS_PATH "/%s", name);
    if (code == KL_OK)
        code = kl_target_call(cmd, "GET", url, NULL, &answer, err);
    return code == KL_OK ? kl_out_show(cmd, answer, show_columns, KL_COUNT(show_columns), err)
                         : code;
}

static const struct kl_option show_options[] = {
    {.name = "name",
     .letter = 'n',
     .argument = "TOKEN",
     .required = true,
     .help = "The token's name in the service's configuration."},
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
    {.verb = "login",
     .summary = "hand its PIN to a token that waits for one",
     .text =
         "A token with 'pin-source = prompt' waits for its PIN each time its worker starts. "
         "This sends the PIN to the service, which passes it to the token's worker and keeps "
         "no copy, and waits for what comes of it. The PIN is read from the terminal without an "
         "echo, from a file or from a descriptor; it is never an argument. It is sent with the "
         "client's own credentials, as the token that waits may be the one that signs access "
         "tokens. Needs the role administrator. A refused PIN is not sent again.",
     .example = "kluis token login --name main",
     .options = kl_cmd_token_login_options,
     .option_count = KL_TOKEN_LOGIN_OPTIONS,
     .lists = true,
     .remote = true,
     .run = kl_cmd_token_login},
    {.verb = "test",
     .summary = "qualify a token: what it was asked, what it answered, what that means",
     .text =
         "Try out all that kluis does with a token and all that a holder of its PIN could do to "
         "it, and report on each probe. Verdict 'fit' or 'fit with limits' ends with exit code "
         "0, 'unfit' with 1, a refused PIN with 4.\n\n"
         "Safe on a token in production: the PIN is sent once, only session objects are made "
         "where the token has them (else token objects labelled kluis-test), and they are gone "
         "at the end, also after Ctrl-C; what a killed run left is removed by the next. No "
         "service needs to run.",
     .example = "kluis token test --pkcs11-module /usr/lib/vendor/libpkcs11.so \\\n"
                "    --pkcs11-uri pkcs11:token=trial --pin-file ./pin -o table",
     .options = kl_token_test_options,
     .option_count = KL_TOKEN_TEST_OPTIONS,
     .lists = true,
     .run = kl_token_test},
    {.verb = "bench",
     .summary = "measure decryptions a second by the number of workers",
     .text = "Decrypt under a session key with 1, 2, 4 … threads, and recommend a value for "
             "'workers' of the configuration. The load is what is asked for (after one second of "
             "warming up), but it is full load: mind who else uses the token.",
     .example = "KLUIS_CONFIG=/etc/kluis/kluis.conf kluis token bench --workers 32 -o table",
     .options = kl_token_bench_options,
     .option_count = KL_TOKEN_BENCH_OPTIONS,
     .lists = true,
     .run = kl_token_bench},
    {.verb = "domain-key",
     .summary = "the keys that key backups are sealed under: make, rotate, share, retire",
     .text =
         "Vaults of the profile domain-backed need a domain key: private keys leave the token "
         "only wrapped by it. The words:\n\n"
         "create: the first one, once in a token's life. Without --shares the token makes it and "
         "nobody can ever copy it; with --shares it is made outside, split into shares, and "
         "brought in: decide now whether a second site must open these backups.\n\n"
         "show: all of them, and how many keys have their newest backup under each.\n\n"
         "rotate: a new one for new backups; the old ones open old backups.\n\n"
         "reseal FILE…: bring backup files (folders are searched) under the current one; run it "
         "again after an interruption.\n\n"
         "retire: destroy an old one, when nothing that is known needs it.\n\n"
         "import-shares FILE…: make the first site's domain key on this token.\n\n"
         "export-shares FILE…: write a fresh set of shares from enough of an old one.\n\n"
         "create, rotate, retire and import-shares are the security officer's, on the machine of "
         "the token; the service may run. PINs are read by kluis-tokend from files or the "
         "terminal, and never shown.",
     .example = "KLUIS_CONFIG=/etc/kluis/kluis.conf kluis token domain-key create \\\n"
                "    --so-pin-file /root/so-pin --shares 3-of-5 --out-dir /media/usb\n"
                "kluis token domain-key show -o table",
     .options = kl_token_domain_options,
     .option_count = KL_TOKEN_DOMAIN_OPTIONS,
     .positional = "WORD [FILE…]",
     .positional_min = 1,
     .positional_max = 1000,
     .lists = true,
     .remote = true,
     .run = kl_token_domain_key},
};

const struct kl_noun kl_noun_token = {
    .name = "token",
    .summary = "the tokens behind the service: health, abilities, trials, domain keys",
    .text =
        "A token is an HSM, or its software stand-in, reached through its PKCS#11 module. Every "
        "key of the service lives on one.",
    .commands = commands,
    .command_count = KL_COUNT(commands),
};
