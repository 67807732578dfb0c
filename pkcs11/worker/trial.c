/* What the two trials of a token share. */
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/create.h"
#include "pkcs11/worker/litter.h"
#include "pkcs11/worker/login.h"
#include "pkcs11/worker/qualify.h"
#include "pkcs11/worker/quirk.h"
#include "pkcs11/worker/session.h"
#include "pkcs11/worker/start.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

static void catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    for (size_t i = 0; i < KL_COUNT(numbers); i++)
        (void)sigaction(numbers[i], &action, NULL);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0); /* nobody would read the report */
}

bool kl_trial_interrupted(void)
{
    return interrupted != 0;
}

enum kl_code kl_trial_begin(struct kl_worker *w, const struct kl_worker_config *conf, int pin_fd,
                            struct kl_session *s, struct kl_err *err)
{
    unsigned swept = 0;
    *w = (struct kl_worker){.conf = *conf};
    *s = (struct kl_session){.worker = w};
    catch_signals();
    enum kl_code code = kl_start_by_hand(w, pin_fd, err);
    if (code == KL_OK && kl_litter_sweep(s, false, &swept) != CKR_OK)
        kl_session_drop(s);
    return code;
}

/* With the module started anew: tpm2-pkcs11 1.9.0 does not destroy a key again that once refused a
 * ciphertext (CKR_FUNCTION_FAILED). The PIN is known to be the right one. */
static CK_RV sweep_anew(const struct kl_worker_config *conf, int pin_fd, unsigned *ret_left)
{
    static struct kl_worker w;
    struct kl_session s = {.worker = &w};
    CK_RV rv = CKR_GENERAL_ERROR;
    w = (struct kl_worker){.conf = *conf};
    if (kl_login_prepare(&w, pin_fd, NULL) == KL_OK && kl_start_token(&w, NULL) == KL_OK &&
        kl_login(&w, NULL) == KL_OK)
        rv = kl_litter_sweep(&s, true, ret_left);
    kl_session_drop(&s);
    if (w.module.f != NULL)
        kl_module_close(&w.module);
    return rv;
}

enum kl_code kl_trial_end(struct kl_session *s, int pin_fd, unsigned *ret_left, struct kl_err *err)
{
    kl_session_drop(s);
    CK_RV rv = kl_litter_sweep(s, true, ret_left);
    kl_session_drop(s);
    kl_module_close(&s->worker->module);
    if (rv != CKR_OK)
        rv = sweep_anew(&s->worker->conf, pin_fd, ret_left);
    return rv == CKR_OK ? KL_OK
                        : kl_ckr_fail(err, KL_TOKEN_UNAVAILABLE, rv, "C_DestroyObject",
                                      "objects labelled " KL_LITTER_LABEL
                                      " are left on the token: run it again");
}

CK_RV kl_trial_key(struct kl_session *s, struct kl_key_spec *spec, struct kl_key *ret,
                   bool *ret_on_token)
{
    CK_OBJECT_HANDLE private, public;
    uint8_t id[KL_KEY_ID_LEN];
    CK_RV rv = CKR_OK;
    (void)snprintf(spec->label, sizeof spec->label, KL_LITTER_LABEL);
    kl_litter_id(id);
    for (int place = (s->worker->quirks & KL_QUIRK_NO_SESSION_OBJECTS) != 0; place <= 1; place++) {
        rv = kl_create_generate(s, spec, id, place == 1, &private, &public);
        if (rv == CKR_OK)
            rv = kl_keys_read(s, private, public, id, ret);
        if (rv == CKR_OK && ret->spki_len == 0)
            rv = CKR_KEY_TYPE_INCONSISTENT;
        if (rv == CKR_OK) {
            *ret_on_token = place == 1;
            return CKR_OK;
        }
        if (place == 1)
            (void)!kl_create_destroy(s, id);
        kl_session_drop(s);
    }
    return rv;
}
