/* Finding, changing and listing keys. */
#include "keyvault/model/key.h"

#include "base/clock.h"
#include "keyvault/model/home.h"
#include "keyvault/model/softdelete.h"

#include <string.h>

enum kl_code kl_key_missing(struct kl_err *err, const char *name)
{
    return kl_object_missing(KL_KIND_KEY, name, "", err);
}

static void lower(const char *version, char out[static KL_VERSION_LEN + 1])
{
    size_t i = 0;
    for (; version[i] != '\0' && i < KL_VERSION_LEN; i++)
        out[i] =
            (char)(version[i] >= 'A' && version[i] <= 'F' ? version[i] - 'A' + 'a' : version[i]);
    out[i] = '\0';
}

static enum kl_code active_object(struct kl_store_session *t, const char *vault_id,
                                  const char *name, struct kl_object_row *ret, struct kl_err *err)
{
    struct kl_object_row object = {0};
    enum kl_code code = kl_object_read(t, vault_id, KL_KIND_KEY, name, &object, err);
    if (code == KL_NOT_FOUND || (code == KL_OK && object.state != KL_LIFE_ACTIVE))
        return kl_key_missing(err, name);
    if (code == KL_OK)
        *ret = object;
    return code;
}

static enum kl_code read_version(struct kl_model *m, struct kl_store_session *t,
                                 const struct kl_object_row *object, const char *version,
                                 struct kl_key_version **ret, struct kl_err *err)
{
    struct kl_key_version *k = NULL;
    size_t count = 0;
    char id[KL_VERSION_LEN + 1];
    lower(version, id);
    enum kl_code code;
    if (version[0] == '\0')
        code = kl_snapshot_versions(m, t, object, KL_Q_VERSION_NEWEST,
                                    KL_ARGS(KL_ARG_INT(object->id)), &k, 1, &count, err);
    else
        code = kl_snapshot_versions(m, t, object, KL_Q_VERSION_GET,
                                    KL_ARGS(KL_ARG_INT(object->id), KL_ARG_TEXT(id)), &k, 1, &count,
                                    err);
    if (code == KL_OK && count == 0)
        return kl_object_missing(KL_KIND_KEY, object->name, id, err);
    if (code == KL_OK)
        *ret = k;
    return code;
}

static enum kl_code find_in_store(struct kl_model *m, struct kl_vault *v, const char *name,
                                  const char *version, uint64_t epoch, struct kl_key_version **ret,
                                  struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    KL_AUTO(key_version) k = NULL;
    struct kl_object_row object = {0};
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = active_object(t, v->id, name, &object, err);
    if (code == KL_OK)
        code = read_version(m, t, &object, version, &k, err);
    if (code == KL_OK)
        *ret = kl_cache_put(m->cache, k, version[0] == '\0', epoch);
    return code;
}

enum kl_code kl_key_find(struct kl_model *m, struct kl_vault *v, const char *name,
                         const char *version, struct kl_key_version **ret, struct kl_err *err)
{
    const char *id = version != NULL ? version : "";
    struct kl_key_version *k = kl_cache_get(m->cache, v->id, name, id);
    if (k != NULL) {
        *ret = k;
        return KL_OK;
    }
    if (!kl_name_valid(name) || (id[0] != '\0' && !kl_version_valid(id)))
        return kl_object_missing(KL_KIND_KEY, name, id, err);
    /* A write came in between: what was read may be newer than what the cache gives to others until
     * that write is done, and nobody may see time go back. So look again. */
    for (int tries = 8;; tries--) {
        uint64_t epoch = kl_cache_epoch(m->cache, v->id, name);
        enum kl_code code = find_in_store(m, v, name, id, epoch, &k, err);
        if (code != KL_OK)
            return code;
        if (tries == 0 || kl_cache_epoch(m->cache, v->id, name) == epoch)
            break;
        kl_key_version_unref(k);
        k = kl_cache_get(m->cache, v->id, name, id);
        if (k != NULL)
            break;
    }
    *ret = k;
    return KL_OK;
}

enum kl_code kl_key_older(struct kl_model *m, struct kl_vault *v, const char *name, int64_t seq,
                          struct kl_key_version **ret, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_key_version *k = NULL;
    struct kl_object_row object = {0};
    size_t count = 0;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = active_object(t, v->id, name, &object, err);
    if (code == KL_OK)
        code = kl_snapshot_versions(m, t, &object, KL_Q_VERSION_OLDER,
                                    KL_ARGS(KL_ARG_INT(object.id), KL_ARG_INT(seq)), &k, 1, &count,
                                    err);
    if (code == KL_OK && count == 0)
        return kl_fail(err, KL_NOT_FOUND, "key", "no older version of %s", name);
    if (code == KL_OK)
        *ret = k;
    return code;
}

