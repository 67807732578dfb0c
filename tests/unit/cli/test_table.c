/* Every row of the table of commands is whole: an operator finds what they need at three in the
 * morning. */
#include "tests/unit/cli/capture.h"

#include "cli/command_parts.h"

#include <ctype.h>
#include <string.h>

typedef void visitor(const struct kl_noun *noun, const struct kl_command *c);

static void each_command(visitor *visit)
{
    for (size_t n = 0; n < kl_noun_count; n++) {
        for (size_t i = 0; i < kl_nouns[n]->command_count; i++)
            visit(kl_nouns[n], &kl_nouns[n]->commands[i]);
    }
}

static void is_whole(const struct kl_noun *noun, const struct kl_command *c)
{
    struct kl_buf name = KL_BUF_INIT(200);

    kl_help_name(noun, c, &name);
    assert_non_null(c->verb);
    assert_non_null(c->run);
    assert_non_null(c->summary);
    assert_true(strlen(c->summary) > 0 && strlen(c->summary) <= 80);
    assert_int_not_equal(c->summary[strlen(c->summary) - 1], '.');
    assert_non_null(c->text);
    assert_int_equal(c->text[strlen(c->text) - 1], '.');
    assert_non_null(c->example);
    assert_non_null(strstr(c->example, kl_buf_text(&name)));
    assert_true(c->positional != NULL || c->positional_max == 0);
    assert_true(c->positional_min <= c->positional_max);
    kl_buf_done(&name);
}

static void test_cli_table__every_verb_has_help_and_example(void **state)
{
    (void)state;
    each_command(is_whole);
}

static void options_are_sound(const struct kl_noun *noun, const struct kl_command *c)
{
    (void)noun;
    for (size_t i = 0; i < kl_command_options(c); i++) {
        const struct kl_option *o = kl_command_option(c, i);

        if (o == NULL)
            continue;
        assert_non_null(o->help);
        assert_true(strchr(".", o->help[strlen(o->help) - 1]) != NULL);
        bool takes_word = o->kind != KL_OPTION_FLAG && o->kind != KL_OPTION_BOOL;

        assert_int_equal(o->argument != NULL, takes_word);
        for (size_t j = 0; j < i; j++) {
            const struct kl_option *other = kl_command_option(c, j);

            if (other == NULL)
                continue;
            assert_string_not_equal(o->name, other->name);
            assert_false(o->letter != 0 && o->letter == other->letter);
        }
    }
    for (size_t i = 0; i < c->option_count; i++) {
        assert_string_not_equal(c->options[i].name, "output"); /* -o is the format, everywhere */
        assert_int_not_equal(c->options[i].letter, 'o');
    }
}

static void test_cli_table__options_are_sound(void **state)
{
    (void)state;
    each_command(options_are_sound);
}

static void help_is_whole(const struct kl_noun *noun, const struct kl_command *c)
{
    struct kl_buf help = KL_BUF_INIT(1 << 16);
    const char *codes;

    kl_help_command(noun, c, &help, 80);
    assert_int_equal(strncmp(kl_buf_text(&help), "Usage: kluis ", 13), 0);
    assert_non_null(strstr(kl_buf_text(&help), "\nOptions:\n"));
    assert_non_null(strstr(kl_buf_text(&help), "\nExample:\n"));
    codes = strstr(kl_buf_text(&help), "\nExit codes:\n");
    assert_non_null(codes);
    assert_non_null(strstr(codes, "  0  done"));
    if (c->remote)
        assert_non_null(strstr(codes, "  5  "));
    kl_buf_done(&help);
}

static void test_cli_table__help_documents_exit_codes(void **state)
{
    (void)state;
    each_command(help_is_whole);
}

static void help_fits(const struct kl_noun *noun, const struct kl_command *c)
{
    struct kl_buf help = KL_BUF_INIT(1 << 16);
    char *rest = NULL;
    bool example = false;

    kl_help_command(noun, c, &help, 80);
    for (char *line = strtok_r(help.bytes, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        size_t shown = 0;

        example = strcmp(line, "Example:") == 0 || (example && line[0] == ' ');
        for (const char *p = line; *p != '\0'; p++)
            shown += ((unsigned char)*p & 0xc0) != 0x80;
        assert_true(example || shown <= 80); /* a command line is not broken */
        assert_null(strchr(line, 0x1f));
    }
    kl_buf_done(&help);
}

static void test_cli_table__help_fits_a_terminal(void **state)
{
    (void)state;
    each_command(help_fits);
}

static void test_cli_table__names_are_unique(void **state)
{
    (void)state;
    for (size_t n = 0; n < kl_noun_count; n++) {
        const struct kl_noun *noun = kl_nouns[n];

        for (size_t m = 0; m < n && noun->name != NULL; m++)
            assert_true(kl_nouns[m]->name == NULL || strcmp(kl_nouns[m]->name, noun->name) != 0);
        for (size_t i = 0; i < noun->command_count; i++) {
            for (size_t j = 0; j < i; j++)
                assert_string_not_equal(noun->commands[i].verb, noun->commands[j].verb);
        }
    }
}

static void test_cli_table__help_at_every_level(void **state)
{
    (void)state;
    assert_int_equal(capture("--help"), KL_EXIT_DONE);
    for (size_t n = 0; n < kl_noun_count; n++)
        assert_non_null(strstr(capture_out, kl_nouns[n]->name != NULL
                                                ? kl_nouns[n]->name
                                                : kl_nouns[n]->commands[0].verb));
    assert_int_equal(capture("key --help"), KL_EXIT_DONE);
    assert_non_null(strstr(capture_out, "rotate"));
    assert_int_equal(capture("key rotate --help"), KL_EXIT_DONE);
    assert_non_null(strstr(capture_out, "Usage: kluis key rotate"));
    assert_int_equal(capture("keyvault key rotate -h"), KL_EXIT_DONE);
    assert_int_equal(capture("help key rotate"), KL_EXIT_DONE);
    assert_non_null(strstr(capture_out, "Usage: kluis key rotate"));
    assert_string_equal(capture_err, "");
    /* falling short of a verb shows the help too, yet is no success */
    assert_int_equal(capture("key"), KL_EXIT_USAGE);
    assert_int_equal(capture(""), KL_EXIT_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_table__every_verb_has_help_and_example),
        cmocka_unit_test(test_cli_table__options_are_sound),
        cmocka_unit_test(test_cli_table__help_documents_exit_codes),
        cmocka_unit_test(test_cli_table__help_fits_a_terminal),
        cmocka_unit_test(test_cli_table__names_are_unique),
        cmocka_unit_test(test_cli_table__help_at_every_level),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
