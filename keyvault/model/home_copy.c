/* A key onto a further token: wrapped by one of its homes, unwrapped by the new one. */
#include "keyvault/model/birth.h"
#include "keyvault/model/home.h"
#include "keyvault/model/softdelete.h"

#include "base/log.h"

#include <string.h>

/* --- known to reconciliation while it lasts --- */

static void announce(struct kl_model *m, struct kl_move_in *one)
{
    (void)pthread_mutex_lock(&m->births.lock);
    one->next = m->births.moving;
    m->births.moving = one;
    (void)pthread_mutex_unlock(&m->births.lock);
}

static void retire(struct kl_model *m, struct kl_move_in *one)
{
    (void)pthread_mutex_lock(&m->births.lock);
    struct kl_move_in **at = &m->births.moving;
    while (*at != one)
        at = &(*at)->next;
    *at = one->next;
    (void)pthread_mutex_unlock(&m->births.lock);
}

bool kl_home_moving_locked(const struct kl_model *m, const uint8_t id[static KL_KEY_ID_LEN])
{
    for (const struct kl_move_in *one = m->births.moving; one != NULL; one = one->next)
        if (memcmp(one->token_key, id, sizeof one->token_key) == 0)
            return true;
    return false;
}

/* --- rows --- */

struct copy {
    struct kl_model *m;
    struct kl_token *to;
    struct kl_key_version *key;
    struct kl_home_row row;
    struct kl_key_spec spec;
    struct kl_secret *wrapped;
    uint64_t mechanism;
};

static enum kl_code take_version(void *arg, const void *p, struct kl_err *err)
{
    const struct kl_version_row *from = p;
    struct copy *c = arg;
    (void)err;
    c->row = (struct kl_home_row){.seq = from->seq, .object = from->object};
    memcpy(c->row.version, from->version, sizeof c->row.version);
    memcpy(c->row.spki_hash, from->spki_hash, sizeof c->row.spki_hash);
    c->spec = (struct kl_key_spec){.type = (enum kl_key_type)from->type,
                                   .bits = (uint32_t)from->bits,
                                   .curve = (enum kl_curve)from->curve,
                                   .profile = KL_PROFILE_DOMAIN,
                                   .may_decrypt = from->type == KL_KEY_RSA,
                                   .may_sign = true};
    return KL_OK;
}

static enum kl_code read_version(struct copy *c, int64_t seq, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_object_row object = {0};
    size_t count = 0;
    enum kl_code code = kl_store_begin(c->m->store, false, &t, err);
    if (code == KL_OK)
        code =
            kl_store_each(t, KL_Q_VERSION_BY_SEQ, KL_ARGS(KL_ARG_INT(seq)), take_version, c, err);
    if (code == KL_OK)
        code = kl_store_one(t, KL_Q_OBJECT_BY_ID, KL_ARGS(KL_ARG_INT(c->row.object)), &object, err);
    if (code == KL_OK)
        code = kl_snapshot_versions(c->m, t, &object, KL_Q_VERSION_BY_SEQ, KL_ARGS(KL_ARG_INT(seq)),
                                    &c->key, 1, &count, err);
    if (code == KL_OK && count == 0)
        code = kl_fail(err, KL_NOT_FOUND, "store", "the version is gone");
    if (code == KL_OK &&
        c->key->vault_id[0] == '\0') { /* the service's own: one purpose, one use */
        c->spec.may_decrypt = (c->key->ops & (KL_OP_DECRYPT | KL_OP_UNWRAP)) != 0;
        c->spec.may_sign = (c->key->ops & KL_OP_SIGN) != 0;
    }
    return code;
}

static enum kl_code write_row(struct copy *c, bool ready, struct kl_err *err)
{
    KL_AUTO_PROTECTOR p = {NULL};
    KL_AUTO(store_session) t = NULL;
    int64_t changed = 1;
    enum kl_code code = kl_protect_open(c->m, c->to->name, &p, err);
    if (code == KL_OK)
        code = kl_protect_home(&p, &c->row, ready, err);
    if (code == KL_OK)
        code = kl_store_begin(c->m->store, true, &t, err);
    if (code == KL_OK && !ready)
        code = kl_store_insert(t, KL_Q_HOME_INSERT, &c->row, NULL, err);
    if (code == KL_OK && ready)
        code = kl_store_run(t, KL_Q_HOME_READY,
                            KL_ARGS(KL_ARG_BYTES(c->row.mac, sizeof c->row.mac),
                                    KL_ARG_INT(c->row.seq), KL_ARG_TEXT(c->row.token)),
                            &changed, err);
    if (code == KL_OK && changed != 1)
        code = kl_fail(err, KL_CONFLICT, "home", "the key was purged meanwhile");
    if (code == KL_OK)
        code = kl_model_commit(c->m, t, err);
    if (code == KL_OK && ready)
        kl_cache_forget(c->m->cache, c->key->vault_id, c->key->name);
    return code;
}

