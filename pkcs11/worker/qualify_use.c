/* Probes of what the service does with a token all day. */
#include "base/clock.h"
#include "base/encoding.h"
#include "pkcs11/worker/attr.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/create.h"
#include "pkcs11/worker/litter.h"
#include "pkcs11/worker/qualify.h"
#include "pkcs11/worker/qualify_parts.h"
#include "pkcs11/worker/rsa.h"
#include "pkcs11/worker/session.h"
#include "pkcs11/worker/sign.h"

#include <string.h>

#define MOST_SESSIONS 8
#define THREADS       8
#define ROUNDS        5

static const struct kl_token_caps *caps_of(const struct kl_trial *t)
{
    return &t->s.worker->caps;
}

static enum kl_outcome identity(struct kl_trial *t)
{
    const struct kl_token_caps *c = caps_of(t);
    const CK_TOKEN_INFO *i = &t->s.worker->info;
    return kl_trial_say(t, KL_OUTCOME_YES, "%s, %s %s, serial %s; PINs of %lu to %lu characters",
                        c->label, c->model, c->firmware, c->serial, i->ulMinPinLen, i->ulMaxPinLen);
}

static enum kl_outcome pin_flags(struct kl_trial *t)
{
    CK_TOKEN_INFO info;
    CK_RV rv = kl_f(&t->s)->C_GetTokenInfo(t->s.worker->slot, &info);
    if (rv != CKR_OK)
        return kl_trial_ckr(t, KL_OUTCOME_NO, "C_GetTokenInfo", rv);
    if ((info.flags & (CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED)) != 0)
        return kl_trial_say(t, KL_OUTCOME_NO, "the PIN is locked or at its last try");
    return kl_trial_say(t,
                        (info.flags & CKF_USER_PIN_COUNT_LOW) != 0 ? KL_OUTCOME_NO : KL_OUTCOME_YES,
                        (info.flags & CKF_USER_PIN_COUNT_LOW) != 0
                            ? "a wrong PIN was tried since the last right one"
                            : "no wrong PIN is counted");
}

static enum kl_outcome sessions(struct kl_trial *t)
{
    struct kl_session all[MOST_SESSIONS];
    unsigned open = 0;
    CK_RV rv = CKR_OK;
    for (; open < MOST_SESSIONS && rv == CKR_OK; open += rv == CKR_OK) {
        all[open] = (struct kl_session){.worker = t->s.worker};
        rv = kl_session_ensure(&all[open]);
    }
    for (unsigned i = 0; i < open; i++)
        kl_session_drop(&all[i]);
    return kl_trial_say(t, open == MOST_SESSIONS ? KL_OUTCOME_YES : KL_OUTCOME_NO,
                        "%u at once, then %s", open, kl_ckr_name(rv));
}

static enum kl_outcome randomness(struct kl_trial *t)
{
    uint8_t draw[2][32] = {{0}};
    CK_RV rv = kl_session_ensure(&t->s);
    for (int i = 0; i < 2 && rv == CKR_OK; i++)
        rv = kl_f(&t->s)->C_GenerateRandom(t->s.handle, draw[i], sizeof draw[i]);
    if (rv != CKR_OK)
        return kl_trial_ckr(t, KL_OUTCOME_NO, "C_GenerateRandom", rv);
    bool differ = memcmp(draw[0], draw[1], sizeof draw[0]) != 0;
    return kl_trial_say(t, differ ? KL_OUTCOME_YES : KL_OUTCOME_NO, "%s",
                        differ ? "two draws of 32 bytes, different" : "the same 32 bytes twice");
}

static struct kl_key_spec rsa_spec(enum kl_profile profile)
{
    return (struct kl_key_spec){.type = KL_KEY_RSA,
                                .bits = 2048,
                                .profile = profile,
                                .may_decrypt = true,
                                .may_sign = true};
}

static enum kl_outcome make_rsa(struct kl_trial *t)
{
    struct kl_key_spec spec = rsa_spec(KL_PROFILE_FIXED);
    int64_t begun = kl_clock_mono_ms();
    CK_RV rv = kl_trial_key(&t->keeper, &spec, &t->fixed, &t->on_token);
    t->have_fixed = rv == CKR_OK;
    if (rv != CKR_OK)
        return kl_trial_ckr(t, KL_OUTCOME_NO, "C_GenerateKeyPair", rv);
    return kl_trial_say(t, KL_OUTCOME_YES, "made in %lld ms, as a %s object",
                        (long long)(kl_clock_mono_ms() - begun), t->on_token ? "token" : "session");
}

