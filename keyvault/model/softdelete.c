#include "keyvault/model/softdelete.h"

#include "base/clock.h"

#include <string.h>

#define DAY_S INT64_C(86400)

/* --- the table --- */

/* Why an event does not go; the code depends on the kind. */
enum refusal { FINE, ABSENT, NOT_DELETED, HELD, TAKEN, NEVER };

struct transition {
    enum kl_life to;
    enum refusal object, vault;
};

#define GO(state)                                                                                  \
    {                                                                                              \
        KL_LIFE_##state, FINE, FINE                                                                \
    }
#define NO(why)                                                                                    \
    {                                                                                              \
        KL_LIFE_NEW, why, why                                                                      \
    }

/* Columns: new, active, deleted, purging, purged. What is purged is the same as what never was. */
static const struct transition table[KL_EVENT_COUNT][KL_LIFE_COUNT] = {
    [KL_EVENT_READY] = {GO(ACTIVE), {KL_LIFE_ACTIVE, FINE, TAKEN}, NO(HELD), NO(HELD), NO(ABSENT)},
    [KL_EVENT_DELETE] = {NO(ABSENT), GO(DELETED), NO(ABSENT), NO(ABSENT), NO(ABSENT)},
    [KL_EVENT_RECOVER] = {NO(NOT_DELETED), NO(NOT_DELETED), GO(ACTIVE), NO(NOT_DELETED),
                          NO(NOT_DELETED)},
    [KL_EVENT_PURGE] = {NO(NOT_DELETED), NO(NOT_DELETED), GO(PURGING), GO(PURGING),
                        NO(NOT_DELETED)},
    [KL_EVENT_VAULT_PURGE] = {GO(PURGING), GO(PURGING), GO(PURGING), GO(PURGING), NO(NEVER)},
    [KL_EVENT_GONE] = {NO(NEVER), NO(NEVER), NO(NEVER), GO(PURGED), NO(NEVER)},
};

static enum kl_code code_of(enum kl_kind kind, enum refusal why)
{
    static const enum kl_code shared[] = {
        [FINE] = KL_OK, [HELD] = KL_NAME_DELETED, [TAKEN] = KL_CONFLICT, [NEVER] = KL_NOT_FOUND};
    if (why != ABSENT && why != NOT_DELETED)
        return shared[why];
    if (kind == KL_KIND_VAULT)
        return KL_VAULT_NOT_FOUND;
    return why == ABSENT ? kl_kind_row(kind)->missing : kl_kind_row(kind)->deleted_missing;
}

enum kl_code kl_life_next(enum kl_kind kind, enum kl_life from, enum kl_life_event event,
                          enum kl_life *ret)
{
    if ((unsigned)from >= KL_LIFE_COUNT || (unsigned)event >= KL_EVENT_COUNT ||
        (unsigned)kind > KL_KIND_VAULT)
        return KL_CORRUPT;
    const struct transition *t = &table[event][from];
    enum kl_code code = code_of(kind, kind == KL_KIND_VAULT ? t->vault : t->object);
    if (code == KL_OK)
        *ret = t->to;
    return code;
}

/* --- one change --- */

void kl_change_done(struct kl_change *c)
{
    kl_store_end(c->t);
    c->t = NULL;
    kl_vault_copy_done(&c->vault);
    kl_protect_close(&c->protector);
}

static enum kl_code refuse(enum kl_kind kind, enum kl_code code, const char *name,
                           struct kl_err *err)
{
    const struct kl_kind_row *row = kl_kind_row(kind);
    if (code == row->missing)
        return kl_object_missing(kind, name, "", err);
    if (code == row->deleted_missing)
        return kl_object_not_deleted(kind, name, err);
    return kl_fail(err, code, "state", "%s: %s", name, kl_code_text(code));
}

static enum kl_code absent(const struct kl_change *c, enum kl_kind kind, const char *name,
                           struct kl_err *err)
{
    enum kl_life unused;
    return refuse(kind, kl_life_next(kind, KL_LIFE_PURGED, c->event, &unused), name, err);
}

/* To the caller that is purge protection, the log has the rest. */
enum kl_code kl_change_checked(const struct kl_change *c, enum kl_code code, struct kl_err *err)
{
    if (code == KL_CORRUPT && c->event == KL_EVENT_PURGE)
        return kl_fail(err, KL_PURGE_PROTECTED, "MAC",
                       "the stored record was changed by a foreign hand, it is not purged");
    return code;
}

enum kl_code kl_change_begin(struct kl_change *c, const char *token_name, struct kl_err *err)
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

enum kl_code kl_change_read_vault(struct kl_change *c, const char *vault_id, struct kl_err *err)
{
    enum kl_code code = kl_vault_copy_read(c->t, KL_Q_VAULT_BY_ID, vault_id, &c->vault, err);
    if (code == KL_OK)
        code = kl_change_checked(c, kl_protect_check_vault(&c->protector, &c->vault.row, err), err);
    return code;
}

