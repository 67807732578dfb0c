#include "cli/command.h"

#include "cli/command_parts.h"
#include "cli/session.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- what was given ---- */

static const struct kl_given *find_given(const struct kl_cmd *cmd, const char *name)
{
    for (size_t i = 0; i < kl_command_options(cmd->command); i++) {
        const struct kl_option *o = kl_command_option(cmd->command, i);

        if (o != NULL && strcmp(o->name, name) == 0)
            return &cmd->given[i];
    }
    assert(false && "the handler asks for an option that its row lacks");
    abort();
}

const char *kl_cmd_value(const struct kl_cmd *cmd, const char *name)
{
    const struct kl_given *g = find_given(cmd, name);

    return g->count > 0 ? g->words[0] : NULL;
}

bool kl_cmd_flag(const struct kl_cmd *cmd, const char *name)
{
    return find_given(cmd, name)->given;
}

bool kl_cmd_bool(const struct kl_cmd *cmd, const char *name, bool *ret)
{
    const struct kl_given *g = find_given(cmd, name);

    if (!g->given)
        return false;
    *ret = strcmp(g->words[0], "true") == 0;
    return true;
}

size_t kl_cmd_words(const struct kl_cmd *cmd, const char *name, const char *const **ret,
                    bool *ret_given)
{
    const struct kl_given *g = find_given(cmd, name);

    *ret = g->words;
    if (ret_given != NULL)
        *ret_given = g->given;
    return g->count;
}

size_t kl_cmd_positionals(const struct kl_cmd *cmd, const char *const **ret)
{
    *ret = cmd->positional.words;
    return cmd->positional.count;
}

enum kl_code kl_cmd_int(const struct kl_cmd *cmd, const char *name, int64_t min, int64_t max,
                        int64_t *ret, struct kl_err *err)
{
    const char *text = kl_cmd_value(cmd, name);
    char *end = NULL;
    long long n;

    if (text == NULL)
        return KL_OK;
    errno = 0;
    n = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || n < min || n > max)
        return kl_fail(err, KL_USAGE, NULL, "--%s takes a number from %lld to %lld, not '%.40s'",
                       name, (long long)min, (long long)max, text);
    *ret = n;
    return KL_OK;
}

enum kl_code kl_cmd_timeout(const struct kl_cmd *cmd, int64_t *ret_ms, struct kl_err *err)
{
    static const struct {
        const char *unit;
        long ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"", 1000}};
    const char *text = kl_cmd_value(cmd, "timeout");
    char *end = NULL;
    long n;

    *ret_ms = 0;
    if (text == NULL)
        return KL_OK;
    n = strtol(text, &end, 10);
    for (size_t i = 0; i < KL_COUNT(units) && end != text && n > 0 && n <= 3600000; i++) {
        if (strcmp(end, units[i].unit) == 0) {
            *ret_ms = n * units[i].ms;
            return KL_OK;
        }
    }
    return kl_fail(err, KL_USAGE, NULL, "--timeout takes 250ms, 30s or 5m, not '%.40s'", text);
}

enum kl_format kl_cmd_format(const struct kl_cmd *cmd)
{
    const char *text = kl_cmd_value(cmd, "output");

    if (text == NULL)
        return isatty(STDOUT_FILENO) ? KL_FORMAT_TABLE : KL_FORMAT_JSON;
    if (strcmp(text, "table") == 0)
        return KL_FORMAT_TABLE;
    return strcmp(text, "tsv") == 0 ? KL_FORMAT_TSV : KL_FORMAT_JSON;
}

enum kl_code kl_cmd_client(struct kl_cmd *cmd, struct kl_vault_client **ret, struct kl_err *err)
{
    KL_AUTO(session) session = NULL;
    int64_t timeout_ms = 0;
    enum kl_code code = KL_OK;

    if (cmd->client == NULL) {
        code = kl_cmd_timeout(cmd, &timeout_ms, err);
        if (code == KL_OK)
            code = kl_session_load(&session, err);
        if (code == KL_OK)
            code = kl_session_client(session, NULL, timeout_ms, &cmd->client, err);
    }
    if (code == KL_OK)
        *ret = cmd->client;
    return code;
}

