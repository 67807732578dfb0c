#include "keyvault/model/inside.h"

#include "base/log.h"

#include <string.h>

#define NOTE_TENANT "tenant"
#define NOTE_CLOCK  "trusted-clock"

struct kl_token *kl_model_token(const struct kl_model *m, const char *name)
{
    for (size_t i = 0; i < m->token_count; i++)
        if (strcmp(m->tokens[i]->name, name) == 0)
            return m->tokens[i];
    return NULL;
}

enum kl_code kl_model_token_named(const struct kl_model *m, const char *name, struct kl_token **ret,
                                  struct kl_err *err)
{
    struct kl_token *t = kl_model_token(m, name);
    if (t == NULL)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "configuration", "token %s is not configured",
                       name);
    *ret = t;
    return KL_OK;
}

void kl_model_fold(const char *name, char *out, size_t room)
{
    size_t i = 0;
    for (; name[i] != '\0' && i + 1 < room; i++)
        out[i] = (char)(name[i] >= 'a' && name[i] <= 'z' ? name[i] - 'a' + 'A' : name[i]);
    out[i] = '\0';
}

enum kl_code kl_model_commit(struct kl_model *m, struct kl_store_session *t, struct kl_err *err)
{
    struct kl_err e;
    enum kl_code code = kl_store_commit(t, err);
    if (code == KL_OK)
        return KL_OK;
    kl_cache_flush(m->cache);
    if (kl_world_load(m, t, &e) != KL_OK || kl_directory_load(&m->directory, t, &e) != KL_OK)
        kl_log_err(KL_LOG_ERROR, "reading the store again after a failed commit", &e);
    return code;
}

/* --- notes --- */

static enum kl_code take_text(void *arg, const void *p, struct kl_err *err)
{
    const struct kl_text_row *row = p;
    char **to = arg;
    free(*to);
    *to = strdup(row->text != NULL ? row->text : "");
    return *to != NULL ? KL_OK : kl_fail(err, KL_NO_MEMORY, "strdup", "no memory for a note");
}

enum kl_code kl_model_note_get(struct kl_model *m, const char *name, char **ret, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    KL_AUTO(char) text = NULL;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_store_each(t, KL_Q_NOTE_GET, KL_ARGS(KL_ARG_TEXT(name)), take_text, &text, err);
    if (code == KL_OK && text == NULL)
        return kl_fail(err, KL_NOT_FOUND, "store", "no note %s", name);
    if (code == KL_OK)
        *ret = kl_take(text);
    return code;
}

enum kl_code kl_model_note_put(struct kl_model *m, const char *name, const char *value,
                               struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_store_run(t, KL_Q_NOTE_PUT, KL_ARGS(KL_ARG_TEXT(name), KL_ARG_TEXT(value)), NULL,
                            err);
    return code == KL_OK ? kl_store_commit(t, err) : code;
}

/* --- tenant --- */

const char *kl_model_tenant(struct kl_model *m)
{
    return m->tenant;
}

enum kl_code kl_model_set_tenant(struct kl_model *m, const char *tenant, struct kl_err *err)
{
    if (!kl_uuid_valid(tenant))
        return kl_fail(err, KL_BAD_INPUT, "tenant", "the tenant is not a GUID");
    enum kl_code code = kl_model_note_put(m, NOTE_TENANT, tenant, err);
    if (code == KL_OK)
        memcpy(m->tenant, tenant, sizeof m->tenant);
    return code;
}

static enum kl_code load_tenant(struct kl_model *m, struct kl_err *err)
{
    KL_AUTO(char) text = NULL;
    enum kl_code code = kl_model_note_get(m, NOTE_TENANT, &text, err);
    if (code == KL_OK && !kl_uuid_valid(text))
        return kl_fail(err, KL_CORRUPT, "store", "the stored tenant is not a GUID");
    if (code == KL_OK) {
        memcpy(m->tenant, text, sizeof m->tenant);
    } else if (code == KL_NOT_FOUND) {
        char fresh[KL_UUID_LEN + 1];
        kl_uuid_new(fresh);
        code = kl_model_set_tenant(m, fresh, err);
    }
    return code;
}

/* --- open and close --- */

static enum kl_code start_clock(struct kl_model *m, struct kl_err *err)
{
    char *note = NULL;
    enum kl_code code = kl_model_note_get(m, NOTE_CLOCK, &note, err);
    if (code == KL_OK)
        kl_trusted_clock_resume(&m->clock, note);
    return code == KL_NOT_FOUND ? KL_OK : code;
}

static enum kl_code load_world(struct kl_model *m, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_world_load(m, t, err);
    return code == KL_OK ? kl_directory_load(&m->directory, t, err) : code;
}

static enum kl_code load(struct kl_model *m, const struct kl_model_config *config,
                         struct kl_err *err)
{
    enum kl_code code = kl_store_open(config->store_ops, config->database, &m->store, err);
    if (code == KL_OK)
        code = start_clock(m, err);
    if (code == KL_OK)
        code = load_world(m, err);
    if (code == KL_OK)
        code = load_tenant(m, err);
    return code;
}

enum kl_code kl_model_open(const struct kl_model_config *config, struct kl_model **ret,
                           struct kl_err *err)
{
    struct kl_model *fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for the model");
    kl_world_init(&fresh->world);
    kl_directory_init(&fresh->directory);
    (void)pthread_mutex_init(&fresh->reconciling, NULL);
    (void)pthread_mutex_init(&fresh->births.lock, NULL);
    kl_trusted_clock_start(&fresh->clock);
    kl_backup_notes_init(&fresh->backup_notes);
    KL_AUTO(model) m = fresh;
    m->tokens = config->tokens;
    m->token_count = config->token_count;
    m->cache = kl_cache_new();
    m->vault_keys = kl_vault_keys_new();
    if (m->cache == NULL || m->vault_keys == NULL)
        return kl_fail(err, KL_NO_MEMORY, "aligned_alloc", "no memory for the key cache");
    enum kl_code code = load(m, config, err);
    if (code == KL_OK)
        *ret = kl_take(m);
    return code;
}

void kl_model_close(struct kl_model *m)
{
    struct kl_err err;
    if (m == NULL)
        return;
    if (m->store != NULL && kl_backup_notes_write(m, &err) != KL_OK)
        kl_log_err(KL_LOG_WARNING, "notes of backups are lost", &err);
    kl_cache_free(m->cache);
    kl_vault_keys_free(m->vault_keys);
    kl_world_done(&m->world);
    kl_directory_done(&m->directory);
    kl_seals_done(&m->seals);
    kl_trusted_clock_done(&m->clock);
    kl_backup_notes_done(&m->backup_notes);
    kl_store_close(m->store);
    (void)pthread_mutex_destroy(&m->reconciling);
    (void)pthread_mutex_destroy(&m->births.lock);
    free(m);
}
