/* Probes of what a token lets a holder of its PIN do: the attacks on keys and domain keys. Session
 * objects only; a token without them is not asked. */
#include "base/encoding.h"
#include "pkcs11/worker/attr.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/create.h"
#include "pkcs11/worker/domain.h"
#include "pkcs11/worker/domain_key.h"
#include "pkcs11/worker/litter.h"
#include "pkcs11/worker/qualify.h"
#include "pkcs11/worker/qualify_parts.h"
#include "pkcs11/worker/quirk.h"
#include "pkcs11/worker/session.h"

#include <string.h>

static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static const CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY;
static const CK_KEY_TYPE aes_type = CKK_AES;
static const CK_ULONG aes_bytes = 32;

static bool no_session_objects(const struct kl_trial *t)
{
    return (t->s.worker->quirks & KL_QUIRK_NO_SESSION_OBJECTS) != 0;
}

/* A refused attack is the good answer. */
static enum kl_outcome refused(struct kl_trial *t, const char *what, CK_RV rv)
{
    return kl_trial_ckr(t, rv != CKR_OK ? KL_OUTCOME_YES : KL_OUTCOME_NO, what, rv);
}

static bool is_true(struct kl_trial *t, CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL value = CK_FALSE;
    CK_ATTRIBUTE attr = KL_ATTR_VALUE(type, value);
    return kl_attr_read(kl_f(&t->keeper), t->keeper.handle, key, &attr, 1) == CKR_OK &&
           value == CK_TRUE;
}

static enum kl_outcome secret_part(struct kl_trial *t)
{
    uint8_t d[512];
    CK_ATTRIBUTE attr = KL_ATTR(CKA_PRIVATE_EXPONENT, d, sizeof d);
    if (!t->have_fixed)
        return KL_OUTCOME_NONE;
    CK_RV rv = kl_f(&t->keeper)->C_GetAttributeValue(t->keeper.handle, t->fixed.handle, &attr, 1);
    kl_wipe(d, sizeof d);
    bool shown =
        rv == CKR_OK && attr.ulValueLen != CK_UNAVAILABLE_INFORMATION && attr.ulValueLen > 0;
    return kl_trial_ckr(t, shown ? KL_OUTCOME_NO : KL_OUTCOME_YES, "C_GetAttributeValue", rv);
}

static enum kl_outcome stays_fixed(struct kl_trial *t)
{
    CK_ATTRIBUTE loosen[] = {KL_ATTR_VALUE(CKA_EXTRACTABLE, yes), KL_ATTR_VALUE(CKA_SENSITIVE, no)};
    CK_RV rv[2] = {CKR_OK, CKR_OK};
    if (!t->have_fixed)
        return KL_OUTCOME_NONE;
    for (size_t i = 0; i < 2; i++)
        rv[i] =
            kl_f(&t->keeper)->C_SetAttributeValue(t->keeper.handle, t->fixed.handle, &loosen[i], 1);
    bool loose =
        is_true(t, t->fixed.handle, CKA_EXTRACTABLE) || !is_true(t, t->fixed.handle, CKA_SENSITIVE);
    return kl_trial_say(t, loose ? KL_OUTCOME_NO : KL_OUTCOME_YES,
                        "EXTRACTABLE=1: %s; SENSITIVE=0: %s", kl_ckr_name(rv[0]),
                        kl_ckr_name(rv[1]));
}

/* The attacker's own wrapping key, as strong as a user can make it. */
static enum kl_outcome own_wrapping_key(struct kl_trial *t)
{
    CK_MECHANISM how = {.mechanism = CKM_AES_KEY_GEN};
    CK_ATTRIBUTE attrs[] = {
        KL_ATTR_VALUE(CKA_CLASS, secret_class), KL_ATTR_VALUE(CKA_KEY_TYPE, aes_type),
        KL_ATTR_VALUE(CKA_TOKEN, no),           KL_ATTR_VALUE(CKA_WRAP, yes),
        KL_ATTR_VALUE(CKA_UNWRAP, yes),         KL_ATTR_VALUE(CKA_VALUE_LEN, aes_bytes)};
    if (no_session_objects(t))
        return KL_OUTCOME_NONE;
    CK_RV rv = kl_session_ensure(&t->keeper);
    if (rv == CKR_OK)
        rv = kl_f(&t->keeper)
                 ->C_GenerateKey(t->keeper.handle, &how, attrs, KL_COUNT(attrs), &t->aes);
    t->have_aes = rv == CKR_OK;
    return kl_trial_ckr(t, t->have_aes ? KL_OUTCOME_YES : KL_OUTCOME_NO, "C_GenerateKey", rv);
}

