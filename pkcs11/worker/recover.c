#include "pkcs11/worker/recover.h"

#include "base/clock.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/login.h"
#include "pkcs11/worker/session.h"

#include <openssl/crypto.h>
#include <string.h>

/* The longest that a token may be gone before its errors are believed to be its own. */
#define RESULT_HOLDS_MS 10

static enum kl_code condemn(struct kl_session *s, CK_RV rv, const char *what, struct kl_err *err)
{
    atomic_store(&s->worker->condemned, true);
    return kl_ckr_fail(err, KL_TOKEN_UNAVAILABLE, rv, what, "the token does not work");
}

/* The data's fault or the token's? */
static enum kl_code ask(struct kl_session *s, const struct kl_key *key, CK_RV rv, bool fresh,
                        const char *what, struct kl_err *err)
{
    int64_t now = kl_clock_mono_ms();
    switch (kl_canary_ask(s, key, fresh ? now + 1 : now - RESULT_HOLDS_MS)) {
    case KL_CANARY_WELL:
        return kl_ckr_fail(err, KL_BAD_INPUT, rv, what, "the token refused the data");
    case KL_CANARY_KEY_ILL:
        return kl_ckr_fail(err, KL_TOKEN_KEY_MISSING, rv, what,
                           "the key does not work while others on the token do");
    case KL_CANARY_MUTE: /* a token without any key, and logged in: all that can be said */
        if (key == NULL && kl_session_logged_in(s))
            return kl_ckr_fail(err, KL_BAD_INPUT, rv, what, "the token refused");
        break;
    case KL_CANARY_LATER:
        return kl_ckr_fail(err, KL_TOKEN_BUSY, rv, what,
                           "the token refuses more than can be told from a fault of its own");
    case KL_CANARY_ILL:
        break;
    }
    return condemn(s, rv, what, err);
}

static enum kl_code judge(struct kl_session *s, const struct kl_key *key, CK_RV rv,
                          const char *what, struct kl_err *err)
{
    switch (kl_ckr_class(rv)) {
    case KL_CKR_REQUEST:
        return kl_ckr_fail(err, KL_BAD_INPUT, rv, what, "the token refused the data");
    case KL_CKR_AMBIGUOUS:
        return ask(s, key, rv, false, what, err);
    case KL_CKR_SUSPECT:
        return ask(s, key, rv, true, what, err);
    case KL_CKR_LOAD:
        return kl_ckr_fail(err, KL_TOKEN_BUSY, rv, what, "the token has no room left");
    case KL_CKR_REFUSED:
        return kl_ckr_fail(err, KL_TOKEN_UNSUPPORTED, rv, what, "the token does not do this");
    case KL_CKR_OURS:
        return kl_ckr_fail(err, KL_INTERNAL, rv, what, "the token was asked wrongly");
    case KL_CKR_GOOD:
    case KL_CKR_SESSION:
    case KL_CKR_HANDLE:
    case KL_CKR_TOKEN:
    case KL_CKR_LIBRARY:
    case KL_CKR_PIN:
        break;
    }
    return condemn(s, rv, what, err);
}

/* The token says that the key is not there. A token that has gone, or has lost our login, says the
 * same. */
static enum kl_code confirm_missing(struct kl_session *s, const uint8_t *id, bool known,
                                    struct kl_err *err)
{
    if (!kl_session_logged_in(s))
        return condemn(s, CKR_USER_NOT_LOGGED_IN, "C_GetSessionInfo", err);
    enum kl_canary_word word = kl_canary_ask_others(s, id);
    if (word == KL_CANARY_ILL || (word == KL_CANARY_MUTE && known))
        return condemn(s, CKR_OBJECT_HANDLE_INVALID, "C_FindObjects", err);
    return kl_fail(err, KL_TOKEN_KEY_MISSING, "C_FindObjects", "the key is not on the token");
}

static bool is_other(const struct kl_key_ref *ref, const struct kl_key *key)
{
    static const uint8_t any[KL_SPKI_HASH_LEN];
    return memcmp(ref->spki_hash, any, sizeof any) != 0 &&
           memcmp(ref->spki_hash, key->ref.spki_hash, sizeof any) != 0;
}

/* A session that died of idleness, or a hiccup: an error counts when it comes twice. */
static bool may_be_cured(CK_RV rv)
{
    enum kl_ckr_class class = kl_ckr_class(rv);
    return class == KL_CKR_SESSION || class == KL_CKR_AMBIGUOUS || class == KL_CKR_SUSPECT;
}

/* Twice, with a new session, where that may help; a stale handle is found anew by the id. */
static enum kl_code look_up(struct kl_session *s, const uint8_t *id, struct kl_key *ret,
                            CK_RV *ret_rv, struct kl_err *err)
{
    for (int attempt = 0;; attempt++) {
        enum kl_code code = KL_TOKEN_UNAVAILABLE;
        *ret_rv = kl_session_ensure(s);
        if (*ret_rv == CKR_OK)
            code = kl_keys_get(s->worker->keys, s, id, ret, ret_rv, err);
        if (code != KL_TOKEN_UNAVAILABLE)
            return code;
        kl_session_drop(s);
        bool stale = kl_ckr_class(*ret_rv) == KL_CKR_HANDLE;
        if (stale)
            kl_keys_forget(s->worker->keys, id);
        if (attempt > 0 || (!stale && !may_be_cured(*ret_rv)))
            return code;
    }
}

