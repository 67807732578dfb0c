#include "keyvault/model/softdelete.h"

#include "base/clock.h"
#include "base/log.h"
#include "keyvault/model/key.h"

#include <string.h>

#define DAY_S INT64_C(86400)

/* --- the table --- */

struct transition {
    enum kl_life to;
    enum kl_code key, vault; /* KL_OK or the refusal */
};

#define GO(state)                                                                                  \
    {                                                                                              \
        KL_LIFE_##state, KL_OK, KL_OK                                                              \
    }
#define NO(key, vault)                                                                             \
    {                                                                                              \
        KL_LIFE_NEW, key, vault                                                                    \
    }
#define NONE         NO(KL_KEY_NOT_FOUND, KL_VAULT_NOT_FOUND)
#define NONE_DELETED NO(KL_DELETED_KEY_NOT_FOUND, KL_VAULT_NOT_FOUND)
#define HELD         NO(KL_NAME_DELETED, KL_NAME_DELETED)
#define NEVER        NO(KL_NOT_FOUND, KL_NOT_FOUND)

/* Columns: new, active, deleted, purging, purged. What is purged is the same as what never was. */
static const struct transition table[KL_EVENT_COUNT][KL_LIFE_COUNT] = {
    [KL_EVENT_READY] = {GO(ACTIVE), {KL_LIFE_ACTIVE, KL_OK, KL_CONFLICT}, HELD, HELD, NONE},
    [KL_EVENT_DELETE] = {NONE, GO(DELETED), NONE, NONE, NONE},
    [KL_EVENT_RECOVER] = {NONE_DELETED, NONE_DELETED, GO(ACTIVE), NONE_DELETED, NONE_DELETED},
    [KL_EVENT_PURGE] = {NONE_DELETED, NONE_DELETED, GO(PURGING), GO(PURGING), NONE_DELETED},
    [KL_EVENT_VAULT_PURGE] = {GO(PURGING), GO(PURGING), GO(PURGING), GO(PURGING), NEVER},
    [KL_EVENT_GONE] = {NEVER, NEVER, NEVER, GO(PURGED), NEVER},
};

enum kl_code kl_life_next(bool vault, enum kl_life from, enum kl_life_event event,
                          enum kl_life *ret)
{
    if ((unsigned)from >= KL_LIFE_COUNT || (unsigned)event >= KL_EVENT_COUNT)
        return KL_CORRUPT;
    const struct transition *t = &table[event][from];
    enum kl_code code = vault ? t->vault : t->key;
    if (code == KL_OK)
        *ret = t->to;
    return code;
}

/* --- one change: the row-protection key fetched, then a write session with the rows read and
 * checked --- */

struct change {
    struct kl_model *m;
    enum kl_life_event event;
    bool by_date; /* the sweeper's purge: only the date allows it */
    struct kl_protector protector;
    struct kl_store_session *t;
    struct kl_vault_copy vault;
    struct kl_object_row object;
    enum kl_life next;
};

static void change_done(struct change *c)
{
    kl_store_end(c->t);
    c->t = NULL;
    kl_vault_copy_done(&c->vault);
    kl_protect_close(&c->protector);
}

static enum kl_code refuse(enum kl_code code, const char *name, struct kl_err *err)
{
    switch (code) {
    case KL_KEY_NOT_FOUND:
        return kl_key_missing(err, name);
    case KL_DELETED_KEY_NOT_FOUND:
        return kl_fail(err, code, "key", "Deleted Key not found: %s", name);
    case KL_VAULT_NOT_FOUND:
        return kl_fail(err, code, "vault", "vault %s was not found in this state", name);
    default:
        return kl_fail(err, code, "state", "%s: %s", name, kl_code_text(code));
    }
}

static enum kl_code absent(const struct change *c, bool vault, const char *name, struct kl_err *err)
{
    enum kl_life unused;
    return refuse(kl_life_next(vault, KL_LIFE_PURGED, c->event, &unused), name, err);
}

/* A changed row is never purged; to the caller that is purge protection, the log has the rest. */
static enum kl_code checked(const struct change *c, enum kl_code code, struct kl_err *err)
{
    if (code == KL_CORRUPT && c->event == KL_EVENT_PURGE)
        return kl_fail(err, KL_PURGE_PROTECTED, "MAC",
                       "the stored record was changed by a foreign hand, it is not purged");
    return code;
}

