/* MACs over the attributes of key versions that an update may change: enabled, nbf, exp, key_ops,
 * tags. They are made and checked with the key of the seals, which is in memory: neither the
 * request path nor disabling a key needs the token. */
#include "keyvault/model/inside.h"

#include "base/log.h"

#include <openssl/crypto.h>
#include <string.h>

#define PAGE 256

static const uint8_t none[KL_ROW_MAC];

enum kl_code kl_attributes_seal(const struct kl_model *m, struct kl_version_row *row,
                                struct kl_err *err)
{
    if (m->token_count > 0 && atomic_load(&m->seals.state) == KL_SEAL_UNKNOWN)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "seal",
                       "no token has answered since the start, so no key can be made or changed");
    const struct kl_protector p = {.key = m->seals.key}; /* read only once it is there */
    return kl_protect_attributes(&p, row, err);
}

static bool is_held(const struct kl_model *m)
{
    return atomic_load(&m->seals.state) == KL_SEAL_HELD;
}

enum kl_code kl_attributes_check(const struct kl_model *m, const struct kl_version_row *row,
                                 struct kl_err *err)
{
    struct kl_version_row wanted = *row;
    struct kl_err e;
    if (!is_held(m))
        return KL_OK;
    const struct kl_protector p = {.key = m->seals.key};
    enum kl_code code = kl_protect_attributes(&p, &wanted, err);
    if (code != KL_OK || CRYPTO_memcmp(wanted.attr_mac, row->attr_mac, KL_ROW_MAC) == 0)
        return code;
    (void)kl_fail(&e, KL_CORRUPT, "MAC",
                  "the stored attributes of this key were changed by a foreign hand");
    (void)snprintf(e.detail, sizeof e.detail, "key version %s", row->version);
    kl_log_err(KL_LOG_ERROR, "protected row", &e);
    if (err != NULL)
        *err = e;
    return KL_CORRUPT;
}

/* --- all of them, page by page --- */

struct page {
    const struct kl_model *m;
    bool all; /* also those that have a MAC */
    int64_t last;
    unsigned seen, wrong;
    size_t count;
    struct {
        int64_t seq;
        uint8_t mac[KL_ROW_MAC];
    } fresh[PAGE];
};

static enum kl_code take_fresh(void *arg, const void *p, struct kl_err *err)
{
    struct page *page = arg;
    struct kl_version_row row = *(const struct kl_version_row *)p;
    page->last = row.seq;
    page->seen++;
    if (!page->all && memcmp(row.attr_mac, none, sizeof none) != 0)
        return KL_OK;
    enum kl_code code = kl_attributes_seal(page->m, &row, err);
    page->fresh[page->count].seq = row.seq;
    memcpy(page->fresh[page->count].mac, row.attr_mac, KL_ROW_MAC);
    page->count += code == KL_OK;
    return code;
}

static enum kl_code check_one(void *arg, const void *row, struct kl_err *err)
{
    struct page *page = arg;
    (void)err;
    page->last = ((const struct kl_version_row *)row)->seq;
    page->seen++;
    page->wrong += kl_attributes_check(page->m, row, NULL) == KL_CORRUPT;
    return KL_OK;
}

static enum kl_code next_page(struct page *page, struct kl_store_session *t, kl_store_row_fn *fn,
                              struct kl_err *err)
{
    page->seen = 0;
    page->count = 0;
    return kl_store_each(t, KL_Q_VERSIONS_FROM, KL_ARGS(KL_ARG_INT(page->last), KL_ARG_INT(PAGE)),
                         fn, page, err);
}

enum kl_code kl_attributes_seal_all(const struct kl_model *m, struct kl_store_session *t, bool all,
                                    struct kl_err *err)
{
    struct page page = {.m = m, .all = all, .seen = PAGE};
    enum kl_code code = KL_OK;
    while (code == KL_OK && page.seen == PAGE) {
        code = next_page(&page, t, take_fresh, err);
        for (size_t i = 0; i < page.count && code == KL_OK; i++)
            code = kl_store_run(
                t, KL_Q_VERSION_SET_ATTR_MAC,
                KL_ARGS(KL_ARG_BYTES(page.fresh[i].mac, KL_ROW_MAC), KL_ARG_INT(page.fresh[i].seq)),
                NULL, err);
    }
    return code;
}

enum kl_code kl_attributes_check_all(const struct kl_model *m, unsigned *ret_wrong,
                                     struct kl_err *err)
{
    struct page page = {.m = m, .seen = PAGE};
    enum kl_code code = KL_OK;
    while (code == KL_OK && page.seen == PAGE && is_held(m)) {
        KL_AUTO(store_session) t = NULL;
        code = kl_store_begin(m->store, false, &t, err);
        if (code == KL_OK)
            code = next_page(&page, t, check_one, err);
    }
    if (code == KL_OK)
        *ret_wrong = page.wrong;
    return code;
}
