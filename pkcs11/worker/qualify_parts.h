/* What the runner of `kluis-tokend test` and its probes share. */
#ifndef KL_PKCS11_WORKER_QUALIFY_PARTS_H
#define KL_PKCS11_WORKER_QUALIFY_PARTS_H

#include "pkcs11/worker/mech.h"
#include "pkcs11/worker/worker.h"

#define KL_ANSWER_ROOM 160

enum kl_outcome {
    KL_OUTCOME_YES,
    KL_OUTCOME_NO,
    KL_OUTCOME_NONE, /* cannot be asked of this token */
};

enum kl_weight {
    KL_WEIGHT_NEEDED, /* NO: the service cannot use the token */
    KL_WEIGHT_WANTED, /* NO: the service does without something */
    KL_WEIGHT_NOTED,  /* NO: good to know */
};

/** A run: the keys that its first probes make are there for the later ones. */
struct kl_trial {
    struct kl_session s;       /* for what is tried; dropped after a failure */
    struct kl_session keeper;  /* holds the session objects below */
    struct kl_key fixed, open; /* RSA-2048 of the two profiles */
    CK_OBJECT_HANDLE aes;      /* a wrapping key of the user's own */
    bool have_fixed, have_open, have_aes, on_token;
    CK_MECHANISM_TYPE wraps; /* how aes wraps; CKM_VENDOR_DEFINED: not at all */
    char answer[KL_ANSWER_ROOM];
};

struct kl_trial_probe {
    const char *name, *asked;
    enum kl_weight weight;
    const char *yes, *no; /* what it means for kluis */
    enum kl_outcome (*run)(struct kl_trial *t);
};

/** The probes in their order. */
extern const struct kl_trial_probe kl_trial_use[], kl_trial_guard[];
extern const size_t kl_trial_use_count, kl_trial_guard_count;

/** Word the answer. Returns the outcome, so that a probe may end with it. */
enum kl_outcome kl_trial_say(struct kl_trial *t, enum kl_outcome outcome, const char *fmt, ...)
    KL_PRINTF(3, 4);
/** The answer is this CKR; the trial's session is dropped unless it is CKR_OK. */
enum kl_outcome kl_trial_ckr(struct kl_trial *t, enum kl_outcome outcome, const char *what,
                             CK_RV rv);

#endif
