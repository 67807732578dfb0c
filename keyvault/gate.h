/* What stands before a key operation: the table of enabled, nbf, exp and key_ops, and the wrap
 * gate: nothing is encrypted under a key version whose private half did not prove itself on the
 * token within the setting wrap-proof. Encrypting needs the public half only, so without the gate
 * data could go under a key that the token has lost. Thread safe. */
#ifndef KL_KEYVAULT_GATE_H
#define KL_KEYVAULT_GATE_H

#include "keyvault/alg.h"
#include "keyvault/failover.h"

/** May `use` be done with this key version at this time? A disabled key refuses everything; nbf and
 * exp hold back encrypt, wrapKey and sign only, so that what was protected stays readable.
 * KL_KEY_DISABLED, KL_KEY_NOT_YET_VALID, KL_KEY_EXPIRED ("on or after" exp), KL_KEY_OP_FORBIDDEN.
 * Source: Key Vault documentation, includes/key-attributes.md. */
enum kl_code kl_gate_check(const struct kl_key_version *key, enum kl_key_op use, int64_t now_unix,
                           struct kl_err *err) KL_MUST_USE;
/** "wrapKey" …: the word of key_ops and of messages. */
const char *kl_gate_word(enum kl_key_op use);

struct kl_gate; /* opaque: the canaries in flight */

/** `proof_ms`: how old a proof may be; `failover` (borrowed) carries the canaries. NULL without
 * memory. */
struct kl_gate *kl_gate_new(int64_t proof_ms, struct kl_failover *failover);
/** Only when no canary is in flight any more. */
void kl_gate_free(struct kl_gate *g);

/** Is the proof young enough? When it is past half its age a canary is sent along, so that under
 * steady use no request ever waits for one. */
bool kl_gate_open(struct kl_gate *g, const struct kl_api_alg *alg, struct kl_key_version *key);

/** The end of a proof: `err` NULL = proven; else KL_WRAP_GATE, or KL_TOKEN_BUSY. */
typedef void kl_gate_done(void *arg, const struct kl_err *err);

/** Let the token decrypt a random value that was encrypted here, and call done exactly once: on the
 * token's thread, or before this returns when nothing could be sent. Requests that wait for the
 * same key share one canary. Must not block. */
void kl_gate_prove(struct kl_gate *g, const struct kl_api_alg *alg, struct kl_key_version *key,
                   kl_gate_done *done, void *arg);

/** The private half of `key` was used with success just now. */
void kl_gate_mark(struct kl_key_version *key);

#endif
