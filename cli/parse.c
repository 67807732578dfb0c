#include "cli/command_parts.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const formats[] = {"json", "table", "tsv", NULL};

enum { STANDARD_OUTPUT, STANDARD_TIMEOUT, STANDARD_HELP };

const struct kl_option kl_standard_options[] = {
    [STANDARD_OUTPUT] = {.name = "output",
                         .letter = 'o',
                         .argument = "FORMAT",
                         .choices = formats,
                         .help = "json, table or tsv. A table at a terminal, JSON otherwise."},
    [STANDARD_TIMEOUT] = {.name = "timeout",
                          .argument = "DURATION",
                          .help = "Give up on an answer of the service after so long: 250ms, 30s, "
                                  "5m. 30s without it."},
    [STANDARD_HELP] = {.name = "help",
                       .letter = 'h',
                       .kind = KL_OPTION_FLAG,
                       .help = "Show this help."},
};
const size_t kl_standard_option_count = KL_COUNT(kl_standard_options);

static bool takes_standard(const struct kl_command *c, size_t index)
{
    return index == STANDARD_HELP || (index == STANDARD_OUTPUT && c->lists) ||
           (index == STANDARD_TIMEOUT && c->remote);
}

size_t kl_command_options(const struct kl_command *c)
{
    return c->option_count + kl_standard_option_count;
}

const struct kl_option *kl_command_option(const struct kl_command *c, size_t index)
{
    if (index < c->option_count)
        return &c->options[index];
    index -= c->option_count;
    return takes_standard(c, index) ? &kl_standard_options[index] : NULL;
}

/* ---- noun and verb ---- */

static const char *top_word(const void *arg, size_t i)
{
    (void)arg;
    for (size_t n = 0; n < kl_noun_count; n++) {
        const struct kl_noun *noun = kl_nouns[n];

        if (noun->name != NULL) {
            if (i-- == 0)
                return noun->name;
            continue;
        }
        if (i < noun->command_count)
            return noun->commands[i].hidden ? NULL : noun->commands[i].verb;
        i -= noun->command_count;
    }
    return NULL;
}

static size_t top_words(void)
{
    size_t count = 0;

    for (size_t n = 0; n < kl_noun_count; n++)
        count += kl_nouns[n]->name != NULL ? 1 : kl_nouns[n]->command_count;
    return count;
}

static const char *verb_word(const void *arg, size_t i)
{
    const struct kl_noun *noun = arg;

    return noun->commands[i].hidden ? NULL : noun->commands[i].verb;
}

static enum kl_code unknown_word(struct kl_err *err, const char *prefix, const char *what,
                                 const char *word, const char *near)
{
    if (near == NULL)
        return kl_fail(err, KL_USAGE, NULL, "there is no %s '%.60s'; see 'kluis%s --help'", what,
                       word, prefix);
    return kl_fail(err, KL_USAGE, NULL, "there is no %s '%.60s'; did you mean 'kluis%s %s'?", what,
                   word, prefix, near);
}

