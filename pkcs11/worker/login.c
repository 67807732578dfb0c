#include "pkcs11/worker/login.h"

#include "base/log.h"
#include "pkcs11/worker/attr.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/latch.h"
#include "pkcs11/worker/pin.h"
#include "pkcs11/worker/session.h"

#include <string.h>

static enum kl_code latched(struct kl_err *err, const struct kl_latch *l, CK_RV rv,
                            const char *text)
{
    (void)kl_fail_native(err, KL_TOKEN_PIN, KL_DOMAIN_PKCS11, rv, "C_Login", "%s", text);
    if (err != NULL)
        (void)snprintf(err->detail, sizeof err->detail, "%.255s", l->shown);
    return KL_TOKEN_PIN;
}

static void forget_pin(struct kl_worker *w)
{
    kl_secret_free(w->pin);
    w->pin = NULL;
}

/* What the token itself says about its PIN: the last tries belong to people. COUNT_LOW alone is no
 * reason, as any wrong PIN sets it, and SoftHSM never clears it by itself. */
static enum kl_code check_flags(const CK_TOKEN_INFO *info, const struct kl_latch *l,
                                struct kl_err *err)
{
    static const struct {
        CK_FLAGS flag;
        const char *text;
    } stops[] = {
        {CKF_USER_PIN_LOCKED,
         "The token's user PIN is locked; the security officer sets a new one"},
        {CKF_USER_PIN_FINAL_TRY, "The token allows one last PIN try; log in by hand first"},
        {CKF_USER_PIN_TO_BE_CHANGED, "The token wants its user PIN changed first"},
    };
    for (size_t i = 0; i < KL_COUNT(stops); i++)
        if ((info->flags & stops[i].flag) != 0)
            return latched(err, l, CKR_OK, stops[i].text);
    if ((info->flags & CKF_USER_PIN_INITIALIZED) == 0)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "C_GetTokenInfo",
                       "the token has no user PIN yet");
    return KL_OK;
}

static bool has_own_keypad(const CK_TOKEN_INFO *info)
{
    return (info->flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0;
}

static enum kl_code get_pin(struct kl_worker *w, const struct kl_latch *l, struct kl_err *err)
{
    enum kl_pin_kind kind = kl_pin_kind(w->conf.pin_source);
    if (has_own_keypad(&w->info)) {
        kl_secret_free(w->pin); /* PKCS#11 2.40 section 5.6: such a token gets no PIN from us */
        w->pin = kl_secret_new(KL_PIN_MAX);
        return w->pin != NULL ? KL_OK : kl_fail(err, KL_NO_MEMORY, "mmap", "no memory for a PIN");
    }
    if (kind == KL_PIN_PROTECTED)
        return kl_fail(
            err, KL_CONFIG, "pin-source",
            "pin-source = protected, but the token has no protected authentication path; "
            "name a file, or prompt");
    if (kind != KL_PIN_PROMPT || w->pin != NULL)
        return KL_OK;
    return kl_pin_ask(w->ask_fd, l->set ? "The last PIN was refused" : "", &w->pin, err);
}

static enum kl_code check_latch(const struct kl_latch *l, struct kl_secret *pin, struct kl_err *err)
{
    bool same = false;
    enum kl_code code = kl_latch_check(l, pin, &same, err);
    if (code == KL_OK && same)
        return latched(
            err, l, CKR_PIN_INCORRECT,
            "The token refused this PIN before: correct what pin-source names, or remove the file "
            "pin-refused-… in state-dir for one more try");
    return code;
}

static enum kl_code send_pin(struct kl_worker *w, struct kl_latch *l, struct kl_err *err)
{
    bool keypad = has_own_keypad(&w->info);
    w->login_tried = true;
    CK_RV rv = w->module.f->C_Login(w->anchor, CKU_USER, keypad ? NULL : kl_secret_bytes(w->pin),
                                    keypad ? 0 : kl_secret_len(w->pin));
    if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN)
        return KL_OK;
    if (kl_ckr_class(rv) != KL_CKR_PIN)
        return kl_ckr_fail(err, KL_TOKEN_UNAVAILABLE, rv, "C_Login", "the token does not log in");
    struct kl_err why;
    if (kl_latch_write(l, w->pin, rv, &why) !=
        KL_OK) { /* still latched in this life of the client */
        kl_log_err(KL_LOG_ERROR, "the refused PIN cannot be remembered", &why);
        l->shown[0] = 0;
    }
    return latched(
        err, l, rv,
        "The token refused its PIN, which is not sent again: correct what pin-source names");
}

enum kl_code kl_login_prepare(struct kl_worker *w, int pin_fd, struct kl_err *err)
{
    if (w->pin != NULL || kl_pin_kind(w->conf.pin_source) >= KL_PIN_PROMPT)
        return KL_OK;
    return kl_pin_read(w->conf.pin_source, pin_fd, &w->pin, err);
}

enum kl_code kl_login(struct kl_worker *w, struct kl_err *err)
{
    struct kl_latch l;
    enum kl_code code = kl_latch_read(w, &l, err);
    if (code == KL_OK)
        code = check_flags(&w->info, &l, err);
    if (code == KL_OK)
        code = get_pin(w, &l, err);
    if (code == KL_OK)
        code = check_latch(&l, w->pin, err);
    if (code == KL_OK)
        code = send_pin(w, &l, err);
    if (code != KL_OK || !w->conf.relogin)
        forget_pin(w);
    return code;
}

/* The anchor went with the login when the token dropped every session. */
static enum kl_code anchor_again(struct kl_worker *w, struct kl_err *err)
{
    CK_SESSION_INFO info;
    if (w->module.f->C_GetSessionInfo(w->anchor, &info) == CKR_OK)
        return KL_OK;
    return kl_session_open_anchor(w, err);
}

static enum kl_code login_again(struct kl_session *s, struct kl_err *err)
{
    struct kl_worker *w = s->worker;
    struct kl_latch l;
    CK_TOKEN_INFO info;
    if (kl_session_logged_in(s)) /* another thread was faster */
        return KL_OK;
    if (w->pin == NULL)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "C_Login", "the login is lost");
    enum kl_code code = kl_latch_read(w, &l, err);
    CK_RV rv = w->module.f->C_GetTokenInfo(w->slot, &info);
    if (code == KL_OK && rv != CKR_OK)
        code = kl_ckr_fail(err, KL_TOKEN_UNAVAILABLE, rv, "C_GetTokenInfo", "the token is gone");
    if (code == KL_OK)
        code = check_flags(&info, &l, err);
    if (code == KL_OK)
        code = anchor_again(w, err);
    if (code == KL_OK)
        code = send_pin(w, &l, err);
    if (code == KL_TOKEN_PIN)
        forget_pin(w);
    return code;
}

bool kl_login_again(struct kl_session *s)
{
    struct kl_worker *w = s->worker;
    struct kl_err err;
    (void)pthread_mutex_lock(&w->login_lock);
    enum kl_code code = login_again(s, &err);
    bool kept = w->conf.relogin;
    (void)pthread_mutex_unlock(&w->login_lock);
    if (code != KL_OK && kept)
        kl_log_err(KL_LOG_WARNING, "the lost login cannot be renewed", &err);
    return code == KL_OK;
}
