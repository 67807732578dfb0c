/* The public half of a key as OpenSSL's object, kept per session: what a token answers is checked
 * with it. Decoding one costs as much as using it. */
#ifndef KL_PKCS11_WORKER_PUBKEY_H
#define KL_PKCS11_WORKER_PUBKEY_H

#include "pkcs11/worker/worker.h"

#include <openssl/evp.h>

/** Borrowed from the session, until it is dropped or asked for another key. NULL without memory. */
EVP_PKEY *kl_pubkey(struct kl_session *s, const struct kl_key *key);

/** RSA: whether key->size_bytes of em, to the public exponent, give cipher: only then did the right
 * private key make em of it, and without a fault. */
bool kl_pubkey_undoes(struct kl_session *s, const struct kl_key *key, const uint8_t *em,
                      const uint8_t *cipher);

#endif
