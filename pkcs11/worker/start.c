#include "pkcs11/worker/start.h"

#include "base/log.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/confine.h"
#include "pkcs11/worker/durable.h"
#include "pkcs11/worker/login.h"
#include "pkcs11/worker/probe.h"
#include "pkcs11/worker/progress.h"
#include "pkcs11/worker/quirk.h"
#include "pkcs11/worker/session.h"
#include "pkcs11/worker/slot.h"

enum kl_code kl_start_token(struct kl_worker *w, struct kl_err *err)
{
    (void)pthread_mutex_init(&w->session_lock, NULL);
    (void)pthread_mutex_init(&w->creating, NULL);
    (void)pthread_mutex_init(&w->login_lock, NULL);
    (void)pthread_mutex_init(&w->canary.lock, NULL);
    atomic_store(&w->mac_key, CK_INVALID_HANDLE);
    w->wrap_mechanism = CKM_VENDOR_DEFINED;
    w->keys = kl_keys_new();
    if (w->keys == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for the index of keys");
    kl_progress_step("C_Initialize", false);
    enum kl_code code =
        kl_module_open(w->conf.module, w->conf.module_sha256, w->conf.init_args, &w->module, err);
    kl_progress_step("C_GetSlotList", false);
    if (code == KL_OK)
        code = kl_slot_find(&w->module, w->conf.uri, &w->slot, &w->info, err);
    if (code != KL_OK)
        return code;
    w->quirks = kl_quirk_flags(w->module.manufacturer, &w->info);
    kl_progress_step("C_OpenSession", false);
    return kl_session_open_anchor(w, err);
}

/* The probe has shown that the token works with keys of its own making. When none of those that it
 * holds does, they may all be somebody else's: what needs one of them will say so. */
static void prove(struct kl_session *s)
{
    kl_progress_step("the canary", false);
    if (kl_canary_keep_alive(s) != KL_CANARY_ILL)
        return;
    atomic_store(&s->worker->condemned, false);
    kl_log(KL_LOG_WARNING, "token=%s holds keys, and none that was tried works",
           s->worker->conf.name);
}

static enum kl_code list_and_probe(struct kl_worker *w, struct kl_err *err)
{
    struct kl_session s = {.worker = w};
    kl_progress_step("C_FindObjects", false);
    CK_RV rv = kl_session_ensure(&s);
    if (rv == CKR_OK)
        rv = kl_keys_list(w->keys, &s);
    enum kl_code code = KL_OK;
    if (rv != CKR_OK)
        code = kl_ckr_fail(err, KL_TOKEN_UNAVAILABLE, rv, "C_FindObjects",
                           "the token's keys cannot be listed");
    if (code == KL_OK)
        code = kl_probe_run(&s, err);
    if (code == KL_OK)
        prove(&s);
    kl_session_drop(&s);
    return code;
}

static enum kl_code go_on(struct kl_worker *w, struct kl_err *err)
{
    kl_progress_step("the store folder", false);
    enum kl_code code = kl_durable_check(w->conf.store_dir, err);
    if (code == KL_OK)
        code = kl_start_token(w, err);
    /* a PIN pad waits for people */
    kl_progress_step("C_Login", (w->info.flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0);
    if (code == KL_OK)
        code = kl_login(w, err);
    if (code == KL_OK)
        code = list_and_probe(w, err);
    return code;
}

enum kl_code kl_start(struct kl_worker *w, int pin_fd, struct kl_err *err)
{
    kl_progress_step("the PIN", false);
    enum kl_code code = kl_login_prepare(w, pin_fd, err);
    kl_progress_step("the sandbox", false);
    if (code == KL_OK)
        code = kl_confine(&w->conf, w->state, err);
    return code == KL_OK ? go_on(w, err) : code;
}

enum kl_code kl_start_by_hand(struct kl_worker *w, int pin_fd, struct kl_err *err)
{
    enum kl_code code = kl_login_prepare(w, pin_fd, err);
    return code == KL_OK ? go_on(w, err) : code;
}
