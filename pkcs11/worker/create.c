#include "pkcs11/worker/create.h"

#include "base/encoding.h"
#include "pkcs11/worker/attr.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/quirk.h"
#include "pkcs11/worker/recover.h"
#include "pkcs11/worker/rsa.h"
#include "pkcs11/worker/session.h"
#include "pkcs11/worker/sign.h"

#include <assert.h>
#include <string.h>

static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static const uint8_t exponent_65537[] = {1, 0, 1}; /* no leading zero: some modules count bytes */

static void add(struct kl_template *t, CK_ATTRIBUTE_TYPE type, const void *value, size_t n)
{
    assert(t->count < KL_TEMPLATE_MAX);
    t->attrs[t->count++] = KL_ATTR(type, value, n);
}

static void say(struct kl_template *t, CK_ATTRIBUTE_TYPE type, bool value)
{
    add(t, type, value ? &yes : &no, sizeof yes);
}

static void say_usage(struct kl_template *t, CK_ATTRIBUTE_TYPE type, bool value,
                      enum kl_template_step step)
{
    if (value || step < KL_TEMPLATE_FALSE_UNSAID)
        say(t, type, value);
}

static void add_names(struct kl_template *t, const struct kl_key_spec *spec, const uint8_t *id)
{
    const char *label = spec->label[0] != 0 ? spec->label : "kluis";
    add(t, CKA_ID, id, KL_KEY_ID_LEN);
    add(t, CKA_LABEL, label, strlen(label));
}

void kl_create_private_template(struct kl_template *t, const struct kl_key_spec *spec,
                                const uint8_t id[static KL_KEY_ID_LEN], bool on_token,
                                enum kl_template_step step, bool whole)
{
    bool domain = spec->profile == KL_PROFILE_DOMAIN;
    *t = (struct kl_template){.class = CKO_PRIVATE_KEY,
                              .type = spec->type == KL_KEY_EC ? CKK_EC : CKK_RSA};
    if (whole) {
        add(t, CKA_CLASS, &t->class, sizeof t->class);
        add(t, CKA_KEY_TYPE, &t->type, sizeof t->type);
    }
    say(t, CKA_TOKEN, on_token);
    say(t, CKA_PRIVATE, true);
    say(t, CKA_SENSITIVE, true);
    say(t, CKA_EXTRACTABLE, domain);
    if (domain)
        say(t, CKA_WRAP_WITH_TRUSTED, true);
    add_names(t, spec, id);
    say_usage(t, CKA_DECRYPT, spec->may_decrypt, step);
    say_usage(t, CKA_SIGN, spec->may_sign, step);
    say_usage(t, CKA_UNWRAP, spec->may_unwrap,
              step); /* we decrypt; with UNWRAP too, a PIN holder could mint known keys */
    say_usage(t, CKA_DERIVE, false, step);
    if (step == KL_TEMPLATE_FULL)
        say(t, CKA_MODIFIABLE, false);
}

static void public_template(struct kl_template *t, const struct kl_key_spec *spec,
                            const uint8_t *id, bool on_token, enum kl_template_step step)
{
    *t = (struct kl_template){.bits = spec->bits};
    say(t, CKA_TOKEN, on_token);
    say(t, CKA_PRIVATE, false);
    add_names(t, spec, id);
    say_usage(t, CKA_ENCRYPT, spec->may_decrypt, step);
    say_usage(t, CKA_VERIFY, spec->may_sign, step);
    say_usage(t, CKA_WRAP, false, step);
    if (spec->type == KL_KEY_RSA) {
        add(t, CKA_MODULUS_BITS, &t->bits, sizeof t->bits);
        add(t, CKA_PUBLIC_EXPONENT, exponent_65537, sizeof exponent_65537);
    } else {
        size_t n = 0;
        const uint8_t *oid = kl_spki_curve_oid(spec->curve, &n);
        add(t, CKA_EC_PARAMS, oid, n);
    }
}

bool kl_create_is_template_error(CK_RV rv)
{
    switch (rv) {
    case CKR_TEMPLATE_INCONSISTENT:
    case CKR_TEMPLATE_INCOMPLETE:
    case CKR_ATTRIBUTE_TYPE_INVALID:
    case CKR_ATTRIBUTE_VALUE_INVALID:
    case CKR_ATTRIBUTE_READ_ONLY:
    case CKR_GENERAL_ERROR: /* tpm2-pkcs11 1.9.0, NSS 3.87 */
        return true;
    default:
        return false;
    }
}

