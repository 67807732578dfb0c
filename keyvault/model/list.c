/* Pages of keys and of versions. */
#include "keyvault/model/list.h"

#include "keyvault/model/key.h"
#include "keyvault/model/softdelete.h"

#include <string.h>

void kl_key_page_done(struct kl_key_page *page)
{
    for (size_t i = 0; i < page->count; i++)
        kl_key_version_unref(page->items[i]);
    *page = (struct kl_key_page){.count = 0};
}

enum kl_code kl_page_limit(size_t limit, struct kl_err *err)
{
    if (limit < 1 || limit > KL_PAGE_MAX)
        return kl_fail(err, KL_BAD_INPUT, "page", "a page has 1 to %d items", KL_PAGE_MAX);
    return KL_OK;
}

struct objects {
    struct kl_object_row *to;
    size_t count;
};

static enum kl_code take_object(void *arg, const void *row, struct kl_err *err)
{
    struct objects *o = arg;
    if (o->count > KL_PAGE_MAX)
        return kl_fail(err, KL_INTERNAL, "store", "more objects than asked for");
    o->to[o->count++] = *(const struct kl_object_row *)row;
    return KL_OK;
}

enum kl_code kl_page_objects(struct kl_store_session *t, const char *vault_id, enum kl_kind kind,
                             enum kl_object_state state, const char *after, size_t limit,
                             struct kl_object_row ret[static KL_PAGE_MAX + 1], size_t *ret_count,
                             struct kl_err *err)
{
    struct objects o = {ret, 0};
    int64_t life = state == KL_STATE_ACTIVE ? KL_LIFE_ACTIVE : KL_LIFE_DELETED;
    enum kl_code code =
        kl_store_each(t, KL_Q_OBJECTS_PAGE,
                      KL_ARGS(KL_ARG_TEXT(vault_id), KL_ARG_INT(kind), KL_ARG_INT(life),
                              KL_ARG_TEXT(after), KL_ARG_INT((int64_t)limit + 1)),
                      take_object, &o, err);
    if (code == KL_OK)
        *ret_count = o.count;
    return code;
}

static enum kl_code add_key(struct kl_model *m, struct kl_store_session *t,
                            const struct kl_object_row *object, struct kl_key_page *page,
                            struct kl_err *err)
{
    enum kl_code code = kl_snapshot_newest(m, t, object, &page->items[page->count], err);
    if (code != KL_OK)
        return code;
    page->deleted_at[page->count] = object->deleted_at;
    page->purge_at[page->count] = object->purge_at;
    page->count++;
    return KL_OK;
}

static enum kl_code fill_page(struct kl_model *m, struct kl_store_session *t,
                              const struct kl_object_row *objects, size_t count, size_t limit,
                              struct kl_key_page *page, struct kl_err *err)
{
    enum kl_code code = KL_OK;
    for (size_t i = 0; i < count && i < limit && code == KL_OK; i++)
        code = add_key(m, t, &objects[i], page, err);
    if (code == KL_OK && count > limit)
        (void)snprintf(page->next, sizeof page->next, "%s", objects[limit - 1].folded);
    return code;
}

enum kl_code kl_key_list(struct kl_model *m, struct kl_vault *v, enum kl_object_state state,
                         const char *after, size_t limit, struct kl_key_page *ret,
                         struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_key_page page = {.count = 0};
    struct kl_object_row objects[KL_PAGE_MAX + 1];
    size_t count = 0;
    enum kl_code code = kl_page_limit(limit, err);
    if (code == KL_OK)
        code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_page_objects(t, v->id, KL_KIND_KEY, state, after, limit, objects, &count, err);
    if (code == KL_OK)
        code = fill_page(m, t, objects, count, limit, &page, err);
    if (code == KL_OK)
        *ret = page;
    else
        kl_key_page_done(&page);
    return code;
}

static enum kl_code read_versions(struct kl_model *m, struct kl_store_session *t,
                                  const struct kl_object_row *object, const char *after,
                                  size_t limit, struct kl_key_page *page, struct kl_err *err)
{
    struct kl_key_version *found[KL_PAGE_MAX + 1];
    size_t count = 0;
    enum kl_code code = kl_snapshot_versions(
        m, t, object, KL_Q_VERSIONS_PAGE,
        KL_ARGS(KL_ARG_INT(object->id), KL_ARG_TEXT(after), KL_ARG_INT((int64_t)limit + 1)), found,
        limit + 1, &count, err);
    if (code != KL_OK)
        return code;
    for (size_t i = 0; i < count && i < limit; i++)
        page->items[page->count++] = found[i];
    if (count > limit) {
        kl_key_version_unref(found[limit]);
        (void)snprintf(page->next, sizeof page->next, "%s", found[limit - 1]->version);
    }
    return KL_OK;
}

enum kl_code kl_key_versions(struct kl_model *m, struct kl_vault *v, const char *name,
                             const char *after, size_t limit, struct kl_key_page *ret,
                             struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_key_page page = {.count = 0};
    struct kl_object_row object = {0};
    enum kl_code code = kl_page_limit(limit, err);
    if (code == KL_OK)
        code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_name_valid(name) ? kl_object_read(t, v->id, KL_KIND_KEY, name, &object, err)
                                   : KL_NOT_FOUND;
    if (code == KL_OK && object.state == KL_LIFE_ACTIVE)
        code = read_versions(m, t, &object, after, limit, &page, err);
    if (code == KL_OK || code == KL_NOT_FOUND) {
        *ret = page;
        return KL_OK;
    }
    return code;
}
