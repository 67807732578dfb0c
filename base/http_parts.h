/* The inside of the HTTPS server, shared by http_server.c (life and threads), http_conn.c
 * (connections, limits), http_head.c (a look ahead of evhttp), http_request.c (requests) and
 * http_reply.c (answers). Everything of a kl_http_thread, its connections included, is touched on
 * that thread only; what others may touch is in kl_http_server behind its lock, and in kl_http_box
 * behind its own.
 */
#ifndef KL_BASE_HTTP_PARTS_H
#define KL_BASE_HTTP_PARTS_H

#include "base/buf.h"
#include "base/http_server.h"

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#define KL_HTTP_ADDRESS_SLOTS 1024

/** Where a connection stands; each phase but HANDLING has a time limit that the sweep enforces. */
enum kl_http_phase {
    KL_HTTP_GREETING, /* accepted, no request byte yet */
    KL_HTTP_READING,  /* from a request's first byte to its last */
    KL_HTTP_HANDLING, /* with the handler */
    KL_HTTP_WRITING,  /* answer given, not all of it taken by the kernel */
    KL_HTTP_IDLE,     /* between requests */
    KL_HTTP_PHASES
};

/** What the thread must do to a connection outside of libevent's callbacks. */
enum {
    KL_HTTP_TASK_SETTLE = 1,  /* just accepted: learn the peer, check the limits */
    KL_HTTP_TASK_REPLACE = 2, /* evhttp wrote an error page of its own: put ours in its place */
    KL_HTTP_TASK_CLOSE = 4,
};

/** How far the chunks of a request body have come. */
enum kl_http_chunks {
    KL_HTTP_CHUNK_NONE, /* not chunked, or the head did not come in one piece */
    KL_HTTP_CHUNK_SIZE,
    KL_HTTP_CHUNK_SIZE_LF,
    KL_HTTP_CHUNK_DATA,
    KL_HTTP_CHUNK_DATA_LF,
    KL_HTTP_CHUNK_LAST_CR,
    KL_HTTP_CHUNK_LAST_LF,
    KL_HTTP_CHUNK_END,
    KL_HTTP_CHUNK_BAD
};

/** What was seen of the request that is coming in. */
struct kl_http_head {
    bool seen; /* its head lay in the buffer as a whole */
    bool bad;  /* and has a zero byte, which evhttp takes for an end */
    enum kl_http_chunks chunks;
    unsigned digits; /* of the chunk size so far */
    uint64_t left;   /* bytes of this chunk */
};

struct kl_http_thread;

struct kl_http_conn {
    struct kl_http_thread *thread;
    struct bufferevent *bev;         /* own reference */
    struct evhttp_connection *evcon; /* NULL until settled */
    struct evbuffer_cb_entry *input_cb, *output_cb;
    SSL *ssl; /* of bev */
    struct kl_http_request *pending;
    struct kl_http_address *address; /* NULL until counted */
    enum kl_http_phase phase;
    struct kl_http_head head;
    int64_t since_ms; /* when the phase began */
    unsigned tasks;
    bool queued;    /* in thread->tasks */
    bool continued; /* evhttp has sent "100 Continue" for this request */
    bool paged;     /* our error page is on its way: the connection ends behind it */
    size_t page_at; /* TASK_REPLACE: where in the output evhttp's page begins */
    char peer[INET6_ADDRSTRLEN];
    bool warm; /* idle, and its record buffers still hold what went through them */
    TAILQ_ENTRY(kl_http_conn) all, urgent, by_warmth;
};

/** Replies on their way to an I/O thread. Lives as long as the thread or any request of it. */
struct kl_http_box {
    pthread_mutex_t lock;
    struct kl_http_request *first, **last;
    int wake_fd;
    bool woken, closed;
    unsigned refs;
};

struct kl_http_thread {
    struct kl_http_server *server;
    unsigned index;
    pthread_t id;
    bool started;
    struct event_base *base;
    struct evhttp *http;
    struct evconnlistener *listener;
    struct event *wake, *urgent, *sweep, *cool;
    struct kl_http_box *box;
    TAILQ_HEAD(, kl_http_conn) conns, tasks, warm; /* warm: longest idle first */
    int64_t drain_until_ms;                        /* 0 = not stopping */
    /* read by the other threads, to share connections out */
    atomic_uint conn_count;
    atomic_bool resting; /* has more connections than another, so does not accept */
};

/** Connections of one client address (one /64 of IPv6). */
struct kl_http_address {
    unsigned char key[16];
    unsigned count;
    struct kl_http_address *next;
};

struct kl_http_server {
    struct kl_http_server_config config; /* strings not kept */
    uint16_t port;
    int listen_fd;
    struct kl_http_thread *threads;
    atomic_uint connections;
    atomic_llong stop_at_ms; /* 0 = running; else when the grace ends */
    pthread_mutex_t lock;    /* of what follows */
    SSL_CTX *tls;
    struct kl_http_address *addresses[KL_HTTP_ADDRESS_SLOTS];
};

struct kl_http_request {
    struct evhttp_request *ev;
    struct kl_http_conn *conn; /* NULL once the client has gone */
    struct kl_http_box *box;
    struct kl_http_request *next; /* in the box */
    const char *method, *path, *query, *tls_version;
    const void *body;
    size_t body_len;
    unsigned thread;
    int status;
    const char *first_header; /* static; NULL = the answer has none */
    struct kl_buf answer;     /* its value and the other headers, NUL, body; may hold a data key */
    size_t body_at;
    bool close, old, keep_alive_10, continued;
    bool misdirected; /* absolute target that Host does not agree with */
    char peer[INET6_ADDRSTRLEN];
};

/** evhttp's callback for a new connection: makes its TLS buffer. */
struct bufferevent *kl_http_conn_new(struct event_base *base, void *thread);
/** Accept, or leave it to a thread that has fewer connections. Called whenever either may have
 * changed. */
void kl_http_conn_balance(struct kl_http_thread *t);
/** Handler of thread->urgent. */
void kl_http_conn_tasks(evutil_socket_t fd, short what, void *thread);
/** Handler of thread->cool: wipes the record buffers of connections that fell idle. */
void kl_http_conn_cool(evutil_socket_t fd, short what, void *thread);
/** Handler of thread->sweep: ends what is over its time. */
void kl_http_conn_sweep(evutil_socket_t fd, short what, void *thread);
void kl_http_conn_enter(struct kl_http_conn *c, enum kl_http_phase phase);
/** Close what waits for a request; used when stopping. */
void kl_http_conn_close_idle(struct kl_http_thread *t);

/** A request begins: nothing is known of it yet. */
void kl_http_head_begin(struct kl_http_conn *c);
/** The last `added` bytes of `in` are new. Called before evhttp sees them. A head that comes in
 * pieces is not read: its body must be small and not chunked. */
void kl_http_head_input(struct kl_http_conn *c, struct evbuffer *in, size_t added);

/** evhttp's callback for a complete request. */
void kl_http_on_request(struct evhttp_request *ev, void *thread);
/** Write the error page of ours for a status that evhttp came up with. */
void kl_http_put_page(struct evbuffer *out, int status);

struct kl_http_box *kl_http_box_new(void);
/** Send everything that is in the box; on its thread. */
void kl_http_box_deliver(struct kl_http_box *b);
/** The thread ends: later replies go nowhere. Drops the thread's reference. */
void kl_http_box_close(struct kl_http_box *b);
/** The thread whose loop runs on this thread of the process, or NULL. */
extern _Thread_local struct kl_http_thread *kl_http_here;

#endif
