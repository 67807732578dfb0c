#include "keyvault/auth/jws.h"

#include "base/encoding.h"

#include <openssl/rsa.h>
#include <string.h>

KL_AUTO_DEFINE(md_ctx, EVP_MD_CTX, EVP_MD_CTX_free);

static enum kl_code malformed(struct kl_err *err, const char *what)
{
    return kl_fail(err, KL_UNAUTHENTICATED, "jws", "Error validating token: %s", what);
}

/* base64url of n characters into a new buffer. No padding: one token has one spelling. */
static enum kl_code decode(const char *text, size_t n, unsigned char **ret, size_t *ret_len)
{
    if (memchr(text, '=', n) != NULL)
        return KL_BAD_INPUT;
    unsigned char *bytes = malloc(n + 1);
    if (bytes == NULL)
        return KL_NO_MEMORY;
    enum kl_code code = kl_b64url_decode(text, n, bytes, n + 1, ret_len);
    if (code != KL_OK) {
        free(bytes);
        return code;
    }
    *ret = bytes;
    return KL_OK;
}

/* Members that would let a token choose its key, its reader's rules or its size. */
static const char *forbidden_member(const json_t *header)
{
    static const char *const names[] = {"crit", "b64", "jku", "jwk", "x5u", "x5c", "zip", "enc"};
    for (size_t i = 0; i < KL_COUNT(names); i++)
        if (json_object_get(header, names[i]) != NULL)
            return names[i];
    return NULL;
}

/* "at+jwt" is what RFC 9068 calls an access token. */
static bool typ_is_fine(const json_t *typ)
{
    const char *text = json_is_string(typ) ? json_string_value(typ) : "";
    return strcasecmp(text, "JWT") == 0 || strcasecmp(text, "at+jwt") == 0;
}

static enum kl_code check_header(struct kl_jws *jws, struct kl_err *err)
{
    const json_t *alg = json_object_get(jws->header, "alg");
    const json_t *typ = json_object_get(jws->header, "typ");
    const json_t *kid = json_object_get(jws->header, "kid");
    if (!json_is_string(alg) || strcmp(json_string_value(alg), "RS256") != 0)
        return malformed(err, "its alg is not RS256");
    if (typ != NULL && !typ_is_fine(typ))
        return malformed(err, "its typ is not JWT");
    if (!json_is_string(kid) || json_string_length(kid) == 0 ||
        json_string_length(kid) > KL_KID_MAX)
        return malformed(err, "it has no usable kid");
    if (forbidden_member(jws->header) != NULL)
        return malformed(err, "its header has a member that is not accepted");
    jws->kid = json_string_value(kid);
    return KL_OK;
}

static enum kl_code read_header(struct kl_jws *jws, size_t n, struct kl_err *err)
{
    KL_AUTO(bytes) bytes = NULL;
    size_t len = 0;
    if (decode(jws->text, n, &bytes, &len) != KL_OK)
        return malformed(err, "its header is not base64url");
    if (kl_json_parse((const char *)bytes, len, &jws->header, NULL) != KL_OK)
        return malformed(err, "its header is not JSON");
    return json_is_object(jws->header) ? KL_OK : malformed(err, "its header is not an object");
}

static enum kl_code read_parts(struct kl_jws *jws, size_t n, struct kl_err *err)
{
    const char *end = jws->text + n;
    const char *first = memchr(jws->text, '.', n);
    const char *second = first != NULL ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
    if (second == NULL || memchr(second + 1, '.', (size_t)(end - second - 1)) != NULL)
        return malformed(err, "it has not three parts");
    jws->signed_len = (size_t)(second - jws->text);
    enum kl_code code = read_header(jws, (size_t)(first - jws->text), err);
    if (code != KL_OK)
        return code;
    if (decode(first + 1, (size_t)(second - first - 1), &jws->payload, &jws->payload_len) != KL_OK)
        return malformed(err, "its payload is not base64url");
    size_t rest = (size_t)(end - second - 1);
    if (memchr(second + 1, '=', rest) != NULL ||
        kl_b64url_decode(second + 1, rest, jws->signature, sizeof jws->signature,
                         &jws->signature_len) != KL_OK ||
        jws->signature_len == 0)
        return malformed(err, "its signature is not base64url");
    return KL_OK;
}

enum kl_code kl_jws_open(const char *text, size_t n, struct kl_jws *ret, struct kl_err *err)
{
    struct kl_jws jws;
    enum kl_code code = kl_jws_split(text, n, &jws, err);
    if (code != KL_OK)
        return code;
    code = check_header(&jws, err);
    if (code == KL_OK)
        *ret = jws;
    else
        kl_jws_done(&jws);
    return code;
}

enum kl_code kl_jws_split(const char *text, size_t n, struct kl_jws *ret, struct kl_err *err)
{
    if (n > KL_JWS_MAX)
        return malformed(err, "it is too long");
    struct kl_jws jws = {.text = text};
    enum kl_code code = read_parts(&jws, n, err);
    if (code != KL_OK) {
        kl_jws_done(&jws);
        return code;
    }
    *ret = jws;
    return KL_OK;
}

void kl_jws_done(struct kl_jws *jws)
{
    json_decref(jws->header);
    free(jws->payload);
    *jws = (struct kl_jws){0};
}

enum kl_code kl_jws_verify(const struct kl_jws *jws, const struct kl_jwks *keys, struct kl_err *err)
{
    EVP_PKEY *key = kl_jwks_find(keys, jws->kid);
    if (key == NULL)
        return kl_fail(err, KL_UNAUTHENTICATED, "jws",
                       "AKV10046: Unable to resolve the key used for signature validation.");
    return kl_jws_verify_key(jws, key, KL_JWS_RS256, err);
}

enum kl_code kl_jws_verify_key(const struct kl_jws *jws, EVP_PKEY *key, enum kl_jws_alg alg,
                               struct kl_err *err)
{
    KL_AUTO(md_ctx) ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *how = NULL;
    if (ctx == NULL || EVP_DigestVerifyInit(ctx, &how, EVP_sha256(), NULL, key) != 1)
        return kl_fail_ossl(err, "EVP_DigestVerifyInit", "cannot check the token's signature");
    if (alg == KL_JWS_PS256 && (EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) != 1 ||
                                EVP_PKEY_CTX_set_rsa_pss_saltlen(how, RSA_PSS_SALTLEN_DIGEST) != 1))
        return kl_fail_ossl(err, "EVP_PKEY_CTX_set_rsa_padding",
                            "cannot check the token's signature");
    if (EVP_DigestVerify(ctx, jws->signature, jws->signature_len, (const unsigned char *)jws->text,
                         jws->signed_len) != 1) {
        struct kl_err cause;
        (void)kl_fail_ossl(&cause, "EVP_DigestVerify", "the signature does not fit");
        return kl_fail(err, KL_UNAUTHENTICATED, "jws",
                       "Error validating token: IDX10511: the signature does not fit");
    }
    return KL_OK;
}
