#include "pkcs11/worker/probe.h"

#include "base/encoding.h"
#include "pkcs11/worker/attr.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/create.h"
#include "pkcs11/worker/domain.h"
#include "pkcs11/worker/domain_key.h"
#include "pkcs11/worker/litter.h"
#include "pkcs11/worker/progress.h"
#include "pkcs11/worker/quirk.h"
#include "pkcs11/worker/rsa.h"
#include "pkcs11/worker/secret_key.h"
#include "pkcs11/worker/session.h"
#include "pkcs11/worker/sign.h"

#include <string.h>

/* A key pair of the probe. Session objects live in a session of their own, so that they outlast a
 * dropped one. */
struct probe_key {
    struct kl_session maker;
    struct kl_key key;
    bool on_token;
};

static bool read_pair(struct probe_key *p, const uint8_t *id, CK_OBJECT_HANDLE private,
                      CK_OBJECT_HANDLE public)
{
    return kl_keys_read(&p->maker, private, public, id, &p->key) == CKR_OK && p->key.spki_len != 0;
}

static void drop_pair(struct probe_key *p)
{
    if (p->on_token)
        (void)!kl_create_destroy(&p->maker, p->key.ref.id);
    kl_session_drop(&p->maker);
}

static bool make_pair(struct kl_worker *w, struct kl_key_spec *spec, struct probe_key *ret)
{
    uint8_t id[KL_KEY_ID_LEN];
    CK_OBJECT_HANDLE private, public;
    kl_litter_id(id);
    (void)snprintf(spec->label, sizeof spec->label, KL_LITTER_LABEL);
    for (int on_token = (w->quirks & KL_QUIRK_NO_SESSION_OBJECTS) != 0; on_token <= 1; on_token++) {
        *ret = (struct probe_key){.maker = {.worker = w}, .on_token = on_token == 1};
        memcpy(ret->key.ref.id, id, sizeof id);
        kl_progress_step("C_GenerateKeyPair", true);
        if (kl_create_generate(&ret->maker, spec, id, on_token == 1, &private, &public) == CKR_OK &&
            read_pair(ret, id, private, public))
            return true;
        drop_pair(ret);
    }
    return false;
}

/* A small key is made faster, and does as well; FIPS tokens refuse it. */
static bool make_rsa(struct kl_worker *w, enum kl_profile profile, struct probe_key *ret)
{
    static const uint32_t sizes[] = {1536, 2048};
    for (size_t i = 0; i < KL_COUNT(sizes); i++) {
        struct kl_key_spec spec = {.type = KL_KEY_RSA,
                                   .bits = sizes[i],
                                   .profile = profile,
                                   .may_decrypt = true,
                                   .may_sign = true};
        if (make_pair(w, &spec, ret))
            return true;
    }
    return false;
}

/* A token that goes away while it is tried has not been tried: only a new worker can tell. */
static void note_failure(struct kl_session *s, CK_RV rv)
{
    enum kl_ckr_class class = kl_ckr_class(rv);
    if (class == KL_CKR_TOKEN || class == KL_CKR_LIBRARY)
        atomic_store(&s->worker->condemned, true);
    kl_session_drop(s);
}

/* Twice: with a plain text that begins 00 00, which shows stripped zeros. */
static bool decrypts(struct kl_session *s, const struct kl_key *key, const struct kl_mech *m,
                     bool native)
{
    uint8_t plain[32];
    for (int zeros = 0; zeros <= 1; zeros++) {
        bool ok = false;
        kl_random(plain, sizeof plain);
        if (zeros == 1)
            plain[0] = plain[1] = 0;
        CK_RV rv = kl_session_ensure(s);
        if (rv == CKR_OK)
            rv = kl_rsa_round_trip(s, key, m, native, plain, sizeof plain, &ok);
        if (rv != CKR_OK)
            note_failure(s, rv);
        if (!ok)
            return false;
    }
    return true;
}

static bool signs(struct kl_session *s, const struct kl_key *key, const struct kl_mech *m)
{
    bool ok = false;
    CK_RV rv = kl_session_ensure(s);
    if (rv == CKR_OK)
        rv = kl_sign_round_trip(s, key, m, &ok);
    if (rv != CKR_OK)
        note_failure(s, rv);
    return ok;
}

/* One failure says nothing yet. */
static bool does(struct kl_session *s, const struct kl_key *key, const struct kl_mech *m,
                 bool native)
{
    bool ok = false;
    for (int attempt = 0; attempt < 2 && !ok; attempt++)
        ok = kl_mech_decrypts(m) ? decrypts(s, key, m, native) : signs(s, key, m);
    return ok;
}

