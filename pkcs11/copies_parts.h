/* What copies.c, which makes the copies of a token's folder, and copies_kept.c, which looks after
 * those that are there, share. */
#ifndef KL_PKCS11_COPIES_PARTS_H
#define KL_PKCS11_COPIES_PARTS_H

#include "pkcs11/copies.h"

#include <dirent.h>

#define KL_COPIES_KEYS_MAX (64 << 20) /* bytes of a list of keys: a million */

struct kl_copies {
    struct kl_client *client;
    char folder[1024]; /* STATE-DIR/token-copies/NAME */
    unsigned kept;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;
    int64_t copied_ns;     /* the folder's change time when the newest copy was begun */
    int64_t next_ms;       /* no copy before */
    enum kl_code last_bad; /* said once, not every two seconds */
};

struct kl_key_list {
    struct kl_token_listed *rows;
    size_t count;
};

/** Order of rows by their id, for qsort and bsearch. */
int kl_copies_by_id(const void *a, const void *b);

/** The copies by name, that is by time, the newest last; their number. Free with the next one. */
int kl_copies_list(const struct kl_copies *c, struct dirent ***ret);
void kl_copies_list_free(struct dirent **list, int count);

/** Keys do not go by themselves: whoever finds fewer must not be the one who drops the good copies.
 * KL_TOKEN_READBACK when the newest copy has keys that are not in `keys` and were never destroyed.
 */
enum kl_code kl_copies_check_vanished(const struct kl_copies *c, const struct kl_key_list *keys,
                                      struct kl_err *err) KL_MUST_USE;

/** Remove all but the newest `kept`, and whatever holds a key that was destroyed since. The newest
 * one is the one just made: it stays. */
void kl_copies_prune(struct kl_copies *c, const struct kl_key_list *keys);

#endif
