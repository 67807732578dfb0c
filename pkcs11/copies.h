/* Proved copies of a software token's folder. SoftHSM and its like rewrite their files in place; a
 * copy that was made, opened by a worker of its own and whose every key did its work there is what
 * an operator can go back to.
 *
 * STATE-DIR/token-copies/NAME/TIME/store is such a copy, TIME/keys names the ids of its keys. A
 * thread per token looks every two seconds whether the folder has changed, makes a new copy once
 * the changes pause, and removes the older ones beyond those to be kept, and any that holds a key
 * which was destroyed since: what was purged must not come back. When a key of the newest copy is
 * gone from the token and nobody destroyed it, no copy is made or removed any more: people must
 * look. Copies lie on the same machine: they help against a damaged folder, not against a lost
 * disk. Client side, private to this folder.
 */
#ifndef KL_PKCS11_COPIES_H
#define KL_PKCS11_COPIES_H

#include "pkcs11/client.h"

struct kl_copies; /* opaque */

/** Begin, for a client that is open. *ret stays NULL when there is nothing to copy (no store-dir,
 * none to be kept, a PIN that people type). KL_NO_MEMORY, KL_TOO_BIG (a path), KL_IO (no folder).
 */
enum kl_code kl_copies_start(struct kl_client *c, unsigned kept, struct kl_copies **ret,
                             struct kl_err *err) KL_MUST_USE;
/** A key is about to be destroyed: written down first, on disk, so that no crash lets a copy keep
 * it for good. Blocking for one fdatasync. NULL is fine. KL_IO … as errno says. */
enum kl_code kl_copies_destroying(struct kl_copies *copies, const uint8_t id[static KL_KEY_ID_LEN],
                                  struct kl_err *err) KL_MUST_USE;
/** End the thread, which may be at a copy: it is given up. NULL is fine. */
void kl_copies_stop(struct kl_copies *copies);

#endif