static void try_algs(struct kl_session *s, const struct kl_key *key, struct kl_token_caps *caps)
{
    for (int alg = KL_ALG_OAEP_SHA1; alg < KL_ALG_COUNT; alg++) {
        const struct kl_mech *m = kl_mech_get((enum kl_token_alg)alg);
        if (!kl_mech_fits(m, key->type, key->curve))
            continue;
        bool decrypt = kl_mech_decrypts(m);
        kl_progress_step(decrypt ? "C_Decrypt" : "C_Sign", false);
        bool native = m->kind != KL_MECH_RSA15 && does(s, key, m, true);
        bool raw = !native && decrypt && s->worker->conf.software_oaep && does(s, key, m, false);
        caps->native_algs |= (uint32_t)native << alg;
        caps->algs |= (uint32_t)(native || raw) << alg;
    }
}

/* Whether a refused ciphertext can be looked at as a raw block, which proves whose fault it is. */
static void try_raw(struct kl_session *s, const struct kl_key *key)
{
    const struct kl_mech *m = kl_mech_get(KL_ALG_OAEP_SHA1);
    atomic_store(&s->worker->raw_rsa, s->worker->conf.software_oaep && does(s, key, m, false));
}

static void try_domain(struct kl_session *s, CK_OBJECT_HANDLE domain, const struct kl_key *key,
                       struct kl_token_caps *caps)
{
    CK_MECHANISM_TYPE mechanism = CKM_VENDOR_DEFINED;
    if (kl_domain_probe(s, domain, key, &mechanism) != CKR_OK)
        kl_session_drop(s);
    s->worker->wrap_mechanism = mechanism;
    caps->domain_wrap = mechanism != CKM_VENDOR_DEFINED;
}

static void try_rsa(struct kl_session *s, struct kl_token_caps *caps)
{
    struct kl_domain_key domain;
    bool has_domain = kl_domain_keys_current(s, &domain, NULL) == KL_OK;
    struct probe_key p;
    bool made = has_domain && make_rsa(s->worker, KL_PROFILE_DOMAIN, &p);
    if (made && kl_session_ensure(s) == CKR_OK)
        try_domain(s, domain.wrap, &p.key, caps);
    if (!made)
        made = make_rsa(s->worker, KL_PROFILE_FIXED, &p);
    if (!made)
        return;
    try_algs(s, &p.key, caps);
    try_raw(s, &p.key);
    drop_pair(&p);
}

static void try_curves(struct kl_session *s, struct kl_token_caps *caps)
{
    for (int curve = KL_CURVE_P256; curve <= KL_CURVE_P521; curve++) {
        struct kl_key_spec spec = {.type = KL_KEY_EC,
                                   .curve = (enum kl_curve)curve,
                                   .profile = KL_PROFILE_FIXED,
                                   .may_sign = true};
        struct probe_key p;
        if (!make_pair(s->worker, &spec, &p))
            continue;
        uint32_t before = caps->algs;
        try_algs(s, &p.key, caps);
        caps->curves_ok[curve] = caps->algs != before;
        drop_pair(&p);
    }
}

/* Sizes are taken from the mechanism's own limits; making a 4096-bit key takes seconds, and a real
 * one is proven when it is made. */
static void read_sizes(struct kl_session *s, struct kl_token_caps *caps)
{
    static const CK_ULONG bits[] = {2048, 3072, 4096};
    CK_MECHANISM_INFO info;
    if (kl_f(s)->C_GetMechanismInfo(s->worker->slot, CKM_RSA_PKCS_KEY_PAIR_GEN, &info) != CKR_OK)
        return;
    for (size_t i = 0; i < KL_COUNT(bits); i++)
        caps->rsa_bits_ok[i] = info.ulMinKeySize <= bits[i] && bits[i] <= info.ulMaxKeySize;
}

