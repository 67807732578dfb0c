#include "base/http_parts.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Beyond one request of the largest size nothing is buffered: a pipelining client that does not
 * read its answers ends here. */
#define INPUT_SLACK 65536

/* An idle connection's record buffers, 34 KiB that may hold a data key, are wiped and freed after
 * this time. Not behind each record (SSL_MODE_RELEASE_BUFFERS): a busy connection would wipe and
 * allocate them for every request. */
#define WARM_MS 50

static void forget_warmth(struct kl_http_conn *c)
{
    if (c->warm)
        TAILQ_REMOVE(&c->thread->warm, c, by_warmth);
    c->warm = false;
}

static void cool_later(struct kl_http_thread *t)
{
    const struct timeval pause = {0, WARM_MS * 1000};
    if (!event_pending(t->cool, EV_TIMEOUT, NULL))
        (void)event_add(t->cool, &pause);
}

void kl_http_conn_cool(evutil_socket_t fd, short what, void *thread)
{
    struct kl_http_thread *t = thread;
    struct kl_http_conn *c;
    int64_t now = kl_clock_mono_ms();
    (void)fd, (void)what;
    while ((c = TAILQ_FIRST(&t->warm)) != NULL && now - c->since_ms >= WARM_MS) {
        (void)SSL_free_buffers(c->ssl);
        forget_warmth(c);
    }
    if (c != NULL)
        cool_later(t);
}

void kl_http_conn_enter(struct kl_http_conn *c, enum kl_http_phase phase)
{
    c->phase = phase;
    c->since_ms = kl_clock_mono_ms();
    forget_warmth(c);
    if (phase != KL_HTTP_IDLE)
        return;
    c->warm = true;
    TAILQ_INSERT_TAIL(&c->thread->warm, c, by_warmth);
    cool_later(c->thread);
}

/* Have the task done as soon as libevent's callbacks have returned. */
static void do_soon(struct kl_http_conn *c, unsigned task)
{
    if (!c->queued) {
        c->queued = true;
        TAILQ_INSERT_TAIL(&c->thread->tasks, c, urgent);
        event_active(c->thread->urgent, 0, 0);
    }
    c->tasks |= task;
}

/* IPv4 whole, IPv6 the /64 that one customer has. */
static void address_key(const struct sockaddr_storage *from, unsigned char key[static 16])
{
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)from;
    const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)from;
    memset(key, 0, 16);
    if (from->ss_family == AF_INET)
        memcpy(key + 12, &four->sin_addr, 4);
    else if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
        memcpy(key + 12, six->sin6_addr.s6_addr + 12, 4);
    else
        memcpy(key, six->sin6_addr.s6_addr, 8);
}

/* The slot's chain that has, or would have, the key. */
static struct kl_http_address **slot_of(struct kl_http_server *s,
                                        const unsigned char key[static 16])
{
    unsigned hash = 2166136261u;
    for (int i = 0; i < 16; i++)
        hash = (hash ^ key[i]) * 16777619u;
    return &s->addresses[hash % KL_HTTP_ADDRESS_SLOTS];
}

/* Count one more connection of the address; NULL when it has its share already. */
static struct kl_http_address *enter_address(struct kl_http_server *s,
                                             const struct sockaddr_storage *from)
{
    unsigned char key[16];
    address_key(from, key);
    struct kl_http_address **slot = slot_of(s, key);
    (void)pthread_mutex_lock(&s->lock);
    struct kl_http_address *a = *slot;
    while (a != NULL && memcmp(a->key, key, sizeof key) != 0)
        a = a->next;
    if (a == NULL && s->config.max_per_address > 0 && (a = calloc(1, sizeof *a)) != NULL) {
        memcpy(a->key, key, sizeof key);
        a->next = *slot;
        *slot = a;
    }
    if (a != NULL && a->count >= s->config.max_per_address)
        a = NULL;
    else if (a != NULL)
        a->count++;
    (void)pthread_mutex_unlock(&s->lock);
    return a;
}

