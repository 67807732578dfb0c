/* Private keys as callers send them: JSON Web Keys, and Key Vault's BYOK blobs. What is secret
 * lives in wiped memory only: jansson and OpenSSL use the wiping allocators of base/secret.h. */
#include "keyvault/wire.h"

#include "keyvault/alg.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>
#include <string.h>

#define NUMBER_MAX 512  /* bytes of one number: RSA-4096 */
#define BLOB_MAX   8192 /* bytes of a BYOK file, and of its ciphertext */
#define PKCS8_MAX  4096

KL_AUTO_DEFINE(private_key, EVP_PKEY, EVP_PKEY_free);
KL_AUTO_DEFINE(pkey_ctx, EVP_PKEY_CTX, EVP_PKEY_CTX_free);
KL_AUTO_DEFINE(param_bld, OSSL_PARAM_BLD, OSSL_PARAM_BLD_free);
KL_AUTO_DEFINE(params, OSSL_PARAM, OSSL_PARAM_free);
KL_AUTO_DEFINE(key_info, PKCS8_PRIV_KEY_INFO, PKCS8_PRIV_KEY_INFO_free);

static enum kl_code inconsistent(struct kl_err *err)
{
    return kl_fail(err, KL_BAD_INPUT, "key", "The private key is not consistent in itself");
}

/* --- JSON Web Key --- */

struct member {
    const char *name, *param;
};

