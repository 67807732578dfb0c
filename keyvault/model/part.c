#include "keyvault/model/part.h"

#include "keyvault/model/sealed.h"
#include "keyvault/model/softdelete.h"

#include <string.h>

#define PART_MAX ((size_t)128 * 1024)

static const char *const kinds[KL_PART_COUNT] = {
    [KL_PART_POLICY] = "certificate policy", [KL_PART_PENDING] = "certificate operation",
    [KL_PART_KEY] = "certificate key",       [KL_PART_ISSUER] = "certificate issuer",
    [KL_PART_CONTACTS] = "contacts",
};

/* Where a part lies is what it is bound to. */
struct place {
    struct kl_sealed_place sealed;
    char folded[KL_ROW_NAME], object[24];
};

static void place_of(const struct kl_part_id *id, struct place *p)
{
    kl_model_fold(id->name, p->folded, sizeof p->folded);
    (void)snprintf(p->object, sizeof p->object, "%lld", (long long)id->object);
    p->sealed = (struct kl_sealed_place){id->v->id, kinds[id->part], p->folded, p->object};
}

enum kl_code kl_part_write(struct kl_store_session *t, const struct kl_vault_key *key,
                           const struct kl_part_id *id, const void *bytes, size_t n,
                           struct kl_err *err)
{
    struct place p;
    struct kl_buf sealed = KL_BUF_INIT(PART_MAX);
    struct kl_part_row row = {
        .object = id->object, .part = id->part, .vault_key = kl_vault_key_id(key)};
    place_of(id, &p);
    (void)snprintf(row.vault_id, sizeof row.vault_id, "%s", id->v->id);
    memcpy(row.folded, p.folded, sizeof row.folded);
    enum kl_code code = kl_sealed_put(kl_vault_key_cipher(key), &p.sealed, bytes, n, &sealed, err);
    row.sealed = (struct kl_store_bytes){kl_buf_text(&sealed), sealed.len};
    if (code == KL_OK)
        code = kl_store_insert(t, KL_Q_PART_PUT, &row, NULL, err);
    kl_buf_done(&sealed);
    return code;
}

enum kl_code kl_part_write_json(struct kl_store_session *t, const struct kl_vault_key *key,
                                const struct kl_part_id *id, const json_t *json, struct kl_err *err)
{
    struct kl_buf text = KL_BUF_INIT(PART_MAX);
    size_t n = json_dumpb(json, NULL, 0, JSON_COMPACT);
    kl_buf_reserve(&text, n);
    enum kl_code code = KL_OK;
    if (n == 0 || kl_buf_failed(&text))
        code = kl_fail(err, KL_BAD_INPUT, "json", "The %s is too big", kinds[id->part]);
    if (code == KL_OK)
        text.len = json_dumpb(json, text.bytes, n, JSON_COMPACT);
    if (code == KL_OK)
        code = kl_part_write(t, key, id, text.bytes, text.len, err);
    kl_buf_wipe(&text);
    return code;
}

enum kl_code kl_part_delete(struct kl_store_session *t, const struct kl_part_id *id,
                            bool *ret_found, struct kl_err *err)
{
    struct place p;
    int64_t changed = 0;
    place_of(id, &p);
    enum kl_code code = kl_store_run(t, KL_Q_PART_DELETE,
                                     KL_ARGS(KL_ARG_TEXT(id->v->id), KL_ARG_INT(id->object),
                                             KL_ARG_INT(id->part), KL_ARG_TEXT(p.folded)),
                                     &changed, err);
    if (code == KL_OK && ret_found != NULL)
        *ret_found = changed > 0;
    return code;
}

struct reading {
    struct kl_model *m;
    const struct place *place;
    struct kl_vault_key *key;
    int64_t wanted; /* the key that is not at hand */
    bool found;
    struct kl_secret *value;
};

static enum kl_code read_row(void *arg, const void *p, struct kl_err *err)
{
    struct reading *r = arg;
    const struct kl_part_row *row = p;
    r->found = true;
    if (r->key == NULL || kl_vault_key_id(r->key) != row->vault_key) {
        kl_vault_key_unref(r->key);
        r->key = kl_vault_key_at_hand(r->m, row->vault_key);
    }
    if (r->key == NULL) {
        r->wanted = row->vault_key;
        return KL_OK;
    }
    return kl_sealed_get(kl_vault_key_cipher(r->key), &r->place->sealed, row->sealed.bytes,
                         row->sealed.len, &r->value, err);
}

static enum kl_code read_once(struct reading *r, const struct kl_part_id *id, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    r->wanted = 0;
    r->found = false;
    enum kl_code code = kl_store_begin(r->m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_store_each(t, KL_Q_PART_GET,
                             KL_ARGS(KL_ARG_TEXT(id->v->id), KL_ARG_INT(id->object),
                                     KL_ARG_INT(id->part), KL_ARG_TEXT(r->place->folded)),
                             read_row, r, err);
    if (code == KL_OK && !r->found)
        return kl_fail(err, KL_NOT_FOUND, "store", "no %s", kinds[id->part]);
    return code;
}

enum kl_code kl_part_read(struct kl_model *m, const struct kl_part_id *id, struct kl_secret **ret,
                          struct kl_err *err)
{
    struct place p;
    struct reading r = {.m = m, .place = &p};
    place_of(id, &p);
    enum kl_code code = read_once(&r, id, err);
    while (code == KL_OK && r.wanted != 0) {
        code = kl_vault_key_open(m, id->v, r.wanted, &r.key, err);
        if (code == KL_OK)
            code = read_once(&r, id, err);
    }
    kl_vault_key_unref(r.key);
    if (code == KL_OK)
        *ret = r.value;
    else
        kl_secret_free(r.value);
    return code;
}

enum kl_code kl_part_read_json(struct kl_model *m, const struct kl_part_id *id, json_t **ret,
                               struct kl_err *err)
{
    KL_AUTO(secret) text = NULL;
    enum kl_code code = kl_part_read(m, id, &text, err);
    return code == KL_OK
               ? kl_json_parse((const char *)kl_secret_bytes(text), kl_secret_len(text), ret, err)
               : code;
}
