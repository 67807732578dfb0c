/* Purges that nobody asks for any more: those whose date has come, and those that were interrupted.
 */
#include "keyvault/model/softdelete.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>

/* The first failure that is worth telling, while the rest goes on. */
struct outcome {
    enum kl_code code;
    struct kl_err *err;
};

static bool went_well(struct outcome *o, enum kl_code code, const struct kl_err *e,
                      const char *what)
{
    if (code == KL_OK)
        return true;
    kl_log_err(KL_LOG_WARNING, what, e);
    if (o->code == KL_OK) {
        o->code = code;
        if (o->err != NULL)
            *o->err = *e;
    }
    return false;
}

static enum kl_code read_all(struct kl_model *m, enum kl_store_query query,
                             const struct kl_store_value *args, size_t count, void **ret_rows,
                             size_t *ret_count, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    return code == KL_OK ? kl_store_all(t, query, args, count, ret_rows, ret_count, err) : code;
}

/* --- by date --- */

static void sweep_object(struct kl_model *m, const struct kl_object_row *o, unsigned *purged,
                         struct outcome *out)
{
    struct kl_err e;
    struct kl_vault_row v;
    enum kl_code code = kl_vault_row_find(m, KL_Q_VAULT_BY_ID, o->vault_id, &v, &e);
    if (code == KL_OK)
        code = kl_purge_object(m, o->vault_id, v.token, (enum kl_kind)o->kind, o->name, true, &e);
    /* The count of observed time is behind the calendar, or it was purged or recovered meanwhile.
     */
    if (code == KL_PURGE_PROTECTED || code == kl_kind_row(o->kind)->deleted_missing)
        return;
    if (went_well(out, code, &e, "purging an object whose date has come"))
        ++*purged;
}

static void sweep_vault(struct kl_model *m, const char *id, unsigned *purged, struct outcome *out)
{
    struct kl_err e;
    struct kl_vault_row v;
    enum kl_code code = kl_vault_row_find(m, KL_Q_VAULT_BY_ID, id, &v, &e);
    if (code == KL_OK)
        code = kl_purge_vault(m, v.name, true, &e);
    if (code == KL_PURGE_PROTECTED || code == KL_VAULT_NOT_FOUND)
        return;
    if (went_well(out, code, &e, "purging a vault whose date has come"))
        ++*purged;
}

static enum kl_code sweep_vaults(struct kl_model *m, int64_t now, unsigned *purged,
                                 struct outcome *out, struct kl_err *err)
{
    void *rows = NULL;
    size_t count = 0;
    enum kl_code code =
        read_all(m, KL_Q_VAULT_IDS_DUE, KL_ARGS(KL_ARG_INT(now)), &rows, &count, err);
    const struct kl_id_row *ids = rows;
    for (size_t i = 0; i < count; i++)
        sweep_vault(m, ids[i].id, purged, out);
    free(rows);
    return code;
}

enum kl_code kl_model_sweep(struct kl_model *m, unsigned *ret_purged, struct kl_err *err)
{
    void *rows = NULL;
    size_t count = 0;
    unsigned purged = 0;
    struct outcome out = {KL_OK, err};
    int64_t now = kl_clock_unix();
    if (kl_trusted_clock_frozen(&m->clock))
        return kl_fail(err, KL_CLOCK_FROZEN, "clock",
                       "the wall clock jumped forward; purges by date wait until it is corrected");
    enum kl_code code = read_all(m, KL_Q_OBJECTS_DUE, KL_ARGS(KL_ARG_INT(now)), &rows, &count, err);
    const struct kl_object_row *objects = rows;
    for (size_t i = 0; i < count; i++)
        sweep_object(m, &objects[i], &purged, &out);
    free(rows);
    if (code == KL_OK)
        code = sweep_vaults(m, now, &purged, &out, err);
    *ret_purged = purged;
    return code == KL_OK ? out.code : code;
}

/* --- interrupted --- */

static void finish_object(struct kl_model *m, const struct kl_object_row *o, unsigned *finished,
                          struct outcome *out)
{
    struct kl_err e;
    struct kl_vault_row v;
    enum kl_code code = kl_vault_row_find(m, KL_Q_VAULT_BY_ID, o->vault_id, &v, &e);
    if (code == KL_OK)
        code = kl_purge_finish_object(m, o->id, v.token, &e);
    if (code == KL_CORRUPT)
        return; /* not ours to finish: reconciliation counts and reports such rows */
    if (went_well(out, code, &e, "finishing the purge of an object"))
        ++*finished;
}

static void finish_vault(struct kl_model *m, const char *id, unsigned *finished,
                         struct outcome *out)
{
    struct kl_err e;
    struct kl_vault_row v;
    enum kl_code code = kl_vault_row_find(m, KL_Q_VAULT_BY_ID, id, &v, &e);
    if (code == KL_OK)
        code = kl_purge_finish_vault(m, &v, &e);
    if (code == KL_CORRUPT)
        return;
    if (went_well(out, code, &e, "finishing the purge of a vault"))
        ++*finished;
}

enum kl_code kl_purges_finish(struct kl_model *m, unsigned *finished, struct kl_err *err)
{
    void *keys = NULL, *vaults = NULL;
    size_t key_count = 0, vault_count = 0;
    struct outcome out = {KL_OK, err};
    enum kl_code code = read_all(m, KL_Q_OBJECTS_PURGING, NULL, 0, &keys, &key_count, err);
    for (size_t i = 0; i < key_count; i++)
        finish_object(m, &((const struct kl_object_row *)keys)[i], finished, &out);
    if (code == KL_OK)
        code = read_all(m, KL_Q_VAULT_IDS_PURGING, NULL, 0, &vaults, &vault_count, err);
    for (size_t i = 0; i < vault_count; i++)
        finish_vault(m, ((const struct kl_id_row *)vaults)[i].id, finished, &out);
    free(keys);
    free(vaults);
    return code == KL_OK ? out.code : code;
}
