/* Re-wrap: put the DEK of existing containers under another version of a KEK, in place, without
 * touching the payload.
 *
 * The DEK is unwrapped with exactly the version that its slot names, checked against the header's
 * commitment, wrapped under the target, and written to the slot that was not used, which then is
 * read back and checked. The slot that opened the container stays as it is, so at every moment at
 * least that one is good. Progress is in the containers themselves: whoever starts again skips what
 * is done. A container is locked against a second re-wrap while it is worked on (open file
 * description lock on its slots). Not thread safe per struct kl_rewrap.
 */
#ifndef KL_WRAP_REWRAP_H
#define KL_WRAP_REWRAP_H

#include "wrap/container/head.h"

struct kl_rewrap;

struct kl_rewrap_options {
    const char
        *key_url; /* target key; NULL = the one that each slot names. With a version: that one */
    const char
        *version;    /* target version; NULL = the newest. Not together with a versioned key_url */
    const char *alg; /* NULL = the algorithm of the slot */
    const char *principal; /* for the slot; NULL = not said */
    bool wipe_old;         /* zero the old slot once the new one has been unwrapped */
    bool verify_all; /* unwrap every new wrap, and open containers that say that they are under
                        the target; else the first 100 new wraps and every hundredth */
};

/** kek and the options' strings are borrowed until the end. KL_BAD_INPUT (URL, version or
 * algorithm), KL_NO_MEMORY. */
enum kl_code kl_rewrap_new(const struct kl_kek *kek, const struct kl_rewrap_options *options,
                           struct kl_rewrap **ret, struct kl_err *err) KL_MUST_USE;
void kl_rewrap_free(struct kl_rewrap *r);

struct kl_rewrap_result {
    bool changed;                   /* false: it was under the target already */
    bool wiped;                     /* the old slot was zeroed */
    uint64_t generation;            /* of the slot that counts now */
    char from[KL_SLOT_KEK_MAX + 1]; /* versioned key that opened the container */
    char to[KL_SLOT_KEK_MAX + 1];   /* versioned key that counts now */
};

/** Re-wrap one container. KL_CONFLICT: another re-wrap has it locked. KL_IO, KL_OS_DENIED; the
 * codes of kl_head_read, kl_head_unlock and of the KEK's functions. */
enum kl_code kl_rewrap_file(struct kl_rewrap *r, const char *path, struct kl_rewrap_result *ret,
                            struct kl_err *err) KL_MUST_USE;

KL_AUTO_DEFINE(rewrap, struct kl_rewrap, kl_rewrap_free);

#endif
