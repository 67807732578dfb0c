/* kluis key attach and key import: keys from outside. */
#include "base/encoding.h"
#include "base/io.h"
#include "cli/cmd_key.h"
#include "cli/out.h"
#include "cli/target.h"
#include "cli/value.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

enum { FILE_MAX = 65536, NUMBER_MAX = 512 };

KL_AUTO_DEFINE(private_key, EVP_PKEY, EVP_PKEY_free);
KL_AUTO_DEFINE(bio, BIO, BIO_free_all);

static enum kl_code show(struct kl_cmd *cmd, const char *method, const char *url,
                         const json_t *body, struct kl_err *err)
{
    KL_AUTO(json) answer = NULL;
    size_t count = 0;
    const struct kl_column *columns = kl_key_columns(&count);
    enum kl_code code = kl_target_call(cmd, method, url, body, &answer, err);

    return code == KL_OK ? kl_out_show(cmd, answer, columns, count, err) : code;
}

/* attributes, key_ops and tags; the operations belong into `ops_in`. */
static enum kl_code put_options(const struct kl_cmd *cmd, json_t *body, json_t *ops_in,
                                struct kl_err *err)
{
    KL_AUTO(json) attributes = json_object();
    bool disabled = false;
    enum kl_code code = kl_value_put_time(cmd, "expires", "exp", attributes, err);

    if (code == KL_OK)
        code = kl_value_put_time(cmd, "not-before", "nbf", attributes, err);
    if (code == KL_OK && kl_cmd_bool(cmd, "disabled", &disabled))
        json_object_set_new(attributes, "enabled", json_boolean(!disabled));
    if (code == KL_OK && json_object_size(attributes) > 0)
        json_object_set(body, "attributes", attributes);
    if (code == KL_OK)
        code = kl_value_put_words(cmd, "ops", "key_ops", ops_in, err);
    return code == KL_OK ? kl_value_put_tags(cmd, body, err) : code;
}

/* ---- attach ---- */

enum kl_code kl_key_attach(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *vault = kl_cmd_value(cmd, "vault-name"), *name = kl_cmd_value(cmd, "name");
    KL_AUTO(json) body = json_object();
    KL_AUTO(char) url = NULL;
    enum kl_code code = kl_target_format(&url, err, "/kluis/v1/vaults/%s/attach", vault);

    if (code == KL_OK && strspn(vault, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                       "0123456789-") != strlen(vault))
        code = kl_fail(err, KL_USAGE, NULL, "'%.60s' is no name of a vault: A-Z a-z 0-9 -", vault);
    if (code == KL_OK)
        code = kl_value_put_text(body, "name", name, err);
    if (code == KL_OK)
        code = kl_value_put_text(body, "uri", kl_cmd_value(cmd, "pkcs11-uri"), err);
    if (code == KL_OK && kl_cmd_flag(cmd, "destroy-on-purge"))
        json_object_set_new(body, "destroyOnPurge", json_true());
    if (code == KL_OK)
        code = put_options(cmd, body, body, err);
    return code == KL_OK ? show(cmd, "POST", url, body, err) : code;
}

/* ---- import ---- */

static int give_password(char *to, int room, int writing, void *arg)
{
    struct kl_secret *password = arg;
    size_t n = password != NULL ? kl_secret_len(password) : 0;

    (void)writing;
    if (password == NULL || room < 0 || n > (size_t)room)
        return -1;
    memcpy(to, kl_secret_bytes(password), n);
    return (int)n;
}

static enum kl_code read_pem(const struct kl_cmd *cmd, EVP_PKEY **ret, struct kl_err *err)
{
    const char *path = kl_cmd_value(cmd, "pem-file");
    const char *word = kl_cmd_value(cmd, "pem-password-file");
    KL_AUTO(secret) text = NULL;
    KL_AUTO(secret) password = NULL;
    enum kl_code code = kl_secret_read_file(path, FILE_MAX, &text, err);

    if (code == KL_OK && word != NULL)
        code = kl_secret_read_file(word, 1024, &password, err);
    if (code != KL_OK)
        return code;
    KL_AUTO(bio) in = BIO_new_mem_buf(kl_secret_bytes(text), (int)kl_secret_len(text));
    EVP_PKEY *key = in != NULL ? PEM_read_bio_PrivateKey(in, NULL, give_password, password) : NULL;

    if (key == NULL)
        return kl_fail(err, KL_BAD_INPUT, "PEM_read_bio_PrivateKey",
                       "%s holds no private key in PEM that can be read%s", path,
                       word != NULL ? " with this password"
                                    : "; an encrypted one needs --pem-password-file");
    *ret = key;
    return KL_OK;
}

static enum kl_code put_number(EVP_PKEY *key, const char *param, const char *member, int width,
                               json_t *jwk, struct kl_err *err)
{
    uint8_t bytes[NUMBER_MAX];
    BIGNUM *bn = NULL;
    KL_AUTO(secret) number = kl_secret_new(NUMBER_MAX);
    enum kl_code code = KL_CRYPTO;
    int n = -1;

    if (EVP_PKEY_get_bn_param(key, param, &bn) == 1 && BN_num_bytes(bn) <= NUMBER_MAX)
        n = width > 0 ? BN_bn2binpad(bn, bytes, width) : BN_bn2bin(bn, bytes);
    BN_clear_free(bn);
    if (n > 0 && number != NULL)
        code = kl_secret_append(number, bytes, (size_t)n);
    kl_wipe(bytes, sizeof(bytes));
    if (code != KL_OK)
        return kl_fail(err, code, "EVP_PKEY_get_bn_param", "a number of the key cannot be read");
    return kl_value_put_bytes(jwk, member, number, err);
}

