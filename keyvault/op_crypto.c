#include "keyvault/fair.h"
#include "keyvault/gate.h"
#include "keyvault/limit.h"
#include "keyvault/ops.h"
#include "keyvault/public_op.h"
#include "keyvault/request.h"
#include "keyvault/wire.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>

#define ALG_MAX   64   /* bytes; longer than any name */
#define OLDER_MAX 32   /* versions: what one request may cost the token */
#define VALUE_MAX 1024 /* bytes; the longest input that fits any operation is a modulus of 512 */

/* An encrypt or wrapKey that waits for the wrap gate. */
struct waiting {
    struct kl_op *op;
    const struct kl_api_alg *alg;
    size_t n;
    uint8_t plain[VALUE_MAX];
};

/* The body: as members when it is as simple as most are, else as a tree. */
static enum kl_code read_body(struct kl_op *op, struct kl_flat *flat)
{
    size_t n;
    const char *bytes = kl_http_body(op->http, &n);
    return kl_json_flat(bytes, n, flat) ? KL_OK : kl_op_need_body(op);
}

static enum kl_code need_text(struct kl_op *op, const struct kl_flat *flat, const char *name,
                              struct kl_span *ret)
{
    struct kl_span found = kl_flat_get(flat, name);
    if (flat->count == 0) {
        const char *text = NULL;
        enum kl_code code = kl_json_string(op->body, name, &text, &op->err);
        if (code != KL_OK)
            return code;
        found = (struct kl_span){text, text != NULL ? strlen(text) : 0};
    }
    if (found.n == 0)
        return kl_fail(&op->err, KL_BAD_INPUT, name, "Property %s is required", name);
    *ret = found;
    return KL_OK;
}

static enum kl_code need_bytes(struct kl_op *op, const struct kl_flat *flat, const char *name,
                               uint8_t out[static VALUE_MAX], size_t *ret_len)
{
    struct kl_span text = {NULL, 0};
    enum kl_code code = need_text(op, flat, name, &text);
    return code == KL_OK ? kl_wire_decode(text, name, out, VALUE_MAX, ret_len, &op->err) : code;
}

/* RSA1_5 is an opt-in of the vault, and never for keys that backups hang on: if it should leak in
 * spite of all, they are not what leaks. */
static enum kl_code check_rsa15(struct kl_op *op, const struct kl_api_alg *alg)
{
    if (alg->token != KL_ALG_RSA15)
        return KL_OK;
    if ((op->vault->extras & KL_EXTRA_RSA15) == 0)
        return kl_fail(&op->err, KL_BAD_INPUT, "alg",
                       "Algorithm '%s' is not supported on this vault", alg->name);
    if (op->key->for_backups)
        return kl_fail(&op->err, KL_BAD_INPUT, "alg",
                       "Algorithm '%s' is not supported for this key: backups were made under it",
                       alg->name);
    return KL_OK;
}

/* The steps that all operations with a key share: find, gate, algorithm. */
static enum kl_code begin(struct kl_op *op, enum kl_key_op use, enum kl_alg_use kind,
                          struct kl_flat *flat, const struct kl_api_alg **ret_alg)
{
    struct kl_span name = {NULL, 0};
    char alg[ALG_MAX + 1];
    enum kl_code code = read_body(op, flat);
    if (code == KL_OK)
        code =
            kl_key_find(op->service->model, op->vault, op->name, op->version, &op->key, &op->err);
    if (code == KL_OK)
        code = kl_limit_key(op->service->limits, op, &kl_request_of(op)->wait_ms, &op->err);
    if (code == KL_OK)
        code = kl_gate_check(op->key, use, kl_clock_unix(), &op->err);
    if (code == KL_OK)
        code = need_text(op, flat, "alg", &name);
    if (code != KL_OK)
        return code;
    (void)snprintf(alg, sizeof alg, "%.*s", (int)(name.n < ALG_MAX ? name.n : ALG_MAX), name.text);
    code = kl_alg_for_key(alg, kind, op->key, ret_alg, &op->err);
    return code == KL_OK ? check_rsa15(op, *ret_alg) : code;
}

