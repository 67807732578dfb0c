#include "wrap/container/keys.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>

#define LABEL_COMMIT  "kluis/rc1/commit"
#define LABEL_SLOT    "kluis/rc1/slot"
#define LABEL_PAYLOAD "kluis/rc1/payload"

static bool derive(int mode, const uint8_t *key, size_t key_len, const uint8_t *salt,
                   size_t salt_len, const uint8_t *info, size_t info_len, uint8_t *out)
{
    /* The parameter list takes pointers that are not const, and only reads. */
    OSSL_PARAM params[6], *p = params;
    char digest[] = "SHA256";
    *p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
    *p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
    *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)key, key_len);
    if (salt_len > 0)
        *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)salt,
                                                 salt_len);
    if (info_len > 0)
        *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info,
                                                 info_len);
    *p = OSSL_PARAM_construct_end();
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    const bool done = ctx != NULL && EVP_KDF_derive(ctx, out, KL_HASH_BYTES, params) == 1;
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return done;
}

enum kl_code kl_hkdf(const uint8_t *key, size_t key_len, const uint8_t *salt, size_t salt_len,
                     const uint8_t *info, size_t info_len, uint8_t ret[static KL_HASH_BYTES],
                     struct kl_err *err)
{
    if (!derive(EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, key, key_len, salt, salt_len, info, info_len,
                ret))
        return kl_fail_ossl(err, "EVP_KDF_derive", "a key cannot be derived");
    return KL_OK;
}

static bool expand(const uint8_t *prk, const char *label, const uint8_t *hash, uint8_t *out)
{
    uint8_t info[64];
    const size_t n = strlen(label);
    memcpy(info, label, n);
    memcpy(info + n, hash, KL_HASH_BYTES);
    return derive(EVP_KDF_HKDF_MODE_EXPAND_ONLY, prk, KL_HASH_BYTES, NULL, 0, info,
                  n + KL_HASH_BYTES, out);
}

enum kl_code kl_keys_derive(const struct kl_core *core, struct kl_secret *dek, struct kl_keys *ret,
                            struct kl_err *err)
{
    if (kl_secret_len(dek) != KL_DEK_BYTES)
        return kl_fail(err, KL_WRAP_KEY, "keys", "the data key has %zu bytes instead of %d",
                       kl_secret_len(dek), KL_DEK_BYTES);
    KL_KEYS keys;
    uint8_t prk[KL_HASH_BYTES];
    const bool done = derive(EVP_KDF_HKDF_MODE_EXTRACT_ONLY, kl_secret_bytes(dek), KL_DEK_BYTES,
                             core->commit_salt, KL_HASH_BYTES, NULL, 0, prk) &&
                      expand(prk, LABEL_COMMIT, core->hash, keys.commitment) &&
                      expand(prk, LABEL_SLOT, core->hash, keys.slot) &&
                      expand(prk, LABEL_PAYLOAD, core->hash, keys.payload);
    kl_wipe(prk, sizeof prk);
    if (!done)
        return kl_fail_ossl(err, "EVP_KDF_derive", "the container's keys cannot be derived");
    *ret = keys;
    return KL_OK;
}

enum kl_code kl_keys_open(const struct kl_core *core, struct kl_secret *dek, struct kl_keys *ret,
                          struct kl_err *err)
{
    KL_KEYS keys;
    enum kl_code code = kl_keys_derive(core, dek, &keys, err);
    if (code != KL_OK)
        return code;
    if (CRYPTO_memcmp(keys.commitment, core->commitment, KL_HASH_BYTES) != 0)
        return kl_fail(err, KL_WRAP_KEY, "keys",
                       "the data key does not belong to this header: the wrap slot is another "
                       "container's, or the header was rewritten");
    *ret = keys;
    return KL_OK;
}
