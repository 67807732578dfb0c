#include "keyvault/op_admin.h"
#include "keyvault/ops.h"

#include "keyvault/alg.h"

#include <openssl/pem.h>
#include <string.h>

static json_t *algorithm_names(uint32_t algs)
{
    json_t *names = json_array();
    const struct kl_api_alg *row;
    for (size_t i = 0; (row = kl_alg_at(i)) != NULL; i++)
        if (row->token != KL_ALG_NONE && (algs & UINT32_C(1) << row->token) != 0)
            (void)json_array_append_new(names, json_string(row->name));
    return names;
}

static json_t *rsa_sizes(const struct kl_token_caps *caps)
{
    static const int sizes[] = {2048, 3072, 4096};
    json_t *list = json_array();
    for (size_t i = 0; i < KL_COUNT(sizes); i++)
        if (caps->rsa_bits_ok[i] != 0)
            (void)json_array_append_new(list, json_integer(sizes[i]));
    return list;
}

static json_t *curve_names(const struct kl_token_caps *caps)
{
    json_t *list = json_array();
    for (size_t i = KL_CURVE_P256; i < KL_COUNT(caps->curves_ok); i++)
        if (caps->curves_ok[i] != 0)
            (void)json_array_append_new(list, json_string(kl_curve_name((enum kl_curve)i)));
    return list;
}

/* A module's strings may hold anything: what is not UTF-8 becomes an empty text. */
static json_t *text_or_empty(const char *text)
{
    json_t *value = json_string(text);
    return value != NULL ? value : json_string("");
}

static json_t *token_json(struct kl_token *token)
{
    struct kl_token_status s;
    kl_token_status(token, &s);
    return json_pack(
        "{s:s, s:s, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:I}",
        "name", token->name, "state", kl_health_state(s.state), "text", text_or_empty(s.text),
        "circuit", kl_health_circuit(s.health.circuit), "losses", (json_int_t)s.health.losses,
        "lastCanary", (json_int_t)s.health.canary_unix, "lastCopy", (json_int_t)s.health.copy_unix,
        "generation", (json_int_t)s.generation, "calls", (json_int_t)s.calls, "failures",
        (json_int_t)s.failures, "restarts", (json_int_t)s.restarts, "lastOk",
        (json_int_t)s.last_ok_unix, "label", text_or_empty(s.caps.label), "model",
        text_or_empty(s.caps.model), "manufacturer", text_or_empty(s.caps.manufacturer), "serial",
        text_or_empty(s.caps.serial), "firmware", text_or_empty(s.caps.firmware), "algorithms",
        algorithm_names(s.caps.algs), "native", algorithm_names(s.caps.native_algs), "rsaBits",
        rsa_sizes(&s.caps), "curves", curve_names(&s.caps), "domainWrap", s.caps.domain_wrap != 0,
        "mac", s.caps.mac != 0, "workerPid", (json_int_t)s.worker_pid);
}

void kl_op_token_list(struct kl_op *op)
{
    json_t *list = json_array();
    for (size_t i = 0; i < op->service->token_count; i++)
        (void)json_array_append_new(list, token_json(op->service->tokens[i]));
    kl_admin_reply_list(op, list);
}

void kl_op_token_get(struct kl_op *op)
{
    for (size_t i = 0; i < op->service->token_count; i++) {
        if (strcmp(op->service->tokens[i]->name, op->name) == 0) {
            kl_admin_reply(op, 200, token_json(op->service->tokens[i]));
            return;
        }
    }
    (void)kl_op_ok(op, kl_fail(&op->err, KL_NOT_FOUND, "token", "There is no token of this name"));
}

static json_t *public_pem(EVP_PKEY *key)
{
    char *text = NULL;
    json_t *pem = NULL;
    BIO *memory = BIO_new(BIO_s_mem());
    if (memory != NULL && PEM_write_bio_PUBKEY(memory, key) == 1) {
        long n = BIO_get_mem_data(memory, &text);
        pem = json_stringn(text, (size_t)n);
    }
    BIO_free(memory);
    return pem;
}

/* JOSE name of the checkpoint signature that this key makes. */
static const char *signature_alg(const struct kl_key_version *key)
{
    static const char *const ec[] = {[KL_CURVE_NONE] = "",
                                     [KL_CURVE_P256] = "ES256",
                                     [KL_CURVE_P384] = "ES384",
                                     [KL_CURVE_P521] = "ES512"};
    return key->type == KL_KEY_RSA ? "RS256" : ec[key->curve];
}

static json_t *audit_keys(const struct kl_key_version *key)
{
    char kid[2 * KL_SPKI_HASH_LEN + 1];
    json_t *keys = json_array();
    if (key == NULL)
        return keys;
    kl_hex(key->ref.spki_hash, KL_SPKI_HASH_LEN, kid);
    (void)json_array_append_new(keys,
                                json_pack("{s:s, s:s, s:o}", "kid", kid, "alg", signature_alg(key),
                                          "publicKey", public_pem(key->public_key)));
    return keys;
}

void kl_op_audit_head(struct kl_op *op)
{
    uint64_t seq = 0;
    char chain[65];
    kl_audit_log_head(op->service->audit, &seq, chain);
    kl_admin_reply(op, 200,
                   json_pack("{s:I, s:s, s:o}", "seq", (json_int_t)seq, "chain", chain, "keys",
                             audit_keys(op->service->audit_key)));
}
