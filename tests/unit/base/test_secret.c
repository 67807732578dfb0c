#include "tests/unit/base/fixture.h"

#include "base/secret.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The linker sends munmap and free through here, where the last look at the memory is possible. */
int __real_munmap(void *p, size_t n);
int __wrap_munmap(void *p, size_t n);
void __real_free(void *p);
void __wrap_free(void *p);

static unsigned unmapped, unmapped_dirty;
static const char *watched; /* free of this one is looked at */
static bool watched_was_clean;

static bool is_clean(const char *bytes, size_t n)
{
    while (n > 0 && bytes[n - 1] == 0)
        n--;
    return n == 0;
}

int __wrap_munmap(void *p, size_t n)
{
    unmapped++;
    unmapped_dirty += !is_clean(p, n);
    return __real_munmap(p, n);
}

void __wrap_free(void *p)
{
    if (p != NULL && p == watched)
        watched_was_clean = is_clean(p, malloc_usable_size(p));
    __real_free(p);
}

static void test_base_secret__nothing_is_left_behind(void **state)
{
    (void)state;
    struct kl_secret *s = kl_secret_new(100000);
    unmapped = unmapped_dirty = 0;
    for (int i = 0; i < 90; i++) /* grows, and so moves, several times */
        assert_int_equal(kl_secret_append(s, memset((char[1000]){0}, 'k', 1000), 1000), KL_OK);
    kl_secret_free(s);
    assert_true(unmapped >= 3);
    assert_int_equal(unmapped_dirty, 0);
    char *p = kl_wiping_malloc(100);
    memset(p, 'k', 100);
    watched = p;
    watched_was_clean = false;
    p = kl_wiping_realloc(p, 100000);
    assert_true(watched_was_clean);
    assert_int_equal(p[99], 'k');
    memset(p, 'k', 100000);
    watched = p;
    watched_was_clean = false;
    kl_wiping_free(p);
    assert_true(watched_was_clean);
    watched = NULL;
}

static void test_base_secret__append_up_to_the_ceiling(void **state)
{
    (void)state;
    KL_AUTO(secret) s = kl_secret_new(10);
    assert_int_equal(kl_secret_len(s), 0);
    assert_int_equal(kl_secret_bytes(s)[0], 0);
    assert_int_equal(kl_secret_append(s, "12345678", 8), KL_OK);
    assert_int_equal(kl_secret_append(s, "901", 3), KL_TOO_BIG);
    assert_int_equal(kl_secret_len(s), 8);
    assert_int_equal(kl_secret_append(s, "90", 2), KL_OK);
    assert_memory_equal(kl_secret_bytes(s), "1234567890", 11);
    assert_int_equal(kl_secret_append(s, NULL, 0), KL_OK);
    assert_int_equal(kl_secret_resize(s, 11), KL_TOO_BIG);
    assert_int_equal(kl_secret_append(s, "x", SIZE_MAX), KL_TOO_BIG);
}

static void test_base_secret__growth_keeps_content(void **state)
{
    (void)state;
    KL_AUTO(secret) s = kl_secret_new(1 << 20);
    for (unsigned i = 0; i < 100000; i++) {
        uint8_t byte = (uint8_t)(i * 7);
        assert_int_equal(kl_secret_append(s, &byte, 1), KL_OK);
    }
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal(kl_secret_bytes(s)[i], (uint8_t)(i * 7));
}

static void test_base_secret__shrinking_wipes(void **state)
{
    (void)state;
    KL_AUTO(secret) s = kl_secret_new(100);
    assert_int_equal(kl_secret_append(s, "abcdefgh", 8), KL_OK);
    uint8_t *bytes = kl_secret_bytes(s);
    assert_int_equal(kl_secret_resize(s, 3), KL_OK);
    assert_memory_equal(bytes, "abc\0\0\0\0\0", 8);
    assert_int_equal(kl_secret_resize(s, 6), KL_OK);
    assert_memory_equal(kl_secret_bytes(s), "abc\0\0\0", 7);
}

