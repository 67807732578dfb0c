#include "tests/unit/wrap/support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRAPPED = 2 + KL_DEK_BYTES };

static unsigned version_of(const char *url)
{
    return (unsigned)(url[strlen(url) - 1] - '0');
}

static enum kl_code refuse(const struct fake_kek *f, struct kl_err *err)
{
    return f->dead ? kl_fail(err, KL_UNREACHABLE, "fake", "the service cannot be reached") : KL_OK;
}

static enum kl_code fake_newest(void *arg, const char *key_url,
                                char ret_kid[static KL_SLOT_KEK_MAX], struct kl_err *err)
{
    struct fake_kek *f = arg;
    enum kl_code code = refuse(f, err);
    if (code != KL_OK)
        return code;
    f->asks++;
    (void)snprintf(ret_kid, KL_SLOT_KEK_MAX, "%s/%032u", key_url, f->newest);
    return KL_OK;
}

static enum kl_code fake_wrap(void *arg, const char *key_url, const char *alg,
                              struct kl_secret *dek,
                              uint8_t ret_wrapped[static KL_SLOT_WRAPPED_MAX], size_t *ret_len,
                              char ret_kid[static KL_SLOT_KEK_MAX], struct kl_err *err)
{
    struct fake_kek *f = arg;
    enum kl_code code = refuse(f, err);
    if (code != KL_OK)
        return code;
    if (kl_key_url_valid(key_url, true))
        (void)snprintf(ret_kid, KL_SLOT_KEK_MAX, "%s", key_url);
    else
        (void)snprintf(ret_kid, KL_SLOT_KEK_MAX, "%s/%032u", key_url, f->newest);
    const uint8_t mask = (uint8_t)(0x50 + version_of(ret_kid) + (unsigned)strlen(alg));
    uint8_t sum = 0;
    assert_int_equal(kl_secret_len(dek), KL_DEK_BYTES);
    memcpy(f->dek, kl_secret_bytes(dek), KL_DEK_BYTES);
    for (size_t i = 0; i < KL_DEK_BYTES; i++) {
        const uint8_t plain = (uint8_t)(f->dek[i] ^ (f->wraps_wrongly ? 1 : 0));
        ret_wrapped[2 + i] = (uint8_t)(plain ^ mask);
        sum = (uint8_t)(sum + ret_wrapped[2 + i]);
    }
    ret_wrapped[0] = mask;
    ret_wrapped[1] = sum;
    *ret_len = WRAPPED;
    f->wraps++;
    return KL_OK;
}

static enum kl_code fake_unwrap(void *arg, const char *kid, const char *alg, const uint8_t *wrapped,
                                size_t n, struct kl_secret **ret_dek, struct kl_err *err)
{
    struct fake_kek *f = arg;
    enum kl_code code = refuse(f, err);
    if (code != KL_OK)
        return code;
    f->unwraps++;
    if (version_of(kid) == f->disabled)
        return kl_fail(err, KL_FORBIDDEN, "fake", "the key version is disabled");
    const uint8_t mask = (uint8_t)(0x50 + version_of(kid) + (unsigned)strlen(alg));
    uint8_t plain[KL_DEK_BYTES], sum = 0;
    for (size_t i = 0; i < KL_DEK_BYTES && n == WRAPPED; i++) {
        plain[i] = (uint8_t)(wrapped[2 + i] ^ mask);
        sum = (uint8_t)(sum + wrapped[2 + i]);
    }
    if (n != WRAPPED || wrapped[0] != mask || wrapped[1] != sum)
        return kl_fail(err, KL_WRAP_KEY, "fake", "the key version does not open it");
    *ret_dek = kl_secret_new(KL_DEK_BYTES);
    assert_non_null(*ret_dek);
    return kl_secret_append(*ret_dek, plain, sizeof plain);
}

void fake_kek_init(struct fake_kek *f)
{
    *f = (struct fake_kek){.newest = FAKE_NEWEST};
    f->kek =
        (struct kl_kek){.arg = f, .wrap = fake_wrap, .unwrap = fake_unwrap, .newest = fake_newest};
}

void bytes_free(struct bytes *b)
{
    free(b->at);
    *b = (struct bytes){.n = 0};
}

void fill_pattern(uint8_t *to, size_t n, uint32_t seed)
{
    uint32_t x = seed * 2654435761U + 1;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525U + 1013904223U;
        to[i] = (uint8_t)(x >> 24);
    }
}

static struct bytes bytes_new(size_t n)
{
    struct bytes b = {.at = malloc(n + 1), .n = n};
    assert_non_null(b.at);
    return b;
}

struct bytes pattern(size_t n, uint32_t seed)
{
    struct bytes b = bytes_new(n);
    fill_pattern(b.at, n, seed);
    return b;
}

struct bytes copy_of(const struct bytes *b)
{
    struct bytes c = bytes_new(b->n);
    memcpy(c.at, b->at, b->n);
    return c;
}

static void write_whole(int fd, const struct bytes *b)
{
    for (size_t done = 0; done < b->n;) {
        ssize_t n = write(fd, b->at + done, b->n - done);
        assert_true(n > 0);
        done += (size_t)n;
    }
}

int file_of(const struct bytes *b)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    if (b != NULL)
        write_whole(fd, b);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

struct bytes content_of(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    struct bytes b = bytes_new((size_t)st.st_size);
    for (size_t done = 0; done < b.n;) {
        ssize_t n = pread(fd, b.at + done, b.n - done, (off_t)done);
        assert_true(n > 0);
        done += (size_t)n;
    }
    return b;
}

struct bytes sealed(struct fake_kek *f, const struct bytes *plain,
                    const struct kl_seal_options *options)
{
    const struct kl_seal_options usual = {.key_url = KEY_URL, .segment_log2 = 16};
    const int in = file_of(plain), out = file_of(NULL);
    uint64_t n = 0;
    struct kl_err err = {.code = KL_OK};
    if (kl_seal(&f->kek, options != NULL ? options : &usual, in, out, &n, &err) != KL_OK)
        fail_msg("%s", err.text);
    assert_int_equal(n, plain->n);
    struct bytes b = content_of(out);
    close(in);
    close(out);
    return b;
}

enum kl_code unsealed(struct fake_kek *f, const struct bytes *container, struct bytes *ret_plain,
                      struct kl_err *err)
{
    const struct kl_stream_options stream = {.in_order = true};
    const struct kl_unseal_options options = {.stream = &stream};
    const int in = file_of(container), out = file_of(NULL);
    uint64_t n = 0;
    enum kl_code code = kl_unseal(&f->kek, &options, in, out, &n, err);
    *ret_plain = content_of(out);
    close(in);
    close(out);
    return code;
}

static char folder[64];

static void remove_folder(void)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    (void)!system(command);
}

const char *temp_path(const char *name)
{
    static char path[256];
    if (folder[0] == 0) {
        (void)snprintf(folder, sizeof folder, "/tmp/kluis-wrap-XXXXXX");
        assert_non_null(mkdtemp(folder));
        (void)atexit(remove_folder);
    }
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

void write_file(const char *path, const struct bytes *b)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    write_whole(fd, b);
    close(fd);
}

struct bytes read_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    struct bytes b = content_of(fd);
    close(fd);
    return b;
}

void assert_bytes(const struct bytes *a, const struct bytes *b)
{
    assert_int_equal(a->n, b->n);
    assert_true(memcmp(a->at, b->at, a->n) == 0);
}

void assert_text_has(const struct kl_err *err, const char *words)
{
    if (strstr(err->text, words) == NULL)
        fail_msg("the text \"%s\" does not say \"%s\"", err->text, words);
}