static enum kl_outcome user_trusts(struct kl_trial *t)
{
    CK_MECHANISM how = {.mechanism = CKM_AES_KEY_GEN};
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_ATTRIBUTE attrs[] = {KL_ATTR_VALUE(CKA_TOKEN, no), KL_ATTR_VALUE(CKA_WRAP, yes),
                            KL_ATTR_VALUE(CKA_TRUSTED, yes),
                            KL_ATTR_VALUE(CKA_VALUE_LEN, aes_bytes)};
    if (!t->have_aes)
        return KL_OUTCOME_NONE;
    CK_RV rv = kl_session_ensure(&t->s);
    if (rv == CKR_OK)
        rv = kl_f(&t->s)->C_GenerateKey(t->s.handle, &how, attrs, KL_COUNT(attrs), &key);
    if (rv == CKR_OK && !is_true(t, key, CKA_TRUSTED))
        return kl_trial_say(t, KL_OUTCOME_YES, "C_GenerateKey: CKR_OK, but the key is not TRUSTED");
    if (rv == CKR_OK)
        return refused(t, "C_GenerateKey with TRUSTED", rv);
    rv = kl_f(&t->keeper)->C_SetAttributeValue(t->keeper.handle, t->aes, &attrs[2], 1);
    return rv == CKR_OK && !is_true(t, t->aes, CKA_TRUSTED)
               ? kl_trial_say(t, KL_OUTCOME_YES, "C_SetAttributeValue: CKR_OK, without effect")
               : refused(t, "C_SetAttributeValue of TRUSTED", rv);
}

/* CKR of the first mechanism that wraps, else of the last. */
static CK_RV wrap_with_own(struct kl_trial *t, CK_OBJECT_HANDLE key, uint8_t *out,
                           CK_ULONG *ret_len, CK_MECHANISM_TYPE *ret_how)
{
    static uint8_t iv[16];
    static const CK_MECHANISM ways[] = {{KL_CKM_AES_KEY_WRAP_KWP, NULL, 0},
                                        {CKM_AES_KEY_WRAP_PAD, NULL, 0},
                                        {CKM_AES_CBC_PAD, iv, sizeof iv}};
    CK_RV rv = CKR_MECHANISM_INVALID, first = CKR_MECHANISM_INVALID;
    for (size_t i = 0; i < KL_COUNT(ways); i++) {
        CK_MECHANISM how = ways[i];
        *ret_len = KL_DOMAIN_WRAPPED_MAX;
        rv = kl_session_ensure(&t->s);
        if (rv == CKR_OK)
            rv = kl_f(&t->s)->C_WrapKey(t->s.handle, &how, t->aes, key, out, ret_len);
        *ret_how = how.mechanism;
        if (rv == CKR_OK)
            return rv;
        kl_session_drop(&t->s);
        if (first == CKR_MECHANISM_INVALID)
            first = rv;
    }
    return first;
}

static CK_RV make_plain_aes(struct kl_trial *t, CK_OBJECT_HANDLE *ret)
{
    CK_MECHANISM how = {.mechanism = CKM_AES_KEY_GEN};
    CK_ATTRIBUTE attrs[] = {KL_ATTR_VALUE(CKA_TOKEN, no), KL_ATTR_VALUE(CKA_EXTRACTABLE, yes),
                            KL_ATTR_VALUE(CKA_SENSITIVE, yes),
                            KL_ATTR_VALUE(CKA_VALUE_LEN, aes_bytes)};
    return kl_f(&t->keeper)->C_GenerateKey(t->keeper.handle, &how, attrs, KL_COUNT(attrs), ret);
}

static enum kl_outcome wraps_at_all(struct kl_trial *t)
{
    uint8_t out[KL_DOMAIN_WRAPPED_MAX];
    CK_ULONG n = 0;
    CK_OBJECT_HANDLE victim = CK_INVALID_HANDLE;
    if (!t->have_aes)
        return KL_OUTCOME_NONE;
    CK_RV rv = make_plain_aes(t, &victim);
    if (rv == CKR_OK)
        rv = wrap_with_own(t, victim, out, &n, &t->wraps);
    if (rv != CKR_OK)
        t->wraps = CKM_VENDOR_DEFINED;
    return kl_trial_ckr(t, rv == CKR_OK ? KL_OUTCOME_YES : KL_OUTCOME_NO, "C_WrapKey", rv);
}

static enum kl_outcome export_fixed(struct kl_trial *t)
{
    uint8_t out[KL_DOMAIN_WRAPPED_MAX];
    CK_ULONG n = 0;
    CK_MECHANISM_TYPE how;
    if (!t->have_aes || !t->have_fixed || t->wraps == CKM_VENDOR_DEFINED)
        return KL_OUTCOME_NONE;
    return refused(t, "C_WrapKey", wrap_with_own(t, t->fixed.handle, out, &n, &how));
}

