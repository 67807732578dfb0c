#include "keyvault/public_op.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <pthread.h>

#define SLOTS                                                                                      \
    8 /* contexts per thread; a context keeps its EVP_PKEY alive, so the pointer is a key */

struct slot {
    EVP_PKEY *key; /* compared only */
    const struct kl_api_alg *alg;
    EVP_PKEY_CTX *ctx;
};

struct cache {
    struct slot slots[SLOTS];
    size_t next; /* the slot to be replaced next */
};

static pthread_key_t cache_key;
static pthread_once_t cache_once = PTHREAD_ONCE_INIT;

static void cache_free(void *arg)
{
    struct cache *c = arg;
    for (size_t i = 0; i < SLOTS; i++)
        EVP_PKEY_CTX_free(c->slots[i].ctx);
    free(c);
}

static void cache_make_key(void)
{
    if (pthread_key_create(&cache_key, cache_free) != 0)
        abort();
}

static struct cache *thread_cache(void)
{
    (void)pthread_once(&cache_once, cache_make_key);
    struct cache *c = pthread_getspecific(cache_key);
    if (c == NULL) {
        c = calloc(1, sizeof *c);
        if (c == NULL || pthread_setspecific(cache_key, c) != 0) {
            free(c);
            return NULL;
        }
    }
    return c;
}

static bool set_encrypt(EVP_PKEY_CTX *ctx, const struct kl_api_alg *alg)
{
    if (alg->token == KL_ALG_RSA15)
        return EVP_PKEY_encrypt_init(ctx) == 1 &&
               EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1;
    return EVP_PKEY_encrypt_init(ctx) == 1 &&
           EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, alg->digest, NULL) == 1 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, alg->digest, NULL) == 1;
}

static bool set_verify(EVP_PKEY_CTX *ctx, const struct kl_api_alg *alg)
{
    if (EVP_PKEY_verify_init(ctx) != 1)
        return false;
    if (alg->type == KL_KEY_RSA &&
        EVP_PKEY_CTX_set_rsa_padding(ctx, alg->pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING) !=
            1)
        return false;
    const EVP_MD *md = EVP_get_digestbyname(alg->digest);
    if (md == NULL || EVP_PKEY_CTX_set_signature_md(ctx, md) != 1)
        return false;
    return !alg->pss || (EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) == 1 &&
                         EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1);
}

/* This thread's ready context for (key, alg), borrowed; NULL on failure. */
static EVP_PKEY_CTX *context(const struct kl_api_alg *alg, EVP_PKEY *key)
{
    struct cache *c = thread_cache();
    if (c == NULL)
        return NULL;
    for (size_t i = 0; i < SLOTS; i++)
        if (c->slots[i].key == key && c->slots[i].alg == alg)
            return c->slots[i].ctx;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    if (ctx == NULL ||
        !(alg->use == KL_USE_CIPHER ? set_encrypt(ctx, alg) : set_verify(ctx, alg))) {
        EVP_PKEY_CTX_free(ctx);
        return NULL;
    }
    struct slot *slot = &c->slots[c->next];
    c->next = (c->next + 1) % SLOTS;
    EVP_PKEY_CTX_free(slot->ctx);
    *slot = (struct slot){.key = key, .alg = alg, .ctx = ctx};
    return ctx;
}

enum kl_code kl_public_encrypt(const struct kl_api_alg *alg, const struct kl_key_version *key,
                               const void *plain, size_t n, uint8_t out[static KL_MAX_MODULUS],
                               size_t *ret_len, struct kl_err *err)
{
    if (n == 0 || n > kl_alg_max_plain(alg, key->bits))
        return kl_fail(err, KL_BAD_INPUT, "encrypt",
                       "The value must have 1 to %zu bytes for algorithm '%s' and this key",
                       kl_alg_max_plain(alg, key->bits), alg->name);
    EVP_PKEY_CTX *ctx = context(alg, key->public_key);
    size_t len = KL_MAX_MODULUS;
    if (ctx == NULL || EVP_PKEY_encrypt(ctx, out, &len, plain, n) != 1)
        return kl_fail_ossl(err, "EVP_PKEY_encrypt", "The public operation failed");
    *ret_len = len;
    return KL_OK;
}

/* r || s -> DER ECDSA-Sig-Value; 0 when it cannot be one. */
static size_t ec_signature_der(const uint8_t *raw, size_t n, uint8_t out[static 160])
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, (int)(n / 2), NULL);
    BIGNUM *s = BN_bin2bn(raw + n / 2, (int)(n / 2), NULL);
    int len = 0;
    if (sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1) {
        uint8_t *end = out;
        len = i2d_ECDSA_SIG(sig, &end); /* at most 141 bytes: two 67-byte integers */
    } else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(sig);
    return len > 0 ? (size_t)len : 0;
}

enum kl_code kl_public_verify(const struct kl_api_alg *alg, const struct kl_key_version *key,
                              const void *digest, const void *signature, size_t n, bool *ret_valid,
                              struct kl_err *err)
{
    if (n != kl_alg_signature_len(key)) {
        *ret_valid = false;
        return KL_OK;
    }
    uint8_t der[160];
    if (key->type == KL_KEY_EC) {
        n = ec_signature_der(signature, n, der);
        signature = der;
    }
    EVP_PKEY_CTX *ctx = context(alg, key->public_key);
    if (ctx == NULL || n == 0)
        return kl_fail_ossl(err, "EVP_PKEY_verify_init", "The public operation failed");
    *ret_valid = EVP_PKEY_verify(ctx, signature, n, digest, alg->digest_len) == 1;
    ERR_clear_error();
    return KL_OK;
}
