/* Rows into the immutable structs of object.h, and the few row reads that all files share. */
#include "keyvault/model/home.h"
#include "keyvault/model/softdelete.h"

#include <openssl/x509.h>
#include <string.h>

static enum kl_code no_memory(struct kl_err *err)
{
    return kl_fail(err, KL_NO_MEMORY, "malloc", "no memory for a snapshot");
}

/* NULL stays NULL. */
static bool copy_text(const char *text, char **ret)
{
    *ret = text != NULL ? strdup(text) : NULL;
    return text == NULL || *ret != NULL;
}

static enum kl_code copy_spki(const struct kl_version_row *row, struct kl_key_version *k,
                              struct kl_err *err)
{
    k->spki = malloc(row->spki.len + 1);
    if (k->spki == NULL)
        return no_memory(err);
    if (row->spki.len > 0)
        memcpy(k->spki, row->spki.bytes, row->spki.len);
    k->spki_len = row->spki.len;
    uint8_t hash[KL_SPKI_HASH_LEN];
    kl_spki_hash(k->spki, k->spki_len, hash);
    if (memcmp(hash, k->ref.spki_hash, sizeof hash) != 0)
        return kl_fail(err, KL_CORRUPT, "store", "stored public key of %s/%s is not the token's",
                       k->name, k->version);
    const unsigned char *at = k->spki;
    k->public_key = d2i_PUBKEY(NULL, &at, (long)k->spki_len);
    if (k->public_key == NULL || at != k->spki + k->spki_len) {
        (void)kl_fail_ossl(err, "d2i_PUBKEY", "stored public key of %s/%s cannot be read", k->name,
                           k->version);
        if (err != NULL)
            err->code = KL_CORRUPT;
        return KL_CORRUPT;
    }
    return KL_OK;
}

static void copy_plain(const struct kl_object_row *object, const struct kl_version_row *row,
                       struct kl_key_version *k)
{
    atomic_init(&k->refs, 1);
    atomic_init(&k->proved_ms, 0);
    memcpy(k->vault_id, object->vault_id, sizeof k->vault_id);
    memcpy(k->name, object->name, sizeof k->name);
    memcpy(k->version, row->version, sizeof k->version);
    k->type = (enum kl_key_type)row->type;
    k->bits = (uint32_t)row->bits;
    k->curve = (enum kl_curve)row->curve;
    k->hsm = row->hsm != 0;
    k->ops = (unsigned)row->ops;
    k->attrs = (struct kl_key_attrs){.enabled = row->enabled != 0,
                                     .has_nbf = row->has_nbf != 0,
                                     .has_exp = row->has_exp != 0,
                                     .nbf = row->nbf,
                                     .exp = row->exp};
    k->managed = object->managed != 0;
    k->for_backups = object->for_backups != 0;
    k->profile = (enum kl_profile)row->profile;
    k->restored = row->restored != 0;
    k->seq = row->seq;
    k->origin = (enum kl_key_origin)row->origin;
    k->keep = row->keep != 0;
    k->created = row->created;
    k->updated = row->updated;
    memcpy(k->ref.id, row->token_key, sizeof k->ref.id);
    memcpy(k->ref.spki_hash, row->spki_hash, sizeof k->ref.spki_hash);
}

enum kl_code kl_snapshot_version(const struct kl_model *m, const struct kl_object_row *object,
                                 const struct kl_version_row *row, struct kl_key_version **ret,
                                 struct kl_err *err)
{
    enum kl_code code = kl_attributes_check(m, row, err);
    if (code != KL_OK)
        return code;
    struct kl_key_version *fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL)
        return no_memory(err);
    copy_plain(object, row, fresh);
    KL_AUTO(key_version) k = fresh;
    if (!copy_text(row->tags, &k->tags_json) || !copy_text(row->token, &k->token_name))
        return no_memory(err);
    k->token = kl_model_token(m, row->token);
    code = copy_spki(row, k, err);
    if (code == KL_OK)
        *ret = kl_take(k);
    return code;
}

struct gather {
    const struct kl_model *m;
    const struct kl_object_row *object;
    struct kl_key_version **to;
    size_t room, count;
};

static enum kl_code gather_row(void *arg, const void *row, struct kl_err *err)
{
    struct gather *g = arg;
    if (g->count == g->room)
        return kl_fail(err, KL_INTERNAL, "store", "more versions than asked for");
    enum kl_code code = kl_snapshot_version(g->m, g->object, row, &g->to[g->count], err);
    if (code == KL_OK)
        g->count++;
    return code;
}

enum kl_code kl_snapshot_versions(const struct kl_model *m, struct kl_store_session *t,
                                  const struct kl_object_row *object, enum kl_store_query query,
                                  const struct kl_store_value *args, size_t arg_count,
                                  struct kl_key_version **ret, size_t room, size_t *ret_count,
                                  struct kl_err *err)
{
    struct gather g = {m, object, ret, room, 0};
    enum kl_code code = kl_store_each(t, query, args, arg_count, gather_row, &g, err);
    for (size_t i = 0; i < g.count && code == KL_OK; i++)
        code = kl_home_load(m, t, ret[i], err);
    if (code == KL_OK)
        *ret_count = g.count;
    for (size_t i = 0; code != KL_OK && i < g.count; i++)
        kl_key_version_unref(ret[i]);
    return code;
}

