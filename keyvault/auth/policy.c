#include "keyvault/auth/policy.h"

#include "keyvault/auth/roles.h"

#include <string.h>

/* Bits are what databases hold: a row's bit never changes, new rows take the next free one of their
 * kind. Source of the words: Azure Key Vault's access policies (management API 2022-07-01); those
 * of the vault are ours. */
static const struct row {
    enum kl_permission_kind kind;
    unsigned bit;
    const char *word;
} rows[KL_PERMISSION_COUNT] = {
    [KL_MAY_KEY_ENCRYPT] = {KL_PERM_KEYS, 0, "encrypt"},
    [KL_MAY_KEY_DECRYPT] = {KL_PERM_KEYS, 1, "decrypt"},
    [KL_MAY_KEY_WRAP] = {KL_PERM_KEYS, 2, "wrapKey"},
    [KL_MAY_KEY_UNWRAP] = {KL_PERM_KEYS, 3, "unwrapKey"},
    [KL_MAY_KEY_SIGN] = {KL_PERM_KEYS, 4, "sign"},
    [KL_MAY_KEY_VERIFY] = {KL_PERM_KEYS, 5, "verify"},
    [KL_MAY_KEY_GET] = {KL_PERM_KEYS, 6, "get"},
    [KL_MAY_KEY_LIST] = {KL_PERM_KEYS, 7, "list"},
    [KL_MAY_KEY_CREATE] = {KL_PERM_KEYS, 8, "create"},
    [KL_MAY_KEY_UPDATE] = {KL_PERM_KEYS, 9, "update"},
    [KL_MAY_KEY_IMPORT] = {KL_PERM_KEYS, 10, "import"},
    [KL_MAY_KEY_DELETE] = {KL_PERM_KEYS, 11, "delete"},
    [KL_MAY_KEY_BACKUP] = {KL_PERM_KEYS, 12, "backup"},
    [KL_MAY_KEY_RESTORE] = {KL_PERM_KEYS, 13, "restore"},
    [KL_MAY_KEY_RECOVER] = {KL_PERM_KEYS, 14, "recover"},
    [KL_MAY_KEY_PURGE] = {KL_PERM_KEYS, 15, "purge"},
    [KL_MAY_KEY_RELEASE] = {KL_PERM_KEYS, 16, "release"},
    [KL_MAY_KEY_ROTATE] = {KL_PERM_KEYS, 17, "rotate"},
    [KL_MAY_KEY_GETROTATIONPOLICY] = {KL_PERM_KEYS, 18, "getrotationpolicy"},
    [KL_MAY_KEY_SETROTATIONPOLICY] = {KL_PERM_KEYS, 19, "setrotationpolicy"},

    [KL_MAY_SECRET_GET] = {KL_PERM_SECRETS, 0, "get"},
    [KL_MAY_SECRET_LIST] = {KL_PERM_SECRETS, 1, "list"},
    [KL_MAY_SECRET_SET] = {KL_PERM_SECRETS, 2, "set"},
    [KL_MAY_SECRET_DELETE] = {KL_PERM_SECRETS, 3, "delete"},
    [KL_MAY_SECRET_BACKUP] = {KL_PERM_SECRETS, 4, "backup"},
    [KL_MAY_SECRET_RESTORE] = {KL_PERM_SECRETS, 5, "restore"},
    [KL_MAY_SECRET_RECOVER] = {KL_PERM_SECRETS, 6, "recover"},
    [KL_MAY_SECRET_PURGE] = {KL_PERM_SECRETS, 7, "purge"},

    [KL_MAY_CERTIFICATE_GET] = {KL_PERM_CERTIFICATES, 0, "get"},
    [KL_MAY_CERTIFICATE_LIST] = {KL_PERM_CERTIFICATES, 1, "list"},
    [KL_MAY_CERTIFICATE_DELETE] = {KL_PERM_CERTIFICATES, 2, "delete"},
    [KL_MAY_CERTIFICATE_CREATE] = {KL_PERM_CERTIFICATES, 3, "create"},
    [KL_MAY_CERTIFICATE_IMPORT] = {KL_PERM_CERTIFICATES, 4, "import"},
    [KL_MAY_CERTIFICATE_UPDATE] = {KL_PERM_CERTIFICATES, 5, "update"},
    [KL_MAY_CERTIFICATE_MANAGECONTACTS] = {KL_PERM_CERTIFICATES, 6, "managecontacts"},
    [KL_MAY_CERTIFICATE_GETISSUERS] = {KL_PERM_CERTIFICATES, 7, "getissuers"},
    [KL_MAY_CERTIFICATE_LISTISSUERS] = {KL_PERM_CERTIFICATES, 8, "listissuers"},
    [KL_MAY_CERTIFICATE_SETISSUERS] = {KL_PERM_CERTIFICATES, 9, "setissuers"},
    [KL_MAY_CERTIFICATE_DELETEISSUERS] = {KL_PERM_CERTIFICATES, 10, "deleteissuers"},
    [KL_MAY_CERTIFICATE_MANAGEISSUERS] = {KL_PERM_CERTIFICATES, 11, "manageissuers"},
    [KL_MAY_CERTIFICATE_RECOVER] = {KL_PERM_CERTIFICATES, 12, "recover"},
    [KL_MAY_CERTIFICATE_PURGE] = {KL_PERM_CERTIFICATES, 13, "purge"},
    [KL_MAY_CERTIFICATE_BACKUP] = {KL_PERM_CERTIFICATES, 14, "backup"},
    [KL_MAY_CERTIFICATE_RESTORE] = {KL_PERM_CERTIFICATES, 15, "restore"},

    [KL_MAY_VAULT_GET] = {KL_PERM_VAULT, 0, "get"},
    [KL_MAY_VAULT_LIST] = {KL_PERM_VAULT, 1, "list"},
    [KL_MAY_VAULT_UPDATE] = {KL_PERM_VAULT, 2, "update"},
    [KL_MAY_VAULT_DELETE] = {KL_PERM_VAULT, 3, "delete"},
    [KL_MAY_VAULT_RECOVER] = {KL_PERM_VAULT, 4, "recover"},
    [KL_MAY_VAULT_PURGE] = {KL_PERM_VAULT, 5, "purge"},
    [KL_MAY_VAULT_GETPOLICY] = {KL_PERM_VAULT, 6, "getPolicy"},
    [KL_MAY_VAULT_SETPOLICY] = {KL_PERM_VAULT, 7, "setPolicy"},
};

