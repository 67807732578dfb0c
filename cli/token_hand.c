#include "cli/token_hand.h"

#include "base/conf.h"
#include "base/io.h"
#include "cli/process.h"
#include "cli/target.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_MAX = 1 << 20 };

void kl_hand_done(struct kl_hand *h)
{
    for (size_t i = 0; i < h->count; i++)
        free(h->words[i]);
    *h = (struct kl_hand){.count = 0};
}

enum kl_code kl_hand_add(struct kl_hand *h, const char *word, struct kl_err *err)
{
    if (h->count == KL_HAND_WORDS)
        return kl_fail(err, KL_USAGE, NULL, "too many words");
    enum kl_code code = kl_target_format(&h->words[h->count], err, "%s", word);

    h->count += code == KL_OK;
    return code;
}

enum kl_code kl_hand_option(struct kl_hand *h, const char *option, const char *value,
                            struct kl_err *err)
{
    if (value == NULL || *value == '\0')
        return KL_OK;
    enum kl_code code = kl_hand_add(h, option, err);

    return code == KL_OK ? kl_hand_add(h, value, err) : code;
}

enum kl_code kl_hand_begin(struct kl_hand *h, const char *verb, const char *second,
                           struct kl_err *err)
{
    KL_AUTO(char) program = NULL;
    enum kl_code code = kl_process_beside("kluis-tokend", &program, err);

    if (code == KL_OK)
        code = kl_hand_add(h, program, err);
    if (code == KL_OK)
        code = kl_hand_add(h, verb, err);
    return code == KL_OK && second != NULL ? kl_hand_add(h, second, err) : code;
}

/* An option of ours, the one of kluis-tokend, and the key of a [token …] section. */
static const struct row {
    const char *ours, *theirs, *key;
    bool path, required;
} rows[] = {
    {"pkcs11-module", "--module", "module", true, true},
    {"pkcs11-uri", "--uri", "uri", false, true},
    {"pkcs11-init-args", "--init-args", "init-args", false, false},
    {"pkcs11-store-dir", "--store-dir", "store-dir", true, false},
};

/* Where the module is given, nothing of the configuration belongs to it. */
static enum kl_code add_row(struct kl_cmd *cmd, struct kl_hand *h, const struct row *row,
                            const char *config, struct kl_err *err)
{
    const char *given = kl_cmd_value(cmd, row->ours);
    KL_AUTO(char) found = NULL;
    enum kl_code code = KL_NOT_FOUND;

    if (given != NULL)
        return kl_hand_option(h, row->theirs, given, err);
    if (config != NULL)
        code = kl_conf_lookup(config, "token", row->key, row->path, &found, err);
    if (code == KL_OK)
        return kl_hand_option(h, row->theirs, found, err);
    if (code == KL_NOT_FOUND && row->required)
        return config == NULL
                   ? kl_fail(err, KL_USAGE, NULL, "--%s is missing, and KLUIS_CONFIG names no file",
                             row->ours)
                   : kl_fail(err, KL_USAGE, NULL, "--%s is missing, and %s has no %s for a token",
                             row->ours, config, row->key);
    return code == KL_NOT_FOUND ? KL_OK : code;
}

/* A pin-source that is a descriptor, a credential or a prompt exists only inside the service: then
 * kluis-tokend asks. */
static enum kl_code add_pin(struct kl_cmd *cmd, struct kl_hand *h, const char *config,
                            struct kl_err *err)
{
    const char *given = kl_cmd_value(cmd, "pin-file");
    KL_AUTO(char) raw = NULL;
    KL_AUTO(char) path = NULL;
    enum kl_code code = KL_NOT_FOUND;

    if (given != NULL)
        return kl_hand_option(h, "--pin-file", given, err);
    if (config != NULL)
        code = kl_conf_lookup(config, "token", "pin-source", false, &raw, err);
    if (code == KL_OK &&
        (strchr(raw, ':') != NULL || strcmp(raw, "prompt") == 0 || strcmp(raw, "protected") == 0))
        return KL_OK;
    if (code == KL_OK)
        code = kl_conf_lookup(config, "token", "pin-source", true, &path, err);
    return code == KL_OK          ? kl_hand_option(h, "--pin-file", path, err)
           : code == KL_NOT_FOUND ? KL_OK
                                  : code;
}

