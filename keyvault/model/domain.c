#include "keyvault/model/domain.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

/* Labels count with their NUL. */
#define EARLY_LABEL "kluis domain 1"
#define NAME_LABEL  "kluis domain 2"
#define LABEL_MAX   64
#define HASH_LEN    32

static bool is_early(const struct kl_token_domain *key)
{
    return key->origin == KL_DOMAIN_EARLY;
}

/* Under the domain's MAC key: for an early one that is the service's own, named by an id of zeros.
 */
static enum kl_code mac(struct kl_token *token, const struct kl_token_domain *key,
                        const void *input, size_t n, uint8_t ret[static KL_DOMAIN_SEAL_LEN],
                        struct kl_err *err)
{
    struct kl_token_request req = {.call = KL_CALL_MAC, .input = input, .input_len = n};
    KL_AUTO(secret) out = NULL;
    memcpy(req.key.id, key->id, sizeof req.key.id);
    enum kl_code code = kl_token_call(token, &req, &out, NULL, err);
    if (code == KL_OK && kl_secret_len(out) != KL_DOMAIN_SEAL_LEN)
        code = kl_fail(err, KL_INTERNAL, "KL_CALL_MAC", "a MAC of a wrong length");
    if (code == KL_OK)
        memcpy(ret, kl_secret_bytes(out), KL_DOMAIN_SEAL_LEN);
    return code;
}

/* Names the domain without giving a MAC of it away. */
static enum kl_code name_it(struct kl_token *token, struct kl_seal_domain *d, struct kl_err *err)
{
    const char *label = is_early(&d->key) ? EARLY_LABEL : NAME_LABEL;
    uint8_t tag[KL_DOMAIN_SEAL_LEN], hash[HASH_LEN];
    enum kl_code code = mac(token, &d->key, label, strlen(label) + 1, tag, err);
    if (code != KL_OK)
        return code;
    if (EVP_Digest(tag, sizeof tag, hash, NULL, EVP_sha256(), NULL) != 1)
        return kl_fail_ossl(err, "EVP_Digest", "cannot compute a domain's name");
    size_t id = is_early(&d->key) ? 0 : sizeof d->key.id;
    memcpy(d->name, d->key.id, id);
    memcpy(d->name + id, hash, sizeof d->name - id);
    return KL_OK;
}

static enum kl_code list_keys(struct kl_token *token,
                              struct kl_seal_domain ret[static KL_DOMAIN_MOST], size_t *ret_count,
                              struct kl_err *err)
{
    struct kl_token_request req = {.call = KL_CALL_DOMAIN};
    KL_AUTO(secret) out = NULL;
    size_t count = 0;
    enum kl_code code = kl_token_call(token, &req, &out, NULL, err);
    if (code != KL_OK)
        return code;
    for (size_t at = 0;
         out != NULL && at + sizeof ret->key <= kl_secret_len(out) && count < KL_DOMAIN_MOST;
         at += sizeof ret->key) {
        memcpy(&ret[count].key, kl_secret_bytes(out) + at, sizeof ret->key);
        count += ret[count].key.whole != 0;
    }
    *ret_count = count;
    return KL_OK;
}

enum kl_code kl_domain_list(struct kl_token *token,
                            struct kl_seal_domain ret[static KL_DOMAIN_MOST], size_t *ret_count,
                            struct kl_err *err)
{
    enum kl_code code = list_keys(token, ret, ret_count, err);
    for (size_t i = 0; code == KL_OK && i < *ret_count; i++)
        code = name_it(token, &ret[i], err);
    return code;
}

enum kl_code kl_domain_current(struct kl_token *token, struct kl_seal_domain *ret,
                               struct kl_err *err)
{
    struct kl_seal_domain all[KL_DOMAIN_MOST];
    size_t count = 0;
    enum kl_code code = list_keys(token, all, &count, err);
    for (size_t i = 0; code == KL_OK && i < count; i++) {
        if (all[i].key.current == 0)
            continue;
        code = name_it(token, &all[i], err);
        if (code == KL_OK)
            *ret = all[i];
        return code;
    }
    return code != KL_OK
               ? code
               : kl_fail(err, KL_TOKEN_UNSUPPORTED, "domain key",
                         "token %s has no domain key, so nothing can be backed up from it",
                         token->name);
}

enum kl_code kl_domain_named(struct kl_token *token, const uint8_t name[static KL_DOMAIN_NAME_LEN],
                             struct kl_seal_domain *ret, struct kl_err *err)
{
    struct kl_seal_domain all[KL_DOMAIN_MOST];
    size_t count = 0;
    enum kl_code code = list_keys(token, all, &count, err);
    for (size_t i = 0; code == KL_OK && i < count; i++) {
        struct kl_seal_domain *d = &all[i];
        if (!is_early(&d->key) && memcmp(d->key.id, name, sizeof d->key.id) != 0)
            continue;
        code = name_it(token, d, err);
        if (code != KL_OK || CRYPTO_memcmp(d->name, name, sizeof d->name) != 0)
            continue;
        *ret = *d;
        return KL_OK;
    }
    return code != KL_OK
               ? code
               : kl_fail(err, KL_BACKUP_DOMAIN, "backup",
                         "the backup was not made in this domain, or its domain key is retired");
}

/* A token takes 16 KiB at most, so it is given the digest. */
enum kl_code kl_domain_seal(struct kl_token *token, const struct kl_seal_domain *domain,
                            const char *label, const void *content, size_t n,
                            uint8_t ret[static KL_DOMAIN_SEAL_LEN], struct kl_err *err)
{
    uint8_t input[LABEL_MAX + HASH_LEN];
    size_t head = strnlen(label, LABEL_MAX - 1) + 1;
    memcpy(input, label, head - 1);
    input[head - 1] = 0;
    if (EVP_Digest(content, n, input + head, NULL, EVP_sha256(), NULL) != 1)
        return kl_fail_ossl(err, "EVP_Digest", "cannot compute a digest");
    return mac(token, &domain->key, input, head + HASH_LEN, ret, err);
}

enum kl_code kl_domain_check_seal(struct kl_token *token, const struct kl_seal_domain *domain,
                                  const char *label, const void *content, size_t n,
                                  const uint8_t seal[static KL_DOMAIN_SEAL_LEN], struct kl_err *err)
{
    uint8_t right[KL_DOMAIN_SEAL_LEN];
    enum kl_code code = kl_domain_seal(token, domain, label, content, n, right, err);
    if (code == KL_OK && CRYPTO_memcmp(right, seal, sizeof right) != 0)
        code = kl_fail(err, KL_BACKUP_MALFORMED, "backup",
                       "Backup blob contains invalid or corrupt version.");
    return code;
}
