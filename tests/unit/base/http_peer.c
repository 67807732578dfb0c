#include "tests/unit/base/http_peer.h"

#include "base/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct peer {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl; /* NULL: silent */
};

struct kl_http_server_config peer_config(kl_http_handler *handler, void *arg)
{
    return (struct kl_http_server_config){
        .listen = "127.0.0.1:0",
        .io_threads = 2,
        .max_header_bytes = 4096,
        .max_body_bytes = 65536,
        .max_connections = 5000,
        .max_per_address = 5000,
        .handshake_ms = 60000,
        .request_ms = 60000,
        .idle_ms = 60000,
        .handler = handler,
        .arg = arg,
    };
}

struct kl_http_server *peer_start(const char *folder, struct kl_http_server_config *config)
{
    KL_AUTO(char) cert = fixture_path(folder, "cert.pem");
    KL_AUTO(char) key = fixture_path(folder, "key.pem");
    struct kl_http_server *s = NULL;
    struct kl_err err = {0};
    SSL_CTX *ctx = NULL;
    fixture_certificate(folder);
    assert_int_equal(kl_tls_server(cert, key, &ctx, NULL), KL_OK);
    config->tls = ctx;
    if (kl_http_server_start(config, &s, &err) != KL_OK)
        fail_msg("%s", err.text);
    SSL_CTX_free(ctx);
    return s;
}

struct peer *peer_new_socket(void)
{
    const struct timeval patience = {.tv_sec = 20}; /* a test that waits this long fails */
    const int on = 1;
    struct peer *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(p->fd >= 0);
    assert_int_equal(setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    return p;
}

void peer_connect(struct peer *p, const struct kl_http_server *s)
{
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons(kl_http_server_port(s)),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(p->fd, (const struct sockaddr *)&to, sizeof to), 0);
}

bool peer_shake(struct peer *p)
{
    p->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_options(p->ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    p->ssl = SSL_new(p->ctx);
    assert_non_null(p->ssl);
    (void)SSL_set_fd(p->ssl, p->fd);
    return SSL_connect(p->ssl) == 1;
}

struct peer *peer_new_silent(const struct kl_http_server *s)
{
    struct peer *p = peer_new_socket();
    peer_connect(p, s);
    return p;
}

struct peer *peer_new(const struct kl_http_server *s)
{
    struct peer *p = peer_new_silent(s);
    if (peer_shake(p))
        return p;
    peer_free(p, false);
    return NULL;
}

void peer_free(struct peer *p, bool abort)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (p == NULL)
        return;
    if (abort)
        (void)setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    else if (p->ssl != NULL)
        (void)SSL_shutdown(p->ssl);
    (void)close(p->fd);
    SSL_free(p->ssl);
    SSL_CTX_free(p->ctx);
    free(p);
}

bool peer_try_say(struct peer *p, const char *bytes, size_t n)
{
    if (p->ssl == NULL)
        return send(p->fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n;
    return SSL_write(p->ssl, bytes, (int)n) == (int)n;
}

void peer_say(struct peer *p, const char *bytes, size_t n)
{
    assert_true(peer_try_say(p, bytes, n));
}

static int hear_some(struct peer *p, char *out, size_t room)
{
    errno = 0;
    int n = p->ssl != NULL ? SSL_read(p->ssl, out, (int)room) : (int)recv(p->fd, out, room, 0);
    if (n <= 0 && errno == EAGAIN)
        fail_msg("the server neither answers nor closes");
    return n > 0 ? n : 0;
}

size_t peer_hear_all(struct peer *p, char *out, size_t room)
{
    size_t have = 0;
    int n;
    while (have + 1 < room && (n = hear_some(p, out + have, room - 1 - have)) > 0)
        have += (size_t)n;
    out[have] = 0;
    return have;
}

bool peer_hear(struct peer *p, char *head, size_t head_room, char *body, size_t body_room,
               bool has_body)
{
    size_t have = 0;
    head[0] = body[0] = 0;
    while (strstr(head, "\r\n\r\n") == NULL) {
        assert_true(have + 1 < head_room);
        if (hear_some(p, head + have, 1) == 0)
            return false;
        head[++have] = 0;
    }
    const char *length = strstr(head, "\r\nContent-Length: ");
    size_t n = has_body && length != NULL ? (size_t)strtoul(length + 18, NULL, 10) : 0;
    assert_true(n < body_room);
    for (have = 0; have < n;) {
        int got = hear_some(p, body + have, n - have);
        if (got == 0)
            return false;
        have += (size_t)got;
    }
    body[n] = 0;
    return true;
}

int peer_ask(struct peer *p, const char *request)
{
    char head[4096], body[8192];
    bool has_body = strncmp(request, "HEAD", 4) != 0;
    if (!peer_try_say(p, request, strlen(request)) ||
        !peer_hear(p, head, sizeof head, body, sizeof body, has_body))
        return 0;
    assert_memory_equal(head, "HTTP/1.1 ", 9);
    return (int)strtol(head + 9, NULL, 10);
}
