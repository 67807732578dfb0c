/* Database and token brought together again: after a crash, and on demand. */
#include "keyvault/model/birth.h"
#include "keyvault/model/escrow.h"
#include "keyvault/model/home.h"
#include "keyvault/model/softdelete.h"

#include "base/log.h"

#include <string.h>

#define ID_HEX (2 * KL_KEY_ID_LEN + 1)

struct keys {
    struct kl_token_key_row *rows;
    size_t count;
};

struct listed {
    struct kl_token_listed *keys;
    size_t count, room;
};

/* --- interrupted creations --- */

static bool being_born_locked(const struct kl_model *m, const struct kl_token_key_row *row)
{
    for (const struct kl_birth *b = m->births.first; b != NULL; b = b->next)
        for (size_t i = 0; i < b->count; i++)
            if (memcmp(b->rows[i].token_key, row->token_key, sizeof row->token_key) == 0)
                return true;
    return false;
}

/* CREATING rows without a creator. Read under births.lock: a creator announces itself before its
 * first commit and retires after its last, so what is CREATING here and announced by nobody will
 * not move any more. */
static enum kl_code abandoned(struct kl_model *m, struct keys *ret, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    void *rows = NULL;
    size_t count = 0, kept = 0;
    (void)pthread_mutex_lock(&m->births.lock);
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_store_all(t, KL_Q_TOKEN_KEYS_CREATING, NULL, 0, &rows, &count, err);
    struct kl_token_key_row *r = rows;
    for (size_t i = 0; i < count; i++)
        if (!being_born_locked(m, &r[i]) && !kl_home_moving_locked(m, r[i].token_key))
            r[kept++] = r[i];
    (void)pthread_mutex_unlock(&m->births.lock);
    *ret = (struct keys){r, kept};
    return code;
}

static enum kl_code roll_back(struct kl_model *m, const struct kl_token_key_row *row,
                              struct kl_err *err)
{
    KL_AUTO_PROTECTOR p = {NULL};
    struct kl_token *token;
    enum kl_code code = kl_model_token_named(m, row->token, &token, err);
    if (code == KL_OK)
        code = kl_protect_open(m, row->token, &p, err);
    if (code == KL_OK)
        code = kl_protect_check_creating(&p, row, err);
    if (code == KL_OK && row->home != 0)
        return kl_home_undo(m, token, row, err);
    if (code == KL_OK && kl_birth_owns(row->origin))
        code = kl_birth_destroy(token, row->token_key, err);
    if (code != KL_OK)
        return code;
    KL_AUTO(store_session) t = NULL;
    code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code =
            kl_store_run(t, KL_Q_VERSION_DELETE_CREATING, KL_ARGS(KL_ARG_INT(row->seq)), NULL, err);
    if (code == KL_OK)
        code = kl_store_run(t, KL_Q_OBJECT_DELETE_NEW, KL_ARGS(KL_ARG_INT(row->object)), NULL, err);
    return code == KL_OK ? kl_model_commit(m, t, err) : code;
}

static enum kl_code roll_back_all(struct kl_model *m, struct kl_reconcile_report *report,
                                  struct kl_err *err)
{
    struct keys k = {0};
    enum kl_code code = abandoned(m, &k, err);
    for (size_t i = 0; i < k.count; i++) {
        struct kl_err e;
        enum kl_code each = roll_back(m, &k.rows[i], &e);
        if (each == KL_OK)
            report->rolled_back++;
        else if (each == KL_CORRUPT)
            report->tampered++;
        else
            kl_log_err(KL_LOG_WARNING, "an interrupted creation stays for later", &e);
    }
    free(k.rows);
    return code;
}

/* --- comparison with a token --- */

static bool room_for(struct listed *l, size_t more)
{
    if (l->count + more <= l->room)
        return true;
    size_t room = 2 * l->room + more;
    struct kl_token_listed *keys = realloc(l->keys, room * sizeof *keys);
    if (keys == NULL)
        return false;
    l->keys = keys;
    l->room = room;
    return true;
}