/* {"kid":"…","value":"…"}: written without a tree and never moved, since the value may be a data
 * key. */
static void reply_value(struct kl_op *op, const void *value, size_t n)
{
    struct kl_buf json = KL_BUF_INIT(8192);
    kl_buf_reserve(&json, 512 + KL_B64URL_LEN(n));
    kl_buf_puts(&json, "{\"kid\":\"");
    kl_wire_put_id(&json, &op->origin, "keys", op->key->name, op->key->version);
    kl_buf_puts(&json, "\",\"value\":\"");
    kl_b64url_put(&json, value, n);
    kl_buf_puts(&json, "\"}");
    kl_op_reply_buf(op, 200, &json);
}

/* Does what the newest version could not open get a second chance with older ones? A text that
 * RSA1_5 yields is never known to be wrong. */
static bool may_try_older(const struct kl_op *op)
{
    return op->err.code == KL_DECRYPT_FAILED && op->version[0] == 0 && op->older < OLDER_MAX &&
           (op->vault->extras & KL_EXTRA_OLDER) != 0;
}

static kl_op_handler try_older;

static void private_done(void *arg, struct kl_token_reply *reply)
{
    struct kl_op *op = arg;
    if (reply->code == KL_DECRYPT_FAILED) {
        op->err = reply->err;
        if (may_try_older(op)) {
            kl_op_to_token_job(op, try_older);
            return;
        }
    }
    if (reply->code != KL_OK) {
        op->err = reply->err;
        (void)kl_op_ok(op, reply->code);
        return;
    }
    kl_gate_mark(op->key);
    reply_value(op, kl_secret_bytes(reply->output), kl_secret_len(reply->output));
}

static enum kl_code submit(struct kl_op *op, const struct kl_token_request *req)
{
    return kl_fair_submit(op->service->fair, op->caller.who.object_id, op->key, req, private_done,
                          op, &op->err);
}

/* A ciphertext that cannot be one is refused in the very words of one that does not decrypt. */
static enum kl_code check_ciphertext(struct kl_op *op, size_t n)
{
    if (n == op->key->bits / 8)
        return KL_OK;
    return kl_fail(&op->err, KL_DECRYPT_FAILED, "C_Decrypt", "Decryption failed");
}

static void private_op(struct kl_op *op, enum kl_key_op use, enum kl_alg_use kind,
                       enum kl_token_call call)
{
    const struct kl_api_alg *alg = NULL;
    struct kl_flat flat = {.count = 0};
    uint8_t input[VALUE_MAX];
    size_t n = 0;
    enum kl_code code = begin(op, use, kind, &flat, &alg);
    if (code == KL_OK)
        code = need_bytes(op, &flat, "value", input, &n);
    if (code == KL_OK && call == KL_CALL_DECRYPT)
        code = check_ciphertext(op, n);
    else if (code == KL_OK && n != alg->digest_len)
        code = kl_fail(&op->err, KL_BAD_INPUT, "sign",
                       "The digest must have %zu bytes for algorithm '%s'", alg->digest_len,
                       alg->name);
    if (code == KL_OK) {
        const struct kl_token_request req = {
            .call = call, .alg = alg->token, .input = input, .input_len = n};
        code = submit(op, &req);
        if (code == KL_OK)
            return; /* the op belongs to the callback now */
    }
    if (code == KL_DECRYPT_FAILED && may_try_older(op))
        kl_op_to_token_job(op, try_older);
    else
        (void)kl_op_ok(op, code);
}

/* The next older version that is enabled and has the length; when there is none, the answer is what
 * the newest one gave. However many were tried, it says the same. */