void kl_cmd_done(struct kl_cmd *cmd)
{
    for (size_t i = 0; cmd->given != NULL && i < kl_command_options(cmd->command); i++)
        free(cmd->given[i].words);
    free(cmd->given);
    free(cmd->positional.words);
    for (size_t i = 0; i < cmd->owned_count; i++)
        free(cmd->owned[i]);
    free(cmd->owned);
    if (cmd->client != NULL)
        kl_vault_client_free(cmd->client);
    *cmd = (struct kl_cmd){0};
}

/* ---- talking to the human ---- */

KL_PRINTF(2, 0)
static void say(const char *prefix, const char *fmt, va_list args)
{
    char line[1024];

    vsnprintf(line, sizeof(line), fmt, args);
    for (char *p = line; *p != '\0'; p++) {
        /* text of a server may end up here: it must not steer the terminal */
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    }
    fprintf(stderr, "%s%s\n", prefix, line);
}

void kl_cmd_say(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    say("", fmt, args);
    va_end(args);
}

enum kl_code kl_cmd_confirm(const struct kl_cmd *cmd, const char *name, const char *sentence,
                            struct kl_err *err)
{
    char typed[300] = "";

    if (kl_cmd_flag(cmd, "yes") || !isatty(STDIN_FILENO))
        return KL_OK;
    kl_cmd_say("%s", sentence);
    fprintf(stderr, "Type the name (%s) to go on: ", name);
    if (fgets(typed, sizeof(typed), stdin) == NULL)
        typed[0] = '\0';
    typed[strcspn(typed, "\r\n")] = '\0';
    if (strcmp(typed, name) != 0)
        return kl_fail(err, KL_BAD_INPUT, NULL, "not confirmed, nothing was done");
    return KL_OK;
}

/* ---- exit codes ---- */

static enum kl_exit exit_of_status(unsigned long status)
{
    if (status == 404)
        return KL_EXIT_NOT_FOUND;
    if (status == 401 || status == 403 || status == 409)
        return KL_EXIT_REFUSED;
    return status == 502 || status == 503 || status == 504 ? KL_EXIT_UNREACHABLE : KL_EXIT_FAILED;
}

enum kl_exit kl_exit_of(enum kl_code code, const struct kl_err *err)
{
    if (code == KL_OK)
        return KL_EXIT_DONE;
    if (err != NULL && err->domain == KL_DOMAIN_HTTP)
        return exit_of_status(err->native);
    if (err != NULL && err->domain == KL_DOMAIN_OS && code != KL_UNREACHABLE)
        return KL_EXIT_FAILED;
    switch (code) { /* the rest is KL_EXIT_FAILED */
    case KL_USAGE:
        return KL_EXIT_USAGE;
    case KL_NOT_FOUND:
    case KL_VAULT_NOT_FOUND:
    case KL_KEY_NOT_FOUND:
    case KL_DELETED_KEY_NOT_FOUND:
        return KL_EXIT_NOT_FOUND;
    case KL_EXISTS:
    case KL_UNAUTHENTICATED:
    case KL_FORBIDDEN:
    case KL_FORBIDDEN_RBAC:
    case KL_CONFLICT:
    case KL_KEY_DISABLED:
    case KL_KEY_NOT_YET_VALID:
    case KL_KEY_EXPIRED:
    case KL_KEY_OP_FORBIDDEN:
    case KL_NAME_DELETED:
    case KL_PURGE_PROTECTED:
    case KL_BACKUP_SCOPE:
    case KL_TOKEN_PIN:
        return KL_EXIT_REFUSED;
    case KL_UNREACHABLE:
    case KL_TIMEOUT:
    case KL_TOKEN_UNAVAILABLE:
        return KL_EXIT_UNREACHABLE;
    default:
        return KL_EXIT_FAILED;
    }
}

