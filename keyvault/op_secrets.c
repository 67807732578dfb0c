/* Secrets: set, get, update, recover, backup and restore. */
#include "keyvault/ops.h"
#include "keyvault/wire_secret.h"

#include <string.h>

/* End with a SecretBundle; takes what the secret holds. */
static void reply_secret(struct kl_op *op, struct kl_vault_secret *s, const char *value, size_t n)
{
    struct kl_buf json = KL_BUF_INIT(KL_ANSWER_CEILING);
    (void)snprintf(op->exact, sizeof op->exact, "secrets/%s/%s", s->name, s->version);
    kl_wire_put_secret(&json, &op->origin, op->vault, s, value, n);
    kl_vault_secret_done(s);
    kl_op_reply_buf(op, 200, &json);
}

void kl_op_secret_set(struct kl_op *op)
{
    struct kl_vault_secret_set how = {.value = NULL};
    struct kl_vault_secret s;
    struct kl_wire_tags tags = {.text = KL_BUF_INIT(0)};
    enum kl_code code = kl_op_need_body(op);
    if (code == KL_OK)
        code = kl_wire_parse_secret(op->body, &how, &tags, &op->err);
    if (code == KL_OK)
        code = kl_vault_secret_set(op->service->model, op->vault, op->name, &how, &s, &op->err);
    kl_wire_tags_done(&tags);
    if (kl_op_ok(op, code))
        reply_secret(op, &s, how.value, how.value_len);
}

static void get_waiting(struct kl_op *op);

/* The vault's key is mostly at hand; when it is not, a thread that may wait for the token goes on.
 */
static void get(struct kl_op *op, bool may_wait)
{
    struct kl_vault_secret s;
    struct kl_secret *value = NULL;
    bool must_wait = false;
    if (!kl_op_ok(op, kl_vault_secret_get(op->service->model, op->vault, op->name, op->version, &s,
                                          &value, may_wait ? NULL : &must_wait, &op->err)))
        return;
    if (must_wait) {
        kl_op_to_token_job(op, get_waiting);
        return;
    }
    reply_secret(op, &s, (const char *)kl_secret_bytes(value), kl_secret_len(value));
    kl_secret_free(value);
}

static void get_waiting(struct kl_op *op)
{
    get(op, true);
}

void kl_op_secret_get(struct kl_op *op)
{
    get(op, false);
}

void kl_op_secret_update(struct kl_op *op)
{
    struct kl_wire_secret_patch patch = {.tags = {.text = KL_BUF_INIT(0)}};
    struct kl_vault_secret s;
    enum kl_code code = kl_op_need_body(op);
    if (code == KL_OK)
        code = kl_wire_parse_secret_patch(op->body, &patch, &op->err);
    if (code == KL_OK)
        code = kl_vault_secret_update(op->service->model, op->vault, op->name, op->version,
                                      &patch.patch, &s, &op->err);
    kl_wire_tags_done(&patch.tags);
    if (kl_op_ok(op, code))
        reply_secret(op, &s, NULL, 0);
}

void kl_op_deleted_secret_recover(struct kl_op *op)
{
    struct kl_vault_secret s;
    if (kl_op_ok(op,
                 kl_vault_secret_recover(op->service->model, op->vault, op->name, &s, &op->err)))
        reply_secret(op, &s, NULL, 0);
}

void kl_op_secret_backup(struct kl_op *op)
{
    struct kl_buf blob = KL_BUF_INIT(KL_ANSWER_CEILING);
    enum kl_code code =
        kl_vault_secret_backup(op->service->model, op->vault, op->name, &blob, &op->err);
    kl_op_reply_blob(op, code, &blob);
}

void kl_op_secret_restore(struct kl_op *op)
{
    KL_AUTO(bytes) blob = NULL;
    struct kl_vault_secret s;
    size_t n = 0;
    enum kl_code code = kl_op_read_blob(op, &blob, &n);
    if (code == KL_OK)
        code = kl_vault_secret_restore(op->service->model, op->vault, blob, n, &s, &op->err);
    if (kl_op_ok(op, code))
        reply_secret(op, &s, NULL, 0);
}
