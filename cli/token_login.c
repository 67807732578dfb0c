/* kluis token login: hands a PIN to a token that waits for one (pin-source = prompt). */
#include "base/prompt.h"
#include "cli/cmd_token.h"
#include "cli/out.h"
#include "wrap/vault_client.h"

#include <string.h>
#include <unistd.h>

#define PIN_MAX 255 /* bytes; the service's limit */

const struct kl_option kl_cmd_token_login_options[KL_TOKEN_LOGIN_OPTIONS] = {
    {.name = "name",
     .letter = 'n',
     .argument = "TOKEN",
     .required = true,
     .help = "The token's name in the service's configuration."},
    {.name = "pin-file",
     .argument = "FILE",
     .help =
         "Holds the PIN in one line; - is standard input. Without it, and without --pin-fd, the "
         "PIN is asked for at the terminal and not shown.",
     .complete = KL_COMPLETE_FILE},
    {.name = "pin-fd",
     .argument = "N",
     .help = "An open file descriptor that the PIN is read from, for use in scripts."},
};

static const struct kl_column columns[] = {
    {"Name", "name", KL_COLUMN_TEXT},
    {"State", "state", KL_COLUMN_TEXT},
    {"Text", "text", KL_COLUMN_TEXT},
};

static enum kl_code read_pin(const struct kl_cmd *cmd, const char *name, struct kl_secret **ret,
                             struct kl_err *err)
{
    const char *file = kl_cmd_value(cmd, "pin-file");
    char words[160];
    int64_t fd = -1;
    enum kl_code code = kl_cmd_int(cmd, "pin-fd", 0, 65535, &fd, err);

    if (code != KL_OK)
        return code;
    if (file != NULL && fd >= 0)
        return kl_fail(err, KL_USAGE, NULL, "give --pin-file or --pin-fd, not both");
    if (file != NULL && strcmp(file, "-") == 0)
        fd = STDIN_FILENO;
    if (fd >= 0)
        return kl_secret_read_fd((int)fd, "the PIN's descriptor", PIN_MAX, ret, err);
    if (file != NULL)
        return kl_secret_read_file(file, PIN_MAX, ret, err);
    (void)snprintf(words, sizeof(words), "PIN of token %s: ", name);
    return kl_prompt_secret(words, PIN_MAX, ret, err);
}

enum kl_code kl_cmd_token_login(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *name = kl_cmd_value(cmd, "name");
    struct kl_vault_client *client = NULL;
    KL_AUTO(secret) pin = NULL;
    KL_AUTO(json) answer = NULL;
    enum kl_code code;

    if (name[0] == '\0' || strpbrk(name, "/?#%") != NULL)
        return kl_fail(err, KL_USAGE, NULL, "'%.60s' is no name of a token", name);
    code = kl_cmd_client(cmd, &client, err);
    if (code == KL_OK)
        code = read_pin(cmd, name, &pin, err);
    if (code == KL_OK)
        code = kl_vault_token_login(client, name, pin, &answer, err);
    return code == KL_OK ? kl_out_show(cmd, answer, columns, KL_COUNT(columns), err) : code;
}
