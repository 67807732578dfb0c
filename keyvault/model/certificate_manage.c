/* Reading and changing certificates, their policies and operations; their life. */
#include "keyvault/model/certificate_inside.h"

#include "base/clock.h"
#include "keyvault/model/softdelete.h"

#include <string.h>

/* --- get --- */

enum kl_code kl_certificate_get(struct kl_model *m, struct kl_vault *v, const char *name,
                                const char *version, struct kl_vault_secret *ret,
                                struct kl_err *err)
{
    KL_AUTO(secret) none = NULL;
    struct kl_object_row object = {0};
    struct kl_err e = {.code = KL_OK};
    enum kl_code code =
        kl_vault_item_get(m, v, KL_KIND_CERTIFICATE, name, version, ret, &none, NULL, &e);
    if (code == KL_CERTIFICATE_NOT_FOUND && (version == NULL || version[0] == '\0') &&
        kl_certificate_object(m, v, name, &object, NULL) == KL_OK) {
        *ret = (struct kl_vault_secret){
            .created = object.created, .updated = object.created, .attrs = {.enabled = false}};
        memcpy(ret->name, object.name, sizeof ret->name);
        return KL_OK;
    }
    if (code != KL_OK && err != NULL)
        *err = e;
    return code;
}

/* --- policies --- */

static enum kl_code policy_id(struct kl_model *m, const struct kl_vault *v, const char *name,
                              struct kl_part_id *ret, struct kl_err *err)
{
    struct kl_object_row object = {0};
    enum kl_code code = kl_certificate_object(m, v, name, &object, err);
    *ret = (struct kl_part_id){v, object.id, KL_PART_POLICY, name};
    return code;
}

enum kl_code kl_certificate_policy(struct kl_model *m, struct kl_vault *v, const char *name,
                                   json_t **ret, struct kl_err *err)
{
    struct kl_part_id id;
    enum kl_code code = policy_id(m, v, name, &id, err);
    return code == KL_OK ? kl_part_read_json(m, &id, ret, err) : code;
}

/* Written only while the certificate is still there. */
static enum kl_code write_part(struct kl_model *m, struct kl_vault *v, const struct kl_part_id *id,
                               const json_t *json, struct kl_err *err)
{
    KL_AUTO(vault_key) key = NULL;
    KL_AUTO(store_session) t = NULL;
    struct kl_object_row object = {0};
    enum kl_code code = kl_vault_key_for_sealing(m, v, &key, err);
    if (code == KL_OK)
        code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_vault_must_be_active(t, v->id, err);
    if (code == KL_OK)
        code = kl_vault_secret_object(t, v->id, KL_KIND_CERTIFICATE, id->name, &object, err);
    if (code == KL_OK && object.id != id->object)
        code = kl_object_missing(KL_KIND_CERTIFICATE, id->name, "", err);
    if (code == KL_OK)
        code = json != NULL ? kl_part_write_json(t, key, id, json, err)
                            : kl_part_delete(t, id, NULL, err);
    return code == KL_OK ? kl_model_commit(m, t, err) : code;
}

enum kl_code kl_certificate_set_policy(struct kl_model *m, struct kl_vault *v, const char *name,
                                       const json_t *changes, json_t **ret, struct kl_err *err)
{
    KL_AUTO(json) now = NULL;
    struct kl_cert_policy policy = {.json = NULL};
    struct kl_part_id id;
    enum kl_code code = policy_id(m, v, name, &id, err);
    if (code == KL_OK)
        code = kl_part_read_json(m, &id, &now, err);
    if (code == KL_OK)
        code = kl_cert_policy_read(changes, now, false, &policy, err);
    if (code == KL_OK)
        code = kl_x509_check(&policy, err);
    if (code == KL_OK)
        code = write_part(m, v, &id, policy.json, err);
    if (code == KL_OK)
        *ret = json_incref(policy.json);
    kl_cert_policy_done(&policy);
    return code;
}

/* --- operations --- */

static enum kl_code read_op(struct kl_model *m, struct kl_vault *v, const char *name,
                            struct kl_part_id *id, json_t **ret, struct kl_err *err)
{
    enum kl_code code = policy_id(m, v, name, id, err);
    id->part = KL_PART_PENDING;
    if (code == KL_OK)
        code = kl_part_read_json(m, id, ret, err);
    return code == KL_NOT_FOUND ? kl_fail(err, KL_PENDING_NOT_FOUND, "pending",
                                          "Pending certificate not found: %s", name)
                                : code;
}