static const struct member rsa_members[] = {
    {"n", OSSL_PKEY_PARAM_RSA_N},          {"e", OSSL_PKEY_PARAM_RSA_E},
    {"d", OSSL_PKEY_PARAM_RSA_D},          {"p", OSSL_PKEY_PARAM_RSA_FACTOR1},
    {"q", OSSL_PKEY_PARAM_RSA_FACTOR2},    {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
    {"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2}, {"qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1}};

#define MEMBERS_MAX 8

struct numbers {
    BIGNUM *list[MEMBERS_MAX];
    size_t count;
};

static void numbers_free(struct numbers *n)
{
    for (size_t i = 0; i < n->count; i++)
        BN_clear_free(n->list[i]);
}

static enum kl_code read_number(const json_t *jwk, const struct member *m, struct numbers *n,
                                OSSL_PARAM_BLD *to, struct kl_err *err)
{
    uint8_t bytes[NUMBER_MAX];
    size_t len = 0;
    enum kl_code code = kl_wire_bytes(jwk, m->name, bytes, sizeof bytes, &len, err);
    if (code != KL_OK)
        return code;
    BIGNUM *bn = BN_bin2bn(bytes, (int)len, NULL);
    kl_wipe(bytes, sizeof bytes);
    if (bn == NULL)
        return kl_fail(err, KL_NO_MEMORY, "BN_bin2bn", "No memory for a key");
    n->list[n->count++] = bn;
    return OSSL_PARAM_BLD_push_BN(to, m->param, bn) == 1
               ? KL_OK
               : kl_fail_ossl(err, "OSSL_PARAM_BLD_push_BN", "cannot take a key's number");
}

static enum kl_code read_rsa(const json_t *jwk, struct numbers *n, OSSL_PARAM_BLD *to,
                             struct kl_err *err)
{
    enum kl_code code = KL_OK;
    for (size_t i = 0; i < KL_COUNT(rsa_members) && code == KL_OK; i++)
        code = read_number(jwk, &rsa_members[i], n, to, err);
    if (code != KL_OK)
        return code;
    int bits = BN_num_bits(n->list[0]);
    if (bits != 2048 && bits != 3072 && bits != 4096)
        return kl_fail(err, KL_BAD_INPUT, "key",
                       "An RSA key of %d bits cannot be imported: 2048, 3072 or 4096", bits);
    return KL_OK;
}

static enum kl_code read_point(const json_t *jwk, enum kl_curve curve, uint8_t *out,
                               size_t *ret_len, struct kl_err *err)
{
    static const char *const axes[] = {"x", "y"};
    size_t width = kl_curve_bytes(curve);
    enum kl_code code = KL_OK;
    out[0] = 4; /* uncompressed */
    *ret_len = 1;
    for (size_t i = 0; i < KL_COUNT(axes) && code == KL_OK; i++) {
        size_t n = 0;
        code = kl_wire_bytes(jwk, axes[i], out + *ret_len, width, &n, err);
        if (code == KL_OK && n != width)
            return kl_fail(err, KL_BAD_INPUT, axes[i], "Property %s must have %zu bytes", axes[i],
                           width);
        *ret_len += n;
    }
    return code;
}

static enum kl_code read_ec(const json_t *jwk, struct numbers *n, OSSL_PARAM_BLD *to,
                            uint8_t point[static 2 * 66 + 1], struct kl_err *err)
{
    static const struct member d = {"d", OSSL_PKEY_PARAM_PRIV_KEY};
    static const char *const groups[] = {[KL_CURVE_NONE] = "",
                                         [KL_CURVE_P256] = "prime256v1",
                                         [KL_CURVE_P384] = "secp384r1",
                                         [KL_CURVE_P521] = "secp521r1"};
    const char *crv = NULL;
    size_t len = 0;
    enum kl_code code = kl_wire_text(jwk, "crv", &crv, err);
    if (code != KL_OK)
        return code;
    enum kl_curve curve = kl_curve_find(crv);
    if (curve == KL_CURVE_NONE)
        return kl_fail(err, KL_BAD_INPUT, "crv",
                       "Curve '%.20s' is not supported: P-256, P-384 or P-521", crv);
    code = read_point(jwk, curve, point, &len, err);
    if (code == KL_OK)
        code = read_number(jwk, &d, n, to, err);
    if (code == KL_OK &&
        (OSSL_PARAM_BLD_push_utf8_string(to, OSSL_PKEY_PARAM_GROUP_NAME, groups[curve], 0) != 1 ||
         OSSL_PARAM_BLD_push_octet_string(to, OSSL_PKEY_PARAM_PUB_KEY, point, len) != 1))
        code = kl_fail_ossl(err, "OSSL_PARAM_BLD_push", "cannot take an EC key");
    return code;
}

static enum kl_code build(OSSL_PARAM_BLD *from, enum kl_key_type type, EVP_PKEY **ret,
                          struct kl_err *err)
{
    KL_AUTO(params) params = OSSL_PARAM_BLD_to_param(from);
    KL_AUTO(pkey_ctx)
    ctx = EVP_PKEY_CTX_new_from_name(NULL, type == KL_KEY_EC ? "EC" : "RSA", NULL);
    KL_AUTO(private_key) key = NULL;
    if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1)
        return kl_fail_ossl(err, "EVP_PKEY_fromdata_init", "cannot make a key");
    if (EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) != 1)
        return inconsistent(err);
    KL_AUTO(pkey_ctx) check = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    if (check == NULL || EVP_PKEY_check(check) != 1)
        return inconsistent(err);
    *ret = kl_take(key);
    return KL_OK;
}

static enum kl_code encode(EVP_PKEY *key, struct kl_secret **ret, struct kl_err *err)
{
    KL_AUTO(key_info) info = EVP_PKEY2PKCS8(key);
    KL_AUTO(secret) out = kl_secret_new(PKCS8_MAX);
    unsigned char *der = NULL;
    int n = info != NULL ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : -1;
    enum kl_code code = n > 0 && out != NULL ? kl_secret_append(out, der, (size_t)n) : KL_NO_MEMORY;
    if (der != NULL)
        OPENSSL_clear_free(der, n > 0 ? (size_t)n : 0);
    if (code != KL_OK)
        return kl_fail(err, code, "i2d_PKCS8_PRIV_KEY_INFO", "No memory for a key");
    *ret = kl_take(out);
    return KL_OK;
}

