#include "keyvault/model/birth.h"

#include "base/clock.h"
#include "base/log.h"
#include "keyvault/model/event_inside.h"
#include "keyvault/model/softdelete.h"

#include <string.h>

void kl_birth_ids(struct kl_version_row *row, bool new_version)
{
    kl_random(row->token_key, sizeof row->token_key);
    if (new_version) {
        uint8_t id[KL_VERSION_LEN / 2];
        kl_random(id, sizeof id);
        kl_hex(id, sizeof id, row->version);
    }
}

/* --- known to reconciliation from before the first commit until after the last --- */

static void announce(struct kl_birth *b)
{
    (void)pthread_mutex_lock(&b->m->births.lock);
    b->next = b->m->births.first;
    b->m->births.first = b;
    (void)pthread_mutex_unlock(&b->m->births.lock);
}

static void retire(struct kl_birth *b)
{
    (void)pthread_mutex_lock(&b->m->births.lock);
    struct kl_birth **at = &b->m->births.first;
    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    (void)pthread_mutex_unlock(&b->m->births.lock);
}

/* --- begin --- */

enum kl_code kl_vault_must_be_active(struct kl_store_session *t, const char *vault_id,
                                     struct kl_err *err)
{
    struct kl_vault_copy v;
    if (vault_id[0] == '\0')
        return KL_OK;
    enum kl_code code = kl_vault_copy_read(t, KL_Q_VAULT_BY_ID, vault_id, &v, err);
    if (code == KL_NOT_FOUND || (code == KL_OK && v.row.state != KL_LIFE_ACTIVE))
        code = kl_fail(err, KL_VAULT_NOT_FOUND, "vault", "the vault is not active");
    else if (code != KL_OK)
        return code;
    kl_vault_copy_done(&v);
    return code;
}

static enum kl_code refuse_name(const struct kl_birth *b, enum kl_code why, struct kl_err *err)
{
    if (why == KL_NAME_DELETED)
        return kl_object_held(KL_KIND_KEY, b->name, err);
    if (why == KL_MANAGED)
        return kl_object_led(KL_KIND_KEY, b->name, b->object.managed != 0, err);
    if (why != KL_OK)
        return kl_fail(err, why, "key", "key %s is in no state to get a version", b->name);
    return kl_fail(err, KL_CONFLICT, "key", "A key named %s already exists.", b->name);
}

static enum kl_code insert_object(struct kl_birth *b, struct kl_store_session *t,
                                  struct kl_err *err)
{
    struct kl_object_row *o = &b->object;
    *o = (struct kl_object_row){
        .state = KL_LIFE_NEW, .managed = b->managed, .created = kl_clock_unix()};
    (void)snprintf(o->vault_id, sizeof o->vault_id, "%s", b->vault_id);
    (void)snprintf(o->name, sizeof o->name, "%s", b->name);
    kl_model_fold(b->name, o->folded, sizeof o->folded);
    return kl_store_insert(t, KL_Q_OBJECT_INSERT, o, &o->id, err);
}

static enum kl_code claim_name(struct kl_birth *b, struct kl_store_session *t, struct kl_err *err)
{
    enum kl_life next;
    enum kl_code code = kl_object_read(t, b->vault_id, KL_KIND_KEY, b->name, &b->object, err);
    if (code == KL_NOT_FOUND)
        return insert_object(b, t, err);
    if (code != KL_OK)
        return code;
    code = kl_life_next(KL_KIND_KEY, (enum kl_life)b->object.state, KL_EVENT_READY, &next);
    if (code == KL_OK && (b->object.managed != 0) != b->managed)
        code = KL_MANAGED;
    if (code != KL_OK || b->name_must_be_free)
        return refuse_name(b, code, err);
    return KL_OK;
}

static enum kl_code insert_rows(struct kl_birth *b, struct kl_store_session *t,
                                const struct kl_protector *p, struct kl_err *err)
{
    enum kl_code code = KL_OK;
    for (size_t i = 0; i < b->count && code == KL_OK; i++) {
        struct kl_version_row *row = &b->rows[i];
        row->object = b->object.id;
        row->state = KL_VERSION_CREATING;
        code = kl_protect_creating(p, row, err);
        if (code == KL_OK)
            code = kl_store_insert(t, KL_Q_VERSION_INSERT, row, &row->seq, err);
    }
    return code;
}