CK_RV kl_create_generate(struct kl_session *s, const struct kl_key_spec *spec,
                         const uint8_t id[static KL_KEY_ID_LEN], bool on_token,
                         CK_OBJECT_HANDLE *ret_private, CK_OBJECT_HANDLE *ret_public)
{
    CK_MECHANISM how = {.mechanism = spec->type == KL_KEY_EC ? CKM_EC_KEY_PAIR_GEN
                                                             : CKM_RSA_PKCS_KEY_PAIR_GEN};
    bool no_false = (s->worker->quirks & KL_QUIRK_FALSE_REFUSED) != 0;
    CK_RV rv = CKR_OK;
    for (int step = no_false ? KL_TEMPLATE_FALSE_UNSAID : KL_TEMPLATE_FULL;
         step < KL_TEMPLATE_STEPS; step++) {
        struct kl_template public, private;
        rv = kl_session_ensure(s);
        if (rv != CKR_OK)
            return rv;
        public_template(&public, spec, id, on_token, (enum kl_template_step)step);
        kl_create_private_template(&private, spec, id, on_token, (enum kl_template_step)step,
                                   false);
        rv = kl_f(s)->C_GenerateKeyPair(s->handle, &how, public.attrs, public.count, private.attrs,
                                        private.count, ret_public, ret_private);
        if (rv == CKR_OK || !kl_create_is_template_error(rv))
            return rv;
        if (on_token) /* a refused try may leave half a pair (SoftHSM 2.6.1) */
            (void)!kl_create_destroy(s, id);
    }
    return rv;
}

enum kl_code kl_create_check(struct kl_session *s, CK_OBJECT_HANDLE private,
                             const struct kl_key_spec *spec, struct kl_err *err)
{
    bool domain = spec->profile == KL_PROFILE_DOMAIN;
    bool late = (s->worker->quirks & KL_QUIRK_LATE_READBACK) != 0;
    struct {
        CK_ATTRIBUTE_TYPE type;
        const char *name;
        bool must_be, insist;
        CK_BBOOL is;
    } rows[] = {
        {CKA_EXTRACTABLE, "EXTRACTABLE", domain, true, 2},
        {CKA_SENSITIVE, "SENSITIVE", true, !late, 2},
        {CKA_PRIVATE, "PRIVATE", true, true, 2},
        {CKA_WRAP_WITH_TRUSTED, "WRAP_WITH_TRUSTED", true, domain, 2},
        {CKA_DECRYPT, "DECRYPT", spec->may_decrypt, spec->may_decrypt, 2},
        {CKA_SIGN, "SIGN", spec->may_sign, spec->may_sign, 2},
        {CKA_UNWRAP, "UNWRAP", spec->may_unwrap, domain || spec->may_unwrap, 2},
    };
    CK_ATTRIBUTE attrs[KL_COUNT(rows)];
    for (size_t i = 0; i < KL_COUNT(rows); i++)
        attrs[i] = KL_ATTR_VALUE(rows[i].type, rows[i].is);
    CK_RV rv = kl_attr_read(kl_f(s), s->handle, private, attrs, KL_COUNT(attrs));
    if (rv != CKR_OK)
        return kl_recover_proof(s, rv, "C_GetAttributeValue", err);
    for (size_t i = 0; i < KL_COUNT(rows); i++)
        if (rows[i].insist && rows[i].is != (rows[i].must_be ? CK_TRUE : CK_FALSE))
            return kl_fail(err, KL_TOKEN_READBACK, "C_GetAttributeValue",
                           "the token made a key whose CKA_%s is not %s", rows[i].name,
                           rows[i].must_be ? "true" : "false");
    return KL_OK;
}

static CK_RV one_round_trip(struct kl_session *s, const struct kl_key *key, const struct kl_mech *m,
                            bool *ret_ok)
{
    uint8_t plain[32];
    if (!kl_mech_decrypts(m))
        return kl_sign_round_trip(s, key, m, ret_ok);
    kl_random(plain, sizeof plain);
    plain[0] = plain[1] = 0; /* stripped leading zeros would show */
    return kl_rsa_round_trip(s, key, m, (atomic_load(&s->worker->native_algs) >> m->alg & 1) != 0,
                             plain, sizeof plain, ret_ok);
}