/* The token had lost the login, and has it again. */
static bool login_renewed(struct kl_session *s)
{
    return s->worker->conf.relogin && !kl_session_logged_in(s) && kl_login_again(s);
}

/* A look-up has no data to blame, so no result of before counts: the token, or this key. */
static enum kl_code judge_look_up(struct kl_session *s, CK_RV rv, struct kl_err *err)
{
    bool ambiguous = kl_ckr_class(rv) == KL_CKR_AMBIGUOUS;
    enum kl_code code = ambiguous ? ask(s, NULL, rv, true, "C_FindObjects", err)
                                  : judge(s, NULL, rv, "C_FindObjects", err);
    if (code != KL_BAD_INPUT)
        return code;
    return kl_ckr_fail(err, KL_TOKEN_KEY_MISSING, rv, "C_FindObjects",
                       "the key cannot be read while others on the token work");
}

static enum kl_code get_key(struct kl_session *s, const struct kl_key_ref *ref, bool known,
                            struct kl_key *ret, struct kl_err *err)
{
    struct kl_key key;
    CK_RV rv;
    enum kl_code code = look_up(s, ref->id, &key, &rv, err);
    if ((code == KL_TOKEN_UNAVAILABLE || code == KL_TOKEN_KEY_MISSING) && login_renewed(s))
        code = look_up(s, ref->id, &key, &rv, err);
    if (code == KL_OK && is_other(ref, &key)) { /* or its handle was taken down wrongly */
        kl_keys_forget(s->worker->keys, ref->id);
        code = look_up(s, ref->id, &key, &rv, err);
    }
    if (code == KL_TOKEN_UNAVAILABLE)
        return kl_ckr_class(rv) == KL_CKR_HANDLE ? confirm_missing(s, ref->id, true, err)
                                                 : judge_look_up(s, rv, err);
    if (code == KL_TOKEN_KEY_MISSING)
        return confirm_missing(s, ref->id, known, err);
    if (code != KL_OK)
        return code;
    if (is_other(ref, &key))
        return kl_fail(err, KL_TOKEN_KEY_MISSING, "C_GetAttributeValue",
                       "another key has the key's id on the token");
    *ret = key;
    return KL_OK;
}

enum kl_code kl_recover_key(struct kl_session *s, const struct kl_key_ref *ref, struct kl_key *ret,
                            struct kl_err *err)
{
    return get_key(s, ref, kl_keys_knows(s->worker->keys, ref->id), ret, err);
}

/* Whether the failed operation is worth a second try, with a new session and perhaps a new handle.
 * An error that may be the data's fault is only believed of the right key, and, unless its number
 * is plain, when it comes twice: a throttled token says DEVICE_ERROR to good data. */
static bool may_pass_again(struct kl_session *s, const struct kl_key *key, CK_RV rv)
{
    switch (kl_ckr_class(rv)) {
    case KL_CKR_SESSION:
        return true;
    case KL_CKR_HANDLE:
        kl_keys_forget(s->worker->keys, key->ref.id);
        return true;
    case KL_CKR_REQUEST:
    case KL_CKR_AMBIGUOUS:
    case KL_CKR_SUSPECT:
    case KL_CKR_REFUSED:           /* of another key, perhaps */
        if (kl_keys_still(s, key)) /* a key that never did this was not asked for it */
            return may_be_cured(rv) || kl_ckr_class(rv) == KL_CKR_REFUSED;
        kl_keys_forget(s->worker->keys, key->ref.id);
        return true;
    default:
        return false;
    }
}

enum kl_code kl_recover_run(struct kl_session *s, const struct kl_key_ref *ref, kl_key_op *op,
                            void *arg, const char *what, struct kl_err *err)
{
    struct kl_key key;
    bool known = kl_keys_knows(s->worker->keys, ref->id);
    for (int attempt = 0;; attempt++) {
        enum kl_code code = get_key(s, ref, known, &key, err);
        if (code != KL_OK)
            return code;
        CK_RV rv = kl_session_ensure(s);
        if (rv == CKR_OK)
            rv = op(s, &key, arg);
        if (rv == CKR_OK) {
            kl_canary_note(s->worker, &key);
            return KL_OK;
        }
        kl_session_drop(s); /* there is no portable way to cancel what it was doing */
        if (attempt > 0 || !may_pass_again(s, &key, rv))
            return judge(s, &key, rv, what, err);
    }
}

enum kl_code kl_recover_fault(struct kl_session *s, CK_RV rv, const char *what, struct kl_err *err)
{
    kl_session_drop(s);
    if (!s->retrying && (may_be_cured(rv) || login_renewed(s))) {
        s->again = true;
        return kl_ckr_fail(err, KL_TOKEN_UNAVAILABLE, rv, what, "the token failed");
    }
    enum kl_code code = judge(s, NULL, rv, what, err);
    if (code != KL_BAD_INPUT)
        return code;
    return kl_ckr_fail(err, KL_TOKEN_UNSUPPORTED, rv, what, "the token refused");
}

enum kl_code kl_recover_proof(struct kl_session *s, CK_RV rv, const char *what, struct kl_err *err)
{
    enum kl_code code = kl_recover_fault(s, rv, what, err);
    if (code != KL_TOKEN_UNSUPPORTED)
        return code;
    return kl_ckr_fail(err, KL_TOKEN_READBACK, rv, what, "the new key does not work");
}

bool kl_recover_again(struct kl_session *s, enum kl_code code)
{
    s->retrying = code != KL_OK && s->again;
    s->again = false;
    return s->retrying;
}