static enum kl_code put_rsa(EVP_PKEY *key, json_t *jwk, struct kl_err *err)
{
    static const struct {
        const char *param, *member;
    } rows[] = {{OSSL_PKEY_PARAM_RSA_N, "n"},          {OSSL_PKEY_PARAM_RSA_E, "e"},
                {OSSL_PKEY_PARAM_RSA_D, "d"},          {OSSL_PKEY_PARAM_RSA_FACTOR1, "p"},
                {OSSL_PKEY_PARAM_RSA_FACTOR2, "q"},    {OSSL_PKEY_PARAM_RSA_EXPONENT1, "dp"},
                {OSSL_PKEY_PARAM_RSA_EXPONENT2, "dq"}, {OSSL_PKEY_PARAM_RSA_COEFFICIENT1, "qi"}};
    enum kl_code code = KL_OK;

    for (size_t i = 0; i < KL_COUNT(rows) && code == KL_OK; i++)
        code = put_number(key, rows[i].param, rows[i].member, 0, jwk, err);
    return code;
}

static enum kl_code put_ec(EVP_PKEY *key, json_t *jwk, struct kl_err *err)
{
    static const struct {
        const char *group, *crv;
        int width;
    } curves[] = {
        {"prime256v1", "P-256", 32}, {"secp384r1", "P-384", 48}, {"secp521r1", "P-521", 66}};
    char group[64] = "";
    size_t i = 0;
    enum kl_code code;

    (void)EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group),
                                         NULL);
    while (i < KL_COUNT(curves) && strcmp(curves[i].group, group) != 0)
        i++;
    if (i == KL_COUNT(curves))
        return kl_fail(err, KL_BAD_INPUT, NULL,
                       "an EC key must be on P-256, P-384 or P-521, this one is on '%s'", group);
    code = kl_value_put_text(jwk, "crv", curves[i].crv, err);
    if (code == KL_OK)
        code = put_number(key, OSSL_PKEY_PARAM_EC_PUB_X, "x", curves[i].width, jwk, err);
    if (code == KL_OK)
        code = put_number(key, OSSL_PKEY_PARAM_EC_PUB_Y, "y", curves[i].width, jwk, err);
    if (code == KL_OK)
        code = put_number(key, OSSL_PKEY_PARAM_PRIV_KEY, "d", curves[i].width, jwk, err);
    return code;
}

static bool wants_hsm(const struct kl_cmd *cmd)
{
    const char *word = kl_cmd_value(cmd, "protection");

    return word != NULL && strcmp(word, "hsm") == 0;
}

static enum kl_code put_pem(const struct kl_cmd *cmd, json_t *jwk, struct kl_err *err)
{
    KL_AUTO(private_key) key = NULL;
    enum kl_code code = read_pem(cmd, &key, err);

    if (code != KL_OK)
        return code;
    bool ec = EVP_PKEY_is_a(key, "EC");

    if (!ec && !EVP_PKEY_is_a(key, "RSA"))
        return kl_fail(err, KL_BAD_INPUT, NULL, "only RSA and EC keys can be imported");
    code = kl_value_put_text(
        jwk, "kty", ec ? (wants_hsm(cmd) ? "EC-HSM" : "EC") : (wants_hsm(cmd) ? "RSA-HSM" : "RSA"),
        err);
    if (code != KL_OK)
        return code;
    return ec ? put_ec(key, jwk, err) : put_rsa(key, jwk, err);
}

static enum kl_code put_byok(const struct kl_cmd *cmd, json_t *jwk, struct kl_err *err)
{
    const char *kty = kl_cmd_value(cmd, "kty");
    KL_AUTO(secret) blob = NULL;
    enum kl_code code = kl_secret_read_file(kl_cmd_value(cmd, "byok-file"), FILE_MAX, &blob, err);

    if (code == KL_OK)
        code = kl_value_put_text(
            jwk, "kty", kty != NULL && strncmp(kty, "EC", 2) == 0 ? "EC-HSM" : "RSA-HSM", err);
    return code == KL_OK ? kl_value_put_bytes(jwk, "key_hsm", blob, err) : code;
}

enum kl_code kl_key_import(struct kl_cmd *cmd, struct kl_err *err)
{
    bool pem = kl_cmd_value(cmd, "pem-file") != NULL, byok = kl_cmd_value(cmd, "byok-file") != NULL;
    KL_AUTO(json) body = json_object();
    KL_AUTO(char) url = NULL;
    json_t *jwk = json_object();
    enum kl_code code = kl_target_key(cmd, KL_TARGET_KEYS, NULL, &url, err);

    json_object_set_new(body, "key", jwk);
    if (code == KL_OK && pem == byok)
        code =
            kl_fail(err, KL_USAGE, NULL, "one of --pem-file and --byok-file says what to import");
    if (code == KL_OK)
        code = pem ? put_pem(cmd, jwk, err) : put_byok(cmd, jwk, err);
    if (code == KL_OK)
        code = put_options(cmd, body, jwk, err);
    if (code == KL_OK && kl_cmd_flag(cmd, "no-backup"))
        json_object_set_new(body, "kluis", json_pack("{s:s}", "profile", "fixed"));
    return code == KL_OK ? show(cmd, "PUT", url, body, err) : code;
}
