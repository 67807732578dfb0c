/* Making, finding and changing vaults, and their policies. Deletion is in softdelete.c. */
#include "keyvault/model/softdelete.h"

#include "base/clock.h"
#include "keyvault/model/home.h"
#include "keyvault/model/key.h"

#include <string.h>
#include <strings.h>

#define RETENTION_MIN   7
#define RETENTION_MAX   90
#define ALL_PERMISSIONS INT64_MAX /* bit 63 is no permission */
#define DEFAULT_LABEL   "default"

/* --- finding --- */

static int host_order(const void *key, const void *element)
{
    return strcmp(key, ((const struct kl_host *)element)->host);
}

enum kl_code kl_vault_by_host(struct kl_model *m, const char *host, struct kl_vault **ret,
                              struct kl_err *err)
{
    struct kl_world *w = &m->world;
    (void)pthread_rwlock_rdlock(&w->lock);
    const struct kl_host *h = w->now.host_count > 0 ? bsearch(host, w->now.hosts, w->now.host_count,
                                                              sizeof *w->now.hosts, host_order)
                                                    : NULL;
    struct kl_vault *v = h != NULL ? kl_vault_ref(h->vault) : NULL;
    (void)pthread_rwlock_unlock(&w->lock);
    if (v == NULL)
        return kl_fail(err, KL_VAULT_NOT_FOUND, "vault", "no vault answers to this host name");
    *ret = v;
    return KL_OK;
}

enum kl_code kl_vault_by_name(struct kl_model *m, const char *name, enum kl_object_state state,
                              struct kl_vault **ret, struct kl_err *err)
{
    struct kl_world *w = &m->world;
    struct kl_vault *found = NULL;
    (void)pthread_rwlock_rdlock(&w->lock);
    for (size_t i = 0; i < w->now.vault_count && found == NULL; i++) {
        struct kl_vault *v = w->now.vaults[i];
        if (v->state == state && strcasecmp(v->name, name) == 0)
            found = kl_vault_ref(v);
    }
    (void)pthread_rwlock_unlock(&w->lock);
    if (found == NULL)
        return kl_fail(err, KL_VAULT_NOT_FOUND, "vault", "vault %s was not found", name);
    *ret = found;
    return KL_OK;
}