enum kl_code kl_snapshot_newest(const struct kl_model *m, struct kl_store_session *t,
                                const struct kl_object_row *object, struct kl_key_version **ret,
                                struct kl_err *err)
{
    size_t count = 0;
    struct kl_key_version *k = NULL;
    enum kl_code code = kl_snapshot_versions(m, t, object, KL_Q_VERSION_NEWEST,
                                             KL_ARGS(KL_ARG_INT(object->id)), &k, 1, &count, err);
    if (code == KL_OK && count == 0)
        return kl_fail(err, KL_NOT_FOUND, "store", "no version of %s", object->name);
    if (code == KL_OK)
        *ret = k;
    return code;
}

/* --- vaults --- */

static enum kl_code copy_vault(void *arg, const void *row, struct kl_err *err)
{
    struct kl_vault_copy *c = arg;
    kl_vault_copy_done(c);
    c->row = *(const struct kl_vault_row *)row;
    if (!copy_text(c->row.tags, &c->tags) || !copy_text(c->row.origins, &c->origins))
        return no_memory(err);
    c->row.tags = c->tags;
    c->row.origins = c->origins;
    return KL_OK;
}

enum kl_code kl_vault_copy_read(struct kl_store_session *t, enum kl_store_query query,
                                const char *key, struct kl_vault_copy *ret, struct kl_err *err)
{
    struct kl_vault_copy c = {0};
    enum kl_code code = kl_store_each(t, query, KL_ARGS(KL_ARG_TEXT(key)), copy_vault, &c, err);
    if (code == KL_OK && c.row.id[0] == '\0')
        code = kl_fail(err, KL_NOT_FOUND, "store", "no such vault");
    if (code == KL_OK)
        *ret = c;
    else
        kl_vault_copy_done(&c);
    return code;
}

void kl_vault_copy_done(struct kl_vault_copy *c)
{
    free(c->tags);
    free(c->origins);
    *c = (struct kl_vault_copy){0};
}

enum kl_code kl_vault_row_write(struct kl_store_session *t, const struct kl_vault_row *row,
                                struct kl_err *err)
{
    return kl_store_run(t, KL_Q_VAULT_SET,
                        KL_ARGS(KL_ARG_INT(row->state), KL_ARG_INT(row->purge_protection),
                                KL_ARG_INT(row->updated), KL_ARG_INT(row->deleted_at),
                                KL_ARG_INT(row->purge_at), KL_ARG_INT(row->deleted_elapsed),
                                KL_ARG_TEXT(row->tags), KL_ARG_BYTES(row->mac, sizeof row->mac),
                                KL_ARG_INT(row->rbac), KL_ARG_TEXT(row->id)),
                        NULL, err);
}

enum kl_code kl_object_row_write(struct kl_store_session *t, const struct kl_object_row *row,
                                 struct kl_err *err)
{
    return kl_store_run(t, KL_Q_OBJECT_SET,
                        KL_ARGS(KL_ARG_INT(row->state), KL_ARG_INT(row->deleted_at),
                                KL_ARG_INT(row->purge_at), KL_ARG_INT(row->deleted_elapsed),
                                KL_ARG_BYTES(row->mac, sizeof row->mac), KL_ARG_INT(row->id)),
                        NULL, err);
}

enum kl_code kl_object_read(struct kl_store_session *t, const char *vault_id, enum kl_kind kind,
                            const char *name, struct kl_object_row *ret, struct kl_err *err)
{
    char folded[KL_ROW_NAME];
    kl_model_fold(name, folded, sizeof folded);
    return kl_store_one(t, KL_Q_OBJECT_BY_NAME,
                        KL_ARGS(KL_ARG_TEXT(vault_id), KL_ARG_INT(kind), KL_ARG_TEXT(folded)), ret,
                        err);
}

struct policies {
    struct kl_policy *list;
    size_t count, room;
};

static enum kl_code add_policy(void *arg, const void *p, struct kl_err *err)
{
    struct policies *all = arg;
    const struct kl_policy_row *row = p;
    if (all->count == all->room) {
        size_t room = all->room == 0 ? 4 : 2 * all->room;
        struct kl_policy *more = realloc(all->list, room * sizeof *more);
        if (more == NULL)
            return no_memory(err);
        all->list = more;
        all->room = room;
    }
    struct kl_policy *policy = &all->list[all->count++];
    *policy = (struct kl_policy){.allowed = {[KL_PERM_KEYS] = (uint64_t)row->keys,
                                             [KL_PERM_SECRETS] = (uint64_t)row->secrets,
                                             [KL_PERM_CERTIFICATES] = (uint64_t)row->certificates,
                                             [KL_PERM_VAULT] = (uint64_t)row->vault}};
    memcpy(policy->object_id, row->object_id, sizeof policy->object_id);
    return KL_OK;
}

