#include "pkcs11/copies.h"

#include "base/clock.h"
#include "base/encoding.h"
#include "base/io.h"
#include "base/log.h"
#include "pkcs11/tree.h"
#include "pkcs11/twin.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LOOK_MS       2000
#define PAUSE_FACTOR  10 /* a copy may take a tenth of the time */
#define PROVER_MS     60000
#define SPARE_BYTES   (64ULL << 20) /* copies never take the last room */
#define MOST_COPIES   256
#define STAMP_LEN     24 /* 2026-11-22T01:37:05Z-123 */
#define NEW_FOLDER    "unproved"
#define DESTROYED     "destroyed" /* ids of keys that were destroyed, beside the copies */
#define KEYS_MAX_SIZE (64 << 20)

struct kl_copies {
    struct kl_client *client;
    char folder[1024]; /* STATE-DIR/token-copies/NAME */
    unsigned kept;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;
    int64_t copied_ns;     /* the folder's change time when the newest copy was begun */
    int64_t next_ms;       /* no copy before */
    enum kl_code last_bad; /* said once, not every two seconds */
};

struct key_list {
    struct kl_token_listed *rows;
    size_t count;
};

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

static int by_id(const void *a, const void *b)
{
    return memcmp(a, b, KL_KEY_ID_LEN); /* a row begins with its id */
}

static enum kl_code list_keys(struct kl_token *t, struct key_list *ret, struct kl_err *err)
{
    struct key_list list = {.rows = NULL};
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
    qsort(list.rows, list.count, sizeof *list.rows, by_id);
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
                               const struct key_list *keys, struct kl_err *err)
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

