/* Copies of a software token's folder are made and proved here; copies_kept.c looks after them. */
#include "base/clock.h"
#include "base/encoding.h"
#include "base/io.h"
#include "base/log.h"
#include "pkcs11/copies_parts.h"
#include "pkcs11/tree.h"
#include "pkcs11/twin.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LOOK_MS      2000
#define PAUSE_FACTOR 10 /* a copy may take a tenth of the time */
#define PROVER_MS    60000
#define SPARE_BYTES  (64ULL << 20) /* copies never take the last room */
#define MOST_COPIES  256
#define NEW_FOLDER   "unproved"

static bool pause_or_stop(struct kl_copies *c, int64_t ms)
{
    const struct timespec until = kl_clock_deadline(ms * 1000);
    (void)pthread_mutex_lock(&c->lock);
    if (!c->stopping)
        (void)pthread_cond_timedwait(&c->wake, &c->lock, &until);
    bool stopping = c->stopping;
    (void)pthread_mutex_unlock(&c->lock);
    return stopping;
}

static bool is_stopping(struct kl_copies *c)
{
    (void)pthread_mutex_lock(&c->lock);
    bool stopping = c->stopping;
    (void)pthread_mutex_unlock(&c->lock);
    return stopping;
}

static enum kl_code list_keys(struct kl_token *t, struct kl_key_list *ret, struct kl_err *err)
{
    struct kl_key_list list = {.rows = NULL};
    size_t got;
    do {
        KL_AUTO(secret) page = NULL;
        struct kl_token_request req = {.call = KL_CALL_LIST, .offset = (uint32_t)list.count};
        enum kl_code code = kl_token_call(t, &req, &page, NULL, err);
        got = code == KL_OK ? kl_secret_len(page) / sizeof *list.rows : 0;
        struct kl_token_listed *more =
            code == KL_OK ? realloc(list.rows, (list.count + got + 1) * sizeof *more) : NULL;
        if (more == NULL) {
            free(list.rows);
            return code != KL_OK ? code : kl_fail(err, KL_NO_MEMORY, "list", "no memory for keys");
        }
        list.rows = more;
        memcpy(list.rows + list.count, kl_secret_bytes(page), got * sizeof *list.rows);
        list.count += got;
    } while (got > 0);
    qsort(list.rows, list.count, sizeof *list.rows, kl_copies_by_id);
    *ret = list;
    return KL_OK;
}

static bool is_ours(const struct kl_token_listed *row)
{
    static const uint8_t none[KL_SPKI_HASH_LEN];
    return memcmp(row->key.spki_hash, none, sizeof none) != 0;
}

/* Every key that the token shows does its work in the copy, with the same public half. */
static enum kl_code prove_keys(struct kl_copies *c, struct kl_token *twin,
                               const struct kl_key_list *keys, struct kl_err *err)
{
    for (size_t i = 0; i < keys->count; i++) {
        struct kl_token_request req = {.call = KL_CALL_CANARY, .key = keys->rows[i].key};
        char id[2 * KL_KEY_ID_LEN + 1];
        if (!is_ours(&keys->rows[i]))
            continue;
        if (is_stopping(c))
            return kl_fail(err, KL_TIMEOUT, "copy", "the service ends");
        enum kl_code code = kl_token_call(twin, &req, NULL, NULL, err);
        kl_hex(keys->rows[i].key.id, KL_KEY_ID_LEN, id);
        if (code != KL_OK)
            return kl_err_prefix(err, "key %s in the copy", id);
    }
    return KL_OK;
}

static enum kl_code prove(struct kl_copies *c, const char *store, const struct kl_key_list *keys,
                          struct kl_err *err)
{
    KL_AUTO(token) twin = NULL;
    struct kl_token_status st;
    enum kl_code code = kl_twin_open(c->client, store, &twin, err);
    if (code != KL_OK)
        return code;
    int64_t until = kl_clock_mono_ms() + PROVER_MS;
    kl_token_status(twin, &st);
    while (st.state == KL_TOKEN_STARTING && kl_clock_mono_ms() < until && !pause_or_stop(c, 20))
        kl_token_status(twin, &st);
    if (st.state != KL_TOKEN_READY)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "copy", "the copy does not open: %s", st.text);
    return prove_keys(c, twin, keys, err);
}