/* Where a refused PIN is remembered, so that the same one is not sent by the next run. */
static enum kl_code add_state(struct kl_hand *h, struct kl_err *err)
{
    const char *home = getenv("HOME"), *state = getenv("XDG_STATE_HOME");
    KL_AUTO(char) folder = NULL;
    enum kl_code code = KL_OK;

    if (state != NULL && *state == '/')
        code = kl_target_format(&folder, err, "%s/kluis", state);
    else if (home != NULL && *home == '/')
        code = kl_target_format(&folder, err, "%s/.local/state/kluis", home);
    else
        return KL_OK;
    if (code == KL_OK && kl_io_make_dirs(folder, 0700, NULL) != KL_OK)
        return KL_OK; /* a home that cannot be written is no reason against a ceremony */
    return code == KL_OK ? kl_hand_option(h, "--state-dir", folder, err) : code;
}

enum kl_code kl_hand_token(struct kl_cmd *cmd, struct kl_hand *h, bool with_so, struct kl_err *err)
{
    const char *config = kl_cmd_value(cmd, "pkcs11-module") == NULL ? getenv("KLUIS_CONFIG") : NULL;
    enum kl_code code = KL_OK;

    for (size_t i = 0; code == KL_OK && i < KL_COUNT(rows); i++)
        code = add_row(cmd, h, &rows[i], config, err);
    if (code == KL_OK)
        code = add_pin(cmd, h, config, err);
    if (code == KL_OK && with_so)
        code = kl_hand_option(h, "--so-pin-file", kl_cmd_value(cmd, "so-pin-file"), err);
    return code == KL_OK ? add_state(h, err) : code;
}

/* Exit statuses of kluis-tokend (pkcs11/README.md). */
static const struct {
    int status;
    enum kl_code code;
    const char *text;
} refusals[] = {
    {2, KL_USAGE, "kluis-tokend does not take these options together"},
    {4, KL_EXISTS, "the token has such a domain key already, and keeps it"},
    {5, KL_TOKEN_UNSUPPORTED, "the token cannot do this"},
    {6, KL_TOKEN_PIN, "the token refused a PIN; it was sent once"},
    {7, KL_CONFLICT, "not done, see the line above"},
    {8, KL_NOT_FOUND, "not found, see the line above"},
    {9, KL_TOKEN_READBACK, "the token is unfit for kluis: see the rows marked unfit"},
};

static enum kl_code code_of(int status, struct kl_err *err)
{
    if (status == 0)
        return KL_OK;
    for (size_t i = 0; i < KL_COUNT(refusals); i++)
        if (refusals[i].status == status)
            return kl_fail(err, refusals[i].code, "kluis-tokend", "%s", refusals[i].text);
    return kl_fail(err, KL_IO, "kluis-tokend", "kluis-tokend failed, see the line above");
}

enum kl_code kl_hand_run(struct kl_hand *h, json_t **ret, struct kl_err *err)
{
    struct kl_buf out = KL_BUF_INIT(ANSWER_MAX);
    KL_AUTO(json) answer = NULL;
    int status = 0;
    void (*before)(int) = signal(SIGINT, SIG_IGN); /* it cleans up, and then we say so */
    enum kl_code code = kl_process_run(h->words, &out, &status, err);

    (void)signal(SIGINT, before);
    if (code == KL_OK)
        code = code_of(status, err);
    if (ret != NULL && (code == KL_OK || code == KL_TOKEN_READBACK)) {
        struct kl_err parsed;
        enum kl_code got = kl_json_parse(kl_buf_text(&out), out.len, &answer, &parsed);

        if (got == KL_OK)
            *ret = kl_take(answer);
        else if (code == KL_OK)
            code = kl_fail(err, KL_CORRUPT, "kluis-tokend", "its answer is no JSON");
    }
    kl_buf_done(&out);
    return code;
}
