/* Carrying domain-backed private keys out and in, wrapped under the token's domain key. Management
 * thread only. */
#ifndef KL_PKCS11_WORKER_DOMAIN_H
#define KL_PKCS11_WORKER_DOMAIN_H

#include "pkcs11/worker/worker.h"

/* A blob is the domain key's id, the public key, then the wrapped private key: u16 little-endian
 * length of the SPKI with bit 15 set, 16 bytes id, SPKI, wrapped bytes. Without bit 15 there is no
 * id: such blobs are from when a token had one domain key, without an id. A token cannot tell the
 * public point of an unwrapped EC key. */
#define KL_DOMAIN_WRAPPED_MAX 4096

/** CKM_AES_KEY_WRAP_KWP of PKCS#11 3.0, RFC 5649; not in p11-kit 0.24's header. */
#define KL_CKM_AES_KEY_WRAP_KWP 0x210bUL

/** Try both mechanisms with this private key (of the domain profile); *ret = the one that brings it
 * back. CKR of the last failure. */
CK_RV kl_domain_probe(struct kl_session *s, CK_OBJECT_HANDLE domain, const struct kl_key *key,
                      CK_MECHANISM_TYPE *ret) KL_MUST_USE;

/** KL_CALL_WRAP into out[KL_TOKEN_MAX_INPUT]. KL_TOKEN_UNSUPPORTED for a fixed key, whatever the
 * token would do. */
enum kl_code kl_domain_wrap(struct kl_session *s, const struct kl_token_request *req, uint8_t *out,
                            size_t *ret_len, uint64_t *ret_mechanism,
                            struct kl_err *err) KL_MUST_USE;

/** KL_CALL_UNWRAP up to the object on the token; the caller checks the key, and destroys it by id
 * on any failure, this one's too. KL_BAD_INPUT: not a blob of this key and domain. */
enum kl_code kl_domain_unwrap(struct kl_session *s, const struct kl_token_request *req,
                              CK_OBJECT_HANDLE *ret_private, CK_OBJECT_HANDLE *ret_public,
                              struct kl_err *err) KL_MUST_USE;

/** KL_CALL_RESEAL into out[KL_TOKEN_MAX_INPUT]. Errors as wrap's and unwrap's; KL_NOT_FOUND when
 * the blob's domain key is not on the token. That the private key fits the public one is for the
 * caller to know, by a MAC over the blob. */
enum kl_code kl_domain_reseal(struct kl_session *s, const struct kl_token_request *req,
                              uint8_t *out, size_t *ret_len, uint64_t *ret_mechanism,
                              struct kl_err *err) KL_MUST_USE;

/** The public half of a key whose private half is on the token under this id. CKR of
 * C_CreateObject; CKR_DATA_INVALID for an SPKI that is not one of spec's kind. */
CK_RV kl_domain_put_public(struct kl_session *s, const struct kl_key_spec *spec, const uint8_t *id,
                           const uint8_t *spki, size_t n, CK_OBJECT_HANDLE *ret) KL_MUST_USE;

#endif