static enum kl_code check_room(const struct kl_copies *c, struct kl_err *err)
{
    struct statvfs fs;
    uint64_t size = 0;
    enum kl_code code = kl_tree_size(c->client->conf.store_dir, &size, err);
    if (code != KL_OK)
        return code;
    if (statvfs(c->folder, &fs) != 0)
        return kl_fail_errno(err, "statvfs", "%s cannot be looked at", c->folder);
    if ((uint64_t)fs.f_bavail * fs.f_frsize < size + SPARE_BYTES)
        return kl_fail(err, KL_NO_SPACE, "statvfs",
                       "%s has no room for a copy of the token and 64 MiB beside it", c->folder);
    return KL_OK;
}

static enum kl_code write_ids(const char *folder, const struct kl_key_list *keys,
                              struct kl_err *err)
{
    char path[1200], id[2 * KL_KEY_ID_LEN + 1];
    struct kl_buf text = KL_BUF_INIT(KL_COPIES_KEYS_MAX);
    for (size_t i = 0; i < keys->count; i++) {
        kl_hex(keys->rows[i].key.id, KL_KEY_ID_LEN, id);
        kl_buf_printf(&text, "%s\n", id);
    }
    (void)snprintf(path, sizeof path, "%s/keys", folder);
    enum kl_code code = kl_buf_failed(&text)
                            ? kl_fail(err, KL_NO_MEMORY, "keys", "no memory for the list of keys")
                            : kl_io_replace_file(path, 0600, kl_buf_text(&text), text.len, err);
    kl_buf_done(&text);
    return code;
}

static enum kl_code sync_folder(const char *path, struct kl_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return kl_fail_errno(err, "open", "%s cannot be synced", path);
    enum kl_code code = syncfs(fd) == 0 ? KL_OK : kl_fail_errno(err, "syncfs", "%s", path);
    (void)close(fd);
    return code;
}

/* Proved: it gets its name, which is its time. */
static enum kl_code keep(struct kl_copies *c, const char *fresh, const struct kl_key_list *keys,
                         struct kl_err *err)
{
    char twin_file[1300], path[1200], iso[32];
    (void)snprintf(twin_file, sizeof twin_file, "%s/store/" KL_TWIN_FILE, fresh);
    (void)unlink(twin_file);
    int64_t now_ms = kl_clock_unix_ms();
    kl_clock_iso(now_ms, iso);
    (void)snprintf(path, sizeof path, "%s/%.19sZ-%03d", c->folder, iso, (int)(now_ms % 1000));
    enum kl_code code = write_ids(fresh, keys, err);
    if (code == KL_OK)
        code = sync_folder(fresh, err);
    if (code == KL_OK && rename(fresh, path) != 0)
        code = kl_fail_errno(err, "rename", "%s cannot be named", path);
    if (code == KL_OK)
        code = sync_folder(c->folder, err);
    if (code != KL_OK)
        return code;
    kl_log(KL_LOG_INFO, "token=%s copy proved keys=%zu folder=%s", c->client->conf.name,
           keys->count, path);
    (void)pthread_mutex_lock(&c->client->lock);
    c->client->status.health.copy_unix = now_ms / 1000;
    (void)pthread_mutex_unlock(&c->client->lock);
    return KL_OK;
}

static enum kl_code make_copy(struct kl_copies *c, struct kl_err *err)
{
    char fresh[1100], store[1200];
    struct kl_key_list keys = {.rows = NULL};
    (void)snprintf(fresh, sizeof fresh, "%s/" NEW_FOLDER, c->folder);
    (void)snprintf(store, sizeof store, "%s/store", fresh);
    enum kl_code code = kl_io_make_dirs(c->folder, 0700, err);
    if (code == KL_OK)
        code = kl_tree_remove(fresh, err);
    if (code == KL_OK)
        code = check_room(c, err);
    if (code == KL_OK)
        code = list_keys(&c->client->token, &keys, err);
    if (code == KL_OK)
        code = kl_copies_check_vanished(c, &keys, err);
    if (code == KL_OK)
        code = kl_io_make_dirs(fresh, 0700, err);
    if (code == KL_OK)
        code = kl_tree_copy(c->client->conf.store_dir, store, err);
    if (code == KL_OK)
        code = prove(c, store, &keys, err);
    if (code == KL_OK)
        code = keep(c, fresh, &keys, err);
    if (code == KL_OK)
        kl_copies_prune(c, &keys);
    else
        (void)!kl_tree_remove(fresh, NULL);
    free(keys.rows);
    return code;
}

