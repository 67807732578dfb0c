/* Operations with a key. Plaintexts, data keys and messages come from files or standard input only:
 * an argument is visible to every user of the host. */
#include "base/encoding.h"
#include "cli/cmd_key.h"
#include "cli/out.h"
#include "cli/target.h"
#include "cli/value.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct kl_column result_columns[] = {
    {"Key", "kid", KL_COLUMN_TEXT},
    {"Value", "value", KL_COLUMN_TEXT},
};

/* What differs between the verbs that take data and give data back. */
struct operation {
    const char *route;
    bool secret_result; /* plaintext comes back */
};

static const struct operation encrypt_operation = {.route = "encrypt"};
static const struct operation decrypt_operation = {.route = "decrypt", .secret_result = true};
static const struct operation wrap_operation = {.route = "wrapkey"};
static const struct operation unwrap_operation = {.route = "unwrapkey", .secret_result = true};

/* The value of an answer as bytes, to --out ("-": standard output). */
static enum kl_code write_result(const struct kl_cmd *cmd, const json_t *answer, struct kl_err *err)
{
    const char *out = kl_cmd_value(cmd, "out");
    const char *text = NULL;
    KL_AUTO(secret) bytes = kl_secret_new(KL_VALUE_MAX);
    size_t n = 0;
    enum kl_code code = kl_json_string(answer, "value", &text, err);

    if (code != KL_OK)
        return code;
    if (bytes == NULL || text == NULL || kl_secret_resize(bytes, strlen(text)) != KL_OK ||
        kl_b64url_decode(text, strlen(text), kl_secret_bytes(bytes), kl_secret_len(bytes), &n) !=
            KL_OK)
        return kl_fail(err, KL_CORRUPT, NULL, "the service's answer holds no value");
    if (strcmp(out, "-") == 0)
        return kl_out_bytes(kl_secret_bytes(bytes), n, err);
    return kl_value_write(out, kl_cmd_flag(cmd, "force"), kl_secret_bytes(bytes), n, err);
}

static enum kl_code check_result_target(const struct kl_cmd *cmd, const struct operation *op,
                                        struct kl_err *err)
{
    const char *out = kl_cmd_value(cmd, "out");

    if (out != NULL && strcmp(out, "-") != 0)
        return kl_value_check_target(out, kl_cmd_flag(cmd, "force"), err);
    if (op->secret_result && isatty(STDOUT_FILENO) && !kl_cmd_flag(cmd, "show-secret"))
        return kl_fail(err, KL_USAGE, NULL,
                       "the result is a secret: name a file with --out, or say --show-secret");
    return KL_OK;
}

/* The bytes to work on: --value where the verb has it, else --file or standard input. */
static enum kl_code read_input(const struct kl_cmd *cmd, const struct operation *op,
                               struct kl_secret **ret, struct kl_err *err)
{
    const char *value = op->secret_result ? kl_cmd_value(cmd, "value") : NULL;

    if (value != NULL && kl_cmd_value(cmd, "file") != NULL)
        return kl_fail(err, KL_USAGE, NULL, "--value and --file exclude each other");
    if (value != NULL)
        return kl_value_decode("value", value, ret, err);
    return kl_value_read(kl_cmd_value(cmd, "file"), ret, err);
}

static enum kl_code operate(struct kl_cmd *cmd, const struct operation *op, struct kl_err *err)
{
    const char *alg = kl_cmd_value(cmd, "algorithm");
    KL_AUTO(secret) input = NULL;
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) body = json_object();
    KL_AUTO(json) answer = NULL;
    enum kl_code code = check_result_target(cmd, op, err);

    if (code == KL_OK)
        code = read_input(cmd, op, &input, err);
    if (code == KL_OK)
        code = kl_target_key(cmd, KL_TARGET_KEYS, op->route, &url, err);
    if (code == KL_OK)
        code = kl_value_put_text(body, "alg", alg != NULL ? alg : "RSA-OAEP-256", err);
    if (code == KL_OK)
        code = kl_value_put_bytes(body, "value", input, err);
    if (code == KL_OK)
        code = kl_target_call(cmd, "POST", url, body, &answer, err);
    if (code != KL_OK)
        return code;
    if (kl_cmd_value(cmd, "out") != NULL)
        return write_result(cmd, answer, err);
    return kl_out_show(cmd, answer, result_columns, KL_COUNT(result_columns), err);
}

enum kl_code kl_key_encrypt(struct kl_cmd *cmd, struct kl_err *err)
{
    return operate(cmd, &encrypt_operation, err);
}

enum kl_code kl_key_decrypt(struct kl_cmd *cmd, struct kl_err *err)
{
    return operate(cmd, &decrypt_operation, err);
}

enum kl_code kl_key_wrap(struct kl_cmd *cmd, struct kl_err *err)
{
    return operate(cmd, &wrap_operation, err);
}

enum kl_code kl_key_unwrap(struct kl_cmd *cmd, struct kl_err *err)
{
    return operate(cmd, &unwrap_operation, err);
}

/* ---- sign, verify ---- */

/* The hash that an algorithm's name ends in: RS256, PS384, ES512. */
static const EVP_MD *hash_of(const char *alg)
{
    const char *digits = alg + strcspn(alg, "0123456789");

    if (strcmp(digits, "256") == 0 || strcmp(digits, "256K") == 0)
        return EVP_sha256();
    if (strcmp(digits, "384") == 0)
        return EVP_sha384();
    return strcmp(digits, "512") == 0 ? EVP_sha512() : NULL;
}