static void try_mac(struct kl_session *s, struct kl_token_caps *caps)
{
    static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    static const CK_ULONG bytes = 32;
    CK_MECHANISM how = {.mechanism = CKM_GENERIC_SECRET_KEY_GEN};
    CK_ATTRIBUTE attrs[] = {KL_ATTR_VALUE(CKA_TOKEN, no), KL_ATTR_VALUE(CKA_SIGN, yes),
                            KL_ATTR_VALUE(CKA_VALUE_LEN, bytes)};
    CK_OBJECT_HANDLE key;
    uint8_t mac[KL_MAC_LEN];
    CK_RV rv = (s->worker->quirks & KL_QUIRK_NO_SESSION_OBJECTS) != 0 ? CKR_FUNCTION_NOT_SUPPORTED
                                                                      : kl_session_ensure(s);
    if (rv == CKR_OK)
        rv = kl_f(s)->C_GenerateKey(s->handle, &how, attrs, KL_COUNT(attrs), &key);
    if (rv == CKR_OK) {
        rv = kl_secret_key_hmac(s, key, "probe", 5, mac);
        (void)kl_f(s)->C_DestroyObject(s->handle, key);
    }
    if (rv != CKR_OK)
        kl_session_drop(s);
    caps->mac = rv == CKR_OK;
}

static void copy_identity(const CK_TOKEN_INFO *info, struct kl_token_caps *caps)
{
    kl_attr_trim(info->model, sizeof info->model, caps->model);
    kl_attr_trim(info->manufacturerID, sizeof info->manufacturerID, caps->manufacturer);
    kl_attr_trim(info->serialNumber, sizeof info->serialNumber, caps->serial);
    kl_attr_trim(info->label, sizeof info->label, caps->label);
    (void)snprintf(caps->firmware, sizeof caps->firmware, "%u.%u", info->firmwareVersion.major,
                   info->firmwareVersion.minor);
}

enum kl_code kl_probe_run(struct kl_session *s, struct kl_err *err)
{
    struct kl_token_caps caps = {.algs = 0};
    CK_RV rv = kl_session_ensure(s);
    if (rv != CKR_OK)
        return kl_ckr_fail(err, KL_TOKEN_UNAVAILABLE, rv, "C_OpenSession",
                           "the token gives no session");
    copy_identity(&s->worker->info, &caps);
    read_sizes(s, &caps);
    try_rsa(s, &caps);
    try_curves(s, &caps);
    try_mac(s, &caps);
    if (atomic_load(&s->worker->condemned))
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "probe",
                       "the token went away while it was tried");
    if (caps.algs ==
        0) /* a token that is of no use at all, or not well just now: the next worker asks again */
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "probe",
                       "the token does none of the algorithms when tried");
    s->worker->caps = caps;
    atomic_store(&s->worker->algs, caps.algs);
    atomic_store(&s->worker->native_algs, caps.native_algs);
    return KL_OK;
}

static void print_text(struct kl_buf *out, const char *name, const char *value)
{
    kl_buf_printf(out, "\"%s\":", name);
    kl_buf_put_json(out, value, strlen(value));
    kl_buf_putc(out, ',');
}

static void print_algs(struct kl_buf *out, const char *name, uint32_t algs)
{
    const char *comma = "";
    kl_buf_printf(out, "\"%s\":[", name);
    for (int alg = KL_ALG_OAEP_SHA1; alg < KL_ALG_COUNT; alg++) {
        if ((algs >> alg & 1) == 0)
            continue;
        kl_buf_printf(out, "%s\"%s\"", comma, kl_mech_get((enum kl_token_alg)alg)->name);
        comma = ",";
    }
    kl_buf_puts(out, "],");
}

void kl_probe_print(const struct kl_token_caps *caps, struct kl_buf *out)
{
    static const char *const yes_no[] = {"false", "true"};
    kl_buf_putc(out, '{');
    print_text(out, "label", caps->label);
    print_text(out, "manufacturer", caps->manufacturer);
    print_text(out, "model", caps->model);
    print_text(out, "serial", caps->serial);
    print_text(out, "firmware", caps->firmware);
    print_algs(out, "algorithms", caps->algs);
    print_algs(out, "nativeAlgorithms", caps->native_algs);
    kl_buf_printf(out, "\"rsa2048\":%s,\"rsa3072\":%s,\"rsa4096\":%s,",
                  yes_no[caps->rsa_bits_ok[0] != 0], yes_no[caps->rsa_bits_ok[1] != 0],
                  yes_no[caps->rsa_bits_ok[2] != 0]);
    kl_buf_printf(
        out, "\"p256\":%s,\"p384\":%s,\"p521\":%s,", yes_no[caps->curves_ok[KL_CURVE_P256] != 0],
        yes_no[caps->curves_ok[KL_CURVE_P384] != 0], yes_no[caps->curves_ok[KL_CURVE_P521] != 0]);
    kl_buf_printf(out, "\"domainWrap\":%s,\"mac\":%s}", yes_no[caps->domain_wrap != 0],
                  yes_no[caps->mac != 0]);
}
