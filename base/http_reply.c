/* The way back: an answer made on any thread, given to evhttp on its connection's thread. */
#include "base/http_parts.h"

#include "base/buf.h"
#include "base/secret.h"

#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <openssl/err.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* Head and body up to this size leave in one TLS record. */
#define ONE_RECORD 15000
#define HEAD_USUAL 1024 /* bytes of our headers, so that one allocation does */

_Thread_local struct kl_http_thread *kl_http_here;

static const char *phrase_of(int status)
{
    /* What evhttp has no words for, or old ones. */
    static const struct {
        int status;
        const char *phrase;
    } rows[] = {{409, "Conflict"},
                {413, "Content Too Large"},
                {422, "Unprocessable Content"},
                {428, "Precondition Required"},
                {429, "Too Many Requests"},
                {431, "Request Header Fields Too Large"}};
    for (size_t i = 0; i < KL_COUNT(rows); i++)
        if (rows[i].status == status)
            return rows[i].phrase;
    return NULL;
}

void kl_http_put_page(struct evbuffer *out, int status)
{
    static const struct {
        int status;
        const char *phrase, *message;
    } rows[] = {
        {413, "Content Too Large",
         "The request body is larger than this server accepts, or than it "
         "accepts without a valid access token."},
        {417, "Expectation Failed", "The Expect header is not understood."},
        {501, "Not Implemented", "The request method is not supported."},
        {400, "Bad Request", "The request is not valid HTTP/1.1 or its header is too large."},
    };
    size_t row = 0;
    while (row < KL_COUNT(rows) - 1 && rows[row].status != status)
        row++;
    static const char form[] = "{\"error\":{\"code\":\"BadParameter\",\"message\":\"%s\"}}";
    int n = snprintf(NULL, 0, form, rows[row].message);
    (void)evbuffer_add_printf(out,
                              "HTTP/1.1 %d %s\r\n"
                              "Content-Type: application/json; charset=utf-8\r\n"
                              "Content-Length: %d\r\n"
                              "Connection: close\r\n\r\n",
                              rows[row].status, rows[row].phrase, n);
    (void)evbuffer_add_printf(out, form, rows[row].message);
}

struct kl_http_box *kl_http_box_new(void)
{
    struct kl_http_box *b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    b->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (b->wake_fd < 0) {
        free(b);
        return NULL;
    }
    (void)pthread_mutex_init(&b->lock, NULL);
    b->last = &b->first;
    b->refs = 1;
    return b;
}

static void box_unref(struct kl_http_box *b)
{
    (void)pthread_mutex_lock(&b->lock);
    bool last = --b->refs == 0;
    (void)pthread_mutex_unlock(&b->lock);
    if (!last)
        return;
    (void)close(b->wake_fd);
    (void)pthread_mutex_destroy(&b->lock);
    free(b);
}

static void request_free(struct kl_http_request *req)
{
    box_unref(req->box);
    kl_buf_wipe(&req->answer);
    free(req);
}

/* The answer is with the kernel; evhttp goes on to the next request right after this. */
static void on_complete(struct evhttp_request *ev, void *arg)
{
    struct kl_http_conn *c = arg;
    (void)ev;
    c->continued = false;
    struct evbuffer *in = bufferevent_get_input(c->bev);
    size_t more = evbuffer_get_length(in);
    kl_http_conn_enter(c, more > 0 ? KL_HTTP_READING : KL_HTTP_IDLE);
    kl_http_head_begin(c);
    if (more > 0)
        kl_http_head_input(c, in, more);
}

/* evhttp leaves head and body in pieces, each of which would become a TLS record and a write of its
 * own. */
static void join_pieces(struct kl_http_conn *c)
{
    struct evbuffer *out = bufferevent_get_output(c->bev);
    size_t n = evbuffer_get_length(out);
    (void)evbuffer_pullup(out, (ev_ssize_t)(n < ONE_RECORD ? n : ONE_RECORD));
}

/* libevent would first have the kernel say that the socket takes bytes: three system calls that an
 * answer of one record does not need. What the kernel does not take now stays for libevent, whose
 * next SSL_write then is the same one again (libevent 2.1.12: read). */
