/* Taking OAEP apart on the host, for tokens that lack the hash. Constant time as far as the block's
 * content goes (OpenSSL's own check); Valgrind proves it in tests/unit/pkcs11. Pure; any thread. */
#ifndef KL_PKCS11_WORKER_OAEP_H
#define KL_PKCS11_WORKER_OAEP_H

#include "pkcs11/worker/mech.h"

/** RFC 8017 section 7.1.2 step 3, empty label, MGF1 with the same hash. em holds k bytes, the
 * leading zero included; out has room for k bytes and is wiped on failure. KL_DECRYPT_FAILED for
 * whatever is wrong, nothing more said. */
enum kl_code kl_oaep_unpad(const struct kl_mech *m, const uint8_t *em, size_t k, uint8_t *out,
                           size_t *ret_len) KL_MUST_USE;

/** The part of kl_oaep_unpad that sees the block: bytes of the text, or a negative number. No
 * branch and no address depends on the block; the caller may branch on the number, which is public.
 */
int kl_oaep_check(const struct kl_mech *m, const uint8_t *em, size_t k, uint8_t *out);

#endif