static enum kl_outcome read_back(struct kl_trial *t)
{
    struct kl_key_spec spec = rsa_spec(KL_PROFILE_FIXED);
    struct kl_err err;
    if (!t->have_fixed)
        return KL_OUTCOME_NONE;
    bool fine = kl_create_check(&t->keeper, t->fixed.handle, &spec, &err) == KL_OK;
    return kl_trial_say(t, fine ? KL_OUTCOME_YES : KL_OUTCOME_NO, "%s",
                        fine ? "every attribute as asked for" : err.text);
}

/* One probe for several algorithms: all that the service offers for a purpose. */
static enum kl_outcome list_algs(struct kl_trial *t, enum kl_token_alg first,
                                 enum kl_token_alg last, uint32_t wanted)
{
    const struct kl_token_caps *c = caps_of(t);
    size_t used = 0;
    for (int alg = (int)first; alg <= (int)last; alg++) {
        const char *how = (c->native_algs >> alg & 1) != 0 ? "yes"
                          : (c->algs >> alg & 1) != 0      ? "by raw RSA and software"
                                                           : "no";
        int n = snprintf(t->answer + used, sizeof t->answer - used, "%s%s: %s",
                         used > 0 ? ", " : "", kl_mech_get((enum kl_token_alg)alg)->name, how);
        used += n > 0 && (size_t)n < sizeof t->answer - used ? (size_t)n : 0;
    }
    return (c->algs & wanted) == wanted ? KL_OUTCOME_YES : KL_OUTCOME_NO;
}

#define BIT(alg) (UINT32_C(1) << (alg))

static enum kl_outcome unwraps(struct kl_trial *t)
{
    return list_algs(t, KL_ALG_OAEP_SHA1, KL_ALG_OAEP_SHA512, BIT(KL_ALG_OAEP_SHA256));
}

static enum kl_outcome signs_rsa(struct kl_trial *t)
{
    return list_algs(t, KL_ALG_RS256, KL_ALG_PS512, BIT(KL_ALG_RS256) | BIT(KL_ALG_PS256));
}

static enum kl_outcome signs_ec(struct kl_trial *t)
{
    return list_algs(t, KL_ALG_ES256, KL_ALG_ES512, BIT(KL_ALG_ES256) | BIT(KL_ALG_ES384));
}

static enum kl_outcome sizes(struct kl_trial *t)
{
    const uint8_t *ok = caps_of(t)->rsa_bits_ok;
    (void)kl_trial_say(t, KL_OUTCOME_YES, "by the mechanism's limits: 2048 %s, 3072 %s, 4096 %s",
                       ok[0] ? "yes" : "no", ok[1] ? "yes" : "no", ok[2] ? "yes" : "no");
    return ok[0] && ok[1] && ok[2] ? KL_OUTCOME_YES : KL_OUTCOME_NO;
}

static const struct kl_mech *oaep(const struct kl_trial *t)
{
    for (int alg = KL_ALG_OAEP_SHA1; alg <= KL_ALG_OAEP_SHA512; alg++)
        if ((caps_of(t)->algs >> alg & 1) != 0)
            return kl_mech_get((enum kl_token_alg)alg);
    return NULL;
}

static bool round_trip(struct kl_session *s, const struct kl_trial *t, const struct kl_mech *m)
{
    uint8_t plain[32];
    bool ok = false;
    kl_random(plain, sizeof plain);
    if (kl_session_ensure(s) != CKR_OK ||
        kl_rsa_round_trip(s, &t->fixed, m, (caps_of(t)->native_algs >> m->alg & 1) != 0, plain,
                          sizeof plain, &ok) != CKR_OK)
        kl_session_drop(s);
    return ok;
}

static enum kl_outcome garbage(struct kl_trial *t)
{
    uint8_t cipher[KL_RSA_MAX], out[KL_RSA_MAX];
    const struct kl_mech *m = t->have_fixed ? oaep(t) : NULL;
    size_t n = 0;
    bool bad = false;
    if (m == NULL)
        return KL_OUTCOME_NONE;
    kl_random(cipher, sizeof cipher);
    cipher[0] = 1;
    CK_RV rv = kl_session_ensure(&t->s);
    if (rv == CKR_OK)
        rv = kl_rsa_decrypt(&t->s, &t->fixed, m, (caps_of(t)->native_algs >> m->alg & 1) != 0,
                            cipher, out, &n, &bad);
    if (rv == CKR_OK && !bad)
        return kl_trial_say(t, KL_OUTCOME_NO, "a random block was taken for a ciphertext");
    const char *said = rv == CKR_OK ? "refused by the check in software" : kl_ckr_name(rv);
    kl_session_drop(&t->s);
    bool well = round_trip(&t->s, t, m);
    return kl_trial_say(t, well ? KL_OUTCOME_YES : KL_OUTCOME_NO, "%s; a good one after it %s",
                        said, well ? "is opened" : "fails");
}

