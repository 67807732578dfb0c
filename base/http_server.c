#include "base/http_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"

#include <errno.h>
#include <event2/http_struct.h>
#include <event2/thread.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void log_libevent(int severity, const char *text)
{
    (void)severity; /* what it calls a warning is a client's doing */
    kl_log(KL_LOG_DEBUG, "libevent: %s", text);
}

/* Before any other call of libevent in the process. */
static void set_up_libevent(void)
{
    event_set_mem_functions(kl_wiping_malloc, kl_wiping_realloc, kl_wiping_free);
    event_set_log_callback(log_libevent);
    (void)evthread_use_pthreads();
}

/* "127.0.0.1:8443", "[::1]:8443": numbers only, so that no resolver is asked. */
static enum kl_code resolve(const char *text, struct addrinfo **ret, struct kl_err *err)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    size_t n = colon != NULL ? (size_t)(colon - text) : 0;
    bool six = n > 2 && text[0] == '[' && text[n - 1] == ']';
    const char *port = colon != NULL ? colon + 1 : "";
    size_t digits = strspn(port, "0123456789");
    if (n == 0 || n >= sizeof host || digits == 0 || digits > 5 || port[digits] != 0 ||
        strtoul(port, NULL, 10) > UINT16_MAX)
        return kl_fail(err, KL_CONFIG, "listen", "%s is not ADDRESS:PORT", text);
    (void)snprintf(host, sizeof host, "%.*s", (int)(six ? n - 2 : n), text + six);
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                                   .ai_family = six ? AF_INET6 : AF_INET,
                                   .ai_socktype = SOCK_STREAM};
    int rc = getaddrinfo(host, port, &hints, ret);
    if (rc != 0)
        return kl_fail(err, KL_CONFIG, "getaddrinfo", "%s is not ADDRESS:PORT: %s", text,
                       gai_strerror(rc));
    return KL_OK;
}

