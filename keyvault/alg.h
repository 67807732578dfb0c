/* The algorithms of the API: one row for each name says what the token is asked for, which keys it
 * fits and which digest it works with. Pure tables. */
#ifndef KL_KEYVAULT_ALG_H
#define KL_KEYVAULT_ALG_H

#include "keyvault/model/object.h"

/** What an algorithm is for. */
enum kl_alg_use {
    KL_USE_CIPHER,    /* encrypt, decrypt, wrapKey, unwrapKey */
    KL_USE_SIGNATURE, /* sign, verify */
};

struct kl_api_alg {
    const char *name;        /* as in "alg": RFC 7518 names */
    enum kl_token_alg token; /* KL_ALG_NONE: known, and refused on purpose */
    enum kl_alg_use use;
    enum kl_key_type type;
    enum kl_curve curve; /* KL_CURVE_NONE for RSA */
    const char *digest;  /* OpenSSL's name */
    size_t digest_len;   /* bytes */
    bool pss;
};

/** The row of a name (exact spelling), or NULL. */
const struct kl_api_alg *kl_alg_find(const char *name);
/** The row at an index, or NULL behind the last: for tests and the API page. */
const struct kl_api_alg *kl_alg_at(size_t index);

/** The row of `name`, when it has this use and fits the key. KL_BAD_INPUT (unknown name, wrong use,
 * RSA1_5), KL_ALG_MISMATCH. */
enum kl_code kl_alg_for_key(const char *name, enum kl_alg_use use, const struct kl_key_version *key,
                            const struct kl_api_alg **ret, struct kl_err *err) KL_MUST_USE;

/** Nothing may be encrypted that the key's token cannot decrypt: KL_BAD_INPUT when its probe found
 * that it lacks this algorithm. Calls of the token find out by themselves. */
enum kl_code kl_alg_on_token(const struct kl_api_alg *alg, const struct kl_key_version *key,
                             struct kl_err *err) KL_MUST_USE;

/** Whether the token can do what a new key of this type and size is for; `caps` of a token that was
 * never up let everything pass. KL_BAD_INPUT with a sentence. */
enum kl_code kl_alg_token_fits(const struct kl_key_spec *spec, const struct kl_token_caps *caps,
                               struct kl_err *err) KL_MUST_USE;

/** Longest plaintext in bytes: k - 2 hLen - 2, of RSA1_5 k - 11 (RFC 8017 sections 7.1.1, 7.2.1).
 */
size_t kl_alg_max_plain(const struct kl_api_alg *alg, uint32_t bits);
/** Bytes of a signature: the modulus, or r || s of fixed width (RFC 7518 section 3.4). */
size_t kl_alg_signature_len(const struct kl_key_version *key);
/** Bytes of one coordinate of the curve: 32, 48, 66; 0 for none. */
size_t kl_curve_bytes(enum kl_curve curve);
/** "P-256" …; "" for none. And back: KL_CURVE_NONE when unknown. */
const char *kl_curve_name(enum kl_curve curve);
enum kl_curve kl_curve_find(const char *name);

#endif
