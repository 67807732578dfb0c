/* Pages of keys and of versions. */
#include "keyvault/model/key.h"

#include "keyvault/model/softdelete.h"

#include <string.h>

void kl_key_page_done(struct kl_key_page *page)
{
    for (size_t i = 0; i < page->count; i++)
        kl_key_version_unref(page->items[i]);
    *page = (struct kl_key_page){.count = 0};
}

static enum kl_code page_limit(size_t limit, struct kl_err *err)
{
    if (limit < 1 || limit > KL_PAGE_MAX)
        return kl_fail(err, KL_BAD_INPUT, "page", "a page has 1 to %d items", KL_PAGE_MAX);
    return KL_OK;
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
    void *rows = NULL;
    size_t count = 0;
    int64_t life = state == KL_STATE_ACTIVE ? KL_LIFE_ACTIVE : KL_LIFE_DELETED;
    enum kl_code code = page_limit(limit, err);
    if (code == KL_OK)
        code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_store_all(t, KL_Q_OBJECTS_PAGE,
                            KL_ARGS(KL_ARG_TEXT(v->id), KL_ARG_INT(life), KL_ARG_TEXT(after),
                                    KL_ARG_INT((int64_t)limit + 1)),
                            &rows, &count, err);
    if (code == KL_OK)
        code = fill_page(m, t, rows, count, limit, &page, err);
    free(rows);
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
    struct kl_object_row object;
    enum kl_code code = page_limit(limit, err);
    if (code == KL_OK)
        code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_name_valid(name) ? kl_object_read(t, v->id, name, &object, err) : KL_NOT_FOUND;
    if (code == KL_OK && object.state == KL_LIFE_ACTIVE)
        code = read_versions(m, t, &object, after, limit, &page, err);
    if (code == KL_OK || code == KL_NOT_FOUND) {
        *ret = page;
        return KL_OK;
    }
    return code;
}
