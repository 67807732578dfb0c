/* kluis token domain-key: ceremonies of kluis-tokend, and what the service knows of their effects.
 */
#include "cli/cmd_token.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/target.h"
#include "cli/token_hand.h"

#include <stdlib.h>
#include <string.h>

static const struct kl_column columns[] = {
    {"Id", "id", KL_COLUMN_TEXT},           {"Generation", "generation", KL_COLUMN_TEXT},
    {"Current", "current", KL_COLUMN_TEXT}, {"Made", "origin", KL_COLUMN_TEXT},
    {"Whole", "whole", KL_COLUMN_TEXT},     {"UnwrapTemplate", "unwrapTemplate", KL_COLUMN_TEXT},
    {"Backups", "backups", KL_COLUMN_TEXT},
};

/* The domain keys as the service sees them, with the number of backups that need each. */
static enum kl_code ask_service(struct kl_cmd *cmd, json_t **ret, struct kl_err *err)
{
    const char *name = kl_cmd_value(cmd, "name");
    KL_AUTO(json) tokens = NULL;
    KL_AUTO(char) url = NULL;
    enum kl_code code = KL_OK;

    if (name == NULL) {
        code = kl_target_list(cmd, KL_TOKENS_PATH, &tokens, err);
        name = json_string_value(json_object_get(json_array_get(tokens, 0), "name"));
        if (code == KL_OK && name == NULL)
            code = kl_fail(err, KL_NOT_FOUND, NULL, "the service has no token");
    }
    if (code == KL_OK && (name[0] == '\0' || strpbrk(name, "/?#%") != NULL))
        return kl_fail(err, KL_USAGE, NULL, "'%.60s' is no name of a token", name);
    if (code == KL_OK)
        code = kl_target_format(&url, err, KL_TOKENS_PATH "/%s/domain-keys", name);
    return code == KL_OK ? kl_target_list(cmd, url, ret, err) : code;
}

static bool asks_service(const struct kl_cmd *cmd)
{
    return kl_cmd_value(cmd, "pkcs11-module") == NULL && getenv("KLUIS_URL") != NULL;
}

static enum kl_code show_keys(struct kl_cmd *cmd, const json_t *answer, struct kl_err *err)
{
    return kl_out_list(cmd, json_object_get(answer, "domainKeys"), columns, KL_COUNT(columns), err);
}

static enum kl_code run_show(struct kl_cmd *cmd, const char *const *rest, size_t count,
                             struct kl_err *err)
{
    KL_AUTO_HAND hand = {.count = 0};
    KL_AUTO(json) answer = NULL;
    enum kl_code code = KL_OK;

    (void)rest, (void)count;
    if (asks_service(cmd)) {
        code = ask_service(cmd, &answer, err);
        return code == KL_OK ? kl_out_list(cmd, answer, columns, KL_COUNT(columns), err) : code;
    }
    code = kl_hand_begin(&hand, "domain-key", "show", err);
    if (code == KL_OK)
        code = kl_hand_token(cmd, &hand, false, err);
    if (code == KL_OK)
        code = kl_hand_run(&hand, &answer, err);
    return code == KL_OK ? show_keys(cmd, answer, err) : code;
}

static enum kl_code add_shares(struct kl_cmd *cmd, struct kl_hand *h, bool required,
                               struct kl_err *err)
{
    const char *shares = kl_cmd_value(cmd, "shares"), *dir = kl_cmd_value(cmd, "out-dir");

    if ((shares == NULL) != (dir == NULL) || (required && shares == NULL))
        return kl_fail(err, KL_USAGE, NULL,
                       "shares want both --shares M-of-N (as 3-of-5) and --out-dir DIR");
    enum kl_code code = kl_hand_option(h, "--shares", shares, err);

    return code == KL_OK ? kl_hand_option(h, "--out-dir", dir, err) : code;
}

static void say_shares(const json_t *answer, const struct kl_cmd *cmd)
{
    const json_t *shares = json_object_get(answer, "shares");
    size_t i;
    json_t *path;

    json_array_foreach(shares, i, path) kl_cmd_say("share written: %s", json_string_value(path));
    if (json_array_size(shares) > 0)
        kl_cmd_say("Any %.*s of them make the domain key again: give each to another person, then "
                   "remove the files here. Nobody can write them a second time without that many.",
                   (int)strspn(kl_cmd_value(cmd, "shares"), "0123456789"),
                   kl_cmd_value(cmd, "shares"));
}

