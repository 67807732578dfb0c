#include "tests/unit/wrap/support.h"

#include "wrap/outfile.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned entries(const char *folder)
{
    unsigned n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n - 2;
}

static void fresh_folder(char *ret, size_t room, const char *name)
{
    (void)snprintf(ret, room, "%s", temp_path(name));
    assert_int_equal(mkdir(ret, 0700), 0);
}

static void test_wrap_outfile__appears_only_at_the_end(void **state)
{
    (void)state;
    char folder[128], path[160];
    struct stat st;
    fresh_folder(folder, sizeof folder, "appears");
    (void)snprintf(path, sizeof path, "%s/new", folder);
    struct kl_outfile *f = NULL;
    /* as the program runs: not dumpable, which changes who owns /proc/self */
    assert_int_equal(prctl(PR_SET_DUMPABLE, 0), 0);
    assert_int_equal(kl_outfile_open(path, &f, NULL), KL_OK);
    assert_false(kl_outfile_direct(f));
    assert_int_equal(write(kl_outfile_fd(f), "abc", 3), 3);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(kl_outfile_commit(f, NULL), KL_OK);
    kl_outfile_close(f);
    assert_int_equal(prctl(PR_SET_DUMPABLE, 1), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 3);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(entries(folder), 1);
}

static void test_wrap_outfile__replaces_and_keeps_the_mode(void **state)
{
    (void)state;
    char folder[128], path[160], link[160];
    struct stat st;
    BYTES old = pattern(10, 1);
    fresh_folder(folder, sizeof folder, "replaces");
    (void)snprintf(path, sizeof path, "%s/old", folder);
    (void)snprintf(link, sizeof link, "%s/link", folder);
    write_file(path, &old);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(symlink("old", link), 0);
    struct kl_outfile *f = NULL;
    const mode_t mask = umask(0);
    assert_int_equal(kl_outfile_open(link, &f, NULL), KL_OK);
    (void)umask(mask);
    assert_int_equal(write(kl_outfile_fd(f), "abc", 3), 3);
    BYTES before = read_file(path);
    assert_bytes(&before, &old);
    assert_int_equal(kl_outfile_commit(f, NULL), KL_OK);
    kl_outfile_close(f);
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 3);
    assert_int_equal(st.st_mode & 0777, 0640);
}

static void test_wrap_outfile__nothing_left_without_commit(void **state)
{
    (void)state;
    char folder[128], path[160];
    fresh_folder(folder, sizeof folder, "nothing");
    (void)snprintf(path, sizeof path, "%s/new", folder);
    struct kl_outfile *f = NULL;
    assert_int_equal(kl_outfile_open(path, &f, NULL), KL_OK);
    assert_int_equal(write(kl_outfile_fd(f), "abc", 3), 3);
    kl_outfile_close(f);
    assert_int_equal(entries(folder), 0);
}

static void test_wrap_outfile__devices_are_written_directly(void **state)
{
    (void)state;
    struct kl_outfile *f = NULL;
    assert_int_equal(kl_outfile_open("/dev/null", &f, NULL), KL_OK);
    assert_true(kl_outfile_direct(f));
    assert_int_equal(kl_outfile_commit(f, NULL), KL_OK);
    kl_outfile_close(f);
}

static void test_wrap_outfile__refusals(void **state)
{
    (void)state;
    struct kl_outfile *f = NULL;
    struct kl_err err;
    assert_int_equal(kl_outfile_open("/nonexistent/folder/x", &f, &err), KL_NOT_FOUND);
    assert_text_has(&err, "/nonexistent/folder/x");
    assert_int_equal(kl_outfile_open("/tmp", &f, &err), KL_BAD_INPUT);
    assert_null(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrap_outfile__appears_only_at_the_end),
        cmocka_unit_test(test_wrap_outfile__replaces_and_keeps_the_mode),
        cmocka_unit_test(test_wrap_outfile__nothing_left_without_commit),
        cmocka_unit_test(test_wrap_outfile__devices_are_written_directly),
        cmocka_unit_test(test_wrap_outfile__refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