static enum kl_outcome export_domain_backed(struct kl_trial *t)
{
    struct kl_key_spec spec = {.type = KL_KEY_RSA,
                               .bits = 2048,
                               .profile = KL_PROFILE_DOMAIN,
                               .may_decrypt = true,
                               .may_sign = true};
    uint8_t out[KL_DOMAIN_WRAPPED_MAX];
    CK_ULONG n = 0;
    CK_MECHANISM_TYPE how;
    bool on_token = false;
    if (!t->have_aes || t->wraps == CKM_VENDOR_DEFINED)
        return KL_OUTCOME_NONE;
    CK_OBJECT_HANDLE private = CK_INVALID_HANDLE, public;
    uint8_t id[KL_KEY_ID_LEN];
    (void)snprintf(spec.label, sizeof spec.label, KL_LITTER_LABEL);
    kl_litter_id(id);
    CK_RV rv = kl_create_generate(&t->keeper, &spec, id, on_token, &private, &public);
    if (rv != CKR_OK)
        return kl_trial_say(t, KL_OUTCOME_NONE, "no key with WRAP_WITH_TRUSTED: %s",
                            kl_ckr_name(rv));
    t->open.handle = private;
    t->have_open = is_true(t, private, CKA_WRAP_WITH_TRUSTED);
    if (!t->have_open)
        return kl_trial_say(t, KL_OUTCOME_NO, "the token forgets WRAP_WITH_TRUSTED");
    return refused(t, "C_WrapKey", wrap_with_own(t, private, out, &n, &how));
}

static enum kl_outcome loosen_domain_backed(struct kl_trial *t)
{
    CK_ATTRIBUTE loosen = KL_ATTR_VALUE(CKA_WRAP_WITH_TRUSTED, no);
    CK_OBJECT_HANDLE copy = CK_INVALID_HANDLE;
    if (!t->have_open)
        return KL_OUTCOME_NONE;
    CK_RV rv = kl_f(&t->keeper)->C_SetAttributeValue(t->keeper.handle, t->open.handle, &loosen, 1);
    if (rv == CKR_OK && !is_true(t, t->open.handle, CKA_WRAP_WITH_TRUSTED))
        return refused(t, "C_SetAttributeValue", rv);
    CK_ATTRIBUTE as_copy[] = {KL_ATTR_VALUE(CKA_TOKEN, no), loosen};
    rv = kl_f(&t->keeper)->C_CopyObject(t->keeper.handle, t->open.handle, as_copy, 2, &copy);
    if (rv == CKR_OK && is_true(t, copy, CKA_WRAP_WITH_TRUSTED))
        return kl_trial_say(t, KL_OUTCOME_YES, "C_CopyObject: CKR_OK, and the copy kept the flag");
    return refused(t, "C_SetAttributeValue, C_CopyObject", rv);
}

/* A wrapping key that unwraps into sensitive keys only, and a try to get a readable one out of it.
 */
static enum kl_outcome weaker_unwrap(struct kl_trial *t)
{
    CK_MECHANISM gen = {.mechanism = CKM_AES_KEY_GEN}, how = {.mechanism = t->wraps};
    CK_ATTRIBUTE inner[] = {KL_ATTR_VALUE(CKA_SENSITIVE, yes)};
    CK_ATTRIBUTE attrs[] = {KL_ATTR_VALUE(CKA_TOKEN, no), KL_ATTR_VALUE(CKA_WRAP, yes),
                            KL_ATTR_VALUE(CKA_UNWRAP, yes), KL_ATTR_VALUE(CKA_VALUE_LEN, aes_bytes),
                            KL_ATTR(CKA_UNWRAP_TEMPLATE, inner, sizeof inner)};
    CK_ATTRIBUTE weak[] = {KL_ATTR_VALUE(CKA_CLASS, secret_class),
                           KL_ATTR_VALUE(CKA_KEY_TYPE, aes_type), KL_ATTR_VALUE(CKA_TOKEN, no),
                           KL_ATTR_VALUE(CKA_SENSITIVE, no), KL_ATTR_VALUE(CKA_EXTRACTABLE, yes)};
    uint8_t out[KL_DOMAIN_WRAPPED_MAX];
    CK_ULONG n = sizeof out;
    CK_OBJECT_HANDLE key, victim, got;
    if (!t->have_aes || t->wraps == CKM_VENDOR_DEFINED || t->wraps == CKM_AES_CBC_PAD)
        return KL_OUTCOME_NONE;
    CK_FUNCTION_LIST *f = kl_f(&t->keeper);
    CK_RV rv = f->C_GenerateKey(t->keeper.handle, &gen, attrs, KL_COUNT(attrs), &key);
    if (rv != CKR_OK)
        return kl_trial_ckr(t, KL_OUTCOME_NO, "C_GenerateKey with UNWRAP_TEMPLATE", rv);
    rv = make_plain_aes(t, &victim);
    if (rv == CKR_OK)
        rv = f->C_WrapKey(t->keeper.handle, &how, key, victim, out, &n);
    if (rv != CKR_OK)
        return kl_trial_say(t, KL_OUTCOME_NONE, "C_WrapKey: %s", kl_ckr_name(rv));
    rv = f->C_UnwrapKey(t->keeper.handle, &how, key, out, n, weak, KL_COUNT(weak), &got);
    if (rv == CKR_OK && is_true(t, got, CKA_SENSITIVE))
        return kl_trial_say(t, KL_OUTCOME_YES, "C_UnwrapKey: CKR_OK, and the key is SENSITIVE");
    return refused(t, "C_UnwrapKey", rv);
}