/* create, rotate */
static enum kl_code make(struct kl_cmd *cmd, const char *verb, struct kl_err *err)
{
    KL_AUTO_HAND hand = {.count = 0};
    KL_AUTO(json) answer = NULL;
    enum kl_code code = kl_hand_begin(&hand, "domain-key", verb, err);

    if (code == KL_OK)
        code = add_shares(cmd, &hand, false, err);
    if (code == KL_OK)
        code = kl_hand_token(cmd, &hand, true, err);
    if (code == KL_OK)
        code = kl_hand_run(&hand, &answer, err);
    if (code == KL_OK)
        code = show_keys(cmd, answer, err);
    if (code != KL_OK)
        return code;
    say_shares(answer, cmd);
    if (kl_cmd_value(cmd, "shares") == NULL)
        kl_cmd_say("Made inside the token, which never lets it out: no second site can have it. "
                   "(--shares makes one that can be shared.)");
    return KL_OK;
}

static enum kl_code run_create(struct kl_cmd *cmd, const char *const *rest, size_t count,
                               struct kl_err *err)
{
    (void)rest, (void)count;
    enum kl_code code = make(cmd, "create", err);

    if (code == KL_OK)
        kl_cmd_say("A kluisd that is running sees it at its next start.");
    return code;
}

static enum kl_code run_rotate(struct kl_cmd *cmd, const char *const *rest, size_t count,
                               struct kl_err *err)
{
    (void)rest, (void)count;
    enum kl_code code = make(cmd, "rotate", err);

    if (code == KL_OK)
        kl_cmd_say("New backups are made under the new domain key from now on; the old one opens "
                   "old backups until it is retired. Bring backup files over with 'kluis token "
                   "domain-key reseal FILE…', or back the keys up again.");
    return code;
}

/* With files among the words: import-shares, export-shares. */
static enum kl_code add_files(struct kl_hand *h, const char *const *files, size_t count,
                              struct kl_err *err)
{
    enum kl_code code = KL_OK;

    for (size_t i = 0; code == KL_OK && i < count; i++)
        code = kl_hand_add(h, files[i], err);
    return code;
}

static enum kl_code run_import(struct kl_cmd *cmd, const char *const *files, size_t count,
                               struct kl_err *err)
{
    KL_AUTO_HAND hand = {.count = 0};
    KL_AUTO(json) answer = NULL;
    enum kl_code code = kl_hand_begin(&hand, "domain-key", "import-shares", err);

    if (code == KL_OK)
        code = kl_hand_token(cmd, &hand, true, err);
    if (code == KL_OK)
        code = add_files(&hand, files, count, err);
    if (code == KL_OK)
        code = kl_hand_run(&hand, &answer, err);
    if (code == KL_OK)
        code = show_keys(cmd, answer, err);
    if (code == KL_OK)
        kl_cmd_say("Backups of the first site open on this token now. A kluisd that is running "
                   "without a domain key sees it at its next start.");
    return code;
}

static enum kl_code run_export(struct kl_cmd *cmd, const char *const *files, size_t count,
                               struct kl_err *err)
{
    KL_AUTO_HAND hand = {.count = 0};
    KL_AUTO(json) answer = NULL;
    enum kl_code code = KL_OK;

    if (count == 0)
        return kl_fail(
            err, KL_USAGE, NULL,
            "no token lets a domain key out. Shares are written when it is made ('create' "
            "or 'rotate' with --shares M-of-N --out-dir DIR); to write a fresh set, name "
            "enough shares of the old one here");
    code = kl_hand_begin(&hand, "domain-key", "export-shares", err);
    if (code == KL_OK)
        code = add_shares(cmd, &hand, true, err);
    if (code == KL_OK)
        code = add_files(&hand, files, count, err);
    if (code == KL_OK)
        code = kl_hand_run(&hand, &answer, err);
    if (code != KL_OK)
        return code;
    say_shares(answer, cmd);
    kl_cmd_say("The old set opens the domain key as before: destroy its shares where they are.");
    return KL_OK;
}

/* How many known backups need the domain keys whose id begins so. */
static enum kl_code count_backups(struct kl_cmd *cmd, const char *id, json_int_t *ret,
                                  struct kl_err *err)
{
    KL_AUTO(json) keys = NULL;
    json_t *key;
    size_t i;
    enum kl_code code = ask_service(cmd, &keys, err);

    *ret = 0;
    json_array_foreach(keys, i, key)
    {
        const char *is = json_string_value(json_object_get(key, "id"));

        if (is != NULL && strncmp(is, id, strlen(id)) == 0)
            *ret += json_integer_value(json_object_get(key, "backups"));
    }
    return code;
}