enum kl_code kl_home_undo(struct kl_model *m, struct kl_token *token,
                          const struct kl_token_key_row *row, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_birth_destroy(token, row->token_key, err);
    if (code == KL_OK)
        code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_store_run(t, KL_Q_HOME_DELETE_CREATING,
                            KL_ARGS(KL_ARG_INT(row->seq), KL_ARG_TEXT(row->token)), NULL, err);
    return code == KL_OK ? kl_model_commit(m, t, err) : code;
}

/* After a failed commit nobody knows whether the row is READY: only what the store still calls
 * CREATING may be destroyed. */
static void undo(struct copy *c)
{
    struct kl_token_key_row row = {.seq = c->row.seq};
    struct kl_home_row there;
    struct kl_err err;
    memcpy(row.token, c->row.token, sizeof row.token);
    memcpy(row.token_key, c->row.token_key, sizeof row.token_key);
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(c->m->store, false, &t, &err);
    if (code == KL_OK)
        code = kl_store_one(t, KL_Q_HOME_CREATING,
                            KL_ARGS(KL_ARG_INT(row.seq), KL_ARG_TEXT(row.token)), &there, &err);
    kl_store_end(kl_take(t));
    if (code == KL_OK)
        code = kl_home_undo(c->m, c->to, &row, &err);
    if (code != KL_OK && code != KL_NOT_FOUND)
        kl_log_err(KL_LOG_WARNING, "undoing a further home, left for reconciliation", &err);
}

/* --- the copy --- */

static enum kl_code wrap(struct copy *c, struct kl_err *err)
{
    enum kl_code code =
        kl_fail(err, KL_TOKEN_UNAVAILABLE, "home", "no home of the key is there to copy it from");
    const struct kl_home own = {c->key->token_name, c->key->token, c->key->ref};
    const struct kl_home *homes = c->key->home_count > 0 ? c->key->homes : &own;
    size_t count = c->key->home_count > 0 ? c->key->home_count : 1;
    for (size_t i = 0; i < count && code != KL_OK; i++) {
        struct kl_token_request req = {.call = KL_CALL_WRAP, .key = homes[i].ref};
        if (homes[i].token != NULL)
            code = kl_token_call(homes[i].token, &req, &c->wrapped, &c->mechanism, err);
    }
    return code;
}

static enum kl_code unwrap(const struct copy *c, struct kl_err *err)
{
    struct kl_token_request req = {.call = KL_CALL_UNWRAP,
                                   .spec = c->spec,
                                   .mechanism = c->mechanism,
                                   .input = kl_secret_bytes(c->wrapped),
                                   .input_len = kl_secret_len(c->wrapped)};
    memcpy(req.key.id, c->row.token_key, sizeof req.key.id);
    memcpy(req.key.spki_hash, c->row.spki_hash, sizeof req.key.spki_hash);
    (void)snprintf(req.spec.label, sizeof req.spec.label, "%.48s/%.6s", c->key->name,
                   c->row.version);
    return kl_token_call(c->to, &req, NULL, NULL, err);
}

static enum kl_code move_in(struct copy *c, struct kl_err *err)
{
    struct kl_move_in one;
    kl_random(c->row.token_key, sizeof c->row.token_key);
    (void)snprintf(c->row.token, sizeof c->row.token, "%s", c->to->name);
    memcpy(one.token_key, c->row.token_key, sizeof one.token_key);
    announce(c->m, &one);
    enum kl_code code = write_row(c, false, err);
    if (code == KL_OK) {
        code = unwrap(c, err);
        if (code == KL_OK)
            code = write_row(c, true, err);
        if (code != KL_OK)
            undo(c);
    }
    retire(c->m, &one);
    return code;
}

static enum kl_code copy_one(struct kl_model *m, int64_t seq, struct kl_token *to,
                             struct kl_err *err)
{
    struct copy c = {.m = m, .to = to};
    enum kl_code code = read_version(&c, seq, err);
    if (code == KL_OK)
        code = wrap(&c, err);
    if (code == KL_OK)
        code = move_in(&c, err);
    kl_secret_free(c.wrapped);
    kl_key_version_unref(c.key);
    return code;
}

/* --- many --- */