enum kl_code kl_vault_list(struct kl_model *m, enum kl_object_state state, struct kl_vault ***ret,
                           size_t *ret_count, struct kl_err *err)
{
    struct kl_world *w = &m->world;
    size_t count = 0;
    (void)pthread_rwlock_rdlock(&w->lock);
    struct kl_vault **list = calloc(w->now.vault_count + 1, sizeof(struct kl_vault *));
    for (size_t i = 0; list != NULL && i < w->now.vault_count; i++)
        if (w->now.vaults[i]->state == state)
            list[count++] = kl_vault_ref(w->now.vaults[i]);
    (void)pthread_rwlock_unlock(&w->lock);
    if (list == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for a list of vaults");
    *ret = list;
    *ret_count = count;
    return KL_OK;
}

void kl_vault_list_free(struct kl_vault **list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        kl_vault_unref(list[i]);
    free(list);
}

/* --- making --- */

static bool put_label(char *to, const char *label)
{
    int n = snprintf(to, KL_ROW_NAME, "%s", label != NULL ? label : DEFAULT_LABEL);
    return n > 0 && n < KL_ROW_NAME;
}

static enum kl_code check_spec(const struct kl_vault_spec *spec, struct kl_err *err)
{
    if (!kl_vault_name_valid(spec->name))
        return kl_fail(err, KL_BAD_INPUT, "name",
                       "a vault name has 3 to 24 letters, digits and single hyphens");
    if (spec->retention_days != 0 &&
        (spec->retention_days < RETENTION_MIN || spec->retention_days > RETENTION_MAX))
        return kl_fail(err, KL_BAD_INPUT, "retention", "the retention is %d to %d days",
                       RETENTION_MIN, RETENTION_MAX);
    if (spec->origin_count < 1 || spec->origin_count > KL_MAX_ORIGINS)
        return kl_fail(err, KL_BAD_INPUT, "origins", "a vault has 1 to %d origins", KL_MAX_ORIGINS);
    for (size_t i = 0; i < spec->origin_count; i++) {
        const struct kl_origin *o = &spec->origins[i];
        if (o->host[0] == '\0' || o->port == 0 || strpbrk(o->host, "\n \t/") != NULL)
            return kl_fail(err, KL_BAD_INPUT, "origins", "an origin is host:port");
    }
    return KL_OK;
}

static void put_origins(const struct kl_vault_spec *spec, struct kl_buf *out)
{
    for (size_t i = 0; i < spec->origin_count; i++)
        kl_buf_printf(out, "%s%s:%u", i > 0 ? "\n" : "", spec->origins[i].host,
                      spec->origins[i].port);
}

static enum kl_code fill_row(const struct kl_vault_spec *spec, const struct kl_token *token,
                             const char *origins, struct kl_vault_row *row, struct kl_err *err)
{
    *row = (struct kl_vault_row){.state = KL_LIFE_ACTIVE,
                                 .retention_days = spec->retention_days != 0 ? spec->retention_days
                                                                             : RETENTION_MAX,
                                 .purge_protection = spec->purge_protection,
                                 .extras = spec->extras,
                                 .tags = kl_tags_normal(spec->tags_json),
                                 .origins = origins};
    row->created = row->updated = kl_clock_unix();
    kl_uuid_new(row->id);
    (void)snprintf(row->name, sizeof row->name, "%s", spec->name);
    kl_model_fold(spec->name, row->folded, sizeof row->folded);
    if (!put_label(row->subscription, spec->subscription) ||
        !put_label(row->geography, spec->geography) || !put_label(row->location, spec->location) ||
        !put_label(row->token, token->name))
        return kl_fail(err, KL_BAD_INPUT, "label", "a label has 1 to %d bytes", KL_ROW_NAME - 1);
    return KL_OK;
}

static enum kl_code choose_profile(const struct kl_vault_spec *spec, struct kl_token *token,
                                   int64_t *ret, struct kl_err *err)
{
    struct kl_token_status status;
    kl_token_status(token, &status);
    if (status.state != KL_TOKEN_READY)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "token",
                       "token %s is not ready, its capabilities are unknown", token->name);
    bool can = status.caps.domain_wrap != 0;
    if (spec->profile == KL_PROFILE_DOMAIN && !can)
        return kl_fail(err, KL_TOKEN_UNSUPPORTED, "token",
                       "token %s has no domain key, its keys can only be fixed", token->name);
    *ret = spec->profile != 0 ? spec->profile : can ? KL_PROFILE_DOMAIN : KL_PROFILE_FIXED;
    return KL_OK;
}

static enum kl_code name_must_be_free(struct kl_store_session *t, const struct kl_vault_row *row,
                                      struct kl_err *err)
{
    struct kl_vault_copy held;
    enum kl_life unused;
    enum kl_code code = kl_vault_copy_read(t, KL_Q_VAULT_BY_NAME, row->folded, &held, err);
    if (code == KL_NOT_FOUND)
        return KL_OK;
    if (code != KL_OK)
        return code;
    code = kl_life_next(KL_KIND_VAULT, (enum kl_life)held.row.state, KL_EVENT_READY, &unused);
    kl_vault_copy_done(&held);
    return kl_fail(err, code, "vault",
                   code == KL_CONFLICT ? "a vault named %s exists"
                                       : "vault %s is deleted but recoverable; its name is held",
                   row->name);
}

static enum kl_code hosts_must_be_free(struct kl_model *m, const struct kl_vault_spec *spec,
                                       struct kl_err *err)
{
    for (size_t i = 0; i < spec->origin_count; i++) {
        bool taken = kl_world_host_taken(&m->world, spec->origins[i].host);
        for (size_t n = 0; n < i; n++)
            taken = taken || strcmp(spec->origins[n].host, spec->origins[i].host) == 0;
        if (taken)
            return kl_fail(err, KL_CONFLICT, "origins",
                           "host %s belongs to a vault already, possibly a deleted one",
                           spec->origins[i].host);
    }
    return KL_OK;
}

static enum kl_code insert_vault(struct kl_store_session *t, const struct kl_vault_row *row,
                                 const char *owner, struct kl_err *err)
{
    enum kl_code code = kl_store_insert(t, KL_Q_VAULT_INSERT, row, NULL, err);
    if (code != KL_OK || owner == NULL)
        return code;
    struct kl_policy_row policy = {.keys = ALL_PERMISSIONS,
                                   .secrets = ALL_PERMISSIONS,
                                   .certificates = ALL_PERMISSIONS,
                                   .vault = ALL_PERMISSIONS};
    memcpy(policy.vault_id, row->id, sizeof policy.vault_id);
    (void)snprintf(policy.object_id, sizeof policy.object_id, "%s", owner);
    return kl_store_insert(t, KL_Q_POLICY_PUT, &policy, NULL, err);
}