static void leave_address(struct kl_http_server *s, struct kl_http_address *a)
{
    (void)pthread_mutex_lock(&s->lock);
    if (--a->count == 0) {
        struct kl_http_address **at = slot_of(s, a->key);
        while (*at != a)
            at = &(*at)->next;
        *at = a->next;
        free(a);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

void kl_http_conn_balance(struct kl_http_thread *t)
{
    if (t->listener == NULL || t->drain_until_ms != 0)
        return;
    const struct kl_http_server *s = t->server;
    unsigned own = atomic_load(&t->conn_count), fewest = own;
    for (unsigned i = 0; i < s->config.io_threads; i++) {
        unsigned n = atomic_load(&s->threads[i].conn_count);
        fewest = n < fewest ? n : fewest;
    }
    atomic_store(&t->resting, own > fewest);
    if (own > fewest)
        (void)evconnlistener_disable(t->listener);
    else
        (void)evconnlistener_enable(t->listener);
}

/* One more here: those that rest may have to take the next. */
static void wake_resting(const struct kl_http_thread *t)
{
    const struct kl_http_server *s = t->server;
    const uint64_t one = 1;
    for (unsigned i = 0; i < s->config.io_threads; i++) {
        const struct kl_http_thread *other = &s->threads[i];
        if (other == t || !atomic_load(&other->resting))
            continue;
        ssize_t n = write(other->box->wake_fd, &one, sizeof one);
        (void)n;
    }
}

/* The connection's end, whoever decided it. libevent frees the rest after this. */
static void forget(struct kl_http_conn *c)
{
    struct kl_http_thread *t = c->thread;
    struct kl_http_server *s = t->server;
    if (c->queued)
        TAILQ_REMOVE(&t->tasks, c, urgent);
    forget_warmth(c);
    TAILQ_REMOVE(&t->conns, c, all);
    (void)atomic_fetch_sub(&s->connections, 1);
    (void)atomic_fetch_sub(&t->conn_count, 1);
    kl_http_conn_balance(t);
    if (c->address != NULL)
        leave_address(s, c->address);
    if (c->pending != NULL) {
        /* evhttp frees its request with the connection unless it is owned; the handler still reads
         * it. */
        evhttp_request_own(c->pending->ev);
        c->pending->conn = NULL;
    }
    (void)evbuffer_remove_cb_entry(bufferevent_get_input(c->bev), c->input_cb);
    (void)evbuffer_remove_cb_entry(bufferevent_get_output(c->bev), c->output_cb);
    SSL_set_app_data(c->ssl, NULL);
    (void)bufferevent_decref(c->bev);
    free(c);
    if (t->drain_until_ms != 0 && TAILQ_EMPTY(&t->conns))
        (void)event_base_loopexit(t->base, NULL);
}

/* evhttp_connection_free calls this first, in every state (libevent 2.1.12: read). */
static void on_close(struct evhttp_connection *evcon, void *arg)
{
    struct kl_http_conn *c = arg;
    (void)evcon;
    /* libevent closes without close_notify, which clients must take for a truncation (RFC 8446
     * section 6.1). */
    if (SSL_is_init_finished(c->ssl) && evbuffer_get_length(bufferevent_get_output(c->bev)) == 0)
        (void)SSL_shutdown(c->ssl);
    forget(c);
}

/* Bytes came in. */
static void on_input(struct evbuffer *in, const struct evbuffer_cb_info *info, void *arg)
{
    struct kl_http_conn *c = arg;
    const struct kl_http_server_config *config = &c->thread->server->config;
    if (info->n_added == 0)
        return;
    if (c->phase == KL_HTTP_GREETING || c->phase == KL_HTTP_IDLE) {
        kl_http_conn_enter(c, KL_HTTP_READING);
        kl_http_head_begin(c);
    }
    if (c->phase == KL_HTTP_READING)
        kl_http_head_input(c, in, info->n_added);
    if (evbuffer_get_length(in) > config->max_header_bytes + config->max_body_bytes + INPUT_SLACK)
        do_soon(c, KL_HTTP_TASK_CLOSE);
}

/* Status code of the answer whose first line begins there. */
static int status_at(struct evbuffer *out, size_t offset)
{
    struct evbuffer_ptr at;
    char head[20] = {0};
    (void)evbuffer_ptr_set(out, &at, offset, EVBUFFER_PTR_SET);
    (void)evbuffer_copyout_from(out, &at, head, sizeof head - 1);
    const char *blank = strchr(head, ' ');
    return blank != NULL ? (int)strtol(blank, NULL, 10) : 0;
}

/* Bytes go out, or were sent. While a request is being read nobody but evhttp writes: an interim
 * answer or an error page. */
static void on_output(struct evbuffer *out, const struct evbuffer_cb_info *info, void *arg)
{
    struct kl_http_conn *c = arg;
    if (info->n_deleted != 0)
        c->tasks &= ~(unsigned)KL_HTTP_TASK_REPLACE; /* its beginning may be out: leave it alone */
    if (c->paged && evbuffer_get_length(out) == 0)
        do_soon(c, KL_HTTP_TASK_CLOSE); /* evhttp would not after CONNECT */
    if (info->n_added == 0 || c->phase == KL_HTTP_WRITING)
        return;
    if (status_at(out, info->orig_size) < 200) {
        c->continued = true;
        return;
    }
    kl_http_conn_enter(c, KL_HTTP_WRITING);
    c->page_at = info->orig_size;
    do_soon(c, KL_HTTP_TASK_REPLACE);
}

struct bufferevent *kl_http_conn_new(struct event_base *base, void *thread)
{
    struct kl_http_thread *t = thread;
    struct kl_http_server *s = t->server;
    /* One connection per turn of the loop: so several threads share a burst. */
    (void)evconnlistener_disable(t->listener);
    event_active(t->urgent, 0, 0);
    (void)pthread_mutex_lock(&s->lock);
    SSL *ssl = SSL_new(s->tls);
    (void)pthread_mutex_unlock(&s->lock);
    struct kl_http_conn *c = calloc(1, sizeof *c);
    /* Takes ssl over, also when it fails. */
    struct bufferevent *bev =
        ssl != NULL ? bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                                     BEV_OPT_CLOSE_ON_FREE)
                    : NULL;
    if (c == NULL || bev == NULL) {
        if (bev != NULL)
            bufferevent_free(bev);
        free(c);
        return NULL; /* evhttp then goes on without TLS; kl_http_on_request refuses such a
                        connection */
    }
    bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    bufferevent_incref(bev);
    c->thread = t;
    c->bev = bev;
    c->ssl = ssl;
    c->input_cb = evbuffer_add_cb(bufferevent_get_input(bev), on_input, c);
    c->output_cb = evbuffer_add_cb(bufferevent_get_output(bev), on_output, c);
    SSL_set_app_data(ssl, c);
    TAILQ_INSERT_TAIL(&t->conns, c, all);
    (void)atomic_fetch_add(&s->connections, 1);
    (void)atomic_fetch_add(&t->conn_count, 1);
    wake_resting(t);
    kl_http_conn_enter(c, KL_HTTP_GREETING);
    do_soon(c, KL_HTTP_TASK_SETTLE);
    return bev;
}

static void write_peer(struct kl_http_conn *c, const struct sockaddr_storage *from)
{
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)from;
    const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)from;
    if (from->ss_family == AF_INET)
        (void)inet_ntop(AF_INET, &four->sin_addr, c->peer, sizeof c->peer);
    else if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
        (void)inet_ntop(AF_INET, six->sin6_addr.s6_addr + 12, c->peer, sizeof c->peer);
    else
        (void)inet_ntop(AF_INET6, &six->sin6_addr, c->peer, sizeof c->peer);
}

