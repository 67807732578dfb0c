#include "wrap/rewrap.h"

#include "base/clock.h"
#include "wrap/container/port.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ALWAYS_VERIFIED = 100, VERIFY_EVERY = 100 };

struct kl_rewrap {
    const struct kl_kek *kek;
    struct kl_rewrap_options options;
    unsigned long wraps; /* made so far */
    /* The newest version of the key asked about last: containers of one job mostly share a key. */
    char asked[KL_SLOT_KEK_MAX + 1];
    char newest[KL_SLOT_KEK_MAX + 1];
};

enum kl_code kl_rewrap_new(const struct kl_kek *kek, const struct kl_rewrap_options *options,
                           struct kl_rewrap **ret, struct kl_err *err)
{
    const char *url = options->key_url, *version = options->version;
    if (url != NULL && !kl_key_url_valid(url, false))
        return kl_fail(err, KL_BAD_INPUT, "rewrap", "%.200s is not the URL of a key", url);
    if (url != NULL && version != NULL && kl_key_url_valid(url, true))
        return kl_fail(err, KL_BAD_INPUT, "rewrap", "the key's URL names a version already");
    if (version != NULL &&
        (version[0] == 0 || strlen(version) > 64 ||
         version[strspn(version,
                        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-")]))
        return kl_fail(err, KL_BAD_INPUT, "rewrap", "%.80s is not a key version", version);
    if (options->alg != NULL && kl_slot_alg_find(options->alg) == 0)
        return kl_fail(err, KL_BAD_INPUT, "rewrap", "%.60s is not a wrap algorithm of containers",
                       options->alg);
    struct kl_rewrap *r = calloc(1, sizeof *r);
    if (r == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for the re-wrap");
    r->kek = kek;
    r->options = *options;
    *ret = r;
    return KL_OK;
}

void kl_rewrap_free(struct kl_rewrap *r)
{
    free(r);
}

/* The versioned URL to wrap under for a container whose slot names `kek`. */
static enum kl_code find_target(struct kl_rewrap *r, const char *kek,
                                char ret[static KL_SLOT_KEK_MAX + 1], struct kl_err *err)
{
    char key[KL_SLOT_KEK_MAX + 1];
    (void)snprintf(key, sizeof key, "%s", r->options.key_url != NULL ? r->options.key_url : kek);
    if (r->options.key_url == NULL)
        *strrchr(key, '/') = 0; /* a slot's URL always ends in /VERSION */
    int n = 0;
    if (r->options.version != NULL) {
        n = snprintf(ret, KL_SLOT_KEK_MAX + 1, "%s/%s", key, r->options.version);
    } else if (kl_key_url_valid(key, true)) {
        n = snprintf(ret, KL_SLOT_KEK_MAX + 1, "%s", key);
    } else {
        if (strcmp(r->asked, key) != 0) {
            r->asked[0] = 0;
            enum kl_code code = r->kek->newest(r->kek->arg, key, r->newest, err);
            if (code != KL_OK)
                return kl_err_prefix(err, "the newest version of %.120s", key);
            (void)snprintf(r->asked, sizeof r->asked, "%s", key);
        }
        n = snprintf(ret, KL_SLOT_KEK_MAX + 1, "%s", r->newest);
    }
    if (n < 0 || n > KL_SLOT_KEK_MAX || !kl_key_url_valid(ret, true))
        return kl_fail(err, KL_BAD_INPUT, "rewrap", "the target is not the URL of a key version");
    return KL_OK;
}

static enum kl_code open_locked(const char *path, int *ret_fd, struct kl_err *err)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return kl_fail_errno(err, "open", "it cannot be opened for writing");
    struct flock lock = {.l_type = F_WRLCK,
                         .l_whence = SEEK_SET,
                         .l_start = KL_SLOT_AT(0),
                         .l_len = 2 * KL_SLOT_BYTES};
    enum kl_code code = KL_OK;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        code = kl_fail(err, KL_BAD_INPUT, "fstat", "it is not a regular file");
    else if (fcntl(fd, F_OFD_SETLK, &lock) != 0)
        code = errno == EAGAIN || errno == EACCES
                   ? kl_fail(err, KL_CONFLICT, "fcntl", "another re-wrap is working on it")
                   : kl_fail_errno(err, "fcntl", "it cannot be locked");
    if (code != KL_OK) {
        (void)close(fd);
        return code;
    }
    *ret_fd = fd;
    return KL_OK;
}

/* Write one slot, bring it to disk, read it back. */
static enum kl_code store_slot(int fd, int index, const uint8_t *bytes, struct kl_err *err)
{
    const struct kl_port port = {.fd = fd, .by_position = true};
    uint8_t back[KL_SLOT_BYTES];
    size_t got = 0;
    enum kl_code code = kl_port_write(&port, KL_SLOT_AT(index), bytes, KL_SLOT_BYTES, err);
    if (code == KL_OK && fdatasync(fd) != 0)
        code = kl_fail_errno(err, "fdatasync", "the new wrap slot cannot be brought to disk");
    if (code == KL_OK)
        code = kl_port_read(&port, KL_SLOT_AT(index), back, sizeof back, &got, err);
    if (code == KL_OK && (got != sizeof back || memcmp(back, bytes, sizeof back) != 0))
        return kl_fail(err, KL_IO, "pread",
                       "the new wrap slot does not read back as it was written");
    return code;
}

/* A container that is being worked on. */
struct work {
    int fd;
    struct kl_head head;
    struct kl_secret *dek;
    struct kl_keys keys;
    int used; /* slot that opened it */
    char target[KL_SLOT_KEK_MAX + 1];
};

static void work_end(struct work *w)
{
    if (w->fd >= 0)
        (void)close(w->fd);
    kl_secret_free(w->dek);
    kl_keys_wipe(&w->keys);
}

static bool verify_this_one(const struct kl_rewrap *r)
{
    return r->options.verify_all || r->options.wipe_old || r->wraps <= ALWAYS_VERIFIED ||
           r->wraps % VERIFY_EVERY == 0;
}

/* Put the new slot into the head in memory and let it open the container once, before it goes to
 * disk. */
static enum kl_code make_slot(struct kl_rewrap *r, struct work *w, int index, struct kl_err *err)
{
    const struct kl_slot *used = &w->head.slots[w->used];
    /* One above the slot that is authentic; what the other one claims is about to be overwritten.
     */
    struct kl_slot slot = {
        .alg = used->alg, .generation = used->generation + 1, .wrapped_at_ms = kl_clock_unix_ms()};
    size_t n = 0;
    if (slot.generation == 0)
        return kl_fail(err, KL_WRAP_SLOT, "rewrap", "its generations are used up");
    if (r->options.alg != NULL)
        slot.alg = kl_slot_alg_find(r->options.alg);
    if (r->options.principal != NULL)
        (void)snprintf(slot.principal, sizeof slot.principal, "%s", r->options.principal);
    enum kl_code code = r->kek->wrap(r->kek->arg, w->target, kl_slot_alg_name(slot.alg), w->dek,
                                     slot.wrapped, &n, slot.kek, err);
    if (code != KL_OK)
        return kl_err_prefix(err, "wrapping under the target version");
    slot.wrapped_len = (uint16_t)n;
    r->wraps++;
    code = kl_slot_format(&slot, &w->keys, w->head.bytes + KL_SLOT_AT(index), err);
    if (code == KL_OK)
        code = kl_head_parse(&w->head, err);
    if (code != KL_OK || !verify_this_one(r))
        return code;
    KL_AUTO(secret) dek = NULL;
    KL_KEYS keys;
    code = kl_head_unlock_slot(&w->head, index, r->kek, &dek, &keys, err);
    return code == KL_OK ? code : kl_err_prefix(err, "the new wrap does not open, nothing written");
}

static enum kl_code wipe_slot(struct work *w, int index, struct kl_rewrap_result *result,
                              struct kl_err *err)
{
    static const uint8_t zeros[KL_SLOT_BYTES];
    if (w->head.slots[index].state == KL_SLOT_EMPTY)
        return KL_OK;
    enum kl_code code = store_slot(w->fd, index, zeros, err);
    if (code != KL_OK)
        return kl_err_prefix(err, "the old wrap slot is not wiped");
    result->wiped = true;
    return KL_OK;
}

static enum kl_code rewrap_open(struct kl_rewrap *r, struct work *w,
                                struct kl_rewrap_result *result, struct kl_err *err)
{
    const int newest = kl_head_newest(&w->head);
    if (newest < 0)
        return kl_head_unlock(&w->head, r->kek, &w->dek, &w->keys, &w->used, err);
    enum kl_code code = find_target(r, w->head.slots[newest].kek, w->target, err);
    const bool there = code == KL_OK && strcmp(w->head.slots[newest].kek, w->target) == 0;
    if (there && !r->options.verify_all &&
        (!r->options.wipe_old || w->head.slots[1 - newest].state == KL_SLOT_EMPTY)) {
        result->generation = w->head.slots[newest].generation;
        (void)snprintf(result->from, sizeof result->from, "%s", w->target);
        (void)snprintf(result->to, sizeof result->to, "%s", w->target);
        return KL_OK;
    }
    if (code == KL_OK)
        code = kl_head_unlock(&w->head, r->kek, &w->dek, &w->keys, &w->used, err);
    if (code != KL_OK)
        return code;
    int counts = w->used;
    (void)snprintf(result->from, sizeof result->from, "%s", w->head.slots[w->used].kek);
    if (!there || w->used != newest) {
        counts = 1 - w->used;
        code = make_slot(r, w, counts, err);
        if (code == KL_OK)
            code = store_slot(w->fd, counts, w->head.bytes + KL_SLOT_AT(counts), err);
        if (code != KL_OK)
            return code;
        result->changed = true;
    }
    result->generation = w->head.slots[counts].generation;
    (void)snprintf(result->to, sizeof result->to, "%s", w->head.slots[counts].kek);
    return r->options.wipe_old ? wipe_slot(w, 1 - counts, result, err) : KL_OK;
}

enum kl_code kl_rewrap_file(struct kl_rewrap *r, const char *path, struct kl_rewrap_result *ret,
                            struct kl_err *err)
{
    struct kl_rewrap_result result = {.changed = false};
    struct work w = {.fd = -1};
    enum kl_code code = open_locked(path, &w.fd, err);
    if (code == KL_OK)
        code = kl_head_read(w.fd, true, &w.head, err);
    if (code == KL_OK)
        code = rewrap_open(r, &w, &result, err);
    work_end(&w);
    if (code == KL_OK)
        *ret = result;
    return code;
}
