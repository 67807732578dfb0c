#include "keyvault/op_admin.h"
#include "keyvault/ops.h"

#include "keyvault/auth/origin.h"
#include "keyvault/auth/policy.h"

#include <string.h>

#define TAGS_MAX      15 /* Key Vault's own limits of tags */
#define TAG_TEXT_MAX  256
#define TAGS_JSON_MAX 65536
#define LABEL_MAX     64

static json_t *origin_text(const struct kl_origin *origin, const char *tail)
{
    struct kl_buf url = KL_BUF_INIT(KL_AUDIENCE_MAX + LABEL_MAX);
    kl_origin_put(&url, origin);
    kl_buf_puts(&url, tail);
    json_t *text = json_string(kl_buf_text(&url));
    kl_buf_done(&url);
    return text;
}

static json_t *tags_object(const struct kl_vault *v)
{
    json_t *tags = NULL;
    if (v->tags_json != NULL &&
        kl_json_parse(v->tags_json, strlen(v->tags_json), &tags, NULL) == KL_OK)
        return tags;
    return json_object();
}

static json_t *token_list(const struct kl_vault *v)
{
    json_t *names = json_array();
    for (size_t i = 0; i < v->home_count; i++)
        (void)json_array_append_new(names, json_string(v->homes[i].token_name));
    return names;
}

static const struct {
    const char *member;
    enum kl_vault_extra bit;
} extras[] = {{"allowRsa15", KL_EXTRA_RSA15}, {"unwrapOlderVersions", KL_EXTRA_OLDER}};

static json_t *vault_json(const struct kl_vault *v)
{
    json_t *origins = json_array();
    for (size_t i = 0; i < v->origin_count; i++)
        (void)json_array_append_new(origins, origin_text(&v->origins[i], ""));
    json_t *vault = json_pack(
        "{s:o, s:s, s:o, s:o, s:s, s:s, s:s, s:s, s:o, s:s, s:b, s:i, s:b, s:b, s:I, s:I, s:o}",
        "id", json_sprintf("/subscriptions/%s/vaults/%s", v->subscription, v->name), "name",
        v->name, "vaultUri", v->origin_count > 0 ? origin_text(&v->origins[0], "/") : json_null(),
        "origins", origins, "subscription", v->subscription, "geography", v->geography, "location",
        v->location, "token", v->homes[0].token_name, "tokens", token_list(v), "profile",
        v->profile == KL_PROFILE_DOMAIN ? "domain-backed" : "fixed", "enableSoftDelete", 1,
        "softDeleteRetentionInDays", v->retention_days, "enablePurgeProtection",
        v->purge_protection, "enableRbacAuthorization", v->rbac, "created", (json_int_t)v->created,
        "updated", (json_int_t)v->updated, "tags", tags_object(v));
    for (size_t i = 0; i < KL_COUNT(extras); i++)
        (void)json_object_set_new(vault, extras[i].member,
                                  json_boolean((v->extras & (unsigned)extras[i].bit) != 0));
    return vault;
}

static json_t *deleted_json(const struct kl_op *op, const struct kl_vault *v)
{
    struct kl_buf tail = KL_BUF_INIT(128);
    kl_buf_printf(&tail, "/kluis/v1/deletedvaults/%s", v->name);
    json_t *vault = vault_json(v);
    (void)json_object_set_new(vault, "deletedDate", json_integer(v->deleted_at));
    (void)json_object_set_new(vault, "scheduledPurgeDate", json_integer(v->purge_at));
    (void)json_object_set_new(vault, "recoveryId",
                              origin_text(&op->service->origin, kl_buf_text(&tail)));
    kl_buf_done(&tail);
    return vault;
}

/* --- bodies --- */

static int collect(const char *text, size_t n, void *arg)
{
    kl_buf_put(arg, text, n);
    return 0;
}

/* Member "tags" checked and as text; nothing is appended when it is absent. */
static enum kl_code read_tags(const json_t *body, struct kl_buf *ret, struct kl_err *err)
{
    json_t *tags = json_object_get(body, "tags");
    if (tags == NULL || json_is_null(tags))
        return KL_OK;
    if (!json_is_object(tags) || json_object_size(tags) > TAGS_MAX)
        return kl_fail(err, KL_BAD_INPUT, "tags", "tags must be an object of at most %d texts",
                       TAGS_MAX);
    const char *name;
    json_t *value;
    json_object_foreach(tags, name, value) if (
        !json_is_string(value) || strlen(name) > TAG_TEXT_MAX ||
        json_string_length(value) >
            TAG_TEXT_MAX) return kl_fail(err, KL_BAD_INPUT, "tags",
                                         "names and values of tags are texts of at most %d characters",
                                         TAG_TEXT_MAX);
    (void)json_dump_callback(tags, collect, ret, JSON_COMPACT);
    return kl_buf_failed(ret) ? kl_fail(err, KL_NO_MEMORY, "tags", "out of memory") : KL_OK;
}

