/* The latch that keeps a refused PIN from ever being sent again, whatever is restarted.
 *
 * It is the file pin-refused-LABEL-SERIAL in the token's own state folder. It remembers the refused
 * PIN by one byte of a salted scrypt digest: enough to see that the PIN was changed (255 times in
 * 256; else remove the file), too little to find the PIN from the file. Not the PIN file's time: a
 * systemd credential is a new file at each start.
 */
#ifndef KL_PKCS11_WORKER_LATCH_H
#define KL_PKCS11_WORKER_LATCH_H

#include "pkcs11/worker/worker.h"

#define KL_LATCH_SALT 16

struct kl_latch {
    char shown[256]; /* the file's path for people; "" without a state folder: nothing is kept */
    char path[256];  /* how this process reaches it */
    bool set;
    uint8_t salt[KL_LATCH_SALT];
    uint8_t check;
};

/** Look whether it is set. KL_TOKEN_PIN: damaged, which counts as set. */
enum kl_code kl_latch_read(const struct kl_worker *w, struct kl_latch *ret,
                           struct kl_err *err) KL_MUST_USE;

/** Set it for this PIN, which the token refused with rv. On disk when it returns KL_OK. */
enum kl_code kl_latch_write(struct kl_latch *l, struct kl_secret *pin, CK_RV rv,
                            struct kl_err *err) KL_MUST_USE;

/** Is this the PIN that was refused? *ret_same is false where no latch is set. */
enum kl_code kl_latch_check(const struct kl_latch *l, struct kl_secret *pin, bool *ret_same,
                            struct kl_err *err) KL_MUST_USE;

#endif
