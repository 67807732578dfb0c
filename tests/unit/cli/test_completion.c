/* The generated script, run by bash itself. */
#include "tests/unit/cli/capture.h"

#include "cli/reference.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char offers[65536];

/* What bash would offer for these words, the last of which is being typed; in `offers`, one a line.
 */
static void complete(const char *folder, const char *words, int at)
{
    struct kl_buf script = KL_BUF_INIT(1 << 20);
    KL_AUTO(char) command = NULL;

    kl_completion_bash(&script);
    kl_buf_printf(&script,
                  "COMP_WORDS=(%s)\nCOMP_CWORD=%d\n_kluis\nprintf '%%s\\n' \"${COMPREPLY[@]}\"\n",
                  words, at);
    KL_AUTO(char) path = fixture_file(folder, "complete.sh", script.bytes, script.len);

    kl_buf_done(&script);
    assert_true(asprintf(&command, "bash --norc %s", path) > 0);
    FILE *in = popen(command, "re");

    assert_non_null(in);
    offers[0] = '\n';
    size_t n = fread(offers + 1, 1, sizeof(offers) - 2, in);

    offers[n + 1] = '\0';
    assert_int_equal(pclose(in), 0);
}

static bool offered(const char *word)
{
    char line[128];

    snprintf(line, sizeof(line), "\n%s\n", word);
    return strstr(offers, line) != NULL;
}

static void test_cli_completion__words(void **state)
{
    complete(*state, "kluis ''", 1);
    assert_true(offered("key") && offered("encrypt") && offered("keyvault"));
    complete(*state, "kluis ke", 1);
    assert_true(offered("key"));
    assert_false(offered("vault"));
    complete(*state, "kluis key ro", 2);
    assert_true(offered("rotate"));
    assert_false(offered("list"));
    complete(*state, "kluis keyvault key ro", 3);
    assert_true(offered("rotate"));
}

static void test_cli_completion__options(void **state)
{
    complete(*state, "kluis key create --v", 3);
    assert_true(offered("--vault-name"));
    assert_false(offered("--name"));
    complete(*state, "kluis key create --curve ''", 4);
    assert_true(offered("P-256"));
    assert_false(offered("--name"));
    complete(*state, "kluis key list -o ta", 4);
    assert_true(offered("table"));
    assert_false(offered("json"));
    complete(*state, "kluis whoami --", 2);
    assert_true(offered("--timeout"));
    complete(*state, "kluis encrypt --algorithm ''", 3); /* not the files that encrypt also takes */
    assert_true(offered("RSA-OAEP-256"));
    complete(*state, "kluis encrypt --", 2);
    assert_true(offered("--key"));
}

static void test_cli_completion__positional_words(void **state)
{
    complete(*state, "kluis reference ma", 2);
    assert_true(offered("markdown") && offered("man"));
    complete(*state, "kluis completion ''", 2);
    assert_true(offered("bash"));
}

static void test_cli_completion__files(void **state)
{
    KL_AUTO(char) path = fixture_file(*state, "some.blob", "x", 1);
    KL_AUTO(char) words = NULL;

    assert_true(asprintf(&words, "kluis key restore --file %s/som", (const char *)*state) > 0);
    complete(*state, words, 4);
    assert_true(offered(path));
    free(kl_take(words));
    assert_true(asprintf(&words, "kluis inspect %s/som", (const char *)*state) > 0);
    complete(*state, words, 2);
    assert_true(offered(path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_completion__words),
        cmocka_unit_test(test_cli_completion__options),
        cmocka_unit_test(test_cli_completion__positional_words),
        cmocka_unit_test(test_cli_completion__files),
    };

    return cmocka_run_group_tests(tests, fixture_folder, capture_folder_gone);
}
