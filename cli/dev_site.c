#include "cli/dev_site.h"

#include "base/clock.h"
#include "base/io.h"
#include "cli/command.h"
#include "cli/target.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

void kl_dev_say(const struct kl_dev_site *s, const char *fmt, ...)
{
    char text[600];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    kl_cmd_say("[%5.1f s] %s", (double)(kl_clock_mono_ms() - s->started_ms) / 1000, text);
}

enum kl_code kl_dev_path(const struct kl_dev_site *s, const char *name, char **ret,
                         struct kl_err *err)
{
    return kl_target_format(ret, err, "%s/%s", s->dir, name);
}

bool kl_dev_has(const struct kl_dev_site *s, const char *name)
{
    KL_AUTO(char) path = NULL;

    return kl_dev_path(s, name, &path, NULL) == KL_OK && access(path, F_OK) == 0;
}

enum kl_code kl_dev_write(const struct kl_dev_site *s, const char *name, struct kl_buf *text,
                          struct kl_err *err)
{
    KL_AUTO(char) path = NULL;
    enum kl_code code = kl_dev_path(s, name, &path, err);

    if (code == KL_OK && kl_buf_failed(text))
        code = kl_fail(err, KL_NO_MEMORY, "malloc", "out of memory");
    if (code == KL_OK)
        code = kl_io_replace_file(path, 0600, kl_buf_text(text), text->len, err);
    kl_buf_wipe(text);
    return code;
}

/* ---- open ---- */

static enum kl_code take_lock(struct kl_dev_site *s, struct kl_err *err)
{
    KL_AUTO(char) path = NULL;
    enum kl_code code = kl_dev_path(s, ".lock", &path, err);

    if (code != KL_OK)
        return code;
    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock < 0)
        return kl_fail_errno(err, "open", "cannot write in %s", s->dir);
    if (flock(s->lock, LOCK_EX | LOCK_NB) != 0)
        return kl_fail(err, KL_CONFLICT, "flock", "another 'kluis dev' works on %s just now",
                       s->dir);
    return KL_OK;
}

static enum kl_code find_folder(struct kl_dev_site *s, const char *dir, bool make,
                                struct kl_err *err)
{
    enum kl_code code = KL_OK;

    if (make)
        code = kl_io_make_dirs(dir, 0700, err);
    if (code != KL_OK)
        return code;
    s->dir = realpath(dir, NULL);
    if (s->dir == NULL)
        return kl_fail(err, KL_NOT_FOUND, "realpath", "%s is no site: there is no such folder",
                       dir);
    for (const char *p = s->dir; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20)
            return kl_fail(err, KL_USAGE, NULL, "the folder's name holds a control character");
    }
    return KL_OK;
}

enum kl_code kl_dev_site_open(const char *dir, bool make, struct kl_dev_site **ret,
                              struct kl_err *err)
{
    KL_AUTO(dev_site) s = calloc(1, sizeof(*s));
    enum kl_code code;

    if (s == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "out of memory");
    s->lock = -1;
    s->started_ms = kl_clock_mono_ms();
    code = find_folder(s, dir, make, err);
    if (code == KL_OK && !make && !kl_dev_has(s, KL_DEV_SITE))
        code = kl_fail(err, KL_NOT_FOUND, NULL, "%s is no site: it holds no " KL_DEV_SITE, s->dir);
    if (code == KL_OK)
        code = take_lock(s, err);
    if (code == KL_OK)
        *ret = kl_take(s);
    return code;
}

void kl_dev_site_free(struct kl_dev_site *s)
{
    if (s == NULL)
        return;
    if (s->lock >= 0)
        close(s->lock);
    free(s->dir);
    free(s->tenant);
    free(s->module);
    free(s->uri);
    free(s->pin_file);
    free(s->so_pin_file);
    free(s->init_args);
    free(s->store_dir);
    json_decref(s->token_env);
    free(s->client_id);
    free(s);
}
