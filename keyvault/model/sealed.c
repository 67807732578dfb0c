#include "keyvault/model/sealed.h"

#include "base/encoding.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#define NONCE_LEN 12
#define TAG_LEN   16
#define PLACE_MAX 1024 /* bytes of associated data */
#define ROW_MAX   (64 * 1024)

KL_AUTO_DEFINE(cipher, EVP_CIPHER_CTX, EVP_CIPHER_CTX_free);

/* Canonical form: every text behind its length, every number as 8 bytes, big-endian. */
static void put_number(struct kl_buf *b, int64_t number)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)((uint64_t)number >> (56 - 8 * i));
    kl_buf_put(b, bytes, sizeof bytes);
}

/* No text and the empty text are two things. */
static void put_text(struct kl_buf *b, const char *text)
{
    put_number(b, text != NULL ? (int64_t)strlen(text) : -1);
    kl_buf_puts(b, text != NULL ? text : "");
}

static void put_place(struct kl_buf *b, const struct kl_sealed_place *place)
{
    put_text(b, "kluis value 1");
    put_text(b, place->vault_id);
    put_text(b, place->kind);
    put_text(b, place->folded);
    put_text(b, place->version);
}

static enum kl_code start(bool encrypt, const uint8_t *key, const uint8_t *nonce,
                          const struct kl_sealed_place *place, EVP_CIPHER_CTX **ret,
                          struct kl_err *err)
{
    KL_AUTO(cipher) c = EVP_CIPHER_CTX_new();
    struct kl_buf aad = KL_BUF_INIT(PLACE_MAX);
    int ignored;
    put_place(&aad, place);
    bool good = c != NULL && !kl_buf_failed(&aad) &&
                EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce, encrypt ? 1 : 0) == 1 &&
                EVP_CipherUpdate(c, NULL, &ignored, (const unsigned char *)kl_buf_text(&aad),
                                 (int)aad.len) == 1;
    kl_buf_done(&aad);
    if (!good)
        return kl_fail_ossl(err, "EVP_CipherInit", "a value cannot be sealed or opened");
    *ret = kl_take(c);
    return KL_OK;
}

enum kl_code kl_sealed_put(const uint8_t key[static KL_SEALED_KEY_LEN],
                           const struct kl_sealed_place *place, const void *plain, size_t n,
                           struct kl_buf *out, struct kl_err *err)
{
    KL_AUTO(cipher) c = NULL;
    uint8_t nonce[NONCE_LEN], tag[TAG_LEN];
    int len = 0, last = 0;
    kl_random(nonce, sizeof nonce);
    kl_buf_reserve(out, n + KL_SEALED_OVERHEAD);
    if (kl_buf_failed(out))
        return kl_fail(err, KL_NO_MEMORY, "kl_buf_reserve", "no memory for a value");
    enum kl_code code = start(true, key, nonce, place, &c, err);
    if (code != KL_OK)
        return code;
    kl_buf_put(out, nonce, sizeof nonce);
    unsigned char *to = (unsigned char *)out->bytes + out->len;
    if (EVP_CipherUpdate(c, to, &len, plain, (int)n) != 1 ||
        EVP_CipherFinal_ex(c, to + len, &last) != 1 ||
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_LEN, tag) != 1)
        return kl_fail_ossl(err, "EVP_CipherUpdate", "a value cannot be sealed");
    out->len += (size_t)(len + last);
    kl_buf_put(out, tag, sizeof tag);
    return KL_OK;
}

static enum kl_code damaged(struct kl_err *err)
{
    return kl_fail(err, KL_CORRUPT, "AES-GCM", "a stored value is not what was sealed there");
}

enum kl_code kl_sealed_get(const uint8_t key[static KL_SEALED_KEY_LEN],
                           const struct kl_sealed_place *place, const void *sealed, size_t n,
                           struct kl_secret **ret, struct kl_err *err)
{
    KL_AUTO(cipher) c = NULL;
    const uint8_t *bytes = sealed;
    uint8_t tag[TAG_LEN];
    int len = 0, last = 0;
    if (n < KL_SEALED_OVERHEAD)
        return damaged(err);
    size_t plain_len = n - KL_SEALED_OVERHEAD;
    KL_AUTO(secret) plain = kl_secret_new(plain_len);
    if (plain == NULL || kl_secret_resize(plain, plain_len) != KL_OK)
        return kl_fail(err, KL_NO_MEMORY, "kl_secret_new", "no memory for a value");
    enum kl_code code = start(false, key, bytes, place, &c, err);
    if (code != KL_OK)
        return code;
    memcpy(tag, bytes + n - TAG_LEN, sizeof tag);
    uint8_t *to = kl_secret_bytes(plain);
    if (EVP_CipherUpdate(c, to, &len, bytes + NONCE_LEN, (int)plain_len) != 1 ||
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_LEN, tag) != 1 ||
        EVP_CipherFinal_ex(c, to + len, &last) != 1)
        return damaged(err);
    *ret = kl_take(plain);
    return KL_OK;
}

static enum kl_code mac_of(const uint8_t *key, const char *vault_id,
                           const struct kl_secret_item_row *row, uint8_t ret[static KL_ROW_MAC],
                           struct kl_err *err)
{
    const int64_t numbers[] = {row->object,  row->number,   row->enabled, row->has_nbf,
                               row->nbf,     row->has_exp,  row->exp,     row->created,
                               row->updated, row->vault_key};
    struct kl_buf b = KL_BUF_INIT(ROW_MAX);
    unsigned n = KL_ROW_MAC;
    enum kl_code code = KL_OK;
    put_text(&b, "secret 1");
    put_text(&b, vault_id);
    put_text(&b, row->version);
    put_text(&b, row->content_type);
    put_text(&b, row->tags);
    for (size_t i = 0; i < KL_COUNT(numbers); i++)
        put_number(&b, numbers[i]);
    if (row->key_version != NULL || row->about != NULL) { /* rows of before have neither */
        put_text(&b, row->key_version);
        put_text(&b, row->about);
    }
    if (kl_buf_failed(&b))
        code = kl_fail(err, KL_NO_MEMORY, "kl_buf_put", "no memory for a row's MAC");
    else if (HMAC(EVP_sha256(), key, KL_SEALED_KEY_LEN, (const unsigned char *)b.bytes, b.len, ret,
                  &n) == NULL)
        code = kl_fail_ossl(err, "HMAC", "cannot compute a row's MAC");
    kl_buf_done(&b);
    return code;
}

enum kl_code kl_sealed_mac(const uint8_t key[static KL_SEALED_KEY_LEN], const char *vault_id,
                           struct kl_secret_item_row *row, struct kl_err *err)
{
    return mac_of(key, vault_id, row, row->mac, err);
}

enum kl_code kl_sealed_check(const uint8_t key[static KL_SEALED_KEY_LEN], const char *vault_id,
                             const struct kl_secret_item_row *row, struct kl_err *err)
{
    uint8_t mac[KL_ROW_MAC];
    enum kl_code code = mac_of(key, vault_id, row, mac, err);
    if (code == KL_OK && CRYPTO_memcmp(mac, row->mac, sizeof mac) != 0)
        return kl_fail(err, KL_CORRUPT, "MAC",
                       "the stored record of a secret was changed by a foreign hand");
    return code;
}
