/* A private key from outside onto the token: in the clear as PKCS#8, or wrapped under a key of the
 * token as CKM_RSA_AES_KEY_WRAP does (PKCS#11 3.0 section 2.1.21): RSA-OAEP with SHA-1 of a fresh
 * AES key, then AES-KWP (RFC 5649) of the PKCS#8. A token that has the mechanism unwraps it inside;
 * for others the AES key is decrypted by the token, and the private key passes through this
 * process's memory, which is wiped. */
#ifndef KL_PKCS11_WORKER_IMPORT_H
#define KL_PKCS11_WORKER_IMPORT_H

#include "pkcs11/worker/worker.h"

/** Whether the token unwraps CKM_RSA_AES_KEY_WRAP itself; only then a key needs CKA_UNWRAP. */
bool kl_import_is_inside(struct kl_session *s);

/** Make both objects; req->spec becomes what the key turned out to be. *ret_mechanism as
 * KL_CALL_IMPORT says. What was made stays, for the caller to judge or to destroy. KL_BAD_INPUT,
 * KL_TOKEN_*. */
enum kl_code kl_import_objects(struct kl_session *s, struct kl_token_request *req,
                               CK_OBJECT_HANDLE *ret_private, CK_OBJECT_HANDLE *ret_public,
                               uint64_t *ret_mechanism, struct kl_err *err) KL_MUST_USE;

#endif
