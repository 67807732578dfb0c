#include "tests/fault/stage.h"

#include "base/encoding.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void must(enum kl_code code, const struct kl_err *err)
{
    if (code != KL_OK)
        fail_msg("%s: %s (%s)", kl_code_name(code), err->text, err->op);
}

static void file_name(const struct stage *s, const char *ending, char out[static 128])
{
    (void)snprintf(out, 128, "%s%s", s->script, ending);
}

void stage_script(struct stage *s, const char *text)
{
    char next[128], other[128];
    file_name(s, ".new", next);
    site_write(next, text);
    assert_int_equal(rename(next, s->script), 0);
    if (s->token != NULL)
        return;
    file_name(s, ".state", other);
    (void)unlink(other);
    file_name(s, ".count", other);
    (void)unlink(other);
}

void stage_close(struct stage *s)
{
    if (s->token != NULL)
        kl_token_close(s->token);
    s->token = NULL;
}

bool stage_open(struct stage *s, int64_t limit_ms)
{
    stage_close(s);
    s->token = site_open(&s->site);
    return site_wait(s->token, KL_TOKEN_READY, limit_ms);
}

static struct test_key make(struct stage *s, struct kl_key_spec spec)
{
    struct test_key k;
    struct kl_err err;
    must(keys_generate(s->token, &spec, &k, &err), &err);
    return k;
}

void stage_make(struct stage *s)
{
    const char *module = getenv("KLUIS_FAULT");
    struct kl_err err;
    assert_non_null(module);
    *s = (struct stage){.trust_plain = true, .trust_signatures = true};
    site_make(&s->site, true);
    (void)snprintf(s->script, sizeof s->script, "%s/script", s->site.dir);
    assert_int_equal(setenv("KLUIS_FAULT_MODULE", s->site.module, 1), 0);
    assert_int_equal(setenv("KLUIS_FAULT_SCRIPT", s->script, 1), 0);
    (void)snprintf(s->site.module, sizeof s->site.module, "%s", module);
    stage_script(s, "");
    assert_true(stage_open(s, 30000));
    s->rsa = make(s, keys_rsa(2048, KL_PROFILE_DOMAIN, true, false));
    s->signer = make(s, keys_rsa(2048, KL_PROFILE_FIXED, false, true));
    s->ec = make(s, keys_ec(KL_CURVE_P256, KL_PROFILE_FIXED));
    struct kl_token_request mac = {.call = KL_CALL_MAC, .input = "stage", .input_len = 5};
    KL_AUTO(secret) out = NULL;
    must(kl_token_call(s->token, &mac, &out, NULL, &err), &err);
    memcpy(s->mac, kl_secret_bytes(out), sizeof s->mac);
    struct kl_token_request wrap = {.call = KL_CALL_WRAP, .key = s->rsa.ref};
    must(kl_token_call(s->token, &wrap, &s->wrapped, &s->mechanism, &err), &err);
}

void stage_remove(struct stage *s)
{
    stage_close(s);
    kl_secret_free(s->wrapped);
    site_remove(&s->site);
}

static enum kl_code decrypt_bad(struct stage *s, struct kl_err *err)
{
    uint8_t cipher[256], out[512];
    size_t n;
    kl_random(cipher, sizeof cipher);
    cipher[0] = 0;
    enum kl_code code =
        keys_decrypt(s->token, &s->rsa, KL_ALG_OAEP_SHA256, cipher, sizeof cipher, out, &n, err);
    assert_int_not_equal(code, KL_OK);
    return code == KL_DECRYPT_FAILED ? KL_OK : code;
}

static enum kl_code sign(struct stage *s, const struct test_key *k, enum kl_token_alg alg,
                         struct kl_err *err)
{
    bool good = false;
    enum kl_code code = keys_sign(s->token, k, alg, &good, err);
    assert_true(code != KL_OK || good);
    return code;
}

static enum kl_code mac(struct stage *s, struct kl_err *err)
{
    KL_AUTO(secret) out = NULL;
    struct kl_token_request req = {.call = KL_CALL_MAC, .input = "stage", .input_len = 5};
    enum kl_code code = kl_token_call(s->token, &req, &out, NULL, err);
    if (code == KL_OK && s->trust_signatures)
        assert_memory_equal(kl_secret_bytes(out), s->mac, sizeof s->mac);
    return code;
}

static enum kl_code find(struct stage *s, struct kl_err *err)
{
    KL_AUTO(secret) out = NULL;
    const struct test_key *key = s->other ? &s->signer : &s->rsa;
    struct kl_token_request req = {.call = KL_CALL_FIND, .key = key->ref};
    enum kl_code code = kl_token_call(s->token, &req, &out, NULL, err);
    if (code == KL_OK) {
        assert_int_equal(kl_secret_len(out), key->spki_len);
        assert_memory_equal(kl_secret_bytes(out), key->spki, key->spki_len);
    }
    return code;
}

