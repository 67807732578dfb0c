#include "base/http_parts.h"

#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *method_name(enum evhttp_cmd_type type)
{
    static const struct {
        enum evhttp_cmd_type type;
        const char *name;
    } rows[] = {{EVHTTP_REQ_POST, "POST"},     {EVHTTP_REQ_GET, "GET"},
                {EVHTTP_REQ_PUT, "PUT"},       {EVHTTP_REQ_PATCH, "PATCH"},
                {EVHTTP_REQ_DELETE, "DELETE"}, {EVHTTP_REQ_HEAD, "HEAD"}};
    for (size_t i = 0; i < KL_COUNT(rows); i++)
        if (rows[i].type == type)
            return rows[i].name;
    return "OPTIONS";
}

/* Does the authority, n bytes, differ from the Host header? */
static bool is_misdirected(const struct kl_http_request *req, const char *authority, size_t n)
{
    const char *host = kl_http_header(req, "Host");
    return host == NULL || strlen(host) != n || strncasecmp(host, authority, n) != 0;
}

/* Split the request target in place; absolute form (RFC 9112 section 3.2.2) loses its scheme and
 * authority. That the latter goes before Host is what not every reader knows: they must agree. */
static void split_target(struct kl_http_request *req, char *target)
{
    char *authority = target[0] != '/' ? strstr(target, "://") : NULL;
    if (authority != NULL) {
        bool https = strncasecmp(target, "https://", 8) == 0;
        target = authority + 3;
        size_t n = strcspn(target, "/?#");
        req->misdirected = !https || is_misdirected(req, target, n);
        target += n;
    }
    char *mark = strchr(target, '?');
    req->query = mark != NULL ? mark + 1 : "";
    if (mark != NULL)
        *mark = 0;
    req->path = *target != 0 ? target : "/";
}

/* Is `word` one of the comma-separated words of the value? */
static bool lists(const char *value, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = value; p != NULL && *p != 0;) {
        p += strspn(p, " \t,");
        size_t length = strcspn(p, " \t,");
        if (length == n && strncasecmp(p, word, n) == 0)
            return true;
        p += length;
    }
    return false;
}

/* HTTP/1.0 is answered as 1.1 with the connection's fate spelled out. */
static void read_versions(struct kl_http_request *req)
{
    struct evhttp_request *ev = req->ev;
    const char *connection = kl_http_header(req, "Connection");
    bool old = ev->major < 1 || (ev->major == 1 && ev->minor < 1);
    req->old = old;
    req->close = lists(connection, "close");
    req->keep_alive_10 = old && !req->close && lists(connection, "keep-alive");
    req->close = req->close || (old && !req->keep_alive_10);
    ev->major = ev->minor = 1;
    ev->flags &= ~EVHTTP_PROXY_REQUEST; /* absolute form: evhttp would close without saying so */
}

static struct kl_http_request *request_new(struct kl_http_conn *c, struct evhttp_request *ev)
{
    struct kl_http_request *req = calloc(1, sizeof *req);
    struct evbuffer *in = evhttp_request_get_input_buffer(ev);
    size_t n = evbuffer_get_length(in);
    const void *body = n > 0 ? (const void *)evbuffer_pullup(in, -1) : "";
    if (req == NULL || body == NULL) {
        free(req);
        return NULL;
    }
    req->ev = ev;
    req->conn = c;
    req->box = c->thread->box;
    req->thread = c->thread->index;
    req->method = method_name(evhttp_request_get_command(ev));
    req->tls_version = SSL_get_version(c->ssl);
    req->body = body;
    req->body_len = n;
    req->continued = c->continued;
    memcpy(req->peer, c->peer, sizeof req->peer);
    split_target(req, ev->uri);
    read_versions(req);
    (void)pthread_mutex_lock(&req->box->lock);
    req->box->refs++;
    (void)pthread_mutex_unlock(&req->box->lock);
    return req;
}

/* evhttp reads no body behind HEAD and would take it for the next request; it is lenient about the
 * lines between chunks, and knows chunks in HTTP/1.0, which does not. */
static bool is_body_ambiguous(const struct kl_http_request *req, bool length, bool coded)
{
    if (evhttp_request_get_command(req->ev) == EVHTTP_REQ_HEAD && (length || coded))
        return true;
    return coded && (req->old || req->conn->head.chunks != KL_HTTP_CHUNK_END);
}

