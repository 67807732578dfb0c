/* kluis dev: a whole site in one folder, for trying kluis and for tests. */
#include "cli/dev_site.h"
#include "cli/out.h"
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Everything up to the running service; each step knows what was done before. */
static enum kl_code raise_site(struct kl_dev_site *s, struct kl_err *err)
{
    static enum kl_code (*const steps[])(struct kl_dev_site *, struct kl_err *) = {
        kl_dev_make_token, kl_dev_make_certificates, kl_dev_make_config, kl_dev_bootstrap,
        kl_dev_start};
    enum kl_code code = KL_OK;

    for (size_t i = 0; i < KL_COUNT(steps) && code == KL_OK; i++)
        code = steps[i](s, err);
    return code;
}

static enum kl_code check_token_options(const struct kl_dev_token *t, struct kl_err *err)
{
    bool any = t->module != NULL || t->uri != NULL || t->pin_file != NULL || t->so_pin_file != NULL;

    if (t->module != NULL && t->init_args != NULL && strpbrk(t->init_args, "\r\n") != NULL)
        return kl_fail(err, KL_USAGE, NULL, "the module's initialisation string has several lines");
    if (any && t->count > 1)
        return kl_fail(err, KL_USAGE, NULL, "--tokens is for SoftHSM tokens of the site's own");
    if (any && (t->module == NULL || t->uri == NULL || t->pin_file == NULL))
        return kl_fail(err, KL_USAGE, NULL,
                       "--pkcs11-module, --pkcs11-uri and --pin-file go together");
    return KL_OK;
}

static enum kl_code run_up(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *init_args = kl_cmd_value(cmd, "pkcs11-init-args");
    struct kl_dev_token token = {.module = kl_cmd_value(cmd, "pkcs11-module"),
                                 .uri = kl_cmd_value(cmd, "pkcs11-uri"),
                                 .pin_file = kl_cmd_value(cmd, "pin-file"),
                                 .store_dir = kl_cmd_value(cmd, "pkcs11-store-dir"),
                                 .so_pin_file = kl_cmd_value(cmd, "so-pin-file"),
                                 .init_args =
                                     init_args != NULL ? init_args : getenv("PKCS11_INIT_ARGS")};
    KL_AUTO(dev_site) site = NULL;
    char line[4200];
    int64_t port = 0;
    bool running = false;
    enum kl_code code = kl_cmd_int(cmd, "port", 1, 65535, &port, err);

    if (code == KL_OK)
        code = kl_cmd_int(cmd, "tokens", 1, KL_DEV_TOKENS_MAX, &token.count, err);
    if (code == KL_OK)
        code = check_token_options(&token, err);
    if (code == KL_OK)
        code = kl_dev_site_open(kl_cmd_value(cmd, "dir"), true, &site, err);
    if (code == KL_OK)
        code = kl_dev_site_settle(site, port, &token, err);
    if (code != KL_OK)
        return code;
    running = kl_dev_running(site) != 0 && site->client_id != NULL;
    code = running ? kl_dev_start(site, err) : raise_site(site, err);
    if (code == KL_OK)
        code = kl_dev_write_env(site, err);
    if (code == KL_OK)
        code = kl_dev_make_vaults(site, err);
    if (code != KL_OK)
        return code;
    if (running)
        kl_dev_say(site, "the site runs already, at https://localhost:%lld", (long long)site->port);
    kl_dev_say(site, "now: . %s/env", site->dir);
    int n = snprintf(line, sizeof(line), "%s/env\n", site->dir);

    return kl_out_bytes(line, n > 0 && (size_t)n < sizeof(line) ? (size_t)n : 0, err);
}

static enum kl_code run_down(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(dev_site) site = NULL;
    enum kl_code code = kl_dev_site_open(kl_cmd_value(cmd, "dir"), false, &site, err);

    return code == KL_OK ? kl_dev_stop(site, err) : code;
}

#define DIR_ROW(what)                                                                              \
    {                                                                                              \
        .name = "dir", .argument = "DIR", .required = true, .help = what,                          \
        .complete = KL_COMPLETE_FOLDER                                                             \
    }

static const struct kl_option up_options[] = {
    DIR_ROW(
        "The site's folder, made when it is not there. Everything is in it, nothing elsewhere."),
    {.name = "port",
     .argument = "PORT",
     .help = "The port of the service on this host. Without it, a free one from 8443 on. Kept for "
             "the site's life."},
    {.name = "tokens",
     .argument = "N",
     .help =
         "Make N SoftHSM tokens (1 to 8) with a common domain key, named main, second, third …; "
         "'kluis vault create --token main,second' then makes a vault whose keys are on both. "
         "One without it. Kept for the site's life."},
    {.name = "pkcs11-module",
     .argument = "FILE",
     .help = "Use a given token in place of a SoftHSM one: its PKCS#11 module.",
     .complete = KL_COMPLETE_FILE},
    {.name = "pkcs11-uri",
     .argument = "URI",
     .help = "Which token of the module, as pkcs11:token=LABEL."},
    {.name = "pkcs11-init-args",
     .argument = "TEXT",
     .help =
         "String that the module wants at C_Initialize (pReserved), where it wants one. Without "
         "it, $PKCS11_INIT_ARGS."},
    {.name = "pkcs11-store-dir",
     .argument = "DIR",
     .help = "Folder where a given software token keeps its objects: new keys are synced to disk "
             "there, for modules that do not do that themselves.",
     .complete = KL_COMPLETE_FOLDER},
    {.name = "pin-file",
     .argument = "FILE",
     .help = "Holds the token's user PIN.",
     .complete = KL_COMPLETE_FILE},
    {.name = "so-pin-file",
     .argument = "FILE",
     .help = "Holds the security officer's PIN: make the domain key that key backups need.",
     .complete = KL_COMPLETE_FILE},
};

static const struct kl_option down_options[] = {DIR_ROW("The site's folder.")};

static const struct kl_command commands[] = {
    {.verb = "up",
     .summary = "make or reopen a site in a folder, and start it",
     .text = "Make a whole kluis site in one folder: a SoftHSM token, a CA and a server "
             "certificate, a configuration, a database, an administrator, two vaults (demo, and "
             "safe with purge protection) and the running service. Called again, it starts what "
             "is there; on a running site it says so. It returns when the service is ready, and "
             "prints the path of a file to source.\n\nFor trying and testing. A SoftHSM token "
             "keeps its keys in files: it protects nothing from this machine's root.",
     .example = "kluis dev up --dir ~/kluis-site\n. ~/kluis-site/env\n"
                "kluis key create --name first-kek",
     .options = up_options,
     .option_count = KL_COUNT(up_options),
     .run = run_up},
    {.verb = "down",
     .summary = "stop a site; its data stays",
     .text = "Stop the daemons of a site: first politely, after ten seconds by force. The folder "
             "stays as it is; 'kluis dev up' starts it again.",
     .example = "kluis dev down --dir ~/kluis-site",
     .options = down_options,
     .option_count = KL_COUNT(down_options),
     .run = run_down},
};

const struct kl_noun kl_noun_dev = {
    .name = "dev",
    .summary = "a whole site in one folder, for trying and testing",
    .text = "A site with token, service, database and credentials, in one folder and for one user. "
            "Nothing is installed and nothing is left behind when the folder is removed.",
    .commands = commands,
    .command_count = KL_COUNT(commands),
};
