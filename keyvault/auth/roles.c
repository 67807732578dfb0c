#include "keyvault/auth/roles.h"

#include "keyvault/auth/policy.h"

#include <pthread.h>
#include <string.h>
#include <strings.h>

/* What each kind of a role holds, in the words of access policies; "all" is all of the kind. The
 * vault's own words (get, list, update, …) are what Azure keeps in the management plane. */
static const struct role {
    struct kl_role_row row;
    const char *words[KL_PERM_KINDS];
} roles[] = {
    {{"00482a5a-887f-4fb3-b363-3b7fe8e74483", "Key Vault Administrator"},
     {[KL_PERM_KEYS] = "all",
      [KL_PERM_SECRETS] = "all",
      [KL_PERM_CERTIFICATES] = "all",
      [KL_PERM_VAULT] = "get list"}},
    {{"14b46e9e-c2b7-41b4-b07b-48a6ebf60603", "Key Vault Crypto Officer"},
     {[KL_PERM_KEYS] = "all", [KL_PERM_VAULT] = "get list"}},
    {{"12338af0-0e69-4776-bea7-57ae8d297424", "Key Vault Crypto User"},
     {[KL_PERM_KEYS] = "get list update backup encrypt decrypt wrapKey unwrapKey sign verify",
      [KL_PERM_VAULT] = "get"}},
    {{"e147488a-f6f5-4113-8e2d-b22465e65bf6", "Key Vault Crypto Service Encryption User"},
     {[KL_PERM_KEYS] = "get list wrapKey unwrapKey"}},
    {{"08bbd89e-9f13-488c-ac41-acfcb10c90ab", "Key Vault Crypto Service Release User"},
     {[KL_PERM_KEYS] = "release"}},
    {{"b86a8fe4-44ce-4948-aee5-eccb2c155cd7", "Key Vault Secrets Officer"},
     {[KL_PERM_SECRETS] = "all", [KL_PERM_VAULT] = "get list"}},
    {{"4633458b-17de-408a-b874-0445c86b69e6", "Key Vault Secrets User"},
     {[KL_PERM_SECRETS] = "get list"}},
    {{"a4417e6f-fecd-4de8-b567-7b0420556985", "Key Vault Certificates Officer"},
     {[KL_PERM_CERTIFICATES] = "all", [KL_PERM_VAULT] = "get list"}},
    {{"db79e9a7-68ee-4b58-9aeb-b90e7c24fcba", "Key Vault Certificate User"},
     {[KL_PERM_SECRETS] = "get list",
      [KL_PERM_CERTIFICATES] = "get list",
      [KL_PERM_VAULT] = "get"}},
    {{"21090545-7ca7-4776-b22c-e363652d74d2", "Key Vault Reader"},
     {[KL_PERM_KEYS] = "get list",
      [KL_PERM_SECRETS] = "list",
      [KL_PERM_CERTIFICATES] = "get list",
      [KL_PERM_VAULT] = "get list getPolicy"}},
    {{"a68e7c17-0ab2-4c09-9a58-125dae29748c", "Key Vault Purge Operator"},
     {[KL_PERM_VAULT] = "get list purge"}},
    {{"f25e0fa2-a7c8-4377-a976-54943a77a395", "Key Vault Contributor"},
     {[KL_PERM_VAULT] = "get list update delete recover getPolicy"}},
    {{"8b54135c-b56d-4d72-a534-26097cfdc8d8", "Key Vault Data Access Administrator"},
     {[KL_PERM_VAULT] = "get list getPolicy setPolicy"}},
    {{"8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "Owner"}, {[KL_PERM_VAULT] = "all"}},
};

const struct kl_role_row *kl_role_at(size_t index)
{
    return index < KL_COUNT(roles) ? &roles[index].row : NULL;
}

const struct kl_role_row *kl_role_find(const char *id_or_name)
{
    for (size_t i = 0; i < KL_COUNT(roles); i++)
        if (strcasecmp(roles[i].row.id, id_or_name) == 0 ||
            strcasecmp(roles[i].row.name, id_or_name) == 0)
            return &roles[i].row;
    return NULL;
}

static void add_words(enum kl_permission_kind kind, const char *words, struct kl_policy *to)
{
    for (const char *at = words; *at != 0; at += strspn(at, " ")) {
        char word[32];
        size_t n = strcspn(at, " ");
        (void)snprintf(word, sizeof word, "%.*s", (int)n, at);
        to->allowed[kind] |= kl_permission_bits(kind, word);
        at += n;
    }
}

/* Spelled out once: this is asked at each request to a vault where roles decide. */
static struct kl_policy masks[KL_COUNT(roles)];

static void fill_masks(void)
{
    for (size_t i = 0; i < KL_COUNT(roles); i++)
        for (size_t kind = 0; kind < KL_PERM_KINDS; kind++)
            if (roles[i].words[kind] != NULL)
                add_words((enum kl_permission_kind)kind, roles[i].words[kind], &masks[i]);
}

void kl_role_add(const char *id, struct kl_policy *to)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, fill_masks);
    for (size_t i = 0; i < KL_COUNT(roles); i++)
        for (size_t kind = 0; strcmp(roles[i].row.id, id) == 0 && kind < KL_PERM_KINDS; kind++)
            to->allowed[kind] |= masks[i].allowed[kind];
}
