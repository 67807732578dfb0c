/* `kluis audit verify` against a log written by base/chain_log and a service that knows where it
 * ends. */
#include "tests/unit/cli/fake_service.h"

#include "base/chain_log.h"
#include "cli/command.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char log_path[200], head_path[200], last_chain[65];

static int start(void **state)
{
    const char record[] = "\"op\":\"KeyGet\"";
    struct kl_chain_log *log = NULL;
    uint64_t seq = 0;

    if (fixture_folder(state) != 0)
        return -1;
    fake_start(*state);
    snprintf(log_path, sizeof(log_path), "%s/audit.log", (const char *)*state);
    snprintf(head_path, sizeof(head_path), "%s/audit.head", (const char *)*state);
    const struct kl_chain_config config = {
        .path = log_path, .head_path = head_path, .max_waiting = 100};

    assert_int_equal(kl_chain_open(&config, &log, NULL), KL_OK);
    for (int i = 0; i < 10; i++)
        assert_int_equal(kl_chain_append(log, record, sizeof(record) - 1, NULL, NULL), KL_OK);
    kl_chain_close(log);
    log = NULL;
    assert_int_equal(kl_chain_open(&config, &log, NULL), KL_OK);
    kl_chain_head(log, &seq, last_chain);
    kl_chain_close(log);
    return seq == 10 ? 0 : -1;
}

static int stop(void **state)
{
    fake_stop();
    return capture_folder_gone(state);
}

static int forget(void **state)
{
    (void)state;
    fake_forget();
    return 0;
}

static int verify(const char *file, const char *more)
{
    char words[600];

    snprintf(words, sizeof(words), "audit verify -o json --file %s %s", file, more);
    return capture(words);
}

static void service_says(unsigned seq, const char *chain)
{
    char body[200];

    snprintf(body, sizeof(body), "{\"seq\":%u,\"chain\":\"%s\",\"keys\":[]}", seq, chain);
    fake_answer("GET", "/kluis/v1/audit/head", 200, body);
}

/* A copy of the log's first `lines` lines, byte `flip` of it changed (0 = none). */
static char *copy_of_log(const char *folder, int lines, size_t flip)
{
    size_t n = 0, keep = 0;
    KL_AUTO(char) text = fixture_read(log_path, &n);

    while (lines-- > 0)
        keep += strcspn(text + keep, "\n") + 1;
    if (flip > 0)
        text[flip] ^= 1;
    return fixture_file(folder, "copy.log", text, keep);
}

static void test_cli_audit__intact(void **state)
{
    (void)state;
    service_says(10, last_chain);
    assert_int_equal(verify(log_path, ""), KL_EXIT_DONE);
    assert_non_null(strstr(capture_out, "\"intact\": true"));
    assert_non_null(strstr(capture_out, "\"records\": 10"));
    assert_non_null(strstr(capture_out, "\"comparedWithService\": true"));
    assert_non_null(strstr(capture_err, "The log is intact."));
    assert_non_null(strstr(capture_err, "signatures were not checked"));
}

static void test_cli_audit__edit_names_the_line(void **state)
{
    KL_AUTO(char) path = copy_of_log(*state, 10, 12);

    assert_int_equal(verify(path, "--offline"), KL_EXIT_FAILED);
    assert_non_null(strstr(capture_out, "\"intact\": false"));
    assert_non_null(strstr(capture_err, "line 1"));
}

static void test_cli_audit__cut_tail_shows_against_the_service(void **state)
{
    KL_AUTO(char) path = copy_of_log(*state, 7, 0);

    service_says(10, last_chain);
    assert_int_equal(verify(path, ""), KL_EXIT_FAILED);
    assert_non_null(strstr(capture_err, "the tail is cut"));
    assert_non_null(strstr(capture_out, "\"tailMissing\": true"));
}

static void test_cli_audit__cut_tail_shows_against_the_head_file(void **state)
{
    KL_AUTO(char) path = copy_of_log(*state, 7, 0);
    KL_AUTO(char) more = NULL;

    assert_true(asprintf(&more, "--offline --head-file %s", head_path) > 0);
    assert_int_equal(verify(path, more), KL_EXIT_FAILED);
    assert_non_null(strstr(capture_out, "\"tailMissing\": true"));
    /* without either it cannot show, and that is said */
    assert_int_equal(verify(path, "--offline"), KL_EXIT_DONE);
    assert_non_null(strstr(capture_err, "a cut tail would not show"));
}

static void test_cli_audit__another_log_is_not_this_one(void **state)
{
    char other[65];

    (void)state;
    memcpy(other, last_chain, sizeof(other));
    other[0] = other[0] == '0' ? '1' : '0';
    service_says(10, other);
    assert_int_equal(verify(log_path, ""), KL_EXIT_FAILED);
    assert_non_null(strstr(capture_err, "not the one that the service wrote"));
    /* the service may have gone on by now, but never back */
    service_says(9, other);
    assert_int_equal(verify(log_path, ""), KL_EXIT_FAILED);
}

static void test_cli_audit__no_log_is_no_damage(void **state)
{
    (void)state;
    assert_int_equal(verify("/no/such/log", "--offline"), KL_EXIT_FAILED);
    assert_string_equal(capture_out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_cli_audit__intact, forget),
        cmocka_unit_test_teardown(test_cli_audit__edit_names_the_line, forget),
        cmocka_unit_test_teardown(test_cli_audit__cut_tail_shows_against_the_service, forget),
        cmocka_unit_test_teardown(test_cli_audit__cut_tail_shows_against_the_head_file, forget),
        cmocka_unit_test_teardown(test_cli_audit__another_log_is_not_this_one, forget),
        cmocka_unit_test_teardown(test_cli_audit__no_log_is_no_damage, forget),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
