/* Sealed copies of certificates with their keys, secrets and policies, and their way back. */
#include "keyvault/model/backup.h"
#include "keyvault/model/birth.h"
#include "keyvault/model/certificate_inside.h"
#include "keyvault/model/key.h"
#include "keyvault/model/softdelete.h"

#include <string.h>

#define CONTENT_MAX ((size_t)18 << 20)

static const struct kl_sealed_copy certificate_copy = {
    {'K', 'L', 'U', 'I', 'S', 'C', 'E', 'R'}, "kluis certificate backup 1", "certificate backup"};

static enum kl_code no_memory(struct kl_err *err)
{
    return kl_fail(err, KL_NO_MEMORY, "json", "no memory for a backup");
}

/* --- backup --- */

struct copying {
    struct kl_model *m;
    const struct kl_vault *v;
    struct kl_object_row secret; /* the object */
    struct kl_vault_key *key;    /* the last one used */
    int64_t wanted;              /* one that is not at hand, else 0 */
    json_t *versions;            /* by version id, in the order of their numbers */
};

static bool has_key(struct copying *c, int64_t id)
{
    if (c->key != NULL && kl_vault_key_id(c->key) == id)
        return true;
    struct kl_vault_key *other = kl_vault_key_at_hand(c->m, id);
    if (other == NULL) {
        c->wanted = id;
        return false;
    }
    kl_vault_key_unref(c->key);
    c->key = other;
    return true;
}

static enum kl_code copy_certificate(void *arg, const void *p, struct kl_err *err)
{
    struct copying *c = arg;
    const struct kl_secret_item_row *row = &((const struct kl_secret_row *)p)->item;
    if (c->wanted != 0 || !has_key(c, row->vault_key))
        return KL_OK;
    enum kl_code code = kl_sealed_check(kl_vault_key_mac(c->key), c->v->id, row, err);
    if (code != KL_OK)
        return code;
    json_t *item =
        json_pack("{s:s,s:b,s:b,s:I,s:b,s:I,s:I,s:I,s:s,s:s,s:s*}", "version", row->version,
                  "enabled", row->enabled != 0, "has_nbf", row->has_nbf != 0, "nbf",
                  (json_int_t)row->nbf, "has_exp", row->has_exp != 0, "exp", (json_int_t)row->exp,
                  "created", (json_int_t)row->created, "updated", (json_int_t)row->updated,
                  "key_version", row->key_version, "about", row->about, "tags", row->tags);
    return json_array_append_new(c->versions, item) == 0 ? KL_OK : no_memory(err);
}

static json_t *version_of(const json_t *versions, const char *id)
{
    size_t i;
    json_t *item;
    json_array_foreach(versions, i, item)
    {
        if (strcmp(json_string_value(json_object_get(item, "version")), id) == 0)
            return item;
    }
    return NULL;
}

static enum kl_code copy_secret(void *arg, const void *p, struct kl_err *err)
{
    struct copying *c = arg;
    const struct kl_secret_row *row = p;
    KL_AUTO(secret) value = NULL;
    json_t *item = version_of(c->versions, row->item.version);
    if (c->wanted != 0 || !has_key(c, row->item.vault_key))
        return KL_OK;
    const struct kl_sealed_place place = {c->v->id, kl_kind_row(KL_KIND_SECRET)->noun,
                                          c->secret.folded, row->item.version};
    enum kl_code code = kl_sealed_check(kl_vault_key_mac(c->key), c->v->id, &row->item, err);
    if (code == KL_OK)
        code = kl_sealed_get(kl_vault_key_cipher(c->key), &place, row->sealed.bytes,
                             row->sealed.len, &value, err);
    if (code == KL_OK && item == NULL)
        code = kl_fail(err, KL_CORRUPT, "store", "a secret without its certificate");
    if (code != KL_OK)
        return code;
    json_t *text = json_stringn((const char *)kl_secret_bytes(value), kl_secret_len(value));
    return json_object_set_new(item, "value", text) == 0 &&
                   json_object_set_new(item, "content_type", json_string(row->item.content_type)) ==
                       0
               ? KL_OK
               : no_memory(err);
}

