/* Sealed copies of keys, and their way back. */
#include "keyvault/model/backup_blob.h"
#include "keyvault/model/birth.h"
#include "keyvault/model/key.h"
#include "keyvault/model/softdelete.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

static const char domain_label[] = "kluis domain 1"; /* the labels count with their NUL */
static const char seal_label[] = "kluis key backup 1";

static enum kl_code token_mac(struct kl_token *token, const void *input, size_t n,
                              uint8_t ret[static KL_BACKUP_MAC_LEN], struct kl_err *err)
{
    struct kl_token_request req = {.call = KL_CALL_MAC, .input = input, .input_len = n};
    KL_AUTO(secret) out = NULL;
    enum kl_code code = kl_token_call(token, &req, &out, NULL, err);
    if (code == KL_OK && kl_secret_len(out) != KL_BACKUP_MAC_LEN)
        code = kl_fail(err, KL_INTERNAL, "KL_CALL_MAC", "a MAC of a wrong length");
    if (code == KL_OK)
        memcpy(ret, kl_secret_bytes(out), KL_BACKUP_MAC_LEN);
    return code;
}

/* Names the domain without giving a MAC of it away. */
static enum kl_code domain_id(struct kl_token *token, uint8_t ret[static KL_BACKUP_DOMAIN_LEN],
                              struct kl_err *err)
{
    uint8_t mac[KL_BACKUP_MAC_LEN];
    enum kl_code code = token_mac(token, domain_label, sizeof domain_label, mac, err);
    if (code == KL_OK && EVP_Digest(mac, sizeof mac, ret, NULL, EVP_sha256(), NULL) != 1)
        code = kl_fail_ossl(err, "EVP_Digest", "cannot compute a domain id");
    return code;
}

/* A token takes 16 KiB at most, so it is given the digest. */
static enum kl_code seal_of(struct kl_token *token, const void *content, size_t n,
                            uint8_t ret[static KL_BACKUP_MAC_LEN], struct kl_err *err)
{
    uint8_t input[sizeof seal_label + 32];
    memcpy(input, seal_label, sizeof seal_label);
    if (EVP_Digest(content, n, input + sizeof seal_label, NULL, EVP_sha256(), NULL) != 1)
        return kl_fail_ossl(err, "EVP_Digest", "cannot compute a digest");
    return token_mac(token, input, sizeof input, ret, err);
}

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
                              struct copy *c, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_object_row object;
    if (!kl_name_valid(name))
        return kl_key_missing(err, name);
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_object_read(t, v->id, name, &object, err);
    if (code == KL_NOT_FOUND || (code == KL_OK && object.state != KL_LIFE_ACTIVE))
        return kl_key_missing(err, name);
    if (code == KL_OK)
        code = count_versions(t, object.id, err);
    if (code == KL_OK)
        code =
            kl_snapshot_versions(m, t, &object, KL_Q_VERSIONS_READY, KL_ARGS(KL_ARG_INT(object.id)),
                                 c->versions, KL_BACKUP_VERSIONS_MAX, &c->count, err);
    return code;
}

static enum kl_code put_wrapped(struct kl_buf *out, struct kl_token *token,
                                const struct kl_key_version *k, struct kl_err *err)
{
    struct kl_token_request req = {.call = KL_CALL_WRAP, .key = k->ref};
    KL_AUTO(secret) wrapped = NULL;
    uint64_t mechanism = 0;
    if (k->token != token)
        return kl_fail(err, KL_TOKEN_UNSUPPORTED, "backup",
                       "version %s is on token %s, outside of its vault's domain", k->version,
                       k->token_name);
    enum kl_code code = kl_token_call(token, &req, &wrapped, &mechanism, err);
    if (code == KL_OK)
        kl_backup_put_version(out, k, mechanism, kl_secret_bytes(wrapped), kl_secret_len(wrapped));
    return code;
}

static enum kl_code put_blob(struct kl_buf *out, struct kl_token *token, const struct kl_vault *v,
                             const struct copy *c, struct kl_err *err)
{
    uint8_t domain[KL_BACKUP_DOMAIN_LEN], seal[KL_BACKUP_MAC_LEN];
    enum kl_code code = domain_id(token, domain, err);
    if (code != KL_OK)
        return code;
    kl_backup_put_head(out, domain, v, c->versions[0]->name, c->count);
    for (size_t i = 0; i < c->count && code == KL_OK; i++)
        code = put_wrapped(out, token, c->versions[i], err);
    kl_backup_put_length(out);
    if (code == KL_OK && !kl_buf_failed(out))
        code = seal_of(token, out->bytes, out->len, seal, err);
    if (code == KL_OK)
        kl_buf_put(out, seal, sizeof seal);
    return code;
}