static void write_now(struct kl_http_conn *c)
{
    struct evbuffer *out = bufferevent_get_output(c->bev);
    size_t n = evbuffer_get_length(out);
    if (n > ONE_RECORD || evbuffer_get_contiguous_space(out) != n || !SSL_is_init_finished(c->ssl))
        return;
    ERR_clear_error();
    int sent = SSL_write(c->ssl, evbuffer_pullup(out, (ev_ssize_t)n), (int)n);
    if (sent <= 0)
        return;
    (void)evbuffer_drain(out, (size_t)sent);
    if ((size_t)sent == n)
        bufferevent_trigger(c->bev, EV_WRITE, BEV_OPT_DEFER_CALLBACKS);
}

static char *copy_of(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = kl_wiping_malloc(size);
    return copy != NULL ? memcpy(copy, text, size) : NULL;
}

/* evhttp_add_header without its look at the value, which several headers in one would not pass.
 * Takes the value over. evhttp frees all three by the functions that it was given. */
static void add_ready(struct evkeyvalq *out, const char *name, char *value)
{
    struct evkeyval *h = kl_wiping_malloc(sizeof *h);
    char *key = copy_of(name);
    if (h == NULL || key == NULL || value == NULL) {
        kl_wiping_free(h);
        kl_wiping_free(key);
        kl_wiping_free(value);
        return;
    }
    *h = (struct evkeyval){.key = key, .value = value};
    TAILQ_INSERT_TAIL(out, h, next);
}

/* Once a second rather than once an answer. */
static const char *date_now(void)
{
    static _Thread_local time_t at;
    static _Thread_local char text[32];
    time_t now = time(NULL);
    struct tm utc;
    if (now != at && gmtime_r(&now, &utc) != NULL) {
        (void)strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
        at = now;
    }
    return text;
}

/* The answer's bytes to evhttp. Here, and not where it was made: what one thread allocates and
 * another frees costs both. */
static void fill(struct kl_http_request *req)
{
    struct evkeyvalq *out = evhttp_request_get_output_headers(req->ev);
    const char *bytes = kl_buf_text(&req->answer);
    size_t body_len = req->answer.len - req->body_at;
    if (req->first_header != NULL)
        add_ready(out, req->first_header, copy_of(bytes));
    if (req->status != 204 && req->status != 304) {
        char number[24];
        (void)snprintf(number, sizeof number, "%zu", body_len);
        add_ready(out, "Content-Length", copy_of(number));
        if (body_len > 0 && evhttp_request_get_command(req->ev) != EVHTTP_REQ_HEAD)
            (void)evbuffer_add(evhttp_request_get_output_buffer(req->ev), bytes + req->body_at,
                               body_len);
    }
    add_ready(out, "Date", copy_of(date_now()));
}

/* Give the finished answer to evhttp; on the connection's thread. Frees req. */
static void send_reply(struct kl_http_request *req)
{
    struct kl_http_conn *c = req->conn;
    struct evhttp_request *ev = req->ev;
    if (c == NULL) { /* the client has gone; evhttp has let go of its request */
        evhttp_request_free(ev);
        request_free(req);
        return;
    }
    fill(req);
    struct evkeyvalq *out = evhttp_request_get_output_headers(ev);
    if (req->close || atomic_load(&c->thread->server->stop_at_ms) != 0)
        (void)evhttp_add_header(out, "Connection", "close");
    else if (req->keep_alive_10)
        (void)evhttp_add_header(out, "Connection", "keep-alive");
    bool alone = evbuffer_get_length(bufferevent_get_output(c->bev)) == 0;
    c->pending = NULL;
    kl_http_conn_enter(c, KL_HTTP_WRITING);
    evhttp_request_set_on_complete_cb(ev, on_complete, c);
    evhttp_send_reply(ev, req->status, phrase_of(req->status), NULL);
    join_pieces(c);
    if (alone)
        write_now(c);
    request_free(req);
}

void kl_http_box_deliver(struct kl_http_box *b)
{
    uint64_t count;
    ssize_t got = read(b->wake_fd, &count, sizeof count);
    (void)got; /* nothing there is fine */
    (void)pthread_mutex_lock(&b->lock);
    struct kl_http_request *req = b->first;
    b->first = NULL;
    b->last = &b->first;
    b->woken = false;
    (void)pthread_mutex_unlock(&b->lock);
    while (req != NULL) {
        struct kl_http_request *next = req->next;
        send_reply(req);
        req = next;
    }
}

