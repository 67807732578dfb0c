/* Setting, reading and changing secrets. */
#include "keyvault/model/vault_secret_inside.h"

#include "base/clock.h"
#include "keyvault/model/key.h"
#include "keyvault/model/softdelete.h"

#include <string.h>

void kl_vault_secret_done(struct kl_vault_secret *s)
{
    free(s->content_type);
    free(s->about);
    free(s->tags_json);
    *s = (struct kl_vault_secret){.content_type = NULL};
}

static bool copy_text(const char *text, char **ret)
{
    *ret = text != NULL ? strdup(text) : NULL;
    return text == NULL || *ret != NULL;
}

enum kl_code kl_vault_secret_copy(const struct kl_object_row *object,
                                  const struct kl_secret_item_row *row, struct kl_vault_secret *ret,
                                  struct kl_err *err)
{
    struct kl_vault_secret s = {.managed = object->managed != 0,
                                .attrs = {.enabled = row->enabled != 0,
                                          .has_nbf = row->has_nbf != 0,
                                          .has_exp = row->has_exp != 0,
                                          .nbf = row->nbf,
                                          .exp = row->exp},
                                .created = row->created,
                                .updated = row->updated,
                                .deleted_at = object->deleted_at,
                                .purge_at = object->purge_at};
    memcpy(s.name, object->name, sizeof s.name);
    memcpy(s.version, row->version, sizeof s.version);
    if (row->key_version != NULL)
        (void)snprintf(s.key_version, sizeof s.key_version, "%s", row->key_version);
    if (!copy_text(row->content_type, &s.content_type) || !copy_text(row->tags, &s.tags_json) ||
        !copy_text(row->about, &s.about)) {
        kl_vault_secret_done(&s);
        return kl_fail(err, KL_NO_MEMORY, "strdup", "no memory for a secret");
    }
    *ret = s;
    return KL_OK;
}

/* A version id as stored, cut to its length. */
static void lower(const char *version, char out[static KL_VERSION_LEN + 1])
{
    size_t i = 0;
    for (; version[i] != '\0' && i < KL_VERSION_LEN; i++)
        out[i] =
            (char)(version[i] >= 'A' && version[i] <= 'F' ? version[i] - 'A' + 'a' : version[i]);
    out[i] = '\0';
}

enum kl_code kl_vault_secret_object(struct kl_store_session *t, const char *vault_id,
                                    enum kl_kind kind, const char *name, struct kl_object_row *ret,
                                    struct kl_err *err)
{
    struct kl_object_row object = {0};
    enum kl_code code = kl_object_read(t, vault_id, kind, name, &object, err);
    if (code == KL_NOT_FOUND || (code == KL_OK && object.state != KL_LIFE_ACTIVE))
        return kl_object_missing(kind, name, "", err);
    if (code == KL_OK)
        *ret = object;
    return code;
}

/* --- set --- */

static enum kl_code check_input(const char *name, const struct kl_vault_secret_set *how,
                                struct kl_err *err)
{
    if (!kl_name_valid(name))
        return kl_fail(err, KL_BAD_INPUT, "name",
                       "the secret name must match ^[0-9a-zA-Z-]{1,127}$");
    if (how->value_len > KL_SECRET_VALUE_MAX)
        return kl_fail(err, KL_BAD_INPUT, "value",
                       "The value of a secret may have at most %d bytes, this one has %zu",
                       KL_SECRET_VALUE_MAX, how->value_len);
    return KL_OK;
}

static enum kl_code seal(const struct kl_vault *v, const char *name, const struct kl_vault_key *key,
                         const struct kl_vault_secret_set *how, const char *version,
                         struct kl_buf *out, struct kl_err *err)
{
    char folded[KL_ROW_NAME];
    kl_model_fold(name, folded, sizeof folded);
    const struct kl_sealed_place place = {v->id, kl_kind_row(KL_KIND_SECRET)->noun, folded,
                                          version};
    return kl_sealed_put(kl_vault_key_cipher(key), &place, how->value, how->value_len, out, err);
}