static void try_older(struct kl_op *op)
{
    struct kl_key_version *older = NULL;
    struct kl_err err, first = op->err;
    struct kl_flat flat = {.count = 0};
    const struct kl_api_alg *alg = NULL;
    struct kl_span name = {NULL, 0};
    uint8_t input[VALUE_MAX];
    char text[ALG_MAX + 1];
    size_t n = 0;
    enum kl_code code = read_body(op, &flat);
    if (code == KL_OK)
        code = need_bytes(op, &flat, "value", input, &n);
    if (code == KL_OK)
        code = need_text(op, &flat, "alg", &name);
    do {
        if (code == KL_OK)
            code =
                kl_key_older(op->service->model, op->vault, op->name, op->key->seq, &older, &err);
        if (code == KL_OK) {
            kl_key_version_unref(op->key);
            op->key = older;
            op->older++;
        }
    } while (code == KL_OK && check_ciphertext(op, n) != KL_OK);
    if (code == KL_OK) {
        (void)snprintf(text, sizeof text, "%.*s", (int)(name.n < ALG_MAX ? name.n : ALG_MAX),
                       name.text);
        code = kl_alg_for_key(text, KL_USE_CIPHER, op->key, &alg, &err);
    }
    if (code == KL_OK) {
        const struct kl_token_request req = {
            .call = KL_CALL_DECRYPT, .alg = alg->token, .input = input, .input_len = n};
        if (submit(op, &req) == KL_OK)
            return;
        (void)kl_op_ok(op, op->err.code);
        return;
    }
    op->err = first;
    (void)kl_op_ok(op, KL_DECRYPT_FAILED);
}

void kl_op_decrypt(struct kl_op *op)
{
    private_op(op, KL_OP_DECRYPT, KL_USE_CIPHER, KL_CALL_DECRYPT);
}

void kl_op_unwrap(struct kl_op *op)
{
    private_op(op, KL_OP_UNWRAP, KL_USE_CIPHER, KL_CALL_DECRYPT);
}

void kl_op_sign(struct kl_op *op)
{
    private_op(op, KL_OP_SIGN, KL_USE_SIGNATURE, KL_CALL_SIGN);
}

static void encrypt_now(struct kl_op *op, const struct kl_api_alg *alg, const uint8_t *plain,
                        size_t n)
{
    uint8_t sealed[KL_MAX_MODULUS];
    size_t len = 0;
    if (kl_op_ok(op, kl_public_encrypt(alg, op->key, plain, n, sealed, &len, &op->err)))
        reply_value(op, sealed, len);
}

static void proven(void *arg, const struct kl_err *err)
{
    struct waiting *w = arg;
    if (err != NULL)
        kl_op_fail(w->op, err);
    else
        encrypt_now(w->op, w->alg, w->plain, w->n);
    kl_wipe(w, sizeof *w);
    free(w);
}

static bool says_backup(const struct kl_op *op, const struct kl_flat *flat)
{
    const char *text = NULL;
    struct kl_span use = kl_flat_get(flat, "kluisUse");
    if (flat->count == 0 && kl_json_string(op->body, "kluisUse", &text, NULL) == KL_OK)
        use = (struct kl_span){text, text != NULL ? strlen(text) : 0};
    return use.n == strlen("backup") && strncmp(use.text, "backup", use.n) == 0;
}

static kl_op_handler wrap_for_backup;

static void encrypt(struct kl_op *op, enum kl_key_op use, bool marked)
{
    const struct kl_api_alg *alg = NULL;
    struct kl_flat flat = {.count = 0};
    uint8_t plain[VALUE_MAX];
    size_t n = 0;
    struct waiting *w = NULL;
    enum kl_code code = begin(op, use, KL_USE_CIPHER, &flat, &alg);
    if (code == KL_OK)
        code = kl_alg_on_token(alg, op->key, &op->err);
    if (code == KL_OK)
        code = need_bytes(op, &flat, "value", plain, &n);
    if (!kl_op_ok(op, code))
        goto done;
    if (use == KL_OP_WRAP && !marked && !op->key->for_backups && says_backup(op, &flat)) {
        kl_op_to_token_job(op, wrap_for_backup);
        goto done;
    }
    if (n > kl_alg_max_plain(alg, op->key->bits) || kl_gate_open(op->service->gate, alg, op->key)) {
        encrypt_now(op, alg, plain, n);
        goto done;
    }
    w = malloc(sizeof *w);
    if (w == NULL) {
        (void)kl_op_ok(op, kl_fail(&op->err, KL_NO_MEMORY, "encrypt", "No memory"));
        goto done;
    }
    *w = (struct waiting){.op = op, .alg = alg, .n = n};
    memcpy(w->plain, plain, n);
    kl_gate_prove(op->service->gate, alg, op->key, proven, w);
done:
    kl_wipe(plain, sizeof plain);
}