static enum kl_code list_token(struct kl_token *token, struct listed *ret, struct kl_err *err)
{
    for (;;) {
        struct kl_token_request req = {.call = KL_CALL_LIST, .offset = (uint32_t)ret->count};
        KL_AUTO(secret) out = NULL;
        enum kl_code code = kl_token_call(token, &req, &out, NULL, err);
        if (code != KL_OK)
            return code;
        size_t n = kl_secret_len(out) / sizeof(struct kl_token_listed);
        if (n == 0)
            return KL_OK;
        if (!room_for(ret, n))
            return kl_fail(err, KL_NO_MEMORY, "realloc", "no memory for a token's key list");
        memcpy(&ret->keys[ret->count], kl_secret_bytes(out), n * sizeof *ret->keys);
        ret->count += n;
    }
}

static int listed_order(const void *a, const void *b)
{
    return memcmp(((const struct kl_token_listed *)a)->key.id,
                  ((const struct kl_token_listed *)b)->key.id, KL_KEY_ID_LEN);
}

static int row_order(const void *a, const void *b)
{
    return memcmp(((const struct kl_token_key_row *)a)->token_key,
                  ((const struct kl_token_key_row *)b)->token_key, KL_KEY_ID_LEN);
}

static bool on_token(const struct listed *l, const struct kl_token_key_row *row)
{
    struct kl_token_listed want = {.label = ""};
    memcpy(want.key.id, row->token_key, sizeof want.key.id);
    const struct kl_token_listed *found =
        l->count > 0 ? bsearch(&want, l->keys, l->count, sizeof *l->keys, listed_order) : NULL;
    return found != NULL &&
           memcmp(found->key.spki_hash, row->spki_hash, sizeof row->spki_hash) == 0;
}

static bool in_rows(const struct keys *k, const struct kl_token_listed *listed)
{
    struct kl_token_key_row want = {.seq = 0};
    memcpy(want.token_key, listed->key.id, sizeof want.token_key);
    return k->count > 0 && bsearch(&want, k->rows, k->count, sizeof *k->rows, row_order) != NULL;
}

static enum kl_code read_rows(struct kl_model *m, const char *token, struct keys *ret,
                              struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    void *rows = NULL;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code =
            kl_store_all(t, KL_Q_TOKEN_KEYS, KL_ARGS(KL_ARG_TEXT(token)), &rows, &ret->count, err);
    ret->rows = rows;
    if (ret->count > 0)
        qsort(ret->rows, ret->count, sizeof *ret->rows, row_order);
    return code;
}

/* Rows were read before the token's list: what is missing there may have been purged in between. */
static bool still_ready(struct kl_model *m, const struct kl_token_key_row *row)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_token_key_row now;
    struct kl_object_row object = {0};
    enum kl_code code = kl_store_begin(m->store, false, &t, NULL);
    if (code == KL_OK)
        code = kl_store_one(t, KL_Q_TOKEN_KEY_BY_SEQ, KL_ARGS(KL_ARG_INT(row->seq)), &now, NULL);
    if (code == KL_OK)
        code = kl_store_one(t, KL_Q_OBJECT_BY_ID, KL_ARGS(KL_ARG_INT(row->object)), &object, NULL);
    return code == KL_OK && object.state < KL_LIFE_PURGING;
}

/* The list was read page by page, while requests made and destroyed keys: a key may have slipped
 * from one page to another. Only the token's answer about this very key counts. */
static bool is_missing(struct kl_token *token, const struct kl_token_key_row *row)
{
    struct kl_token_request req = {.call = KL_CALL_FIND};
    memcpy(req.key.id, row->token_key, sizeof req.key.id);
    memcpy(req.key.spki_hash, row->spki_hash, sizeof req.key.spki_hash);
    return kl_token_call(token, &req, NULL, NULL, NULL) == KL_TOKEN_KEY_MISSING;
}

