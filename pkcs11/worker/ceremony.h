/* What people do to domain keys by hand, with the security officer's PIN. One thread, one ceremony
 * per process. The service need not stop: it looks at the domain keys anew for each backup. */
#ifndef KL_PKCS11_WORKER_CEREMONY_H
#define KL_PKCS11_WORKER_CEREMONY_H

#include "base/buf.h"
#include "pkcs11/worker/share.h"
#include "pkcs11/worker/worker.h"

struct kl_ceremony {
    struct kl_worker_config conf;       /* module, uri, init_args, store_dir, state_dir */
    const char *pin_file, *so_pin_file; /* "": asked for at the terminal, unless by descriptor */
    int pin_fd, so_pin_fd;              /* -1 = none */
    unsigned needed, count;             /* M of N; 0: no shares */
    const char *out_dir;                /* where shares are written */
    const char *const *share_files;     /* to read */
    size_t share_file_count;
    const char *id; /* of the domain key to retire: 32 hex digits, or their beginning */
};

/** A verb. Appends to `out` one JSON object: {"token", "domainKeys": […]} as the token has them at
 * the end, and "shares": [paths] when some were written. Beside what is said below: KL_TOKEN_PIN,
 * KL_TOKEN_UNSUPPORTED (the token does not let the officer make a trusted key),
 * KL_TOKEN_UNAVAILABLE, KL_NO_SPACE, KL_IO. */
typedef enum kl_code kl_ceremony_verb(const struct kl_ceremony *c, struct kl_buf *out,
                                      struct kl_err *err);

/** Show the domain keys; needs the user PIN only. */
kl_ceremony_verb kl_ceremony_show;
/** Make the first one. With M-of-N it is made here, split, written to files and brought in;
 * without, the token makes it and nobody can ever copy it. KL_EXISTS when there is one. */
kl_ceremony_verb kl_ceremony_create;
/** Make one of the next generation; the older ones stay and open what they sealed. KL_NOT_FOUND
 * when there is none yet. */
kl_ceremony_verb kl_ceremony_rotate;
/** Bring in the domain key whose shares are read. KL_EXISTS when the token has it. */
kl_ceremony_verb kl_ceremony_import_shares;
/** Write a fresh set of shares from the shares of an old one, without a token. */
kl_ceremony_verb kl_ceremony_export_shares;
/** Destroy one that is not the current one. KL_CONFLICT for the current one, KL_NOT_FOUND. */
kl_ceremony_verb kl_ceremony_retire;

#endif