static bool can_take(struct kl_token *t)
{
    struct kl_token_status status;
    if (t == NULL)
        return false;
    kl_token_status(t, &status);
    return status.state == KL_TOKEN_READY && status.caps.domain_wrap != 0;
}

static enum kl_code lacking(struct kl_model *m, enum kl_store_query query,
                            struct kl_store_value whose, const char *token, void **ret_rows,
                            size_t *ret_count, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code != KL_OK)
        return code;
    return kl_store_all(t, query, KL_ARGS(whose, KL_ARG_TEXT(token)), ret_rows, ret_count, err);
}

/* One line for all that stay without this home: the next would most likely fail alike. */
static unsigned copy_all(struct kl_model *m, enum kl_store_query query, struct kl_store_value whose,
                         struct kl_token *to)
{
    void *found = NULL;
    size_t count = 0, done = 0;
    struct kl_err err;
    enum kl_code code = lacking(m, query, whose, to->name, &found, &count, &err);
    const struct kl_lacking_row *rows = found;
    while (code == KL_OK && done < count) {
        code = copy_one(m, rows[done].seq, to, &err);
        if (code == KL_NOT_FOUND || code == KL_CONFLICT || code == KL_EXISTS)
            /* purged meanwhile, or copied by another thread */
            code = KL_OK;
        done += code == KL_OK;
    }
    if (code != KL_OK) {
        kl_log(KL_LOG_WARNING, "keys without a copy token=%s keys=%zu", to->name, count - done);
        kl_log_err(KL_LOG_WARNING, "copying a key to a further home", &err);
    }
    free(found);
    return (unsigned)done;
}

void kl_home_spread(struct kl_model *m, const struct kl_vault *v, int64_t object_id)
{
    for (size_t i = 0; i < v->home_count && v->home_count > 1; i++)
        if (can_take(v->homes[i].token))
            (void)copy_all(m, KL_Q_HOMELESS_OF, KL_ARG_INT(object_id), v->homes[i].token);
}

enum kl_code kl_home_settle(struct kl_model *m, struct kl_vault *v, int64_t object_id,
                            struct kl_key_version **key, struct kl_err *err)
{
    struct kl_key_version *now = NULL;
    if (v->home_count < 2 || (*key)->profile != KL_PROFILE_DOMAIN)
        return KL_OK;
    kl_home_spread(m, v, object_id);
    if (kl_key_find(m, v, (*key)->name, (*key)->version, &now, err) == KL_OK) {
        kl_key_version_unref(*key);
        *key = now;
    }
    return KL_OK;
}

static unsigned spread_vault(struct kl_model *m, const struct kl_vault *v)
{
    unsigned made = 0;
    for (size_t i = 0; i < v->home_count && v->home_count > 1; i++)
        if (can_take(v->homes[i].token))
            made += copy_all(m, KL_Q_HOMELESS, KL_ARG_TEXT(v->id), v->homes[i].token);
    return made;
}

void kl_home_spread_vault(struct kl_model *m, const struct kl_vault *v)
{
    (void)spread_vault(m, v);
}

static unsigned fill_vaults(struct kl_model *m, enum kl_object_state state)
{
    struct kl_vault **vaults = NULL;
    size_t count = 0;
    unsigned made = 0;
    if (kl_vault_list(m, state, &vaults, &count, NULL) != KL_OK)
        return 0;
    for (size_t i = 0; i < count; i++)
        made += spread_vault(m, vaults[i]);
    kl_vault_list_free(vaults, count);
    return made;
}

unsigned kl_home_spread_own(struct kl_model *m, const struct kl_key_version *key)
{
    unsigned made = 0;
    for (size_t i = 0; i < m->token_count && key->profile == KL_PROFILE_DOMAIN; i++) {
        struct kl_err err;
        bool there = strcmp(key->token_name, m->tokens[i]->name) == 0;
        for (size_t n = 0; n < key->home_count; n++)
            there = there || key->homes[n].token == m->tokens[i];
        if (there || !can_take(m->tokens[i]))
            continue;
        if (copy_one(m, key->seq, m->tokens[i], &err) == KL_OK)
            made++;
        else
            kl_log_err(KL_LOG_WARNING, "copying a key of the service to a further home", &err);
    }
    return made;
}

unsigned kl_home_fill(struct kl_model *m)
{
    unsigned made = fill_vaults(m, KL_STATE_ACTIVE) + fill_vaults(m, KL_STATE_DELETED);
    for (size_t i = 0; i < m->token_count && m->token_count > 1; i++)
        if (can_take(m->tokens[i]))
            made += copy_all(m, KL_Q_HOMELESS, KL_ARG_TEXT(""), m->tokens[i]);
    return made;
}
