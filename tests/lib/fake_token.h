/* A token in memory, for tests that need keys but no PKCS#11 module: the same table of calls as the
 * real client, filled with OpenSSL software keys. Two fakes made with the same `domain` share their
 * domain and MAC keys, as two tokens of one site would. Answers come from a thread of its own, as
 * the real client's do. A test can make calls fail, and take the token away. */
#ifndef KL_TESTS_FAKE_TOKEN_H
#define KL_TESTS_FAKE_TOKEN_H

#include "pkcs11/token.h"

/** New fake, READY. `name` and `domain` must outlive it. Close with kl_token_close. NULL when
 * memory is short. */
struct kl_token *fake_token_new(const char *name, const char *domain);

/** The next `times` calls of this kind answer `code` and have no effect. */
void fake_token_fail(struct kl_token *t, enum kl_token_call call, enum kl_code code,
                     unsigned times);

/** As fake_token_fail, but the call takes its full effect first: the lost answer. */
void fake_token_lose_answer(struct kl_token *t, enum kl_token_call call, unsigned times);

/** Away: every submit is refused with KL_TOKEN_UNAVAILABLE; back again with true. */
void fake_token_set_ready(struct kl_token *t, bool ready);

/** What the probe says from now on (the default: everything). */
void fake_token_set_caps(struct kl_token *t, const struct kl_token_caps *caps);

/** Private keys that exist now. */
size_t fake_token_key_count(struct kl_token *t);
/** Remove a key behind the service's back. True when it was there. */
bool fake_token_remove(struct kl_token *t, const uint8_t id[static KL_KEY_ID_LEN]);
/** Leave this key out of every list, as happens to one that slips between two pages. It is there
 * all the same. */
void fake_token_overlook(struct kl_token *t, const uint8_t id[static KL_KEY_ID_LEN]);
/** Calls of this kind so far, refused ones not counted. */
unsigned fake_token_calls(struct kl_token *t, enum kl_token_call call);

#endif
