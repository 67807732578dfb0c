/* Sealed copies of secrets, and their way back. The layout is in SECRETS.md. */
#include "keyvault/model/backup.h"
#include "keyvault/model/cursor.h"
#include "keyvault/model/softdelete.h"
#include "keyvault/model/vault_secret_inside.h"

#include <openssl/crypto.h>
#include <string.h>

#define MIN_VERSION 64 /* bytes that any version takes at least */
#define BLOB_MAX    ((size_t)20 << 20)

static const struct kl_sealed_copy secret_copy = {
    {'K', 'L', 'U', 'I', 'S', 'S', 'E', 'C'}, "kluis secret backup 1", "secret backup"};

enum flag { FLAG_ENABLED = 1, FLAG_NBF = 2, FLAG_EXP = 4, FLAG_ALL = 7 };

/* --- the content --- */

struct writer {
    struct kl_secret *to;
    enum kl_code code;
};

static void put(struct writer *w, const void *bytes, size_t n)
{
    if (w->code == KL_OK)
        w->code = kl_secret_append(w->to, bytes, n);
}

static void put_int(struct writer *w, uint64_t value, size_t bytes)
{
    uint8_t b[8];
    for (size_t i = 0; i < bytes; i++)
        b[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    put(w, b, bytes);
}

static void put_bytes(struct writer *w, const void *bytes, size_t n)
{
    put_int(w, n, 4);
    put(w, bytes, n);
}

static void put_text(struct writer *w, const char *text)
{
    put_bytes(w, text != NULL ? text : "", text != NULL ? strlen(text) + 1 : 0);
}

static void put_version(struct writer *w, const struct kl_secret_item_row *row,
                        struct kl_secret *value)
{
    put_text(w, row->version);
    put_int(w,
            (row->enabled != 0 ? FLAG_ENABLED : 0U) | (row->has_nbf != 0 ? FLAG_NBF : 0U) |
                (row->has_exp != 0 ? FLAG_EXP : 0U),
            1);
    put_int(w, (uint64_t)row->nbf, 8);
    put_int(w, (uint64_t)row->exp, 8);
    put_int(w, (uint64_t)row->created, 8);
    put_int(w, (uint64_t)row->updated, 8);
    put_text(w, row->content_type);
    put_text(w, row->tags);
    put_bytes(w, kl_secret_bytes(value), kl_secret_len(value));
}

/* --- backup --- */

struct copying {
    struct kl_model *m;
    const struct kl_vault *v;
    const struct kl_object_row *object;
    struct kl_vault_key *key; /* the last one used */
    int64_t wanted;           /* one that is not at hand, else 0 */
    struct writer w;
};

static enum kl_code copy_row(void *arg, const void *p, struct kl_err *err)
{
    struct copying *c = arg;
    const struct kl_secret_row *row = p;
    KL_AUTO(secret) value = NULL;
    if (c->wanted != 0)
        return KL_OK;
    if (c->key == NULL || kl_vault_key_id(c->key) != row->item.vault_key) {
        struct kl_vault_key *other = kl_vault_key_at_hand(c->m, row->item.vault_key);
        if (other == NULL) {
            c->wanted = row->item.vault_key;
            return KL_OK;
        }
        kl_vault_key_unref(c->key);
        c->key = other;
    }
    const struct kl_sealed_place place = {c->v->id, kl_kind_row(KL_KIND_SECRET)->noun,
                                          c->object->folded, row->item.version};
    enum kl_code code = kl_sealed_check(kl_vault_key_mac(c->key), c->v->id, &row->item, err);
    if (code == KL_OK)
        code = kl_sealed_get(kl_vault_key_cipher(c->key), &place, row->sealed.bytes,
                             row->sealed.len, &value, err);
    if (code == KL_OK)
        put_version(&c->w, &row->item, value);
    return code;
}

static enum kl_code count_versions(struct kl_store_session *t, int64_t object, int64_t *ret,
                                   struct kl_err *err)
{
    struct kl_number_row all;
    enum kl_code code = kl_store_one(t, KL_Q_SECRETS_COUNT, KL_ARGS(KL_ARG_INT(object)), &all, err);
    if (code == KL_OK && all.number > KL_BACKUP_VERSIONS_MAX)
        return kl_fail(err, KL_BACKUP_VERSIONS, "backup",
                       "the secret has %lld past versions; at most %d can be backed up",
                       (long long)all.number - 1, KL_BACKUP_VERSIONS_MAX - 1);
    if (code == KL_OK)
        *ret = all.number;
    return code;
}

static enum kl_code read_all(struct copying *c, const char *name, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_object_row object = {0};
    int64_t count = 0;
    c->object = &object;
    c->wanted = 0;
    enum kl_code code = kl_store_begin(c->m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_vault_secret_object(t, c->v->id, KL_KIND_SECRET, name, &object, err);
    if (code == KL_OK && object.managed != 0)
        code = kl_object_managed(KL_KIND_SECRET, name, err);
    if (code == KL_OK)
        code = count_versions(t, object.id, &count, err);
    if (code == KL_OK)
        code = kl_secret_resize(c->w.to, 0);
    if (code != KL_OK)
        return code;
    put_text(&c->w, c->v->subscription);
    put_text(&c->w, c->v->geography);
    put_text(&c->w, c->v->name);
    put_text(&c->w, object.name);
    put_int(&c->w, (uint64_t)count, 4);
    code = kl_store_each(t, KL_Q_SECRETS_OF, KL_ARGS(KL_ARG_INT(object.id)), copy_row, c, err);
    if (code == KL_OK && c->w.code != KL_OK)
        code = kl_fail(err, c->w.code, "backup", "the backup is too big");
    return code;
}

enum kl_code kl_vault_secret_backup(struct kl_model *m, struct kl_vault *v, const char *name,
                                    struct kl_buf *ret, struct kl_err *err)
{
    struct kl_token *token;
    KL_AUTO(secret) content = kl_secret_new(BLOB_MAX);
    struct copying c = {.m = m, .v = v, .w = {.to = content}};
    if (content == NULL)
        return kl_fail(err, KL_NO_MEMORY, "kl_secret_new", "no memory for a backup");
    if (!kl_name_valid(name))
        return kl_object_missing(KL_KIND_SECRET, name, "", err);
    enum kl_code code = read_all(&c, name, err);
    while (code == KL_OK && c.wanted != 0) {
        kl_vault_key_unref(c.key);
        c.key = NULL;
        code = kl_vault_key_open(m, v, c.wanted, &c.key, err);
        if (code == KL_OK)
            code = read_all(&c, name, err);
    }
    kl_vault_key_unref(c.key);
    if (code == KL_OK)
        code = kl_model_token_named(m, v->token_name, &token, err);
    struct kl_seal_domain domain;
    if (code == KL_OK)
        code = kl_sealed_copy_put(&secret_copy, token, content, ret, &domain, err);
    return code == KL_OK ? kl_backup_note(m, v, KL_KIND_SECRET, name, &domain,
                                          (uint8_t *)ret->bytes + ret->len - KL_BACKUP_MAC_LEN, err)
                         : code;
}

/* --- restore --- */

static enum kl_code malformed(struct kl_err *err)
{
    return kl_fail(err, KL_BACKUP_MALFORMED, "backup",
                   "Backup blob contains invalid or corrupt version.");
}

struct restored {
    char subscription[KL_ROW_NAME], geography[KL_ROW_NAME], vault[KL_ROW_NAME], name[KL_ROW_NAME];
    struct kl_secret_row
        *rows; /* texts point into the content; sealed: the plain value, at first */
    struct kl_buf *sealed;
    size_t count;
};

static void restored_done(struct restored *r)
{
    for (size_t i = 0; i < r->count && r->sealed != NULL; i++)
        kl_buf_done(&r->sealed[i]);
    free(r->sealed);
    free(r->rows);
}

static void get_version(struct kl_cursor *c, struct kl_secret_row *row)
{
    struct kl_secret_item_row *item = &row->item;
    kl_cursor_label(c, item->version, sizeof item->version);
    unsigned flags = (unsigned)kl_cursor_int(c, 1);
    item->enabled = (flags & FLAG_ENABLED) != 0;
    item->has_nbf = (flags & FLAG_NBF) != 0;
    item->has_exp = (flags & FLAG_EXP) != 0;
    item->nbf = (int64_t)kl_cursor_int(c, 8);
    item->exp = (int64_t)kl_cursor_int(c, 8);
    item->created = (int64_t)kl_cursor_int(c, 8);
    item->updated = (int64_t)kl_cursor_int(c, 8);
    item->content_type = kl_cursor_text(c);
    item->tags = kl_cursor_text(c);
    row->sealed = kl_cursor_bytes(c);
    if (flags > FLAG_ALL || !kl_version_valid(item->version) ||
        row->sealed.len > KL_SECRET_VALUE_MAX)
        c->bad = true;
}

static enum kl_code decode(struct kl_secret *content, struct restored *r, struct kl_err *err)
{
    const uint8_t *bytes = kl_secret_bytes(content);
    struct kl_cursor c = {.at = bytes, .end = bytes + kl_secret_len(content)};
    kl_cursor_label(&c, r->subscription, sizeof r->subscription);
    kl_cursor_label(&c, r->geography, sizeof r->geography);
    kl_cursor_label(&c, r->vault, sizeof r->vault);
    kl_cursor_label(&c, r->name, sizeof r->name);
    size_t count = (size_t)kl_cursor_int(&c, 4);
    if (c.bad || count < 1 || count > KL_BACKUP_VERSIONS_MAX || !kl_name_valid(r->name) ||
        (size_t)(c.end - c.at) / MIN_VERSION < count)
        return malformed(err);
    r->rows = calloc(count, sizeof *r->rows);
    r->sealed = calloc(count, sizeof *r->sealed);
    if (r->rows == NULL || r->sealed == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for a restore");
    r->count = count;
    for (size_t i = 0; i < count; i++)
        get_version(&c, &r->rows[i]);
    return c.bad || c.at != c.end ? malformed(err) : KL_OK;
}

static enum kl_code seal_all(const struct kl_vault *v, const struct kl_vault_key *key,
                             struct restored *r, struct kl_err *err)
{
    char folded[KL_ROW_NAME];
    enum kl_code code = KL_OK;
    kl_model_fold(r->name, folded, sizeof folded);
    for (size_t i = 0; i < r->count && code == KL_OK; i++) {
        struct kl_secret_row *row = &r->rows[i];
        struct kl_buf *out = &r->sealed[i];
        const struct kl_sealed_place place = {v->id, kl_kind_row(KL_KIND_SECRET)->noun, folded,
                                              row->item.version};
        *out = KL_BUF_INIT(KL_SECRET_VALUE_MAX + KL_SEALED_OVERHEAD + 1);
        code = kl_sealed_put(kl_vault_key_cipher(key), &place, row->sealed.bytes, row->sealed.len,
                             out, err);
        row->sealed = (struct kl_store_bytes){out->bytes, out->len};
    }
    return code;
}

static enum kl_code restore(struct kl_model *m, struct kl_vault *v, struct restored *r,
                            struct kl_vault_secret *ret, struct kl_err *err)
{
    KL_AUTO(vault_key) key = NULL;
    enum kl_code code = kl_backup_check_scope(m, v, r->subscription, r->geography, err);
    if (code == KL_OK)
        code = kl_vault_key_for_sealing(m, v, &key, err);
    if (code == KL_OK)
        code = seal_all(v, key, r, err);
    if (code != KL_OK)
        return code;
    struct kl_vault_secret_birth birth = {.m = m,
                                          .v = v,
                                          .name = r->name,
                                          .kind = KL_KIND_SECRET,
                                          .key = key,
                                          .rows = r->rows,
                                          .count = r->count,
                                          .name_must_be_free = true};
    code = kl_vault_secret_bear(&birth, err);
    return code == KL_OK
               ? kl_vault_secret_copy(&birth.object, &r->rows[r->count - 1].item, ret, err)
               : code;
}

enum kl_code kl_vault_secret_restore(struct kl_model *m, struct kl_vault *v, const void *blob,
                                     size_t n, struct kl_vault_secret *ret, struct kl_err *err)
{
    struct kl_token *token;
    KL_AUTO(secret) content = NULL;
    struct restored r = {.count = 0};
    enum kl_code code = kl_model_token_named(m, v->token_name, &token, err);
    if (code == KL_OK)
        code = kl_sealed_copy_open(&secret_copy, token, blob, n, &content, err);
    if (code == KL_OK)
        code = decode(content, &r, err);
    if (code == KL_OK)
        code = restore(m, v, &r, ret, err);
    restored_done(&r);
    return code;
}