static enum kl_code object_begin(struct kl_change *c, const char *vault_id, const char *token_name,
                                 enum kl_kind kind, const char *name, struct kl_err *err)
{
    if (!kl_name_valid(name))
        return absent(c, kind, name, err);
    enum kl_code code = kl_change_begin(c, token_name, err);
    if (code == KL_OK)
        code = kl_change_read_vault(c, vault_id, err);
    if (code == KL_OK && c->vault.row.state != KL_LIFE_ACTIVE && !c->by_date)
        code = kl_fail(err, KL_VAULT_NOT_FOUND, "vault", "the vault is not active");
    if (code != KL_OK)
        return code;
    code = kl_object_read(c->t, vault_id, kind, name, &c->object, err);
    if (code == KL_NOT_FOUND)
        return absent(c, kind, name, err);
    if (code != KL_OK)
        return code;
    bool led = false;
    if (!c->by_date)
        code = kl_change_is_led(c->t, &c->object, &led, err);
    if (code == KL_OK && led)
        return c->object.state == KL_LIFE_ACTIVE && c->event == KL_EVENT_DELETE
                   ? kl_object_managed(kind, name, err)
                   : absent(c, kind, name, err);
    if (code == KL_OK)
        code = kl_life_next(kind, (enum kl_life)c->object.state, c->event, &c->next);
    if (code != KL_OK)
        return refuse(kind, code, name, err);
    return kl_change_checked(c, kl_protect_check_object(&c->protector, &c->object, err), err);
}

enum kl_code kl_change_write_object(struct kl_change *c, struct kl_object_row *o, enum kl_life next,
                                    struct kl_err *err)
{
    o->state = next;
    enum kl_code code = kl_protect_object(&c->protector, o, err);
    return code == KL_OK ? kl_object_row_write(c->t, o, err) : code;
}

struct kl_stamps kl_stamps_now(struct kl_change *c)
{
    int64_t now = kl_clock_unix();
    return (struct kl_stamps){now, now + c->vault.row.retention_days * DAY_S,
                              kl_trusted_clock_elapsed(&c->m->clock)};
}

/* --- delete and recover --- */

static enum kl_code change_write(struct kl_change *c, struct kl_stamps s, kl_change_look *look,
                                 void *arg, struct kl_err *err)
{
    struct kl_object_row *o = &c->object;
    o->deleted_at = s.deleted_at;
    o->purge_at = s.purge_at;
    o->deleted_elapsed = s.elapsed;
    enum kl_code code = kl_change_write_object(c, o, c->next, err);
    if (code == KL_OK)
        code = kl_change_lead(c, s, err);
    if (code == KL_OK)
        code = look(arg, c->m, c->t, o, err);
    if (code != KL_OK)
        return code;
    code = kl_model_commit(c->m, c->t, err);
    if (code == KL_OK)
        kl_cache_forget(c->m->cache, o->vault_id, o->name);
    return code;
}

enum kl_code kl_object_change(struct kl_model *m, const struct kl_vault *v, enum kl_kind kind,
                              const char *name, enum kl_life_event event, kl_change_look *look,
                              void *arg, struct kl_err *err)
{
    struct kl_change c = {.m = m, .event = event};
    struct kl_stamps s = {0};
    enum kl_code code = object_begin(&c, v->id, v->token_name, kind, name, err);
    if (code == KL_OK && event == KL_EVENT_DELETE)
        s = kl_stamps_now(&c);
    if (code == KL_OK)
        code = change_write(&c, s, look, arg, err);
    kl_change_done(&c);
    return code;
}

enum kl_code kl_object_deleted(struct kl_model *m, const struct kl_vault *v, enum kl_kind kind,
                               const char *name, kl_change_look *look, void *arg,
                               struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_object_row object = {0};
    if (!kl_name_valid(name))
        return kl_object_not_deleted(kind, name, err);
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_object_read(t, v->id, kind, name, &object, err);
    if (code == KL_NOT_FOUND ||
        (code == KL_OK && (object.state != KL_LIFE_DELETED || object.managed != 0)))
        return kl_object_not_deleted(kind, name, err);
    return code == KL_OK ? look(arg, m, t, &object, err) : code;
}

/* --- may it be purged now? --- */

static enum kl_code date_has_come(struct kl_change *c, struct kl_stamps deleted, struct kl_err *err)
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

enum kl_code kl_change_may_purge(struct kl_change *c, struct kl_stamps deleted, struct kl_err *err)
{
    if (!c->by_date && c->vault.row.purge_protection == 0)
        return KL_OK;
    return date_has_come(c, deleted, err);
}

/* --- purge --- */

enum kl_code kl_change_bury_object(struct kl_change *c, struct kl_object_row *o, struct kl_err *err)
{
    const struct kl_kind_row *kind = kl_kind_row(o->kind);
    enum kl_life next;
    enum kl_code code =
        kl_life_next((enum kl_kind)o->kind, (enum kl_life)o->state, KL_EVENT_GONE, &next);
    if (code == KL_OK && !kind->on_token)
        code = kl_store_run(c->t, kind->forget, KL_ARGS(KL_ARG_INT(o->id)), NULL, err);
    if (code == KL_OK && kind->leads)
        code = kl_store_run(c->t, KL_Q_PARTS_DELETE_OF, KL_ARGS(KL_ARG_INT(o->id)), NULL, err);
    return code == KL_OK ? kl_change_write_object(c, o, next, err) : code;
}

