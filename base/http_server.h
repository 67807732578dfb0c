/* HTTPS server: libevent's evhttp over bufferevent_openssl, several event bases, answers from any
 * thread.
 *
 * Each I/O thread runs one event base; all accept from one listening socket (TCP_NODELAY set). The
 * handler runs on the I/O thread of its connection and must not block; it answers at once or hands
 * the request to another thread, and whoever finishes calls kl_http_reply exactly once. A client
 * that goes away meanwhile is no error: the reply is then dropped. What is not valid HTTP/1.x, over
 * a limit, or open to two readings (where the request ends, whom it is for) gets 400, 413, 417 or
 * 501 with a JSON body and never reaches the handler. All buffers of libevent are wiped on free,
 * since request and answer bodies hold data keys.
 */
#ifndef KL_BASE_HTTP_SERVER_H
#define KL_BASE_HTTP_SERVER_H

#include "base/err.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kl_http_server;  /* opaque */
struct kl_http_request; /* opaque; valid from the handler's call until kl_http_reply */

typedef void kl_http_handler(struct kl_http_request *req, void *arg);

struct kl_http_server_config {
    const char *listen;      /* "127.0.0.1:8443" or "[::1]:8443"; port 0 = any free one */
    unsigned io_threads;     /* at least 1 */
    SSL_CTX *tls;            /* borrowed; never NULL: there is no plain listener */
    size_t max_header_bytes; /* request line and headers together; 400 above */
    size_t max_body_bytes;   /* 413 above */
    /** May the sender of this Authorization header send a large body? NULL: everybody. Else others
     * get 413 above max_unvouched_bytes, which are read and dropped, never kept. On the I/O
     * threads. */
    bool (*vouch)(const char *authorization, void *arg);
    size_t max_unvouched_bytes;
    unsigned max_connections; /* further ones are closed at once */
    unsigned max_per_address; /* same, per client address */
    int64_t handshake_ms;     /* accept to first request byte, TLS handshake included */
    int64_t request_ms; /* first byte of a request to its last, however it drips; and once more
                           for the client to take the answer */
    int64_t idle_ms;    /* between requests */
    kl_http_handler *handler;
    void *arg;
};

/** Bind, start the I/O threads, return when accepting. *config is copied; its strings are not
 * needed afterwards. KL_CONFIG (address), KL_IO (bind), KL_NO_MEMORY. */
enum kl_code kl_http_server_start(const struct kl_http_server_config *config,
                                  struct kl_http_server **ret, struct kl_err *err) KL_MUST_USE;
/** The port that is bound. */
uint16_t kl_http_server_port(const struct kl_http_server *s);
/** Stop accepting, close idle connections, wait up to grace_ms for running requests, end the
 * threads, free. Blocking. */
void kl_http_server_stop(struct kl_http_server *s, int64_t grace_ms);
/** Use this context for connections accepted from now on (certificate reload). Borrowed reference
 * is counted up. */
void kl_http_server_set_tls(struct kl_http_server *s, SSL_CTX *tls);

/* What was asked. All strings are borrowed until the reply. */
const char *kl_http_method(const struct kl_http_request *req); /* "GET", "POST", "PUT", "PATCH",
                                                                  "DELETE", "HEAD", "OPTIONS" */
const char *kl_http_path(const struct kl_http_request *req);   /* raw, not decoded, up to "?"; "/"
                                                                  when empty */
const char *kl_http_query(const struct kl_http_request *req);  /* raw, behind "?", "" when none */
const char *kl_http_header(const struct kl_http_request *req,
                           const char *name); /* any case; NULL when absent; the first of several */
/** The whole body: *ret_len bytes, not NUL-terminated; never NULL. */
const void *kl_http_body(const struct kl_http_request *req, size_t *ret_len);
const char *kl_http_peer(const struct kl_http_request *req); /* client address without port */
const char *kl_http_tls_version(const struct kl_http_request *req); /* "TLSv1.3" */
/** The client's certificate of the TLS handshake, NULL without one; *ret_trusted: it leads to a CA
 * of the context (kl_tls_ask_clients). Borrowed; only from the handler's call, on its thread. */
X509 *kl_http_client_certificate(const struct kl_http_request *req, bool *ret_trusted);
/** Number of the connection's I/O thread: 0 … io_threads - 1. */
unsigned kl_http_thread(const struct kl_http_request *req);

struct kl_http_header {
    const char *name;  /* static; written as given: in canonical case */
    const char *value; /* one with a line break in it is not sent */
};

/** Answer and end the request's life. From any thread, exactly once. Copies everything.
 * Content-Length is set (never chunked); Content-Length, Transfer-Encoding and Connection among the
 * headers are passed over. With status 204 or 304 no body and no Content-Type goes out, to HEAD no
 * body. `headers` may be NULL when header_count is 0. */
void kl_http_reply(struct kl_http_request *req, int status, const struct kl_http_header *headers,
                   size_t header_count, const void *body, size_t body_len);

/** Between these two calls of one thread its replies are kept, so that one wake of an I/O thread
 * takes them all. A thread that holds must release soon, and before it ends. */
void kl_http_hold_replies(void);
void kl_http_release_replies(void);

#endif
