#include "pkcs11/worker/pubkey.h"

#include "pkcs11/worker/rsa.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

KL_AUTO_DEFINE(evp_pkey_ctx, EVP_PKEY_CTX, EVP_PKEY_CTX_free);

EVP_PKEY *kl_pubkey(struct kl_session *s, const struct kl_key *key)
{
    const uint8_t *der = key->spki;
    if (s->pubkey != NULL && memcmp(s->pubkey_of, key->ref.spki_hash, KL_SPKI_HASH_LEN) == 0)
        return s->pubkey;
    EVP_PKEY_free(s->pubkey);
    s->pubkey = d2i_PUBKEY(NULL, &der, (long)key->spki_len);
    memcpy(s->pubkey_of, key->ref.spki_hash, KL_SPKI_HASH_LEN);
    ERR_clear_error();
    return s->pubkey;
}

bool kl_pubkey_undoes(struct kl_session *s, const struct kl_key *key, const uint8_t *em,
                      const uint8_t *cipher)
{
    uint8_t out[KL_RSA_MAX];
    size_t len = sizeof out, k = key->size_bytes;
    EVP_PKEY *pkey = kl_pubkey(s, key);
    KL_AUTO(evp_pkey_ctx) ctx = pkey == NULL ? NULL : EVP_PKEY_CTX_new(pkey, NULL);
    bool same = ctx != NULL && EVP_PKEY_encrypt_init(ctx) > 0 &&
                EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) > 0 &&
                EVP_PKEY_encrypt(ctx, out, &len, em, k) > 0 && len == k &&
                memcmp(out, cipher, k) == 0;
    ERR_clear_error();
    return same;
}