/* Show the vault as the session leaves it, once that is committed. */
enum kl_code kl_vault_commit(struct kl_model *m, struct kl_store_session *t, const char *id,
                             struct kl_vault **ret, struct kl_err *err)
{
    KL_AUTO(vault) v = NULL;
    enum kl_code code = kl_world_reserve(&m->world, err);
    if (code == KL_OK)
        code = kl_snapshot_vault(m, t, id, &v, err);
    if (code == KL_OK)
        code = kl_model_commit(m, t, err);
    if (code != KL_OK)
        return code;
    kl_world_put_vault(&m->world, kl_vault_ref(v));
    if (ret != NULL)
        *ret = kl_take(v);
    return KL_OK;
}

static enum kl_code write_vault(struct kl_model *m, const struct kl_vault_spec *spec,
                                const struct kl_vault_row *row, struct kl_vault **ret,
                                struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = name_must_be_free(t, row, err);
    if (code == KL_OK)
        code = hosts_must_be_free(m, spec, err);
    if (code == KL_OK)
        code = insert_vault(t, row, spec->owner_object_id, err);
    if (code == KL_OK)
        code = kl_seal_write(m, t, row->id, err);
    return code == KL_OK ? kl_vault_commit(m, t, row->id, ret, err) : code;
}

enum kl_code kl_vault_create(struct kl_model *m, const struct kl_vault_spec *spec,
                             struct kl_vault **ret, struct kl_err *err)
{
    KL_AUTO_PROTECTOR p = {NULL};
    struct kl_token *token = m->token_count > 0 ? m->tokens[0] : NULL;
    struct kl_vault_row row;
    struct kl_buf origins = KL_BUF_INIT(KL_MAX_ORIGINS * (KL_HOST_MAX + 8));
    enum kl_code code = check_spec(spec, err);
    if (code == KL_OK && spec->token_count > 0)
        code = kl_model_token_named(m, spec->token_names[0], &token, err);
    if (code == KL_OK && token == NULL)
        code = kl_fail(err, KL_TOKEN_UNAVAILABLE, "configuration", "no token is configured");
    if (code != KL_OK)
        return code;
    put_origins(spec, &origins);
    code = fill_row(spec, token, kl_buf_text(&origins), &row, err);
    if (code == KL_OK && kl_buf_failed(&origins))
        code = kl_fail(err, KL_NO_MEMORY, "kl_buf", "no memory for a vault");
    if (code == KL_OK)
        code = choose_profile(spec, token, &row.profile, err);
    if (code == KL_OK && spec->token_count > 1)
        code = kl_home_list(m, spec->token_names, spec->token_count, (enum kl_profile)row.profile,
                            row.homes, err);
    if (code == KL_OK)
        code = kl_protect_open(m, row.token, &p, err);
    if (code == KL_OK)
        code = kl_protect_vault(&p, &row, err);
    if (code == KL_OK)
        code = write_vault(m, spec, &row, ret, err);
    kl_buf_done(&origins);
    return code;
}

/* --- changing --- */

enum kl_code kl_vault_active_row(struct kl_store_session *t, const char *name,
                                 struct kl_vault_copy *ret, struct kl_err *err)
{
    struct kl_vault_copy c;
    char folded[KL_ROW_NAME];
    kl_model_fold(name, folded, sizeof folded);
    enum kl_code code = kl_vault_copy_read(t, KL_Q_VAULT_BY_NAME, folded, &c, err);
    if (code != KL_OK && code != KL_NOT_FOUND)
        return code;
    if (code == KL_OK && c.row.state == KL_LIFE_ACTIVE) {
        *ret = c;
        return KL_OK;
    }
    if (code == KL_OK)
        kl_vault_copy_done(&c);
    return kl_fail(err, KL_VAULT_NOT_FOUND, "vault", "vault %s was not found", name);
}

struct vault_patch {
    const bool *purge_protection;
    const char *tags_json;
    const char *homes;
    const bool *rbac;
    const unsigned *extras;
};