enum kl_code kl_key_mark_for_backups(struct kl_model *m, struct kl_vault *v, const char *name,
                                     struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_object_row object = {0};
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = active_object(t, v->id, name, &object, err);
    if (code == KL_OK)
        code = kl_store_run(t, KL_Q_OBJECT_FOR_BACKUPS, KL_ARGS(KL_ARG_INT(object.id)), NULL, err);
    if (code == KL_OK)
        code = kl_model_commit(m, t, err);
    if (code == KL_OK)
        kl_cache_forget(m->cache, v->id, object.name);
    return code;
}

/* --- update --- */

struct edit {
    const struct kl_model *m;
    const struct kl_key_patch *patch;
    int64_t seq;
    bool found;
    struct kl_version_row row;
    char *tags;
    uint8_t *spki;
};

static enum kl_code copy_row(void *arg, const void *p, struct kl_err *err)
{
    struct edit *e = arg;
    enum kl_code code = kl_attributes_check(e->m, p, err);
    if (code != KL_OK)
        return code;
    e->row = *(const struct kl_version_row *)p;
    e->found = true;
    const char *tags =
        e->patch->tags_json != NULL ? kl_tags_normal(e->patch->tags_json) : e->row.tags;
    e->tags = tags != NULL ? strdup(tags) : NULL;
    e->spki = malloc(e->row.spki.len + 1);
    if ((tags != NULL && e->tags == NULL) || e->spki == NULL)
        return kl_fail(err, KL_NO_MEMORY, "malloc", "no memory for an update");
    if (e->row.spki.len > 0)
        memcpy(e->spki, e->row.spki.bytes, e->row.spki.len);
    e->row.spki.bytes = e->spki;
    e->row.tags = e->tags;
    return KL_OK;
}

static void apply(struct edit *e)
{
    const struct kl_key_patch *p = e->patch;
    struct kl_version_row *row = &e->row;
    if (p->enabled != NULL)
        row->enabled = *p->enabled;
    if (p->nbf != NULL) {
        row->has_nbf = 1;
        row->nbf = *p->nbf;
    }
    if (p->exp != NULL) {
        row->has_exp = 1;
        row->exp = *p->exp;
    }
    if (p->ops != NULL)
        row->ops = *p->ops;
    row->updated = kl_clock_unix();
}

static enum kl_code write_row(struct kl_store_session *t, const struct kl_version_row *row,
                              struct kl_err *err)
{
    return kl_store_run(
        t, KL_Q_VERSION_SET,
        KL_ARGS(KL_ARG_INT(row->ops), KL_ARG_INT(row->enabled), KL_ARG_INT(row->has_nbf),
                KL_ARG_INT(row->nbf), KL_ARG_INT(row->has_exp), KL_ARG_INT(row->exp),
                KL_ARG_TEXT(row->tags), KL_ARG_INT(row->updated),
                KL_ARG_BYTES(row->attr_mac, sizeof row->attr_mac), KL_ARG_INT(row->seq)),
        NULL, err);
}

static enum kl_code read_edit(struct kl_store_session *t, const struct kl_object_row *object,
                              const char *version, struct edit *e, struct kl_err *err)
{
    char id[KL_VERSION_LEN + 1];
    lower(version, id);
    enum kl_code code;
    if (version[0] == '\0')
        code = kl_store_each(t, KL_Q_VERSION_NEWEST, KL_ARGS(KL_ARG_INT(object->id)), copy_row, e,
                             err);
    else
        code = kl_store_each(t, KL_Q_VERSION_GET, KL_ARGS(KL_ARG_INT(object->id), KL_ARG_TEXT(id)),
                             copy_row, e, err);
    if (code == KL_OK && !e->found)
        return kl_object_missing(KL_KIND_KEY, object->name, id, err);
    return code;
}

