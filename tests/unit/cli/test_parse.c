#include "tests/unit/cli/capture.h"

#include "cli/command_parts.h"

#include <stdlib.h>
#include <string.h>

static enum kl_code nothing(struct kl_cmd *cmd, struct kl_err *err)
{
    (void)cmd, (void)err;
    return KL_OK;
}

static const char *const colours[] = {"Red", "green", NULL};

static const struct kl_option options[] = {
    {.name = "name", .letter = 'n', .argument = "NAME", .help = "A."},
    {.name = "flag", .letter = 'f', .kind = KL_OPTION_FLAG, .help = "A."},
    {.name = "enabled", .kind = KL_OPTION_BOOL, .help = "A."},
    {.name = "tags", .kind = KL_OPTION_WORDS, .argument = "K=V", .help = "A."},
    {.name = "colours", .kind = KL_OPTION_SET, .argument = "C", .choices = colours, .help = "A."},
    {.name = "count", .argument = "N", .help = "A."},
};

static const struct kl_option needy_options[] = {
    {.name = "name", .letter = 'n', .argument = "NAME", .required = true, .help = "A."},
};

static const struct kl_command easy = {.verb = "easy",
                                       .options = options,
                                       .option_count = KL_COUNT(options),
                                       .positional = "FILE…",
                                       .positional_max = 2,
                                       .lists = true,
                                       .run = nothing};
static const struct kl_command needy = {.verb = "needy",
                                        .options = needy_options,
                                        .option_count = KL_COUNT(needy_options),
                                        .positional = "FILE",
                                        .positional_min = 1,
                                        .positional_max = 1,
                                        .run = nothing};

static struct kl_cmd cmd;
static struct kl_err err;
static char *words[32];
static char line[512];

/* The words stay in `line`: the command borrows them. */
static enum kl_code parse(const struct kl_command *c, const char *text)
{
    char *rest = NULL;
    int count = 0;

    kl_cmd_done(&cmd);
    memset(&err, 0, sizeof(err));
    cmd.command = c;
    snprintf(line, sizeof(line), "%s", text);
    for (char *w = strtok_r(line, " ", &rest); w != NULL; w = strtok_r(NULL, " ", &rest))
        words[count++] = w;
    return kl_cmd_parse(&cmd, count, words, &err);
}

static int forget(void **state)
{
    (void)state;
    if (cmd.command != NULL)
        kl_cmd_done(&cmd);
    return 0;
}

static void test_cli_parse__value_forms(void **state)
{
    static const char *const forms[] = {"--name kek", "--name=kek", "-n kek", "-nkek"};

    (void)state;
    for (size_t i = 0; i < KL_COUNT(forms); i++) {
        assert_int_equal(parse(&easy, forms[i]), KL_OK);
        assert_string_equal(kl_cmd_value(&cmd, "name"), "kek");
        assert_false(kl_cmd_flag(&cmd, "flag"));
    }
    assert_int_equal(parse(&easy, "--name -"), KL_OK); /* a value may be anything */
    assert_string_equal(kl_cmd_value(&cmd, "name"), "-");
    assert_int_equal(parse(&easy, "--name="), KL_OK);
    assert_string_equal(kl_cmd_value(&cmd, "name"), "");
}

static void test_cli_parse__value_errors(void **state)
{
    (void)state;
    assert_int_equal(parse(&easy, "--name"), KL_USAGE);
    assert_non_null(strstr(err.text, "--name needs a value"));
    assert_int_equal(parse(&easy, "--name a --name b"), KL_USAGE);
    assert_non_null(strstr(err.text, "twice"));
    assert_int_equal(parse(&easy, "--flag=yes"), KL_USAGE);
    assert_int_equal(parse(&needy, "file"), KL_USAGE);
    assert_string_equal(err.text, "--name NAME is missing");
    assert_int_equal(parse(&needy, "-n a"), KL_USAGE);
    assert_string_equal(err.text, "FILE is missing");
    assert_int_equal(parse(&needy, "-n a one two"), KL_USAGE);
    assert_non_null(strstr(err.text, "'two' is one word too many"));
}

