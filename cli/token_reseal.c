/* Key backups in files, brought under the current domain key: each file is replaced whole, so that
 * a run that was killed goes on where it was, by being run again. */
#include "base/encoding.h"
#include "base/io.h"
#include "cli/cmd_token.h"
#include "cli/out.h"
#include "cli/target.h"
#include "cli/value.h"

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { BLOB_MAX = 32 << 20, MAGIC = 8 };

static const struct kl_column columns[] = {
    {"File", "file", KL_COLUMN_TEXT},
    {"Result", "result", KL_COLUMN_TEXT},
};

struct run {
    struct kl_cmd *cmd;
    char *url;
    json_t *rows;
    unsigned failed;
};

/* One call: the blob as it is under the current domain key, malloc'd. */
static enum kl_code ask(struct run *r, const void *blob, size_t n, unsigned char **ret,
                        size_t *ret_len, bool *ret_moved, struct kl_err *err)
{
    KL_AUTO(json) body = json_object();
    KL_AUTO(json) answer = NULL;
    KL_AUTO(bytes) bytes = NULL;
    struct kl_buf text = KL_BUF_INIT(BLOB_MAX * 2);
    const char *value = NULL;

    kl_b64url_put(&text, blob, n);
    enum kl_code code = kl_value_put_text(body, "value", kl_buf_text(&text), err);

    kl_buf_done(&text);
    if (code == KL_OK)
        code = kl_target_call(r->cmd, "POST", r->url, body, &answer, err);
    if (code == KL_OK)
        code = kl_json_string(answer, "value", &value, err);
    if (code != KL_OK)
        return code;
    if (value == NULL || (bytes = malloc(strlen(value) + 1)) == NULL ||
        kl_b64url_decode(value, strlen(value), bytes, strlen(value), ret_len) != KL_OK)
        return kl_fail(err, KL_CORRUPT, NULL, "the service's answer holds no backup");
    *ret_moved = json_is_true(json_object_get(answer, "moved"));
    *ret = kl_take(bytes);
    return KL_OK;
}

/* The second call tells the service that the new bytes are stored, so that nothing needs the old
 * domain key for this backup any more. */
static enum kl_code reseal(struct run *r, const char *path, const char **ret_result,
                           struct kl_err *err)
{
    KL_AUTO(char) old = NULL;
    KL_AUTO(bytes) new = NULL;
    KL_AUTO(bytes) same = NULL;
    struct stat st;
    size_t n = 0, len = 0, same_len = 0;
    bool moved = false, again = false;
    enum kl_code code = kl_io_read_file(path, BLOB_MAX, &old, &n, err);

    if (code != KL_OK)
        return code;
    if (n < MAGIC || memcmp(old, "KLUISKEY", MAGIC) != 0) {
        *ret_result = "no key backup";
        return KL_OK;
    }
    code = ask(r, old, n, &new, &len, &moved, err);
    if (code == KL_OK && moved) {
        mode_t mode = stat(path, &st) == 0 ? st.st_mode & 0777 : 0600;

        code = kl_io_replace_file(path, mode, new, len, err);
        if (code == KL_OK)
            code = ask(r, new, len, &same, &same_len, &again, err);
    }
    *ret_result = moved ? "resealed" : "current";
    return code;
}

static void do_file(struct run *r, const char *path)
{
    const char *result = "";
    struct kl_err err = {.code = KL_OK};
    enum kl_code code = reseal(r, path, &result, &err);

    if (code != KL_OK) {
        kl_cmd_say("%s: %s", path, err.text);
        result = "failed";
        r->failed++;
    }
    (void)json_array_append_new(r->rows, json_pack("{s:s, s:s}", "file", path, "result", result));
}

static struct run *walking; /* nftw has no argument of its own */

static int visit(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)at;
    if (kind == FTW_F)
        do_file(walking, path);
    return 0;
}

enum kl_code kl_token_reseal(struct kl_cmd *cmd, const char *const *paths, size_t count,
                             struct kl_err *err)
{
    KL_AUTO(char) vault = NULL;
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) rows = json_array();
    struct run r = {.cmd = cmd, .rows = rows};

    if (count == 0)
        return kl_fail(err, KL_USAGE, NULL, "which files? 'reseal' wants files or folders");
    enum kl_code code = kl_target_vault(cmd, &vault, err);

    if (code == KL_OK)
        code = kl_target_format(&url, err, "%s/keys/reseal", vault);
    if (code != KL_OK)
        return code;
    r.url = url;
    walking = &r;
    for (size_t i = 0; i < count; i++)
        if (nftw(paths[i], visit, 16, FTW_PHYS) != 0) {
            struct kl_err why;

            (void)kl_fail_errno(&why, "nftw", "%s cannot be read", paths[i]);
            kl_cmd_say("%s", why.text);
            r.failed++;
        }
    code = kl_out_list(cmd, rows, columns, KL_COUNT(columns), err);
    return code == KL_OK && r.failed > 0
               ? kl_fail(err, KL_IO, NULL, "%u files are as they were; run it again", r.failed)
               : code;
}
