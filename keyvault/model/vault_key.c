#include "keyvault/model/vault_key.h"

#include "base/clock.h"
#include "base/log.h"
#include "keyvault/model/home.h"
#include "keyvault/model/inside.h"
#include "keyvault/model/sealed.h"

#include <openssl/crypto.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <string.h>

#define KEY_LEN     ((size_t)2 * KL_SEALED_KEY_LEN)
#define SLOTS       64     /* vaults whose key is at hand */
#define PROOF_MS    60000  /* sealing wants a proof not older than this */
#define LIFE_MS     300000 /* opening, than this */
#define WRAPPED_MAX 512    /* bytes: RSA-4096 */

struct kl_vault_key {
    atomic_int refs;
    int64_t id;
    struct kl_secret *bytes; /* KEY_LEN */
};

struct slot {
    struct kl_vault_key *key; /* NULL = free */
    int64_t proved_ms, used;
    bool renewing;
};

struct kl_vault_keys {
    pthread_mutex_t lock;
    struct slot slots[SLOTS];
    int64_t turn;
};

/* --- keys and their cache --- */

static struct kl_vault_key *ref(struct kl_vault_key *k)
{
    (void)atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    return k;
}

void kl_vault_key_unref(struct kl_vault_key *k)
{
    if (k == NULL || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) != 1)
        return;
    kl_secret_free(k->bytes);
    free(k);
}

int64_t kl_vault_key_id(const struct kl_vault_key *k)
{
    return k->id;
}

const uint8_t *kl_vault_key_cipher(const struct kl_vault_key *k)
{
    return kl_secret_bytes(k->bytes);
}

const uint8_t *kl_vault_key_mac(const struct kl_vault_key *k)
{
    return kl_secret_bytes(k->bytes) + KL_SEALED_KEY_LEN;
}

struct kl_vault_keys *kl_vault_keys_new(void)
{
    struct kl_vault_keys *keys = calloc(1, sizeof *keys);
    if (keys != NULL)
        (void)pthread_mutex_init(&keys->lock, NULL);
    return keys;
}

void kl_vault_keys_free(struct kl_vault_keys *keys)
{
    if (keys == NULL)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        kl_vault_key_unref(keys->slots[i].key);
    (void)pthread_mutex_destroy(&keys->lock);
    free(keys);
}

static struct slot *slot_of(struct kl_vault_keys *keys, int64_t id)
{
    for (size_t i = 0; i < SLOTS; i++)
        if (keys->slots[i].key != NULL && keys->slots[i].key->id == id)
            return &keys->slots[i];
    return NULL;
}

/* The key if it was proved less than max_ms ago. */
static struct kl_vault_key *look_up(struct kl_vault_keys *keys, int64_t id, int64_t max_ms)
{
    struct kl_vault_key *k = NULL;
    (void)pthread_mutex_lock(&keys->lock);
    struct slot *s = slot_of(keys, id);
    if (s != NULL && kl_clock_mono_ms() - s->proved_ms < max_ms) {
        s->used = ++keys->turn;
        k = ref(s->key);
    }
    (void)pthread_mutex_unlock(&keys->lock);
    return k;
}

struct kl_vault_key *kl_vault_key_at_hand(struct kl_model *m, int64_t id)
{
    struct kl_vault_keys *keys = m->vault_keys;
    struct kl_vault_key *k = NULL;
    (void)pthread_mutex_lock(&keys->lock);
    struct slot *s = slot_of(keys, id);
    int64_t age = s != NULL ? kl_clock_mono_ms() - s->proved_ms : LIFE_MS;
    if (age < LIFE_MS / 2 || (age < LIFE_MS && s->renewing)) {
        s->used = ++keys->turn;
        k = ref(s->key);
    } else if (s != NULL) {
        s->renewing = true;
    }
    (void)pthread_mutex_unlock(&keys->lock);
    return k;
}

static void no_longer_renewing(struct kl_vault_keys *keys, int64_t id)
{
    (void)pthread_mutex_lock(&keys->lock);
    struct slot *s = slot_of(keys, id);
    if (s != NULL)
        s->renewing = false;
    (void)pthread_mutex_unlock(&keys->lock);
}