static enum kl_code bind_socket(struct kl_http_server *s, const char *text, struct kl_err *err)
{
    struct addrinfo *where = NULL;
    enum kl_code code = resolve(text, &where, err);
    if (code != KL_OK)
        return code;
    const int on = 1;
    s->listen_fd = socket(where->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool ok = s->listen_fd >= 0 &&
              setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
              /* inherited by what is accepted; without it every answer waits for a delayed ACK */
              setsockopt(s->listen_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
              bind(s->listen_fd, where->ai_addr, where->ai_addrlen) == 0 &&
              listen(s->listen_fd, 1024) == 0;
    int failure = errno;
    freeaddrinfo(where);
    if (!ok) {
        errno = failure;
        (void)kl_fail_errno(err, "bind", "cannot listen on %s", text);
        if (err != NULL)
            err->code = KL_IO;
        return KL_IO;
    }
    struct sockaddr_storage bound = {0};
    socklen_t size = sizeof bound;
    (void)getsockname(s->listen_fd, (struct sockaddr *)(void *)&bound, &size);
    s->port =
        ntohs(bound.ss_family == AF_INET ? ((struct sockaddr_in *)(void *)&bound)->sin_port
                                         : ((struct sockaddr_in6 *)(void *)&bound)->sin6_port);
    return KL_OK;
}

/* Out of descriptors: the socket stays readable, so without a pause this would spin. The next sweep
 * listens again. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    (void)arg;
    (void)evconnlistener_disable(listener);
}

static void begin_drain(struct kl_http_thread *t, int64_t until_ms)
{
    t->drain_until_ms = until_ms;
    (void)evconnlistener_disable(t->listener);
    kl_http_conn_close_idle(t);
    if (TAILQ_EMPTY(&t->conns) || kl_clock_mono_ms() >= until_ms)
        (void)event_base_loopexit(t->base, NULL);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct kl_http_thread *t = arg;
    (void)fd, (void)what;
    kl_http_box_deliver(t->box);
    int64_t stop_at = atomic_load(&t->server->stop_at_ms);
    if (stop_at != 0 && t->drain_until_ms == 0)
        begin_drain(t, stop_at);
    else
        kl_http_conn_balance(t);
}

static void thread_done(struct kl_http_thread *t)
{
    if (t->sweep != NULL)
        kl_http_conn_tasks(-1, 0, t); /* so that every connection has its close callback */
    t->listener = NULL;
    if (t->http != NULL)
        evhttp_free(t->http); /* with its listener, then its connections */
    if (t->wake != NULL)
        event_free(t->wake);
    if (t->urgent != NULL)
        event_free(t->urgent);
    if (t->sweep != NULL)
        event_free(t->sweep);
    if (t->cool != NULL)
        event_free(t->cool);
    if (t->base != NULL)
        event_base_free(t->base); /* runs what bufferevent_free has left to do */
    if (t->box != NULL)
        kl_http_box_close(t->box);
}

/* Often enough for the shortest limit, at most once a second. */
static struct timeval sweep_period(const struct kl_http_server_config *config)
{
    int64_t ms = 1000;
    const int64_t limits[] = {config->handshake_ms, config->request_ms, config->idle_ms};
    for (size_t i = 0; i < KL_COUNT(limits); i++)
        ms = limits[i] / 4 < ms ? limits[i] / 4 : ms;
    ms = ms < 20 ? 20 : ms;
    return (struct timeval){ms / 1000, ms % 1000 * 1000};
}

static bool make_base(struct kl_http_thread *t)
{
    struct event_config *config = event_config_new();
    if (config == NULL)
        return false;
    /* One thread per base, so no locks; descriptors are never dup'ed within one base, so changes
     * may be gathered. */
    (void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    (void)event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
    t->base = event_base_new_with_config(config);
    event_config_free(config);
    /* Priority 0 for what must precede the next I/O on a connection (t->urgent); all else has the
     * default, 1. */
    return t->base != NULL && event_base_priority_init(t->base, 2) == 0;
}

static bool make_http(struct kl_http_thread *t)
{
    const struct kl_http_server_config *config = &t->server->config;
    t->http = evhttp_new(t->base);
    if (t->http == NULL)
        return false;
    evhttp_set_allowed_methods(t->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
                                            EVHTTP_REQ_PATCH | EVHTTP_REQ_DELETE | EVHTTP_REQ_HEAD |
                                            EVHTTP_REQ_OPTIONS);
    evhttp_set_max_headers_size(t->http, (ev_ssize_t)config->max_header_bytes);
    evhttp_set_max_body_size(t->http, (ev_ssize_t)config->max_body_bytes);
    evhttp_set_default_content_type(t->http, NULL);
    /* Read on before refusing a body that is too big: closing at once would reset the connection
     * under the answer. */
    (void)evhttp_set_flags(t->http, EVHTTP_SERVER_LINGERING_CLOSE);
    evhttp_set_gencb(t->http, kl_http_on_request, t);
    evhttp_set_bevcb(t->http, kl_http_conn_new, t);
    int fd = dup(t->server->listen_fd);
    struct evhttp_bound_socket *bound =
        fd >= 0 ? evhttp_accept_socket_with_handle(t->http, fd) : NULL;
    if (bound == NULL) {
        if (fd >= 0)
            (void)close(fd);
        return false;
    }
    t->listener = evhttp_bound_socket_get_listener(bound);
    evconnlistener_set_error_cb(t->listener, on_accept_error);
    return true;
}

static bool make_events(struct kl_http_thread *t)
{
    const struct timeval period = sweep_period(&t->server->config);
    t->wake = event_new(t->base, t->box->wake_fd, EV_READ | EV_PERSIST, on_wake, t);
    t->urgent = event_new(t->base, -1, 0, kl_http_conn_tasks, t);
    t->sweep = event_new(t->base, -1, EV_PERSIST, kl_http_conn_sweep, t);
    t->cool = event_new(t->base, -1, 0, kl_http_conn_cool, t);
    return t->wake != NULL && t->cool != NULL && t->urgent != NULL && t->sweep != NULL &&
           event_priority_set(t->urgent, 0) == 0 && event_add(t->wake, NULL) == 0 &&
           event_add(t->sweep, &period) == 0;
}

static void *run(void *arg)
{
    struct kl_http_thread *t = arg;
    kl_http_here = t;
    (void)event_base_dispatch(t->base);
    kl_http_here = NULL;
    return NULL;
}

static bool start_thread(struct kl_http_server *s, unsigned index)
{
    struct kl_http_thread *t = &s->threads[index];
    t->server = s;
    t->index = index;
    TAILQ_INIT(&t->conns);
    TAILQ_INIT(&t->tasks);
    TAILQ_INIT(&t->warm);
    t->box = kl_http_box_new();
    if (t->box == NULL || !make_base(t) || !make_events(t) || !make_http(t))
        return false;
    t->started = pthread_create(&t->id, NULL, run, t) == 0;
    return t->started;
}

enum kl_code kl_http_server_start(const struct kl_http_server_config *config,
                                  struct kl_http_server **ret, struct kl_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, set_up_libevent);
    struct kl_http_server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for the HTTPS server");
    s->config = *config;
    s->listen_fd = -1;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)SSL_CTX_up_ref(config->tls);
    s->tls = config->tls;
    enum kl_code code = bind_socket(s, config->listen, err);
    s->threads = code == KL_OK ? calloc(config->io_threads, sizeof *s->threads) : NULL;
    /* Signals are for the main thread. */
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    bool ok = s->threads != NULL;
    for (unsigned i = 0; ok && i < config->io_threads; i++)
        ok = start_thread(s, i);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!ok) {
        kl_http_server_stop(s, 0);
        return code != KL_OK
                   ? code
                   : kl_fail(err, KL_NO_MEMORY, "pthread_create", "cannot start the HTTPS server");
    }
    *ret = s;
    return KL_OK;
}

uint16_t kl_http_server_port(const struct kl_http_server *s)
{
    return s->port;
}

void kl_http_server_set_tls(struct kl_http_server *s, SSL_CTX *tls)
{
    (void)SSL_CTX_up_ref(tls);
    (void)pthread_mutex_lock(&s->lock);
    SSL_CTX *old = s->tls;
    s->tls = tls;
    (void)pthread_mutex_unlock(&s->lock);
    SSL_CTX_free(old);
}

void kl_http_server_stop(struct kl_http_server *s, int64_t grace_ms)
{
    unsigned count = s->threads != NULL ? s->config.io_threads : 0;
    atomic_store(&s->stop_at_ms, kl_clock_mono_ms() + grace_ms);
    for (unsigned i = 0; i < count; i++) {
        struct kl_http_thread *t = &s->threads[i];
        const uint64_t one = 1;
        ssize_t n = t->started ? write(t->box->wake_fd, &one, sizeof one) : 0;
        (void)n;
    }
    for (unsigned i = 0; i < count; i++) {
        struct kl_http_thread *t = &s->threads[i];
        if (t->started)
            (void)pthread_join(t->id, NULL);
        thread_done(t);
    }
    if (s->listen_fd >= 0)
        (void)close(s->listen_fd);
    SSL_CTX_free(s->tls);
    (void)pthread_mutex_destroy(&s->lock);
    free(s->threads);
    free(s);
}