/* A word that becomes part of identifiers and of the sealing scope of backups. */
static enum kl_code read_label(const json_t *body, const char *name, const char **ret,
                               struct kl_err *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_. ";
    enum kl_code code = kl_json_string(body, name, ret, err);
    if (code != KL_OK || *ret == NULL)
        return code;
    size_t n = strlen(*ret);
    if (n == 0 || n > LABEL_MAX || strspn(*ret, allowed) != n)
        return kl_fail(err, KL_BAD_INPUT, "label",
                       "%s must be 1 to %d letters, digits, blanks, '-', '_' or '.'", name,
                       LABEL_MAX);
    return KL_OK;
}

static enum kl_code read_origins(const json_t *body, struct kl_vault_spec *ret, struct kl_err *err)
{
    const json_t *list = json_object_get(body, "origins");
    size_t i;
    const json_t *item;
    if (!json_is_array(list) || json_array_size(list) == 0 ||
        json_array_size(list) > KL_MAX_ORIGINS)
        return kl_fail(err, KL_BAD_INPUT, "origins", "origins must be a list of 1 to %d host:port",
                       KL_MAX_ORIGINS);
    json_array_foreach(list, i, item)
    {
        if (!json_is_string(item))
            return kl_fail(err, KL_BAD_INPUT, "origins", "an origin is a text, host:port");
        enum kl_code code =
            kl_origin_parse(json_string_value(item), &ret->origins[ret->origin_count], err);
        if (code != KL_OK)
            return code;
        /* The request's Host picks the vault without its port, so one host is one origin. */
        for (size_t k = 0; k < ret->origin_count; k++)
            if (strcmp(ret->origins[k].host, ret->origins[ret->origin_count].host) == 0)
                return kl_fail(err, KL_BAD_INPUT, "origins", "the host %.100s appears twice",
                               ret->origins[k].host);
        ret->origin_count++;
    }
    return KL_OK;
}

static enum kl_code read_profile(const json_t *body, enum kl_profile *ret, struct kl_err *err)
{
    const char *word = NULL;
    enum kl_code code = kl_json_string(body, "profile", &word, err);
    if (code != KL_OK || word == NULL)
        return code;
    if (strcmp(word, "domain-backed") == 0)
        *ret = KL_PROFILE_DOMAIN;
    else if (strcmp(word, "fixed") == 0)
        *ret = KL_PROFILE_FIXED;
    else
        return kl_fail(err, KL_BAD_INPUT, "profile", "profile is 'domain-backed' or 'fixed'");
    return KL_OK;
}

static enum kl_code read_soft_delete(const json_t *body, struct kl_err *err)
{
    bool soft_delete = true;
    enum kl_code code = kl_json_bool(body, "enableSoftDelete", &soft_delete, err);
    if (code == KL_OK && !soft_delete)
        return kl_fail(err, KL_BAD_INPUT, "enableSoftDelete",
                       "Soft delete is always on and cannot be switched off");
    return code;
}

/* The members that are there change their bits. */
static enum kl_code read_extras(const json_t *body, unsigned *bits, struct kl_err *err)
{
    enum kl_code code = KL_OK;
    for (size_t i = 0; i < KL_COUNT(extras) && code == KL_OK; i++) {
        bool on = (*bits & (unsigned)extras[i].bit) != 0;
        code = kl_json_bool(body, extras[i].member, &on, err);
        *bits = on ? *bits | (unsigned)extras[i].bit : *bits & ~(unsigned)extras[i].bit;
    }
    return code;
}

/* "token": one name, or "tokens": several in order of preference; borrowed from the body. */
static enum kl_code read_homes(const json_t *body, const char *ret[static KL_HOMES_MAX],
                               size_t *ret_count, struct kl_err *err)
{
    const json_t *list = json_object_get(body, "tokens");
    const char *one = NULL;
    size_t i;
    const json_t *item;
    enum kl_code code = kl_json_string(body, "token", &one, err);
    if (code != KL_OK)
        return code;
    *ret_count = one != NULL;
    ret[0] = one;
    if (list == NULL || json_is_null(list))
        return KL_OK;
    if (one != NULL || !json_is_array(list) || json_array_size(list) == 0 ||
        json_array_size(list) > KL_HOMES_MAX)
        return kl_fail(err, KL_BAD_INPUT, "tokens",
                       "tokens must be a list of 1 to %d names, without a member token beside it",
                       KL_HOMES_MAX);
    json_array_foreach(list, i, item)
    {
        if (!json_is_string(item))
            return kl_fail(err, KL_BAD_INPUT, "tokens", "the name of a token is a text");
        ret[i] = json_string_value(item);
    }
    *ret_count = json_array_size(list);
    return KL_OK;
}