static const char *const kind_words[KL_PERM_KINDS] = {
    [KL_PERM_KEYS] = "keys",
    [KL_PERM_SECRETS] = "secrets",
    [KL_PERM_CERTIFICATES] = "certificates",
    [KL_PERM_VAULT] = "vault",
};

enum kl_permission_kind kl_permission_kind_of(enum kl_permission p)
{
    return rows[p].kind;
}

const char *kl_permission_word(enum kl_permission p)
{
    return rows[p].word != NULL ? rows[p].word : "";
}

const char *kl_permission_kind_word(enum kl_permission_kind kind)
{
    return kind_words[kind];
}

uint64_t kl_permission_bit(enum kl_permission p)
{
    return rows[p].word != NULL ? UINT64_C(1) << rows[p].bit : 0;
}

uint64_t kl_permission_all(enum kl_permission_kind kind)
{
    uint64_t all = 0;
    for (size_t i = 0; i < KL_COUNT(rows); i++)
        if (rows[i].kind == kind)
            all |= kl_permission_bit((enum kl_permission)i);
    return all;
}

uint64_t kl_permission_bits(enum kl_permission_kind kind, const char *word)
{
    if (strcasecmp(word, "all") == 0)
        return kl_permission_all(kind);
    for (size_t i = 0; i < KL_COUNT(rows); i++)
        if (rows[i].word != NULL && rows[i].kind == kind && strcasecmp(rows[i].word, word) == 0)
            return kl_permission_bit((enum kl_permission)i);
    return 0;
}

static enum kl_code parse_kind(enum kl_permission_kind kind, const json_t *words, uint64_t *ret,
                               struct kl_err *err)
{
    if (!json_is_array(words))
        return kl_fail(err, KL_BAD_INPUT, "policy", "permissions.%s must be a list of words",
                       kind_words[kind]);
    uint64_t mask = 0;
    size_t i;
    const json_t *word;
    json_array_foreach(words, i, word)
    {
        uint64_t bits =
            json_is_string(word) ? kl_permission_bits(kind, json_string_value(word)) : 0;
        if (bits == 0)
            return kl_fail(err, KL_BAD_INPUT, "policy", "permissions.%s knows no word '%.40s'",
                           kind_words[kind],
                           json_is_string(word) ? json_string_value(word) : "(not a string)");
        mask |= bits;
    }
    *ret = mask;
    return KL_OK;
}