/* In place of what was there under its id, else of what was used longest ago. */
static void keep(struct kl_vault_keys *keys, struct kl_vault_key *k)
{
    (void)pthread_mutex_lock(&keys->lock);
    struct slot *s = slot_of(keys, k->id);
    for (size_t i = 0; s == NULL && i < SLOTS; i++)
        if (keys->slots[i].key == NULL)
            s = &keys->slots[i];
    if (s == NULL) {
        s = &keys->slots[0];
        for (size_t i = 1; i < SLOTS; i++)
            if (keys->slots[i].used < s->used)
                s = &keys->slots[i];
    }
    kl_vault_key_unref(s->key);
    *s = (struct slot){.key = ref(k), .proved_ms = kl_clock_mono_ms(), .used = ++keys->turn};
    (void)pthread_mutex_unlock(&keys->lock);
}

/* --- rows --- */

struct stored {
    struct kl_vault_key_row row;
    uint8_t wrapped[WRAPPED_MAX];
};

static enum kl_code copy_row(void *arg, const void *p, struct kl_err *err)
{
    struct stored *to = arg;
    to->row = *(const struct kl_vault_key_row *)p;
    if (to->row.wrapped.len > sizeof to->wrapped)
        return kl_fail(err, KL_CORRUPT, "store", "a stored vault key is too long");
    memcpy(to->wrapped, to->row.wrapped.bytes, to->row.wrapped.len);
    to->row.wrapped.bytes = to->wrapped;
    return KL_OK;
}

/* One row; id 0 = the newest of the vault. KL_NOT_FOUND. */
static enum kl_code read_row(struct kl_model *m, const char *vault_id, int64_t id,
                             struct stored *ret, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    ret->row.id = 0;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK && id == 0)
        code = kl_store_each(t, KL_Q_VAULT_KEY_NEWEST, KL_ARGS(KL_ARG_TEXT(vault_id)), copy_row,
                             ret, err);
    else if (code == KL_OK)
        code = kl_store_each(t, KL_Q_VAULT_KEY_BY_ID,
                             KL_ARGS(KL_ARG_TEXT(vault_id), KL_ARG_INT(id)), copy_row, ret, err);
    if (code == KL_OK && ret->row.id == 0)
        return kl_fail(err, KL_NOT_FOUND, "store", "the vault has no such key for values");
    return code;
}

/* Whoever can write the database could else put a key in place that he knows. */
static enum kl_code row_mac(const struct kl_protector *p, const struct kl_vault_key_row *row,
                            uint8_t ret[static KL_ROW_MAC], struct kl_err *err)
{
    char hex[2 * WRAPPED_MAX + 1], text[2 * WRAPPED_MAX + 512];
    kl_hex(row->wrapped.bytes, row->wrapped.len, hex);
    (void)snprintf(text, sizeof text, "%s %s %s %lld %lld %s", row->vault_id, row->token, row->kek,
                   (long long)row->alg, (long long)row->created, hex);
    return kl_protect_text(p, "vault key 1", text, ret, err);
}

static enum kl_code check_row(const struct kl_protector *p, const struct kl_vault_key_row *row,
                              struct kl_err *err)
{
    uint8_t mac[KL_ROW_MAC];
    enum kl_code code = row_mac(p, row, mac, err);
    if (code != KL_OK || CRYPTO_memcmp(mac, row->mac, sizeof mac) == 0)
        return code;
    kl_log(KL_LOG_ERROR, "stored vault key was changed by a foreign hand vault=%s id=%lld",
           row->vault_id, (long long)row->id);
    return kl_fail(err, KL_CORRUPT, "MAC",
                   "the stored key of this vault was changed by a foreign hand");
}

/* --- the token --- */

/* In the order of preference. */
static const struct {
    enum kl_token_alg alg;
    const char *digest;
} algs[] = {{KL_ALG_OAEP_SHA256, "SHA256"}, {KL_ALG_OAEP_SHA1, "SHA1"}};