static void test_cli_parse__unknown_option_suggests(void **state)
{
    (void)state;
    assert_int_equal(parse(&easy, "--nmae x"), KL_USAGE);
    assert_non_null(strstr(err.text, "did you mean '--name'"));
    assert_int_equal(parse(&easy, "--colors=red"), KL_USAGE);
    assert_non_null(strstr(err.text, "did you mean '--colours'"));
    assert_int_equal(parse(&easy, "--quite-different"), KL_USAGE);
    assert_null(strstr(err.text, "did you mean"));
    assert_int_equal(parse(&easy, "-z"), KL_USAGE);
    /* --timeout belongs to remote commands only */
    assert_int_equal(parse(&easy, "--timeout 1s"), KL_USAGE);
}

static void test_cli_parse__bools(void **state)
{
    bool on = true;

    (void)state;
    assert_int_equal(parse(&easy, "file"), KL_OK);
    assert_false(kl_cmd_bool(&cmd, "enabled", &on));
    assert_int_equal(parse(&easy, "--enabled false"), KL_OK);
    assert_true(kl_cmd_bool(&cmd, "enabled", &on));
    assert_false(on);
    assert_int_equal(parse(&easy, "--enabled file"), KL_OK);
    assert_true(kl_cmd_bool(&cmd, "enabled", &on));
    assert_true(on);
    assert_int_equal(parse(&easy, "--enabled=False"), KL_OK);
    assert_true(kl_cmd_bool(&cmd, "enabled", &on));
    assert_false(on);
    assert_int_equal(parse(&easy, "--enabled=perhaps"), KL_USAGE);
}

static void test_cli_parse__words_and_sets(void **state)
{
    const char *const *got;
    bool given = false;

    (void)state;
    assert_int_equal(parse(&easy, "--tags a=1,2 b=3 --colours RED,Green red -f"), KL_OK);
    assert_int_equal(kl_cmd_words(&cmd, "tags", &got, NULL), 2);
    assert_string_equal(got[0], "a=1,2"); /* a tag may hold a comma */
    assert_int_equal(kl_cmd_words(&cmd, "colours", &got, &given), 3);
    assert_true(given);
    assert_string_equal(got[0], "Red"); /* in the table's spelling */
    assert_string_equal(got[1], "green");
    assert_true(kl_cmd_flag(&cmd, "flag"));
    assert_int_equal(parse(&easy, "--colours --flag"), KL_OK);
    assert_int_equal(kl_cmd_words(&cmd, "colours", &got, &given), 0);
    assert_true(given);
    assert_int_equal(parse(&easy, "--colours blue"), KL_USAGE);
    assert_non_null(strstr(err.text, "Red, green"));
    assert_int_equal(parse(&easy, "--tags=a=1 one"), KL_OK); /* "=" takes one word only */
    assert_int_equal(kl_cmd_positionals(&cmd, &got), 1);
}

static void test_cli_parse__positionals(void **state)
{
    const char *const *got;

    (void)state;
    assert_int_equal(parse(&easy, "a -f b"), KL_OK);
    assert_int_equal(kl_cmd_positionals(&cmd, &got), 2);
    assert_int_equal(parse(&easy, "-- -f --name"), KL_OK);
    assert_int_equal(kl_cmd_positionals(&cmd, &got), 2);
    assert_string_equal(got[0], "-f");
    assert_int_equal(parse(&easy, "-"), KL_OK); /* standard input, no option */
    assert_int_equal(kl_cmd_positionals(&cmd, &got), 1);
}

