#include "pkcs11/twin.h"

#include "base/buf.h"
#include "base/io.h"

#include <ctype.h>
#include <string.h>
#include <sys/stat.h>

extern char **environ;

#define FILE_MAX 65536 /* bytes of a module's configuration file */

/* The next place where the path stands as a whole. */
static const char *find_path(const char *text, const char *path)
{
    size_t n = strlen(path);
    for (const char *hit = text; (hit = strstr(hit, path)) != NULL; hit += n) {
        unsigned char next = (unsigned char)hit[n];
        if (!isalnum(next) && next != '-' && next != '_' && next != '.')
            return hit;
    }
    return NULL;
}

/* False when the path is not in the text, or the result has no room. */
static bool replace(const char *text, const char *path, const char *by, struct kl_buf *out)
{
    const char *hit = find_path(text, path);
    if (hit == NULL)
        return false;
    for (; hit != NULL; hit = find_path(text, path)) {
        kl_buf_put(out, text, (size_t)(hit - text));
        kl_buf_puts(out, by);
        text = hit + strlen(path);
    }
    kl_buf_puts(out, text);
    return !kl_buf_failed(out);
}

static bool replace_setting(char *setting, size_t room, const char *path, const char *by)
{
    struct kl_buf out = KL_BUF_INIT(FILE_MAX);
    bool done = replace(setting, path, by, &out) && out.len < room;
    if (done)
        memcpy(setting, kl_buf_text(&out), out.len + 1);
    kl_buf_done(&out);
    return done;
}

/* The file that a variable names, rewritten into the copy. */
static bool rewrite_file(const char *file, const char *path, const char *by, const char *to)
{
    struct kl_buf out = KL_BUF_INIT(2 * FILE_MAX);
    KL_AUTO(char) text = NULL;
    struct stat st;
    size_t n;
    bool done = file[0] == '/' && stat(file, &st) == 0 && S_ISREG(st.st_mode) &&
                st.st_size <= FILE_MAX &&
                kl_io_read_file(file, FILE_MAX, &text, &n, NULL) == KL_OK &&
                replace(text, path, by, &out) &&
                kl_io_replace_file(to, 0644, kl_buf_text(&out), out.len, NULL) == KL_OK;
    kl_buf_done(&out);
    return done;
}

static bool replace_variable(const char *variable, const char *path, const char *by, char *ret,
                             size_t room)
{
    char file[1200];
    const char *value = strchr(variable, '=');
    if (value == NULL || strlen(variable) >= room)
        return false;
    memcpy(ret, variable, strlen(variable) + 1);
    if (replace_setting(ret, room, path, by))
        return true;
    (void)snprintf(file, sizeof file, "%s/" KL_TWIN_FILE, by);
    if (!rewrite_file(value + 1, path, by, file))
        return false;
    return snprintf(ret, room, "%.*s=%s", (int)(value - variable), variable, file) < (int)room;
}

static bool redirect(struct kl_client *twin, const char *path, const char *by)
{
    if (replace_setting(twin->conf.init_args, sizeof twin->conf.init_args, path, by))
        return true;
    for (size_t i = 0; environ[i] != NULL; i++)
        if (replace_variable(environ[i], path, by, twin->variable, sizeof twin->variable))
            return true;
    twin->variable[0] = 0;
    return false;
}

enum kl_code kl_twin_open(const struct kl_client *c, const char *store, struct kl_token **ret,
                          struct kl_err *err)
{
    struct kl_client *twin = NULL;
    enum kl_code code = kl_client_like(c, &twin, err);
    if (code != KL_OK)
        return code;
    (void)snprintf(twin->conf.name, sizeof twin->conf.name, "%.56s copy", c->conf.name);
    twin->conf.state_dir[0] = 0;
    twin->conf.workers = 1;
    twin->conf.keep_alive_ms = 0;
    if (strlen(store) >= sizeof twin->conf.store_dir)
        code = kl_fail(err, KL_TOO_BIG, "twin", "%s is too long a path", store);
    else if (!redirect(twin, c->conf.store_dir, store))
        code = kl_fail(err, KL_TOKEN_UNSUPPORTED, "twin",
                       "neither init-args nor the environment nor a file that it names tells the "
                       "module of %s",
                       c->conf.store_dir);
    if (code != KL_OK) {
        kl_client_free(twin);
        return code;
    }
    (void)snprintf(twin->conf.store_dir, sizeof twin->conf.store_dir, "%s", store);
    return kl_client_run(twin, ret, err);
}