void kl_op_encrypt(struct kl_op *op)
{
    encrypt(op, KL_OP_ENCRYPT, false);
}

void kl_op_wrap(struct kl_op *op)
{
    encrypt(op, KL_OP_WRAP, false);
}

/* The first backup under a key marks it. A store that cannot be written stops no backup. */
static void wrap_for_backup(struct kl_op *op)
{
    struct kl_err err;
    if (kl_key_mark_for_backups(op->service->model, op->vault, op->name, &err) != KL_OK)
        kl_log_err(KL_LOG_WARNING, "key not marked as one of backups", &err);
    kl_key_version_unref(op->key);
    op->key = NULL;
    encrypt(op, KL_OP_WRAP, true);
}

void kl_op_verify(struct kl_op *op)
{
    const struct kl_api_alg *alg = NULL;
    struct kl_flat flat = {.count = 0};
    uint8_t digest[VALUE_MAX], signature[VALUE_MAX];
    size_t digest_len = 0, n = 0;
    bool valid = false;
    enum kl_code code = begin(op, KL_OP_VERIFY, KL_USE_SIGNATURE, &flat, &alg);
    if (code == KL_OK)
        code = need_bytes(op, &flat, "digest", digest, &digest_len);
    if (code == KL_OK)
        code = need_bytes(op, &flat, "value", signature, &n);
    if (code == KL_OK && digest_len != alg->digest_len)
        code = kl_fail(&op->err, KL_BAD_INPUT, "verify",
                       "The digest must have %zu bytes for algorithm '%s'", alg->digest_len,
                       alg->name);
    if (code == KL_OK)
        code = kl_public_verify(alg, op->key, digest, signature, n, &valid, &op->err);
    if (!kl_op_ok(op, code))
        return;
    struct kl_buf json = KL_BUF_INIT(64);
    kl_buf_printf(&json, "{\"value\":%s}", valid ? "true" : "false");
    kl_op_reply_buf(op, 200, &json);
}

static void random_done(void *arg, struct kl_token_reply *reply)
{
    struct kl_op *op = arg;
    if (reply->code != KL_OK) {
        op->err = reply->err;
        (void)kl_op_ok(op, reply->code);
        return;
    }
    struct kl_buf json = KL_BUF_INIT(1024);
    kl_buf_reserve(&json, 512);
    kl_buf_puts(&json, "{\"value\":\"");
    kl_b64url_put(&json, kl_secret_bytes(reply->output), kl_secret_len(reply->output));
    kl_buf_puts(&json, "\"}");
    kl_op_reply_buf(op, 200, &json);
}

void kl_op_random(struct kl_op *op)
{
    int64_t count = 0;
    enum kl_code code = kl_op_need_body(op);
    if (code == KL_OK)
        code = kl_json_int(op->body, "count", 1, 128, &count, &op->err);
    if (code == KL_OK && count == 0)
        code = kl_fail(&op->err, KL_BAD_INPUT, "rng", "Property count is required: 1 to 128");
    if (code == KL_OK) {
        const struct kl_token_request req = {.call = KL_CALL_RANDOM, .count = (uint32_t)count};
        code = kl_fail(&op->err, KL_TOKEN_UNAVAILABLE, "token", "The token is not configured");
        for (size_t i = 0; i < op->vault->home_count; i++) {
            struct kl_token *home = op->vault->homes[i].token;
            if (home == NULL)
                continue;
            code = kl_token_submit(home, &req, random_done, op, &op->err);
            if (code == KL_OK)
                return; /* the op belongs to the callback now */
        }
    }
    (void)kl_op_ok(op, code);
}
