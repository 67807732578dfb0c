#include "cli/session.h"

#include "base/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROW(variable_, member_, field, required_, path_)                                           \
    {                                                                                              \
        .variable = variable_, .member = member_, .offset = offsetof(struct kl_session, field),    \
        .required = required_, .path = path_                                                       \
    }

const struct kl_session_row kl_session_rows[] = {
    ROW("KLUIS_URL", "url", url, true, false),
    ROW("KLUIS_VAULT_URL", "vaultUrl", vault_url, false, false),
    ROW("KLUIS_CA", "ca", ca, false, true),
    ROW("KLUIS_TENANT", "tenant", tenant, true, false),
    ROW("KLUIS_CLIENT_ID", "clientId", client_id, true, false),
    ROW("KLUIS_CLIENT_SECRET_FILE", "clientSecretFile", secret_file, true, true),
};
const size_t kl_session_row_count = KL_COUNT(kl_session_rows);

static char **slot(const struct kl_session *s, size_t index)
{
    return (char **)((char *)(uintptr_t)s + kl_session_rows[index].offset);
}

const char *kl_session_get(const struct kl_session *s, size_t index)
{
    return *slot(s, index);
}

enum kl_code kl_session_set(struct kl_session *s, size_t index, const char *value,
                            struct kl_err *err)
{
    char *copy = NULL;

    if (kl_session_rows[index].path && value[0] != '/') {
        KL_AUTO(char) folder = getcwd(NULL, 0);

        if (folder == NULL)
            return kl_fail_errno(err, "getcwd", "cannot tell the current folder");
        if (asprintf(&copy, "%s/%s", folder, value) < 0)
            copy = NULL;
    } else {
        copy = strdup(value);
    }
    if (copy == NULL)
        return kl_fail(err, KL_NO_MEMORY, "strdup", "out of memory");
    free(*slot(s, index));
    *slot(s, index) = copy;
    return KL_OK;
}

enum kl_code kl_session_path(char **ret, struct kl_err *err)
{
    const char *config = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    char *path = NULL;
    int n;

    if (config != NULL && config[0] == '/')
        n = asprintf(&path, "%s/kluis/login.json", config);
    else if (home != NULL && home[0] == '/')
        n = asprintf(&path, "%s/.config/kluis/login.json", home);
    else
        return kl_fail(err, KL_CONFIG, "getenv", "neither HOME nor XDG_CONFIG_HOME is set");
    if (n < 0)
        return kl_fail(err, KL_NO_MEMORY, "asprintf", "out of memory");
    *ret = path;
    return KL_OK;
}

/* The login file into s; a missing one leaves s empty. */
static enum kl_code load_file(struct kl_session *s, struct kl_err *err)
{
    KL_AUTO(char) path = NULL;
    KL_AUTO(json) file = NULL;
    enum kl_code code = KL_OK;

    if (kl_session_path(&path, NULL) != KL_OK || access(path, F_OK) != 0)
        return KL_OK;
    code = kl_json_read_file(path, &file, err);
    for (size_t i = 0; code == KL_OK && i < kl_session_row_count; i++) {
        const char *value = NULL;

        code = kl_json_string(file, kl_session_rows[i].member, &value, err);
        if (code == KL_OK && value != NULL)
            code = kl_session_set(s, i, value, err);
    }
    if (code != KL_OK)
        kl_err_prefix(err, "%s (log in again, or remove it)", path);
    return code;
}

enum kl_code kl_session_load(struct kl_session **ret, struct kl_err *err)
{
    KL_AUTO(session) s = calloc(1, sizeof(*s));
    enum kl_code code;

    if (s == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "out of memory");
    code = load_file(s, err);
    for (size_t i = 0; code == KL_OK && i < kl_session_row_count; i++) {
        const char *value = getenv(kl_session_rows[i].variable);

        if (value != NULL && value[0] != '\0')
            code = kl_session_set(s, i, value, err);
    }
    if (code == KL_OK)
        *ret = kl_take(s);
    return code;
}

void kl_session_free(struct kl_session *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < kl_session_row_count; i++)
        free(*slot(s, i));
    free(s);
}

enum kl_code kl_session_client(const struct kl_session *s, const char *vault_url,
                               int64_t timeout_ms, struct kl_vault_client **ret, struct kl_err *err)
{
    for (size_t i = 0; i < kl_session_row_count; i++) {
        if (kl_session_rows[i].required && kl_session_get(s, i) == NULL)
            return kl_fail(err, KL_USAGE, NULL,
                           "%s is not set; set the KLUIS_… variables, or run 'kluis login' once",
                           kl_session_rows[i].variable);
    }
    struct kl_vault_client_config config = {
        .url = s->url,
        .vault_url = vault_url != NULL ? vault_url : s->vault_url,
        .ca_file = s->ca,
        .tenant = s->tenant,
        .client_id = s->client_id,
        .secret_file = s->secret_file,
        .total_ms = timeout_ms,
    };

    return kl_vault_client_new(&config, ret, err);
}

enum kl_code kl_session_save(const struct kl_session *s, struct kl_err *err)
{
    KL_AUTO(char) path = NULL;
    KL_AUTO(char) folder = NULL;
    KL_AUTO(char) text = NULL;
    KL_AUTO(json) file = json_object();
    enum kl_code code = kl_session_path(&path, err);
    int bad = 0;

    if (code != KL_OK)
        return code;
    for (size_t i = 0; i < kl_session_row_count; i++) {
        if (kl_session_get(s, i) != NULL)
            bad |= json_object_set_new(file, kl_session_rows[i].member,
                                       json_string(kl_session_get(s, i)));
    }
    folder = strndup(path, (size_t)(strrchr(path, '/') - path));
    text = bad == 0 ? json_dumps(file, JSON_INDENT(2)) : NULL;
    if (folder == NULL || text == NULL)
        return kl_fail(err, KL_NO_MEMORY, "json", "the settings cannot be written as JSON");
    code = kl_io_make_dirs(folder, 0700, err);
    return code == KL_OK ? kl_io_replace_file(path, 0600, text, strlen(text), err) : code;
}

enum kl_code kl_session_forget(struct kl_err *err)
{
    KL_AUTO(char) path = NULL;
    enum kl_code code = kl_session_path(&path, err);

    if (code == KL_OK && unlink(path) != 0 && errno != ENOENT)
        code = kl_fail_errno(err, "unlink", "cannot remove %s", path);
    return code;
}