static enum kl_code digest_file(const char *path, const char *alg, struct kl_secret *ret,
                                struct kl_err *err)
{
    bool standard = path == NULL || strcmp(path, "-") == 0;
    const EVP_MD *md = hash_of(alg);
    EVP_MD_CTX *ctx = NULL;
    FILE *in = NULL;
    uint8_t chunk[65536], digest[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    size_t got;
    enum kl_code code = KL_OK;

    if (path == NULL && isatty(STDIN_FILENO))
        return kl_fail(err, KL_USAGE, NULL,
                       "give the message by --file or on standard input, or its --digest");
    in = standard ? stdin : fopen(path, "re");
    if (in == NULL)
        return kl_fail_errno(err, "open", "cannot read %s", path);
    ctx = EVP_MD_CTX_new();
    if (md == NULL || ctx == NULL || EVP_DigestInit_ex(ctx, md, NULL) != 1)
        code = kl_fail(err, KL_USAGE, NULL, "no hash belongs to --algorithm %s", alg);
    while (code == KL_OK && (got = fread(chunk, 1, sizeof(chunk), in)) > 0) {
        if (EVP_DigestUpdate(ctx, chunk, got) != 1)
            code = kl_fail_ossl(err, "EVP_DigestUpdate", "cannot hash");
    }
    if (code == KL_OK && ferror(in))
        code = kl_fail_errno(err, "read", "cannot read %s", standard ? "standard input" : path);
    if (code == KL_OK && EVP_DigestFinal_ex(ctx, digest, &n) != 1)
        code = kl_fail_ossl(err, "EVP_DigestFinal_ex", "cannot hash");
    if (code == KL_OK)
        code = kl_secret_append(ret, digest, n);
    kl_wipe(chunk, sizeof(chunk));
    EVP_MD_CTX_free(ctx);
    if (!standard)
        fclose(in);
    return code;
}

/* body = {alg, `member`: digest}. */
static enum kl_code put_digest(const struct kl_cmd *cmd, const char *member, json_t *body,
                               struct kl_err *err)
{
    const char *alg = kl_cmd_value(cmd, "algorithm");
    const char *digest = kl_cmd_value(cmd, "digest");
    KL_AUTO(secret) bytes = NULL;
    enum kl_code code = kl_value_put_text(body, "alg", alg, err);

    if (code == KL_OK && digest != NULL && kl_cmd_value(cmd, "file") != NULL)
        code = kl_fail(err, KL_USAGE, NULL, "--digest and --file exclude each other");
    if (code == KL_OK && digest != NULL)
        code = kl_value_decode("digest", digest, &bytes, err);
    if (code == KL_OK && digest == NULL) {
        bytes = kl_secret_new(EVP_MAX_MD_SIZE);
        code = bytes != NULL ? digest_file(kl_cmd_value(cmd, "file"), alg, bytes, err)
                             : kl_fail(err, KL_NO_MEMORY, "malloc", "out of memory");
    }
    return code == KL_OK ? kl_value_put_bytes(body, member, bytes, err) : code;
}

enum kl_code kl_key_sign(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *out = kl_cmd_value(cmd, "out");
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) body = json_object();
    KL_AUTO(json) answer = NULL;
    enum kl_code code = KL_OK;

    if (out != NULL && strcmp(out, "-") != 0)
        code = kl_value_check_target(out, kl_cmd_flag(cmd, "force"), err);
    if (code == KL_OK)
        code = put_digest(cmd, "value", body, err);
    if (code == KL_OK)
        code = kl_target_key(cmd, KL_TARGET_KEYS, "sign", &url, err);
    if (code == KL_OK)
        code = kl_target_call(cmd, "POST", url, body, &answer, err);
    if (code != KL_OK)
        return code;
    return out != NULL ? write_result(cmd, answer, err)
                       : kl_out_show(cmd, answer, result_columns, KL_COUNT(result_columns), err);
}

static enum kl_code put_signature(const struct kl_cmd *cmd, json_t *body, struct kl_err *err)
{
    const char *text = kl_cmd_value(cmd, "signature");
    const char *file = kl_cmd_value(cmd, "signature-file");
    KL_AUTO(secret) bytes = NULL;
    enum kl_code code;

    if ((text == NULL) == (file == NULL))
        return kl_fail(err, KL_USAGE, NULL, "give either --signature or --signature-file");
    code = text != NULL ? kl_value_decode("signature", text, &bytes, err)
                        : kl_value_read(file, &bytes, err);
    return code == KL_OK ? kl_value_put_bytes(body, "value", bytes, err) : code;
}

enum kl_code kl_key_verify(struct kl_cmd *cmd, struct kl_err *err)
{
    static const struct kl_column columns[] = {{"Valid", "value", KL_COLUMN_TEXT}};
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) body = json_object();
    KL_AUTO(json) answer = NULL;
    bool valid = false;
    enum kl_code code = put_signature(cmd, body, err);

    if (code == KL_OK)
        code = put_digest(cmd, "digest", body, err);
    if (code == KL_OK)
        code = kl_target_key(cmd, KL_TARGET_KEYS, "verify", &url, err);
    if (code == KL_OK)
        code = kl_target_call(cmd, "POST", url, body, &answer, err);
    if (code == KL_OK)
        code = kl_json_bool(answer, "value", &valid, err);
    if (code == KL_OK)
        code = kl_out_show(cmd, answer, columns, KL_COUNT(columns), err);
    if (code == KL_OK && !valid)
        code = kl_fail(err, KL_CORRUPT, NULL, "the signature is not valid");
    return code;
}