/* And what the token has more may have been made in between. */
static bool known_now(struct kl_model *m, const char *token, const struct kl_token_listed *listed)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_token_key_row row;
    enum kl_code code = kl_store_begin(m->store, false, &t, NULL);
    if (code == KL_OK)
        code = kl_store_one(
            t, KL_Q_TOKEN_KEY_BY_ID,
            KL_ARGS(KL_ARG_TEXT(token), KL_ARG_BYTES(listed->key.id, sizeof listed->key.id)), &row,
            NULL);
    return code != KL_NOT_FOUND;
}

static void compare(struct kl_model *m, struct kl_token *token, const struct keys *k,
                    const struct listed *l, struct kl_reconcile_report *report)
{
    char hex[ID_HEX];
    for (size_t i = 0; i < k->count; i++) {
        const struct kl_token_key_row *row = &k->rows[i];
        if (row->state != KL_VERSION_READY || on_token(l, row) || !is_missing(token, row) ||
            !still_ready(m, row))
            continue;
        report->missing_on_token++;
        kl_hex(row->token_key, sizeof row->token_key, hex);
        kl_log(KL_LOG_ERROR, "key missing on its token token=%s id=%s version=%s", token->name, hex,
               row->version);
    }
    for (size_t i = 0; i < l->count; i++) {
        const struct kl_token_listed *key = &l->keys[i];
        if (in_rows(k, key) || known_now(m, token->name, key))
            continue;
        report->unknown_on_token++;
        kl_hex(key->key.id, sizeof key->key.id, hex);
        kl_log(KL_LOG_WARNING, "key on a token that no record names token=%s id=%s label=%.63s",
               token->name, hex, key->label);
    }
}

static unsigned tampered_versions(const struct kl_protector *p, const struct keys *k)
{
    unsigned bad = 0;
    for (size_t i = 0; i < k->count; i++)
        if (k->rows[i].state == KL_VERSION_READY &&
            kl_protect_check_version(p, &k->rows[i], NULL) != KL_OK)
            bad++;
    return bad;
}

static enum kl_code compare_token(struct kl_model *m, struct kl_token *token,
                                  struct kl_reconcile_report *report, struct kl_err *err)
{
    KL_AUTO_PROTECTOR p = {NULL};
    struct keys k = {0};
    struct listed l = {0};
    enum kl_code code = read_rows(m, token->name, &k, err);
    if (code == KL_OK)
        code = list_token(token, &l, err);
    if (code == KL_OK) {
        if (l.count > 0)
            qsort(l.keys, l.count, sizeof *l.keys, listed_order);
        compare(m, token, &k, &l, report);
        code = kl_protect_open(m, token->name, &p, err);
    }
    if (code == KL_OK)
        report->tampered += tampered_versions(&p, &k);
    free(k.rows);
    free(l.keys);
    return code;
}

/* --- protected rows --- */

/* An object without a MAC is one whose first version is being made; it has none that is ready. */
static bool is_unborn(struct kl_store_session *t, const struct kl_object_row *o)
{
    struct kl_number_row ready = {0};
    return o->state == KL_LIFE_NEW &&
           kl_store_one(t, KL_Q_VERSIONS_READY_COUNT, KL_ARGS(KL_ARG_INT(o->id)), &ready, NULL) ==
               KL_OK &&
           ready.number == 0;
}

static enum kl_code check_vault(struct kl_model *m, const char *id,
                                struct kl_reconcile_report *report, struct kl_err *err)
{
    KL_AUTO_PROTECTOR p = {NULL};
    KL_AUTO(store_session) t = NULL;
    struct kl_vault_row row;
    void *rows = NULL;
    size_t count = 0;
    enum kl_code code = kl_vault_row_find(m, KL_Q_VAULT_BY_ID, id, &row, err);
    if (code == KL_OK)
        code = kl_protect_open(m, row.token, &p, err);
    if (code != KL_OK)
        return code;
    if (kl_protect_check_vault(&p, &row, NULL) != KL_OK)
        report->tampered++;
    code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_store_all(t, KL_Q_OBJECTS_EVER_OF, KL_ARGS(KL_ARG_TEXT(id)), &rows, &count, err);
    const struct kl_object_row *objects = rows;
    for (size_t i = 0; i < count; i++)
        if (!is_unborn(t, &objects[i]) && kl_protect_check_object(&p, &objects[i], NULL) != KL_OK)
            report->tampered++;
    free(rows);
    return code;
}

