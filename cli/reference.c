#include "cli/reference.h"

#include "cli/command_parts.h"

#include <string.h>

/* ---- Markdown ---- */

static void markdown_option(const struct kl_option *o, struct kl_buf *out)
{
    kl_buf_puts(out, "| `");
    kl_help_option(o, out);
    kl_buf_printf(out, "` | %s%s", o->help, o->required ? " Required." : "");
    for (size_t i = 0; o->choices != NULL && o->choices[i] != NULL; i++)
        kl_buf_printf(out, "%s `%s`", i > 0 ? "," : " One of:", o->choices[i]);
    kl_buf_puts(out, " |\n");
}

static void markdown_command(const struct kl_noun *noun, const struct kl_command *c,
                             struct kl_buf *out)
{
    kl_buf_puts(out, "\n### ");
    kl_help_name(noun, c, out);
    kl_buf_puts(out, "\n\n```\n");
    kl_help_usage(noun, c, out);
    kl_buf_printf(out, "\n```\n\n%s\n\n| option | meaning |\n|---|---|\n", c->text);
    for (size_t i = 0; i < kl_command_options(c); i++) {
        if (kl_command_option(c, i) != NULL)
            markdown_option(kl_command_option(c, i), out);
    }
    kl_buf_printf(out, "\n```sh\n%s\n```\n", c->example);
}

void kl_reference_markdown(struct kl_buf *out)
{
    kl_buf_puts(out, "# kluis: command reference\n\nMade by `kluis reference markdown` from the "
                     "table of commands; do not edit.\n\n| exit code | meaning |\n|---|---|\n");
    for (int i = 0; i < KL_EXIT_COUNT; i++)
        kl_buf_printf(out, "| %d | %s |\n", i, kl_exit_text((enum kl_exit)i));
    for (size_t n = 0; n < kl_noun_count; n++) {
        const struct kl_noun *noun = kl_nouns[n];

        if (noun->name != NULL)
            kl_buf_printf(out, "\n## kluis %s\n\n%s\n", noun->name, noun->text);
        else
            kl_buf_printf(out, "\n## %s\n", noun->summary);
        for (size_t i = 0; i < noun->command_count; i++) {
            if (!noun->commands[i].hidden)
                markdown_command(noun, &noun->commands[i], out);
        }
    }
}

/* ---- man(7) ---- */

/* Text for roff: backslashes doubled, a leading dot or quote kept from being a request, paragraphs
 * as .PP. */
static void man_text(const char *text, struct kl_buf *out)
{
    bool line_start = true;

    for (; *text != '\0'; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            kl_buf_puts(out, "\\&");
        line_start = *text == '\n';
        if (strncmp(text, "\n\n", 2) == 0) {
            kl_buf_puts(out, "\n.PP\n");
            text++;
        } else if (*text == '\\') {
            kl_buf_puts(out, "\\e");
        } else if (*text == '-') {
            kl_buf_puts(out, "\\-");
        } else {
            kl_buf_putc(out, *text);
        }
    }
    kl_buf_putc(out, '\n');
}

static void man_option(const struct kl_option *o, struct kl_buf *out)
{
    struct kl_buf left = KL_BUF_INIT(200);

    kl_help_option(o, &left);
    kl_buf_puts(out, ".TP\n");
    man_text(kl_buf_text(&left), out);
    man_text(o->help, out);
    kl_buf_done(&left);
}

static void man_command(const struct kl_noun *noun, const struct kl_command *c, struct kl_buf *out)
{
    struct kl_buf line = KL_BUF_INIT(4000);

    kl_help_name(noun, c, &line);
    kl_buf_puts(out, ".SS ");
    man_text(kl_buf_text(&line), out);
    kl_buf_clear(&line);
    kl_help_usage(noun, c, &line);
    man_text(kl_buf_text(&line), out);
    kl_buf_puts(out, ".PP\n");
    man_text(c->text, out);
    for (size_t i = 0; i < kl_command_options(c); i++) {
        if (kl_command_option(c, i) != NULL)
            man_option(kl_command_option(c, i), out);
    }
    kl_buf_puts(out, ".PP\n.nf\n");
    man_text(c->example, out);
    kl_buf_puts(out, ".fi\n");
    kl_buf_done(&line);
}

static void man_nouns(struct kl_buf *out)
{
    for (size_t n = 0; n < kl_noun_count; n++) {
        const struct kl_noun *noun = kl_nouns[n];

        kl_buf_puts(out, ".SH ");
        for (const char *p = noun->name != NULL ? noun->name : noun->summary; *p != '\0'; p++)
            kl_buf_putc(out, *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p);
        kl_buf_putc(out, '\n');
        if (noun->text != NULL)
            man_text(noun->text, out);
        for (size_t i = 0; i < noun->command_count; i++) {
            if (!noun->commands[i].hidden)
                man_command(noun, &noun->commands[i], out);
        }
    }
}

void kl_reference_man(struct kl_buf *out)
{
    kl_buf_puts(out,
                ".\\\" Made by 'kluis reference man' from the table of commands; do not edit.\n"
                ".TH KLUIS 1 \"\" \"kluis\" \"User Commands\"\n"
                ".nh\n.ad l\n.SH NAME\n"
                "kluis \\- command line of the kluis key service\n.SH SYNOPSIS\n"
                ".B kluis\n[keyvault] NOUN VERB [options]\n.br\n.B kluis\nCOMMAND [options]\n"
                ".SH EXIT STATUS\n");
    for (int i = 0; i < KL_EXIT_COUNT; i++) {
        kl_buf_printf(out, ".TP\n%d\n", i);
        man_text(kl_exit_text((enum kl_exit)i), out);
    }
    man_nouns(out);
}