enum kl_code kl_vault_secret_set(struct kl_model *m, struct kl_vault *v, const char *name,
                                 const struct kl_vault_secret_set *how, struct kl_vault_secret *ret,
                                 struct kl_err *err)
{
    KL_AUTO(vault_key) key = NULL;
    struct kl_buf sealed = KL_BUF_INIT(KL_SECRET_VALUE_MAX + KL_SEALED_OVERHEAD + 1);
    struct kl_secret_row row = {.item = {.enabled = how->attrs.enabled,
                                         .has_nbf = how->attrs.has_nbf,
                                         .nbf = how->attrs.nbf,
                                         .has_exp = how->attrs.has_exp,
                                         .exp = how->attrs.exp,
                                         .content_type = how->content_type,
                                         .tags = kl_tags_normal(how->tags_json)}};
    row.item.created = row.item.updated = kl_clock_unix();
    kl_vault_secret_new_version(row.item.version);
    enum kl_code code = check_input(name, how, err);
    if (code == KL_OK)
        code = kl_vault_key_for_sealing(m, v, &key, err);
    if (code == KL_OK)
        code = seal(v, name, key, how, row.item.version, &sealed, err);
    row.sealed = (struct kl_store_bytes){kl_buf_text(&sealed), sealed.len};
    struct kl_vault_secret_birth birth = {
        .m = m, .v = v, .name = name, .kind = KL_KIND_SECRET, .key = key, .rows = &row, .count = 1};
    if (code == KL_OK)
        code = kl_vault_secret_bear(&birth, err);
    if (code == KL_OK)
        code = kl_vault_secret_copy(&birth.object, &row.item, ret, err);
    kl_buf_done(&sealed);
    return code;
}

/* --- get --- */

struct reading {
    struct kl_model *m;
    const struct kl_vault *v;
    enum kl_kind kind;
    const struct kl_object_row *object;
    struct kl_vault_key *key; /* NULL: whatever is at hand */
    int64_t wanted;           /* the key that was not at hand, else 0 */
    bool found;
    struct kl_vault_secret secret;
    struct kl_secret *value;
};

static enum kl_code open_row(struct reading *r, const struct kl_secret_row *row,
                             const struct kl_vault_key *key, struct kl_err *err)
{
    const struct kl_sealed_place place = {r->v->id, kl_kind_row(r->kind)->noun, r->object->folded,
                                          row->item.version};
    enum kl_code code = kl_sealed_check(kl_vault_key_mac(key), r->v->id, &row->item, err);
    if (code == KL_OK && row->item.enabled == 0 && r->kind == KL_KIND_SECRET)
        code = kl_fail(err, KL_SECRET_DISABLED, "secret",
                       "Operation get is not allowed on a disabled secret.");
    if (code == KL_OK)
        code = kl_sealed_get(kl_vault_key_cipher(key), &place, row->sealed.bytes, row->sealed.len,
                             &r->value, err);
    return code == KL_OK ? kl_vault_secret_copy(r->object, &row->item, &r->secret, err) : code;
}

static enum kl_code read_row(void *arg, const void *p, struct kl_err *err)
{
    struct reading *r = arg;
    const struct kl_secret_row *row = p;
    r->found = true;
    if (r->key != NULL && kl_vault_key_id(r->key) == row->item.vault_key)
        return open_row(r, row, r->key, err);
    KL_AUTO(vault_key) key = kl_vault_key_at_hand(r->m, row->item.vault_key);
    if (key == NULL) {
        r->wanted = row->item.vault_key;
        return KL_OK;
    }
    return open_row(r, row, key, err);
}