/* The connection now has its descriptor, and evhttp its object, which is the argument of the
 * buffer's callbacks. */
static void settle(struct kl_http_conn *c)
{
    struct kl_http_server *s = c->thread->server;
    struct sockaddr_storage from = {0};
    socklen_t size = sizeof from;
    void *evcon = NULL;
    bufferevent_getcb(c->bev, NULL, NULL, NULL, &evcon);
    if (evcon == NULL) { /* evhttp failed half-way and has freed it */
        forget(c);
        return;
    }
    c->evcon = evcon;
    evhttp_connection_set_closecb(c->evcon, on_close, c);
    if (getpeername(bufferevent_getfd(c->bev), (struct sockaddr *)(void *)&from, &size) != 0 ||
        atomic_load(&s->connections) > s->config.max_connections ||
        c->thread->drain_until_ms != 0 || (c->address = enter_address(s, &from)) == NULL) {
        evhttp_connection_free(c->evcon);
        return;
    }
    write_peer(c, &from);
}

/* evhttp's HTML page becomes our JSON; "Connection: close" is what evhttp will do in either case.
 */
static void replace_page(struct kl_http_conn *c)
{
    struct evbuffer *out = bufferevent_get_output(c->bev);
    struct evbuffer *before = evbuffer_new();
    if (before == NULL)
        return;
    int status = status_at(out, c->page_at);
    (void)evbuffer_remove_buffer(out, before, c->page_at);
    (void)evbuffer_drain(out, evbuffer_get_length(out));
    kl_http_put_page(before, status);
    (void)evbuffer_add_buffer(out, before);
    evbuffer_free(before);
    c->paged = true;
}

