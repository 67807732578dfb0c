/* How versions of secrets come into being: sealed before, then object and rows in one commit. */
#include "keyvault/model/vault_secret_inside.h"

#include "base/clock.h"
#include "base/encoding.h"
#include "keyvault/model/event_inside.h"
#include "keyvault/model/softdelete.h"

void kl_vault_secret_new_version(char out[static KL_VERSION_LEN + 1])
{
    uint8_t id[KL_VERSION_LEN / 2];
    kl_random(id, sizeof id);
    kl_hex(id, sizeof id, out);
}

static enum kl_code insert_object(struct kl_vault_secret_birth *b, struct kl_store_session *t,
                                  const struct kl_protector *p, struct kl_err *err)
{
    struct kl_object_row *o = &b->object;
    *o = (struct kl_object_row){.kind = b->kind,
                                .managed = b->managed,
                                .state = KL_LIFE_ACTIVE,
                                .created = kl_clock_unix()};
    (void)snprintf(o->vault_id, sizeof o->vault_id, "%s", b->v->id);
    (void)snprintf(o->name, sizeof o->name, "%s", b->name);
    kl_model_fold(b->name, o->folded, sizeof o->folded);
    enum kl_code code = kl_store_insert(t, KL_Q_OBJECT_INSERT, o, &o->id, err);
    if (code == KL_OK)
        code = kl_protect_object(p, o, err);
    return code == KL_OK ? kl_object_row_write(t, o, err) : code;
}

/* *ret_made: the name was free, and nothing is done unless there is a protector. */
static enum kl_code claim_name(struct kl_vault_secret_birth *b, struct kl_store_session *t,
                               const struct kl_protector *p, bool *ret_free, struct kl_err *err)
{
    enum kl_life next;
    enum kl_code code = kl_object_read(t, b->v->id, b->kind, b->name, &b->object, err);
    *ret_free = code == KL_NOT_FOUND;
    if (code == KL_NOT_FOUND)
        return p != NULL ? insert_object(b, t, p, err) : KL_OK;
    if (code != KL_OK)
        return code;
    code = kl_life_next(b->kind, (enum kl_life)b->object.state, KL_EVENT_READY, &next);
    if (code == KL_NAME_DELETED)
        return kl_object_held(b->kind, b->name, err);
    if (code == KL_OK && b->name_must_be_free)
        return kl_object_led(b->kind, b->name, false, err);
    if (code == KL_OK && (b->object.managed != 0) != b->managed)
        return kl_object_led(b->kind, b->name, b->object.managed != 0, err);
    return code == KL_OK
               ? KL_OK
               : kl_fail(err, code, kl_kind_row(b->kind)->noun, "%s %s is in no state for it",
                         kl_kind_row(b->kind)->noun, b->name);
}

static enum kl_code take_number(void *arg, const void *row, struct kl_err *err)
{
    (void)err;
    *(int64_t *)arg = ((const struct kl_secret_item_row *)row)->number;
    return KL_OK;
}

/* The event of a commit is part of it. What is behind a certificate has the certificate's. */
static enum kl_code announce(const struct kl_vault_secret_birth *b, struct kl_store_session *t,
                             struct kl_err *err)
{
    const struct kl_secret_item_row *item = &b->rows[b->count - 1].item;
    const struct kl_event_about about = {
        .type = (enum kl_event_type)(KL_EVENT_KEY_NEW + 3 * (int)b->kind),
        .vault_id = b->v->id,
        .name = b->object.name,
        .version = item->version,
        .attrs = {.has_nbf = item->has_nbf != 0,
                  .nbf = item->nbf,
                  .has_exp = item->has_exp != 0,
                  .exp = item->exp}};
    return b->managed ? KL_OK : kl_event_new_version(b->m, t, &about, err);
}

static enum kl_code insert_rows(struct kl_vault_secret_birth *b, struct kl_store_session *t,
                                struct kl_err *err)
{
    int64_t last = 0;
    enum kl_code code = kl_store_each(t, KL_Q_SECRET_ITEM_NEWEST, KL_ARGS(KL_ARG_INT(b->object.id)),
                                      take_number, &last, err);
    for (size_t i = 0; i < b->count && code == KL_OK; i++) {
        struct kl_secret_item_row *item = &b->rows[i].item;
        item->object = b->object.id;
        item->number = ++last;
        item->vault_key = kl_vault_key_id(b->key);
        code = kl_sealed_mac(kl_vault_key_mac(b->key), b->v->id, item, err);
        if (code == KL_OK)
            code = kl_store_insert(t, KL_Q_SECRET_INSERT, &b->rows[i], NULL, err);
    }
    return code == KL_OK && b->count > 0 ? announce(b, t, err) : code;
}

static enum kl_code note_found(void *arg, const void *row, struct kl_err *err)
{
    (void)row, (void)err;
    *(bool *)arg = true;
    return KL_OK;
}

/* A commit whose answer was lost may have happened: the session sees what the database holds. */
static enum kl_code commit(struct kl_vault_secret_birth *b, struct kl_store_session *t,
                           struct kl_err *err)
{
    const char *version = b->rows[b->count - 1].item.version;
    bool found = false;
    enum kl_code code = kl_model_commit(b->m, t, err);
    if (code != KL_OK &&
        kl_store_each(t, KL_Q_SECRET_ITEM_GET,
                      KL_ARGS(KL_ARG_INT(b->object.id), KL_ARG_TEXT(version)), note_found, &found,
                      NULL) == KL_OK &&
        found)
        return KL_OK;
    return code;
}

enum kl_code kl_vault_secret_place(struct kl_vault_secret_birth *b, struct kl_store_session *t,
                                   const struct kl_protector *p, bool *ret_free, struct kl_err *err)
{
    enum kl_code code = claim_name(b, t, p, ret_free, err);
    if (code != KL_OK || (*ret_free && p == NULL))
        return code;
    return insert_rows(b, t, err);
}

static enum kl_code bear(struct kl_vault_secret_birth *b, const struct kl_protector *p,
                         bool *ret_free, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(b->m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_vault_must_be_active(t, b->v->id, err);
    if (code == KL_OK)
        code = kl_vault_secret_place(b, t, p, ret_free, err);
    if (code != KL_OK || (*ret_free && p == NULL))
        return code;
    return commit(b, t, err);
}

/* Only a new name needs the token for its MAC, so that is asked for when the name turns out to be
 * free. */
enum kl_code kl_vault_secret_bear(struct kl_vault_secret_birth *b, struct kl_err *err)
{
    KL_AUTO_PROTECTOR p = {NULL};
    bool is_free = false;
    enum kl_code code = bear(b, NULL, &is_free, err);
    if (code != KL_OK || !is_free)
        return code;
    code = kl_protect_open(b->m, b->v->token_name, &p, err);
    return code == KL_OK ? bear(b, &p, &is_free, err) : code;
}
