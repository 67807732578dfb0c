/* X.509: certificates and requests built by OpenSSL and signed on the token, and bundles of a
 * private key and certificates as PKCS#12 or PEM. Private to the model. Thread safe.
 * Source: RFC 5280, RFC 2986, RFC 7292, RFC 7468. */
#ifndef KL_KEYVAULT_MODEL_X509_H
#define KL_KEYVAULT_MODEL_X509_H

#include "base/buf.h"
#include "keyvault/model/cert_policy.h"

#include <openssl/x509.h>

#define KL_CHAIN_MAX 16 /* certificates in one bundle */

static inline void kl_x509_stack_free(STACK_OF(X509) * s)
{
    sk_X509_pop_free(s, X509_free);
}

KL_AUTO_DEFINE(x509, X509, X509_free);
KL_AUTO_DEFINE(x509_stack, STACK_OF(X509), kl_x509_stack_free);
KL_AUTO_DEFINE(evp_key, EVP_PKEY, EVP_PKEY_free);

/** A request for a certificate of the policy, for this key: PKCS#10 DER, appended. Token call.
 * KL_BAD_INPUT (subject or names that cannot be), KL_TOKEN_*. */
enum kl_code kl_x509_request(const struct kl_key_version *key, const struct kl_cert_policy *policy,
                             struct kl_buf *ret, struct kl_err *err) KL_MUST_USE;
/** A certificate that the key signs for itself, valid from `now` (unix seconds). As above. */
enum kl_code kl_x509_self(const struct kl_key_version *key, const struct kl_cert_policy *policy,
                          int64_t now, X509 **ret, struct kl_err *err) KL_MUST_USE;
/** Is the policy one that a certificate can be made of? KL_BAD_INPUT. */
enum kl_code kl_x509_check(const struct kl_cert_policy *policy, struct kl_err *err) KL_MUST_USE;
/** The subject as text, most specific part first as it was asked for ("CN=a, O=b"), appended. */
void kl_x509_subject(const X509 *x, struct kl_buf *out);

/** x509_sign.c: fill in the signature over what x or req holds now; one of both is NULL. */
enum kl_code kl_x509_sign(const struct kl_key_version *key, X509 *x, X509_REQ *req,
                          struct kl_err *err) KL_MUST_USE;

/** A bundle from outside: a private key (may be absent where `ret_key` is NULL), the certificate
 * that belongs to it, the rest in the order of the bundle. `bytes` is PKCS#12 or PEM. KL_BAD_INPUT
 * for a wrong password too. */
enum kl_code kl_x509_read(const void *bytes, size_t n, const char *password, EVP_PKEY **ret_key,
                          X509 **ret_leaf, STACK_OF(X509) * *ret_chain, bool *ret_pem,
                          struct kl_err *err) KL_MUST_USE;
/** The same the other way, as the value of a secret: PEM, or PKCS#12 without password in base64.
 * `key` NULL: certificates only. KL_TOO_BIG. */
enum kl_code kl_x509_write(EVP_PKEY *key, X509 *leaf, STACK_OF(X509) * chain, bool pem,
                           struct kl_secret **ret, struct kl_err *err) KL_MUST_USE;
/** A private key of the policy's type in this process. */
enum kl_code kl_x509_new_key(const struct kl_cert_policy *policy, EVP_PKEY **ret,
                             struct kl_err *err) KL_MUST_USE;
/** PKCS#8 DER. */
enum kl_code kl_x509_pkcs8(EVP_PKEY *key, struct kl_secret **ret, struct kl_err *err) KL_MUST_USE;
/** Standard base64, padded, appended. */
void kl_x509_put_b64(struct kl_buf *out, const void *bytes, size_t n);
/** A policy (as kl_cert_policy_read wants it) that says what the certificate is; a reference. */
enum kl_code kl_x509_policy_of(X509 *x, bool pem, json_t **ret, struct kl_err *err) KL_MUST_USE;

#endif
