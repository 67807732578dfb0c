/* Who may do what in a vault: policies and role assignments. */
#include "keyvault/model/inside.h"

#include "base/clock.h"

#include <string.h>

enum kl_code kl_policy_put(struct kl_model *m, const char *vault_name,
                           const struct kl_policy *policy, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_vault_copy c = {.tags = NULL};
    struct kl_policy_row row = {.keys = (int64_t)policy->allowed[KL_PERM_KEYS],
                                .secrets = (int64_t)policy->allowed[KL_PERM_SECRETS],
                                .certificates = (int64_t)policy->allowed[KL_PERM_CERTIFICATES],
                                .vault = (int64_t)policy->allowed[KL_PERM_VAULT]};
    memcpy(row.object_id, policy->object_id, sizeof row.object_id);
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_vault_active_row(t, vault_name, &c, err);
    if (code == KL_OK)
        code = kl_seal_check_change(m, t, c.row.id, err);
    if (code == KL_OK) {
        memcpy(row.vault_id, c.row.id, sizeof row.vault_id);
        code = kl_store_insert(t, KL_Q_POLICY_PUT, &row, NULL, err);
    }
    if (code == KL_OK)
        code = kl_seal_write(m, t, c.row.id, err);
    if (code == KL_OK)
        code = kl_vault_commit(m, t, c.row.id, NULL, err);
    kl_vault_copy_done(&c);
    return code;
}

enum kl_code kl_policy_delete(struct kl_model *m, const char *vault_name, const char *object_id,
                              struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_vault_copy c = {.tags = NULL};
    int64_t changed = 0;
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_vault_active_row(t, vault_name, &c, err);
    if (code == KL_OK)
        code = kl_seal_check_change(m, t, c.row.id, err);
    if (code == KL_OK)
        code = kl_store_run(t, KL_Q_POLICY_DELETE,
                            KL_ARGS(KL_ARG_TEXT(c.row.id), KL_ARG_TEXT(object_id)), &changed, err);
    if (code == KL_OK && changed == 0)
        code = kl_fail(err, KL_NOT_FOUND, "policy", "vault %s has no policy for %s", vault_name,
                       object_id);
    if (code == KL_OK)
        code = kl_seal_write(m, t, c.row.id, err);
    if (code == KL_OK)
        code = kl_vault_commit(m, t, c.row.id, NULL, err);
    kl_vault_copy_done(&c);
    return code;
}

/* Under a write session. */
static bool has_assignment(struct kl_model *m, const char *vault_id, const char *object_id,
                           const char *role)
{
    bool has = false;
    (void)pthread_rwlock_rdlock(&m->world.lock);
    for (size_t i = 0; i < m->world.now.vault_count; i++) {
        const struct kl_vault *v = m->world.now.vaults[i];
        for (size_t k = 0; strcmp(v->id, vault_id) == 0 && k < v->assignment_count; k++)
            has = has || (strcmp(v->assignments[k].object_id, object_id) == 0 &&
                          strcmp(v->assignments[k].role, role) == 0);
    }
    (void)pthread_rwlock_unlock(&m->world.lock);
    return has;
}

enum kl_code kl_assignment_add(struct kl_model *m, const char *vault_name, const char *object_id,
                               const char *role, struct kl_assignment *ret, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_vault_copy c = {.tags = NULL};
    struct kl_assignment_row row = {.created = kl_clock_unix()};
    kl_uuid_new(row.id);
    (void)snprintf(row.object_id, sizeof row.object_id, "%s", object_id);
    (void)snprintf(row.role, sizeof row.role, "%s", role);
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_vault_active_row(t, vault_name, &c, err);
    if (code == KL_OK)
        code = kl_seal_check_change(m, t, c.row.id, err);
    if (code == KL_OK && has_assignment(m, c.row.id, object_id, role))
        code = kl_fail(err, KL_EXISTS, "assignment", "the principal has this role there already");
    if (code == KL_OK) {
        memcpy(row.vault_id, c.row.id, sizeof row.vault_id);
        code = kl_store_insert(t, KL_Q_ASSIGNMENT_INSERT, &row, NULL, err);
    }
    if (code == KL_OK)
        code = kl_seal_write(m, t, c.row.id, err);
    if (code == KL_OK)
        code = kl_vault_commit(m, t, c.row.id, NULL, err);
    kl_vault_copy_done(&c);
    if (code != KL_OK)
        return code;
    *ret = (struct kl_assignment){.created = row.created};
    memcpy(ret->id, row.id, sizeof ret->id);
    memcpy(ret->object_id, row.object_id, sizeof ret->object_id);
    memcpy(ret->role, row.role, sizeof ret->role);
    return KL_OK;
}

enum kl_code kl_assignment_delete(struct kl_model *m, const char *vault_name, const char *id,
                                  struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_vault_copy c = {.tags = NULL};
    int64_t changed = 0;
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_vault_active_row(t, vault_name, &c, err);
    if (code == KL_OK)
        code = kl_seal_check_change(m, t, c.row.id, err);
    if (code == KL_OK)
        code = kl_store_run(t, KL_Q_ASSIGNMENT_DELETE,
                            KL_ARGS(KL_ARG_TEXT(c.row.id), KL_ARG_TEXT(id)), &changed, err);
    if (code == KL_OK && changed == 0)
        code = kl_fail(err, KL_NOT_FOUND, "assignment", "vault %s has no role assignment %s",
                       vault_name, id);
    if (code == KL_OK)
        code = kl_seal_write(m, t, c.row.id, err);
    if (code == KL_OK)
        code = kl_vault_commit(m, t, c.row.id, NULL, err);
    kl_vault_copy_done(&c);
    return code;
}