static enum kl_code change_begin(struct change *c, const char *token_name, struct kl_err *err)
{
    /* A deletion only notes the time; a purge believes it, so the count must have been checked. */
    enum kl_code code = kl_trusted_clock_verify(c->m, err);
    if (c->event != KL_EVENT_PURGE)
        code = KL_OK;
    if (code == KL_OK)
        code = kl_protect_open(c->m, token_name, &c->protector, err);
    if (code == KL_OK)
        code = kl_store_begin(c->m->store, true, &c->t, err);
    return code;
}

static enum kl_code read_vault(struct change *c, const char *vault_id, struct kl_err *err)
{
    enum kl_code code = kl_vault_copy_read(c->t, KL_Q_VAULT_BY_ID, vault_id, &c->vault, err);
    if (code == KL_OK)
        code = checked(c, kl_protect_check_vault(&c->protector, &c->vault.row, err), err);
    return code;
}

static enum kl_code key_change_begin(struct change *c, const char *vault_id, const char *token_name,
                                     const char *name, struct kl_err *err)
{
    if (!kl_name_valid(name))
        return absent(c, false, name, err);
    enum kl_code code = change_begin(c, token_name, err);
    if (code == KL_OK)
        code = read_vault(c, vault_id, err);
    if (code == KL_OK && c->vault.row.state != KL_LIFE_ACTIVE && !c->by_date)
        code = kl_fail(err, KL_VAULT_NOT_FOUND, "vault", "the vault is not active");
    if (code != KL_OK)
        return code;
    code = kl_object_read(c->t, vault_id, name, &c->object, err);
    if (code == KL_NOT_FOUND)
        return absent(c, false, name, err);
    if (code != KL_OK)
        return code;
    code = kl_life_next(false, (enum kl_life)c->object.state, c->event, &c->next);
    if (code != KL_OK)
        return refuse(code, name, err);
    return checked(c, kl_protect_check_object(&c->protector, &c->object, err), err);
}

static enum kl_code write_object(struct change *c, struct kl_object_row *o, enum kl_life next,
                                 struct kl_err *err)
{
    o->state = next;
    enum kl_code code = kl_protect_object(&c->protector, o, err);
    return code == KL_OK ? kl_object_row_write(c->t, o, err) : code;
}

static enum kl_code write_vault(struct change *c, enum kl_life next, struct kl_err *err)
{
    c->vault.row.state = next;
    enum kl_code code = kl_protect_vault(&c->protector, &c->vault.row, err);
    return code == KL_OK ? kl_vault_row_write(c->t, &c->vault.row, err) : code;
}

struct stamps {
    int64_t deleted_at, purge_at, elapsed;
};

static struct stamps stamps_now(struct change *c)
{
    int64_t now = kl_clock_unix();
    return (struct stamps){now, now + c->vault.row.retention_days * DAY_S,
                           kl_trusted_clock_elapsed(&c->m->clock)};
}

static void stamp_object(struct kl_object_row *o, struct stamps s)
{
    o->deleted_at = s.deleted_at;
    o->purge_at = s.purge_at;
    o->deleted_elapsed = s.elapsed;
}

static void stamp_vault(struct kl_vault_row *v, struct stamps s)
{
    v->deleted_at = s.deleted_at;
    v->purge_at = s.purge_at;
    v->deleted_elapsed = s.elapsed;
    v->updated = kl_clock_unix();
}

/* --- delete and recover a key --- */

static enum kl_code key_change_write(struct change *c, struct stamps s, struct kl_key_version **ret,
                                     struct kl_err *err)
{
    stamp_object(&c->object, s);
    enum kl_code code = write_object(c, &c->object, c->next, err);
    if (code == KL_OK)
        code = kl_snapshot_newest(c->m, c->t, &c->object, ret, err);
    if (code != KL_OK)
        return code;
    code = kl_model_commit(c->m, c->t, err);
    if (code == KL_OK)
        kl_cache_forget(c->m->cache, c->object.vault_id, c->object.name);
    return code;
}

