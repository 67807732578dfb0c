#include "keyvault/op_admin.h"
#include "keyvault/ops.h"

#include "base/secret.h"

#include <string.h>

#define NAME_MAX_CHARS 127

static json_t *principal_json(const struct kl_principal *p)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:I, s:b}", "objectId", p->object_id, "clientId",
                     p->client_id, "name", p->name, "roles", kl_admin_roles(p->roles), "created",
                     (json_int_t)p->created, "disabled", p->disabled);
}

/* Names are found by the same call as ids, so a name must not look like one. */
static enum kl_code check_name(const char *name, struct kl_err *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@";
    size_t n = name != NULL ? strlen(name) : 0;
    if (n == 0 || n > NAME_MAX_CHARS || strspn(name, allowed) != n)
        return kl_fail(err, KL_BAD_INPUT, "name",
                       "name must be 1 to %d letters, digits, '-', '_', '.' or '@'",
                       NAME_MAX_CHARS);
    if (kl_uuid_valid(name))
        return kl_fail(err, KL_BAD_INPUT, "name", "a name must not have the form of an object id");
    return KL_OK;
}

static enum kl_code read_roles(const json_t *list, unsigned *ret, struct kl_err *err)
{
    size_t i;
    const json_t *word;
    if (list != NULL && !json_is_null(list) && !json_is_array(list))
        return kl_fail(err, KL_BAD_INPUT, "roles", "roles must be a list");
    unsigned roles = 0;
    json_array_foreach(list, i, word)
    {
        const char *text = json_is_string(word) ? json_string_value(word) : "";
        if (strcmp(text, "administrator") == 0)
            roles |= KL_ROLE_ADMINISTRATOR;
        else if (strcmp(text, "auditor") == 0)
            roles |= KL_ROLE_AUDITOR;
        else
            return kl_fail(err, KL_BAD_INPUT, "roles", "a role is 'administrator' or 'auditor'");
    }
    *ret = roles;
    return KL_OK;
}

void kl_op_whoami(struct kl_op *op)
{
    const struct kl_principal *who = &op->caller.who;
    kl_admin_reply(op, 200,
                   json_pack("{s:s, s:s, s:s, s:s, s:o}", "objectId", who->object_id, "clientId",
                             who->client_id, "name", who->name, "tenant",
                             kl_model_tenant(op->service->model), "roles",
                             kl_admin_roles(who->roles)));
}

void kl_op_principal_list(struct kl_op *op)
{
    struct kl_principal *all = NULL;
    size_t count = 0;
    if (!kl_op_ok(op, kl_principal_list(op->service->model, &all, &count, &op->err)))
        return;
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(list, principal_json(&all[i]));
    free(all);
    kl_admin_reply_list(op, list);
}

void kl_op_principal_create(struct kl_op *op)
{
    static const char *const members[] = {"name", "roles"};
    KL_AUTO(secret) secret = NULL;
    struct kl_principal who = {0};
    const char *name = NULL;
    unsigned roles = 0;
    enum kl_code code = kl_admin_members(op, members, KL_COUNT(members), &op->err);
    if (code == KL_OK)
        code = kl_json_string(op->body, "name", &name, &op->err);
    if (code == KL_OK)
        code = check_name(name, &op->err);
    if (code == KL_OK)
        code = read_roles(json_object_get(op->body, "roles"), &roles, &op->err);
    if (code == KL_OK)
        code = kl_principal_create(op->service->model, name, roles, &who, &secret, &op->err);
    if (!kl_op_ok(op, code))
        return;
    /* the audit record names whom it made */
    (void)snprintf(op->version, sizeof op->version, "%s", who.object_id);
    json_t *answer = principal_json(&who);
    (void)json_object_set_new(
        answer, "clientSecret",
        json_stringn((const char *)kl_secret_bytes(secret), kl_secret_len(secret)));
    kl_admin_reply(op, 200, answer);
}

void kl_op_principal_delete(struct kl_op *op)
{
    char object_id[KL_UUID_LEN + 1];
    enum kl_code code = kl_admin_uuid(op->version, object_id, &op->err);
    if (code == KL_OK)
        code = kl_principal_delete(op->service->model, object_id, &op->err);
    if (kl_op_ok(op, code))
        kl_op_reply(op, 204, NULL);
}