static enum kl_code apply(const struct kl_protector *p, struct kl_vault_row *row,
                          const struct vault_patch *patch, struct kl_err *err)
{
    enum kl_code code = kl_protect_check_vault(p, row, err);
    if (code != KL_OK)
        return code;
    if (patch->purge_protection != NULL && !*patch->purge_protection && row->purge_protection != 0)
        return kl_fail(err, KL_BAD_INPUT, "enablePurgeProtection",
                       "purge protection cannot be switched off once it is on");
    if (patch->purge_protection != NULL)
        row->purge_protection = *patch->purge_protection;
    if (patch->tags_json != NULL)
        row->tags = kl_tags_normal(patch->tags_json);
    if (patch->homes != NULL)
        (void)snprintf(row->homes, sizeof row->homes, "%s", patch->homes);
    if (patch->rbac != NULL)
        row->rbac = *patch->rbac;
    if (patch->extras != NULL)
        row->extras = *patch->extras;
    row->updated = kl_clock_unix();
    return kl_protect_vault(p, row, err);
}

static enum kl_code write_homes(struct kl_store_session *t, const struct kl_vault_row *row,
                                struct kl_err *err)
{
    return kl_store_run(t, KL_Q_VAULT_SET_HOMES,
                        KL_ARGS(KL_ARG_TEXT(row->homes), KL_ARG_TEXT(row->id)), NULL, err);
}

static enum kl_code update(struct kl_model *m, const char *name, const struct vault_patch *patch,
                           struct kl_vault **ret, struct kl_err *err)
{
    KL_AUTO(vault) before = NULL;
    KL_AUTO_PROTECTOR p = {NULL};
    KL_AUTO(store_session) t = NULL;
    struct kl_vault_copy c = {.tags = NULL};
    enum kl_code code = kl_vault_by_name(m, name, KL_STATE_ACTIVE, &before, err);
    if (code == KL_OK)
        code = kl_protect_open(m, before->token_name, &p, err);
    if (code == KL_OK)
        code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_vault_active_row(t, name, &c, err);
    if (code == KL_OK)
        code = apply(&p, &c.row, patch, err);
    if (code == KL_OK)
        code = kl_vault_row_write(t, &c.row, err);
    if (code == KL_OK && patch->homes != NULL)
        code = write_homes(t, &c.row, err);
    if (code == KL_OK && patch->extras != NULL)
        code = kl_store_run(t, KL_Q_VAULT_SET_EXTRAS,
                            KL_ARGS(KL_ARG_INT(c.row.extras), KL_ARG_TEXT(c.row.id)), NULL, err);
    if (code == KL_OK)
        code = kl_vault_commit(m, t, c.row.id, ret, err);
    if (code == KL_OK && patch->homes != NULL)
        kl_cache_flush(m->cache); /* keys know the order of their homes */
    kl_vault_copy_done(&c);
    return code;
}

enum kl_code kl_vault_update(struct kl_model *m, const char *name, const bool *purge_protection,
                             const char *tags_json, struct kl_vault **ret, struct kl_err *err)
{
    const struct vault_patch patch = {.purge_protection = purge_protection, .tags_json = tags_json};
    return update(m, name, &patch, ret, err);
}

enum kl_code kl_vault_set_homes(struct kl_model *m, const char *name,
                                const char *const *token_names, size_t count, struct kl_vault **ret,
                                struct kl_err *err)
{
    KL_AUTO(vault) before = NULL;
    char homes[KL_ROW_HOMES];
    const struct vault_patch patch = {.homes = homes};
    enum kl_code code = kl_vault_by_name(m, name, KL_STATE_ACTIVE, &before, err);
    if (code == KL_OK)
        code = kl_home_list(m, token_names, count, before->profile, homes, err);
    if (code == KL_OK)
        code = update(m, name, &patch, ret, err);
    if (code == KL_OK)
        kl_home_spread_vault(m, *ret);
    return code;
}

enum kl_code kl_vault_set_rbac(struct kl_model *m, const char *name, bool rbac,
                               struct kl_vault **ret, struct kl_err *err)
{
    const struct vault_patch patch = {.rbac = &rbac};
    return update(m, name, &patch, ret, err);
}

enum kl_code kl_vault_set_extras(struct kl_model *m, const char *name, unsigned extras,
                                 struct kl_vault **ret, struct kl_err *err)
{
    const struct vault_patch patch = {.extras = &extras};
    return update(m, name, &patch, ret, err);
}
