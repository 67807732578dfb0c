/* The life of vaults: delete, recover, and a purge that takes all that is in one with it. */
#include "keyvault/model/softdelete.h"

#include "base/clock.h"

static enum kl_code vault_missing(const char *name, struct kl_err *err)
{
    return kl_fail(err, KL_VAULT_NOT_FOUND, "vault", "vault %s was not found in this state", name);
}

static enum kl_code write_vault(struct kl_change *c, enum kl_life next, struct kl_err *err)
{
    c->vault.row.state = next;
    enum kl_code code = kl_protect_vault(&c->protector, &c->vault.row, err);
    return code == KL_OK ? kl_vault_row_write(c->t, &c->vault.row, err) : code;
}

static void stamp_vault(struct kl_vault_row *v, struct kl_stamps s)
{
    v->deleted_at = s.deleted_at;
    v->purge_at = s.purge_at;
    v->deleted_elapsed = s.elapsed;
    v->updated = kl_clock_unix();
}

/* The token's name is fixed at creation; the MAC check inside the session catches a lie. */
enum kl_code kl_vault_row_find(struct kl_model *m, enum kl_store_query query, const char *key,
                               struct kl_vault_row *ret, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_vault_copy copy;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_vault_copy_read(t, query, key, &copy, err);
    if (code != KL_OK)
        return code;
    *ret = copy.row;
    kl_vault_copy_done(&copy);
    ret->tags = ret->origins = NULL;
    return KL_OK;
}

static enum kl_code vault_change_begin(struct kl_change *c, const char *name, struct kl_err *err)
{
    struct kl_vault_row row;
    char folded[KL_ROW_NAME];
    if (!kl_vault_name_valid(name))
        return vault_missing(name, err);
    kl_model_fold(name, folded, sizeof folded);
    enum kl_code code = kl_vault_row_find(c->m, KL_Q_VAULT_BY_NAME, folded, &row, err);
    if (code == KL_NOT_FOUND)
        return vault_missing(name, err);
    if (code == KL_OK)
        code = kl_change_begin(c, row.token, err);
    if (code == KL_OK)
        code = kl_vault_copy_read(c->t, KL_Q_VAULT_BY_ID, row.id, &c->vault, err);
    if (code != KL_OK)
        return code;
    code = kl_life_next(KL_KIND_VAULT, (enum kl_life)c->vault.row.state, c->event, &c->next);
    if (code == KL_VAULT_NOT_FOUND)
        return vault_missing(name, err);
    if (code != KL_OK)
        return kl_fail(err, code, "state", "%s: %s", name, kl_code_text(code));
    return kl_change_checked(c, kl_protect_check_vault(&c->protector, &c->vault.row, err), err);
}

static enum kl_code vault_change_write(struct kl_change *c, struct kl_stamps s,
                                       struct kl_vault **ret, struct kl_err *err)
{
    KL_AUTO(vault) v = NULL;
    stamp_vault(&c->vault.row, s);
    enum kl_code code = write_vault(c, c->next, err);
    if (code == KL_OK)
        code = kl_world_reserve(&c->m->world, err);
    if (code == KL_OK)
        code = kl_snapshot_vault(c->m, c->t, c->vault.row.id, &v, err);
    if (code == KL_OK)
        code = kl_model_commit(c->m, c->t, err);
    if (code != KL_OK)
        return code;
    kl_world_put_vault(&c->m->world, kl_vault_ref(v));
    *ret = kl_take(v);
    return KL_OK;
}

static enum kl_code change_vault(struct kl_model *m, const char *name, enum kl_life_event event,
                                 struct kl_vault **ret, struct kl_err *err)
{
    struct kl_change c = {.m = m, .event = event};
    enum kl_code code = vault_change_begin(&c, name, err);
    struct kl_stamps s = {0};
    if (code == KL_OK && event == KL_EVENT_DELETE)
        s = kl_stamps_now(&c);
    if (code == KL_OK)
        code = vault_change_write(&c, s, ret, err);
    kl_change_done(&c);
    return code;
}

enum kl_code kl_vault_delete(struct kl_model *m, const char *name, struct kl_vault **ret,
                             struct kl_err *err)
{
    return change_vault(m, name, KL_EVENT_DELETE, ret, err);
}

enum kl_code kl_vault_recover(struct kl_model *m, const char *name, struct kl_vault **ret,
                              struct kl_err *err)
{
    return change_vault(m, name, KL_EVENT_RECOVER, ret, err);
}

/* Decided by the vault's purge, whatever state it is in; what has nothing on a token is gone at
 * once. */