struct assignments {
    struct kl_assignment *list;
    size_t count, room;
};

static enum kl_code add_assignment(void *arg, const void *p, struct kl_err *err)
{
    struct assignments *all = arg;
    const struct kl_assignment_row *row = p;
    if (all->count == all->room) {
        size_t room = all->room == 0 ? 4 : 2 * all->room;
        struct kl_assignment *more = realloc(all->list, room * sizeof *more);
        if (more == NULL)
            return no_memory(err);
        all->list = more;
        all->room = room;
    }
    struct kl_assignment *a = &all->list[all->count++];
    *a = (struct kl_assignment){.created = row->created};
    memcpy(a->id, row->id, sizeof a->id);
    memcpy(a->object_id, row->object_id, sizeof a->object_id);
    memcpy(a->role, row->role, sizeof a->role);
    return KL_OK;
}

static enum kl_code load_access(const struct kl_model *m, struct kl_store_session *t,
                                struct kl_vault *v, struct kl_err *err)
{
    struct policies policies = {0};
    struct assignments roles = {0};
    enum kl_code code = kl_seal_check(m, t, v->id, err);
    if (code == KL_OK)
        code = kl_store_each(t, KL_Q_POLICIES_OF, KL_ARGS(KL_ARG_TEXT(v->id)), add_policy,
                             &policies, err);
    if (code == KL_OK)
        code = kl_store_each(t, KL_Q_ASSIGNMENTS_OF, KL_ARGS(KL_ARG_TEXT(v->id)), add_assignment,
                             &roles, err);
    v->policies = policies.list;
    v->policy_count = policies.count;
    v->assignments = roles.list;
    v->assignment_count = roles.count;
    return code;
}

/* "host:port" lines; the host may itself hold colons. */
static bool parse_origins(const char *text, struct kl_vault *v)
{
    while (*text != '\0') {
        const char *end = strchrnul(text, '\n');
        const char *colon = memrchr(text, ':', (size_t)(end - text));
        size_t n = colon != NULL ? (size_t)(colon - text) : 0;
        long port = colon != NULL ? strtol(colon + 1, NULL, 10) : 0;
        if (n == 0 || n > KL_HOST_MAX || port < 1 || port > UINT16_MAX ||
            v->origin_count == KL_MAX_ORIGINS)
            return false;
        struct kl_origin *o = &v->origins[v->origin_count++];
        memcpy(o->host, text, n);
        o->port = (uint16_t)port;
        text = *end == '\0' ? end : end + 1;
    }
    return true;
}

static enum kl_code fill_vault(const struct kl_model *m, const struct kl_vault_row *row,
                               struct kl_vault *v, struct kl_err *err)
{
    memcpy(v->id, row->id, sizeof v->id);
    memcpy(v->name, row->name, sizeof v->name);
    v->state = row->state == KL_LIFE_ACTIVE ? KL_STATE_ACTIVE : KL_STATE_DELETED;
    v->profile = (enum kl_profile)row->profile;
    v->retention_days = (int)row->retention_days;
    v->purge_protection = row->purge_protection != 0;
    v->rbac = row->rbac != 0;
    v->extras = (unsigned)row->extras;
    v->created = row->created;
    v->updated = row->updated;
    v->deleted_at = row->deleted_at;
    v->purge_at = row->purge_at;
    v->token = kl_model_token(m, row->token);
    if (!copy_text(row->subscription, &v->subscription) ||
        !copy_text(row->geography, &v->geography) || !copy_text(row->location, &v->location) ||
        !copy_text(row->token, &v->token_name) || !copy_text(row->tags, &v->tags_json))
        return no_memory(err);
    if (!kl_home_parse(m, row->homes[0] != '\0' ? row->homes : row->token, v))
        return no_memory(err);
    if (row->origins != NULL && !parse_origins(row->origins, v))
        return kl_fail(err, KL_CORRUPT, "store", "stored origins of vault %s cannot be read",
                       row->name);
    return KL_OK;
}

enum kl_code kl_snapshot_vault(const struct kl_model *m, struct kl_store_session *t, const char *id,
                               struct kl_vault **ret, struct kl_err *err)
{
    struct kl_vault_copy copy;
    struct kl_vault *fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL)
        return no_memory(err);
    atomic_init(&fresh->refs, 1);
    KL_AUTO(vault) v = fresh;
    enum kl_code code = kl_vault_copy_read(t, KL_Q_VAULT_BY_ID, id, &copy, err);
    if (code != KL_OK)
        return code;
    code = fill_vault(m, &copy.row, v, err);
    kl_vault_copy_done(&copy);
    if (code == KL_OK)
        code = load_access(m, t, v, err);
    if (code == KL_OK)
        *ret = kl_take(v);
    return code;
}
