#include "keyvault/model/object.h"

#include <string.h>

struct kl_vault *kl_vault_ref(struct kl_vault *v)
{
    (void)atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    return v;
}

void kl_vault_unref(struct kl_vault *v)
{
    if (v == NULL || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
        return;
    free(v->subscription);
    free(v->geography);
    free(v->location);
    free(v->token_name);
    for (size_t i = 0; i < v->home_count; i++)
        free(v->homes[i].token_name);
    free(v->tags_json);
    free(v->policies);
    free(v->assignments);
    free(v);
}

struct kl_key_version *kl_key_version_ref(struct kl_key_version *k)
{
    (void)atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    return k;
}

void kl_key_version_unref(struct kl_key_version *k)
{
    if (k == NULL || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) != 1)
        return;
    free(k->tags_json);
    free(k->token_name);
    for (size_t i = 0; i < k->home_count; i++)
        free(k->homes[i].token_name);
    free(k->homes);
    free(k->spki);
    EVP_PKEY_free(k->public_key);
    free(k);
}

static bool all_of(const char *text, size_t min, size_t max, const char *allowed)
{
    size_t n = text != NULL ? strlen(text) : 0;
    return n >= min && n <= max && strspn(text, allowed) == n;
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

bool kl_home_may_move(enum kl_code code)
{
    switch (code) {
    case KL_OK:
    case KL_DECRYPT_FAILED:
    case KL_BAD_INPUT:
    case KL_TOO_BIG:
        return false;
    default:
        return true;
    }
}

bool kl_name_valid(const char *name)
{
    return all_of(name, 1, KL_NAME_MAX, LETTERS "0123456789-");
}

bool kl_vault_name_valid(const char *name)
{
    return all_of(name, 3, KL_VAULT_NAME_MAX, LETTERS "0123456789-") && strstr(name, "--") == NULL;
}

bool kl_version_valid(const char *version)
{
    return all_of(version, KL_VERSION_LEN, KL_VERSION_LEN, "0123456789abcdefABCDEF");
}
