/* Certificates: create, import, get, update, policies, recover, backup and restore. */
#include "keyvault/ops.h"
#include "keyvault/wire_certificate.h"

#include <string.h>

#define RETRY_PATH_MAX 1024

static void name_version(struct kl_op *op, const struct kl_vault_secret *c)
{
    (void)snprintf(op->exact, sizeof op->exact, "certificates/%s/%s", c->name, c->version);
}

void kl_op_reply_certificate(struct kl_op *op, int status, struct kl_vault_secret *c, bool whole)
{
    KL_AUTO(json) policy = NULL;
    struct kl_buf json = KL_BUF_INIT(KL_ANSWER_CEILING);
    name_version(op, c);
    if (whole &&
        kl_certificate_policy(op->service->model, op->vault, c->name, &policy, NULL) != KL_OK)
        policy = NULL;
    kl_wire_put_certificate(&json, &op->origin, op->vault, c, policy, whole && c->purge_at == 0);
    kl_vault_secret_done(c);
    kl_op_reply_buf(op, status, &json);
}

void kl_op_certificate_create(struct kl_op *op)
{
    KL_AUTO(json) pending = NULL;
    struct kl_certificate_how how = {.policy = NULL};
    struct kl_wire_tags tags = {.text = KL_BUF_INIT(0)};
    enum kl_code code = kl_op_need_body(op);
    if (code == KL_OK)
        code = kl_wire_parse_certificate(op->body, &how, &tags, &op->err);
    if (code == KL_OK && !json_is_object(how.policy))
        code = kl_fail(&op->err, KL_BAD_INPUT, "policy", "Property policy is required");
    if (code == KL_OK)
        code = kl_certificate_create(op->service->model, op->vault, op->name, &how, &pending,
                                     &op->err);
    kl_wire_tags_done(&tags);
    if (!kl_op_ok(op, code))
        return;
    struct kl_buf json = KL_BUF_INIT(KL_ANSWER_CEILING), where = KL_BUF_INIT(RETRY_PATH_MAX);
    const char *id = json_string_value(json_object_get(pending, "request_id"));
    kl_wire_put_operation(&json, &op->origin, op->name, pending);
    kl_wire_put_id(&where, &op->origin, "certificates", op->name, "pending");
    kl_buf_printf(&where, "?api-version=%s&request_id=%s", op->api_version, id);
    kl_op_reply_accepted_buf(op, kl_buf_text(&where), &json);
    kl_buf_done(&where);
}

void kl_op_certificate_import(struct kl_op *op)
{
    KL_AUTO(secret) bundle = NULL;
    struct kl_certificate_how how = {.policy = NULL};
    struct kl_vault_secret c;
    struct kl_wire_tags tags = {.text = KL_BUF_INIT(0)};
    const char *password = NULL;
    enum kl_code code = kl_op_need_body(op);
    if (code == KL_OK)
        code = kl_wire_parse_certificate(op->body, &how, &tags, &op->err);
    if (code == KL_OK)
        code = kl_json_string(op->body, "pwd", &password, &op->err);
    if (code == KL_OK)
        code = kl_wire_parse_bundle(op->body, &bundle, &op->err);
    if (code == KL_OK)
        code = kl_certificate_import(op->service->model, op->vault, op->name, bundle, password,
                                     &how, &c, &op->err);
    kl_wire_tags_done(&tags);
    if (kl_op_ok(op, code))
        kl_op_reply_certificate(op, 200, &c, true);
}

void kl_op_certificate_get(struct kl_op *op)
{
    struct kl_vault_secret c;
    if (kl_op_ok(op, kl_certificate_get(op->service->model, op->vault, op->name, op->version, &c,
                                        &op->err)))
        kl_op_reply_certificate(op, 200, &c, true);
}

