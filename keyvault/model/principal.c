#include "keyvault/model/inside.h"

#include "base/clock.h"
#include "base/log.h"
#include "keyvault/model/credential.h"

#include <string.h>
#include <strings.h>

static void row_of(const struct kl_principal *p, struct kl_principal_row *row)
{
    *row = (struct kl_principal_row){
        .kind = p->kind, .roles = p->roles, .disabled = p->disabled, .created = p->created};
    memcpy(row->object_id, p->object_id, sizeof row->object_id);
    memcpy(row->client_id, p->client_id, sizeof row->client_id);
    memcpy(row->name, p->name, sizeof row->name);
    memcpy(row->issuer, p->issuer, sizeof row->issuer);
    kl_model_fold(p->name, row->folded, sizeof row->folded);
}

/* Each of the three words of a principal finds it, so none may be another's. */
static enum kl_code check_free(struct kl_model *m, const struct kl_principal *p, struct kl_err *err)
{
    const char *const words[] = {p->name, p->object_id, p->client_id};
    struct kl_principal other;
    for (size_t i = 0; i < KL_COUNT(words); i++)
        if (kl_principal_find(m, words[i], &other, NULL) == KL_OK)
            return kl_fail(err, KL_EXISTS, "principal", "a principal %s exists", words[i]);
    return KL_OK;
}

static enum kl_code write_principal(struct kl_model *m, const struct kl_principal *p,
                                    const struct kl_credential *first, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_principal_row row;
    row_of(p, &row);
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_seal_check_change(m, t, NULL, err);
    if (code == KL_OK)
        code = check_free(m, p, err);
    if (code == KL_OK)
        code = kl_store_insert(t, KL_Q_PRINCIPAL_INSERT, &row, NULL, err);
    if (code == KL_OK && first != NULL)
        code = kl_credential_insert(t, first, err);
    return code == KL_OK ? kl_directory_commit(m, t, err) : code;
}

static enum kl_code fill(const struct kl_principal_spec *spec, struct kl_principal *p,
                         struct kl_err *err)
{
    size_t n = strlen(spec->name);
    if (n == 0 || n >= sizeof p->name || kl_uuid_valid(spec->name))
        return kl_fail(err, KL_BAD_INPUT, "name",
                       "a principal's name has 1 to %zu bytes and is no GUID", sizeof p->name - 1);
    *p = (struct kl_principal){.kind = spec->kind != 0 ? spec->kind : KL_PRINCIPAL_APPLICATION,
                               .roles = spec->roles,
                               .created = kl_clock_unix()};
    memcpy(p->name, spec->name, n);
    kl_uuid_new(p->object_id);
    kl_uuid_new(p->client_id);
    if (spec->object_id != NULL)
        memcpy(p->object_id, spec->object_id, sizeof p->object_id);
    if (spec->client_id != NULL)
        memcpy(p->client_id, spec->client_id, sizeof p->client_id);
    (void)snprintf(p->issuer, sizeof p->issuer, "%s", spec->issuer != NULL ? spec->issuer : "");
    return KL_OK;
}

enum kl_code kl_principal_create(struct kl_model *m, const struct kl_principal_spec *spec,
                                 struct kl_principal *ret, struct kl_secret **ret_secret,
                                 struct kl_err *err)
{
    struct kl_principal p;
    struct kl_credential first;
    KL_AUTO(secret) secret = NULL;
    enum kl_code code = fill(spec, &p, err);
    bool with_secret = code == KL_OK && p.kind == KL_PRINCIPAL_APPLICATION && p.issuer[0] == '\0' &&
                       !spec->no_secret;
    if (with_secret)
        code = kl_credential_make_secret(p.object_id, "first", 0, &first, &secret, err);
    if (code == KL_OK)
        code = write_principal(m, &p, with_secret ? &first : NULL, err);
    if (code != KL_OK)
        return code;
    *ret = p;
    *ret_secret = kl_take(secret);
    return KL_OK;
}

enum kl_code kl_principal_find(struct kl_model *m, const char *any, struct kl_principal *ret,
                               struct kl_err *err)
{
    struct kl_directory *d = &m->directory;
    (void)pthread_rwlock_rdlock(&d->lock);
    const struct kl_principal *found = kl_people_find(&d->now, any);
    if (found != NULL)
        *ret = *found;
    (void)pthread_rwlock_unlock(&d->lock);
    return found != NULL ? KL_OK : kl_fail(err, KL_NOT_FOUND, "principal", "no principal %s", any);
}

uint64_t kl_principal_generation(struct kl_model *m)
{
    return atomic_load(&m->directory.generation);
}

