#include "pkcs11/worker/start.h"

#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/durable.h"
#include "pkcs11/worker/login.h"
#include "pkcs11/worker/probe.h"
#include "pkcs11/worker/quirk.h"
#include "pkcs11/worker/session.h"
#include "pkcs11/worker/slot.h"

enum kl_code kl_start_token(struct kl_worker *w, struct kl_err *err)
{
    (void)pthread_mutex_init(&w->session_lock, NULL);
    (void)pthread_mutex_init(&w->creating, NULL);
    (void)pthread_mutex_init(&w->canary.lock, NULL);
    atomic_store(&w->mac_key, CK_INVALID_HANDLE);
    w->wrap_mechanism = CKM_VENDOR_DEFINED;
    w->keys = kl_keys_new();
    if (w->keys == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for the index of keys");
    enum kl_code code = kl_module_open(w->conf.module, w->conf.init_args, &w->module, err);
    if (code == KL_OK)
        code = kl_slot_find(&w->module, w->conf.uri, &w->slot, &w->info, err);
    if (code != KL_OK)
        return code;
    w->quirks = kl_quirk_flags(w->module.manufacturer, &w->info);
    return kl_session_open_anchor(w, err);
}

static enum kl_code list_and_probe(struct kl_worker *w, struct kl_err *err)
{
    struct kl_session s = {.worker = w};
    CK_RV rv = kl_session_ensure(&s);
    if (rv == CKR_OK)
        rv = kl_keys_list(w->keys, &s);
    enum kl_code code = KL_OK;
    if (rv != CKR_OK)
        code = kl_ckr_fail(err, KL_TOKEN_UNAVAILABLE, rv, "C_FindObjects",
                           "the token's keys cannot be listed");
    if (code == KL_OK)
        code = kl_probe_run(&s, err);
    kl_session_drop(&s);
    return code;
}

enum kl_code kl_start(struct kl_worker *w, int pin_fd, struct kl_err *err)
{
    enum kl_code code = kl_durable_check(w->conf.store_dir, err);
    if (code == KL_OK)
        code = kl_start_token(w, err);
    if (code == KL_OK)
        code = kl_login(w, pin_fd, err);
    if (code == KL_OK)
        code = list_and_probe(w, err);
    return code;
}