void kl_http_conn_tasks(evutil_socket_t fd, short what, void *thread)
{
    struct kl_http_thread *t = thread;
    struct kl_http_conn *c;
    (void)fd, (void)what;
    while ((c = TAILQ_FIRST(&t->tasks)) != NULL) {
        unsigned tasks = c->tasks;
        if ((tasks & KL_HTTP_TASK_REPLACE) != 0)
            replace_page(c);
        TAILQ_REMOVE(&t->tasks, c, urgent);
        c->queued = false;
        c->tasks = 0;
        if ((tasks & KL_HTTP_TASK_SETTLE) != 0)
            settle(c);
        else if ((tasks & KL_HTTP_TASK_CLOSE) != 0)
            evhttp_connection_free(c->evcon);
    }
    kl_http_conn_balance(t);
}

void kl_http_conn_close_idle(struct kl_http_thread *t)
{
    struct kl_http_conn *c, *next;
    for (c = TAILQ_FIRST(&t->conns); c != NULL; c = next) {
        next = TAILQ_NEXT(c, all);
        if (c->evcon != NULL && (c->phase == KL_HTTP_GREETING || c->phase == KL_HTTP_IDLE))
            evhttp_connection_free(c->evcon);
    }
}

void kl_http_conn_sweep(evutil_socket_t fd, short what, void *thread)
{
    struct kl_http_thread *t = thread;
    const struct kl_http_server_config *config = &t->server->config;
    const int64_t limits[KL_HTTP_PHASES] = {
        [KL_HTTP_GREETING] = config->handshake_ms,
        [KL_HTTP_READING] = config->request_ms,
        [KL_HTTP_HANDLING] = INT64_MAX,
        [KL_HTTP_WRITING] = config->request_ms,
        [KL_HTTP_IDLE] = config->idle_ms,
    };
    int64_t now = kl_clock_mono_ms();
    struct kl_http_conn *c, *next;
    (void)fd, (void)what;
    for (c = TAILQ_FIRST(&t->conns); c != NULL; c = next) {
        next = TAILQ_NEXT(c, all);
        if (c->evcon != NULL && now - c->since_ms >= limits[c->phase])
            evhttp_connection_free(c->evcon);
    }
    if (t->drain_until_ms != 0 && now >= t->drain_until_ms)
        (void)event_base_loopbreak(t->base);
    else
        kl_http_conn_balance(t); /* the listener may have run out of descriptors */
}