static enum kl_code check_unneeded(struct kl_cmd *cmd, const char *id, struct kl_err *err)
{
    json_int_t needed = 0;
    enum kl_code code = KL_OK;

    if (kl_cmd_flag(cmd, "force"))
        return KL_OK;
    if (getenv("KLUIS_URL") == NULL)
        return kl_fail(
            err, KL_USAGE, NULL,
            "the service must be asked which backups need this domain key: set KLUIS_URL "
            "and log in, or say --force");
    code = count_backups(cmd, id, &needed, err);
    if (code == KL_OK && needed > 0)
        return kl_fail(
            err, KL_CONFLICT, NULL,
            "%lld keys or secrets have their newest backup under this domain key: bring it over with "
            "'kluis token domain-key reseal', or back them up again, or say --force",
            (long long)needed);
    return code;
}

static enum kl_code run_retire(struct kl_cmd *cmd, const char *const *rest, size_t count,
                               struct kl_err *err)
{
    const char *id = kl_cmd_value(cmd, "id");
    KL_AUTO_HAND hand = {.count = 0};
    KL_AUTO(json) answer = NULL;

    (void)rest, (void)count;
    if (id == NULL || strlen(id) < 8 || strspn(id, "0123456789abcdef") != strlen(id))
        return kl_fail(err, KL_USAGE, NULL,
                       "--id wants the domain key's id from 'domain-key show', 8 digits at least");
    enum kl_code code = check_unneeded(cmd, id, err);

    if (code == KL_OK)
        code = kl_cmd_confirm(cmd, id,
                              "Every backup under this domain key becomes worthless on this token, "
                              "for good.",
                              err);
    if (code == KL_OK)
        code = kl_hand_begin(&hand, "domain-key", "retire", err);
    if (code == KL_OK)
        code = kl_hand_option(&hand, "--id", id, err);
    if (code == KL_OK)
        code = kl_hand_token(cmd, &hand, true, err);
    if (code == KL_OK)
        code = kl_hand_run(&hand, &answer, err);
    return code == KL_OK ? show_keys(cmd, answer, err) : code;
}

static const struct {
    const char *word;
    bool files;
    enum kl_code (*run)(struct kl_cmd *cmd, const char *const *rest, size_t count,
                        struct kl_err *err);
} verbs[] = {
    {"create", false, run_create},       {"show", false, run_show},
    {"rotate", false, run_rotate},       {"retire", false, run_retire},
    {"export-shares", true, run_export}, {"import-shares", true, run_import},
    {"reseal", true, kl_token_reseal},
};

enum kl_code kl_token_domain_key(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *const *words;
    size_t count = kl_cmd_positionals(cmd, &words);

    for (size_t i = 0; i < KL_COUNT(verbs); i++) {
        if (strcmp(words[0], verbs[i].word) != 0)
            continue;
        if (!verbs[i].files && count > 1)
            return kl_fail(err, KL_USAGE, NULL, "'%s' takes no more words", words[0]);
        return verbs[i].run(cmd, words + 1, count - 1, err);
    }
    return kl_fail(
        err, KL_USAGE, NULL,
        "the words here are create, show, rotate, retire, export-shares, import-shares and "
        "reseal, not '%.40s'",
        words[0]);
}

const struct kl_option kl_token_domain_options[KL_TOKEN_DOMAIN_OPTIONS] = {
    KL_OPT_HAND_TOKEN,
    {.name = "so-pin-file",
     .argument = "FILE",
     .help = "Holds the security officer's PIN. Without it, it is asked for at the terminal.",
     .complete = KL_COMPLETE_FILE},
    {.name = "shares",
     .argument = "M-of-N",
     .help =
         "create, rotate: make a domain key of which N shares exist, any M of which make it again "
         "(as 3-of-5). export-shares: what the fresh set is to be."},
    {.name = "out-dir",
     .argument = "DIR",
     .help = "Folder for the shares, one file each, readable by you alone.",
     .complete = KL_COMPLETE_FOLDER},
    {.name = "id",
     .argument = "ID",
     .help = "retire: which one, as 'show' says; its beginning does."},
    {.name = "name",
     .letter = 'n',
     .argument = "TOKEN",
     .help = "show, retire: the token's name in the service. Without it, the first."},
    KL_OPT_VAULT_NAME,
    {.name = "force",
     .kind = KL_OPTION_FLAG,
     .help = "retire: although backups need it, or although the service cannot be asked."},
    KL_OPT_YES,
};
