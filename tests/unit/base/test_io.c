#include "tests/unit/base/fixture.h"

#include "base/io.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_base_io__read_with_limit(void **state)
{
    KL_AUTO(char) path = fixture_file(*state, "file", "a\0b", 3);
    KL_AUTO(char) bytes = NULL;
    size_t n = 0;
    assert_int_equal(kl_io_read_file(path, 3, &bytes, &n, NULL), KL_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(bytes, "a\0b", 4);
    KL_AUTO(char) none = NULL;
    struct kl_err err = {0};
    assert_int_equal(kl_io_read_file(path, 2, &none, &n, &err), KL_TOO_BIG);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(kl_io_read_file("/nonexistent", 2, &none, &n, &err), KL_NOT_FOUND);
    assert_int_equal(kl_io_read_file(*state, 2, &none, &n, &err), KL_IO);
    assert_null(none);
}

static void test_base_io__replace(void **state)
{
    KL_AUTO(char) path = fixture_file(*state, "target", "old", 3);
    struct stat st;
    mode_t before = umask(077);
    assert_int_equal(kl_io_replace_file(path, 0640, "new content", 11, NULL), KL_OK);
    (void)umask(before);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    size_t n = 0;
    KL_AUTO(char) bytes = fixture_read(path, &n);
    assert_string_equal(bytes, "new content");
    KL_AUTO(char) nowhere = fixture_path(*state, "none/target");
    assert_int_equal(kl_io_replace_file(nowhere, 0600, "x", 1, NULL), KL_NOT_FOUND);
}

static void test_base_io__make_dirs(void **state)
{
    KL_AUTO(char) deep = fixture_path(*state, "d/e/f");
    KL_AUTO(char) middle = fixture_path(*state, "d/e");
    KL_AUTO(char) top = fixture_path(*state, "d");
    KL_AUTO(char) file = fixture_file(*state, "plain", "x", 1);
    KL_AUTO(char) below = fixture_path(*state, "plain/x");
    struct stat st;
    assert_int_equal(kl_io_make_dirs(deep, 0700, NULL), KL_OK);
    assert_int_equal(kl_io_make_dirs(deep, 0700, NULL), KL_OK);
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(kl_io_make_dirs(file, 0700, NULL), KL_EXISTS);
    assert_int_not_equal(kl_io_make_dirs(below, 0700, NULL), KL_OK);
    assert_int_equal(kl_io_make_dirs("", 0700, NULL), KL_BAD_INPUT);
    assert_int_equal(rmdir(deep) | rmdir(middle) | rmdir(top), 0);
}

static void test_base_io__own_folder(void **state)
{
    char out[4096], small[4];
    (void)state;
    assert_int_equal(kl_io_own_folder(out, sizeof out, NULL), KL_OK);
    assert_int_equal(out[0], '/');
    assert_int_equal(access(out, X_OK), 0);
    assert_int_equal(kl_io_own_folder(small, sizeof small, NULL), KL_TOO_BIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_io__read_with_limit),
        cmocka_unit_test(test_base_io__replace),
        cmocka_unit_test(test_base_io__make_dirs),
        cmocka_unit_test(test_base_io__own_folder),
    };
    return cmocka_run_group_tests_name("base.io", tests, fixture_folder, fixture_folder_gone);
}
