/* Making and destroying key pairs: template ladder, read-back, round trip, clean-up by CKA_ID.
 * Token objects are made on the management thread only, with `creating` held. */
#ifndef KL_PKCS11_WORKER_CREATE_H
#define KL_PKCS11_WORKER_CREATE_H

#include "pkcs11/worker/worker.h"

#define KL_TEMPLATE_MAX 24

/** A template under construction, with the storage of its values. */
struct kl_template {
    CK_ATTRIBUTE attrs[KL_TEMPLATE_MAX];
    CK_ULONG count;
    CK_OBJECT_CLASS class;
    CK_KEY_TYPE type;
    CK_ULONG bits;
};

/** How much of the full template a module takes; each step leaves more out. SENSITIVE, EXTRACTABLE,
 * PRIVATE never go. */
enum kl_template_step {
    KL_TEMPLATE_FULL,
    KL_TEMPLATE_MODIFIABLE_UNSAID,
    KL_TEMPLATE_FALSE_UNSAID, /* usage flags that are false are not said (tpm2-pkcs11 1.9.0 refuses
                                 SIGN=0) */
    KL_TEMPLATE_STEPS
};

/** The private half as our profiles want it; for C_GenerateKeyPair, and with class and type (whole
 * = true) for C_UnwrapKey. Points into spec and id. */
void kl_create_private_template(struct kl_template *t, const struct kl_key_spec *spec,
                                const uint8_t id[static KL_KEY_ID_LEN], bool on_token,
                                enum kl_template_step step, bool whole);

/** The module would perhaps take a shorter template. */
bool kl_create_is_template_error(CK_RV rv);

/** C_GenerateKeyPair down the ladder. on_token = false: session objects, which go with the session.
 */
CK_RV kl_create_generate(struct kl_session *s, const struct kl_key_spec *spec,
                         const uint8_t id[static KL_KEY_ID_LEN], bool on_token,
                         CK_OBJECT_HANDLE *ret_private, CK_OBJECT_HANDLE *ret_public) KL_MUST_USE;

/** Read the private half back: SENSITIVE, EXTRACTABLE, WRAP_WITH_TRUSTED and usage as asked for.
 * KL_TOKEN_READBACK names the first attribute that differs. */
enum kl_code kl_create_check(struct kl_session *s, CK_OBJECT_HANDLE private,
                             const struct kl_key_spec *spec, struct kl_err *err) KL_MUST_USE;

/** Every algorithm that the key is for and the token can: there and back. KL_TOKEN_READBACK when
 * one fails or none is left. */
enum kl_code kl_create_round_trips(struct kl_session *s, const struct kl_key *key,
                                   struct kl_err *err) KL_MUST_USE;

/** Destroy every token object of the pair with this CKA_ID and look again. CKR_OK also when there
 * was none. */
CK_RV kl_create_destroy(struct kl_session *s, const uint8_t id[static KL_KEY_ID_LEN]) KL_MUST_USE;

/** A spec that we can ask a token for: type, size, usage, profile. KL_BAD_INPUT. */
enum kl_code kl_create_check_spec(const struct kl_key_spec *spec, struct kl_err *err) KL_MUST_USE;

#endif
