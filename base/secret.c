#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* One mapping per secret: locked and undumped page by page, so neighbours on the heap are not
 * concerned. */
struct kl_secret {
    uint8_t *bytes; /* mapped: len used, one NUL behind it */
    size_t len, mapped, ceiling;
};

/* Wiped single pages wait here to be used again: a mapping, its lock and the end of both cost five
 * system calls and an interrupt of every other processor, for each unwrapKey. */
#define SPARES 64
static pthread_mutex_t spares_lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t *spares[SPARES];
static size_t spare_count;

static uint8_t *spare_take(void)
{
    (void)pthread_mutex_lock(&spares_lock);
    uint8_t *p = spare_count > 0 ? spares[--spare_count] : NULL;
    (void)pthread_mutex_unlock(&spares_lock);
    return p;
}

static bool spare_keep(uint8_t *p)
{
    (void)pthread_mutex_lock(&spares_lock);
    bool kept = spare_count < SPARES;
    if (kept)
        spares[spare_count++] = p;
    (void)pthread_mutex_unlock(&spares_lock);
    return kept;
}

static size_t pages_for(size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (n + page) / page * page; /* always room for the NUL */
}

static uint8_t *map(size_t n)
{
    uint8_t *spare = n == pages_for(0) ? spare_take() : NULL;
    if (spare != NULL)
        return spare;
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    (void)mlock(p, n); /* over the memlock limit the unit's MemorySwapMax=0 is what holds */
    (void)madvise(p, n, MADV_DONTDUMP);
    return p;
}

static void unmap(uint8_t *bytes, size_t mapped)
{
    kl_wipe(bytes, mapped);
    if (mapped == pages_for(0) && spare_keep(bytes))
        return;
    (void)munlock(bytes, mapped);
    (void)munmap(bytes, mapped);
}

struct kl_secret *kl_secret_new(size_t ceiling)
{
    struct kl_secret *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->ceiling = ceiling;
    s->mapped = pages_for(0);
    s->bytes = map(s->mapped);
    if (s->bytes == NULL) {
        free(s);
        return NULL;
    }
    return s;
}

void kl_secret_free(struct kl_secret *s)
{
    if (s == NULL)
        return;
    unmap(s->bytes, s->mapped);
    free(s);
}

static enum kl_code grow(struct kl_secret *s, size_t n)
{
    if (n > s->ceiling)
        return KL_TOO_BIG;
    if (n + 1 <= s->mapped)
        return KL_OK;
    size_t wanted = pages_for(2 * n);
    uint8_t *bigger = map(wanted);
    if (bigger == NULL)
        return KL_NO_MEMORY;
    memcpy(bigger, s->bytes, s->len);
    unmap(s->bytes, s->mapped);
    s->bytes = bigger;
    s->mapped = wanted;
    return KL_OK;
}

enum kl_code kl_secret_append(struct kl_secret *s, const void *bytes, size_t n)
{
    if (n > s->ceiling - s->len)
        return KL_TOO_BIG;
    enum kl_code code = grow(s, s->len + n);
    if (code != KL_OK)
        return code;
    if (n > 0)
        memcpy(s->bytes + s->len, bytes, n);
    s->len += n;
    s->bytes[s->len] = 0;
    return KL_OK;
}

enum kl_code kl_secret_resize(struct kl_secret *s, size_t n)
{
    enum kl_code code = grow(s, n);
    if (code != KL_OK)
        return code;
    if (n > s->len)
        memset(s->bytes + s->len, 0, n - s->len);
    else
        kl_wipe(s->bytes + n, s->len - n);
    s->len = n;
    s->bytes[n] = 0;
    return KL_OK;
}

uint8_t *kl_secret_bytes(struct kl_secret *s)
{
    return s->bytes;
}

size_t kl_secret_len(const struct kl_secret *s)
{
    return s->len;
}

bool kl_secret_equal(const struct kl_secret *a, const struct kl_secret *b)
{
    return a->len == b->len && CRYPTO_memcmp(a->bytes, b->bytes, a->len) == 0;
}

static void drop_line_end(struct kl_secret *s)
{
    if (s->len == 0 || s->bytes[s->len - 1] != '\n')
        return;
    s->bytes[--s->len] = 0;
    if (s->len > 0 && s->bytes[s->len - 1] == '\r')
        s->bytes[--s->len] = 0;
}

enum kl_code kl_secret_read_fd(int fd, const char *name, size_t ceiling, struct kl_secret **ret,
                               struct kl_err *err)
{
    KL_AUTO(secret)
    s = kl_secret_new(ceiling + 3); /* a line end, and one byte to see that there is more */
    if (s == NULL)
        return kl_fail(err, KL_NO_MEMORY, "mmap", "no memory to read %s", name);
    for (;;) {
        size_t have = s->len;
        size_t room = ceiling + 3 - have < 4096 ? ceiling + 3 - have : 4096;
        if (room == 0)
            break;
        enum kl_code code = kl_secret_resize(s, have + room);
        if (code != KL_OK)
            return kl_fail(err, code, "read", "%s cannot be read", name);
        ssize_t n = read(fd, s->bytes + have, room);
        if (kl_secret_resize(s, have + (n > 0 ? (size_t)n : 0)) != KL_OK || n < 0) {
            if (errno == EINTR)
                continue;
            return kl_fail_errno(err, "read", "%s cannot be read", name);
        }
        if (n == 0)
            break;
    }
    drop_line_end(s);
    if (s->len == 0)
        return kl_fail(err, KL_BAD_INPUT, "read", "%s is empty", name);
    if (s->len > ceiling)
        return kl_fail(err, KL_TOO_BIG, "read", "%s holds more than %zu bytes", name, ceiling);
    s->ceiling = ceiling;
    *ret = kl_take(s);
    return KL_OK;
}

enum kl_code kl_secret_read_file(const char *path, size_t ceiling, struct kl_secret **ret,
                                 struct kl_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return kl_fail_errno(err, "open", "%s cannot be opened", path);
    enum kl_code code = kl_secret_read_fd(fd, path, ceiling, ret, err);
    (void)close(fd);
    return code;
}

void kl_wipe(void *bytes, size_t n)
{
    if (n > 0)
        OPENSSL_cleanse(bytes, n);
}

void *kl_wiping_malloc(size_t n)
{
    return malloc(n);
}

void *kl_wiping_realloc(void *p, size_t n)
{
    if (p == NULL)
        return malloc(n);
    if (n == 0) {
        kl_wiping_free(p);
        return NULL;
    }
    size_t old = malloc_usable_size(p);
    if (n <= old && n >= old / 2)
        return p;
    void *moved = malloc(n);
    if (moved == NULL)
        return NULL;
    memcpy(moved, p, old < n ? old : n);
    kl_wiping_free(p);
    return moved;
}

void kl_wiping_free(void *p)
{
    if (p == NULL)
        return;
    explicit_bzero(p, malloc_usable_size(p));
    free(p);
}

static void *ossl_malloc(size_t n, const char *file, int line)
{
    (void)file, (void)line;
    return kl_wiping_malloc(n);
}

static void *ossl_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file, (void)line;
    return kl_wiping_realloc(p, n);
}

static void ossl_free(void *p, const char *file, int line)
{
    (void)file, (void)line;
    kl_wiping_free(p);
}

void kl_wiping_allocators(void)
{
    (void)CRYPTO_set_mem_functions(ossl_malloc, ossl_realloc, ossl_free);
    json_set_alloc_funcs(kl_wiping_malloc, kl_wiping_free);
}
