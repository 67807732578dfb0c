/* The three texts that strangers hand to the token service and to every other row, by the first
 * byte: P, claims that are rightly signed (so that what comes after the signature is reached); F, a
 * form with credentials; anything else, a whole token. */
#include "keyvault/auth/form.h"
#include "keyvault/auth/jwt.h"
#include "tests/fuzz/fuzz.h"

#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#define NOW INT64_C(1700000000)

static EVP_PKEY *key;
static struct kl_jwks *keys;

static void make_key(void)
{
    if (keys != NULL)
        return;
    key = EVP_RSA_gen(2048);
    keys = kl_jwks_new();
    if (keys == NULL || kl_jwks_add(keys, "k", key, NULL) != KL_OK)
        abort();
}

static bool audience_ok(void *arg, const char *audience)
{
    (void)arg;
    return strcmp(audience, "https://vault.azure.net") == 0;
}

static enum kl_code verify(const char *token, size_t n, struct kl_jwt_claims *ret)
{
    const char *const audiences[] = {"a"};
    struct kl_jwt_issuer issuer = {.name = "https://i", .tenant = "t", .keys = keys};
    struct kl_jwt_issuer other = {.name = "https://o",
                                  .keys = keys,
                                  .registered = "o",
                                  .object_claim = "sub",
                                  .audiences = audiences,
                                  .audience_count = 1};
    struct kl_jwt_rules rules = {&issuer, &other, 1, audience_ok, NULL, NOW};
    return kl_jwt_verify(token, n, &rules, ret, NULL);
}

/* What holds for every token that passes. */
static void check_claims(const struct kl_jwt_claims *c)
{
    if (c->expires <= NOW || c->expires > NOW + KL_JWT_LIFE_MAX_S + KL_JWT_SKEW_S ||
        c->not_before > NOW + KL_JWT_SKEW_S || !kl_uuid_valid(c->object_id) ||
        !kl_uuid_valid(c->app_id) || strlen(c->token_id) > KL_JWT_ID_MAX)
        abort();
}

static void run_payload(const uint8_t *data, size_t size)
{
    static const char header[] = "{\"alg\":\"RS256\",\"kid\":\"k\"}";
    unsigned char signature[256];
    size_t n = sizeof signature;
    struct kl_jwt_claims claims;
    struct kl_buf text = KL_BUF_INIT(1 << 20);
    kl_b64url_put(&text, header, sizeof header - 1);
    kl_buf_putc(&text, '.');
    kl_b64url_put(&text, data, size);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) != 1 ||
        EVP_DigestSign(ctx, signature, &n, (const unsigned char *)text.bytes, text.len) != 1)
        abort();
    EVP_MD_CTX_free(ctx);
    kl_buf_putc(&text, '.');
    kl_b64url_put(&text, signature, n);
    if (verify(kl_buf_text(&text), text.len, &claims) == KL_OK)
        check_claims(&claims);
    kl_buf_done(&text);
}

static void run_form(const uint8_t *data, size_t size)
{
    struct kl_form_field fields[] = {{.name = "client_id"}, {.name = "client_secret"}};
    struct kl_secret *id = NULL, *secret = NULL;
    if (kl_form_parse((const char *)data, size, fields, KL_COUNT(fields), NULL) == KL_OK)
        for (size_t i = 0; i < KL_COUNT(fields); i++)
            if (fields[i].value != NULL &&
                strlen(kl_form_text(&fields[i])) != kl_secret_len(fields[i].value))
                abort();
    kl_form_done(fields, KL_COUNT(fields));
    if (kl_form_split_pair((const char *)data, size, true, &id, &secret, NULL) == KL_OK &&
        (kl_secret_len(id) > KL_FORM_VALUE_MAX || kl_secret_len(secret) > KL_FORM_VALUE_MAX))
        abort();
    kl_secret_free(id);
    kl_secret_free(secret);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kl_jwt_claims claims;
    make_key();
    if (size > 0 && data[0] == 'P')
        run_payload(data + 1, size - 1);
    else if (size > 0 && data[0] == 'F')
        run_form(data + 1, size - 1);
    else if (verify((const char *)data, size, &claims) == KL_OK)
        abort(); /* nobody has the key but this process */
    return 0;
}
