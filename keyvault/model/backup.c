/* Sealed copies of keys, and their way back. */
#include "keyvault/model/backup.h"
#include "keyvault/model/birth.h"
#include "keyvault/model/home.h"
#include "keyvault/model/key.h"
#include "keyvault/model/softdelete.h"

#include <string.h>

static const char seal_label[] = "kluis key backup 1";

/* --- backup --- */

struct copy {
    struct kl_key_version *versions[KL_BACKUP_VERSIONS_MAX];
    size_t count;
};

static void copy_done(struct copy *c)
{
    for (size_t i = 0; i < c->count; i++)
        kl_key_version_unref(c->versions[i]);
    free(c);
}

static enum kl_code count_versions(struct kl_store_session *t, int64_t object, struct kl_err *err)
{
    struct kl_number_row all, fixed;
    enum kl_code code =
        kl_store_one(t, KL_Q_VERSIONS_READY_COUNT, KL_ARGS(KL_ARG_INT(object)), &all, err);
    if (code == KL_OK)
        code = kl_store_one(t, KL_Q_VERSIONS_FIXED_COUNT, KL_ARGS(KL_ARG_INT(object)), &fixed, err);
    if (code != KL_OK)
        return code;
    if (all.number > KL_BACKUP_VERSIONS_MAX)
        return kl_fail(err, KL_BACKUP_VERSIONS, "backup",
                       "the key has %lld past versions; at most %d can be backed up",
                       (long long)all.number - 1, KL_BACKUP_VERSIONS_MAX - 1);
    if (fixed.number > 0)
        return kl_fail(err, KL_BACKUP_FIXED, "backup",
                       "the key has versions of the fixed profile, which never leave their token");
    return KL_OK;
}

/* All versions, from one state of the store. */
static enum kl_code read_copy(struct kl_model *m, struct kl_vault *v, const char *name,
                              bool managed, struct copy *c, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_object_row object = {0};
    if (!kl_name_valid(name))
        return kl_key_missing(err, name);
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_object_read(t, v->id, KL_KIND_KEY, name, &object, err);
    if (code == KL_NOT_FOUND || (code == KL_OK && object.state != KL_LIFE_ACTIVE))
        return kl_key_missing(err, name);
    if (code == KL_OK && object.managed != 0 && !managed)
        return kl_object_managed(KL_KIND_KEY, name, err);
    if (code == KL_OK)
        code = count_versions(t, object.id, err);
    if (code == KL_OK)
        code =
            kl_snapshot_versions(m, t, &object, KL_Q_VERSIONS_READY, KL_ARGS(KL_ARG_INT(object.id)),
                                 c->versions, KL_BACKUP_VERSIONS_MAX, &c->count, err);
    return code;
}

/* A copy of the version on this token. */
static bool on_home(const struct kl_key_version *k, const struct kl_token *token,
                    struct kl_key_ref *ret)
{
    for (size_t i = 0; i < k->home_count; i++)
        if (k->homes[i].token == token) {
            *ret = k->homes[i].ref;
            return true;
        }
    return false;
}

static enum kl_code put_wrapped(struct kl_buf *out, struct kl_token *token,
                                const struct kl_seal_domain *domain, const struct kl_key_version *k,
                                struct kl_err *err)
{
    struct kl_token_request req = {.call = KL_CALL_WRAP,
                                   .key = k->ref,
                                   .input = domain->key.id,
                                   .input_len = sizeof domain->key.id};
    KL_AUTO(secret) wrapped = NULL;
    uint64_t mechanism = 0;
    if (k->token != token && !on_home(k, token, &req.key))
        return kl_fail(err, KL_TOKEN_UNSUPPORTED, "backup",
                       "version %s is on token %s, outside of its vault's domain", k->version,
                       k->token_name);
    enum kl_code code = kl_token_call(token, &req, &wrapped, &mechanism, err);
    if (code == KL_OK)
        kl_backup_put_version(out, k, mechanism, kl_secret_bytes(wrapped), kl_secret_len(wrapped));
    return code;
}

enum kl_code kl_backup_finish(struct kl_buf *out, struct kl_token *token,
                              const struct kl_seal_domain *domain, struct kl_err *err)
{
    uint8_t seal[KL_BACKUP_MAC_LEN];
    kl_backup_put_length(out);
    if (kl_buf_failed(out))
        return kl_fail(err, KL_TOO_BIG, "backup", "the backup is too big");
    enum kl_code code = kl_domain_seal(token, domain, seal_label, out->bytes, out->len, seal, err);
    if (code == KL_OK)
        kl_buf_put(out, seal, sizeof seal);
    return code == KL_OK && kl_buf_failed(out)
               ? kl_fail(err, KL_TOO_BIG, "backup", "the backup is too big")
               : code;
}

