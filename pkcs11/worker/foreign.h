/* Keys that somebody else made on the token, with a CKA_ID of his own choosing. They are named by
 * an alias of 16 bytes: a digest of the CKA_ID, or of the CKA_LABEL where there is no CKA_ID.
 * Nothing here ever changes an object; only kl_foreign_destroy removes one. */
#ifndef KL_PKCS11_WORKER_FOREIGN_H
#define KL_PKCS11_WORKER_FOREIGN_H

#include "pkcs11/worker/key.h"

/** The alias of an object into id; its CKA_ID itself when that has 16 bytes. False when the object
 * has neither a CKA_ID nor a label of a sane length. The session is open. */
bool kl_foreign_alias(struct kl_session *s, CK_OBJECT_HANDLE object,
                      uint8_t id[static KL_KEY_ID_LEN]);

/** The private keys with this alias, up to two, by looking at all. */
CK_RV kl_foreign_find(struct kl_session *s, const uint8_t id[static KL_KEY_ID_LEN],
                      CK_OBJECT_HANDLE ret[static 2], CK_ULONG *ret_count) KL_MUST_USE;
/** The public keys with the CKA_ID (else label) of a private one, up to two. */
CK_RV kl_foreign_public(struct kl_session *s, CK_OBJECT_HANDLE private,
                        CK_OBJECT_HANDLE ret[static 2], CK_ULONG *ret_count) KL_MUST_USE;

/** KL_CALL_ATTACH into out[KL_TOKEN_MAX_INPUT]. */
enum kl_code kl_foreign_attach(struct kl_session *s, const struct kl_token_request *req,
                               uint8_t *out, size_t *ret_len, struct kl_err *err) KL_MUST_USE;
/** Destroy both halves of a foreign key, and look again. */
CK_RV kl_foreign_destroy(struct kl_session *s, const struct kl_key *key) KL_MUST_USE;

#endif