/* What makes two readers of one connection disagree where a request ends or whom it is for, and
 * which evhttp lets pass: another transfer coding than chunked, a second length, host or
 * authorization, a blank before the colon, a length with a sign, a zero byte (RFC 9112 sections
 * 3.2, 5.1 and 6.3). */
static bool is_ambiguous(const struct kl_http_request *req)
{
    const struct evkeyval *h;
    unsigned lengths = 0, hosts = 0, callers = 0;
    bool length = false, coded = false;
    if (req->misdirected || req->conn->head.bad)
        return true;
    for (h = evhttp_request_get_input_headers(req->ev)->tqh_first; h != NULL;
         h = h->next.tqe_next) {
        if (strcasecmp(h->key, "Content-Length") == 0) {
            lengths++;
            length = h->value[strspn(h->value, "0")] != 0;
            if (h->value[strspn(h->value, "0123456789")] != 0)
                return true;
        } else if (strcasecmp(h->key, "Authorization") == 0) {
            callers++;
        } else if (strcasecmp(h->key, "Host") == 0) {
            hosts++;
        } else if (strcasecmp(h->key, "Transfer-Encoding") == 0) {
            coded = true;
            if (strcasecmp(h->value, "chunked") != 0)
                return true;
        } else if (strpbrk(h->key, " \t") != NULL || *h->key == 0) {
            return true;
        }
    }
    return lengths > 1 || hosts > 1 || callers > 1 || is_body_ambiguous(req, length, coded);
}

static void refuse(struct kl_http_request *req)
{
    static const char body[] = "{\"error\":{\"code\":\"BadParameter\",\"message\":"
                               "\"The request header is ambiguous about the request.\"}}";
    const struct kl_http_header type = {"Content-Type", "application/json; charset=utf-8"};
    req->close = true;
    kl_http_reply(req, 400, &type, 1, body, sizeof body - 1);
}

void kl_http_on_request(struct evhttp_request *ev, void *thread)
{
    struct kl_http_thread *t = thread;
    struct evhttp_connection *evcon = evhttp_request_get_connection(ev);
    struct bufferevent *bev = evhttp_connection_get_bufferevent(evcon);
    SSL *ssl = bufferevent_openssl_get_ssl(bev);
    struct kl_http_conn *c = ssl != NULL ? SSL_get_app_data(ssl) : NULL;
    struct kl_http_request *req = c != NULL ? request_new(c, ev) : NULL;
    if (req == NULL) {
        evhttp_connection_free(evcon);
        return;
    }
    /* evhttp has stopped reading. Going on costs nothing, stopping and starting two system calls a
     * request. But evhttp must not be called: it ends the process when bytes come while a request
     * is with its handler (libevent 2.1.12: read). It sets the callbacks again for answer and next
     * request. */
    bufferevent_data_cb on_write;
    void *arg;
    bufferevent_getcb(bev, NULL, &on_write, NULL, &arg);
    bufferevent_setcb(bev, NULL, on_write, NULL, arg);
    (void)bufferevent_enable(bev, EV_READ);
    kl_http_conn_enter(c, KL_HTTP_HANDLING);
    c->pending = req;
    if (is_ambiguous(req))
        refuse(req);
    else
        t->server->config.handler(req, t->server->config.arg);
}

const char *kl_http_method(const struct kl_http_request *req)
{
    return req->method;
}

const char *kl_http_path(const struct kl_http_request *req)
{
    return req->path;
}

const char *kl_http_query(const struct kl_http_request *req)
{
    return req->query;
}

const char *kl_http_header(const struct kl_http_request *req, const char *name)
{
    return evhttp_find_header(evhttp_request_get_input_headers(req->ev), name);
}

const void *kl_http_body(const struct kl_http_request *req, size_t *ret_len)
{
    *ret_len = req->body_len;
    return req->body;
}

const char *kl_http_peer(const struct kl_http_request *req)
{
    return req->peer;
}

const char *kl_http_tls_version(const struct kl_http_request *req)
{
    return req->tls_version;
}

X509 *kl_http_client_certificate(const struct kl_http_request *req, bool *ret_trusted)
{
    X509 *certificate = req->conn != NULL ? SSL_get0_peer_certificate(req->conn->ssl) : NULL;
    if (certificate != NULL)
        *ret_trusted = SSL_get_verify_result(req->conn->ssl) == X509_V_OK;
    return certificate;
}

unsigned kl_http_thread(const struct kl_http_request *req)
{
    return req->thread;
}