enum kl_code kl_key_delete(struct kl_model *m, struct kl_vault *v, const char *name,
                           struct kl_deleted_key *ret, struct kl_err *err)
{
    struct change c = {.m = m, .event = KL_EVENT_DELETE};
    KL_AUTO(key_version) latest = NULL;
    enum kl_code code = key_change_begin(&c, v->id, v->token_name, name, err);
    if (code == KL_OK)
        code = key_change_write(&c, stamps_now(&c), &latest, err);
    if (code == KL_OK)
        *ret = (struct kl_deleted_key){kl_take(latest), c.object.deleted_at, c.object.purge_at};
    change_done(&c);
    return code;
}

enum kl_code kl_key_recover(struct kl_model *m, struct kl_vault *v, const char *name,
                            struct kl_key_version **ret, struct kl_err *err)
{
    struct change c = {.m = m, .event = KL_EVENT_RECOVER};
    KL_AUTO(key_version) latest = NULL;
    enum kl_code code = key_change_begin(&c, v->id, v->token_name, name, err);
    if (code == KL_OK)
        code = key_change_write(&c, (struct stamps){0}, &latest, err);
    if (code == KL_OK)
        *ret = kl_take(latest);
    change_done(&c);
    return code;
}

enum kl_code kl_key_deleted(struct kl_model *m, struct kl_vault *v, const char *name,
                            struct kl_deleted_key *ret, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    KL_AUTO(key_version) latest = NULL;
    struct kl_object_row object;
    if (!kl_name_valid(name))
        return refuse(KL_DELETED_KEY_NOT_FOUND, name, err);
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_object_read(t, v->id, name, &object, err);
    if (code == KL_NOT_FOUND || (code == KL_OK && object.state != KL_LIFE_DELETED))
        return refuse(KL_DELETED_KEY_NOT_FOUND, name, err);
    if (code == KL_OK)
        code = kl_snapshot_newest(m, t, &object, &latest, err);
    if (code == KL_OK)
        *ret = (struct kl_deleted_key){kl_take(latest), object.deleted_at, object.purge_at};
    return code;
}

/* --- may it be purged now? --- */

static enum kl_code date_has_come(struct change *c, struct stamps deleted, struct kl_err *err)
{
    int64_t seen = kl_trusted_clock_elapsed(&c->m->clock) - deleted.elapsed;
    if (kl_trusted_clock_frozen(&c->m->clock))
        return kl_fail(err, KL_CLOCK_FROZEN, "clock",
                       "the wall clock jumped forward; purges by date wait until it is corrected");
    if (kl_clock_unix() < deleted.purge_at || seen < c->vault.row.retention_days * DAY_S)
        return kl_fail(
            err, KL_PURGE_PROTECTED, "purge",
            "purge is not allowed because purge protection is enabled for this vault; the "
            "service purges after the retention period has passed");
    return KL_OK;
}

static enum kl_code may_purge(struct change *c, struct stamps deleted, struct kl_err *err)
{
    if (!c->by_date && c->vault.row.purge_protection == 0)
        return KL_OK;
    return date_has_come(c, deleted, err);
}

/* --- purge a key --- */

static enum kl_code destroy_version(struct kl_model *m, const struct kl_protector *p,
                                    const struct kl_token_key_row *row, struct kl_err *err)
{
    struct kl_token *token;
    struct kl_token_request req = {.call = KL_CALL_DESTROY};
    memcpy(req.key.id, row->token_key, sizeof req.key.id);
    memcpy(req.key.spki_hash, row->spki_hash, sizeof req.key.spki_hash);
    enum kl_code code = kl_protect_check_version(p, row, err);
    if (code == KL_OK)
        code = kl_model_token_named(m, row->token, &token, err);
    return code == KL_OK ? kl_token_call(token, &req, NULL, NULL, err) : code;
}

static enum kl_code tombstone(struct change *c, const struct kl_token_key_row *rows, size_t count,
                              int64_t object_id, struct kl_err *err)
{
    enum kl_code code = kl_store_begin(c->m->store, true, &c->t, err);
    if (code == KL_OK)
        code =
            kl_store_one(c->t, KL_Q_OBJECT_BY_ID, KL_ARGS(KL_ARG_INT(object_id)), &c->object, err);
    if (code == KL_OK)
        code = kl_life_next(false, (enum kl_life)c->object.state, KL_EVENT_GONE, &c->next);
    for (size_t i = 0; i < count && code == KL_OK; i++)
        code = kl_store_run(c->t, KL_Q_VERSION_DELETE, KL_ARGS(KL_ARG_INT(rows[i].seq)), NULL, err);
    if (code == KL_OK)
        code = write_object(c, &c->object, c->next, err);
    if (code == KL_OK)
        code = kl_model_commit(c->m, c->t, err);
    /* Somebody else finished it at the same time. */
    return code == KL_NOT_FOUND ? KL_OK : code;
}