struct racer {
    pthread_t thread;
    struct kl_trial *t;
    const struct kl_mech *m;
    unsigned wrong;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    struct kl_session s = {.worker = r->t->s.worker};
    for (int i = 0; i < ROUNDS; i++)
        r->wrong += !round_trip(&s, r->t, r->m);
    kl_session_drop(&s);
    return NULL;
}

static enum kl_outcome threads(struct kl_trial *t)
{
    struct racer racers[THREADS];
    const struct kl_mech *m = t->have_fixed ? oaep(t) : NULL;
    unsigned started = 0, wrong = 0;
    if (m == NULL)
        return KL_OUTCOME_NONE;
    for (; started < THREADS; started++) {
        racers[started] = (struct racer){.t = t, .m = m};
        if (pthread_create(&racers[started].thread, NULL, race, &racers[started]) != 0)
            break;
    }
    for (unsigned i = 0; i < started; i++) {
        (void)pthread_join(racers[i].thread, NULL);
        wrong += racers[i].wrong;
    }
    return kl_trial_say(t, wrong == 0 ? KL_OUTCOME_YES : KL_OUTCOME_NO,
                        "%u threads, %u decryptions, %u wrong", started, started * ROUNDS, wrong);
}

static enum kl_outcome mac(struct kl_trial *t)
{
    bool can = caps_of(t)->mac != 0;
    return kl_trial_say(t, can ? KL_OUTCOME_YES : KL_OUTCOME_NO, "%s",
                        can ? "a MAC of 32 bytes" : "no such key, or no MAC with it");
}

const struct kl_trial_probe kl_trial_use[] = {
    {"identity", "C_GetTokenInfo", KL_WEIGHT_NOTED, "one token was chosen by its URI", "",
     identity},
    {"pin-count", "what do the token's flags say of its PIN", KL_WEIGHT_NOTED,
     "nobody else tries PINs", "look who tries PINs; the service sends one once and never again",
     pin_flags},
    {"sessions", "C_OpenSession: 8 read/write sessions at once", KL_WEIGHT_WANTED,
     "as many workers are possible", "set workers to at most what it gave, less one", sessions},
    {"random", "C_GenerateRandom", KL_WEIGHT_WANTED, "random bytes come from the token",
     "rng requests are refused; keys are made inside the token and not concerned", randomness},
    {"make-key", "C_GenerateKeyPair: RSA 2048, profile fixed", KL_WEIGHT_NEEDED,
     "keys are made inside the token", "no key can be made: nothing works", make_rsa},
    {"read-back", "C_GetAttributeValue: EXTRACTABLE, SENSITIVE, usage as asked for",
     KL_WEIGHT_NEEDED, "what the token says of a key can be believed",
     "new keys are refused by their read-back", read_back},
    {"unwrap", "C_Decrypt of ciphertexts made by OpenSSL, each hash", KL_WEIGHT_NEEDED,
     "wrapped data keys open; what says 'software' has its padding checked outside the token",
     "without RSA-OAEP-256 there are no backups and no Azure clients", unwraps},
    {"sign-rsa", "C_Sign, checked by OpenSSL", KL_WEIGHT_WANTED, "RSA keys sign",
     "signatures that are missing are refused when asked for", signs_rsa},
    {"sign-ec", "C_Sign with EC keys, checked by OpenSSL", KL_WEIGHT_NOTED, "EC keys can be had",
     "curves that are missing are refused when a key is made", signs_ec},
    {"sizes", "C_GetMechanismInfo of the RSA key generation", KL_WEIGHT_NOTED, "all sizes",
     "sizes that are missing are refused when a key is made", sizes},
    {"bad-ciphertext", "C_Decrypt of a random block, then of a good one", KL_WEIGHT_NEEDED,
     "clients that send rubbish disturb nobody", "clients that send rubbish stop the service",
     garbage},
    {"threads", "8 threads with a session each", KL_WEIGHT_NEEDED, "workers may run side by side",
     "wrong answers under load: do not use this module", threads},
    {"mac", "HMAC-SHA-256 with a key on the token", KL_WEIGHT_WANTED,
     "the service's records are protected against changes in the database",
     "nothing on this token protects the service's records: name a second token that can", mac},
};
const size_t kl_trial_use_count = KL_COUNT(kl_trial_use);
