#include "pkcs11/worker/session.h"

#include "pkcs11/worker/ckr.h"

#include <openssl/evp.h>

static CK_RV open_rw(struct kl_worker *w, CK_SESSION_HANDLE *ret)
{
    (void)pthread_mutex_lock(&w->session_lock);
    CK_RV rv =
        w->module.f->C_OpenSession(w->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, ret);
    (void)pthread_mutex_unlock(&w->session_lock);
    return rv;
}

CK_RV kl_session_ensure(struct kl_session *s)
{
    if (s->open)
        return CKR_OK;
    CK_RV rv = open_rw(s->worker, &s->handle);
    s->open = rv == CKR_OK;
    return rv;
}

void kl_session_drop(struct kl_session *s)
{
    EVP_PKEY_free(s->pubkey);
    s->pubkey = NULL;
    if (!s->open)
        return;
    (void)pthread_mutex_lock(&s->worker->session_lock);
    (void)kl_f(s)->C_CloseSession(s->handle);
    (void)pthread_mutex_unlock(&s->worker->session_lock);
    s->open = false;
}

bool kl_session_logged_in(struct kl_session *s)
{
    CK_SESSION_INFO info;
    return kl_session_ensure(s) == CKR_OK &&
           kl_f(s)->C_GetSessionInfo(s->handle, &info) == CKR_OK &&
           info.state == CKS_RW_USER_FUNCTIONS;
}

enum kl_code kl_session_open_anchor(struct kl_worker *w, struct kl_err *err)
{
    CK_RV rv = open_rw(w, &w->anchor);
    if (rv == CKR_OK)
        return KL_OK;
    return kl_ckr_fail(err, KL_TOKEN_UNAVAILABLE, rv, "C_OpenSession",
                       "the token gives no session");
}

enum kl_code kl_session_touch_anchor(struct kl_worker *w, struct kl_err *err)
{
    CK_BYTE some[8];
    CK_RV rv = w->module.f->C_GenerateRandom(w->anchor, some, sizeof some);
    return kl_ckr_class(rv) == KL_CKR_SESSION ? kl_session_open_anchor(w, err) : KL_OK;
}
