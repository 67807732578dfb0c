#include "keyvault/audit_log.h"

#include "base/http_server.h"
#include "keyvault/model/model.h"

#include <openssl/sha.h>

#define MAX_WAITING 65536 /* records; about 64 MiB of memory at worst */

struct kl_audit_log {
    struct kl_chain_log *chain;
    struct kl_chain_signer signer;
    struct kl_key_version *key;
    char key_id[2 * KL_SPKI_HASH_LEN + 1];
};

/* ES256 over SHA-256, or RS256 where the token has no curves. */
static enum kl_code sign(void *arg, const void *bytes, size_t n, struct kl_buf *ret_signature,
                         struct kl_err *err)
{
    const struct kl_audit_log *a = arg;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    KL_AUTO(secret) signature = NULL;
    SHA256(bytes, n, digest);
    const struct kl_token_request req = {.call = KL_CALL_SIGN,
                                         .alg = a->key->type == KL_KEY_EC ? KL_ALG_ES256
                                                                          : KL_ALG_RS256,
                                         .input = digest,
                                         .input_len = sizeof digest};
    enum kl_code code = kl_home_call(a->key, &req, &signature, err);
    if (code == KL_OK)
        kl_buf_put(ret_signature, kl_secret_bytes(signature), kl_secret_len(signature));
    return code;
}

enum kl_code kl_audit_log_open(const struct kl_audit_config *config, struct kl_key_version *key,
                               bool accept_loss, struct kl_audit_log **ret, struct kl_err *err)
{
    struct kl_audit_log *a = calloc(1, sizeof *a);
    if (a == NULL)
        return kl_fail(err, KL_NO_MEMORY, "audit", "No memory for the audit log");
    kl_hex(key->ref.spki_hash, KL_SPKI_HASH_LEN, a->key_id);
    a->signer = (struct kl_chain_signer){.sign = sign,
                                         .arg = a,
                                         .alg = key->type == KL_KEY_EC ? "ES256" : "RS256",
                                         .key_id = a->key_id};
    const struct kl_chain_config chain = {.path = config->path,
                                          .head_path = config->head,
                                          .signer = &a->signer,
                                          .checkpoint_records =
                                              (unsigned)config->checkpoint_records,
                                          .checkpoint_ms = config->checkpoint_ms,
                                          .max_waiting = MAX_WAITING,
                                          .gather_us = config->gather_ms * 1000,
                                          .before_done = kl_http_hold_replies,
                                          .after_done = kl_http_release_replies};
    a->key = kl_key_version_ref(key);
    enum kl_code code = kl_chain_open(&chain, &a->chain, err);
    if (code == KL_CORRUPT && accept_loss)
        code = kl_chain_open_after_loss(&chain, &a->chain, err);
    if (code != KL_OK)
        kl_audit_log_close(a);
    else
        *ret = a;
    return code;
}

void kl_audit_log_close(struct kl_audit_log *a)
{
    if (a == NULL)
        return;
    if (a->chain != NULL)
        kl_chain_close(a->chain);
    kl_key_version_unref(a->key);
    free(a);
}

void kl_audit_log_expect(struct kl_audit_log *a, int change)
{
    kl_chain_expect(a->chain, change);
}

enum kl_code kl_audit_log_append(struct kl_audit_log *a, const char *members, size_t n,
                                 kl_chain_done *done, void *arg)
{
    return kl_chain_append(a->chain, members, n, done, arg);
}

void kl_audit_log_head(struct kl_audit_log *a, uint64_t *ret_seq, char ret_chain[static 65])
{
    kl_chain_head(a->chain, ret_seq, ret_chain);
}
