#include "pkcs11/worker/ceremony.h"

#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/durable.h"
#include "pkcs11/worker/login.h"
#include "pkcs11/worker/pin.h"
#include "pkcs11/worker/probe.h"
#include "pkcs11/worker/secret_key.h"
#include "pkcs11/worker/session.h"
#include "pkcs11/worker/start.h"

static enum kl_code so_login_code(CK_RV rv)
{
    switch (kl_ckr_class(rv)) {
    case KL_CKR_PIN:
        return KL_TOKEN_PIN;
    case KL_CKR_REFUSED:
        return KL_TOKEN_UNSUPPORTED;
    default:
        return KL_TOKEN_UNAVAILABLE;
    }
}

static enum kl_code make_as_so(struct kl_worker *w, struct kl_secret *pin, struct kl_err *err)
{
    CK_FUNCTION_LIST *f = w->module.f;
    CK_RV rv = f->C_Login(w->anchor, CKU_SO, kl_secret_bytes(pin), kl_secret_len(pin));
    if (rv != CKR_OK)
        return kl_ckr_fail(err, so_login_code(rv), rv, "C_Login",
                           "the security officer cannot log in");
    rv = kl_secret_key_make_domain(f, w->anchor);
    (void)f->C_Logout(w->anchor);
    if (rv != CKR_OK)
        return kl_ckr_fail(err, KL_TOKEN_UNSUPPORTED, rv, "C_GenerateKey",
                           "the token does not let the security officer make a trusted key");
    return kl_durable_barrier(w->conf.store_dir, err);
}

/* The user's part: the domain key must be usable for us, and the MAC key there. */
static enum kl_code finish_as_user(struct kl_worker *w, struct kl_err *err)
{
    struct kl_session s = {.worker = w};
    CK_OBJECT_HANDLE key;
    enum kl_code code = kl_login(w, -1, err);
    if (code == KL_OK)
        code = kl_secret_key_domain(&s, &key, err);
    if (code == KL_OK)
        code = kl_secret_key_mac(&s, &key, err);
    kl_session_drop(&s);
    return code;
}

enum kl_code kl_ceremony_domain_key(const struct kl_worker_config *conf, const char *so_pin_file,
                                    struct kl_err *err)
{
    static struct kl_worker w;
    struct kl_session s = {.worker = &w};
    KL_AUTO(secret) pin = NULL;
    CK_OBJECT_HANDLE key;
    w.conf = *conf;
    enum kl_code code = kl_secret_read_file(so_pin_file, KL_PIN_MAX, &pin, err);
    if (code == KL_OK)
        code = kl_durable_check(w.conf.store_dir, err);
    if (code == KL_OK)
        code = kl_start_token(&w, err);
    if (code != KL_OK)
        return code;
    code = kl_secret_key_domain(&s, &key, err); /* PRIVATE=false: seen without any login */
    kl_session_drop(&s);
    if (code == KL_OK)
        return kl_fail(err, KL_EXISTS, "C_FindObjects", "the token has a domain key already");
    if (code != KL_NOT_FOUND)
        return code;
    code = make_as_so(&w, pin, err);
    if (code == KL_OK)
        code = finish_as_user(&w, err);
    kl_module_close(&w.module);
    return code;
}

enum kl_code kl_ceremony_probe(const struct kl_worker_config *conf, struct kl_err *err)
{
    static struct kl_worker w;
    w.conf = *conf;
    enum kl_code code = kl_start(&w, -1, err);
    if (code != KL_OK)
        return code;
    struct kl_buf out = KL_BUF_INIT(8192);
    kl_probe_print(&w.caps, &out);
    (void)fputs(kl_buf_text(&out), stdout);
    if (fflush(stdout) != 0)
        code = kl_fail_errno(err, "write", "the answer cannot be written");
    kl_buf_done(&out);
    kl_module_close(&w.module);
    return code;
}