static enum kl_code count_rows(struct kl_model *m, enum kl_store_query query, size_t *ret,
                               struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    void *rows = NULL;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_store_all(t, query, NULL, 0, &rows, ret, err);
    free(rows);
    return code;
}

/* Vaults and keys stay as tombstones: what belongs to none was left over by a foreign hand. */
static enum kl_code check_owners(struct kl_model *m, struct kl_reconcile_report *report,
                                 struct kl_err *err)
{
    size_t objects = 0, versions = 0;
    enum kl_code code = count_rows(m, KL_Q_OBJECTS_ASTRAY, &objects, err);
    if (code == KL_OK)
        code = count_rows(m, KL_Q_TOKEN_KEYS_ASTRAY, &versions, err);
    if (objects + versions > 0)
        kl_log(KL_LOG_ERROR,
               "stored records were removed by a foreign hand keys_without_vault=%zu "
               "versions_without_key=%zu",
               objects, versions);
    report->tampered += (unsigned)(objects + versions);
    return code;
}

static enum kl_code check_vaults(struct kl_model *m, struct kl_reconcile_report *report,
                                 struct kl_err *err)
{
    void *rows = NULL;
    size_t count = 0;
    struct kl_store_session *t = NULL;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_store_all(t, KL_Q_VAULT_IDS_EVER, NULL, 0, &rows, &count, err);
    kl_store_end(t);
    const struct kl_id_row *ids = rows;
    for (size_t i = 0; i < count; i++) {
        struct kl_err e;
        if (check_vault(m, ids[i].id, report, &e) != KL_OK)
            kl_log_err(KL_LOG_WARNING, "protected rows of a vault cannot be checked", &e);
    }
    free(rows);
    return code;
}

/* Goes on behind a failure, and answers the first. */
static enum kl_code reconcile_locked(struct kl_model *m, struct kl_reconcile_report *report,
                                     struct kl_err *err)
{
    struct kl_err later;
    kl_escrow_fill(m);
    enum kl_code code = roll_back_all(m, report, err);
    enum kl_code purges =
        kl_purges_finish(m, &report->purges_finished, code == KL_OK ? err : &later);
    code = code == KL_OK ? purges : code;
    for (size_t i = 0; i < m->token_count; i++) {
        struct kl_token_status status;
        kl_token_status(m->tokens[i], &status);
        if (status.state != KL_TOKEN_READY)
            continue;
        enum kl_code one = compare_token(m, m->tokens[i], report, code == KL_OK ? err : &later);
        code = code == KL_OK ? one : code;
    }
    report->copied = kl_home_fill(m);
    enum kl_code rows = check_vaults(m, report, code == KL_OK ? err : &later);
    if (rows == KL_OK)
        rows = check_owners(m, report, code == KL_OK ? err : &later);
    unsigned wrong = 0;
    if (rows == KL_OK)
        rows = kl_attributes_check_all(m, &wrong, code == KL_OK ? err : &later);
    report->tampered += wrong;
    return code == KL_OK ? rows : code;
}

enum kl_code kl_model_reconcile(struct kl_model *m, struct kl_reconcile_report *ret,
                                struct kl_err *err)
{
    struct kl_reconcile_report report = {0};
    (void)pthread_mutex_lock(&m->reconciling);
    enum kl_code code = reconcile_locked(m, &report, err);
    (void)pthread_mutex_unlock(&m->reconciling);
    *ret = report;
    return code;
}
