/* The installed library as another program sees it: its one header, its one archive. */
#include "wrap/kluis_wrap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#define KEY "https://vault.example.test/keys/k"

static int refuse; /* code that the key gives */

static int wrap(void *arg, const char *key_url, const char *alg,
                const unsigned char dek[KLUIS_WRAP_DEK_BYTES],
                unsigned char wrapped[KLUIS_WRAP_WRAPPED_MAX], size_t *wrapped_len,
                char version_url[KLUIS_WRAP_URL_MAX], char *text, size_t room)
{
    (void)arg, (void)alg;
    if (refuse != 0)
        (void)snprintf(text, room, "not today");
    memcpy(wrapped, dek, KLUIS_WRAP_DEK_BYTES);
    *wrapped_len = KLUIS_WRAP_DEK_BYTES;
    (void)snprintf(version_url, KLUIS_WRAP_URL_MAX, "%s%s", key_url,
                   strcmp(key_url, KEY) == 0 ? "/1" : "");
    return refuse;
}

static int unwrap(void *arg, const char *version_url, const char *alg, const unsigned char *wrapped,
                  size_t wrapped_len, unsigned char dek[KLUIS_WRAP_DEK_BYTES], char *text,
                  size_t room)
{
    (void)arg, (void)version_url, (void)alg, (void)text, (void)room;
    assert_int_equal(wrapped_len, KLUIS_WRAP_DEK_BYTES);
    memcpy(dek, wrapped, wrapped_len);
    return refuse;
}

static int newest(void *arg, const char *key_url, char version_url[KLUIS_WRAP_URL_MAX], char *text,
                  size_t room)
{
    (void)arg, (void)text, (void)room;
    (void)snprintf(version_url, KLUIS_WRAP_URL_MAX, "%s/2", key_url);
    return refuse;
}

static const struct kluis_wrap_key key = {.wrap = wrap, .unwrap = unwrap, .newest = newest};

static int file(const char *content)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static void test_wrap_kluis_wrap__seal_rewrap_open(void **state)
{
    (void)state;
    struct kluis_wrap *w = NULL;
    struct kluis_wrap_error error = {.code = -1};
    char path[64], back[16] = "";
    int changed = -1, in = file("some data"), container = file(""), out = file("");
    assert_int_equal(kluis_wrap_new_with_key(&key, &w, &error), KLUIS_WRAP_OK);
    assert_int_equal(kluis_wrap_seal(w, KEY, in, container, &error), KLUIS_WRAP_OK);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", container);
    assert_int_equal(kluis_wrap_rewrap(w, path, NULL, &changed, &error), KLUIS_WRAP_OK);
    assert_int_equal(changed, 1);
    assert_int_equal(kluis_wrap_rewrap(w, path, NULL, &changed, &error), KLUIS_WRAP_OK);
    assert_int_equal(changed, 0);
    assert_int_equal(lseek(container, 0, SEEK_SET), 0);
    assert_int_equal(kluis_wrap_open(w, container, out, &error), KLUIS_WRAP_OK);
    assert_int_equal(pread(out, back, sizeof back, 0), 9);
    assert_string_equal(back, "some data");
    close(in);
    close(container);
    close(out);
    kluis_wrap_free(w);
}

static void test_wrap_kluis_wrap__codes_and_sentences(void **state)
{
    (void)state;
    struct kluis_wrap *w = NULL;
    struct kluis_wrap_error error = {.code = -1};
    const struct kluis_wrap_service nothing = {.url = NULL};
    int in = file("no container"), out = file("");
    assert_int_equal(kluis_wrap_new(&nothing, &w, &error), KLUIS_WRAP_FAILED);
    assert_int_equal(kluis_wrap_new_with_key(&key, &w, &error), KLUIS_WRAP_OK);
    assert_int_equal(kluis_wrap_open(w, in, out, &error), KLUIS_WRAP_DAMAGED);
    assert_int_equal(kluis_wrap_rewrap(w, "/nonexistent", NULL, NULL, &error), KLUIS_WRAP_FAILED);
    for (refuse = KLUIS_WRAP_FAILED; refuse <= KLUIS_WRAP_DAMAGED; refuse++) {
        assert_int_equal(kluis_wrap_seal(w, KEY, in, out, &error), refuse);
        assert_string_equal(error.text, "not today");
    }
    refuse = 0;
    close(in);
    close(out);
    kluis_wrap_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrap_kluis_wrap__seal_rewrap_open),
        cmocka_unit_test(test_wrap_kluis_wrap__codes_and_sentences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