static enum kl_code prove(struct kl_copies *c, const char *store, const struct key_list *keys,
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

static enum kl_code write_ids(const char *folder, const struct key_list *keys, struct kl_err *err)
{
    char path[1200], id[2 * KL_KEY_ID_LEN + 1];
    struct kl_buf text = KL_BUF_INIT(KEYS_MAX_SIZE);
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
static enum kl_code keep(struct kl_copies *c, const char *fresh, const struct key_list *keys,
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

static int is_copy(const struct dirent *e)
{
    return e->d_name[0] == '2' && strlen(e->d_name) == STAMP_LEN && e->d_name[10] == 'T';
}

static bool holds(const struct key_list *keys, const char *id)
{
    uint8_t wanted[KL_KEY_ID_LEN];
    return kl_unhex(id, wanted, sizeof wanted) == KL_OK &&
           bsearch(wanted, keys->rows, keys->count, sizeof *keys->rows, by_id) != NULL;
}

/* What became of the keys that a copy names and the token does not have. */
struct absent {
    unsigned destroyed, vanished;
};

/* The ids that were destroyed through us, one a line; "" without the file. Malloc'd. */
static char *read_destroyed(const struct kl_copies *c)
{
    char path[1200], *text = NULL;
    size_t n;
    (void)snprintf(path, sizeof path, "%s/" DESTROYED, c->folder);
    return kl_io_read_file(path, KEYS_MAX_SIZE, &text, &n, NULL) == KL_OK ? text : strdup("");
}

static struct absent compare(const struct kl_copies *c, const char *copy,
                             const struct key_list *keys)
{
    char path[1400];
    KL_AUTO(char) text = NULL;
    KL_AUTO(char) destroyed = read_destroyed(c);
    struct absent absent = {0};
    size_t n;
    (void)snprintf(path, sizeof path, "%s/%s/keys", c->folder, copy);
    if (destroyed == NULL || kl_io_read_file(path, KEYS_MAX_SIZE, &text, &n, NULL) != KL_OK)
        return absent;
    char *rest = text;
    for (char *id; (id = strsep(&rest, "\n")) != NULL;) {
        if (id[0] == 0 || holds(keys, id))
            continue;
        if (strstr(destroyed, id) != NULL)
            absent.destroyed++;
        else
            absent.vanished++;
    }
    return absent;
}

static int list_copies(const struct kl_copies *c, struct dirent ***ret)
{
    *ret = NULL;
    int count = scandir(c->folder, ret, is_copy, alphasort);
    return count < 0 ? 0 : count;
}

static void free_names(struct dirent **list, int count)
{
    for (int i = 0; i < count; i++)
        free(list[i]);
    free(list);
}

/* Keys do not go by themselves: whoever finds fewer must not be the one who drops the good copies.
 */
static enum kl_code check_vanished(const struct kl_copies *c, const struct key_list *keys,
                                   struct kl_err *err)
{
    struct dirent **list;
    struct absent absent = {0};
    char newest[256] = "";
    int count = list_copies(c, &list);
    if (count > 0) {
        (void)snprintf(newest, sizeof newest, "%s", list[count - 1]->d_name);
        absent = compare(c, newest, keys);
    }
    free_names(list, count);
    if (absent.vanished == 0)
        return KL_OK;
    return kl_fail(
        err, KL_TOKEN_READBACK, "copy",
        "%u keys of the copy %s are gone from the token and were never destroyed; restore "
        "the token's folder from it, or remove the copy",
        absent.vanished, newest);
}

/* When a key of any token of this service was destroyed last: tokens may share a folder, and the
 * copies of one then hold the keys of the other. */
static int64_t last_destroyed_unix(const struct kl_copies *c)
{
    char pattern[1200];
    glob_t found;
    int64_t last = 0;
    (void)snprintf(pattern, sizeof pattern, "%s/../*/" DESTROYED, c->folder);
    if (glob(pattern, 0, NULL, &found) != 0)
        return 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct stat st;
        if (stat(found.gl_pathv[i], &st) == 0 && st.st_mtim.tv_sec > last)
            last = st.st_mtim.tv_sec;
    }
    globfree(&found);
    return last;
}

static bool is_before(const char *copy, int64_t unix_s)
{
    struct stat st;
    return stat(copy, &st) != 0 || st.st_mtim.tv_sec <= unix_s;
}

/* The newest one is the one just made. */
static void prune(struct kl_copies *c, const struct key_list *keys)
{
    struct dirent **list;
    struct kl_err err;
    int64_t destroyed_unix = last_destroyed_unix(c);
    int count = list_copies(c, &list);
    for (int i = 0; i < count - 1; i++) {
        char path[1300];
        (void)snprintf(path, sizeof path, "%s/%s", c->folder, list[i]->d_name);
        bool old = i < count - (int)c->kept;
        if ((old || is_before(path, destroyed_unix) ||
             compare(c, list[i]->d_name, keys).destroyed > 0) &&
            kl_tree_remove(path, &err) != KL_OK)
            kl_log_err(KL_LOG_ERROR, c->client->conf.name, &err);
    }
    free_names(list, count);
}

enum kl_code kl_copies_destroying(struct kl_copies *c, const uint8_t id[static KL_KEY_ID_LEN],
                                  struct kl_err *err)
{
    char path[1200], line[2 * KL_KEY_ID_LEN + 2];
    if (c == NULL)
        return KL_OK;
    enum kl_code code = kl_io_make_dirs(c->folder, 0700, err);
    if (code != KL_OK)
        return code;
    (void)snprintf(path, sizeof path, "%s/" DESTROYED, c->folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return kl_fail_errno(err, "open", "%s cannot be written", path);
    kl_hex(id, KL_KEY_ID_LEN, line);
    line[2 * KL_KEY_ID_LEN] = '\n';
    code = kl_io_write_all(fd, line, sizeof line - 1, err);
    if (code == KL_OK && fdatasync(fd) != 0)
        code = kl_fail_errno(err, "fdatasync", "%s cannot be written", path);
    (void)close(fd);
    return code;
}

static enum kl_code make_copy(struct kl_copies *c, struct kl_err *err)
{
    char fresh[1100], store[1200];
    struct key_list keys = {.rows = NULL};
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
        code = check_vanished(c, &keys, err);
    if (code == KL_OK)
        code = kl_io_make_dirs(fresh, 0700, err);
    if (code == KL_OK)
        code = kl_tree_copy(c->client->conf.store_dir, store, err);
    if (code == KL_OK)
        code = prove(c, store, &keys, err);
    if (code == KL_OK)
        code = keep(c, fresh, &keys, err);
    if (code == KL_OK)
        prune(c, &keys);
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
    int count = list_copies(c, &list);
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
    free_names(list, count);
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
