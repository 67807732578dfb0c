/* Pages of secrets and of their versions, and their soft delete. */
#include "keyvault/model/vault_secret_inside.h"

#include "keyvault/model/list.h"
#include "keyvault/model/softdelete.h"

#include <string.h>

void kl_vault_secret_page_done(struct kl_vault_secret_page *page)
{
    for (size_t i = 0; i < page->count; i++)
        kl_vault_secret_done(&page->items[i]);
    page->count = 0;
}

struct gather {
    const struct kl_object_row *object;
    struct kl_vault_secret_page *page;
    size_t limit;
};

/* One row more than the page takes shows that there is a next one. */
static enum kl_code gather_row(void *arg, const void *p, struct kl_err *err)
{
    const struct gather *g = arg;
    struct kl_vault_secret_page *page = g->page;
    if (page->count == g->limit) {
        (void)snprintf(page->next, sizeof page->next, "%s", page->items[g->limit - 1].version);
        return KL_OK;
    }
    enum kl_code code = kl_vault_secret_copy(g->object, p, &page->items[page->count], err);
    if (code == KL_OK)
        page->count++;
    return code;
}

static enum kl_code add_newest(struct kl_store_session *t, const struct kl_object_row *object,
                               struct kl_vault_secret_page *page, struct kl_err *err)
{
    struct gather g = {object, page, KL_PAGE_MAX};
    return kl_store_each(t, KL_Q_SECRET_ITEM_NEWEST, KL_ARGS(KL_ARG_INT(object->id)), gather_row,
                         &g, err);
}

/* What an object without a version has. */
static void bare(const struct kl_object_row *object, struct kl_vault_secret *ret)
{
    *ret = (struct kl_vault_secret){.deleted_at = object->deleted_at,
                                    .purge_at = object->purge_at,
                                    .created = object->created,
                                    .updated = object->created};
    memcpy(ret->name, object->name, sizeof ret->name);
}

/* A certificate may have no version yet. */
static enum kl_code add_object(struct kl_store_session *t, const struct kl_object_row *object,
                               struct kl_vault_secret_page *page, struct kl_err *err)
{
    size_t before = page->count;
    enum kl_code code = add_newest(t, object, page, err);
    if (code == KL_OK && page->count == before && object->kind == KL_KIND_CERTIFICATE)
        bare(object, &page->items[page->count++]);
    return code;
}

enum kl_code kl_vault_item_list(struct kl_model *m, struct kl_vault *v, enum kl_kind kind,
                                enum kl_object_state state, const char *after, size_t limit,
                                struct kl_vault_secret_page *ret, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_object_row objects[KL_PAGE_MAX + 1];
    size_t count = 0;
    *ret = (struct kl_vault_secret_page){.count = 0};
    enum kl_code code = kl_page_limit(limit, err);
    if (code == KL_OK)
        code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_page_objects(t, v->id, kind, state, after, limit, objects, &count, err);
    for (size_t i = 0; i < count && i < limit && code == KL_OK; i++)
        code = add_object(t, &objects[i], ret, err);
    if (code != KL_OK)
        kl_vault_secret_page_done(ret);
    else if (count > limit)
        (void)snprintf(ret->next, sizeof ret->next, "%s", objects[limit - 1].folded);
    return code;
}

enum kl_code kl_vault_item_versions(struct kl_model *m, struct kl_vault *v, enum kl_kind kind,
                                    const char *name, const char *after, size_t limit,
                                    struct kl_vault_secret_page *ret, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_object_row object = {0};
    struct gather g = {&object, ret, limit};
    *ret = (struct kl_vault_secret_page){.count = 0};
    enum kl_code code = kl_page_limit(limit, err);
    if (code == KL_OK)
        code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code =
            kl_name_valid(name) ? kl_object_read(t, v->id, kind, name, &object, err) : KL_NOT_FOUND;
    if (code == KL_NOT_FOUND || (code == KL_OK && object.state != KL_LIFE_ACTIVE))
        return KL_OK;
    if (code == KL_OK)
        code = kl_store_each(
            t, KL_Q_SECRET_ITEMS_PAGE,
            KL_ARGS(KL_ARG_INT(object.id), KL_ARG_TEXT(after), KL_ARG_INT((int64_t)limit + 1)),
            gather_row, &g, err);
    if (code != KL_OK)
        kl_vault_secret_page_done(ret);
    return code;
}

