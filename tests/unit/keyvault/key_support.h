/* cmocka with what it needs, and key versions on a token in memory, as the model would hand them
 * out. */
#ifndef KL_TESTS_KEY_SUPPORT_H
#define KL_TESTS_KEY_SUPPORT_H

#include "keyvault/model/object.h"
#include "tests/lib/fake_token.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

/** A new key on the token: enabled, every operation of its type, never proven. bits for RSA, curve
 * for EC. End with kl_key_version_unref. */
struct kl_key_version *key_on(struct kl_token *t, uint32_t bits, enum kl_curve curve);

#endif
