#include "tests/unit/cli/capture.h"

#include "cli/command_parts.h"
#include "cli/out.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct kl_column columns[] = {
    {"Name", "kid", KL_COLUMN_HEAD},
    {"Version", "kid", KL_COLUMN_LAST},
    {"On", "attributes.enabled", KL_COLUMN_TEXT},
    {"Expires", "attributes.exp", KL_COLUMN_TIME},
    {"Ops", "ops", KL_COLUMN_LIST},
    {"Tags", "tags", KL_COLUMN_LIST},
};

static const char rows[] =
    "[{\"kid\":\"https://v.example:1/keys/kek/00ff\",\"attributes\":{\"enabled\":true,\"exp\":1893456000},"
    "\"ops\":[\"wrapKey\",\"sign\"],\"tags\":{\"team\":\"ops\"}},"
    "{\"kid\":\"https://v.example:1/keys/long-name\",\"attributes\":{\"enabled\":false},\"ops\":[],"
    "\"tags\":null}]";

static char shown[4096];

static enum kl_code nothing(struct kl_cmd *cmd, struct kl_err *err)
{
    (void)cmd, (void)err;
    return KL_OK;
}
static const struct kl_command listing = {.verb = "list", .lists = true, .run = nothing};

/* Show an array (or its first value) in a format; the text is in `shown`. */
static void show(const char *format, const json_t *array, bool one)
{
    struct kl_cmd cmd = {.command = &listing};
    char option[] = "-o", word[16];
    char *argv[] = {option, word};
    int out = memfd_create("out", MFD_CLOEXEC), kept = dup(1);

    snprintf(word, sizeof(word), "%s", format);
    assert_int_equal(kl_cmd_parse(&cmd, 2, argv, NULL), KL_OK);
    fflush(stdout);
    dup2(out, 1);
    enum kl_code code =
        one ? kl_out_show(&cmd, json_array_get(array, 0), columns, KL_COUNT(columns), NULL)
            : kl_out_list(&cmd, array, columns, KL_COUNT(columns), NULL);

    dup2(kept, 1);
    close(kept);
    ssize_t n = pread(out, shown, sizeof(shown) - 1, 0);

    shown[n > 0 ? n : 0] = '\0';
    close(out);
    kl_cmd_done(&cmd);
    assert_int_equal(code, KL_OK);
}

static void test_cli_out__never(void **state)
{
    static const struct kl_column seen = {"Seen", "at", KL_COLUMN_SEEN};
    static const struct kl_column time = {"At", "at", KL_COLUMN_TIME};
    KL_AUTO(json) never = json_pack("{s:i}", "at", 0);
    KL_AUTO(json) once = json_pack("{s:i}", "at", 1893456000);
    struct kl_buf out = KL_BUF_INIT(256);

    (void)state;
    kl_out_value(never, &seen, &out);
    kl_out_value(never, &time, &out); /* an expiry of 0 is long past, not absent */
    kl_out_value(once, &seen, &out);
    assert_string_equal(kl_buf_text(&out), "-1970-01-01T00:00:00Z2030-01-01T00:00:00Z");
    kl_buf_done(&out);
}

static void test_cli_out__table(void **state)
{
    KL_AUTO(json) array = json_loads(rows, 0, NULL);

    (void)state;
    show("table", array, false);
    assert_string_equal(shown,
                        "Name       Version    On   Expires               Ops           Tags\n"
                        "kek        00ff       yes  2030-01-01T00:00:00Z  wrapKey,sign  team=ops\n"
                        "long-name  long-name  no   -                     -             -\n");
    show("table", array, true);
    assert_string_equal(shown, "Name     kek\nVersion  00ff\nOn       yes\n"
                               "Expires  2030-01-01T00:00:00Z\nOps      wrapKey,sign\n"
                               "Tags     team=ops\n");
}

static void test_cli_out__tsv(void **state)
{
    KL_AUTO(json) array = json_loads(rows, 0, NULL);

    (void)state;
    show("tsv", array, false);
    assert_string_equal(shown, "kek\t00ff\tyes\t2030-01-01T00:00:00Z\twrapKey,sign\tteam=ops\n"
                               "long-name\tlong-name\tno\t-\t-\t-\n");
}

static void test_cli_out__json_is_the_answer(void **state)
{
    KL_AUTO(json) array = json_loads(rows, 0, NULL);
    KL_AUTO(json) back = NULL;

    (void)state;
    show("json", array, false);
    back = json_loads(shown, 0, NULL);
    assert_true(json_equal(array, back));
    assert_int_equal(shown[strlen(shown) - 1], '\n');
}

static void test_cli_out__hostile_text_stays_one_line(void **state)
{
    KL_AUTO(json)
    array = json_pack("[{s:s}]", "kid",
                      "evil\x1b[2J\n\tname\x7f\xc2\x9b"
                      "\u202emoc\u2066x\u2028y\u200fz\u00e9\u20ac");

    (void)state;
    show("tsv", array, false);
    assert_non_null(strstr(shown, "evil?[2J??name???moc?x?y?z\u00e9\u20ac"));
    assert_null(strchr(shown, 0x1b));
    assert_ptr_equal(strchr(shown, '\n'), shown + strlen(shown) - 1);
    show("json", array, false); /* escaped, not dropped */
    assert_null(strchr(shown, 0x1b));
    assert_non_null(strstr(shown, "\\u001B"));
}

static void test_cli_out__unknown_shapes_do_not_crash(void **state)
{
    KL_AUTO(json)
    array = json_loads("[{\"kid\":7,\"attributes\":\"x\",\"ops\":\"y\",\"tags\":[[1]]},3,null]", 0,
                       NULL);

    (void)state;
    show("tsv", array, false);
    assert_non_null(strstr(shown, "7\t7\t-\t-\ty\t?\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_out__never),
        cmocka_unit_test(test_cli_out__table),
        cmocka_unit_test(test_cli_out__tsv),
        cmocka_unit_test(test_cli_out__json_is_the_answer),
        cmocka_unit_test(test_cli_out__hostile_text_stays_one_line),
        cmocka_unit_test(test_cli_out__unknown_shapes_do_not_crash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