enum kl_code kl_wire_jwk_private(const json_t *jwk, enum kl_key_type type, struct kl_secret **ret,
                                 struct kl_err *err)
{
    KL_AUTO(param_bld) to = OSSL_PARAM_BLD_new();
    KL_AUTO(private_key) key = NULL;
    struct numbers n = {.count = 0};
    uint8_t point[2 * 66 + 1];
    if (to == NULL)
        return kl_fail(err, KL_NO_MEMORY, "OSSL_PARAM_BLD_new", "No memory for a key");
    enum kl_code code =
        type == KL_KEY_EC ? read_ec(jwk, &n, to, point, err) : read_rsa(jwk, &n, to, err);
    if (code == KL_OK)
        code = build(to, type, &key, err);
    numbers_free(&n);
    return code == KL_OK ? encode(key, ret, err) : code;
}

/* --- BYOK --- */

static enum kl_code malformed(const char *what, struct kl_err *err)
{
    return kl_fail(err, KL_BAD_INPUT, "key_hsm", "Property key_hsm is no BYOK blob: %s", what);
}

/* The last two segments of …/keys/NAME/VERSION. */
static bool take_kid(const char *kid, struct kl_wire_byok *ret)
{
    const char *at = strstr(kid, "/keys/");
    const char *name = at != NULL ? at + 6 : "";
    size_t n = strcspn(name, "/");
    const char *version = name[n] == '/' ? name + n + 1 : "";
    if (n == 0 || n > KL_NAME_MAX || strlen(version) > KL_VERSION_LEN)
        return false;
    memcpy(ret->name, name, n);
    ret->name[n] = 0;
    memcpy(ret->version, version, strlen(version) + 1);
    return kl_name_valid(ret->name) && (version[0] == 0 || kl_version_valid(version));
}

static enum kl_code take_blob(const json_t *blob, struct kl_wire_byok *ret, struct kl_err *err)
{
    const json_t *header = json_object_get(blob, "header");
    const char *schema = json_string_value(json_object_get(blob, "schema_version"));
    const char *kid = json_string_value(json_object_get(header, "kid"));
    const char *alg = json_string_value(json_object_get(header, "alg"));
    const char *enc = json_string_value(json_object_get(header, "enc"));
    uint8_t bytes[BLOB_MAX];
    size_t n = 0;
    if (schema == NULL || strcmp(schema, "1.0.0") != 0)
        return malformed("schema_version must be 1.0.0", err);
    if (alg == NULL || strcmp(alg, "dir") != 0 || enc == NULL ||
        strcmp(enc, "CKM_RSA_AES_KEY_WRAP") != 0)
        return malformed("header must say alg dir and enc CKM_RSA_AES_KEY_WRAP", err);
    if (kid == NULL || !take_kid(kid, ret))
        return malformed("header.kid must be the id of a key", err);
    if (kl_wire_bytes(blob, "ciphertext", bytes, sizeof bytes, &n, NULL) != KL_OK)
        return malformed("ciphertext must be base64url", err);
    KL_AUTO(secret) cipher = kl_secret_new(sizeof bytes);
    if (cipher == NULL || kl_secret_append(cipher, bytes, n) != KL_OK)
        return kl_fail(err, KL_NO_MEMORY, "kl_secret", "No memory for a key");
    ret->ciphertext = kl_take(cipher);
    return KL_OK;
}

enum kl_code kl_wire_parse_byok(const json_t *jwk, struct kl_wire_byok *ret, bool *ret_present,
                                struct kl_err *err)
{
    const json_t *member = json_object_get(jwk, "key_hsm");
    uint8_t text[BLOB_MAX];
    size_t n = 0;
    KL_AUTO(json) blob = NULL;
    *ret_present = member != NULL && !json_is_null(member);
    if (!*ret_present)
        return KL_OK;
    *ret = (struct kl_wire_byok){.ciphertext = NULL};
    enum kl_code code = kl_wire_bytes(jwk, "key_hsm", text, sizeof text, &n, err);
    if (code != KL_OK)
        return code;
    if (kl_json_parse((const char *)text, n, &blob, NULL) != KL_OK || !json_is_object(blob))
        return malformed("it is not JSON", err);
    return take_blob(blob, ret, err);
}