static enum kl_code destroy_version(struct kl_model *m, const struct kl_token_key_row *row,
                                    struct kl_err *err)
{
    KL_AUTO_PROTECTOR p = {NULL};
    struct kl_token *token = NULL;
    struct kl_token_request req = {.call = KL_CALL_DESTROY};
    memcpy(req.key.id, row->token_key, sizeof req.key.id);
    memcpy(req.key.spki_hash, row->spki_hash, sizeof req.key.spki_hash);
    enum kl_code code = kl_protect_open(m, row->token, &p, err);
    if (code == KL_OK)
        code = kl_protect_check_version(&p, row, err);
    if (code == KL_OK && row->keep != 0) /* attached: whoever made it destroys it */
        return KL_OK;
    if (code == KL_OK)
        code = kl_model_token_named(m, row->token, &token, err);
    return code == KL_OK ? kl_token_call(token, &req, NULL, NULL, err) : code;
}

static enum kl_code tombstone(struct kl_change *c, const struct kl_token_key_row *rows,
                              size_t count, int64_t object_id, struct kl_err *err)
{
    enum kl_code code = kl_store_begin(c->m->store, true, &c->t, err);
    if (code == KL_OK)
        code =
            kl_store_one(c->t, KL_Q_OBJECT_BY_ID, KL_ARGS(KL_ARG_INT(object_id)), &c->object, err);
    for (size_t i = 0; i < count && code == KL_OK; i++)
        code = kl_store_run(c->t, rows[i].home != 0 ? KL_Q_HOMES_DELETE : KL_Q_VERSION_DELETE,
                            KL_ARGS(KL_ARG_INT(rows[i].seq)), NULL, err);
    if (code == KL_OK)
        code = kl_change_bury_object(c, &c->object, err);
    if (code == KL_OK)
        code = kl_model_commit(c->m, c->t, err);
    /* Somebody else finished it at the same time. */
    return code == KL_NOT_FOUND ? KL_OK : code;
}

/* The rows of a PURGING object, read and checked in a session of their own. */
static enum kl_code read_purging(struct kl_change *c, int64_t object_id, void **ret_rows,
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

enum kl_code kl_purge_finish_object(struct kl_model *m, int64_t object_id, const char *token_name,
                                    struct kl_err *err)
{
    struct kl_change c = {.m = m, .event = KL_EVENT_GONE};
    void *found = NULL;
    size_t count = 0;
    enum kl_code code = kl_protect_open(m, token_name, &c.protector, err);
    if (code == KL_OK)
        code = read_purging(&c, object_id, &found, &count, err);
    const struct kl_token_key_row *rows = found;
    for (size_t i = 0; i < count && code == KL_OK; i++)
        code = destroy_version(m, &rows[i], err);
    if (code == KL_OK && c.object.state == KL_LIFE_PURGING)
        code = tombstone(&c, rows, count, object_id, err);
    free(found);
    kl_change_done(&c);
    return code;
}

/* Decide it, and do it at once where the database is all there is. */
static enum kl_code condemn(struct kl_change *c, struct kl_err *err)
{
    struct kl_object_row *o = &c->object;
    enum kl_code code = kl_change_may_purge(
        c, (struct kl_stamps){o->deleted_at, o->purge_at, o->deleted_elapsed}, err);
    if (code == KL_OK)
        code = kl_change_write_object(c, o, c->next, err);
    if (code == KL_OK && !kl_kind_row(o->kind)->on_token)
        code = kl_change_bury_object(c, o, err);
    if (code == KL_OK)
        code = kl_change_lead(c, (struct kl_stamps){o->deleted_at, o->purge_at, o->deleted_elapsed},
                              err);
    return code == KL_OK ? kl_model_commit(c->m, c->t, err) : code;
}

enum kl_code kl_purge_object(struct kl_model *m, const char *vault_id, const char *token_name,
                             enum kl_kind kind, const char *name, bool by_date, struct kl_err *err)
{
    struct kl_change c = {.m = m, .event = KL_EVENT_PURGE, .by_date = by_date};
    enum kl_code code = object_begin(&c, vault_id, token_name, kind, name, err);
    if (code == KL_OK && c.object.state != KL_LIFE_PURGING)
        code = condemn(&c, err);
    if (code == KL_OK)
        kl_cache_forget(m->cache, vault_id, name);
    int64_t id = c.led_key != 0 ? c.led_key : c.object.id;
    bool buried = c.object.state == KL_LIFE_PURGED && c.led_key == 0;
    kl_change_done(&c);
    return code == KL_OK && !buried ? kl_purge_finish_object(m, id, token_name, err) : code;
}
