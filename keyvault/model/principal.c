#include "keyvault/model/inside.h"

#include "base/clock.h"
#include "base/log.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

#define SECRET_BYTES 32

/* SHA-256(salt || secret): the secret is 256 random bits, so nothing slower is of use. */
static bool hash_secret(const uint8_t salt[static 16], const void *secret, size_t n,
                        uint8_t ret[static 32])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) > 0 &&
              EVP_DigestUpdate(ctx, salt, 16) > 0 && EVP_DigestUpdate(ctx, secret, n) > 0 &&
              EVP_DigestFinal_ex(ctx, ret, NULL) > 0;
    EVP_MD_CTX_free(ctx);
    return ok;
}

bool kl_principal_secret_ok(const struct kl_principal *p, struct kl_secret *secret)
{
    uint8_t hash[32];
    bool ok = hash_secret(p->secret_salt, kl_secret_bytes(secret), kl_secret_len(secret), hash) &&
              CRYPTO_memcmp(hash, p->secret_hash, sizeof hash) == 0;
    kl_wipe(hash, sizeof hash);
    return ok;
}

static enum kl_code make_secret(struct kl_principal *p, struct kl_secret **ret, struct kl_err *err)
{
    uint8_t random[SECRET_BYTES];
    struct kl_buf text = KL_BUF_INIT(KL_B64URL_LEN(SECRET_BYTES) + 1);
    KL_AUTO(secret) s = kl_secret_new(KL_B64URL_LEN(SECRET_BYTES));
    kl_random(random, sizeof random);
    kl_random(p->secret_salt, sizeof p->secret_salt);
    kl_b64url_put(&text, random, sizeof random);
    kl_wipe(random, sizeof random);
    bool ok = s != NULL && !kl_buf_failed(&text) &&
              kl_secret_append(s, text.bytes, text.len) == KL_OK &&
              hash_secret(p->secret_salt, text.bytes, text.len, p->secret_hash);
    kl_buf_wipe(&text);
    if (!ok)
        return kl_fail(err, KL_NO_MEMORY, "secret", "no memory for a client secret");
    *ret = kl_take(s);
    return KL_OK;
}

static void row_of(const struct kl_principal *p, struct kl_principal_row *row)
{
    *row = (struct kl_principal_row){
        .roles = p->roles, .disabled = p->disabled, .created = p->created};
    memcpy(row->object_id, p->object_id, sizeof row->object_id);
    memcpy(row->client_id, p->client_id, sizeof row->client_id);
    memcpy(row->name, p->name, sizeof row->name);
    kl_model_fold(p->name, row->folded, sizeof row->folded);
    memcpy(row->salt, p->secret_salt, sizeof row->salt);
    memcpy(row->hash, p->secret_hash, sizeof row->hash);
}

static enum kl_code write_principal(struct kl_model *m, const struct kl_principal *p,
                                    struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_principal_row row;
    row_of(p, &row);
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_world_reserve(&m->world, err);
    if (code == KL_OK)
        code = kl_store_insert(t, KL_Q_PRINCIPAL_INSERT, &row, NULL, err);
    if (code == KL_EXISTS)
        return kl_fail(err, KL_EXISTS, "principal", "a principal named %s exists", p->name);
    if (code == KL_OK)
        code = kl_model_commit(m, t, err);
    if (code == KL_OK)
        kl_world_put_principal(&m->world, p);
    return code;
}

enum kl_code kl_principal_create(struct kl_model *m, const char *name, unsigned roles,
                                 struct kl_principal *ret, struct kl_secret **ret_secret,
                                 struct kl_err *err)
{
    struct kl_principal p = {.roles = roles, .created = kl_clock_unix()};
    KL_AUTO(secret) secret = NULL;
    size_t n = strlen(name);
    if (n == 0 || n >= sizeof p.name || kl_uuid_valid(name))
        return kl_fail(err, KL_BAD_INPUT, "name",
                       "a principal's name has 1 to %zu bytes and is no GUID", sizeof p.name - 1);
    memcpy(p.name, name, n);
    kl_uuid_new(p.object_id);
    kl_uuid_new(p.client_id);
    enum kl_code code = make_secret(&p, &secret, err);
    if (code == KL_OK)
        code = write_principal(m, &p, err);
    if (code != KL_OK)
        return code;
    *ret = p;
    *ret_secret = kl_take(secret);
    return KL_OK;
}