static enum kl_code put_blob(struct kl_buf *out, struct kl_token *token, const struct kl_vault *v,
                             const struct copy *c, struct kl_seal_domain *ret_domain,
                             struct kl_err *err)
{
    enum kl_code code = kl_domain_current(token, ret_domain, err);
    if (code != KL_OK)
        return code;
    kl_backup_put_head(out, ret_domain->name, v, c->versions[0]->name, c->count);
    for (size_t i = 0; i < c->count && code == KL_OK; i++)
        code = put_wrapped(out, token, ret_domain, c->versions[i], err);
    return code == KL_OK ? kl_backup_finish(out, token, ret_domain, err) : code;
}

static enum kl_code back_up(struct kl_model *m, struct kl_vault *v, const char *name, bool managed,
                            struct kl_buf *ret, struct kl_err *err)
{
    struct kl_token *token;
    struct kl_seal_domain domain;
    struct kl_buf blob = KL_BUF_INIT(KL_BACKUP_BYTES_MAX);
    struct copy *c = calloc(1, sizeof *c);
    if (c == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for a backup");
    enum kl_code code = read_copy(m, v, name, managed, c, err);
    if (code == KL_OK && c->count == 0)
        code = kl_key_missing(err, name);
    if (code == KL_OK)
        code = kl_vault_token(v, &token, err);
    if (code == KL_OK)
        code = put_blob(&blob, token, v, c, &domain, err);
    if (code == KL_OK)
        code = kl_backup_note(m, v, KL_KIND_KEY, c->versions[0]->name, &domain,
                              (const uint8_t *)blob.bytes + blob.len - KL_BACKUP_MAC_LEN, err);
    if (code == KL_OK) {
        kl_buf_put(ret, blob.bytes, blob.len);
        if (kl_buf_failed(&blob) || kl_buf_failed(ret))
            code = kl_fail(err, KL_TOO_BIG, "backup", "the backup is too big");
    }
    kl_buf_done(&blob);
    copy_done(c);
    return code;
}

enum kl_code kl_key_backup(struct kl_model *m, struct kl_vault *v, const char *name,
                           struct kl_buf *ret, struct kl_err *err)
{
    return back_up(m, v, name, false, ret, err);
}

enum kl_code kl_key_backup_managed(struct kl_model *m, struct kl_vault *v, const char *name,
                                   struct kl_buf *ret, struct kl_err *err)
{
    return back_up(m, v, name, true, ret, err);
}

/* --- restore --- */

/* The vault's labels decide, so their row is checked as well. */
enum kl_code kl_backup_check_scope(struct kl_model *m, const struct kl_vault *v,
                                   const char *subscription, const char *geography,
                                   struct kl_err *err)
{
    KL_AUTO_PROTECTOR p = {NULL};
    struct kl_vault_row row;
    enum kl_code code = kl_protect_open(m, v->token_name, &p, err);
    if (code == KL_OK)
        code = kl_vault_row_find(m, KL_Q_VAULT_BY_ID, v->id, &row, err);
    if (code == KL_OK)
        code = kl_protect_check_vault(&p, &row, err);
    if (code != KL_OK)
        return code;
    if (strcmp(row.subscription, subscription) != 0 || strcmp(row.geography, geography) != 0)
        return kl_fail(err, KL_BACKUP_SCOPE, "backup",
                       "the backup belongs to another subscription or geography");
    return KL_OK;
}

enum kl_code kl_backup_open(struct kl_model *m, struct kl_vault *v, const void *blob, size_t n,
                            struct kl_backup *ret, struct kl_seal_domain *ret_domain,
                            struct kl_token **ret_token, struct kl_err *err)
{
    struct kl_token *token;
    struct kl_backup b = {.versions = NULL};
    enum kl_code code = kl_backup_decode(blob, n, &b, err);
    if (code == KL_OK)
        code = kl_vault_token(v, &token, err);
    if (code == KL_OK)
        code = kl_domain_named(token, b.domain, ret_domain, err);
    if (code == KL_OK)
        code = kl_domain_check_seal(token, ret_domain, seal_label, b.content.bytes, b.content.len,
                                    b.mac, err);
    if (code == KL_OK)
        code = kl_backup_check_scope(m, v, b.subscription, b.geography, err);
    if (code != KL_OK) {
        kl_backup_done(&b);
        return code;
    }
    *ret = b;
    *ret_token = token;
    return KL_OK;
}

void kl_backup_unwrap_request(const struct kl_backup_version *from, enum kl_token_call call,
                              struct kl_token_request *ret)
{
    const struct kl_version_row *row = &from->row;
    *ret = (struct kl_token_request){.call = call,
                                     .spec = {.type = (enum kl_key_type)row->type,
                                              .bits = (uint32_t)row->bits,
                                              .curve = (enum kl_curve)row->curve,
                                              .profile = KL_PROFILE_DOMAIN,
                                              .may_decrypt = row->type == KL_KEY_RSA,
                                              .may_sign = true},
                                     .mechanism = from->mechanism,
                                     .input = from->wrapped.bytes,
                                     .input_len = from->wrapped.len};
    kl_spki_hash(row->spki.bytes, row->spki.len, ret->key.spki_hash);
}

static enum kl_code unwrap(struct kl_birth *b, const struct kl_backup_version *from, size_t at,
                           const char *vault_name, struct kl_err *err)
{
    const struct kl_version_row *row = &b->rows[at];
    struct kl_token_request req;
    kl_backup_unwrap_request(from, KL_CALL_UNWRAP, &req);
    memcpy(req.key.id, row->token_key, sizeof req.key.id);
    (void)snprintf(req.spec.label, sizeof req.spec.label, "%.24s/%.30s/%.6s", vault_name, b->name,
                   row->version);
    b->touched = at + 1;
    return kl_token_call(b->token, &req, NULL, NULL, err);
}

static void fill_rows(const struct kl_backup *b, const char *token_name,
                      struct kl_version_row *rows)
{
    for (size_t i = 0; i < b->count; i++) {
        struct kl_version_row *row = &rows[i];
        *row = b->versions[i].row;
        row->restored = 1;
        (void)snprintf(row->token, sizeof row->token, "%s", token_name);
        kl_birth_ids(row, false);
        kl_spki_hash(row->spki.bytes, row->spki.len, row->spki_hash);
    }
}

static enum kl_code restore_rows(struct kl_birth *birth, const struct kl_backup *b,
                                 const char *vault_name, struct kl_key_version **ret,
                                 struct kl_err *err)
{
    fill_rows(b, birth->token->name, birth->rows);
    enum kl_code code = kl_birth_begin(birth, err);
    if (code != KL_OK)
        return code;
    for (size_t i = 0; i < b->count && code == KL_OK; i++)
        code = unwrap(birth, &b->versions[i], i, vault_name, err);
    if (code != KL_OK) {
        kl_birth_undo(birth);
        return code;
    }
    return kl_birth_ready(birth, ret, err);
}

enum kl_code kl_key_restore(struct kl_model *m, struct kl_vault *v, const void *blob, size_t n,
                            struct kl_key_version **ret, struct kl_err *err)
{
    const struct kl_birth plain = {.managed = false};
    return kl_key_restore_managed(m, v, blob, n, NULL, &plain, ret, err);
}

enum kl_code kl_key_restore_managed(struct kl_model *m, struct kl_vault *v, const void *blob,
                                    size_t n, const char *name, const struct kl_birth *like,
                                    struct kl_key_version **ret, struct kl_err *err)
{
    struct kl_token *token;
    struct kl_seal_domain domain;
    struct kl_backup b = {.versions = NULL};
    enum kl_code code = kl_backup_open(m, v, blob, n, &b, &domain, &token, err);
    struct kl_version_row *rows = code == KL_OK ? calloc(b.count, sizeof *rows) : NULL;
    if (code == KL_OK && name != NULL && strcmp(name, b.name) != 0)
        code = kl_fail(err, KL_BACKUP_MALFORMED, "backup", "the key has another name");
    if (code == KL_OK && rows == NULL)
        code = kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for a restore");
    if (code == KL_OK) {
        struct kl_birth birth = {.m = m,
                                 .vault_id = v->id,
                                 .name = b.name,
                                 .token = token,
                                 .vouching = v->token_name,
                                 .rows = rows,
                                 .count = b.count,
                                 .managed = like->managed,
                                 .also = like->also,
                                 .also_arg = like->also_arg,
                                 .name_must_be_free = true};
        code = restore_rows(&birth, &b, v->name, ret, err);
        if (code == KL_OK)
            code = kl_home_settle(m, v, birth.object.id, ret, err);
    }
    free(rows);
    kl_backup_done(&b);
    return code;
}
