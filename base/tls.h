/* TLS contexts for the server: TLS 1.2 (ECDHE-AEAD) and 1.3 only, no compression, no renegotiation,
 * a session-id context, one ticket. Thread safe after creation. The reasons, with figures:
 * base/README.md. */
#ifndef KL_BASE_TLS_H
#define KL_BASE_TLS_H

#include "base/err.h"

#include <openssl/ssl.h>

/** Server context from a PEM certificate chain and private key. KL_CONFIG names the file that is
 * wrong (missing, not readable, key and certificate do not belong together). Free with
 * SSL_CTX_free. */
enum kl_code kl_tls_server(const char *chain_path, const char *key_path, SSL_CTX **ret,
                           struct kl_err *err) KL_MUST_USE;

/** Whole days that the context's own certificate is still good for; negative when it expired. */
int64_t kl_tls_days_left(const SSL_CTX *ctx);

/** Make the context ask clients for a certificate, and let in those without one too. Whoever shows
 * one holds its key; whether it leads to a CA of `ca_path` (PEM; NULL = none is known) is what
 * SSL_get_verify_result says. KL_CONFIG names a file that is wrong. */
enum kl_code kl_tls_ask_clients(SSL_CTX *ctx, const char *ca_path, struct kl_err *err) KL_MUST_USE;

#endif