static enum kl_outcome has_domain_key(struct kl_trial *t)
{
    struct kl_domain_keys keys;
    struct kl_err err;
    if (kl_domain_keys_list(&t->s, &keys, &err) != KL_OK)
        return kl_trial_say(t, KL_OUTCOME_NO, "%s", err.text);
    if (keys.current == NULL)
        return kl_trial_say(t, KL_OUTCOME_NO, "none");
    return kl_trial_say(
        t, t->s.worker->caps.domain_wrap ? KL_OUTCOME_YES : KL_OUTCOME_NO,
        "%zu, the current one of generation %u; it %s private keys, and %s", keys.count,
        keys.current->says.generation, t->s.worker->caps.domain_wrap ? "wraps" : "does not wrap",
        keys.current->says.unwrap_template ? "keeps UNWRAP_TEMPLATE" : "has no UNWRAP_TEMPLATE");
}

const struct kl_trial_probe kl_trial_guard[] = {
    {"secret-stays", "C_GetAttributeValue of CKA_PRIVATE_EXPONENT", KL_WEIGHT_NEEDED,
     "the private key cannot be read", "anybody with the PIN reads private keys: do not use it",
     secret_part},
    {"fixed-stays", "C_SetAttributeValue: EXTRACTABLE=1, SENSITIVE=0 on a fixed key",
     KL_WEIGHT_WANTED, "flags of a key hold for good",
     "the flags are only words here: what protects the key must be something else in the device",
     stays_fixed},
    {"wrapping-key", "C_GenerateKey: AES-256 to wrap with, by the user", KL_WEIGHT_NOTED,
     "the attacks below can be tried", "no AES keys: no key backup, and nothing to attack with",
     own_wrapping_key},
    {"trusted-by-user", "can the user make a key TRUSTED", KL_WEIGHT_WANTED,
     "no: only the security officer can", "yes: a PIN holder exports domain-backed keys; use fixed",
     user_trusts},
    {"wraps", "C_WrapKey of an extractable AES key", KL_WEIGHT_NOTED, "keys can be wrapped",
     "no key backup on this token", wraps_at_all},
    {"export-fixed", "C_WrapKey of a fixed key with the user's own key", KL_WEIGHT_WANTED,
     "refused: a fixed key never leaves",
     "it leaves: on this token EXTRACTABLE=0 protects nothing from a PIN holder", export_fixed},
    {"export-domain-backed", "C_WrapKey of a WRAP_WITH_TRUSTED key with the user's own key",
     KL_WEIGHT_WANTED, "refused: only the domain key carries such a key",
     "it leaves: use the profile fixed on this token", export_domain_backed},
    {"loosen", "take WRAP_WITH_TRUSTED away, by setting and by copying", KL_WEIGHT_WANTED,
     "refused", "it goes: use the profile fixed on this token", loosen_domain_backed},
    {"weaker-unwrap", "C_UnwrapKey into SENSITIVE=0 against the UNWRAP_TEMPLATE", KL_WEIGHT_WANTED,
     "refused: backups restore into nothing weaker",
     "a PIN holder restores a backup in a readable form; keep backups from PIN holders, or use fixed",
     weaker_unwrap},
    {"domain-key", "is there a TRUSTED domain key that wraps", KL_WEIGHT_NOTED, "key backup works",
     "no key backup until 'kluis token domain-key create' succeeds", has_domain_key},
};
const size_t kl_trial_guard_count = KL_COUNT(kl_trial_guard);