/* A policy for what comes and attributes of what is there may come together. */
void kl_op_certificate_update(struct kl_op *op)
{
    KL_AUTO(json) changed = NULL;
    struct kl_wire_certificate_patch patch = {.tags = {.text = KL_BUF_INIT(0)}};
    struct kl_vault_secret c;
    enum kl_code code = kl_op_need_body(op);
    const json_t *policy = json_object_get(op->body, "policy");
    if (code == KL_OK)
        code = kl_wire_parse_certificate_patch(op->body, &patch, &op->err);
    if (code == KL_OK && json_is_object(policy))
        code = kl_certificate_set_policy(op->service->model, op->vault, op->name, policy, &changed,
                                         &op->err);
    if (code == KL_OK)
        code = kl_certificate_update(op->service->model, op->vault, op->name, op->version,
                                     &patch.patch, &c, &op->err);
    kl_wire_tags_done(&patch.tags);
    if (kl_op_ok(op, code))
        kl_op_reply_certificate(op, 200, &c, true);
}

/* --- policies --- */

static void reply_policy(struct kl_op *op, enum kl_code code, json_t *policy)
{
    KL_AUTO(json) p = policy;
    struct kl_buf json = KL_BUF_INIT(KL_ANSWER_CEILING);
    if (!kl_op_ok(op, code))
        return;
    kl_wire_put_policy(&json, &op->origin, op->name, p);
    kl_op_reply_buf(op, 200, &json);
}

void kl_op_certificate_policy_get(struct kl_op *op)
{
    json_t *policy = NULL;
    enum kl_code code =
        kl_certificate_policy(op->service->model, op->vault, op->name, &policy, &op->err);
    reply_policy(op, code, policy);
}

void kl_op_certificate_policy_update(struct kl_op *op)
{
    json_t *policy = NULL;
    enum kl_code code = kl_op_need_body(op);
    if (code == KL_OK)
        code = kl_certificate_set_policy(op->service->model, op->vault, op->name, op->body, &policy,
                                         &op->err);
    reply_policy(op, code, policy);
}

/* --- soft delete and backup --- */

void kl_op_certificate_delete(struct kl_op *op)
{
    struct kl_vault_secret c;
    if (kl_op_ok(op, kl_certificate_delete(op->service->model, op->vault, op->name, &c, &op->err)))
        kl_op_reply_certificate(op, 200, &c, false);
}

void kl_op_deleted_certificate_get(struct kl_op *op)
{
    struct kl_vault_secret c;
    if (kl_op_ok(op, kl_certificate_deleted(op->service->model, op->vault, op->name, &c, &op->err)))
        kl_op_reply_certificate(op, 200, &c, false);
}

void kl_op_deleted_certificate_recover(struct kl_op *op)
{
    struct kl_vault_secret c;
    if (kl_op_ok(op, kl_certificate_recover(op->service->model, op->vault, op->name, &c, &op->err)))
        kl_op_reply_certificate(op, 200, &c, true);
}

void kl_op_deleted_certificate_purge(struct kl_op *op)
{
    struct kl_buf none = KL_BUF_INIT(0);
    if (kl_op_ok(op, kl_certificate_purge(op->service->model, op->vault, op->name, &op->err)))
        kl_op_reply_buf(op, 204, &none);
}

void kl_op_certificate_backup(struct kl_op *op)
{
    struct kl_buf blob = KL_BUF_INIT(KL_ANSWER_CEILING);
    enum kl_code code =
        kl_certificate_backup(op->service->model, op->vault, op->name, &blob, &op->err);
    kl_op_reply_blob(op, code, &blob);
}

void kl_op_certificate_restore(struct kl_op *op)
{
    KL_AUTO(bytes) blob = NULL;
    struct kl_vault_secret c;
    size_t n = 0;
    enum kl_code code = kl_op_read_blob(op, &blob, &n);
    if (code == KL_OK)
        code = kl_certificate_restore(op->service->model, op->vault, blob, n, &c, &op->err);
    if (kl_op_ok(op, code))
        kl_op_reply_certificate(op, 200, &c, true);
}