static enum kl_code count_versions(struct kl_store_session *t, int64_t object, struct kl_err *err)
{
    struct kl_number_row all;
    enum kl_code code = kl_store_one(t, KL_Q_SECRETS_COUNT, KL_ARGS(KL_ARG_INT(object)), &all, err);
    if (code == KL_OK && all.number > KL_BACKUP_VERSIONS_MAX)
        return kl_fail(err, KL_BACKUP_VERSIONS, "backup",
                       "the certificate has %lld past versions; at most %d can be backed up",
                       (long long)all.number - 1, KL_BACKUP_VERSIONS_MAX - 1);
    if (code == KL_OK && all.number == 0)
        return kl_fail(err, KL_CONFLICT, "backup", "the certificate has no version yet");
    return code;
}

/* From one state of the store. */
static enum kl_code read_versions(struct copying *c, const char *name, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_object_row object = {0};
    c->wanted = 0;
    (void)json_array_clear(c->versions);
    enum kl_code code = kl_store_begin(c->m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_vault_secret_object(t, c->v->id, KL_KIND_CERTIFICATE, name, &object, err);
    if (code == KL_OK)
        code = count_versions(t, object.id, err);
    if (code == KL_OK)
        code = kl_store_each(t, KL_Q_SECRETS_OF, KL_ARGS(KL_ARG_INT(object.id)), copy_certificate,
                             c, err);
    if (code == KL_OK)
        code = kl_vault_secret_object(t, c->v->id, KL_KIND_SECRET, name, &c->secret, err);
    if (code == KL_OK && c->wanted == 0)
        code = kl_store_each(t, KL_Q_SECRETS_OF, KL_ARGS(KL_ARG_INT(c->secret.id)), copy_secret, c,
                             err);
    return code;
}

static enum kl_code read_all(struct copying *c, struct kl_vault *v, const char *name,
                             struct kl_err *err)
{
    enum kl_code code = read_versions(c, name, err);
    while (code == KL_OK && c->wanted != 0) {
        kl_vault_key_unref(c->key);
        c->key = NULL;
        code = kl_vault_key_open(c->m, v, c->wanted, &c->key, err);
        if (code == KL_OK)
            code = read_versions(c, name, err);
    }
    kl_vault_key_unref(c->key);
    return code;
}

static enum kl_code dump(const json_t *content, struct kl_secret *ret, struct kl_err *err)
{
    size_t n = json_dumpb(content, NULL, 0, JSON_COMPACT);
    if (n == 0 || kl_secret_resize(ret, n) != KL_OK)
        return kl_fail(err, KL_TOO_BIG, "backup", "the backup is too big");
    (void)json_dumpb(content, (char *)kl_secret_bytes(ret), n, JSON_COMPACT);
    return KL_OK;
}

static enum kl_code gather(struct kl_model *m, struct kl_vault *v, const char *name,
                           json_t *versions, struct kl_secret *ret, struct kl_err *err)
{
    KL_AUTO(json) policy = NULL;
    struct kl_buf key = KL_BUF_INIT(CONTENT_MAX), text = KL_BUF_INIT(CONTENT_MAX);
    enum kl_code code = kl_certificate_policy(m, v, name, &policy, err);
    if (code == KL_OK)
        code = kl_key_backup_managed(m, v, name, &key, err);
    kl_b64url_put(&text, kl_buf_text(&key), key.len);
    KL_AUTO(json)
    content = code == KL_OK
                  ? json_pack("{s:s,s:s,s:s,s:s,s:O,s:s,s:O}", "subscription", v->subscription,
                              "geography", v->geography, "vault", v->name, "name", name, "policy",
                              policy, "key", kl_buf_text(&text), "versions", versions)
                  : NULL;
    kl_buf_done(&key);
    kl_buf_done(&text);
    if (code != KL_OK)
        return code;
    return content != NULL ? dump(content, ret, err) : no_memory(err);
}

enum kl_code kl_certificate_backup(struct kl_model *m, struct kl_vault *v, const char *name,
                                   struct kl_buf *ret, struct kl_err *err)
{
    struct kl_token *token;
    struct kl_seal_domain domain;
    struct kl_object_row object = {0};
    KL_AUTO(secret) content = kl_secret_new(CONTENT_MAX);
    KL_AUTO(json) versions = json_array();
    struct copying c = {.m = m, .v = v, .versions = versions};
    if (content == NULL || versions == NULL)
        return no_memory(err);
    enum kl_code code = kl_certificate_object(m, v, name, &object, err);
    if (code == KL_OK)
        code = read_all(&c, v, name, err);
    if (code == KL_OK)
        code = gather(m, v, object.name, versions, content, err);
    if (code == KL_OK)
        code = kl_model_token_named(m, v->token_name, &token, err);
    if (code == KL_OK)
        code = kl_sealed_copy_put(&certificate_copy, token, content, ret, &domain, err);
    return code == KL_OK ? kl_backup_note(m, v, KL_KIND_CERTIFICATE, name, &domain,
                                          (uint8_t *)ret->bytes + ret->len - KL_BACKUP_MAC_LEN, err)
                         : code;
}

/* --- restore --- */

struct restored {
    struct kl_model *m;
    struct kl_vault *v;
    const char *name;
    const json_t *policy;
    struct kl_vault_key *key;
    struct kl_secret_row *certificates, *secrets; /* texts are borrowed from the content */
    struct kl_buf *sealed;                        /* two for each version */
    size_t count;
    struct kl_object_row object; /* of the certificate */
};

static void restored_done(struct restored *r)
{
    for (size_t i = 0; i < 2 * r->count && r->sealed != NULL; i++)
        kl_buf_done(&r->sealed[i]);
    free(r->sealed);
    free(r->certificates);
    free(r->secrets);
    kl_vault_key_unref(r->key);
}

static enum kl_code malformed(struct kl_err *err)
{
    return kl_fail(err, KL_BACKUP_MALFORMED, "backup",
                   "Backup blob contains invalid or corrupt version.");
}

static const char *text_of(const json_t *object, const char *member)
{
    return json_string_value(json_object_get(object, member));
}

static int64_t number_of(const json_t *object, const char *member)
{
    return (int64_t)json_integer_value(json_object_get(object, member));
}

static enum kl_code fill_rows(const json_t *item, struct kl_secret_row *certificate,
                              struct kl_secret_row *secret, struct kl_err *err)
{
    const char *version = text_of(item, "version"), *value = text_of(item, "value");
    struct kl_secret_item_row *row = &certificate->item;
    *row = (struct kl_secret_item_row){.enabled = json_is_true(json_object_get(item, "enabled")),
                                       .has_nbf = json_is_true(json_object_get(item, "has_nbf")),
                                       .nbf = number_of(item, "nbf"),
                                       .has_exp = json_is_true(json_object_get(item, "has_exp")),
                                       .exp = number_of(item, "exp"),
                                       .created = number_of(item, "created"),
                                       .updated = number_of(item, "updated"),
                                       .key_version = text_of(item, "key_version"),
                                       .about = text_of(item, "about"),
                                       .tags = text_of(item, "tags")};
    if (version == NULL || !kl_version_valid(version) || value == NULL ||
        row->key_version == NULL || !kl_version_valid(row->key_version) || row->about == NULL)
        return malformed(err);
    memcpy(row->version, version, sizeof row->version);
    secret->item = *row;
    secret->item.about = NULL;
    secret->item.content_type = text_of(item, "content_type");
    secret->sealed = (struct kl_store_bytes){value, strlen(value)};
    certificate->sealed = (struct kl_store_bytes){"", 0};
    return secret->sealed.len <= KL_SECRET_VALUE_MAX ? KL_OK : malformed(err);
}

static enum kl_code seal_row(const struct restored *r, enum kl_kind kind, struct kl_secret_row *row,
                             struct kl_buf *out, struct kl_err *err)
{
    char folded[KL_ROW_NAME];
    kl_model_fold(r->name, folded, sizeof folded);
    const struct kl_sealed_place place = {r->v->id, kl_kind_row(kind)->noun, folded,
                                          row->item.version};
    *out = KL_BUF_INIT(KL_SECRET_VALUE_MAX + KL_SEALED_OVERHEAD + 1);
    enum kl_code code = kl_sealed_put(kl_vault_key_cipher(r->key), &place, row->sealed.bytes,
                                      row->sealed.len, out, err);
    row->sealed = (struct kl_store_bytes){out->bytes, out->len};
    return code;
}

static enum kl_code prepare(struct restored *r, const json_t *versions, struct kl_err *err)
{
    r->count = json_array_size(versions);
    if (r->count < 1 || r->count > KL_BACKUP_VERSIONS_MAX) {
        r->count = 0;
        return malformed(err);
    }
    r->certificates = calloc(r->count, sizeof *r->certificates);
    r->secrets = calloc(r->count, sizeof *r->secrets);
    r->sealed = calloc(2 * r->count, sizeof *r->sealed);
    if (r->certificates == NULL || r->secrets == NULL || r->sealed == NULL)
        return no_memory(err);
    enum kl_code code = kl_vault_key_for_sealing(r->m, r->v, &r->key, err);
    for (size_t i = 0; i < r->count && code == KL_OK; i++) {
        code = fill_rows(json_array_get(versions, i), &r->certificates[i], &r->secrets[i], err);
        if (code == KL_OK)
            code = seal_row(r, KL_KIND_CERTIFICATE, &r->certificates[i], &r->sealed[2 * i], err);
        if (code == KL_OK)
            code = seal_row(r, KL_KIND_SECRET, &r->secrets[i], &r->sealed[2 * i + 1], err);
    }
    return code;
}

/* In the commit that makes the key ready. */
static enum kl_code write_rows(void *arg, struct kl_store_session *t, const struct kl_protector *p,
                               struct kl_err *err)
{
    struct restored *r = arg;
    bool is_free = false;
    struct kl_vault_secret_birth birth = {.m = r->m,
                                          .v = r->v,
                                          .name = r->name,
                                          .kind = KL_KIND_CERTIFICATE,
                                          .key = r->key,
                                          .rows = r->certificates,
                                          .count = r->count,
                                          .name_must_be_free = true};
    enum kl_code code = kl_vault_secret_place(&birth, t, p, &is_free, err);
    r->object = birth.object;
    const struct kl_part_id id = {r->v, birth.object.id, KL_PART_POLICY, r->name};
    if (code == KL_OK)
        code = kl_part_write_json(t, r->key, &id, r->policy, err);
    birth.kind = KL_KIND_SECRET;
    birth.managed = true;
    birth.rows = r->secrets;
    return code == KL_OK ? kl_vault_secret_place(&birth, t, p, &is_free, err) : code;
}

static enum kl_code restore_key(struct restored *r, const char *text, struct kl_err *err)
{
    KL_AUTO(key_version) key = NULL;
    const struct kl_birth like = {.managed = true, .also = write_rows, .also_arg = r};
    size_t n = text != NULL ? strlen(text) : 0, len = 0;
    KL_AUTO(bytes) blob = malloc(n + 1);
    if (blob == NULL)
        return no_memory(err);
    if (n == 0 || kl_b64url_decode(text, n, blob, n, &len) != KL_OK)
        return malformed(err);
    return kl_key_restore_managed(r->m, r->v, blob, len, r->name, &like, &key, err);
}

/* Refused before anything is made on the token; the commit looks again. */
static enum kl_code check_free(const struct restored *r, struct kl_err *err)
{
    struct kl_object_row object = {0};
    enum kl_code code = kl_certificate_check_name(r->m, r->v, r->name, err);
    if (code == KL_OK && kl_certificate_object(r->m, r->v, r->name, &object, NULL) == KL_OK)
        return kl_object_led(KL_KIND_CERTIFICATE, r->name, false, err);
    return code;
}

static enum kl_code restore(struct restored *r, const json_t *content, struct kl_vault_secret *ret,
                            struct kl_err *err)
{
    const char *subscription = text_of(content, "subscription");
    const char *geography = text_of(content, "geography");
    r->name = text_of(content, "name");
    r->policy = json_object_get(content, "policy");
    if (subscription == NULL || geography == NULL || r->name == NULL || !kl_name_valid(r->name) ||
        !json_is_object(r->policy))
        return malformed(err);
    enum kl_code code = kl_backup_check_scope(r->m, r->v, subscription, geography, err);
    if (code == KL_OK)
        code = check_free(r, err);
    if (code == KL_OK)
        code = prepare(r, json_object_get(content, "versions"), err);
    if (code == KL_OK)
        code = restore_key(r, text_of(content, "key"), err);
    return code == KL_OK
               ? kl_vault_secret_copy(&r->object, &r->certificates[r->count - 1].item, ret, err)
               : code;
}

enum kl_code kl_certificate_restore(struct kl_model *m, struct kl_vault *v, const void *blob,
                                    size_t n, struct kl_vault_secret *ret, struct kl_err *err)
{
    struct kl_token *token;
    KL_AUTO(secret) content = NULL;
    KL_AUTO(json) json = NULL;
    struct restored r = {.m = m, .v = v};
    enum kl_code code = kl_model_token_named(m, v->token_name, &token, err);
    if (code == KL_OK)
        code = kl_sealed_copy_open(&certificate_copy, token, blob, n, &content, err);
    if (code == KL_OK)
        code = kl_json_parse((const char *)kl_secret_bytes(content), kl_secret_len(content), &json,
                             err);
    if (code == KL_OK)
        code = restore(&r, json, ret, err);
    restored_done(&r);
    return code;
}