static bool answers_to(const struct kl_principal *p, const char *any)
{
    return strcasecmp(p->client_id, any) == 0 || strcasecmp(p->object_id, any) == 0 ||
           strcasecmp(p->name, any) == 0;
}

enum kl_code kl_principal_find(struct kl_model *m, const char *any, struct kl_principal *ret,
                               struct kl_err *err)
{
    struct kl_world *w = &m->world;
    bool found = false;
    (void)pthread_rwlock_rdlock(&w->lock);
    for (size_t i = 0; i < w->now.principal_count && !found; i++)
        if (answers_to(&w->now.principals[i], any)) {
            *ret = w->now.principals[i];
            found = true;
        }
    (void)pthread_rwlock_unlock(&w->lock);
    return found ? KL_OK : kl_fail(err, KL_NOT_FOUND, "principal", "no principal %s", any);
}

enum kl_code kl_principal_list(struct kl_model *m, struct kl_principal **ret, size_t *ret_count,
                               struct kl_err *err)
{
    struct kl_world *w = &m->world;
    (void)pthread_rwlock_rdlock(&w->lock);
    size_t count = w->now.principal_count;
    struct kl_principal *list = calloc(count + 1, sizeof *list);
    if (list != NULL && count > 0)
        memcpy(list, w->now.principals, count * sizeof *list);
    (void)pthread_rwlock_unlock(&w->lock);
    if (list == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for a list of principals");
    *ret = list;
    *ret_count = count;
    return KL_OK;
}

/* Under a write session, so that two deletions cannot both leave the other one as the last. */
static bool is_last_administrator(struct kl_world *w, const char *object_id)
{
    bool is_one = false, another = false;
    (void)pthread_rwlock_rdlock(&w->lock);
    for (size_t i = 0; i < w->now.principal_count; i++) {
        const struct kl_principal *p = &w->now.principals[i];
        bool administrator = (p->roles & KL_ROLE_ADMINISTRATOR) != 0 && !p->disabled;
        if (strcasecmp(p->object_id, object_id) == 0)
            is_one = administrator;
        else
            another = another || administrator;
    }
    (void)pthread_rwlock_unlock(&w->lock);
    return is_one && !another;
}

static enum kl_code delete_rows(struct kl_model *m, struct kl_store_session *t,
                                const char *object_id, struct kl_err *err)
{
    int64_t changed = 0;
    if (is_last_administrator(&m->world, object_id))
        return kl_fail(err, KL_CONFLICT, "principal", "the last administrator cannot be removed");
    enum kl_code code =
        kl_store_run(t, KL_Q_POLICIES_DELETE_PRINCIPAL, KL_ARGS(KL_ARG_TEXT(object_id)), NULL, err);
    if (code == KL_OK)
        code =
            kl_store_run(t, KL_Q_PRINCIPAL_DELETE, KL_ARGS(KL_ARG_TEXT(object_id)), &changed, err);
    if (code == KL_OK && changed == 0)
        code = kl_fail(err, KL_NOT_FOUND, "principal", "no principal %s", object_id);
    return code;
}

enum kl_code kl_principal_delete(struct kl_model *m, const char *object_id, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_principal p;
    enum kl_code code = kl_principal_find(m, object_id, &p, err);
    if (code == KL_OK)
        code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = delete_rows(m, t, p.object_id, err);
    if (code == KL_OK)
        code = kl_model_commit(m, t, err);
    if (code != KL_OK)
        return code;
    kl_world_drop_principal(&m->world, p.object_id);
    /* Vault snapshots name the principal in their policies; a policy of nobody left in memory lets
     * nobody in. */
    struct kl_err e;
    if (kl_world_load(m, t, &e) != KL_OK)
        kl_log_err(KL_LOG_WARNING, "reading the policies again", &e);
    return KL_OK;
}