static void test_base_secret__equal(void **state)
{
    (void)state;
    KL_AUTO(secret) a = kl_secret_new(100);
    KL_AUTO(secret) b = kl_secret_new(200);
    assert_int_equal(kl_secret_append(a, "same", 4), KL_OK);
    assert_int_equal(kl_secret_append(b, "same", 4), KL_OK);
    assert_true(kl_secret_equal(a, b));
    assert_int_equal(kl_secret_append(b, "", 1), KL_OK);
    assert_false(kl_secret_equal(a, b));
    assert_int_equal(kl_secret_resize(b, 4), KL_OK);
    kl_secret_bytes(b)[3] ^= 1;
    assert_false(kl_secret_equal(a, b));
}

static void test_base_secret__files(void **state)
{
    static const struct {
        const char *content;
        size_t n, ceiling;
        enum kl_code code;
        const char *expected;
    } rows[] = {
        {"1234", 4, 4, KL_OK, "1234"},       {"1234\n", 5, 4, KL_OK, "1234"},
        {"1234\r\n", 6, 4, KL_OK, "1234"},   {"1234\n\n", 6, 8, KL_OK, "1234\n"},
        {"1234\r", 5, 8, KL_OK, "1234\r"},   {"", 0, 4, KL_BAD_INPUT, NULL},
        {"\n", 1, 4, KL_BAD_INPUT, NULL},    {"12345", 5, 4, KL_TOO_BIG, NULL},
        {"12345\n", 6, 4, KL_TOO_BIG, NULL}, {"1234567890", 10, 4, KL_TOO_BIG, NULL},
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct kl_err err = {0};
        KL_AUTO(secret) s = NULL;
        char *path = fixture_file(*state, "pin", rows[i].content, rows[i].n);
        assert_int_equal(kl_secret_read_file(path, rows[i].ceiling, &s, &err), rows[i].code);
        if (rows[i].expected != NULL) {
            assert_string_equal(kl_secret_bytes(s), rows[i].expected);
            assert_int_equal(kl_secret_len(s), strlen(rows[i].expected));
            assert_int_equal(kl_secret_resize(s, rows[i].ceiling + 1), KL_TOO_BIG);
        } else {
            assert_null(s);
            assert_non_null(strstr(err.text, path));
            assert_null(strstr(err.text, "1234"));
        }
        free(path);
    }
    KL_AUTO(secret) s = NULL;
    assert_int_equal(kl_secret_read_file("/nonexistent/pin", 4, &s, NULL), KL_NOT_FOUND);
}

static void test_base_secret__pipe_in_pieces(void **state)
{
    (void)state;
    int fds[2];
    KL_AUTO(secret) s = NULL;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "12", 2), 2);
    assert_int_equal(write(fds[1], "34\n", 3), 3);
    (void)close(fds[1]);
    assert_int_equal(kl_secret_read_fd(fds[0], "pipe", 100, &s, NULL), KL_OK);
    (void)close(fds[0]);
    assert_string_equal(kl_secret_bytes(s), "1234");
}

static void test_base_secret__wiping_family(void **state)
{
    (void)state;
    char *p = kl_wiping_malloc(100);
    memset(p, 'k', 100);
    p = kl_wiping_realloc(p, 5000);
    for (int i = 0; i < 100; i++)
        assert_int_equal(p[i], 'k');
    p = kl_wiping_realloc(p, 40);
    assert_memory_equal(p, "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk", 40);
    assert_null(kl_wiping_realloc(p, 0));
    p = kl_wiping_realloc(NULL, 16);
    assert_non_null(p);
    kl_wiping_free(p);
    kl_wiping_free(NULL);
    char stack[16] = "secret";
    kl_wipe(stack, sizeof stack);
    for (size_t i = 0; i < sizeof stack; i++)
        assert_int_equal(stack[i], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_secret__nothing_is_left_behind),
        cmocka_unit_test(test_base_secret__append_up_to_the_ceiling),
        cmocka_unit_test(test_base_secret__growth_keeps_content),
        cmocka_unit_test(test_base_secret__shrinking_wipes),
        cmocka_unit_test(test_base_secret__equal),
        cmocka_unit_test(test_base_secret__files),
        cmocka_unit_test(test_base_secret__pipe_in_pieces),
        cmocka_unit_test(test_base_secret__wiping_family),
    };
    return cmocka_run_group_tests_name("base.secret", tests, fixture_folder, fixture_folder_gone);
}