enum kl_code kl_vault_secret_list(struct kl_model *m, struct kl_vault *v,
                                  enum kl_object_state state, const char *after, size_t limit,
                                  struct kl_vault_secret_page *ret, struct kl_err *err)
{
    return kl_vault_item_list(m, v, KL_KIND_SECRET, state, after, limit, ret, err);
}

enum kl_code kl_vault_secret_versions(struct kl_model *m, struct kl_vault *v, const char *name,
                                      const char *after, size_t limit,
                                      struct kl_vault_secret_page *ret, struct kl_err *err)
{
    return kl_vault_item_versions(m, v, KL_KIND_SECRET, name, after, limit, ret, err);
}

/* --- soft delete --- */

struct seen {
    struct kl_vault_secret_page newest;
    struct kl_object_row object;
};

/* A certificate may have none yet. */
static enum kl_code look(void *arg, struct kl_model *m, struct kl_store_session *t,
                         const struct kl_object_row *object, struct kl_err *err)
{
    struct seen *s = arg;
    (void)m;
    s->object = *object;
    enum kl_code code = add_newest(t, object, &s->newest, err);
    if (code == KL_OK && s->newest.count == 0 && object->kind == KL_KIND_SECRET)
        return kl_fail(err, KL_CORRUPT, "store", "secret %s has no version", object->name);
    return code;
}

/* A look may have been taken before a commit that failed. */
static enum kl_code settle(enum kl_code code, struct seen *s, struct kl_vault_secret *ret)
{
    if (code != KL_OK) {
        kl_vault_secret_page_done(&s->newest);
        return code;
    }
    if (s->newest.count > 0) {
        *ret = s->newest.items[0];
        return KL_OK;
    }
    bare(&s->object, ret);
    return KL_OK;
}

enum kl_code kl_vault_item_change(struct kl_model *m, struct kl_vault *v, enum kl_kind kind,
                                  const char *name, bool recover, struct kl_vault_secret *ret,
                                  struct kl_err *err)
{
    struct seen s = {.newest = {.count = 0}};
    return settle(kl_object_change(m, v, kind, name, recover ? KL_EVENT_RECOVER : KL_EVENT_DELETE,
                                   look, &s, err),
                  &s, ret);
}

enum kl_code kl_vault_item_deleted(struct kl_model *m, struct kl_vault *v, enum kl_kind kind,
                                   const char *name, struct kl_vault_secret *ret,
                                   struct kl_err *err)
{
    struct seen s = {.newest = {.count = 0}};
    return settle(kl_object_deleted(m, v, kind, name, look, &s, err), &s, ret);
}

enum kl_code kl_vault_secret_delete(struct kl_model *m, struct kl_vault *v, const char *name,
                                    struct kl_vault_secret *ret, struct kl_err *err)
{
    return kl_vault_item_change(m, v, KL_KIND_SECRET, name, false, ret, err);
}

enum kl_code kl_vault_secret_recover(struct kl_model *m, struct kl_vault *v, const char *name,
                                     struct kl_vault_secret *ret, struct kl_err *err)
{
    return kl_vault_item_change(m, v, KL_KIND_SECRET, name, true, ret, err);
}

enum kl_code kl_vault_secret_deleted(struct kl_model *m, struct kl_vault *v, const char *name,
                                     struct kl_vault_secret *ret, struct kl_err *err)
{
    return kl_vault_item_deleted(m, v, KL_KIND_SECRET, name, ret, err);
}

enum kl_code kl_vault_secret_purge(struct kl_model *m, struct kl_vault *v, const char *name,
                                   struct kl_err *err)
{
    return kl_purge_object(m, v->id, v->token_name, KL_KIND_SECRET, name, false, err);
}
