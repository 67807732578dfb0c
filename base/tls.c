#include "base/tls.h"

#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

/* TLS 1.2 keeps only forward-secret AEAD suites; the three suites of TLS 1.3 are all of that kind.
 */
static const char tls12_suites[] = "ECDHE+AESGCM:ECDHE+CHACHA20";
static const char groups[] = "X25519:P-256:P-384";
static const unsigned char session_context[] = "kluis";

/* A key file with a passphrase must fail, never ask on a terminal. */
static int no_passphrase(char *out, int room, int writing, void *arg)
{
    (void)out, (void)room, (void)writing, (void)arg;
    return -1;
}

/* HTTP/1.1 is what is spoken; a client that offers only other protocols is told so in the handshake
 * (RFC 7301). */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *offered, unsigned offered_len, void *arg)
{
    static const unsigned char spoken[] = "\x08http/1.1";
    unsigned char *chosen = NULL;
    (void)ssl, (void)arg;
    int rc =
        SSL_select_next_proto(&chosen, out_len, spoken, sizeof spoken - 1, offered, offered_len);
    if (rc != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* The operating system's reason, which OpenSSL's own error hides. */
static enum kl_code check_readable(const char *path, const char *what, struct kl_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        (void)kl_fail_errno(err, "open", "%s %s cannot be read", what, path);
        if (err != NULL)
            err->code = KL_CONFIG;
        return KL_CONFIG;
    }
    (void)close(fd);
    return KL_OK;
}

static enum kl_code fail_config(struct kl_err *err, const char *op, const char *what,
                                const char *path, const char *fault)
{
    (void)kl_fail_ossl(err, op, "%s %s %s", what, path, fault);
    if (err != NULL)
        err->code = KL_CONFIG;
    return KL_CONFIG;
}

static enum kl_code load_identity(SSL_CTX *ctx, const char *chain_path, const char *key_path,
                                  struct kl_err *err)
{
    if (check_readable(chain_path, "certificate file", err) != KL_OK ||
        check_readable(key_path, "key file", err) != KL_OK)
        return KL_CONFIG;
    if (SSL_CTX_use_certificate_chain_file(ctx, chain_path) != 1)
        return fail_config(err, "SSL_CTX_use_certificate_chain_file", "certificate file",
                           chain_path, "holds no usable PEM certificate");
    if (SSL_CTX_use_PrivateKey_file(ctx, key_path, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1)
        return fail_config(err, "SSL_CTX_use_PrivateKey_file", "key file", key_path,
                           "holds no PEM private key that belongs to the certificate");
    return KL_OK;
}

static bool set_policy(SSL_CTX *ctx)
{
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                       SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    /* Resumption by ticket only: no table of sessions that a flood could fill. */
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ctx, tls12_suites) == 1 &&
           SSL_CTX_set1_groups_list(ctx, groups) == 1 && SSL_CTX_set_num_tickets(ctx, 1) == 1 &&
           SSL_CTX_set_session_id_context(ctx, session_context, sizeof session_context - 1) == 1;
}

enum kl_code kl_tls_server(const char *chain_path, const char *key_path, SSL_CTX **ret,
                           struct kl_err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL || !set_policy(ctx)) {
        SSL_CTX_free(ctx);
        return kl_fail_ossl(err, "SSL_CTX_new", "the TLS library refuses the server's settings");
    }
    enum kl_code code = load_identity(ctx, chain_path, key_path, err);
    if (code != KL_OK) {
        SSL_CTX_free(ctx);
        return code;
    }
    *ret = ctx;
    return KL_OK;
}

int64_t kl_tls_days_left(const SSL_CTX *ctx)
{
    const X509 *x = SSL_CTX_get0_certificate(ctx);
    int days = 0, seconds = 0;
    if (x == NULL || ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x)) != 1)
        return -1;
    return seconds < 0 ? (int64_t)days - 1 : days;
}

/* The handshake goes on whatever the chain is worth: a certificate may be known by its thumbprint
 * alone. OpenSSL keeps the error for SSL_get_verify_result. */
static int note_and_go_on(int good, X509_STORE_CTX *store)
{
    (void)good, (void)store;
    return 1;
}

enum kl_code kl_tls_ask_clients(SSL_CTX *ctx, const char *ca_path, struct kl_err *err)
{
    if (ca_path != NULL && check_readable(ca_path, "CA file", err) != KL_OK)
        return KL_CONFIG;
    if (ca_path != NULL && SSL_CTX_load_verify_file(ctx, ca_path) != 1)
        return fail_config(err, "SSL_CTX_load_verify_file", "CA file", ca_path,
                           "holds no usable PEM certificate");
    /* No list of CAs is sent along: clients would hold back a certificate of another one. */
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, note_and_go_on);
    return KL_OK;
}
