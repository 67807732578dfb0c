/* M-of-N shares of a domain key, for a second site and for the safe. Pure functions.
 *
 * The construction is Shamir's (How to share a secret, CACM 22, 1979) byte by byte over GF(2^8)
 * with the polynomial 0x11d, share number = abscissa, secret = constant term: that of libgfshare,
 * whose gfcombine(1) opens our shares without kluis. libgfshare itself is not used, as its
 * multiplication looks up tables at places that depend on the secret; here it is done without a
 * table or a branch. */
#ifndef KL_PKCS11_WORKER_SHARE_H
#define KL_PKCS11_WORKER_SHARE_H

#include "base/buf.h"
#include "pkcs11/token.h"

#define KL_SHARES_MAX    16 /* N */
#define KL_SHARE_SET_LEN 8
#define KL_SHARE_BYTES   80 /* wrapping key, MAC key, 16 bytes of SHA-256 over id and both */
#define KL_SHARE_KEYS    64

struct kl_share {
    uint8_t set[KL_SHARE_SET_LEN];  /* random, the same in all shares of a set */
    uint8_t domain[KL_KEY_ID_LEN];  /* id of the domain key */
    unsigned number, count, needed; /* share number (1 …) of count, needed to open */
    uint8_t bytes[KL_SHARE_BYTES];  /* secret */
};

struct kl_share_set {
    struct kl_share shares[KL_SHARES_MAX];
    size_t count;
};

/** Wipe. Cleanup of KL_AUTO_SHARES. */
void kl_share_set_wipe(struct kl_share_set *set);
#define KL_AUTO_SHARES __attribute__((cleanup(kl_share_set_wipe))) struct kl_share_set

/** Split the two keys of a pair (wrapping key, then MAC key: KL_SHARE_KEYS bytes). KL_BAD_INPUT
 * unless 2 <= needed <= count <= KL_SHARES_MAX. */
enum kl_code kl_share_split(const uint8_t keys[static KL_SHARE_KEYS],
                            const uint8_t domain[static KL_KEY_ID_LEN], unsigned needed,
                            unsigned count, struct kl_share_set *ret,
                            struct kl_err *err) KL_MUST_USE;

/** The two keys from the shares of a set. KL_BAD_INPUT: too few, one twice, of different sets, or
 * they do not give what was split. */
enum kl_code kl_share_join(const struct kl_share_set *set, uint8_t ret_keys[static KL_SHARE_KEYS],
                           struct kl_err *err) KL_MUST_USE;

/** Append a share as text, the content of its file: lines `word: value`, ending with a check over
 * all of them. Wipe the buffer afterwards. */
void kl_share_print(const struct kl_share *share, struct kl_buf *out);

/** Read such a text of n bytes; `name` is for the error's text. KL_BAD_INPUT: no share, or
 * mistyped. */
enum kl_code kl_share_parse(const char *text, size_t n, const char *name, struct kl_share *ret,
                            struct kl_err *err) KL_MUST_USE;

#endif
