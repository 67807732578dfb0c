#include "cli/command_parts.h"
#include "cli/reference.h"

#include <string.h>

static const char script_head[] =
    "\n"
    "_kluis_files()\n"
    "{\n"
    "    compopt -o filenames 2>/dev/null\n"
    "    mapfile -t COMPREPLY < <(compgen \"$1\" -- \"$word\")\n"
    "}\n"
    "\n"
    "_kluis()\n"
    "{\n"
    "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} at=1\n"
    "    local noun verb path offers=\n"
    "    [[ ${COMP_WORDS[1]} == keyvault ]] && at=2\n"
    "    noun=${COMP_WORDS[at]} verb=${COMP_WORDS[at + 1]}\n"
    "    if ((COMP_CWORD == at)); then\n"
    "        path=\n"
    "    elif [[ \" $_kluis_nouns \" != *\" $noun \"* ]]; then\n"
    "        path=$noun\n"
    "    elif ((COMP_CWORD == at + 1)); then\n"
    "        path=$noun\n"
    "    else\n"
    "        path=\"$noun $verb\"\n"
    "    fi\n"
    "    case \"$path $before\" in\n";

static const char script_middle[] = "    esac\n"
                                    "    case \"$path\" in\n";

static const char script_tail[] =
    "    esac\n"
    "    mapfile -t COMPREPLY < <(compgen -W \"$offers\" -- \"$word\")\n"
    "}\n"
    "complete -F _kluis kluis\n";

static void put_path(const struct kl_noun *noun, const struct kl_command *c, struct kl_buf *out)
{
    if (noun->name != NULL)
        kl_buf_printf(out, "%s ", noun->name);
    kl_buf_puts(out, c->verb);
}

/* What may follow one option: its choices, a file, a folder. */
static void put_argument(const struct kl_noun *noun, const struct kl_command *c,
                         const struct kl_option *o, struct kl_buf *out)
{
    if (o->choices == NULL && o->complete == KL_COMPLETE_NONE)
        return;
    kl_buf_puts(out, "    \"");
    put_path(noun, c, out);
    kl_buf_printf(out, " --%s\"", o->name);
    if (o->letter != 0) {
        kl_buf_puts(out, " | \"");
        put_path(noun, c, out);
        kl_buf_printf(out, " -%c\"", o->letter);
    }
    kl_buf_puts(out, ") ");
    if (o->choices == NULL) {
        kl_buf_printf(out, "_kluis_files -%c; return ;;\n",
                      o->complete == KL_COMPLETE_FOLDER ? 'd' : 'f');
        return;
    }
    kl_buf_puts(out, "offers=\"");
    for (size_t i = 0; o->choices[i] != NULL; i++)
        kl_buf_printf(out, "%s%s", i > 0 ? " " : "", o->choices[i]);
    kl_buf_puts(out, "\" ;;\n");
}

static void put_arguments(const struct kl_noun *noun, struct kl_buf *out)
{
    for (size_t i = 0; i < noun->command_count; i++) {
        const struct kl_command *c = &noun->commands[i];

        for (size_t j = 0; j < kl_command_options(c) && !c->hidden; j++) {
            if (kl_command_option(c, j) != NULL)
                put_argument(noun, c, kl_command_option(c, j), out);
        }
    }
}

/* Files, unless the help calls what has no dashes by its very words, e.g. "markdown|man". */
static void put_positional(const char *positional, struct kl_buf *out)
{
    if (strstr(positional, "FILE") != NULL) {
        kl_buf_puts(out, "[[ $offers || $word == -* ]] || { _kluis_files -f; return; }");
    } else {
        kl_buf_puts(out, "[[ $offers || $word == -* ]] || offers=\"");
        for (; *positional != '\0'; positional++)
            kl_buf_putc(out, *positional == '|' ? ' ' : *positional);
        kl_buf_puts(out, "\"");
    }
    kl_buf_puts(out, "\n        ");
}

static void put_options_of(const struct kl_noun *noun, const struct kl_command *c,
                           struct kl_buf *out)
{
    kl_buf_puts(out, "    \"");
    put_path(noun, c, out);
    kl_buf_puts(out, "\") ");
    if (c->positional != NULL)
        put_positional(c->positional, out);
    kl_buf_puts(out, "[[ $offers ]] || offers=\"");
    for (size_t j = 0; j < kl_command_options(c); j++) {
        if (kl_command_option(c, j) != NULL)
            kl_buf_printf(out, "%s--%s", j > 0 ? " " : "", kl_command_option(c, j)->name);
    }
    kl_buf_puts(out, "\" ;;\n");
}

static void put_words_of(const struct kl_noun *noun, struct kl_buf *out)
{
    bool first = true;

    if (noun->name != NULL)
        kl_buf_printf(out, "    \"%s\") offers=\"", noun->name);
    for (size_t i = 0; i < noun->command_count && noun->name != NULL; i++) {
        if (noun->commands[i].hidden)
            continue;
        kl_buf_printf(out, "%s%s", first ? "" : " ", noun->commands[i].verb);
        first = false;
    }
    if (noun->name != NULL)
        kl_buf_puts(out, "\" ;;\n");
    for (size_t i = 0; i < noun->command_count; i++) {
        if (!noun->commands[i].hidden)
            put_options_of(noun, &noun->commands[i], out);
    }
}

static void put_nouns(struct kl_buf *out, bool with_commands)
{
    bool first = true;

    for (size_t n = 0; n < kl_noun_count; n++) {
        const struct kl_noun *noun = kl_nouns[n];

        if (noun->name != NULL) {
            kl_buf_printf(out, "%s%s", first ? "" : " ", noun->name);
            first = false;
        }
        for (size_t i = 0; i < noun->command_count && noun->name == NULL && with_commands; i++) {
            if (noun->commands[i].hidden)
                continue;
            kl_buf_printf(out, "%s%s", first ? "" : " ", noun->commands[i].verb);
            first = false;
        }
    }
}

void kl_completion_bash(struct kl_buf *out)
{
    kl_buf_puts(out, "# bash completion for kluis, made by 'kluis completion bash'\n"
                     "_kluis_nouns=\"");
    put_nouns(out, false);
    kl_buf_puts(out, "\"\n");
    kl_buf_puts(out, script_head);
    for (size_t n = 0; n < kl_noun_count; n++)
        put_arguments(kl_nouns[n], out);
    kl_buf_puts(out, script_middle);
    kl_buf_puts(out, "    \"\") offers=\"");
    put_nouns(out, true);
    kl_buf_puts(out, " keyvault help\" ;;\n");
    for (size_t n = 0; n < kl_noun_count; n++)
        put_words_of(kl_nouns[n], out);
    kl_buf_puts(out, script_tail);
}