static const char *const exit_texts[KL_EXIT_COUNT] = {
    [KL_EXIT_DONE] = "done",
    [KL_EXIT_FAILED] = "failed",
    [KL_EXIT_USAGE] = "wrong usage, nothing was tried",
    [KL_EXIT_NOT_FOUND] = "the vault, key or other object does not exist",
    [KL_EXIT_REFUSED] = "refused: no permission, or the object's state forbids it",
    [KL_EXIT_UNREACHABLE] = "the service (or its token) is not reachable; try again later",
};

const char *kl_exit_text(enum kl_exit code)
{
    return exit_texts[code];
}

/* ---- main ---- */

static size_t terminal_width(void)
{
    struct winsize size = {0};

    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
        return 80;
    return size.ws_col < 60 ? 60 : size.ws_col > 100 ? 100 : size.ws_col;
}

static int print_help(const struct kl_noun *noun, const struct kl_command *command)
{
    struct kl_buf out = KL_BUF_INIT(1 << 20);
    size_t width = terminal_width();

    if (command != NULL)
        kl_help_command(noun, command, &out, width);
    else if (noun != NULL)
        kl_help_noun(noun, &out, width);
    else
        kl_help_top(&out, width);
    fputs(kl_buf_text(&out), stdout);
    kl_buf_done(&out);
    return KL_EXIT_DONE;
}

static void explain(const struct kl_noun *noun, const struct kl_command *command,
                    const struct kl_err *err)
{
    struct kl_buf name = KL_BUF_INIT(256);

    kl_help_name(noun, command, &name);
    kl_cmd_say("%s: %s%s", kl_buf_text(&name), err->text,
               strchr(".?!", err->text[0] != '\0' ? err->text[strlen(err->text) - 1] : '.') ? ""
                                                                                            : ".");
    if (err->code == KL_USAGE && command != NULL)
        kl_cmd_say("See '%s --help'.", kl_buf_text(&name));
    kl_buf_done(&name);
}

static enum kl_code flush_output(struct kl_err *err)
{
    /* a full disk behind a redirection shows only here */
    if (fflush(stdout) != 0 || ferror(stdout))
        return kl_fail_errno(err, "write", "cannot write to standard output");
    return KL_OK;
}

static int run(const struct kl_noun *noun, const struct kl_command *command, int argc,
               char *const *argv)
{
    struct kl_cmd cmd = {.noun = noun, .command = command};
    struct kl_err err = {0};
    enum kl_code code = kl_cmd_parse(&cmd, argc, argv, &err);

    if (code == KL_OK && cmd.help) {
        kl_cmd_done(&cmd);
        return print_help(noun, command);
    }
    if (code == KL_OK)
        code = command->run(&cmd, &err);
    if (code == KL_OK)
        code = flush_output(&err);
    kl_cmd_done(&cmd);
    if (code == KL_OK)
        return KL_EXIT_DONE;
    err.code = code;
    explain(noun, command, &err);
    return (int)kl_exit_of(code, &err);
}

int kl_cmd_main(int argc, char *const *argv)
{
    const struct kl_noun *noun = NULL;
    const struct kl_command *command = NULL;
    struct kl_err err = {0};
    int used = 0;

    argc--;
    argv++;
    if (argc == 1 && strcmp(argv[0], "--version") == 0) {
        printf("kluis %s\n", KLUIS_VERSION);
        return KL_EXIT_DONE;
    }
    if (argc > 0 && strcmp(argv[0], "help") == 0) { /* "kluis help key create" */
        argc--;
        argv++;
        if (kl_command_find(argc, argv, &noun, &command, &used, &err) == KL_OK)
            return print_help(noun, command);
    } else if (kl_command_find(argc, argv, &noun, &command, &used, &err) == KL_OK) {
        if (command != NULL)
            return run(noun, command, argc - used, argv + used);
        print_help(noun, NULL);
        return used < argc ? KL_EXIT_DONE
                           : KL_EXIT_USAGE; /* asked for help, or fell short of a verb */
    }
    explain(noun, command, &err);
    return KL_EXIT_USAGE;
}