/* The new snapshot takes the proof of the private half over from the old one. */
static void replace_in_cache(struct kl_model *m, struct kl_key_version *k)
{
    KL_AUTO(key_version) old = kl_cache_get(m->cache, k->vault_id, k->name, k->version);
    if (old != NULL)
        atomic_store(&k->proved_ms, atomic_load(&old->proved_ms));
    kl_cache_forget(m->cache, k->vault_id, k->name);
    uint64_t epoch = kl_cache_epoch(m->cache, k->vault_id, k->name);
    kl_key_version_unref(kl_cache_put(m->cache, k, false, epoch));
}

static enum kl_code update_with(struct kl_model *m, struct kl_vault *v, const char *name,
                                const char *version, struct edit *e, struct kl_key_version **ret,
                                struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    KL_AUTO(key_version) k = NULL;
    struct kl_object_row object = {0};
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = active_object(t, v->id, name, &object, err);
    if (code == KL_OK)
        code = read_edit(t, &object, version, e, err);
    if (code == KL_OK && object.managed != 0 && !e->patch->managed)
        code = kl_object_managed(KL_KIND_KEY, object.name, err);
    if (code == KL_OK && e->patch->ops != NULL)
        code = kl_key_ops_fit((enum kl_key_type)e->row.type, *e->patch->ops, err);
    if (code != KL_OK)
        return code;
    apply(e);
    code = kl_attributes_seal(m, &e->row, err);
    if (code == KL_OK)
        code = kl_snapshot_version(m, &object, &e->row, &k, err);
    if (code == KL_OK)
        code = kl_home_load(m, t, k, err);
    if (code == KL_OK)
        code = write_row(t, &e->row, err);
    if (code == KL_OK)
        code = kl_model_commit(m, t, err);
    if (code != KL_OK)
        return code;
    replace_in_cache(m, k);
    *ret = kl_take(k);
    return KL_OK;
}

enum kl_code kl_key_update(struct kl_model *m, struct kl_vault *v, const char *name,
                           const char *version, const struct kl_key_patch *patch,
                           struct kl_key_version **ret, struct kl_err *err)
{
    struct edit e = {.m = m, .patch = patch};
    if (version == NULL)
        version = "";
    if (!kl_name_valid(name) || (version[0] != '\0' && !kl_version_valid(version)))
        return kl_object_missing(KL_KIND_KEY, name, version, err);
    enum kl_code code = update_with(m, v, name, version, &e, ret, err);
    free(e.tags);
    free(e.spki);
    return code;
}

/* --- soft delete --- */

static enum kl_code look(void *arg, struct kl_model *m, struct kl_store_session *t,
                         const struct kl_object_row *object, struct kl_err *err)
{
    struct kl_deleted_key *to = arg;
    enum kl_code code = kl_snapshot_newest(m, t, object, &to->latest, err);
    to->deleted_at = object->deleted_at;
    to->purge_at = object->purge_at;
    return code;
}

/* A look may have been taken before a commit that failed. */
static enum kl_code settle(enum kl_code code, struct kl_deleted_key *seen,
                           struct kl_deleted_key *ret)
{
    if (code == KL_OK)
        *ret = *seen;
    else
        kl_key_version_unref(seen->latest);
    return code;
}

enum kl_code kl_key_delete(struct kl_model *m, struct kl_vault *v, const char *name,
                           struct kl_deleted_key *ret, struct kl_err *err)
{
    struct kl_deleted_key seen = {.latest = NULL};
    return settle(kl_object_change(m, v, KL_KIND_KEY, name, KL_EVENT_DELETE, look, &seen, err),
                  &seen, ret);
}

enum kl_code kl_key_deleted(struct kl_model *m, struct kl_vault *v, const char *name,
                            struct kl_deleted_key *ret, struct kl_err *err)
{
    struct kl_deleted_key seen = {.latest = NULL};
    return settle(kl_object_deleted(m, v, KL_KIND_KEY, name, look, &seen, err), &seen, ret);
}

enum kl_code kl_key_recover(struct kl_model *m, struct kl_vault *v, const char *name,
                            struct kl_key_version **ret, struct kl_err *err)
{
    struct kl_deleted_key seen = {.latest = NULL}, back;
    enum kl_code code =
        settle(kl_object_change(m, v, KL_KIND_KEY, name, KL_EVENT_RECOVER, look, &seen, err), &seen,
               &back);
    if (code == KL_OK)
        *ret = back.latest;
    return code;
}

enum kl_code kl_key_purge(struct kl_model *m, struct kl_vault *v, const char *name,
                          struct kl_err *err)
{
    return kl_purge_object(m, v->id, v->token_name, KL_KIND_KEY, name, false, err);
}