/* The folder has changed, and then not for a while. */
static bool is_due(struct kl_copies *c, int64_t *ret_changed_ns)
{
    struct kl_token_status st;
    int64_t changed = kl_tree_changed_ns(c->client->conf.store_dir);
    kl_token_status(&c->client->token, &st);
    *ret_changed_ns = changed;
    return st.state == KL_TOKEN_READY && changed != 0 && changed != c->copied_ns &&
           kl_clock_mono_ms() >= c->next_ms && kl_clock_unix_ms() - changed / 1000000 >= LOOK_MS;
}

static void *look_after(void *arg)
{
    struct kl_copies *c = arg;
    while (!pause_or_stop(c, LOOK_MS)) {
        struct kl_err err;
        int64_t changed;
        if (!is_due(c, &changed))
            continue;
        int64_t began = kl_clock_mono_ms();
        enum kl_code code = make_copy(c, &err);
        if (code == KL_OK)
            c->copied_ns = changed;
        else if (code != c->last_bad && !is_stopping(c))
            kl_log_err(KL_LOG_WARNING, "no proved copy of the token's folder", &err);
        c->last_bad = code;
        int64_t now = kl_clock_mono_ms();
        c->next_ms = now + PAUSE_FACTOR * (now - began);
        if (code == KL_TOKEN_UNSUPPORTED)
            break; /* there is no way to open a copy of this token */
    }
    return NULL;
}

static bool is_typed(const char *pin_source)
{
    return strcmp(pin_source, "prompt") == 0 || strcmp(pin_source, "protected") == 0;
}

/* What an earlier run left. */
static void read_newest(struct kl_copies *c)
{
    struct dirent **list;
    char path[1300];
    struct stat st;
    int count = kl_copies_list(c, &list);
    if (count > 0)
        (void)snprintf(path, sizeof path, "%s/%s", c->folder, list[count - 1]->d_name);
    if (count > 0 && stat(path, &st) == 0) {
        (void)pthread_mutex_lock(&c->client->lock);
        c->client->status.health.copy_unix = st.st_mtim.tv_sec;
        (void)pthread_mutex_unlock(&c->client->lock);
        int64_t changed = kl_tree_changed_ns(c->client->conf.store_dir);
        if (st.st_mtim.tv_sec > changed / 1000000000)
            c->copied_ns = changed; /* nothing was made or destroyed since */
    }
    kl_copies_list_free(list, count);
}

enum kl_code kl_copies_start(struct kl_client *client, unsigned kept, struct kl_copies **ret,
                             struct kl_err *err)
{
    const struct kl_worker_config *conf = &client->conf;
    if (kept == 0 || conf->store_dir[0] == 0 || conf->state_dir[0] == 0 ||
        is_typed(conf->pin_source))
        return KL_OK;
    struct kl_copies *c = calloc(1, sizeof *c);
    if (c == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for token %s", conf->name);
    c->client = client;
    c->kept = kept < MOST_COPIES ? kept : MOST_COPIES;
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&c->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    (void)pthread_mutex_init(&c->lock, NULL);
    enum kl_code code = KL_OK;
    if (snprintf(c->folder, sizeof c->folder, "%s/token-copies/%s", conf->state_dir, conf->name) >=
        (int)sizeof c->folder)
        code = kl_fail(err, KL_TOO_BIG, "state-dir", "the path of state-dir is too long");
    if (code == KL_OK)
        read_newest(c);
    if (code == KL_OK && pthread_create(&c->thread, NULL, look_after, c) != 0)
        code = kl_fail(err, KL_NO_MEMORY, "pthread_create", "no thread for token %s", conf->name);
    if (code != KL_OK)
        free(c);
    else
        *ret = c;
    return code;
}

void kl_copies_stop(struct kl_copies *c)
{
    if (c == NULL)
        return;
    (void)pthread_mutex_lock(&c->lock);
    c->stopping = true;
    (void)pthread_cond_signal(&c->wake);
    (void)pthread_mutex_unlock(&c->lock);
    (void)pthread_join(c->thread, NULL);
    (void)pthread_mutex_destroy(&c->lock);
    (void)pthread_cond_destroy(&c->wake);
    free(c);
}
