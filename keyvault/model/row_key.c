/* The row-protection key of a token, and how it is known again: a wrong one would make of every
 * record that is written with it one that a foreign hand seems to have changed. */
#include "base/encoding.h"
#include "keyvault/model/inside.h"

#include <openssl/evp.h>
#include <string.h>

#define SUM_LEN  32
#define NOTE_MAX (KL_ROW_NAME + 32)

static const char key_label[] = "kluis row protection key 1";
static const char check_label[] = "kluis row key check 1";

/* What is noted of a key says nothing about it: it is random, and hashed. */
static enum kl_code sum_of(struct kl_secret *key, char ret[static 2 * SUM_LEN + 1],
                           struct kl_err *err)
{
    uint8_t bytes[sizeof check_label + KL_ROW_MAC], sum[SUM_LEN];
    memcpy(bytes, check_label, sizeof check_label);
    memcpy(bytes + sizeof check_label, kl_secret_bytes(key), KL_ROW_MAC);
    int done = EVP_Digest(bytes, sizeof bytes, sum, NULL, EVP_sha256(), NULL);
    kl_wipe(bytes, sizeof bytes);
    if (done != 1)
        return kl_fail_ossl(err, "SHA-256", "cannot check a row key");
    kl_hex(sum, sizeof sum, ret);
    return KL_OK;
}

static enum kl_code fetch(struct kl_token *t, bool known, struct kl_secret **ret,
                          struct kl_err *err)
{
    struct kl_token_request req = {.call = KL_CALL_MAC,
                                   .count = known ? KL_MAC_KEY_EXISTS : 0,
                                   .input = key_label,
                                   .input_len = sizeof key_label - 1};
    KL_AUTO(secret) key = NULL;
    enum kl_code code = kl_token_call(t, &req, &key, NULL, err);
    if (code == KL_TOKEN_UNSUPPORTED && known)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "KL_CALL_MAC",
                       "token %s made MACs before and refuses to now", t->name);
    if (code != KL_OK)
        return code;
    if (key == NULL || kl_secret_len(key) != KL_ROW_MAC)
        return kl_fail(err, KL_INTERNAL, "KL_CALL_MAC", "token %s made a MAC of a wrong length",
                       t->name);
    *ret = kl_take(key);
    return KL_OK;
}

enum kl_code kl_protect_ask(const struct kl_model *m, struct kl_token *t, struct kl_secret **ret,
                            struct kl_err *err)
{
    char name[NOTE_MAX], sum[2 * SUM_LEN + 1];
    KL_AUTO(char) noted = NULL;
    KL_AUTO(secret) key = NULL;
    struct kl_model *notes = (struct kl_model *)m;
    (void)snprintf(name, sizeof name, "row-key-check %s", t->name);
    enum kl_code code = kl_model_note_get(notes, name, &noted, err);
    if (code != KL_OK && code != KL_NOT_FOUND)
        return code;
    bool known = code == KL_OK;
    code = fetch(t, known, &key, err);
    if (code == KL_OK)
        code = sum_of(key, sum, err);
    if (code == KL_OK && !known)
        code = kl_model_note_put(notes, name, sum, err);
    else if (code == KL_OK && strcmp(noted, sum) != 0)
        code = kl_fail(err, KL_TOKEN_UNAVAILABLE, "KL_CALL_MAC",
                       "token %s does not have the MAC key that protects this service's records: "
                       "another token, or one that is not well",
                       t->name);
    if (code == KL_OK)
        *ret = kl_take(key);
    return code;
}
