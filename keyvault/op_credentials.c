/* What principals log in with: secrets, certificates, subjects of TLS client certificates. */
#include "keyvault/op_admin.h"
#include "keyvault/ops.h"

#include "base/clock.h"

#include <string.h>

#define LIFE_MAX_S    (INT64_C(10) * 366 * 86400)
#define OVERLAP_MAX_S (INT64_C(90) * 86400)

static const char *const kinds[] = {[KL_CREDENTIAL_SECRET] = "secret",
                                    [KL_CREDENTIAL_CERTIFICATE] = "certificate",
                                    [KL_CREDENTIAL_SUBJECT] = "subject"};

/* The thumbprints that other tools print for a certificate are its SHA-256. */
static json_t *credential_json(const struct kl_credential *c)
{
    char hex[65];
    kl_hex(c->hash, sizeof c->hash, hex);
    bool certificate = c->kind == KL_CREDENTIAL_CERTIFICATE;
    return json_pack("{s:s, s:s, s:s, s:I, s:o, s:s?, s:s?}", "id", c->id, "type", kinds[c->kind],
                     "name", c->name, "created", (json_int_t)c->created, "expires",
                     c->expires != 0 ? json_integer(c->expires) : json_null(), "thumbprint",
                     certificate ? hex : NULL, "subject",
                     c->kind == KL_CREDENTIAL_SUBJECT ? c->value : NULL);
}

void kl_op_credential_list(struct kl_op *op)
{
    char object_id[KL_UUID_LEN + 1];
    struct kl_credential *all = NULL;
    size_t count = 0;
    enum kl_code code = kl_admin_uuid(op->version, object_id, &op->err);
    if (code == KL_OK)
        code = kl_credential_list(op->service->model, object_id, &all, &count, &op->err);
    if (!kl_op_ok(op, code))
        return;
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(list, credential_json(&all[i]));
    kl_credential_list_free(all, count);
    kl_admin_reply_list(op, list);
}

struct wish {
    char object_id[KL_UUID_LEN + 1];
    enum kl_credential_kind kind;
    const char *name, *value;
    int64_t expires;
    int64_t overlap; /* seconds that the older secrets stay good; -1 = they are left alone */
};

static enum kl_code read_kind(const json_t *body, enum kl_credential_kind *ret, struct kl_err *err)
{
    const char *word = kinds[KL_CREDENTIAL_SECRET];
    enum kl_code code = kl_json_string(body, "type", &word, err);
    for (size_t i = KL_CREDENTIAL_SECRET; code == KL_OK && i < KL_COUNT(kinds); i++)
        if (strcmp(kinds[i], word) == 0) {
            *ret = (enum kl_credential_kind)i;
            return KL_OK;
        }
    return code != KL_OK ? code
                         : kl_fail(err, KL_BAD_INPUT, "type",
                                   "type is one of 'secret', 'certificate' and 'subject'");
}

static enum kl_code check_wish(struct wish *w, struct kl_err *err)
{
    bool secret = w->kind == KL_CREDENTIAL_SECRET;
    if (w->name == NULL)
        w->name = "";
    if (strlen(w->name) > 127)
        return kl_fail(err, KL_BAD_INPUT, "name", "a credential's name has at most 127 bytes");
    if (secret != (w->value == NULL))
        return kl_fail(err, KL_BAD_INPUT, "value",
                       secret ? "the service makes secrets; value is for certificates and subjects"
                              : "value is required");
    if (!secret && w->overlap >= 0)
        return kl_fail(err, KL_BAD_INPUT, "overlap", "overlap is for secrets");
    return KL_OK;
}

static enum kl_code read_wish(struct kl_op *op, struct wish *w, struct kl_err *err)
{
    static const char *const members[] = {"type", "name", "value", "expires", "overlap"};
    int64_t now = kl_clock_unix();
    enum kl_code code = kl_admin_members(op, members, KL_COUNT(members), err);
    w->overlap = -1;
    if (code == KL_OK)
        code = kl_admin_uuid(op->version, w->object_id, err);
    if (code == KL_OK)
        code = read_kind(op->body, &w->kind, err);
    if (code == KL_OK)
        code = kl_json_string(op->body, "name", &w->name, err);
    if (code == KL_OK)
        code = kl_json_string(op->body, "value", &w->value, err);
    if (code == KL_OK)
        code = kl_json_int(op->body, "expires", now + 1, now + LIFE_MAX_S, &w->expires, err);
    if (code == KL_OK)
        code = kl_json_int(op->body, "overlap", 0, OVERLAP_MAX_S, &w->overlap, err);
    return code == KL_OK ? check_wish(w, err) : code;
}

static enum kl_code add(struct kl_op *op, const struct wish *w, struct kl_credential *ret,
                        struct kl_secret **ret_secret)
{
    struct kl_model *m = op->service->model;
    if (w->kind != KL_CREDENTIAL_SECRET)
        return kl_credential_add_proof(m, w->object_id, w->name, w->kind, w->value, w->expires, ret,
                                       &op->err);
    if (w->overlap < 0)
        return kl_credential_add_secret(m, w->object_id, w->name, w->expires, ret, ret_secret,
                                        &op->err);
    return kl_credential_reset(m, w->object_id, w->name, w->expires, kl_clock_unix() + w->overlap,
                               ret, ret_secret, &op->err);
}

void kl_op_credential_add(struct kl_op *op)
{
    KL_AUTO(secret) secret = NULL;
    struct wish wish = {.name = NULL};
    struct kl_credential made;
    enum kl_code code = read_wish(op, &wish, &op->err);
    if (code == KL_OK)
        code = add(op, &wish, &made, &secret);
    if (!kl_op_ok(op, code))
        return;
    (void)snprintf(op->name, sizeof op->name, "%s", made.id); /* for the audit record */
    json_t *answer = credential_json(&made);
    if (secret != NULL)
        (void)json_object_set_new(
            answer, "clientSecret",
            json_stringn((const char *)kl_secret_bytes(secret), kl_secret_len(secret)));
    kl_credential_done(&made);
    kl_admin_reply(op, 200, answer);
}

void kl_op_credential_delete(struct kl_op *op)
{
    char object_id[KL_UUID_LEN + 1], id[KL_UUID_LEN + 1];
    enum kl_code code = kl_admin_uuid(op->version, object_id, &op->err);
    if (code == KL_OK)
        code = kl_admin_uuid(op->name, id, &op->err);
    if (code == KL_OK)
        code = kl_credential_delete(op->service->model, object_id, id, &op->err);
    if (kl_op_ok(op, code))
        kl_op_reply(op, 204, NULL);
}