static void test_cli_parse__numbers(void **state)
{
    int64_t n = 7;

    (void)state;
    assert_int_equal(parse(&easy, ""), KL_OK);
    assert_int_equal(kl_cmd_int(&cmd, "count", 1, 10, &n, &err), KL_OK);
    assert_int_equal(n, 7);
    assert_int_equal(parse(&easy, "--count 10"), KL_OK);
    assert_int_equal(kl_cmd_int(&cmd, "count", 1, 10, &n, &err), KL_OK);
    assert_int_equal(n, 10);
    static const char *const bad[] = {"--count 11", "--count 0", "--count 3x",
                                      "--count=", "--count 99999999999999999999"};

    for (size_t i = 0; i < KL_COUNT(bad); i++) {
        assert_int_equal(parse(&easy, bad[i]), KL_OK);
        assert_int_equal(kl_cmd_int(&cmd, "count", 1, 10, &n, &err), KL_USAGE);
    }
}

static void test_cli_parse__help_wins(void **state)
{
    (void)state;
    assert_int_equal(parse(&needy, "--no-such --help"), KL_OK);
    assert_true(cmd.help);
    assert_int_equal(parse(&easy, "-- --help"), KL_OK); /* behind -- it is a file name */
    assert_false(cmd.help);
}

static void finds(const char *text, const char *noun_name, const char *verb)
{
    const struct kl_noun *noun = NULL;
    const struct kl_command *c = NULL;
    char *argv[8], *rest = NULL, copy[200];
    int argc = 0, used = 0;

    snprintf(copy, sizeof(copy), "%s", text);
    for (char *w = strtok_r(copy, " ", &rest); w != NULL; w = strtok_r(NULL, " ", &rest))
        argv[argc++] = w;
    assert_int_equal(kl_command_find(argc, argv, &noun, &c, &used, &err), KL_OK);
    assert_non_null(c);
    assert_string_equal(c->verb, verb);
    if (noun_name != NULL)
        assert_string_equal(noun->name, noun_name);
    else
        assert_null(noun->name);
}

static void test_cli_parse__finds_commands(void **state)
{
    (void)state;
    finds("key create", "key", "create");
    finds("keyvault key create", "key", "create");
    finds("keyvault create", "vault", "create"); /* az's own form */
    finds("keyvault list-deleted", "vault", "list-deleted");
    finds("vault create", "vault", "create");
    finds("version", NULL, "version");
    finds("encrypt", NULL, "encrypt");
    finds("keyvault login", NULL, "login");
}

static void test_cli_parse__unknown_commands_suggest(void **state)
{
    (void)state;
    assert_int_equal(capture("kye list"), KL_EXIT_USAGE);
    assert_non_null(strstr(capture_err, "did you mean 'kluis key'"));
    assert_int_equal(capture("key lsit"), KL_EXIT_USAGE);
    assert_non_null(strstr(capture_err, "did you mean 'kluis key list'"));
    assert_int_equal(capture("key set"), KL_EXIT_USAGE);
    assert_non_null(strstr(capture_err, "did you mean 'kluis key set-attributes'"));
    assert_int_equal(capture("xyzzy"), KL_EXIT_USAGE);
    assert_null(strstr(capture_err, "did you mean"));
    assert_string_equal(capture_out, "");
    assert_int_equal(capture("create"), KL_EXIT_USAGE); /* only below keyvault */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_cli_parse__value_forms, forget),
        cmocka_unit_test_teardown(test_cli_parse__value_errors, forget),
        cmocka_unit_test_teardown(test_cli_parse__unknown_option_suggests, forget),
        cmocka_unit_test_teardown(test_cli_parse__bools, forget),
        cmocka_unit_test_teardown(test_cli_parse__words_and_sets, forget),
        cmocka_unit_test_teardown(test_cli_parse__positionals, forget),
        cmocka_unit_test_teardown(test_cli_parse__numbers, forget),
        cmocka_unit_test_teardown(test_cli_parse__help_wins, forget),
        cmocka_unit_test(test_cli_parse__finds_commands),
        cmocka_unit_test(test_cli_parse__unknown_commands_suggest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
