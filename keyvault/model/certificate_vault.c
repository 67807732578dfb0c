/* Issuers and contacts of a vault: kept and given back, sealed since issuers have credentials. */
#include "keyvault/model/certificate_inside.h"

#include "keyvault/model/list.h"

#include <string.h>

static enum kl_code write_vault_part(struct kl_model *m, struct kl_vault *v, enum kl_part part,
                                     const char *name, const json_t *json, struct kl_err *err)
{
    KL_AUTO(vault_key) key = NULL;
    KL_AUTO(store_session) t = NULL;
    const struct kl_part_id id = {v, 0, part, name};
    enum kl_code code = kl_vault_key_for_sealing(m, v, &key, err);
    if (code == KL_OK)
        code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_vault_must_be_active(t, v->id, err);
    if (code == KL_OK)
        code = json != NULL ? kl_part_write_json(t, key, &id, json, err)
                            : kl_part_delete(t, &id, NULL, err);
    return code == KL_OK ? kl_model_commit(m, t, err) : code;
}

static enum kl_code no_issuer(const char *name, struct kl_err *err)
{
    return kl_fail(err, KL_ISSUER_NOT_FOUND, "issuer", "Certificate issuer not found: %.127s",
                   name);
}

enum kl_code kl_issuer_put(struct kl_model *m, struct kl_vault *v, const char *name,
                           const json_t *issuer, struct kl_err *err)
{
    if (!kl_name_valid(name))
        return kl_fail(err, KL_BAD_INPUT, "name",
                       "the issuer name must match ^[0-9a-zA-Z-]{1,127}$");
    return write_vault_part(m, v, KL_PART_ISSUER, name, issuer, err);
}

enum kl_code kl_issuer_get(struct kl_model *m, struct kl_vault *v, const char *name, json_t **ret,
                           struct kl_err *err)
{
    const struct kl_part_id id = {v, 0, KL_PART_ISSUER, name};
    enum kl_code code = kl_name_valid(name) ? kl_part_read_json(m, &id, ret, err) : KL_NOT_FOUND;
    return code == KL_NOT_FOUND ? no_issuer(name, err) : code;
}

enum kl_code kl_issuer_delete(struct kl_model *m, struct kl_vault *v, const char *name,
                              json_t **ret, struct kl_err *err)
{
    KL_AUTO(json) was = NULL;
    enum kl_code code = kl_issuer_get(m, v, name, &was, err);
    if (code == KL_OK)
        code = write_vault_part(m, v, KL_PART_ISSUER, name, NULL, err);
    if (code == KL_OK)
        *ret = kl_take(was);
    return code;
}

struct names {
    char folded[KL_PAGE_MAX + 1][KL_ROW_NAME];
    size_t count;
};

static enum kl_code take_name(void *arg, const void *row, struct kl_err *err)
{
    struct names *n = arg;
    if (n->count > KL_PAGE_MAX)
        return kl_fail(err, KL_INTERNAL, "store", "more rows than asked for");
    memcpy(n->folded[n->count++], ((const struct kl_part_row *)row)->folded, KL_ROW_NAME);
    return KL_OK;
}

void kl_issuer_page_done(struct kl_issuer_page *page)
{
    for (size_t i = 0; i < page->count; i++)
        json_decref(page->items[i]);
    page->count = 0;
}

static enum kl_code read_names(struct kl_model *m, const struct kl_vault *v, const char *after,
                               size_t limit, struct names *ret, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    return code == KL_OK
               ? kl_store_each(t, KL_Q_PARTS_PAGE,
                               KL_ARGS(KL_ARG_TEXT(v->id), KL_ARG_INT(KL_PART_ISSUER),
                                       KL_ARG_TEXT(after), KL_ARG_INT((int64_t)limit + 1)),
                               take_name, ret, err)
               : code;
}

enum kl_code kl_issuer_list(struct kl_model *m, struct kl_vault *v, const char *after, size_t limit,
                            struct kl_issuer_page *ret, struct kl_err *err)
{
    struct names names = {.count = 0};
    *ret = (struct kl_issuer_page){.count = 0};
    enum kl_code code = kl_page_limit(limit, err);
    if (code == KL_OK)
        code = read_names(m, v, after, limit, &names, err);
    for (size_t i = 0; i < names.count && i < limit && code == KL_OK; i++) {
        code = kl_issuer_get(m, v, names.folded[i], &ret->items[ret->count], err);
        if (code == KL_OK)
            ret->count++;
        else if (code == KL_ISSUER_NOT_FOUND) /* removed just now */
            code = KL_OK;
    }
    if (code != KL_OK)
        kl_issuer_page_done(ret);
    else if (names.count > limit)
        (void)snprintf(ret->next, sizeof ret->next, "%s", names.folded[limit - 1]);
    return code;
}

enum kl_code kl_contacts_put(struct kl_model *m, struct kl_vault *v, const json_t *contacts,
                             struct kl_err *err)
{
    return write_vault_part(m, v, KL_PART_CONTACTS, "", contacts, err);
}

enum kl_code kl_contacts_get(struct kl_model *m, struct kl_vault *v, json_t **ret,
                             struct kl_err *err)
{
    const struct kl_part_id id = {v, 0, KL_PART_CONTACTS, ""};
    enum kl_code code = kl_part_read_json(m, &id, ret, err);
    return code == KL_NOT_FOUND
               ? kl_fail(err, KL_CONTACTS_NOT_FOUND, "contacts",
                         "Contacts not found: this key vault has no certificate contacts")
               : code;
}

enum kl_code kl_contacts_delete(struct kl_model *m, struct kl_vault *v, json_t **ret,
                                struct kl_err *err)
{
    KL_AUTO(json) was = NULL;
    enum kl_code code = kl_contacts_get(m, v, &was, err);
    if (code == KL_OK)
        code = write_vault_part(m, v, KL_PART_CONTACTS, "", NULL, err);
    if (code == KL_OK)
        *ret = kl_take(was);
    return code;
}
