/* Inside of the command line: what parse.c fills, command.c answers from, help.c and completion.c
 * print. Nobody else includes it. */
#ifndef KL_CLI_COMMAND_PARTS_H
#define KL_CLI_COMMAND_PARTS_H

#include "base/buf.h"
#include "cli/command.h"
#include "wrap/vault_client.h"

/* What one option row got. */
struct kl_given {
    bool given;
    const char **words;
    size_t count;
};

struct kl_cmd {
    const struct kl_noun *noun;
    const struct kl_command *command;
    struct kl_given *given; /* command->option_count rows, then the standard ones */
    struct kl_given positional;
    bool help;    /* --help stood somewhere: nothing else counts */
    char **owned; /* split words, freed at the end */
    size_t owned_count;
    struct kl_vault_client *client; /* made by kl_cmd_client */
};

/** The rows that every verb has (or that `lists` and `remote` bring): output, timeout, help. */
extern const struct kl_option kl_standard_options[];
extern const size_t kl_standard_option_count;
/** Rows of a command, standard ones behind its own; NULL for a standard row that it does not take.
 */
const struct kl_option *kl_command_option(const struct kl_command *c, size_t index);
size_t kl_command_options(const struct kl_command *c);

/** Find the command that argv (behind the program's name) calls; *ret_used is how many words that
 * took. Either may end up NULL: both NULL is the top (nothing or --help follows), only the verb
 * NULL is the noun's own help. KL_USAGE with "did you mean". */
enum kl_code kl_command_find(int argc, char *const *argv, const struct kl_noun **ret_noun,
                             const struct kl_command **ret_command, int *ret_used,
                             struct kl_err *err) KL_MUST_USE;

/** Parse the words behind the verb into *cmd, which has noun and command set and the rest zero. End
 * it with kl_cmd_done also after a failure. KL_USAGE. */
enum kl_code kl_cmd_parse(struct kl_cmd *cmd, int argc, char *const *argv,
                          struct kl_err *err) KL_MUST_USE;
void kl_cmd_done(struct kl_cmd *cmd);

/** What --timeout says in milliseconds, 0 without it. KL_USAGE. */
enum kl_code kl_cmd_timeout(const struct kl_cmd *cmd, int64_t *ret_ms,
                            struct kl_err *err) KL_MUST_USE;

/** The word among `count` that comes closest to `word` (at most two slips), or NULL. get(arg, i)
 * may return NULL. */
const char *kl_nearest(const char *word, const char *(*get)(const void *arg, size_t i),
                       const void *arg, size_t count);

/** Append the help of the program, of a noun, or of a verb, wrapped to `width` columns. */
void kl_help_top(struct kl_buf *out, size_t width);
void kl_help_noun(const struct kl_noun *noun, struct kl_buf *out, size_t width);
void kl_help_command(const struct kl_noun *noun, const struct kl_command *c, struct kl_buf *out,
                     size_t width);
/** Append "kluis NOUN VERB" / the usage line behind it. */
void kl_help_name(const struct kl_noun *noun, const struct kl_command *c, struct kl_buf *out);
void kl_help_usage(const struct kl_noun *noun, const struct kl_command *c, struct kl_buf *out);
/** "-n, --name NAME" as the help shows a row. */
void kl_help_option(const struct kl_option *o, struct kl_buf *out);
/** One line for an exit code. */
const char *kl_exit_text(enum kl_exit code);

#endif
