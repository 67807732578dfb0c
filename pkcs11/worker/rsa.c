#include "pkcs11/worker/rsa.h"

#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/oaep.h"
#include "pkcs11/worker/pubkey.h"
#include "pkcs11/worker/rsa15.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

KL_AUTO_DEFINE(evp_pkey_ctx, EVP_PKEY_CTX, EVP_PKEY_CTX_free);

bool kl_rsa_ciphertext_fits(const struct kl_key *key, const uint8_t *cipher, size_t n)
{
    return n == key->size_bytes && memcmp(cipher, key->modulus, n) < 0;
}

static CK_RV decrypt_raw(struct kl_session *s, const struct kl_key *key, const uint8_t *cipher,
                         uint8_t em[static KL_RSA_MAX])
{
    CK_MECHANISM raw = {.mechanism = CKM_RSA_X_509};
    CK_ULONG k = key->size_bytes, got = KL_RSA_MAX;
    CK_RV rv = kl_f(s)->C_DecryptInit(s->handle, &raw, key->handle);
    if (rv == CKR_OK)
        rv = kl_f(s)->C_Decrypt(s->handle, (CK_BYTE *)cipher, k, em, &got);
    if (rv != CKR_OK)
        return rv;
    if (got > k)
        return CKR_GENERAL_ERROR;
    memmove(em + (k - got), em,
            got); /* some modules strip leading zeros; an OAEP block has one always */
    memset(em, 0, k - got);
    return CKR_OK;
}

/* The same calls whatever the padding is like: two private operations, and a look whether the token
 * answered right. */
static CK_RV decrypt_rsa15(struct kl_session *s, const struct kl_key *key, const uint8_t *cipher,
                           uint8_t out[static KL_RSA_MAX], size_t *ret_len)
{
    uint8_t question[KL_RSA_MAX], answer[KL_RSA_MAX], em[KL_RSA_MAX], secret[KL_RSA15_SECRET];
    size_t k = key->size_bytes;
    int n = -1;
    CK_RV rv = kl_rsa15_question(key->modulus, k, question) == KL_OK ? CKR_OK : CKR_HOST_MEMORY;
    if (rv == CKR_OK)
        rv = decrypt_raw(s, key, question, answer);
    if (rv == CKR_OK)
        rv = decrypt_raw(s, key, cipher, em);
    if (rv == CKR_OK &&
        (!kl_pubkey_undoes(s, key, answer, question) || !kl_pubkey_undoes(s, key, em, cipher)))
        rv = KL_CKR_WRONG_ANSWER;
    if (rv == CKR_OK && kl_rsa15_secret(answer, cipher, k, secret) == KL_OK)
        n = kl_rsa15_check(em, k, secret, out);
    if (rv == CKR_OK && n < 0)
        rv = CKR_HOST_MEMORY;
    if (rv == CKR_OK) {
        memmove(out, out + k - (size_t)n, (size_t)n);
        kl_wipe(out + n, k - (size_t)n);
        *ret_len = (size_t)n;
    }
    kl_wipe(answer, sizeof answer);
    kl_wipe(em, sizeof em);
    kl_wipe(secret, sizeof secret);
    return rv;
}

CK_RV kl_rsa_decrypt(struct kl_session *s, const struct kl_key *key, const struct kl_mech *m,
                     bool native, const uint8_t *cipher, uint8_t out[static KL_RSA_MAX],
                     size_t *ret_len, bool *ret_bad)
{
    *ret_bad = false;
    if (m->kind == KL_MECH_RSA15)
        return decrypt_rsa15(s, key, cipher, out, ret_len);
    if (!native) {
        uint8_t em[KL_RSA_MAX];
        CK_RV rv = decrypt_raw(s, key, cipher, em);
        if (rv == CKR_OK)
            *ret_bad = kl_oaep_unpad(m, em, key->size_bytes, out, ret_len) != KL_OK;
        if (rv == CKR_OK && *ret_bad && !kl_pubkey_undoes(s, key, em, cipher))
            rv = KL_CKR_WRONG_ANSWER; /* the token's fault, not the data's */
        kl_wipe(em, sizeof em);
        return rv;
    }
    struct kl_mech_call call;
    CK_ULONG got = KL_RSA_MAX;
    CK_RV rv = kl_f(s)->C_DecryptInit(s->handle, kl_mech_prepare(m, &call), key->handle);
    if (rv == CKR_OK)
        rv = kl_f(s)->C_Decrypt(s->handle, (CK_BYTE *)cipher, key->size_bytes, out, &got);
    if (rv == CKR_OK && got > key->size_bytes)
        return CKR_GENERAL_ERROR;
    if (rv == CKR_OK)
        *ret_len = got;
    return rv;
}

static bool set_oaep(EVP_PKEY_CTX *ctx, const struct kl_mech *m)
{
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) > 0 &&
           EVP_PKEY_CTX_set_rsa_oaep_md(ctx, m->md()) > 0 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, m->md()) > 0;
}

/* Encryption with the public half, by OpenSSL; out gets key->size_bytes. */
static enum kl_code encrypt(struct kl_session *s, const struct kl_key *key, const struct kl_mech *m,
                            const uint8_t *plain, size_t n, uint8_t out[static KL_RSA_MAX])
{
    size_t len = KL_RSA_MAX;
    bool oaep = m->kind == KL_MECH_OAEP;
    if (n + (oaep ? 2 * m->digest_bytes + 2 : KL_RSA15_OVERHEAD) > key->size_bytes)
        return KL_TOO_BIG;
    EVP_PKEY *pkey = kl_pubkey(s, key);
    KL_AUTO(evp_pkey_ctx) ctx = pkey == NULL ? NULL : EVP_PKEY_CTX_new(pkey, NULL);
    bool done =
        ctx != NULL && EVP_PKEY_encrypt_init(ctx) > 0 &&
        (oaep ? set_oaep(ctx, m) : EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) > 0) &&
        EVP_PKEY_encrypt(ctx, out, &len, plain, n) > 0 && len == key->size_bytes;
    ERR_clear_error();
    return done ? KL_OK : KL_CRYPTO;
}

CK_RV kl_rsa_round_trip(struct kl_session *s, const struct kl_key *key, const struct kl_mech *m,
                        bool native, const uint8_t *plain, size_t n, bool *ret_ok)
{
    uint8_t cipher[KL_RSA_MAX], back[KL_RSA_MAX];
    size_t got = 0;
    bool bad = true;
    *ret_ok = false;
    if (encrypt(s, key, m, plain, n, cipher) != KL_OK)
        return CKR_OK;
    CK_RV rv = kl_rsa_decrypt(s, key, m, native, cipher, back, &got, &bad);
    if (rv == CKR_OK)
        *ret_ok = !bad && got == n && memcmp(back, plain, n) == 0;
    kl_wipe(back, sizeof back);
    return rv == KL_CKR_WRONG_ANSWER ? CKR_OK : rv;
}