/* The rows of a PURGING object, read and checked in a session of their own. */
static enum kl_code read_purging(struct change *c, int64_t object_id, void **ret_rows,
                                 size_t *ret_count, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(c->m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_store_one(t, KL_Q_OBJECT_BY_ID, KL_ARGS(KL_ARG_INT(object_id)), &c->object, err);
    if (code == KL_OK)
        code = kl_protect_check_object(&c->protector, &c->object, err);
    if (code == KL_OK && c->object.state != KL_LIFE_PURGING) {
        *ret_count = 0;
        return KL_OK;
    }
    if (code == KL_OK)
        code = kl_store_all(t, KL_Q_TOKEN_KEYS_OF,
                            KL_ARGS(KL_ARG_INT(object_id), KL_ARG_INT(KL_VERSION_READY)), ret_rows,
                            ret_count, err);
    return code;
}

enum kl_code kl_purge_finish_key(struct kl_model *m, int64_t object_id, const char *token_name,
                                 struct kl_err *err)
{
    struct change c = {.m = m, .event = KL_EVENT_GONE};
    void *found = NULL;
    size_t count = 0;
    enum kl_code code = kl_protect_open(m, token_name, &c.protector, err);
    if (code == KL_OK)
        code = read_purging(&c, object_id, &found, &count, err);
    const struct kl_token_key_row *rows = found;
    for (size_t i = 0; i < count && code == KL_OK; i++)
        code = destroy_version(m, &c.protector, &rows[i], err);
    if (code == KL_OK && c.object.state == KL_LIFE_PURGING)
        code = tombstone(&c, rows, count, object_id, err);
    free(found);
    change_done(&c);
    return code;
}

enum kl_code kl_purge_key(struct kl_model *m, const char *vault_id, const char *token_name,
                          const char *name, bool by_date, struct kl_err *err)
{
    struct change c = {.m = m, .event = KL_EVENT_PURGE, .by_date = by_date};
    enum kl_code code = key_change_begin(&c, vault_id, token_name, name, err);
    bool decided = code == KL_OK && c.object.state == KL_LIFE_PURGING;
    int64_t id = c.object.id;
    struct stamps deleted = {c.object.deleted_at, c.object.purge_at, c.object.deleted_elapsed};
    if (code == KL_OK && !decided)
        code = may_purge(&c, deleted, err);
    if (code == KL_OK && !decided)
        code = write_object(&c, &c.object, c.next, err);
    if (code == KL_OK && !decided)
        code = kl_model_commit(m, c.t, err);
    if (code == KL_OK)
        kl_cache_forget(m->cache, vault_id, name);
    change_done(&c);
    return code == KL_OK ? kl_purge_finish_key(m, id, token_name, err) : code;
}

enum kl_code kl_key_purge(struct kl_model *m, struct kl_vault *v, const char *name,
                          struct kl_err *err)
{
    return kl_purge_key(m, v->id, v->token_name, name, false, err);
}

/* --- vaults --- */

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

static enum kl_code vault_change_begin(struct change *c, const char *name, struct kl_err *err)
{
    struct kl_vault_row row;
    char folded[KL_ROW_NAME];
    if (!kl_vault_name_valid(name))
        return absent(c, true, name, err);
    kl_model_fold(name, folded, sizeof folded);
    enum kl_code code = kl_vault_row_find(c->m, KL_Q_VAULT_BY_NAME, folded, &row, err);
    if (code == KL_NOT_FOUND)
        return absent(c, true, name, err);
    if (code == KL_OK)
        code = change_begin(c, row.token, err);
    if (code == KL_OK)
        code = kl_vault_copy_read(c->t, KL_Q_VAULT_BY_ID, row.id, &c->vault, err);
    if (code != KL_OK)
        return code;
    code = kl_life_next(true, (enum kl_life)c->vault.row.state, c->event, &c->next);
    if (code != KL_OK)
        return refuse(code, name, err);
    return checked(c, kl_protect_check_vault(&c->protector, &c->vault.row, err), err);
}

static enum kl_code vault_change_write(struct change *c, struct stamps s, struct kl_vault **ret,
                                       struct kl_err *err)
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
    struct change c = {.m = m, .event = event};
    enum kl_code code = vault_change_begin(&c, name, err);
    struct stamps s = {0};
    if (code == KL_OK && event == KL_EVENT_DELETE)
        s = stamps_now(&c);
    if (code == KL_OK)
        code = vault_change_write(&c, s, ret, err);
    change_done(&c);
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

/* Every key of the vault becomes PURGING in the same commit as the vault. */
static enum kl_code condemn_keys(struct change *c, struct kl_err *err)
{
    void *rows = NULL;
    size_t count = 0;
    enum kl_code code = kl_store_all(c->t, KL_Q_OBJECTS_OF_VAULT,
                                     KL_ARGS(KL_ARG_TEXT(c->vault.row.id)), &rows, &count, err);
    struct kl_object_row *objects = rows;
    for (size_t i = 0; i < count && code == KL_OK; i++) {
        enum kl_life next;
        code = kl_life_next(false, (enum kl_life)objects[i].state, KL_EVENT_VAULT_PURGE, &next);
        if (code == KL_OK && objects[i].state != KL_LIFE_NEW)
            code = checked(c, kl_protect_check_object(&c->protector, &objects[i], err), err);
        if (code == KL_OK)
            code = write_object(c, &objects[i], next, err);
    }
    free(rows);
    return code;
}

static enum kl_code bury_vault(struct kl_model *m, const struct kl_vault_row *row,
                               struct kl_err *err)
{
    struct change c = {.m = m, .event = KL_EVENT_GONE};
    enum kl_code code = kl_protect_open(m, row->token, &c.protector, err);
    if (code == KL_OK)
        code = kl_store_begin(m->store, true, &c.t, err);
    if (code == KL_OK)
        code = read_vault(&c, row->id, err);
    if (code == KL_OK)
        code = kl_life_next(true, (enum kl_life)c.vault.row.state, KL_EVENT_GONE, &c.next);
    if (code == KL_OK)
        code =
            kl_store_run(c.t, KL_Q_POLICIES_DELETE_VAULT, KL_ARGS(KL_ARG_TEXT(row->id)), NULL, err);
    if (code == KL_OK)
        code = write_vault(&c, c.next, err);
    if (code == KL_OK)
        code = kl_model_commit(m, c.t, err);
    change_done(&c);
    return code == KL_NOT_FOUND ? KL_OK : code;
}

static enum kl_code keys_of(struct kl_model *m, const char *vault_id, void **ret_rows,
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
    enum kl_code code = keys_of(m, row->id, &rows, &count, err);
    const struct kl_object_row *objects = rows;
    for (size_t i = 0; i < count && code == KL_OK; i++)
        code = kl_purge_finish_key(m, objects[i].id, row->token, err);
    free(rows);
    return code == KL_OK ? bury_vault(m, row, err) : code;
}

enum kl_code kl_purge_vault(struct kl_model *m, const char *name, bool by_date, struct kl_err *err)
{
    struct change c = {.m = m, .event = KL_EVENT_PURGE, .by_date = by_date};
    enum kl_code code = vault_change_begin(&c, name, err);
    struct kl_vault_row row = c.vault.row;
    bool decided = code == KL_OK && row.state == KL_LIFE_PURGING;
    struct stamps deleted = {row.deleted_at, row.purge_at, row.deleted_elapsed};
    if (code == KL_OK && !decided)
        code = may_purge(&c, deleted, err);
    if (code == KL_OK && !decided)
        code = condemn_keys(&c, err);
    if (code == KL_OK && !decided)
        code = write_vault(&c, c.next, err);
    if (code == KL_OK && !decided)
        code = kl_model_commit(m, c.t, err);
    if (code == KL_OK) {
        kl_world_drop_vault(&m->world, row.id);
        kl_cache_flush(m->cache);
    }
    change_done(&c);
    return code == KL_OK ? kl_purge_finish_vault(m, &row, err) : code;
}

enum kl_code kl_vault_purge(struct kl_model *m, const char *name, struct kl_err *err)
{
    return kl_purge_vault(m, name, false, err);
}