static size_t kind_of_word(const char *name)
{
    size_t kind = 0;
    while (kind < KL_PERM_KINDS && strcmp(kind_words[kind], name) != 0)
        kind++;
    return kind;
}

enum kl_code kl_policy_parse(const json_t *permissions, struct kl_policy *ret, struct kl_err *err)
{
    uint64_t allowed[KL_PERM_KINDS] = {0};
    if (!json_is_object(permissions))
        return kl_fail(err, KL_BAD_INPUT, "policy", "permissions must be an object");
    for (void *at = json_object_iter((json_t *)(uintptr_t)permissions); at != NULL;
         at = json_object_iter_next((json_t *)(uintptr_t)permissions, at)) {
        const char *name = json_object_iter_key(at);
        const json_t *words = json_object_iter_value(at);
        size_t kind = kind_of_word(name);
        if (kind == KL_PERM_KINDS)
            return kl_fail(err, KL_BAD_INPUT, "policy", "permissions has no member '%.40s'", name);
        if (json_is_null(words))
            continue;
        enum kl_code code = parse_kind((enum kl_permission_kind)kind, words, &allowed[kind], err);
        if (code != KL_OK)
            return code;
    }
    memcpy(ret->allowed, allowed, sizeof allowed);
    return KL_OK;
}

json_t *kl_policy_format(const struct kl_policy *p)
{
    json_t *object = json_object();
    for (size_t kind = 0; kind < KL_PERM_KINDS; kind++)
        (void)json_object_set_new(object, kind_words[kind], json_array());
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        uint64_t bit = kl_permission_bit((enum kl_permission)i);
        if ((p->allowed[rows[i].kind] & bit) != 0)
            (void)json_array_append_new(json_object_get(object, kind_words[rows[i].kind]),
                                        json_string(rows[i].word));
    }
    return object;
}

bool kl_policy_allows(const struct kl_policy *p, enum kl_permission permission)
{
    return (p->allowed[kl_permission_kind_of(permission)] & kl_permission_bit(permission)) != 0;
}

/* Sorted by object id, as the model makes them. */
static const struct kl_policy *policy_of(const struct kl_vault *vault, const char *object_id)
{
    size_t low = 0, high = vault->policy_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(vault->policies[middle].object_id, object_id);
        if (order == 0)
            return &vault->policies[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool add_roles(const struct kl_vault *vault, const char *object_id, struct kl_policy *to)
{
    size_t low = 0, high = vault->assignment_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(vault->assignments[middle].object_id, object_id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    bool any = false;
    for (;
         low < vault->assignment_count && strcmp(vault->assignments[low].object_id, object_id) == 0;
         low++) {
        kl_role_add(vault->assignments[low].role, to);
        any = true;
    }
    return any;
}

static bool add_rights(const struct kl_vault *vault, const char *object_id, struct kl_policy *to)
{
    if (vault->rbac)
        return add_roles(vault, object_id, to);
    const struct kl_policy *p = policy_of(vault, object_id);
    for (size_t kind = 0; p != NULL && kind < KL_PERM_KINDS; kind++)
        to->allowed[kind] |= p->allowed[kind];
    return p != NULL;
}

bool kl_rights_of(const struct kl_vault *vault, const struct kl_caller *caller,
                  struct kl_policy *ret)
{
    *ret = (struct kl_policy){.allowed = {0}};
    bool any = add_rights(vault, caller->who.object_id, ret);
    for (unsigned i = 0; i < caller->group_count; i++)
        any = add_rights(vault, caller->groups[i], ret) || any;
    return any;
}

static bool role_manages(const char *role)
{
    struct kl_policy rights = {.allowed = {0}};
    kl_role_add(role, &rights);
    return kl_policy_allows(&rights, KL_MAY_VAULT_SETPOLICY);
}

bool kl_vault_has_manager(const struct kl_vault *vault, const char *except)
{
    for (size_t i = 0; !vault->rbac && i < vault->policy_count; i++)
        if (kl_policy_allows(&vault->policies[i], KL_MAY_VAULT_SETPOLICY) &&
            (except == NULL || strcmp(vault->policies[i].object_id, except) != 0))
            return true;
    for (size_t i = 0; vault->rbac && i < vault->assignment_count; i++)
        if (role_manages(vault->assignments[i].role) &&
            (except == NULL || strcmp(vault->assignments[i].id, except) != 0))
            return true;
    return false;
}
