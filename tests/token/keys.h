/* Shorthand for the calls of a token, and OpenSSL as the other side of each. Thread safe. */
#ifndef KL_TESTS_TOKEN_KEYS_H
#define KL_TESTS_TOKEN_KEYS_H

#include "pkcs11/token.h"

#include <openssl/evp.h>

struct test_key {
    struct kl_key_ref ref;
    struct kl_key_spec spec;
    uint8_t spki[640];
    size_t spki_len;
};

/** Specs that the tests use. */
struct kl_key_spec keys_rsa(uint32_t bits, enum kl_profile profile, bool decrypt, bool sign);
struct kl_key_spec keys_ec(enum kl_curve curve, enum kl_profile profile);

/** KL_CALL_GENERATE under a random id. */
enum kl_code keys_generate(struct kl_token *t, const struct kl_key_spec *spec, struct test_key *ret,
                           struct kl_err *err);

/** Encrypt with OpenSSL; returns bytes. */
size_t keys_encrypt(const struct test_key *k, enum kl_token_alg alg, const void *plain, size_t n,
                    uint8_t out[static 512]);

/** KL_CALL_DECRYPT; *ret_len bytes into out[512]. */
enum kl_code keys_decrypt(struct kl_token *t, const struct test_key *k, enum kl_token_alg alg,
                          const uint8_t *cipher, size_t n, uint8_t *out, size_t *ret_len,
                          struct kl_err *err);

/** Encrypt here, decrypt there; fails the test when the plain text differs. Returns the decrypt's
 * code. */
enum kl_code keys_round_trip(struct kl_token *t, const struct test_key *k, enum kl_token_alg alg,
                             struct kl_err *err);

/** KL_CALL_SIGN over a digest, checked with OpenSSL. */
enum kl_code keys_sign(struct kl_token *t, const struct test_key *k, enum kl_token_alg alg,
                       bool *ret_good, struct kl_err *err);

/** A call with nothing but a key. */
enum kl_code keys_simple(struct kl_token *t, enum kl_token_call call, const struct test_key *k,
                         struct kl_err *err);

#endif
