/* What all threads of one kluis-tokend share, and what each of them owns.
 *
 * struct kl_worker is filled by kl_start_* before any lane thread runs; afterwards only the members
 * behind their own lock change. struct kl_session belongs to one thread. Sessions are opened and
 * closed under session_lock (tpm2-pkcs11 1.9.0 gives two threads the same handle otherwise) and
 * thrown away after any failed operation, as no portable way to cancel one exists.
 */
#ifndef KL_PKCS11_WORKER_WORKER_H
#define KL_PKCS11_WORKER_WORKER_H

#include "pkcs11/proto.h"
#include "pkcs11/worker/canary.h"
#include "pkcs11/worker/confine.h"
#include "pkcs11/worker/key.h"
#include "pkcs11/worker/module.h"

#include <openssl/types.h>
#include <pthread.h>
#include <stdatomic.h>

struct kl_worker {
    struct kl_worker_config conf;
    struct kl_module module;
    CK_SLOT_ID slot;
    CK_TOKEN_INFO info;
    unsigned quirks;               /* bits of enum kl_quirk */
    struct kl_token_caps caps;     /* of the last probe; management thread only */
    atomic_uint algs, native_algs; /* the same as caps', for everybody */
    atomic_bool raw_rsa;           /* CKM_RSA_X_509 decrypts, and may be used */
    struct kl_keys *keys;
    struct kl_canary canary;
    pthread_mutex_t session_lock;
    CK_SESSION_HANDLE anchor; /* holds the login; never closed while serving */
    pthread_mutex_t creating; /* SoftHSM 2.6.1 loses objects when two threads create at once */
    _Atomic CK_OBJECT_HANDLE mac_key; /* CK_INVALID_HANDLE = not looked for yet */
    CK_MECHANISM_TYPE wrap_mechanism; /* as probed; CKM_VENDOR_DEFINED = none */
    struct kl_secret
        *pin; /* from its source to the login; with relogin for good, under login_lock */
    pthread_mutex_t login_lock;
    int ask_fd;                    /* lane 1, where a PIN is asked for */
    char state[KL_STATE_PATH_MAX]; /* the token's own state folder as the process reaches it, or ""
                                    */
    bool login_tried;
    atomic_bool
        condemned; /* end the process after the current answer: only a new worker can help */
};

struct kl_session {
    struct kl_worker *worker;
    CK_SESSION_HANDLE handle;
    bool open;
    bool again, retrying; /* of kl_recover_again */
    EVP_PKEY *pubkey;     /* of the key used last (pubkey.h); NULL = none */
    uint8_t pubkey_of[KL_SPKI_HASH_LEN];
};

/** The module's functions. */
static inline CK_FUNCTION_LIST *kl_f(const struct kl_session *s)
{
    return s->worker->module.f;
}

#endif