static enum kl_code unwrap(const struct kl_key_version *kek, const struct kl_vault_key_row *row,
                           struct kl_vault_key **ret, struct kl_err *err)
{
    const struct kl_token_request req = {.call = KL_CALL_DECRYPT,
                                         .alg = (enum kl_token_alg)row->alg,
                                         .input = row->wrapped.bytes,
                                         .input_len = row->wrapped.len};
    KL_AUTO(secret) bytes = NULL;
    enum kl_code code = kl_home_call(kek, &req, &bytes, err);
    if (code == KL_OK && kl_secret_len(bytes) != KEY_LEN)
        code = KL_DECRYPT_FAILED;
    if (code == KL_DECRYPT_FAILED)
        return kl_fail(err, KL_CORRUPT, "C_Decrypt", "the stored key of this vault does not open");
    if (code != KL_OK)
        return code;
    struct kl_vault_key *k = calloc(1, sizeof *k);
    if (k == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for a vault key");
    atomic_init(&k->refs, 1);
    k->id = row->id;
    k->bytes = kl_take(bytes);
    *ret = k;
    return KL_OK;
}

static void purpose_of(const char *token, char out[static KL_ROW_NAME])
{
    (void)snprintf(out, KL_ROW_NAME, "values-%.100s", token);
}

static enum kl_code open_by_token(struct kl_model *m, const struct kl_vault *v, int64_t id,
                                  struct kl_vault_key **ret, struct kl_err *err)
{
    KL_AUTO_PROTECTOR p = {NULL};
    KL_AUTO(key_version) kek = NULL;
    struct stored s;
    char purpose[KL_ROW_NAME];
    enum kl_code code = kl_protect_open(m, v->token_name, &p, err);
    if (code == KL_OK)
        code = read_row(m, v->id, id, &s, err);
    if (code == KL_OK)
        code = check_row(&p, &s.row, err);
    if (code != KL_OK)
        return code;
    purpose_of(s.row.token, purpose);
    code = kl_system_key_version(m, purpose, s.row.kek, &kek, err);
    return code == KL_OK ? unwrap(kek, &s.row, ret, err) : code;
}

enum kl_code kl_vault_key_open(struct kl_model *m, const struct kl_vault *v, int64_t id,
                               struct kl_vault_key **ret, struct kl_err *err)
{
    struct kl_vault_key *k = NULL;
    enum kl_code code = open_by_token(m, v, id, &k, err);
    if (code == KL_OK) {
        keep(m->vault_keys, k);
    } else if (code != KL_CORRUPT && code != KL_NOT_FOUND) {
        no_longer_renewing(m->vault_keys, id);
        k = look_up(m->vault_keys, id, LIFE_MS);
        if (k == NULL)
            return code;
    } else {
        return code;
    }
    *ret = k;
    return KL_OK;
}

/* --- a new one --- */

static enum kl_code kek_spec(struct kl_token *token, struct kl_key_spec *ret_spec, size_t *ret_alg,
                             struct kl_err *err)
{
    struct kl_token_status status;
    size_t i = 0;
    kl_token_status(token, &status);
    if (status.state != KL_TOKEN_READY)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "token", "token %s is not ready", token->name);
    while (i < KL_COUNT(algs) && (status.caps.algs & (UINT32_C(1) << algs[i].alg)) == 0)
        i++;
    if (i == KL_COUNT(algs))
        return kl_fail(err, KL_TOKEN_UNSUPPORTED, "token",
                       "token %s cannot keep secrets: it has no RSA-OAEP", token->name);
    *ret_alg = i;
    *ret_spec = (struct kl_key_spec){.type = KL_KEY_RSA,
                                     .bits = status.caps.rsa_bits_ok[1] != 0 ? 3072 : 2048,
                                     .may_decrypt = true};
    return KL_OK;
}

KL_AUTO_DEFINE(pkey_ctx, EVP_PKEY_CTX, EVP_PKEY_CTX_free);

static enum kl_code wrap(const struct kl_key_version *kek, size_t alg, const uint8_t *bytes,
                         struct stored *s, struct kl_err *err)
{
    KL_AUTO(pkey_ctx) c = EVP_PKEY_CTX_new(kek->public_key, NULL);
    const EVP_MD *md = EVP_get_digestbyname(algs[alg].digest);
    size_t n = sizeof s->wrapped;
    if (c == NULL || EVP_PKEY_encrypt_init(c) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_OAEP_PADDING) != 1 ||
        EVP_PKEY_CTX_set_rsa_oaep_md(c, md) != 1 || EVP_PKEY_CTX_set_rsa_mgf1_md(c, md) != 1 ||
        EVP_PKEY_encrypt(c, s->wrapped, &n, bytes, KEY_LEN) != 1)
        return kl_fail_ossl(err, "EVP_PKEY_encrypt", "a vault key cannot be wrapped");
    s->row.alg = algs[alg].alg;
    s->row.wrapped = (struct kl_store_bytes){s->wrapped, n};
    return KL_OK;
}