enum kl_code kl_principal_list(struct kl_model *m, struct kl_principal **ret, size_t *ret_count,
                               struct kl_err *err)
{
    struct kl_directory *d = &m->directory;
    (void)pthread_rwlock_rdlock(&d->lock);
    size_t count = d->now.principal_count;
    struct kl_principal *list = calloc(count + 1, sizeof *list);
    if (list != NULL && count > 0)
        memcpy(list, d->now.principals, count * sizeof *list);
    (void)pthread_rwlock_unlock(&d->lock);
    if (list == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for a list of principals");
    *ret = list;
    *ret_count = count;
    return KL_OK;
}

/* Under a write session, so that two changes cannot both leave the other one as the last. A user
 * of another issuer counts for nothing here: that issuer may be out of reach. */
static enum kl_code keep_an_administrator(struct kl_directory *d, const char *object_id,
                                          struct kl_err *err)
{
    bool is_one = false, another = false;
    (void)pthread_rwlock_rdlock(&d->lock);
    for (size_t i = 0; i < d->now.principal_count; i++) {
        const struct kl_principal *p = &d->now.principals[i];
        bool administrator = (p->roles & KL_ROLE_ADMINISTRATOR) != 0 && !p->disabled &&
                             p->kind == KL_PRINCIPAL_APPLICATION && p->issuer[0] == '\0';
        if (strcasecmp(p->object_id, object_id) == 0)
            is_one = administrator;
        else
            another = another || administrator;
    }
    (void)pthread_rwlock_unlock(&d->lock);
    return is_one && !another
               ? kl_fail(err, KL_CONFLICT, "principal",
                         "this is the last administrator; give the role to another principal first")
               : KL_OK;
}

static enum kl_code write_change(struct kl_model *m, const struct kl_principal *p,
                                 struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    int64_t changed = 0;
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_seal_check_change(m, t, NULL, err);
    if (code == KL_OK && (p->disabled || (p->roles & KL_ROLE_ADMINISTRATOR) == 0))
        code = keep_an_administrator(&m->directory, p->object_id, err);
    if (code == KL_OK)
        code = kl_store_run(
            t, KL_Q_PRINCIPAL_SET,
            KL_ARGS(KL_ARG_INT(p->roles), KL_ARG_INT(p->disabled), KL_ARG_TEXT(p->object_id)),
            &changed, err);
    if (code == KL_OK && changed == 0)
        code = kl_fail(err, KL_NOT_FOUND, "principal", "no principal %s", p->object_id);
    return code == KL_OK ? kl_directory_commit(m, t, err) : code;
}

enum kl_code kl_principal_update(struct kl_model *m, const char *object_id, const unsigned *roles,
                                 const bool *disabled, struct kl_principal *ret, struct kl_err *err)
{
    struct kl_principal p;
    enum kl_code code = kl_principal_find(m, object_id, &p, err);
    if (code != KL_OK)
        return code;
    p.roles = roles != NULL ? *roles : p.roles;
    p.disabled = disabled != NULL ? *disabled : p.disabled;
    code = write_change(m, &p, err);
    if (code == KL_OK)
        *ret = p;
    return code;
}

static enum kl_code delete_rows(struct kl_model *m, struct kl_store_session *t,
                                const char *object_id, struct kl_err *err)
{
    static const enum kl_store_query queries[] = {
        KL_Q_POLICIES_DELETE_PRINCIPAL, KL_Q_ASSIGNMENTS_DELETE_PRINCIPAL,
        KL_Q_CREDENTIALS_DELETE_OF, KL_Q_PRINCIPAL_DELETE};
    int64_t changed = 0;
    enum kl_code code = kl_seal_check_all(m, t, err);
    if (code == KL_OK)
        code = keep_an_administrator(&m->directory, object_id, err);
    for (size_t i = 0; i < KL_COUNT(queries) && code == KL_OK; i++)
        code = kl_store_run(t, queries[i], KL_ARGS(KL_ARG_TEXT(object_id)), &changed, err);
    if (code == KL_OK && changed == 0)
        code = kl_fail(err, KL_NOT_FOUND, "principal", "no principal %s", object_id);
    /* its policies are gone from vaults all over */
    return code == KL_OK ? kl_seal_write_vaults(m, t, err) : code;
}

enum kl_code kl_principal_delete(struct kl_model *m, const char *object_id, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_principal p;
    enum kl_code code = kl_principal_find(m, object_id, &p, err);
    if (code == KL_OK)
        code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = delete_rows(m, t, p.object_id, err);
    if (code == KL_OK)
        code = kl_directory_commit(m, t, err);
    if (code != KL_OK)
        return code;
    /* Vault snapshots name the principal in their policies; a policy of nobody left in memory lets
     * nobody in. */
    struct kl_err e;
    if (kl_world_load(m, t, &e) != KL_OK)
        kl_log_err(KL_LOG_WARNING, "reading the policies again", &e);
    return KL_OK;
}