static enum kl_code check_tokens(const struct kl_service *service, const char *const *names,
                                 size_t count, struct kl_err *err)
{
    for (size_t n = 0; n < count; n++) {
        bool known = false;
        for (size_t i = 0; i < service->token_count; i++)
            known = known || strcmp(service->tokens[i]->name, names[n]) == 0;
        if (!known)
            return kl_fail(err, KL_BAD_INPUT, "token", "There is no token of this name");
    }
    return KL_OK;
}

static enum kl_code read_spec(struct kl_op *op, struct kl_vault_spec *ret, struct kl_buf *tags,
                              struct kl_err *err)
{
    static const char *const members[] = {"subscription",
                                          "geography",
                                          "location",
                                          "softDeleteRetentionInDays",
                                          "enablePurgeProtection",
                                          "enableSoftDelete",
                                          "profile",
                                          "token",
                                          "tokens",
                                          "origins",
                                          "allowRsa15",
                                          "unwrapOlderVersions",
                                          "tags"};
    int64_t days = 0;
    enum kl_code code = kl_admin_members(op, members, KL_COUNT(members), err);
    if (code == KL_OK && !kl_vault_name_valid(op->name))
        code = kl_fail(err, KL_BAD_INPUT, "name",
                       "A vault's name has 3 to 24 letters, digits and single hyphens, begins with "
                       "a letter and does not end in a hyphen");
    if (code == KL_OK)
        code = read_extras(op->body, &ret->extras, err);
    if (code == KL_OK)
        code = read_label(op->body, "subscription", &ret->subscription, err);
    if (code == KL_OK)
        code = read_label(op->body, "geography", &ret->geography, err);
    if (code == KL_OK)
        code = read_label(op->body, "location", &ret->location, err);
    if (code == KL_OK)
        code = kl_json_int(op->body, "softDeleteRetentionInDays", 7, 90, &days, err);
    if (code == KL_OK)
        code = kl_json_bool(op->body, "enablePurgeProtection", &ret->purge_protection, err);
    if (code == KL_OK)
        code = read_soft_delete(op->body, err);
    if (code == KL_OK)
        code = read_profile(op->body, &ret->profile, err);
    if (code == KL_OK)
        code = read_homes(op->body, ret->token_names, &ret->token_count, err);
    if (code == KL_OK)
        code = check_tokens(op->service, ret->token_names, ret->token_count, err);
    if (code == KL_OK)
        code = read_origins(op->body, ret, err);
    if (code == KL_OK)
        code = read_tags(op->body, tags, err);
    ret->retention_days = (int)days;
    ret->tags_json = tags->len > 0 ? kl_buf_text(tags) : NULL;
    return code;
}

/* --- handlers --- */

void kl_op_vault_list(struct kl_op *op)
{
    struct kl_vault **vaults = NULL;
    size_t count = 0;
    if (!kl_op_ok(op,
                  kl_vault_list(op->service->model, KL_STATE_ACTIVE, &vaults, &count, &op->err)))
        return;
    bool all = (op->caller.who.roles & KL_ROLE_ADMINISTRATOR) != 0;
    json_t *list = json_array();
    struct kl_policy rights;
    for (size_t i = 0; i < count; i++)
        if (all || kl_rights_of(vaults[i], &op->caller, &rights))
            (void)json_array_append_new(list, vault_json(vaults[i]));
    kl_vault_list_free(vaults, count);
    kl_admin_reply_list(op, list);
}

enum kl_code kl_admin_make_vault(struct kl_op *op, struct kl_vault **ret)
{
    struct kl_buf tags = KL_BUF_INIT(TAGS_JSON_MAX);
    struct kl_vault_spec spec = {.name = op->name, .owner_object_id = op->caller.who.object_id};
    enum kl_code code = read_spec(op, &spec, &tags, &op->err);
    if (code == KL_OK)
        code = kl_vault_create(op->service->model, &spec, ret, &op->err);
    kl_buf_done(&tags);
    return code;
}

void kl_op_vault_create(struct kl_op *op)
{
    KL_AUTO(vault) vault = NULL;
    if (kl_op_ok(op, kl_admin_make_vault(op, &vault)))
        kl_admin_reply(op, 200, vault_json(vault));
}

void kl_op_vault_get(struct kl_op *op)
{
    kl_admin_reply(op, 200, vault_json(op->vault));
}

static enum kl_code set_extras(struct kl_op *op, struct kl_vault **vault)
{
    unsigned bits = op->vault->extras;
    struct kl_vault *fresh = NULL;
    enum kl_code code = read_extras(op->body, &bits, &op->err);
    if (code != KL_OK || bits == op->vault->extras)
        return code;
    code = kl_vault_set_extras(op->service->model, op->vault->name, bits, &fresh, &op->err);
    if (code == KL_OK) {
        kl_vault_unref(*vault);
        *vault = fresh;
    }
    return code;
}

