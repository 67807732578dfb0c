/* The copies that are there: which keys they hold, which of these are gone or destroyed, and which
 * copies have to go. */
#include "base/encoding.h"
#include "base/io.h"
#include "base/log.h"
#include "pkcs11/copies_parts.h"
#include "pkcs11/tree.h"

#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAMP_LEN 24          /* 2026-11-22T01:37:05Z-123 */
#define DESTROYED "destroyed" /* ids of keys that were destroyed, beside the copies */

/* rows begin with their id */
int kl_copies_by_id(const void *a, const void *b)
{
    return memcmp(a, b, KL_KEY_ID_LEN);
}

static int is_copy(const struct dirent *e)
{
    return e->d_name[0] == '2' && strlen(e->d_name) == STAMP_LEN && e->d_name[10] == 'T';
}

static bool holds(const struct kl_key_list *keys, const char *id)
{
    uint8_t wanted[KL_KEY_ID_LEN];
    return kl_unhex(id, wanted, sizeof wanted) == KL_OK &&
           bsearch(wanted, keys->rows, keys->count, sizeof *keys->rows, kl_copies_by_id) != NULL;
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
    return kl_io_read_file(path, KL_COPIES_KEYS_MAX, &text, &n, NULL) == KL_OK ? text : strdup("");
}

static struct absent compare(const struct kl_copies *c, const char *copy,
                             const struct kl_key_list *keys)
{
    char path[1400];
    KL_AUTO(char) text = NULL;
    KL_AUTO(char) destroyed = read_destroyed(c);
    struct absent absent = {0};
    size_t n;
    (void)snprintf(path, sizeof path, "%s/%s/keys", c->folder, copy);
    if (destroyed == NULL || kl_io_read_file(path, KL_COPIES_KEYS_MAX, &text, &n, NULL) != KL_OK)
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

int kl_copies_list(const struct kl_copies *c, struct dirent ***ret)
{
    *ret = NULL;
    int count = scandir(c->folder, ret, is_copy, alphasort);
    return count < 0 ? 0 : count;
}

void kl_copies_list_free(struct dirent **list, int count)
{
    for (int i = 0; i < count; i++)
        free(list[i]);
    free(list);
}

enum kl_code kl_copies_check_vanished(const struct kl_copies *c, const struct kl_key_list *keys,
                                      struct kl_err *err)
{
    struct dirent **list;
    struct absent absent = {0};
    char newest[256] = "";
    int count = kl_copies_list(c, &list);
    if (count > 0) {
        (void)snprintf(newest, sizeof newest, "%s", list[count - 1]->d_name);
        absent = compare(c, newest, keys);
    }
    kl_copies_list_free(list, count);
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

void kl_copies_prune(struct kl_copies *c, const struct kl_key_list *keys)
{
    struct dirent **list;
    struct kl_err err;
    int64_t destroyed_unix = last_destroyed_unix(c);
    int count = kl_copies_list(c, &list);
    for (int i = 0; i < count - 1; i++) {
        char path[1300];
        (void)snprintf(path, sizeof path, "%s/%s", c->folder, list[i]->d_name);
        bool old = i < count - (int)c->kept;
        if ((old || is_before(path, destroyed_unix) ||
             compare(c, list[i]->d_name, keys).destroyed > 0) &&
            kl_tree_remove(path, &err) != KL_OK)
            kl_log_err(KL_LOG_ERROR, c->client->conf.name, &err);
    }
    kl_copies_list_free(list, count);
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
