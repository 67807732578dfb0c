#include "cli/command_parts.h"

#include <string.h>

/* Characters that a terminal shows, not bytes: continuation bytes of UTF-8 do not count. */
static size_t columns(const char *text, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

enum { GLUE = 0x1f }; /* a blank at which no line is broken */

/* Append text wrapped to `width`, each line but the first indented; the cursor stands at column
 * `at`. */
static void put_wrapped(struct kl_buf *out, const char *text, size_t indent, size_t at,
                        size_t width)
{
    bool fresh = true;

    while (*text != '\0') {
        size_t n = strcspn(text, " \n");
        size_t c = columns(text, n);

        if (!fresh && at + 1 + c > width) {
            kl_buf_printf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (!fresh) {
            kl_buf_putc(out, ' ');
            at++;
        }
        for (size_t i = 0; i < n; i++)
            kl_buf_putc(out, text[i] == GLUE ? ' ' : text[i]);
        at += c;
        text += n;
        fresh = false;
        if (strncmp(text, "\n\n", 2) == 0) {
            kl_buf_printf(out, "\n\n%*s", (int)indent, "");
            text += 2;
            at = indent;
            fresh = true;
        } else {
            text += strspn(text, " \n");
        }
    }
    kl_buf_putc(out, '\n');
}

static void put_row(struct kl_buf *out, const char *left, const char *right, size_t column,
                    size_t width)
{
    size_t n = columns(left, strlen(left));

    kl_buf_printf(out, "  %s", left);
    if (n + 4 > column) {
        kl_buf_printf(out, "\n%*s", (int)column, "");
    } else {
        kl_buf_printf(out, "%*s", (int)(column - n - 2), "");
    }
    put_wrapped(out, right, column, column, width);
}

void kl_help_name(const struct kl_noun *noun, const struct kl_command *c, struct kl_buf *out)
{
    kl_buf_puts(out, "kluis");
    if (noun != NULL && noun->name != NULL)
        kl_buf_printf(out, " %s", noun->name);
    if (c != NULL)
        kl_buf_printf(out, " %s", c->verb);
}

static void put_usage_option(struct kl_buf *out, const struct kl_option *o)
{
    kl_buf_puts(out, o->required ? " " : " [");
    kl_buf_printf(out, "--%s", o->name);
    if (o->argument != NULL)
        kl_buf_printf(out, " %s", o->argument);
    if (o->kind == KL_OPTION_BOOL)
        kl_buf_puts(out, " true|false");
    if (o->kind == KL_OPTION_WORDS || o->kind == KL_OPTION_SET)
        kl_buf_puts(out, " …");
    if (!o->required)
        kl_buf_putc(out, ']');
}

void kl_help_usage(const struct kl_noun *noun, const struct kl_command *c, struct kl_buf *out)
{
    kl_help_name(noun, c, out);
    for (size_t i = 0; i < c->option_count; i++) {
        if (c->options[i].required)
            put_usage_option(out, &c->options[i]);
    }
    for (size_t i = 0; i < c->option_count; i++) {
        if (!c->options[i].required)
            put_usage_option(out, &c->options[i]);
    }
    if (c->positional != NULL)
        kl_buf_printf(out, " %s", c->positional);
}

void kl_help_option(const struct kl_option *o, struct kl_buf *out)
{
    if (o->letter != 0)
        kl_buf_printf(out, "-%c, ", o->letter);
    kl_buf_printf(out, "--%s", o->name);
    if (o->argument != NULL)
        kl_buf_printf(out, " %s", o->argument);
    if (o->kind == KL_OPTION_BOOL)
        kl_buf_puts(out, " true|false");
    if (o->kind == KL_OPTION_WORDS || o->kind == KL_OPTION_SET)
        kl_buf_puts(out, " …");
}

static void put_option(struct kl_buf *out, const struct kl_option *o, size_t column, size_t width)
{
    struct kl_buf left = KL_BUF_INIT(200), right = KL_BUF_INIT(4000);

    kl_help_option(o, &left);
    kl_buf_printf(&right, "%s%s", o->help, o->required ? " Required." : "");
    if (o->choices != NULL) {
        kl_buf_puts(&right, " One of:");
        for (size_t i = 0; o->choices[i] != NULL; i++)
            kl_buf_printf(&right, "%s %s", i > 0 ? "," : "", o->choices[i]);
        kl_buf_putc(&right, '.');
    }
    put_row(out, kl_buf_text(&left), kl_buf_text(&right), column, width);
    kl_buf_done(&left);
    kl_buf_done(&right);
}

static void put_options(struct kl_buf *out, const struct kl_command *c, size_t width)
{
    kl_buf_puts(out, "\nOptions:\n");
    for (size_t i = 0; i < kl_command_options(c); i++) {
        const struct kl_option *o = kl_command_option(c, i);

        /* -o's choices stand in its help; the list would only repeat them */
        struct kl_option shown = o != NULL ? *o : (struct kl_option){0};

        if (o == NULL)
            continue;
        if (i >= c->option_count)
            shown.choices = NULL;
        put_option(out, &shown, 28, width);
    }
}

/* Lines as they are, indented by two. */
static void put_example(struct kl_buf *out, const char *text)
{
    kl_buf_puts(out, "\nExample:\n");
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");

        if (n > 0)
            kl_buf_puts(out, "  ");
        kl_buf_put(out, text, n);
        kl_buf_putc(out, '\n');
        text += n + (text[n] == '\n');
    }
}

static void put_exit_codes(struct kl_buf *out, bool remote)
{
    kl_buf_puts(out, "\nExit codes:\n");
    for (int i = 0; i < KL_EXIT_COUNT; i++) {
        if (remote || i < KL_EXIT_NOT_FOUND)
            kl_buf_printf(out, "  %d  %s\n", i, kl_exit_text((enum kl_exit)i));
    }
}

void kl_help_command(const struct kl_noun *noun, const struct kl_command *c, struct kl_buf *out,
                     size_t width)
{
    struct kl_buf usage = KL_BUF_INIT(4000);

    kl_help_usage(noun, c, &usage);
    for (char *p = usage.bytes; p != NULL && *p != '\0'; p++) {
        if (p[0] == ' ' && p[1] != '-' && p[1] != '[')
            *p = GLUE; /* an option and its argument stay together */
    }
    kl_buf_puts(out, "Usage: ");
    put_wrapped(out, kl_buf_text(&usage), 9, 7, width);
    kl_buf_done(&usage);
    kl_buf_putc(out, '\n');
    put_wrapped(out, c->text, 0, 0, width);
    put_options(out, c, width);
    put_example(out, c->example);
    put_exit_codes(out, c->remote);
    if (c->remote) {
        kl_buf_putc(out, '\n');
        put_wrapped(out,
                    "The service and the credentials come from KLUIS_URL, KLUIS_VAULT_URL, "
                    "KLUIS_CA, KLUIS_TENANT, KLUIS_CLIENT_ID and KLUIS_CLIENT_SECRET_FILE, else "
                    "from what 'kluis login' noted.",
                    0, 0, width);
    }
}

static void put_verbs(const struct kl_noun *noun, struct kl_buf *out, size_t width)
{
    for (size_t i = 0; i < noun->command_count; i++) {
        if (!noun->commands[i].hidden)
            put_row(out, noun->commands[i].verb, noun->commands[i].summary, 20, width);
    }
}

void kl_help_noun(const struct kl_noun *noun, struct kl_buf *out, size_t width)
{
    kl_buf_printf(out, "Usage: kluis %s VERB [options]\n\n", noun->name);
    put_wrapped(out, noun->text, 0, 0, width);
    kl_buf_puts(out, "\nVerbs:\n");
    put_verbs(noun, out, width);
    kl_buf_printf(out, "\n'kluis %s VERB --help' explains one and shows an example.\n", noun->name);
}

void kl_help_top(struct kl_buf *out, size_t width)
{
    kl_buf_puts(out, "Usage: kluis [keyvault] NOUN VERB [options]\n"
                     "       kluis COMMAND [options]\n\n");
    put_wrapped(out,
                "The command line of the kluis key service: keys that live on hardware tokens, "
                "vaults that hold them, and backup streams that they protect.",
                0, 0, width);
    kl_buf_puts(out, "\nNouns:\n");
    for (size_t n = 0; n < kl_noun_count; n++) {
        if (kl_nouns[n]->name != NULL)
            put_row(out, kl_nouns[n]->name, kl_nouns[n]->summary, 20, width);
    }
    kl_buf_puts(out, "\nCommands:\n");
    for (size_t n = 0; n < kl_noun_count; n++) {
        if (kl_nouns[n]->name == NULL)
            put_verbs(kl_nouns[n], out, width);
    }
    put_exit_codes(out, true);
    kl_buf_puts(out, "\n'kluis NOUN --help' lists a noun's verbs, 'kluis NOUN VERB --help' "
                     "explains one.\n");
}