enum kl_code kl_certificate_cancel(struct kl_model *m, struct kl_vault *v, const char *name,
                                   json_t **ret_op, struct kl_err *err)
{
    KL_AUTO(json) op = NULL;
    struct kl_part_id id;
    enum kl_code code = read_op(m, v, name, &id, &op, err);
    if (code != KL_OK)
        return code;
    const char *status = json_string_value(json_object_get(op, "status"));
    bool waits = status != NULL && strcmp(status, "inProgress") == 0;
    if (json_object_set_new(op, "cancellation_requested", json_true()) != 0 ||
        (waits && (json_object_set_new(op, "status", json_string("cancelled")) != 0 ||
                   json_object_set_new(op, "status_details",
                                       json_string("The operation was cancelled.")) != 0)))
        return kl_fail(err, KL_NO_MEMORY, "json", "no memory for an operation");
    code = write_part(m, v, &id, op, err);
    if (code == KL_OK)
        *ret_op = kl_take(op);
    return code;
}

enum kl_code kl_certificate_forget_pending(struct kl_model *m, struct kl_vault *v, const char *name,
                                           json_t **ret_op, struct kl_err *err)
{
    KL_AUTO(json) op = NULL;
    struct kl_part_id id;
    enum kl_code code = read_op(m, v, name, &id, &op, err);
    if (code == KL_OK)
        code = write_part(m, v, &id, NULL, err);
    id.part = KL_PART_KEY;
    if (code == KL_OK)
        code = write_part(m, v, &id, NULL, err);
    if (code == KL_OK)
        *ret_op = kl_take(op);
    return code;
}

/* --- update --- */

enum kl_code kl_certificate_update(struct kl_model *m, struct kl_vault *v, const char *name,
                                   const char *version, const struct kl_vault_secret_patch *patch,
                                   struct kl_vault_secret *ret, struct kl_err *err)
{
    struct kl_vault_secret made = {.name = ""}, secret = {.name = ""};
    enum kl_code code =
        kl_vault_item_update(m, v, KL_KIND_CERTIFICATE, name, version, patch, &made, err);
    if (code == KL_OK && patch->enabled != NULL) {
        KL_AUTO(key_version) key = NULL;
        const struct kl_key_patch to_key = {.enabled = patch->enabled, .managed = true};
        const struct kl_vault_secret_patch to_secret = {.enabled = patch->enabled, .managed = true};
        code = kl_key_update(m, v, name, made.key_version, &to_key, &key, err);
        if (code == KL_OK)
            code = kl_vault_item_update(m, v, KL_KIND_SECRET, name, made.version, &to_secret,
                                        &secret, err);
        kl_vault_secret_done(&secret);
    }
    if (code == KL_OK)
        *ret = made;
    else
        kl_vault_secret_done(&made);
    return code;
}

/* --- listings --- */

enum kl_code kl_certificate_list(struct kl_model *m, struct kl_vault *v, enum kl_object_state state,
                                 bool with_pending, const char *after, size_t limit,
                                 struct kl_vault_secret_page *ret, struct kl_err *err)
{
    enum kl_code code =
        kl_vault_item_list(m, v, KL_KIND_CERTIFICATE, state, after, limit, ret, err);
    if (code != KL_OK || with_pending || state == KL_STATE_DELETED)
        return code;
    size_t kept = 0;
    for (size_t i = 0; i < ret->count; i++)
        if (ret->items[i].about != NULL)
            ret->items[kept++] = ret->items[i];
        else
            kl_vault_secret_done(&ret->items[i]);
    ret->count = kept;
    return KL_OK;
}

enum kl_code kl_certificate_versions(struct kl_model *m, struct kl_vault *v, const char *name,
                                     const char *after, size_t limit,
                                     struct kl_vault_secret_page *ret, struct kl_err *err)
{
    return kl_vault_item_versions(m, v, KL_KIND_CERTIFICATE, name, after, limit, ret, err);
}

/* --- soft delete --- */

enum kl_code kl_certificate_delete(struct kl_model *m, struct kl_vault *v, const char *name,
                                   struct kl_vault_secret *ret, struct kl_err *err)
{
    return kl_vault_item_change(m, v, KL_KIND_CERTIFICATE, name, false, ret, err);
}

enum kl_code kl_certificate_deleted(struct kl_model *m, struct kl_vault *v, const char *name,
                                    struct kl_vault_secret *ret, struct kl_err *err)
{
    return kl_vault_item_deleted(m, v, KL_KIND_CERTIFICATE, name, ret, err);
}

enum kl_code kl_certificate_recover(struct kl_model *m, struct kl_vault *v, const char *name,
                                    struct kl_vault_secret *ret, struct kl_err *err)
{
    return kl_vault_item_change(m, v, KL_KIND_CERTIFICATE, name, true, ret, err);
}

enum kl_code kl_certificate_purge(struct kl_model *m, struct kl_vault *v, const char *name,
                                  struct kl_err *err)
{
    return kl_purge_object(m, v->id, v->token_name, KL_KIND_CERTIFICATE, name, false, err);
}