void kl_http_box_close(struct kl_http_box *b)
{
    (void)pthread_mutex_lock(&b->lock);
    b->closed = true;
    (void)pthread_mutex_unlock(&b->lock);
    kl_http_box_deliver(b); /* no connection is left: this only frees */
    box_unref(b);
}

#define HELD_MAX 16 /* I/O threads whose wakes one thread holds back; more are woken at once */

static _Thread_local struct {
    bool on;
    size_t count;
    struct kl_http_box *boxes[HELD_MAX]; /* with a reference each */
} held;

static void wake(struct kl_http_box *b)
{
    const uint64_t one = 1;
    ssize_t n = write(b->wake_fd, &one, sizeof one);
    (void)n;
}

/* With the box's lock held: its thread may not be there to take the reply away yet. */
static void wake_or_hold(struct kl_http_box *b)
{
    b->woken = true;
    if (held.on && held.count < HELD_MAX) {
        b->refs++;
        held.boxes[held.count++] = b;
    } else {
        wake(b);
    }
}

void kl_http_hold_replies(void)
{
    held.on = true;
}

void kl_http_release_replies(void)
{
    held.on = false;
    for (; held.count > 0; held.count--) {
        struct kl_http_box *b = held.boxes[held.count - 1];
        wake(b);
        box_unref(b);
    }
}

static void put_in_box(struct kl_http_request *req)
{
    struct kl_http_box *b = req->box;
    (void)pthread_mutex_lock(&b->lock);
    bool closed = b->closed;
    if (!closed) {
        *b->last = req;
        b->last = &req->next;
        if (!b->woken) /* under the lock: the box cannot go away meanwhile */
            wake_or_hold(b);
    }
    (void)pthread_mutex_unlock(&b->lock);
    if (closed) {
        evhttp_request_free(req->ev);
        request_free(req);
    }
}

/* Headers that the server itself decides about. */
static bool is_reserved(const char *name)
{
    return strcasecmp(name, "Content-Length") == 0 || strcasecmp(name, "Transfer-Encoding") == 0 ||
           strcasecmp(name, "Connection") == 0;
}

/* evhttp makes three allocations and a formatted print of each header. Ours are sane, so all of
 * them stand behind the first one's name. A NUL ends them. */
static void put_headers(struct kl_http_request *req, bool no_content,
                        const struct kl_http_header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct kl_http_header *h = &headers[i];
        if (is_reserved(h->name) || (no_content && strcasecmp(h->name, "Content-Type") == 0) ||
            strpbrk(h->value, "\r\n") != NULL)
            continue;
        if (req->first_header != NULL) {
            kl_buf_puts(&req->answer, "\r\n");
            kl_buf_puts(&req->answer, h->name);
            kl_buf_puts(&req->answer, ": ");
        } else {
            req->first_header = h->name;
        }
        kl_buf_puts(&req->answer, h->value);
    }
    kl_buf_putc(&req->answer, 0);
}

void kl_http_reply(struct kl_http_request *req, int status, const struct kl_http_header *headers,
                   size_t header_count, const void *body, size_t body_len)
{
    req->answer = KL_BUF_INIT(SIZE_MAX / 2);
    kl_buf_reserve(&req->answer, HEAD_USUAL + body_len);
    put_headers(req, status == 204 || status == 304, headers, header_count);
    req->body_at = req->answer.len;
    kl_buf_put(&req->answer, body, body_len);
    req->status = status;
    if (kl_buf_failed(&req->answer)) { /* no memory for an answer: the client learns that much */
        kl_buf_wipe(&req->answer);
        req->first_header = NULL;
        req->body_at = 0;
        req->status = 503;
    }
    /* Behind a "100 Continue" a callback of libevent for its sending may still be due, and would
     * take our answer for sent: let a turn of the loop pass (libevent 2.1.12: read). */
    bool direct = kl_http_here != NULL && kl_http_here->box == req->box && !req->continued;
    if (direct)
        send_reply(req);
    else
        put_in_box(req);
}
