#include "tests/unit/cli/capture.h"

#include "cli/session.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int clean_home(void **state)
{
    if (fixture_folder(state) != 0)
        return -1;
    for (size_t i = 0; i < kl_session_row_count; i++)
        unsetenv(kl_session_rows[i].variable);
    unsetenv("KLUIS_CONFIG");
    return setenv("XDG_CONFIG_HOME", *state, 1);
}

static void test_cli_session__missing_settings_are_named(void **state)
{
    (void)state;
    assert_int_equal(capture("whoami"), 2);
    assert_non_null(strstr(capture_err, "KLUIS_URL"));
    setenv("KLUIS_URL", "https://localhost:1", 1);
    assert_int_equal(capture("whoami"), 2);
    assert_non_null(strstr(capture_err, "KLUIS_TENANT"));
    assert_int_equal(capture("audit verify"), 2);
    assert_non_null(strstr(capture_err, "KLUIS_CONFIG"));
    unsetenv("KLUIS_URL");
}

static void test_cli_session__saved_and_overridden(void **state)
{
    KL_AUTO(session) s = NULL;
    KL_AUTO(session) back = NULL;
    KL_AUTO(char) path = NULL;
    struct stat st;

    (void)state;
    assert_int_equal(kl_session_load(&s, NULL), KL_OK);
    assert_int_equal(kl_session_set(s, 0, "https://kluis.example:1", NULL), KL_OK);
    assert_int_equal(kl_session_set(s, 5, "relative-secret", NULL), KL_OK);
    assert_int_equal(s->secret_file[0], '/'); /* good from any folder later */
    assert_int_equal(kl_session_save(s, NULL), KL_OK);
    assert_int_equal(kl_session_path(&path, NULL), KL_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    setenv("KLUIS_TENANT", "from-environment", 1);
    setenv("KLUIS_URL", "", 1); /* empty is unset */
    assert_int_equal(kl_session_load(&back, NULL), KL_OK);
    assert_string_equal(back->url, "https://kluis.example:1");
    assert_string_equal(back->tenant, "from-environment");
    assert_string_equal(back->secret_file, s->secret_file);
    unsetenv("KLUIS_TENANT");
    unsetenv("KLUIS_URL");

    assert_int_equal(capture("logout"), 0);
    assert_int_not_equal(stat(path, &st), 0);
    assert_int_equal(capture("logout"), 0); /* again: nothing to forget, no error */
}

static void test_cli_session__damaged_file_says_so(void **state)
{
    KL_AUTO(char) path = NULL;
    KL_AUTO(session) s = NULL;
    KL_AUTO(session) none = NULL;
    struct kl_err err = {0};

    (void)state;
    assert_int_equal(kl_session_load(&s, NULL), KL_OK);
    assert_int_equal(kl_session_save(s, NULL), KL_OK);
    assert_int_equal(kl_session_path(&path, NULL), KL_OK);
    FILE *f = fopen(path, "we");

    fputs("{\"url\": 7}", f);
    fclose(f);
    assert_int_not_equal(kl_session_load(&none, &err), KL_OK);
    assert_non_null(strstr(err.text, "login.json"));
    assert_int_equal(capture("logout"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_session__missing_settings_are_named),
        cmocka_unit_test(test_cli_session__saved_and_overridden),
        cmocka_unit_test(test_cli_session__damaged_file_says_so),
    };

    return cmocka_run_group_tests(tests, clean_home, capture_folder_gone);
}
