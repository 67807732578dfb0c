/* The command line as one table: what a verb is called, what it takes, what its help says, and who
 * does it.
 *
 * Every noun's file exports one `const struct kl_noun kl_noun_<name>`, listed in table.c. Dispatch,
 * parsing, --help at every level, bash completion, the reference page and the man page are made
 * from these rows; nothing about a verb is written twice. To add a verb: one row and its handler. A
 * handler gets its parsed options as a struct kl_cmd, writes data to standard output (out.h) and
 * words to standard error (kl_cmd_say), and returns a code with one sentence; the exit code follows
 * from that (kl_exit_of).
 *
 * Not thread safe: one command per process.
 */
#ifndef KL_CLI_COMMAND_H
#define KL_CLI_COMMAND_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kl_cmd; /* opaque: one parsed command line */
struct kl_vault_client;

enum kl_exit {
    KL_EXIT_DONE = 0,
    KL_EXIT_FAILED = 1,
    KL_EXIT_USAGE = 2,
    KL_EXIT_NOT_FOUND = 3,
    KL_EXIT_REFUSED = 4, /* permission or state */
    KL_EXIT_UNREACHABLE = 5,
    KL_EXIT_COUNT
};

enum kl_option_kind {
    KL_OPTION_VALUE, /* --name VALUE or --name=VALUE, once */
    KL_OPTION_FLAG,  /* --name */
    KL_OPTION_BOOL,  /* --name, --name true, --name false, --name=false */
    KL_OPTION_WORDS, /* --name A B …, also repeated; the words are kept as they are */
    KL_OPTION_SET,   /* as WORDS, and commas part words too */
};

/** What completion offers for an argument that has no `choices`. */
enum kl_complete { KL_COMPLETE_NONE, KL_COMPLETE_FILE, KL_COMPLETE_FOLDER };

struct kl_option {
    const char *name; /* long name without dashes */
    char letter;      /* short form, 0 = none */
    enum kl_option_kind kind;
    const char *argument; /* its word in the help ("NAME"); NULL for a flag or bool */
    bool required;
    const char *help;           /* one or more sentences */
    const char *const *choices; /* NULL, or the only words allowed (any case; the handler gets this
                                   spelling), NULL at the end */
    enum kl_complete complete;
};

struct kl_command {
    const char *verb;
    const char *summary; /* one line, no full stop */
    const char *text;    /* the help's body: paragraphs parted by one empty line, not wrapped */
    const char *example; /* command lines and "# …" remarks, one a line */
    const struct kl_option *options;
    size_t option_count;
    const char *positional; /* how the help calls what has no dashes, e.g. "FILE…"; NULL when
                               nothing may stand there */
    unsigned positional_min, positional_max;
    bool lists;  /* takes -o json|table|tsv */
    bool remote; /* talks to the key service: takes --timeout, and the help says which environment
                    counts */
    bool hidden; /* an alias, not listed */
    enum kl_code (*run)(struct kl_cmd *cmd, struct kl_err *err);
};

struct kl_noun {
    const char *name; /* NULL: its verbs stand alone ("kluis encrypt") */
    const char *summary;
    const char *text; /* as in kl_command; NULL when name is NULL */
    const struct kl_command *commands;
    size_t command_count;
};

/* ---- what a handler may ask; all strings are borrowed until the command ends ---- */

/** The value of a VALUE option, NULL when it was not given. The name must be one of the command's
 * rows (asserted, as everywhere below). */
const char *kl_cmd_value(const struct kl_cmd *cmd, const char *name);
/** Whether a FLAG was given. */
bool kl_cmd_flag(const struct kl_cmd *cmd, const char *name);
/** Whether a BOOL was given; if so *ret is what it says, else untouched. */
bool kl_cmd_bool(const struct kl_cmd *cmd, const char *name, bool *ret);
/** The words of a WORDS or SET option: their number, *ret the array. *ret_given (may be NULL): the
 * option was there at all. */
size_t kl_cmd_words(const struct kl_cmd *cmd, const char *name, const char *const **ret,
                    bool *ret_given);
/** A VALUE option as a decimal number in [min, max]; *ret keeps its value when absent. KL_USAGE. */
enum kl_code kl_cmd_int(const struct kl_cmd *cmd, const char *name, int64_t min, int64_t max,
                        int64_t *ret, struct kl_err *err) KL_MUST_USE;
/** What stands without dashes. */
size_t kl_cmd_positionals(const struct kl_cmd *cmd, const char *const **ret);

enum kl_format { KL_FORMAT_JSON, KL_FORMAT_TABLE, KL_FORMAT_TSV };
/** What -o says; by default a table for a terminal and JSON for everything else. */
enum kl_format kl_cmd_format(const struct kl_cmd *cmd);

/** The client of the key service, made at the first call from the environment and the login file
 * (session.h); borrowed. KL_USAGE with a sentence that names the first missing setting. */
enum kl_code kl_cmd_client(struct kl_cmd *cmd, struct kl_vault_client **ret,
                           struct kl_err *err) KL_MUST_USE;

/** One sentence for the human, to standard error, with "\n" added. Control characters become '?'.
 */
void kl_cmd_say(const char *fmt, ...) KL_PRINTF(1, 2);

/** Only at a terminal and without the flag "yes": show the sentence and ask for `name` to be typed.
 * KL_BAD_INPUT when something else is typed. */
enum kl_code kl_cmd_confirm(const struct kl_cmd *cmd, const char *name, const char *sentence,
                            struct kl_err *err) KL_MUST_USE;

/** The exit code of a handler's result: from the code, and for answers of the service from its HTTP
 * status. Trouble with local files is KL_EXIT_FAILED whatever its code. */
enum kl_exit kl_exit_of(enum kl_code code, const struct kl_err *err);

/** Run one whole command line (argv[0] is the program) and return its exit code; the error's
 * sentence has been printed. */
int kl_cmd_main(int argc, char *const *argv);

/** The nouns in the order of the help (table.c). */
extern const struct kl_noun *const kl_nouns[];
extern const size_t kl_noun_count;

#endif