enum kl_code kl_key_backup(struct kl_model *m, struct kl_vault *v, const char *name,
                           struct kl_buf *ret, struct kl_err *err)
{
    struct kl_token *token;
    struct kl_buf blob = KL_BUF_INIT(KL_BACKUP_BYTES_MAX);
    struct copy *c = calloc(1, sizeof *c);
    if (c == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for a backup");
    enum kl_code code = read_copy(m, v, name, c, err);
    if (code == KL_OK && c->count == 0)
        code = kl_key_missing(err, name);
    if (code == KL_OK)
        code = kl_model_token_named(m, v->token_name, &token, err);
    if (code == KL_OK)
        code = put_blob(&blob, token, v, c, err);
    if (code == KL_OK) {
        kl_buf_put(ret, blob.bytes, blob.len);
        if (kl_buf_failed(&blob) || kl_buf_failed(ret))
            code = kl_fail(err, KL_TOO_BIG, "backup", "the backup is too big");
    }
    kl_buf_done(&blob);
    copy_done(c);
    return code;
}

/* --- restore --- */

static enum kl_code check_seal(struct kl_token *token, const struct kl_backup *b,
                               struct kl_err *err)
{
    uint8_t domain[KL_BACKUP_DOMAIN_LEN], seal[KL_BACKUP_MAC_LEN];
    enum kl_code code = domain_id(token, domain, err);
    if (code != KL_OK)
        return code;
    if (CRYPTO_memcmp(domain, b->domain, sizeof domain) != 0)
        return kl_fail(err, KL_BACKUP_DOMAIN, "backup", "the backup was not made in this domain");
    code = seal_of(token, b->content.bytes, b->content.len, seal, err);
    if (code == KL_OK && CRYPTO_memcmp(seal, b->mac, sizeof seal) != 0)
        return kl_fail(err, KL_BACKUP_MALFORMED, "backup",
                       "Backup blob contains invalid or corrupt version.");
    return code;
}

/* The vault's labels decide, so their row is checked as well. */
static enum kl_code check_scope(struct kl_model *m, struct kl_vault *v, const struct kl_backup *b,
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
    if (strcmp(row.subscription, b->subscription) != 0 || strcmp(row.geography, b->geography) != 0)
        return kl_fail(err, KL_BACKUP_SCOPE, "backup",
                       "the backup belongs to another subscription or geography");
    return KL_OK;
}

static enum kl_code unwrap(struct kl_birth *b, const struct kl_backup_version *from, size_t at,
                           const char *vault_name, struct kl_err *err)
{
    const struct kl_version_row *row = &b->rows[at];
    struct kl_token_request req = {.call = KL_CALL_UNWRAP,
                                   .spec = {.type = (enum kl_key_type)row->type,
                                            .bits = (uint32_t)row->bits,
                                            .curve = (enum kl_curve)row->curve,
                                            .profile = KL_PROFILE_DOMAIN,
                                            .may_decrypt = row->type == KL_KEY_RSA,
                                            .may_sign = true},
                                   .mechanism = from->mechanism,
                                   .input = from->wrapped.bytes,
                                   .input_len = from->wrapped.len};
    memcpy(req.key.id, row->token_key, sizeof req.key.id);
    memcpy(req.key.spki_hash, row->spki_hash, sizeof req.key.spki_hash);
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
    struct kl_token *token;
    struct kl_backup b = {.versions = NULL};
    enum kl_code code = kl_backup_decode(blob, n, &b, err);
    if (code == KL_OK)
        code = kl_model_token_named(m, v->token_name, &token, err);
    if (code == KL_OK)
        code = check_seal(token, &b, err);
    if (code == KL_OK)
        code = check_scope(m, v, &b, err);
    struct kl_version_row *rows = code == KL_OK ? calloc(b.count, sizeof *rows) : NULL;
    if (code == KL_OK && rows == NULL)
        code = kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for a restore");
    if (code == KL_OK) {
        struct kl_birth birth = {.m = m,
                                 .vault_id = v->id,
                                 .name = b.name,
                                 .token = token,
                                 .rows = rows,
                                 .count = b.count,
                                 .name_must_be_free = true};
        code = restore_rows(&birth, &b, v->name, ret, err);
    }
    free(rows);
    kl_backup_done(&b);
    return code;
}
