#include "keyvault/op_admin.h"
#include "keyvault/ops.h"

#include "base/secret.h"

#include <string.h>

#define NAME_MAX_CHARS 127

static const char *const kinds[] = {[KL_PRINCIPAL_APPLICATION] = "application",
                                    [KL_PRINCIPAL_USER] = "user",
                                    [KL_PRINCIPAL_GROUP] = "group"};

static json_t *principal_json(const struct kl_principal *p)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:o, s:I, s:b}", "objectId", p->object_id,
                     "clientId", p->client_id, "name", p->name, "type", kinds[p->kind], "issuer",
                     p->issuer[0] != 0 ? p->issuer : NULL, "roles", kl_admin_roles(p->roles),
                     "created", (json_int_t)p->created, "disabled", p->disabled);
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

static enum kl_code read_kind(const json_t *body, enum kl_principal_kind *ret, struct kl_err *err)
{
    const char *word = kinds[KL_PRINCIPAL_APPLICATION];
    enum kl_code code = kl_json_string(body, "type", &word, err);
    for (size_t i = KL_PRINCIPAL_APPLICATION; code == KL_OK && i < KL_COUNT(kinds); i++)
        if (strcmp(kinds[i], word) == 0) {
            *ret = (enum kl_principal_kind)i;
            return KL_OK;
        }
    return code != KL_OK ? code
                         : kl_fail(err, KL_BAD_INPUT, "type",
                                   "type is one of 'application', 'user' and 'group'");
}

/* What a new principal may say of itself. */
struct wish {
    struct kl_principal_spec spec;
    char object_id[KL_UUID_LEN + 1], client_id[KL_UUID_LEN + 1];
};

/* Ids that other issuers gave; our own are made here. `subject` is for issuers whose tokens have
 * no object id. */
static enum kl_code read_ids(struct kl_op *op, struct wish *w, struct kl_err *err)
{
    const char *object_id = NULL, *client_id = NULL, *subject = NULL;
    enum kl_code code = kl_json_string(op->body, "objectId", &object_id, err);
    if (code == KL_OK)
        code = kl_json_string(op->body, "clientId", &client_id, err);
    if (code == KL_OK)
        code = kl_json_string(op->body, "subject", &subject, err);
    if (code == KL_OK && client_id != NULL)
        code = kl_admin_uuid(client_id, w->client_id, err);
    if (code == KL_OK && object_id != NULL)
        code = kl_admin_uuid(object_id, w->object_id, err);
    if (code == KL_OK && subject != NULL && object_id != NULL)
        return kl_fail(err, KL_BAD_INPUT, "subject", "give objectId or subject, not both");
    if (code == KL_OK && subject != NULL)
        code = kl_authenticator_subject_id(op->service->authenticator, w->spec.issuer, subject,
                                           w->object_id, err);
    if (code != KL_OK)
        return code;
    w->spec.object_id = w->object_id[0] != 0 ? w->object_id : NULL;
    w->spec.client_id = w->client_id[0] != 0 ? w->client_id : NULL;
    return KL_OK;
}

static enum kl_code check_wish(struct kl_op *op, const struct wish *w, struct kl_err *err)
{
    const struct kl_principal_spec *s = &w->spec;
    bool external = s->issuer != NULL && s->issuer[0] != 0;
    if (external && !kl_authenticator_knows(op->service->authenticator, s->issuer))
        return kl_fail(err, KL_BAD_INPUT, "issuer",
                       "the configuration has no [issuer %.60s]; add it and restart the service",
                       s->issuer);
    if (external && s->object_id == NULL)
        return kl_fail(err, KL_BAD_INPUT, "objectId",
                       "objectId (or subject) is required: the id that the issuer's tokens carry");
    if (!external && s->kind != KL_PRINCIPAL_APPLICATION)
        return kl_fail(err, KL_BAD_INPUT, "issuer",
                       "users and groups come from an issuer of the configuration; name it");
    if (!external && (s->object_id != NULL || s->client_id != NULL))
        return kl_fail(err, KL_BAD_INPUT, "objectId",
                       "the service makes the ids of its own applications");
    return s->kind == KL_PRINCIPAL_GROUP && s->roles != 0
               ? kl_fail(err, KL_BAD_INPUT, "roles", "a group has no roles of the service")
               : KL_OK;
}

static enum kl_code read_wish(struct kl_op *op, struct wish *w, struct kl_err *err)
{
    static const char *const members[] = {"name",     "roles",  "type",    "objectId",
                                          "clientId", "issuer", "subject", "noSecret"};
    enum kl_code code = kl_admin_members(op, members, KL_COUNT(members), err);
    if (code == KL_OK)
        code = kl_json_string(op->body, "name", &w->spec.name, err);
    if (code == KL_OK)
        code = check_name(w->spec.name, err);
    if (code == KL_OK)
        code = read_roles(json_object_get(op->body, "roles"), &w->spec.roles, err);
    if (code == KL_OK)
        code = read_kind(op->body, &w->spec.kind, err);
    if (code == KL_OK)
        code = kl_json_string(op->body, "issuer", &w->spec.issuer, err);
    if (code == KL_OK)
        code = kl_json_bool(op->body, "noSecret", &w->spec.no_secret, err);
    if (code == KL_OK)
        code = read_ids(op, w, err);
    return code == KL_OK ? check_wish(op, w, err) : code;
}

void kl_op_principal_create(struct kl_op *op)
{
    KL_AUTO(secret) secret = NULL;
    struct kl_principal who = {0};
    struct wish wish = {.spec = {.name = NULL}};
    enum kl_code code = read_wish(op, &wish, &op->err);
    if (code == KL_OK)
        code = kl_principal_create(op->service->model, &wish.spec, &who, &secret, &op->err);
    if (!kl_op_ok(op, code))
        return;
    /* the audit record names whom it made */
    (void)snprintf(op->version, sizeof op->version, "%s", who.object_id);
    json_t *answer = principal_json(&who);
    if (secret != NULL)
        (void)json_object_set_new(
            answer, "clientSecret",
            json_stringn((const char *)kl_secret_bytes(secret), kl_secret_len(secret)));
    kl_admin_reply(op, 200, answer);
}

void kl_op_principal_get(struct kl_op *op)
{
    char object_id[KL_UUID_LEN + 1];
    struct kl_principal who;
    enum kl_code code = kl_admin_uuid(op->version, object_id, &op->err);
    if (code == KL_OK)
        code = kl_principal_find(op->service->model, object_id, &who, &op->err);
    if (kl_op_ok(op, code))
        kl_admin_reply(op, 200, principal_json(&who));
}

void kl_op_principal_update(struct kl_op *op)
{
    static const char *const members[] = {"roles", "disabled"};
    char object_id[KL_UUID_LEN + 1];
    struct kl_principal who;
    unsigned roles = 0;
    bool disabled = false;
    enum kl_code code = kl_admin_members(op, members, KL_COUNT(members), &op->err);
    if (code == KL_OK)
        code = kl_admin_uuid(op->version, object_id, &op->err);
    if (code == KL_OK)
        code = read_roles(json_object_get(op->body, "roles"), &roles, &op->err);
    if (code == KL_OK)
        code = kl_json_bool(op->body, "disabled", &disabled, &op->err);
    if (code == KL_OK)
        code = kl_principal_update(op->service->model, object_id,
                                   json_object_get(op->body, "roles") != NULL ? &roles : NULL,
                                   json_object_get(op->body, "disabled") != NULL ? &disabled : NULL,
                                   &who, &op->err);
    if (kl_op_ok(op, code))
        kl_admin_reply(op, 200, principal_json(&who));
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