enum kl_code kl_admin_change_vault(struct kl_op *op, struct kl_vault **ret)
{
    static const char *const members[] = {
        "enableSoftDelete", "enablePurgeProtection",   "tags",       "token",
        "tokens",           "enableRbacAuthorization", "allowRsa15", "unwrapOlderVersions"};
    KL_AUTO(vault) vault = NULL;
    const char *homes[KL_HOMES_MAX];
    size_t home_count = 0;
    struct kl_buf tags = KL_BUF_INIT(TAGS_JSON_MAX);
    bool protect = op->vault->purge_protection;
    enum kl_code code = kl_admin_members(op, members, KL_COUNT(members), &op->err);
    if (code == KL_OK)
        code = read_soft_delete(op->body, &op->err);
    if (code == KL_OK)
        code = kl_json_bool(op->body, "enablePurgeProtection", &protect, &op->err);
    if (code == KL_OK && !protect && op->vault->purge_protection)
        code = kl_fail(&op->err, KL_PURGE_PROTECTED, "enablePurgeProtection",
                       "Purge protection cannot be switched off once it is on");
    if (code == KL_OK)
        code = read_homes(op->body, homes, &home_count, &op->err);
    if (code == KL_OK)
        code = check_tokens(op->service, homes, home_count, &op->err);
    if (code == KL_OK)
        code = read_tags(op->body, &tags, &op->err);
    /* Named only when it is to be switched on: another request may have done so since. */
    if (code == KL_OK)
        code = kl_vault_update(op->service->model, op->vault->name, protect ? &protect : NULL,
                               tags.len > 0 ? kl_buf_text(&tags) : NULL, &vault, &op->err);
    kl_buf_done(&tags);
    if (code == KL_OK && home_count > 0) {
        kl_vault_unref(kl_take(vault));
        code = kl_vault_set_homes(op->service->model, op->vault->name, homes, home_count, &vault,
                                  &op->err);
    }
    if (code == KL_OK)
        code = set_extras(op, &vault);
    if (code == KL_OK)
        code = kl_admin_set_rbac(op, &vault);
    if (code == KL_OK)
        *ret = kl_take(vault);
    return code;
}

void kl_op_vault_update(struct kl_op *op)
{
    KL_AUTO(vault) vault = NULL;
    if (kl_op_ok(op, kl_admin_change_vault(op, &vault)))
        kl_admin_reply(op, 200, vault_json(vault));
}

void kl_op_vault_delete(struct kl_op *op)
{
    KL_AUTO(vault) vault = NULL;
    if (kl_op_ok(op, kl_vault_delete(op->service->model, op->vault->name, &vault, &op->err)))
        kl_admin_reply(op, 200, deleted_json(op, vault));
}

void kl_op_deletedvault_list(struct kl_op *op)
{
    struct kl_vault **vaults = NULL;
    size_t count = 0;
    if (!kl_op_ok(op,
                  kl_vault_list(op->service->model, KL_STATE_DELETED, &vaults, &count, &op->err)))
        return;
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(list, deleted_json(op, vaults[i]));
    kl_vault_list_free(vaults, count);
    kl_admin_reply_list(op, list);
}

void kl_op_deletedvault_get(struct kl_op *op)
{
    KL_AUTO(vault) vault = NULL;
    if (kl_op_ok(
            op, kl_vault_by_name(op->service->model, op->name, KL_STATE_DELETED, &vault, &op->err)))
        kl_admin_reply(op, 200, deleted_json(op, vault));
}

void kl_op_deletedvault_recover(struct kl_op *op)
{
    KL_AUTO(vault) vault = NULL;
    if (kl_op_ok(op, kl_vault_recover(op->service->model, op->name, &vault, &op->err)))
        kl_admin_reply(op, 200, vault_json(vault));
}

/* The role is in the row; the vault's own word on who may purge it outlives its deletion. */
void kl_op_deletedvault_purge(struct kl_op *op)
{
    KL_AUTO(vault) vault = NULL;
    enum kl_code code =
        kl_vault_by_name(op->service->model, op->name, KL_STATE_DELETED, &vault, &op->err);
    if (code == KL_OK)
        code = kl_authorize(&op->caller, KL_SCOPE_NAMED, KL_MAY_VAULT_PURGE, vault,
                            op->route->audit, &op->err);
    if (code == KL_OK)
        code = kl_vault_purge(op->service->model, op->name, &op->err);
    if (kl_op_ok(op, code))
        kl_op_reply(op, 204, NULL);
}