/* What the token gives back must be what was wrapped, before a row of it exists. */
static enum kl_code prove(const struct kl_key_version *kek, const struct stored *s,
                          const uint8_t *bytes, struct kl_vault_key **ret, struct kl_err *err)
{
    KL_AUTO(vault_key) k = NULL;
    enum kl_code code = unwrap(kek, &s->row, &k, err);
    if (code == KL_OK && CRYPTO_memcmp(kl_secret_bytes(k->bytes), bytes, KEY_LEN) != 0)
        code = kl_fail(err, KL_TOKEN_READBACK, "C_Decrypt",
                       "the token gave another vault key back than was wrapped");
    if (code == KL_OK)
        *ret = kl_take(k);
    return code;
}

static enum kl_code store_row(struct kl_model *m, const struct kl_vault *v, struct stored *s,
                              struct kl_err *err)
{
    KL_AUTO_PROTECTOR p = {NULL};
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_protect_open(m, v->token_name, &p, err);
    if (code == KL_OK)
        code = row_mac(&p, &s->row, s->row.mac, err);
    if (code == KL_OK)
        code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_store_insert(t, KL_Q_VAULT_KEY_INSERT, &s->row, &s->row.id, err);
    return code == KL_OK ? kl_model_commit(m, t, err) : code;
}

static enum kl_code make_with(struct kl_model *m, const struct kl_vault *v,
                              const struct kl_key_version *kek, size_t alg, struct kl_secret *bytes,
                              struct kl_vault_key **ret, struct kl_err *err)
{
    KL_AUTO(vault_key) k = NULL;
    struct stored s = {.row = {.created = kl_clock_unix()}};
    (void)snprintf(s.row.vault_id, sizeof s.row.vault_id, "%s", v->id);
    (void)snprintf(s.row.token, sizeof s.row.token, "%s", kek->token_name);
    (void)snprintf(s.row.kek, sizeof s.row.kek, "%s", kek->version);
    enum kl_code code = wrap(kek, alg, kl_secret_bytes(bytes), &s, err);
    if (code == KL_OK)
        code = prove(kek, &s, kl_secret_bytes(bytes), &k, err);
    if (code == KL_OK)
        code = store_row(m, v, &s, err);
    if (code != KL_OK)
        return code;
    k->id = s.row.id;
    keep(m->vault_keys, k);
    *ret = kl_take(k);
    return KL_OK;
}

/* Two that are made at once may both be used; each row of a secret names its own. */
static enum kl_code make(struct kl_model *m, const struct kl_vault *v, struct kl_vault_key **ret,
                         struct kl_err *err)
{
    KL_AUTO(key_version) kek = NULL;
    KL_AUTO(secret) bytes = kl_secret_new(KEY_LEN);
    struct kl_token *token; /* of the vault's the first that is there */
    struct kl_key_spec spec;
    size_t alg = 0;
    char purpose[KL_ROW_NAME];
    if (bytes == NULL || kl_secret_resize(bytes, KEY_LEN) != KL_OK)
        return kl_fail(err, KL_NO_MEMORY, "kl_secret_new", "no memory for a vault key");
    kl_random(kl_secret_bytes(bytes), KEY_LEN);
    enum kl_code code = kl_vault_token(v, &token, err);
    if (code == KL_OK)
        code = kek_spec(token, &spec, &alg, err);
    if (code == KL_OK) {
        purpose_of(token->name, purpose);
        code = kl_model_system_key(m, token, purpose, &spec, &kek, err);
    }
    return code == KL_OK ? make_with(m, v, kek, alg, bytes, ret, err) : code;
}

enum kl_code kl_vault_key_for_sealing(struct kl_model *m, const struct kl_vault *v,
                                      struct kl_vault_key **ret, struct kl_err *err)
{
    struct stored s;
    enum kl_code code = read_row(m, v->id, 0, &s, err);
    if (code == KL_NOT_FOUND)
        return make(m, v, ret, err);
    if (code != KL_OK)
        return code;
    struct kl_vault_key *k = look_up(m->vault_keys, s.row.id, PROOF_MS);
    if (k == NULL) {
        code = open_by_token(m, v, s.row.id, &k, err);
        if (code != KL_OK)
            return code;
        keep(m->vault_keys, k);
    }
    *ret = k;
    return KL_OK;
}