static enum kl_code read_secret(struct reading *r, const char *name, const char *version,
                                struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_object_row object = {0};
    char id[KL_VERSION_LEN + 1];
    lower(version, id);
    r->object = &object;
    r->wanted = 0;
    enum kl_code code = kl_store_begin(r->m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_vault_secret_object(t, r->v->id, r->kind, name, &object, err);
    if (code == KL_OK && id[0] == '\0')
        code =
            kl_store_each(t, KL_Q_SECRET_NEWEST, KL_ARGS(KL_ARG_INT(object.id)), read_row, r, err);
    else if (code == KL_OK)
        code = kl_store_each(t, KL_Q_SECRET_GET, KL_ARGS(KL_ARG_INT(object.id), KL_ARG_TEXT(id)),
                             read_row, r, err);
    if (code == KL_OK && !r->found)
        code = kl_object_missing(r->kind, object.name, id, err);
    return code;
}

enum kl_code kl_vault_item_get(struct kl_model *m, struct kl_vault *v, enum kl_kind kind,
                               const char *name, const char *version, struct kl_vault_secret *ret,
                               struct kl_secret **ret_value, bool *ret_must_wait,
                               struct kl_err *err)
{
    struct reading r = {.m = m, .v = v, .kind = kind};
    const char *id = version != NULL ? version : "";
    if (!kl_name_valid(name) || (id[0] != '\0' && !kl_version_valid(id)))
        return kl_object_missing(kind, name, id, err);
    enum kl_code code = read_secret(&r, name, id, err);
    if (code == KL_OK && r.wanted != 0 && ret_must_wait != NULL) {
        *ret_must_wait = true;
        return KL_OK;
    }
    while (code == KL_OK && r.wanted != 0) {
        kl_vault_key_unref(r.key);
        r.key = NULL;
        code = kl_vault_key_open(m, v, r.wanted, &r.key, err);
        if (code == KL_OK) /* perhaps another version by now, under another key */
            code = read_secret(&r, name, id, err);
    }
    kl_vault_key_unref(r.key);
    if (code != KL_OK) {
        kl_secret_free(r.value);
        return code;
    }
    *ret = r.secret;
    *ret_value = r.value;
    return KL_OK;
}

enum kl_code kl_vault_secret_get(struct kl_model *m, struct kl_vault *v, const char *name,
                                 const char *version, struct kl_vault_secret *ret,
                                 struct kl_secret **ret_value, bool *ret_must_wait,
                                 struct kl_err *err)
{
    return kl_vault_item_get(m, v, KL_KIND_SECRET, name, version, ret, ret_value, ret_must_wait,
                             err);
}

/* --- update --- */

struct edit {
    enum kl_kind kind;
    const struct kl_vault_secret_patch *patch;
    bool found;
    struct kl_secret_item_row row;
    char *content_type, *tags, *key_version, *about;
};

static void edit_done(struct edit *e)
{
    free(e->content_type);
    free(e->tags);
    free(e->key_version);
    free(e->about);
}

static enum kl_code copy_row(void *arg, const void *p, struct kl_err *err)
{
    struct edit *e = arg;
    edit_done(e);
    e->row = *(const struct kl_secret_item_row *)p;
    e->found = true;
    e->content_type = e->tags = e->key_version = e->about = NULL;
    if (!copy_text(e->row.content_type, &e->content_type) || !copy_text(e->row.tags, &e->tags) ||
        !copy_text(e->row.key_version, &e->key_version) || !copy_text(e->row.about, &e->about))
        return kl_fail(err, KL_NO_MEMORY, "strdup", "no memory for an update");
    e->row.content_type = e->content_type;
    e->row.tags = e->tags;
    e->row.key_version = e->key_version;
    e->row.about = e->about;
    return KL_OK;
}

static enum kl_code read_edit(struct kl_store_session *t, const struct kl_vault *v,
                              const char *name, const char *version, struct edit *e,
                              struct kl_err *err)
{
    struct kl_object_row object = {0};
    char id[KL_VERSION_LEN + 1];
    lower(version, id);
    e->found = false;
    enum kl_code code = kl_vault_secret_object(t, v->id, e->kind, name, &object, err);
    if (code == KL_OK && id[0] == '\0')
        code = kl_store_each(t, KL_Q_SECRET_ITEM_NEWEST, KL_ARGS(KL_ARG_INT(object.id)), copy_row,
                             e, err);
    else if (code == KL_OK)
        code = kl_store_each(t, KL_Q_SECRET_ITEM_GET,
                             KL_ARGS(KL_ARG_INT(object.id), KL_ARG_TEXT(id)), copy_row, e, err);
    if (code == KL_OK && !e->found)
        return kl_object_missing(e->kind, name, id, err);
    return code;
}

static void apply(struct edit *e)
{
    const struct kl_vault_secret_patch *p = e->patch;
    struct kl_secret_item_row *row = &e->row;
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
    if (p->content_type != NULL)
        row->content_type = p->content_type[0] != '\0' ? p->content_type : NULL;
    if (p->tags_json != NULL)
        row->tags = kl_tags_normal(p->tags_json);
    row->updated = kl_clock_unix();
}

static enum kl_code write_row(struct kl_store_session *t, const struct kl_secret_item_row *row,
                              struct kl_err *err)
{
    return kl_store_run(t, KL_Q_SECRET_SET,
                        KL_ARGS(KL_ARG_INT(row->enabled), KL_ARG_INT(row->has_nbf),
                                KL_ARG_INT(row->nbf), KL_ARG_INT(row->has_exp),
                                KL_ARG_INT(row->exp), KL_ARG_TEXT(row->content_type),
                                KL_ARG_TEXT(row->tags), KL_ARG_INT(row->updated),
                                KL_ARG_BYTES(row->mac, sizeof row->mac), KL_ARG_INT(row->object),
                                KL_ARG_INT(row->number)),
                        NULL, err);
}

/* `version` names one, whose key this is. */
static enum kl_code write_edit(struct kl_model *m, const struct kl_vault *v, const char *name,
                               const char *version, const struct kl_vault_key *key, struct edit *e,
                               struct kl_vault_secret *ret, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_object_row object = {0};
    const uint8_t *mac_key = kl_vault_key_mac(key);
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_vault_secret_object(t, v->id, e->kind, name, &object, err);
    if (code == KL_OK && object.managed != 0 && !e->patch->managed)
        code = kl_object_managed(e->kind, name, err);
    if (code == KL_OK)
        code = read_edit(t, v, name, version, e, err);
    if (code == KL_OK)
        code = kl_sealed_check(mac_key, v->id, &e->row, err);
    if (code != KL_OK)
        return code;
    apply(e);
    code = kl_sealed_mac(mac_key, v->id, &e->row, err);
    if (code == KL_OK)
        code = write_row(t, &e->row, err);
    if (code == KL_OK)
        code = kl_model_commit(m, t, err);
    return code == KL_OK ? kl_vault_secret_copy(&object, &e->row, ret, err) : code;
}

static enum kl_code update_with(struct kl_model *m, const struct kl_vault *v, const char *name,
                                const char *version, struct edit *e, struct kl_vault_secret *ret,
                                struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = read_edit(t, v, name, version, e, err);
    kl_store_end(kl_take(t));
    if (code != KL_OK)
        return code;
    char id[KL_VERSION_LEN + 1];
    memcpy(id, e->row.version, sizeof id);
    KL_AUTO(vault_key) key = kl_vault_key_at_hand(m, e->row.vault_key);
    if (key == NULL)
        code = kl_vault_key_open(m, v, e->row.vault_key, &key, err);
    return code == KL_OK ? write_edit(m, v, name, id, key, e, ret, err) : code;
}

enum kl_code kl_vault_item_update(struct kl_model *m, struct kl_vault *v, enum kl_kind kind,
                                  const char *name, const char *version,
                                  const struct kl_vault_secret_patch *patch,
                                  struct kl_vault_secret *ret, struct kl_err *err)
{
    struct edit e = {.kind = kind, .patch = patch};
    const char *id = version != NULL ? version : "";
    if (!kl_name_valid(name) || (id[0] != '\0' && !kl_version_valid(id)))
        return kl_object_missing(kind, name, id, err);
    enum kl_code code = update_with(m, v, name, id, &e, ret, err);
    edit_done(&e);
    return code;
}

enum kl_code kl_vault_secret_update(struct kl_model *m, struct kl_vault *v, const char *name,
                                    const char *version, const struct kl_vault_secret_patch *patch,
                                    struct kl_vault_secret *ret, struct kl_err *err)
{
    return kl_vault_item_update(m, v, KL_KIND_SECRET, name, version, patch, ret, err);
}