static const struct kl_command *find_verb(const struct kl_noun *noun, const char *word)
{
    for (size_t i = 0; i < noun->command_count; i++) {
        if (strcmp(noun->commands[i].verb, word) == 0)
            return &noun->commands[i];
    }
    return NULL;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

static const struct kl_noun *find_noun(const char *name)
{
    for (size_t n = 0; n < kl_noun_count; n++) {
        if (kl_nouns[n]->name != NULL && strcmp(kl_nouns[n]->name, name) == 0)
            return kl_nouns[n];
    }
    return NULL;
}

/* A verb that stands alone; below a leading "keyvault" also az's verbs of the vault itself
 * ("keyvault create"). */
static const struct kl_command *find_alone(const char *word, bool below_keyvault,
                                           const struct kl_noun **ret_noun)
{
    const struct kl_noun *vault = find_noun("vault");

    if (below_keyvault && vault != NULL && find_verb(vault, word) != NULL) {
        *ret_noun = vault;
        return find_verb(vault, word);
    }
    for (size_t n = 0; n < kl_noun_count; n++) {
        const struct kl_command *c =
            kl_nouns[n]->name == NULL ? find_verb(kl_nouns[n], word) : NULL;

        if (c != NULL) {
            *ret_noun = kl_nouns[n];
            return c;
        }
    }
    return NULL;
}

static enum kl_code find_in_noun(const struct kl_noun *noun, int argc, char *const *argv, int at,
                                 const struct kl_command **ret_command, int *ret_used,
                                 struct kl_err *err)
{
    if (at < argc && !is_help(argv[at])) {
        char prefix[32];

        *ret_command = find_verb(noun, argv[at]);
        snprintf(prefix, sizeof(prefix), " %s", noun->name);
        if (*ret_command == NULL)
            return unknown_word(err, prefix, "verb", argv[at],
                                kl_nearest(argv[at], verb_word, noun, noun->command_count));
        at++;
    }
    *ret_used = at;
    return KL_OK;
}

enum kl_code kl_command_find(int argc, char *const *argv, const struct kl_noun **ret_noun,
                             const struct kl_command **ret_command, int *ret_used,
                             struct kl_err *err)
{
    bool below_keyvault = argc > 0 && strcmp(argv[0], "keyvault") == 0;
    int at = below_keyvault ? 1 : 0;

    *ret_noun = NULL;
    *ret_command = NULL;
    *ret_used = at;
    if (at == argc || is_help(argv[at]))
        return KL_OK;
    *ret_noun = find_noun(argv[at]);
    if (*ret_noun != NULL)
        return find_in_noun(*ret_noun, argc, argv, at + 1, ret_command, ret_used, err);
    *ret_command = find_alone(argv[at], below_keyvault, ret_noun);
    if (*ret_command == NULL)
        return unknown_word(err, "", "command", argv[at],
                            kl_nearest(argv[at], top_word, NULL, top_words()));
    *ret_used = at + 1;
    return KL_OK;
}

/* ---- options ---- */

static enum kl_code out_of_memory(struct kl_err *err)
{
    return kl_fail(err, KL_NO_MEMORY, "parse", "out of memory");
}

static enum kl_code add_word(struct kl_given *g, const char *word, struct kl_err *err)
{
    const char **grown = realloc(g->words, (g->count + 1) * sizeof(*grown));

    if (grown == NULL)
        return out_of_memory(err);
    g->words = grown;
    g->words[g->count++] = word;
    return KL_OK;
}

/* The table's own spelling of a word, or KL_USAGE. */
static enum kl_code check_choice(const struct kl_option *o, const char **word, struct kl_err *err)
{
    char all[220];
    size_t n = 0;

    if (o->choices == NULL)
        return KL_OK;
    for (size_t i = 0; o->choices[i] != NULL; i++) {
        if (strcasecmp(o->choices[i], *word) == 0) {
            *word = o->choices[i];
            return KL_OK;
        }
        int wrote = snprintf(all + n, sizeof(all) - n, "%s%s", i > 0 ? ", " : "", o->choices[i]);

        if (wrote > 0 && n + (size_t)wrote < sizeof(all))
            n += (size_t)wrote;
    }
    all[n] = '\0';
    return kl_fail(err, KL_USAGE, NULL, "--%s takes %s, not '%.40s'", o->name, all, *word);
}

static enum kl_code take_word(struct kl_given *g, const struct kl_option *o, const char *word,
                              struct kl_err *err)
{
    enum kl_code code = check_choice(o, &word, err);

    return code == KL_OK ? add_word(g, word, err) : code;
}

/* A SET's word, parted at its commas. */
static enum kl_code take_set(struct kl_cmd *cmd, struct kl_given *g, const struct kl_option *o,
                             const char *word, struct kl_err *err)
{
    char **grown = realloc(cmd->owned, (cmd->owned_count + 1) * sizeof(*grown));
    enum kl_code code = KL_OK;
    char *copy, *rest = NULL;

    if (grown == NULL)
        return out_of_memory(err);
    cmd->owned = grown;
    copy = strdup(word);
    if (copy == NULL)
        return out_of_memory(err);
    cmd->owned[cmd->owned_count++] = copy;
    for (char *w = strtok_r(copy, ", ", &rest); w != NULL && code == KL_OK;
         w = strtok_r(NULL, ", ", &rest))
        code = take_word(g, o, w, err);
    return code;
}

struct words {
    int argc, at; /* argv[at] comes next */
    char *const *argv;
};

static bool looks_like_option(const char *word)
{
    return word[0] == '-' && word[1] != '\0';
}

static enum kl_code take_words(struct kl_cmd *cmd, struct kl_given *g, const struct kl_option *o,
                               const char *value, struct words *w, struct kl_err *err)
{
    enum kl_code code = KL_OK;
    bool attached = value != NULL;

    while (code == KL_OK && (value != NULL || (!attached && w->at < w->argc &&
                                               !looks_like_option(w->argv[w->at])))) {
        if (value == NULL)
            value = w->argv[w->at++];
        code = o->kind == KL_OPTION_SET ? take_set(cmd, g, o, value, err)
                                        : take_word(g, o, value, err);
        value = NULL;
    }
    return code;
}

static enum kl_code take_bool(struct kl_given *g, const struct kl_option *o, const char *value,
                              struct words *w, struct kl_err *err)
{
    bool next_is_one = w->at < w->argc && (strcasecmp(w->argv[w->at], "true") == 0 ||
                                           strcasecmp(w->argv[w->at], "false") == 0);

    if (value == NULL && next_is_one)
        value = w->argv[w->at++];
    if (value != NULL && strcasecmp(value, "true") != 0 && strcasecmp(value, "false") != 0)
        return kl_fail(err, KL_USAGE, NULL, "--%s is true or false, not '%.40s'", o->name, value);
    return add_word(g, value != NULL && strcasecmp(value, "false") == 0 ? "false" : "true", err);
}

/* One option with what belongs to it; `value` is what stood behind "=" or directly behind the
 * letter. */
static enum kl_code take_option(struct kl_cmd *cmd, size_t index, const char *value,
                                struct words *w, struct kl_err *err)
{
    const struct kl_option *o = kl_command_option(cmd->command, index);
    struct kl_given *g = &cmd->given[index];

    if (g->given && o->kind != KL_OPTION_WORDS && o->kind != KL_OPTION_SET &&
        o->kind != KL_OPTION_FLAG)
        return kl_fail(err, KL_USAGE, NULL, "--%s stands there twice", o->name);
    g->given = true;
    switch (o->kind) {
    case KL_OPTION_FLAG:
        return value == NULL ? KL_OK : kl_fail(err, KL_USAGE, NULL, "--%s takes no value", o->name);
    case KL_OPTION_BOOL:
        return take_bool(g, o, value, w, err);
    case KL_OPTION_WORDS:
    case KL_OPTION_SET:
        return take_words(cmd, g, o, value, w, err);
    case KL_OPTION_VALUE:
        break;
    }
    if (value == NULL && w->at < w->argc)
        value = w->argv[w->at++];
    if (value == NULL)
        return kl_fail(err, KL_USAGE, NULL, "--%s needs a value: --%s %s", o->name, o->name,
                       o->argument);
    return take_word(g, o, value, err);
}

static const char *option_word(const void *arg, size_t i)
{
    const struct kl_option *o = kl_command_option(arg, i);

    return o != NULL ? o->name : NULL;
}

static enum kl_code unknown_option(const struct kl_command *c, const char *name, size_t n,
                                   struct kl_err *err)
{
    char word[64];
    const char *near;

    snprintf(word, sizeof(word), "%.*s", (int)(n < 60 ? n : 60), name);
    near = kl_nearest(word, option_word, c, kl_command_options(c));
    if (near == NULL)
        return kl_fail(err, KL_USAGE, NULL, "there is no option '--%s' here", word);
    return kl_fail(err, KL_USAGE, NULL, "there is no option '--%s' here; did you mean '--%s'?",
                   word, near);
}

static enum kl_code take_long(struct kl_cmd *cmd, const char *word, struct words *w,
                              struct kl_err *err)
{
    const char *equals = strchr(word, '=');
    size_t n = equals != NULL ? (size_t)(equals - word) : strlen(word);

    for (size_t i = 0; i < kl_command_options(cmd->command); i++) {
        const struct kl_option *o = kl_command_option(cmd->command, i);

        if (o != NULL && strlen(o->name) == n && strncmp(o->name, word, n) == 0)
            return take_option(cmd, i, equals != NULL ? equals + 1 : NULL, w, err);
    }
    return unknown_option(cmd->command, word, n, err);
}

static enum kl_code take_short(struct kl_cmd *cmd, const char *word, struct words *w,
                               struct kl_err *err)
{
    for (size_t i = 0; i < kl_command_options(cmd->command); i++) {
        const struct kl_option *o = kl_command_option(cmd->command, i);

        if (o == NULL || o->letter == 0 || o->letter != word[0])
            continue;
        return take_option(cmd, i, word[1] != '\0' ? word + 1 : NULL, w, err);
    }
    return kl_fail(err, KL_USAGE, NULL, "there is no option '-%c' here", word[0]);
}

static enum kl_code check_complete(const struct kl_cmd *cmd, struct kl_err *err)
{
    const struct kl_command *c = cmd->command;

    for (size_t i = 0; i < c->option_count; i++) {
        if (c->options[i].required && !cmd->given[i].given)
            return kl_fail(err, KL_USAGE, NULL, "--%s %s is missing", c->options[i].name,
                           c->options[i].argument);
    }
    if (cmd->positional.count < c->positional_min)
        return kl_fail(err, KL_USAGE, NULL, "%s is missing", c->positional);
    if (cmd->positional.count > c->positional_max)
        return kl_fail(err, KL_USAGE, NULL, "'%.60s' is one word too many",
                       cmd->positional.words[c->positional_max]);
    return KL_OK;
}

enum kl_code kl_cmd_parse(struct kl_cmd *cmd, int argc, char *const *argv, struct kl_err *err)
{
    struct words w = {.argc = argc, .argv = argv};
    bool options_over = false;
    enum kl_code code = KL_OK;

    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        cmd->help = cmd->help || strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
    if (cmd->help)
        return KL_OK;
    cmd->given = calloc(kl_command_options(cmd->command), sizeof(*cmd->given));
    if (cmd->given == NULL)
        return out_of_memory(err);
    while (w.at < w.argc && code == KL_OK) {
        const char *word = w.argv[w.at++];

        if (options_over || !looks_like_option(word))
            code = add_word(&cmd->positional, word, err);
        else if (strcmp(word, "--") == 0)
            options_over = true;
        else
            code = word[1] == '-' ? take_long(cmd, word + 2, &w, err)
                                  : take_short(cmd, word + 1, &w, err);
    }
    return code == KL_OK ? check_complete(cmd, err) : code;
}