static enum kl_code unwrap(struct stage *s, struct kl_err *err)
{
    struct kl_token_request req = {.call = KL_CALL_UNWRAP,
                                   .key = s->rsa.ref,
                                   .spec = s->rsa.spec,
                                   .mechanism = s->mechanism,
                                   .input = kl_secret_bytes(s->wrapped),
                                   .input_len = kl_secret_len(s->wrapped)};
    kl_random(req.key.id, sizeof req.key.id);
    s->made = s->rsa;
    memcpy(s->made.ref.id, req.key.id, sizeof req.key.id);
    return kl_token_call(s->token, &req, NULL, NULL, err);
}

static enum kl_code listed(struct stage *s, struct kl_err *err)
{
    KL_AUTO(secret) out = NULL;
    struct kl_token_request req = {.call = KL_CALL_LIST};
    static const uint8_t nothing[KL_SPKI_HASH_LEN];
    struct kl_token_listed row;
    enum kl_code code = kl_token_call(s->token, &req, &out, NULL, err);
    if (code != KL_OK)
        return code;
    for (size_t at = 0; at + sizeof row <= kl_secret_len(out); at += sizeof row) {
        memcpy(&row, kl_secret_bytes(out) + at, sizeof row);
        bool said = memcmp(row.key.spki_hash, nothing, sizeof nothing) != 0;
        if (said && memcmp(row.key.id, s->rsa.ref.id, sizeof row.key.id) == 0)
            assert_memory_equal(row.key.spki_hash, s->rsa.ref.spki_hash, KL_SPKI_HASH_LEN);
    }
    return KL_OK;
}

static enum kl_code simple(struct stage *s, enum kl_token_call call, struct kl_err *err)
{
    struct kl_token_request req = {.call = call, .key = s->rsa.ref, .count = 32};
    return kl_token_call(s->token, &req, NULL, NULL, err);
}

static enum kl_code generate(struct stage *s, struct kl_err *err)
{
    struct kl_key_spec spec = keys_ec(KL_CURVE_P256, KL_PROFILE_FIXED);
    return keys_generate(s->token, &spec, &s->made, err);
}

enum kl_code stage_do(struct stage *s, enum stage_op op, struct kl_err *err)
{
    switch (op) {
    case STAGE_DECRYPT_RAW:
        return keys_round_trip(s->token, &s->rsa, KL_ALG_OAEP_SHA256, err);
    case STAGE_DECRYPT_NATIVE:
        return keys_round_trip(s->token, &s->rsa,
                               s->trust_plain ? KL_ALG_OAEP_SHA1 : KL_ALG_OAEP_SHA256, err);
    case STAGE_DECRYPT_BAD:
        return decrypt_bad(s, err);
    case STAGE_SIGN_RSA:
        return sign(s, &s->signer, KL_ALG_PS256, err);
    case STAGE_SIGN_EC:
        return sign(s, &s->ec, KL_ALG_ES256, err);
    case STAGE_RANDOM:
        return simple(s, KL_CALL_RANDOM, err);
    case STAGE_MAC:
        return mac(s, err);
    case STAGE_FIND:
        return find(s, err);
    case STAGE_GENERATE:
        return generate(s, err);
    case STAGE_DESTROY:
        return keys_simple(s->token, KL_CALL_DESTROY, &s->made, err);
    case STAGE_WRAP:
        return simple(s, KL_CALL_WRAP, err);
    case STAGE_UNWRAP:
        return unwrap(s, err);
    case STAGE_LIST:
        return listed(s, err);
    case STAGE_PROBE:
        return simple(s, KL_CALL_PROBE, err);
    case STAGE_OPS:
        break;
    }
    fail();
    return KL_INTERNAL;
}

enum kl_code stage_prove(struct stage *s, struct kl_err *err)
{
    if (s->made.spec.type == KL_KEY_EC)
        return sign(s, &s->made, KL_ALG_ES256, err);
    return keys_round_trip(s->token, &s->made, KL_ALG_OAEP_SHA256, err);
}

bool stage_unhurt(const struct stage *s)
{
    struct stat st;
    char path[128];
    file_name(s, ".crash", path);
    return stat(path, &st) != 0 || st.st_size == 0;
}

const char *stage_op_name(enum stage_op op)
{
    static const char *const names[] = {
        "decrypt raw", "decrypt native", "decrypt garbage", "sign RSA", "sign EC", "random",
        "mac",         "find",           "generate",        "destroy",  "wrap",    "unwrap",
        "list",        "probe"};
    return names[op];
}

unsigned long stage_calls(const struct stage *s, const char *function)
{
    char path[128], name[64];
    unsigned long count = 0, calls = 0;
    file_name(s, ".count", path);
    KL_AUTO(file) f = fopen(path, "r");
    while (f != NULL && fscanf(f, "%63s %lu", name, &count) == 2)
        if (strcmp(name, function) == 0)
            calls = count;
    return calls;
}