enum kl_code kl_birth_begin(struct kl_birth *b, struct kl_err *err)
{
    KL_AUTO_PROTECTOR p = {NULL};
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_protect_open(b->m, b->token->name, &p, err);
    if (code != KL_OK)
        return code;
    announce(b);
    code = kl_store_begin(b->m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_vault_must_be_active(t, b->vault_id, err);
    if (code == KL_OK)
        code = claim_name(b, t, err);
    if (code == KL_OK)
        code = insert_rows(b, t, &p, err);
    /* Rows that a failed commit leaves behind after all name nothing on the token; reconciliation
     * removes them. */
    if (code == KL_OK)
        code = kl_model_commit(b->m, t, err);
    kl_store_end(kl_take(t));
    if (code != KL_OK)
        retire(b);
    return code;
}

/* --- ready --- */

/* Of the token that has the versions, and of the vault's, which is the same one most of the time.
 */
struct protectors {
    struct kl_protector versions, vault;
    const struct kl_protector *object;
};

static enum kl_code protectors_open(const struct kl_birth *b, struct protectors *p,
                                    struct kl_err *err)
{
    enum kl_code code = kl_protect_open(b->m, b->token->name, &p->versions, err);
    p->object = &p->versions;
    if (code != KL_OK || b->vouching == NULL || strcmp(b->vouching, b->token->name) == 0)
        return code;
    p->object = &p->vault;
    return kl_protect_open(b->m, b->vouching, &p->vault, err);
}

static void protectors_close(struct protectors *p)
{
    kl_protect_close(&p->versions);
    kl_protect_close(&p->vault);
}

static enum kl_code wake_object(struct kl_birth *b, struct kl_store_session *t,
                                const struct kl_protector *p, struct kl_err *err)
{
    enum kl_life next;
    int64_t id = b->object.id;
    enum kl_code code =
        kl_store_one(t, KL_Q_OBJECT_BY_ID, KL_ARGS(KL_ARG_INT(id)), &b->object, err);
    if (code != KL_OK)
        return code;
    code = kl_life_next(KL_KIND_KEY, (enum kl_life)b->object.state, KL_EVENT_READY, &next);
    if (code != KL_OK)
        return refuse_name(b, code, err);
    if (b->object.state == (int64_t)next)
        return KL_OK;
    b->object.state = next;
    code = kl_protect_object(p, &b->object, err);
    return code == KL_OK ? kl_object_row_write(t, &b->object, err) : code;
}

static enum kl_code take_seq(void *arg, const void *row, struct kl_err *err)
{
    (void)err;
    *(int64_t *)arg = ((const struct kl_version_row *)row)->seq;
    return KL_OK;
}

static enum kl_code check_replaced(const struct kl_birth *b, struct kl_store_session *t,
                                   struct kl_err *err)
{
    int64_t newest = 0;
    if (b->replaces == 0)
        return KL_OK;
    enum kl_code code = kl_store_each(t, KL_Q_VERSION_NEWEST, KL_ARGS(KL_ARG_INT(b->object.id)),
                                      take_seq, &newest, err);
    if (code == KL_OK && newest != b->replaces)
        return kl_fail(err, KL_CONFLICT, "key", "key %s got another version meanwhile", b->name);
    return code;
}

/* The events of a commit are part of it. What is behind a certificate has the certificate's. */
static enum kl_code announce_version(struct kl_birth *b, struct kl_store_session *t,
                                     struct kl_err *err)
{
    const struct kl_version_row *row = &b->rows[b->count - 1];
    struct kl_event_about about = {.type = KL_EVENT_KEY_NEW,
                                   .vault_id = b->vault_id,
                                   .name = b->object.name,
                                   .version = row->version,
                                   .attrs = {.has_nbf = row->has_nbf != 0,
                                             .nbf = row->nbf,
                                             .has_exp = row->has_exp != 0,
                                             .exp = row->exp}};
    enum kl_code code = b->managed ? KL_OK : kl_event_new_version(b->m, t, &about, err);
    about.type = KL_EVENT_KEY_ROTATED;
    return code == KL_OK && b->replaces != 0 ? kl_event_rotated(b->m, t, &about, err) : code;
}

static enum kl_code rows_ready(struct kl_birth *b, struct kl_store_session *t,
                               const struct kl_protector *p, struct kl_err *err)
{
    enum kl_code code = KL_OK;
    for (size_t i = 0; i < b->count && code == KL_OK; i++) {
        struct kl_version_row *row = &b->rows[i];
        int64_t changed = 0;
        code = kl_protect_version(p, row, err);
        if (code == KL_OK)
            code = kl_store_run(
                t, KL_Q_VERSION_READY,
                KL_ARGS(KL_ARG_BYTES(row->spki.bytes, row->spki.len),
                        KL_ARG_BYTES(row->spki_hash, sizeof row->spki_hash),
                        KL_ARG_BYTES(row->mac, sizeof row->mac), KL_ARG_INT(row->bits),
                        KL_ARG_INT(row->curve), KL_ARG_INT(row->origin),
                        KL_ARG_BYTES(row->attr_mac, sizeof row->attr_mac), KL_ARG_INT(row->seq)),
                &changed, err);
        if (code == KL_OK && changed != 1)
            code = kl_fail(err, KL_CONFLICT, "key", "the creation of %s was undone meanwhile",
                           b->name);
    }
    return code;
}

static enum kl_code write_ready(struct kl_birth *b, const struct protectors *p,
                                struct kl_key_version *k, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(b->m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_vault_must_be_active(t, b->vault_id, err);
    if (code == KL_OK)
        code = wake_object(b, t, p->object, err);
    if (code == KL_OK)
        code = check_replaced(b, t, err);
    if (code == KL_OK)
        code = rows_ready(b, t, &p->versions, err);
    if (code == KL_OK && b->also != NULL)
        code = b->also(b->also_arg, t, p->object, err);
    if (code == KL_OK)
        code = announce_version(b, t, err);
    if (code != KL_OK)
        return code;
    code = kl_model_commit(b->m, t, err);
    if (code == KL_OK) {
        kl_cache_forget(b->m->cache, b->vault_id, b->name);
        uint64_t epoch = kl_cache_epoch(b->m->cache, b->vault_id, b->name);
        kl_key_version_unref(kl_cache_put(b->m->cache, k, false, epoch));
        return KL_OK;
    }
    return code;
}

/* After a failed commit: is it there nevertheless? KL_OK = yes; `code` = no, or nobody can say. */
static enum kl_code look_again(struct kl_birth *b, enum kl_code code)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_token_key_row row;
    int64_t seq = b->rows[b->count - 1].seq;
    enum kl_code read = kl_store_begin(b->m->store, false, &t, NULL);
    if (read == KL_OK)
        read = kl_store_one(t, KL_Q_TOKEN_KEY_BY_SEQ, KL_ARGS(KL_ARG_INT(seq)), &row, NULL);
    b->unknown = read != KL_OK && read != KL_NOT_FOUND;
    return read == KL_OK && row.state == KL_VERSION_READY ? KL_OK : code;
}

enum kl_code kl_birth_ready(struct kl_birth *b, struct kl_key_version **ret, struct kl_err *err)
{
    struct protectors p = {.versions = {NULL}};
    KL_AUTO(key_version) k = NULL;
    enum kl_code code = protectors_open(b, &p, err);
    for (size_t i = 0; i < b->count && code == KL_OK; i++)
        code = kl_attributes_seal(b->m, &b->rows[i], err);
    if (code == KL_OK)
        code = kl_snapshot_version(b->m, &b->object, &b->rows[b->count - 1], &k, err);
    if (code == KL_OK) {
        /* The token has just round-tripped it. */
        atomic_store(&k->proved_ms, kl_clock_mono_ms());
        code = write_ready(b, &p, k, err);
        if (code != KL_OK)
            code = look_again(b, code);
    }
    protectors_close(&p);
    if (code != KL_OK) {
        kl_birth_undo(b);
        return code;
    }
    retire(b);
    *ret = kl_take(k);
    return KL_OK;
}

/* --- undo --- */

bool kl_birth_owns(int64_t origin)
{
    return origin != KL_ORIGIN_ATTACHED;
}

enum kl_code kl_birth_destroy(struct kl_token *token, const uint8_t id[static KL_KEY_ID_LEN],
                              struct kl_err *err)
{
    struct kl_token_request req = {.call = KL_CALL_FIND};
    KL_AUTO(secret) spki = NULL;
    memcpy(req.key.id, id, sizeof req.key.id);
    enum kl_code code = kl_token_call(token, &req, &spki, NULL, err);
    if (code != KL_OK && code != KL_TOKEN_KEY_MISSING)
        return code;
    /* Half a key has no public half to find, and is destroyed by its id alone. */
    if (code == KL_OK)
        kl_spki_hash(kl_secret_bytes(spki), kl_secret_len(spki), req.key.spki_hash);
    req.call = KL_CALL_DESTROY;
    return kl_token_call(token, &req, NULL, NULL, err);
}

static enum kl_code destroy_objects(struct kl_birth *b, struct kl_err *err)
{
    enum kl_code code = KL_OK;
    for (size_t i = 0; i < b->touched && code == KL_OK; i++)
        if (kl_birth_owns(b->rows[i].origin))
            code = kl_birth_destroy(b->token, b->rows[i].token_key, err);
    return code;
}

static enum kl_code remove_rows(struct kl_birth *b, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(b->m->store, true, &t, err);
    for (size_t i = 0; i < b->count && code == KL_OK; i++)
        code = kl_store_run(t, KL_Q_VERSION_DELETE_CREATING, KL_ARGS(KL_ARG_INT(b->rows[i].seq)),
                            NULL, err);
    if (code == KL_OK)
        code =
            kl_store_run(t, KL_Q_OBJECT_DELETE_NEW, KL_ARGS(KL_ARG_INT(b->object.id)), NULL, err);
    return code == KL_OK ? kl_model_commit(b->m, t, err) : code;
}

void kl_birth_undo(struct kl_birth *b)
{
    struct kl_err e = {.code = KL_OK};
    enum kl_code code = b->unknown ? KL_IO : destroy_objects(b, &e);
    if (code == KL_OK)
        code = remove_rows(b, &e);
    retire(b);
    if (b->unknown)
        kl_log(KL_LOG_ERROR, "outcome of a creation unknown, left for reconciliation key=%s",
               b->name);
    else if (code != KL_OK)
        kl_log_err(KL_LOG_WARNING, "undoing a creation, left for reconciliation", &e);
}