static enum kl_code condemn_object(struct kl_change *c, struct kl_object_row *o, struct kl_err *err)
{
    enum kl_life next;
    enum kl_code code =
        kl_life_next((enum kl_kind)o->kind, (enum kl_life)o->state, KL_EVENT_VAULT_PURGE, &next);
    if (code == KL_OK && o->state != KL_LIFE_NEW)
        code = kl_change_checked(c, kl_protect_check_object(&c->protector, o, err), err);
    if (code == KL_OK)
        code = kl_change_write_object(c, o, next, err);
    if (code == KL_OK && !kl_kind_row(o->kind)->on_token)
        code = kl_change_bury_object(c, o, err);
    return code;
}

/* In the same commit as the vault. */
static enum kl_code condemn_objects(struct kl_change *c, struct kl_err *err)
{
    void *rows = NULL;
    size_t count = 0;
    enum kl_code code = kl_store_all(c->t, KL_Q_OBJECTS_OF_VAULT,
                                     KL_ARGS(KL_ARG_TEXT(c->vault.row.id)), &rows, &count, err);
    struct kl_object_row *objects = rows;
    for (size_t i = 0; i < count && code == KL_OK; i++)
        code = condemn_object(c, &objects[i], err);
    if (code == KL_OK)
        code = kl_store_run(c->t, KL_Q_VAULT_KEYS_DELETE, KL_ARGS(KL_ARG_TEXT(c->vault.row.id)),
                            NULL, err);
    if (code == KL_OK)
        code = kl_store_run(c->t, KL_Q_PARTS_DELETE_VAULT, KL_ARGS(KL_ARG_TEXT(c->vault.row.id)),
                            NULL, err);
    free(rows);
    return code;
}

static enum kl_code bury_vault(struct kl_model *m, const struct kl_vault_row *row,
                               struct kl_err *err)
{
    struct kl_change c = {.m = m, .event = KL_EVENT_GONE};
    enum kl_code code = kl_protect_open(m, row->token, &c.protector, err);
    if (code == KL_OK)
        code = kl_store_begin(m->store, true, &c.t, err);
    if (code == KL_OK)
        code = kl_change_read_vault(&c, row->id, err);
    if (code == KL_OK)
        code = kl_life_next(KL_KIND_VAULT, (enum kl_life)c.vault.row.state, KL_EVENT_GONE, &c.next);
    if (code == KL_OK)
        code =
            kl_store_run(c.t, KL_Q_POLICIES_DELETE_VAULT, KL_ARGS(KL_ARG_TEXT(row->id)), NULL, err);
    if (code == KL_OK)
        code = kl_store_run(c.t, KL_Q_ASSIGNMENTS_DELETE_VAULT, KL_ARGS(KL_ARG_TEXT(row->id)), NULL,
                            err);
    if (code == KL_OK)
        code = write_vault(&c, c.next, err);
    if (code == KL_OK)
        code = kl_model_commit(m, c.t, err);
    kl_change_done(&c);
    return code == KL_NOT_FOUND ? KL_OK : code;
}

static enum kl_code objects_of(struct kl_model *m, const char *vault_id, void **ret_rows,
                               size_t *ret_count, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code != KL_OK)
        return code;
    return kl_store_all(t, KL_Q_OBJECTS_OF_VAULT, KL_ARGS(KL_ARG_TEXT(vault_id)), ret_rows,
                        ret_count, err);
}

enum kl_code kl_purge_finish_vault(struct kl_model *m, const struct kl_vault_row *row,
                                   struct kl_err *err)
{
    void *rows = NULL;
    size_t count = 0;
    enum kl_code code = objects_of(m, row->id, &rows, &count, err);
    const struct kl_object_row *objects = rows;
    for (size_t i = 0; i < count && code == KL_OK; i++)
        code = kl_purge_finish_object(m, objects[i].id, row->token, err);
    free(rows);
    return code == KL_OK ? bury_vault(m, row, err) : code;
}

enum kl_code kl_purge_vault(struct kl_model *m, const char *name, bool by_date, struct kl_err *err)
{
    struct kl_change c = {.m = m, .event = KL_EVENT_PURGE, .by_date = by_date};
    enum kl_code code = vault_change_begin(&c, name, err);
    struct kl_vault_row row = c.vault.row;
    bool decided = code == KL_OK && row.state == KL_LIFE_PURGING;
    struct kl_stamps deleted = {row.deleted_at, row.purge_at, row.deleted_elapsed};
    if (code == KL_OK && !decided)
        code = kl_change_may_purge(&c, deleted, err);
    if (code == KL_OK && !decided)
        code = condemn_objects(&c, err);
    if (code == KL_OK && !decided)
        code = write_vault(&c, c.next, err);
    if (code == KL_OK && !decided)
        code = kl_model_commit(m, c.t, err);
    if (code == KL_OK) {
        kl_world_drop_vault(&m->world, row.id);
        kl_cache_flush(m->cache);
    }
    kl_change_done(&c);
    return code == KL_OK ? kl_purge_finish_vault(m, &row, err) : code;
}

enum kl_code kl_vault_purge(struct kl_model *m, const char *name, struct kl_err *err)
{
    return kl_purge_vault(m, name, false, err);
}