enum kl_code kl_create_round_trips(struct kl_session *s, const struct kl_key *key,
                                   struct kl_err *err)
{
    int proven = 0;
    for (int alg = KL_ALG_OAEP_SHA1; alg < KL_ALG_COUNT; alg++) {
        const struct kl_mech *m = kl_mech_get((enum kl_token_alg)alg);
        bool ok = false;
        if ((atomic_load(&s->worker->algs) >> alg & 1) == 0 ||
            !kl_mech_fits(m, key->type, key->curve) ||
            !(kl_mech_decrypts(m) ? key->may_decrypt : key->may_sign))
            continue;
        CK_RV rv = one_round_trip(s, key, m, &ok);
        if (rv != CKR_OK)
            return kl_recover_proof(s, rv, m->name, err);
        if (!ok)
            return kl_fail(err, KL_TOKEN_READBACK, "round trip",
                           "the new key gives a wrong answer at %s", m->name);
        proven++;
    }
    if (proven == 0)
        return kl_fail(err, KL_TOKEN_UNSUPPORTED, "round trip",
                       "the token has no algorithm for such a key");
    return KL_OK;
}

/* A search may answer with what was not asked for, and this is the one call without a way back. */
static CK_RV destroy_if(struct kl_session *s, CK_OBJECT_HANDLE object, const uint8_t *id)
{
    uint8_t is[KL_KEY_ID_LEN];
    CK_ATTRIBUTE attr = KL_ATTR(CKA_ID, is, sizeof is);
    CK_RV rv = kl_attr_read(kl_f(s), s->handle, object, &attr, 1);
    if (rv == CKR_OK && (!kl_attr_has(&attr, sizeof is) || memcmp(is, id, sizeof is) != 0))
        return CKR_FUNCTION_FAILED;
    if (rv == CKR_OK)
        rv = kl_f(s)->C_DestroyObject(s->handle, object);
    return kl_ckr_class(rv) == KL_CKR_HANDLE ? CKR_OK
                                             : rv; /* gone already? the second look tells */
}

static CK_RV destroy_class(struct kl_session *s, CK_OBJECT_CLASS class, const uint8_t *id,
                           CK_ULONG *ret_count)
{
    CK_OBJECT_HANDLE found[16];
    CK_ATTRIBUTE match[] = {KL_ATTR_VALUE(CKA_CLASS, class), KL_ATTR_VALUE(CKA_TOKEN, yes),
                            KL_ATTR(CKA_ID, id, KL_KEY_ID_LEN)};
    CK_ULONG count = 0;
    CK_RV rv =
        kl_attr_find(kl_f(s), s->handle, match, KL_COUNT(match), found, KL_COUNT(found), &count);
    for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++)
        rv = destroy_if(s, found[i], id);
    *ret_count = count;
    return rv;
}

CK_RV kl_create_destroy(struct kl_session *s, const uint8_t id[static KL_KEY_ID_LEN])
{
    static const CK_OBJECT_CLASS classes[] = {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY};
    CK_RV rv = kl_session_ensure(s);
    kl_keys_forget(s->worker->keys, id);
    for (size_t i = 0; rv == CKR_OK && i < KL_COUNT(classes); i++) {
        CK_ULONG seen = 1;
        for (int round = 0; rv == CKR_OK && seen > 0 && round < 8; round++)
            rv = destroy_class(s, classes[i], id, &seen);
        if (rv == CKR_OK && seen > 0)
            rv = CKR_FUNCTION_FAILED; /* it says OK and the object stays */
    }
    if (rv == CKR_OK && !kl_session_logged_in(s))
        return CKR_USER_NOT_LOGGED_IN; /* then nothing is seen of what is there */
    return rv;
}

enum kl_code kl_create_check_spec(const struct kl_key_spec *spec, struct kl_err *err)
{
    bool rsa = spec->type == KL_KEY_RSA &&
               (spec->bits == 2048 || spec->bits == 3072 || spec->bits == 4096);
    bool ec = spec->type == KL_KEY_EC && spec->curve != KL_CURVE_NONE && !spec->may_decrypt;
    bool profile = spec->profile == KL_PROFILE_FIXED || spec->profile == KL_PROFILE_DOMAIN;
    if ((!rsa && !ec) || !profile || (!spec->may_decrypt && !spec->may_sign))
        return kl_fail(err, KL_BAD_INPUT, "spec", "no key of this kind can be made");
    return KL_OK;
}
