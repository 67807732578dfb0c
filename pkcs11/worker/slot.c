#include "pkcs11/worker/slot.h"

#include "pkcs11/worker/ckr.h"

#include <p11-kit/uri.h>

#define MOST_SLOTS 4096

KL_AUTO_DEFINE(p11_uri, P11KitUri, p11_kit_uri_free);
KL_AUTO_DEFINE(slot_ids, CK_SLOT_ID, free);

static enum kl_code parse(const char *text, P11KitUri **ret, struct kl_err *err)
{
    KL_AUTO(p11_uri) uri = p11_kit_uri_new();
    if (uri == NULL)
        return kl_fail(err, KL_NO_MEMORY, "p11_kit_uri_new", "no memory for the token's URI");
    int rc = p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, uri);
    if (rc != P11_KIT_URI_OK)
        return kl_fail(err, KL_CONFIG, "uri", "the token's URI is malformed: %s",
                       p11_kit_uri_message(rc));
    if (p11_kit_uri_get_pin_value(uri) != NULL || p11_kit_uri_get_pin_source(uri) != NULL)
        return kl_fail(err, KL_CONFIG, "uri", "the token's URI must not say anything about a PIN");
    if (p11_kit_uri_get_slot_id(uri) != (CK_SLOT_ID)-1)
        return kl_fail(err, KL_CONFIG, "uri", "a token is never chosen by slot-id");
    if (p11_kit_uri_any_unrecognized(uri))
        return kl_fail(err, KL_CONFIG, "uri", "the token's URI has attributes that are not known");
    *ret = kl_take(uri);
    return KL_OK;
}

static enum kl_code list_slots(const struct kl_module *m, CK_SLOT_ID **ret, CK_ULONG *ret_count,
                               struct kl_err *err)
{
    CK_ULONG count = MOST_SLOTS;
    KL_AUTO(slot_ids) ids = calloc(MOST_SLOTS, sizeof *ids);
    if (ids == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory to list slots");
    CK_RV rv = m->f->C_GetSlotList(CK_TRUE, ids, &count);
    if (rv != CKR_OK || count > MOST_SLOTS)
        return kl_ckr_fail(err, KL_TOKEN_UNAVAILABLE, rv, "C_GetSlotList",
                           "the module does not list its slots");
    *ret = kl_take(ids);
    *ret_count = count;
    return KL_OK;
}

/* "'one', 'two'": labels of the initialised tokens, as far as there is room. */
static void list_labels(const struct kl_module *m, const CK_SLOT_ID *ids, CK_ULONG count, char *out,
                        size_t room)
{
    size_t used = 0;
    *out = '\0';
    for (CK_ULONG i = 0; i < count && used < room; i++) {
        CK_TOKEN_INFO info;
        if (m->f->C_GetTokenInfo(ids[i], &info) != CKR_OK ||
            (info.flags & CKF_TOKEN_INITIALIZED) == 0)
            continue;
        int len = (int)sizeof info.label;
        while (len > 0 && info.label[len - 1] == ' ')
            len--;
        int n = snprintf(out + used, room - used, "%s'%.*s'", used > 0 ? ", " : "", len,
                         (const char *)info.label);
        used += n > 0 ? (size_t)n : room;
    }
}

static enum kl_code fail_no_match(const struct kl_module *m, const CK_SLOT_ID *ids, CK_ULONG count,
                                  const char *uri, struct kl_err *err)
{
    char labels[160];
    list_labels(m, ids, count, labels, sizeof labels);
    if (labels[0] == '\0')
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "C_GetTokenInfo",
                       "no initialised token matches %s: the module shows none at all", uri);
    return kl_fail(err, KL_TOKEN_UNAVAILABLE, "C_GetTokenInfo",
                   "no initialised token matches %s: the module shows %s", uri, labels);
}

enum kl_code kl_slot_find(const struct kl_module *m, const char *uri_text, CK_SLOT_ID *ret,
                          CK_TOKEN_INFO *ret_info, struct kl_err *err)
{
    KL_AUTO(p11_uri) uri = NULL;
    KL_AUTO(slot_ids) ids = NULL;
    CK_ULONG count = 0, matches = 0;
    enum kl_code code = parse(uri_text, &uri, err);
    if (code == KL_OK)
        code = list_slots(m, &ids, &count, err);
    if (code != KL_OK)
        return code;
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO info;
        if (m->f->C_GetTokenInfo(ids[i], &info) != CKR_OK ||
            (info.flags & CKF_TOKEN_INITIALIZED) == 0 || !p11_kit_uri_match_token_info(uri, &info))
            continue;
        if (matches++ == 0) {
            *ret = ids[i];
            *ret_info = info;
        }
    }
    if (matches == 0)
        return fail_no_match(m, ids, count, uri_text, err);
    if (matches > 1)
        return kl_fail(err, KL_TOKEN_AMBIGUOUS, "C_GetTokenInfo",
                       "%lu tokens match %s: let uri say serial= too", matches, uri_text);
    return KL_OK;
}
