/* Keys from outside: imported onto the token, or attached where somebody else made them. */
#include "keyvault/gate.h"
#include "keyvault/op_admin.h"
#include "keyvault/ops.h"
#include "keyvault/wire.h"

#include "base/clock.h"

#include <string.h>

/* --- import --- */

/* The key that the blob is wrapped under: of this vault, and for nothing else. */
static enum kl_code find_wrapping(struct kl_op *op, const struct kl_wire_byok *byok,
                                  struct kl_key_version **ret)
{
    KL_AUTO(key_version) kek = NULL;
    enum kl_code code =
        kl_key_find(op->service->model, op->vault, byok->name, byok->version, &kek, &op->err);
    if (code == KL_OK)
        code = kl_gate_check(kek, KL_OP_IMPORT, kl_clock_unix(), &op->err);
    if (code == KL_OK)
        *ret = kl_take(kek);
    return code;
}

static enum kl_code read_key(struct kl_op *op, const json_t *jwk, struct kl_key_import *how)
{
    struct kl_wire_byok byok = {.ciphertext = NULL};
    bool wrapped = false;
    enum kl_code code = kl_wire_parse_byok(jwk, &byok, &wrapped, &op->err);
    if (code != KL_OK)
        return code;
    if (!wrapped)
        return kl_wire_jwk_private(jwk, how->as.spec.type, &how->bytes, &op->err);
    how->bytes = byok.ciphertext;
    how->as.hsm = true;
    return find_wrapping(op, &byok, &how->wrapping);
}

void kl_op_key_import(struct kl_op *op)
{
    struct kl_key_import how = {.bytes = NULL};
    struct kl_wire_tags tags = {.text = KL_BUF_INIT(0)};
    const json_t *jwk = NULL;
    enum kl_code code = kl_op_need_body(op);
    if (code == KL_OK)
        code = kl_wire_parse_import(op->body, &how.as, &tags, &jwk, &op->err);
    if (code == KL_OK)
        code = read_key(op, jwk, &how);
    if (code == KL_OK)
        code = kl_key_import(op->service->model, op->vault, op->name, &how, &op->key, &op->err);
    kl_secret_free(how.bytes);
    kl_key_version_unref(how.wrapping);
    kl_wire_tags_done(&tags);
    if (kl_op_ok(op, code))
        kl_op_reply_bundle(op);
}

/* --- attach --- */

static enum kl_code read_attach(struct kl_op *op, struct kl_key_attach *how,
                                struct kl_wire_patch *patch, const char **ret_name)
{
    static const char *const members[] = {"name",    "uri",  "destroyOnPurge",
                                          "key_ops", "tags", "attributes"};
    bool present = false;
    enum kl_code code = kl_admin_members(op, members, KL_COUNT(members), &op->err);
    if (code == KL_OK)
        code = kl_wire_text(op->body, "name", ret_name, &op->err);
    if (code == KL_OK)
        code = kl_wire_text(op->body, "uri", &how->uri, &op->err);
    if (code == KL_OK && (strncmp(how->uri, "pkcs11:", 7) != 0 || strlen(how->uri) > 1000))
        code = kl_fail(&op->err, KL_BAD_INPUT, "uri",
                       "uri must be a PKCS#11 URI, pkcs11:token=…;object=…, of at most 1000 bytes");
    if (code == KL_OK)
        code = kl_json_bool(op->body, "destroyOnPurge", &how->destroy_on_purge, &op->err);
    if (code == KL_OK) /* whatever the type: what the key can do is the token's word */
        code = kl_wire_parse_patch(op->body, KL_KEY_RSA, patch, &op->err);
    if (code == KL_OK)
        code = kl_wire_parse_attributes(op->body, &how->attrs, &present, &op->err);
    how->ops = patch->patch.ops != NULL ? patch->ops : 0;
    how->tags_json = patch->patch.tags_json;
    return code;
}

/* The administrator's role is in the row; the vault's own word is asked for here. */
static enum kl_code find_vault(struct kl_op *op, struct kl_vault **ret)
{
    KL_AUTO(vault) v = NULL;
    enum kl_code code =
        kl_vault_by_name(op->service->model, op->name, KL_STATE_ACTIVE, &v, &op->err);
    if (code == KL_OK)
        code = kl_authorize(&op->caller, KL_SCOPE_NAMED, KL_MAY_KEY_IMPORT, v, op->route->audit,
                            &op->err);
    if (code == KL_OK)
        *ret = kl_take(v);
    return code;
}

void kl_op_key_attach(struct kl_op *op)
{
    KL_AUTO(vault) vault = NULL;
    struct kl_key_attach how = {.attrs = {.enabled = true}};
    struct kl_wire_patch patch = {.tags = {.text = KL_BUF_INIT(0)}};
    const char *name = NULL;
    enum kl_code code = find_vault(op, &vault);
    if (code == KL_OK)
        code = read_attach(op, &how, &patch, &name);
    if (code == KL_OK)
        code = kl_key_attach(op->service->model, vault, name, &how, &op->key, &op->err);
    kl_wire_tags_done(&patch.tags);
    if (!kl_op_ok(op, code))
        return;
    kl_vault_unref(op->vault);
    op->vault = kl_take(vault);
    op->origin = op->vault->origins[0]; /* the key's id is the vault's */
    kl_op_reply_bundle(op);
}
