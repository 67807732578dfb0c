#include "keyvault/model/escrow.h"

#include "base/encoding.h"
#include "base/log.h"
#include "keyvault/model/inside.h"

#include <openssl/evp.h>
#include <string.h>

#define NONCE_LEN  12
#define TAG_LEN    16
#define KEY_LEN    32
#define SEALED_LEN (NONCE_LEN + KEY_LEN + TAG_LEN)
#define NOTE_MAX   (2 * KL_ROW_NAME + 32)

static const char purpose[] = "kluis row key escrow 1 ";

KL_AUTO_DEFINE(cipher_ctx, EVP_CIPHER_CTX, EVP_CIPHER_CTX_free);

static void note_name(const char *whose, const char *holder, char out[static NOTE_MAX])
{
    (void)snprintf(out, NOTE_MAX, "row-key %s with %s", whose, holder);
}

static bool is_ready(struct kl_token *t)
{
    struct kl_token_status status;
    kl_token_status(t, &status);
    return status.state == KL_TOKEN_READY;
}

/* What encrypts the row key of `whose` in the hands of `holder`. */
static enum kl_code sealing_key(struct kl_token *holder, const char *whose, struct kl_secret **ret,
                                struct kl_err *err)
{
    char label[sizeof purpose + KL_ROW_NAME];
    int n = snprintf(label, sizeof label, "%s%s", purpose, whose);
    struct kl_token_request req = {
        .call = KL_CALL_MAC, .count = KL_MAC_KEY_EXISTS, .input = label, .input_len = (size_t)n};
    KL_AUTO(secret) key = NULL;
    enum kl_code code = kl_token_call(holder, &req, &key, NULL, err);
    if (code == KL_OK && kl_secret_len(key) != KEY_LEN)
        code = kl_fail(err, KL_INTERNAL, "KL_CALL_MAC", "token %s made a MAC of a wrong length",
                       holder->name);
    if (code == KL_OK)
        *ret = kl_take(key);
    return code;
}

static enum kl_code seal(struct kl_secret *under, struct kl_secret *key,
                         uint8_t out[static SEALED_LEN], struct kl_err *err)
{
    KL_AUTO(cipher_ctx) c = EVP_CIPHER_CTX_new();
    int n = 0;
    kl_random(out, NONCE_LEN);
    if (c == NULL ||
        EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, kl_secret_bytes(under), out) != 1 ||
        EVP_EncryptUpdate(c, out + NONCE_LEN, &n, kl_secret_bytes(key), KEY_LEN) != 1 ||
        EVP_EncryptFinal_ex(c, out + NONCE_LEN + n, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, out + NONCE_LEN + KEY_LEN) != 1)
        return kl_fail_ossl(err, "AES-256-GCM", "cannot seal a row key");
    return KL_OK;
}

static enum kl_code open_seal(struct kl_secret *under, const uint8_t sealed[static SEALED_LEN],
                              struct kl_secret **ret, struct kl_err *err)
{
    KL_AUTO(cipher_ctx) c = EVP_CIPHER_CTX_new();
    uint8_t key[KEY_LEN];
    uint8_t tag[TAG_LEN];
    int n = 0;
    memcpy(tag, sealed + NONCE_LEN + KEY_LEN, sizeof tag);
    enum kl_code code = KL_OK;
    if (c == NULL ||
        EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, kl_secret_bytes(under), sealed) != 1 ||
        EVP_DecryptUpdate(c, key, &n, sealed + NONCE_LEN, KEY_LEN) != 1 ||
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag) != 1 ||
        EVP_DecryptFinal_ex(c, key + n, &n) != 1)
        code = kl_fail(err, KL_CORRUPT, "AES-256-GCM", "a row key in escrow does not open");
    KL_AUTO(secret) out = kl_secret_new(KEY_LEN);
    if (code == KL_OK && (out == NULL || kl_secret_append(out, key, sizeof key) != KL_OK))
        code = kl_fail(err, KL_NO_MEMORY, "malloc", "no memory for a row key");
    if (code == KL_OK)
        *ret = kl_take(out);
    kl_wipe(key, sizeof key);
    return code;
}

static enum kl_code get_from(const struct kl_model *m, const char *whose, struct kl_token *holder,
                             struct kl_secret **ret, struct kl_err *err)
{
    KL_AUTO(char) text = NULL;
    KL_AUTO(secret) under = NULL;
    char name[NOTE_MAX];
    uint8_t sealed[SEALED_LEN];
    size_t n = 0;
    note_name(whose, holder->name, name);
    enum kl_code code = kl_model_note_get((struct kl_model *)m, name, &text, err);
    if (code == KL_OK &&
        (kl_b64url_decode(text, strlen(text), sealed, sizeof sealed, &n) != KL_OK ||
         n != sizeof sealed))
        code = kl_fail(err, KL_CORRUPT, "store", "the note '%s' is damaged", name);
    if (code == KL_OK)
        code = sealing_key(holder, whose, &under, err);
    return code == KL_OK ? open_seal(under, sealed, ret, err) : code;
}

enum kl_code kl_escrow_get(const struct kl_model *m, const char *token_name, struct kl_secret **ret,
                           struct kl_err *err)
{
    for (size_t i = 0; i < m->token_count; i++)
        if (strcmp(m->tokens[i]->name, token_name) != 0 && is_ready(m->tokens[i]) &&
            get_from(m, token_name, m->tokens[i], ret, err) == KL_OK)
            return KL_OK;
    return kl_fail(err, KL_NOT_FOUND, "escrow", "no token that is ready has the row key of %s",
                   token_name);
}

static enum kl_code put_with(struct kl_model *m, const char *whose, struct kl_secret *key,
                             struct kl_token *holder, struct kl_err *err)
{
    KL_AUTO(secret) there = NULL;
    KL_AUTO(secret) under = NULL;
    char name[NOTE_MAX];
    uint8_t sealed[SEALED_LEN];
    struct kl_buf text = KL_BUF_INIT(256);
    if (get_from(m, whose, holder, &there, err) == KL_OK && kl_secret_equal(there, key))
        return KL_OK;
    enum kl_code code = sealing_key(holder, whose, &under, err);
    if (code == KL_OK)
        code = seal(under, key, sealed, err);
    if (code != KL_OK)
        return code;
    note_name(whose, holder->name, name);
    kl_b64url_put(&text, sealed, sizeof sealed);
    code = kl_buf_failed(&text) ? kl_fail(err, KL_NO_MEMORY, "kl_buf", "no memory for a note")
                                : kl_model_note_put(m, name, kl_buf_text(&text), err);
    kl_buf_done(&text);
    return code;
}

static void put_with_all(struct kl_model *m, struct kl_token *t)
{
    KL_AUTO(secret) key = NULL;
    struct kl_err err;
    enum kl_code code = kl_protect_ask(m, t, &key, &err);
    for (size_t i = 0; i < m->token_count && code == KL_OK; i++)
        if (m->tokens[i] != t && is_ready(m->tokens[i])) {
            code = put_with(m, t->name, key, m->tokens[i], &err);
            if (code == KL_TOKEN_UNSUPPORTED) /* a token without MACs holds nothing for others */
                code = KL_OK;
        }
    if (code != KL_OK && code != KL_TOKEN_UNSUPPORTED)
        kl_log_err(KL_LOG_WARNING, "a row key is not in escrow", &err);
}

void kl_escrow_fill(struct kl_model *m)
{
    for (size_t i = 0; i < m->token_count && m->token_count > 1; i++)
        if (is_ready(m->tokens[i]))
            put_with_all(m, m->tokens[i]);
}
