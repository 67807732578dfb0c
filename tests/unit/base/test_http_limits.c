#include "tests/unit/base/http_peer.h"

#include "base/clock.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const char get[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

static void at_once(struct kl_http_request *req, void *arg)
{
    (void)arg;
    kl_http_reply(req, 200, NULL, 0, "ok", 2);
}

/* Requests that wait until a test lets them go; answered by another thread, last come first served.
 */
struct desk {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct kl_http_request *held[4096];
    unsigned count;
    atomic_uint seen;
};

static void desk_init(struct desk *d)
{
    memset(d, 0, sizeof *d);
    (void)pthread_mutex_init(&d->lock, NULL);
    (void)pthread_cond_init(&d->changed, NULL);
}

static void hold(struct kl_http_request *req, void *arg)
{
    struct desk *d = arg;
    (void)pthread_mutex_lock(&d->lock);
    d->held[d->count++] = req;
    (void)atomic_fetch_add(&d->seen, 1);
    (void)pthread_cond_broadcast(&d->changed);
    (void)pthread_mutex_unlock(&d->lock);
}

static void desk_wait(struct desk *d, unsigned count)
{
    (void)pthread_mutex_lock(&d->lock);
    while (d->count < count)
        (void)pthread_cond_wait(&d->changed, &d->lock);
    (void)pthread_mutex_unlock(&d->lock);
}

static unsigned desk_answer(struct desk *d)
{
    struct kl_http_request *all[4096];
    (void)pthread_mutex_lock(&d->lock);
    unsigned count = d->count;
    memcpy(all, d->held, count * sizeof all[0]);
    d->count = 0;
    (void)pthread_mutex_unlock(&d->lock);
    for (unsigned i = count; i-- > 0;) {
        size_t n = 0;
        const char *body = kl_http_body(all[i], &n); /* still there, whatever the client did */
        const struct kl_http_header header = {"X-Path", kl_http_path(all[i])};
        kl_http_reply(all[i], 200, &header, 1, body, n);
    }
    return count;
}

static void test_base_http_limits__answers_from_another_thread(void **state)
{
    struct desk d;
    desk_init(&d);
    struct kl_http_server_config config = peer_config(hold, &d);
    struct kl_http_server *s = peer_start(*state, &config);
    struct peer *peers[50];
    char text[200], head[4096], body[4096], expected[32];
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 50; i++) {
            if (round == 0)
                peers[i] = peer_new(s);
            int n =
                snprintf(text, sizeof text,
                         "POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nbody%02d", i, i);
            peer_say(peers[i], text, (size_t)n);
        }
        desk_wait(&d, 50);
        assert_int_equal(desk_answer(&d), 50);
        for (int i = 0; i < 50; i++) {
            assert_true(peer_hear(peers[i], head, sizeof head, body, sizeof body, true));
            (void)snprintf(expected, sizeof expected, "body%02d", i);
            assert_string_equal(body, expected);
        }
    }
    for (int i = 0; i < 50; i++)
        peer_free(peers[i], false);
    kl_http_server_stop(s, 1000);
}

/* A client goes while its request is with another thread: by reset, by a proper end, in the middle
 * of sending. */
static void test_base_http_limits__clients_that_go(void **state)
{
    struct desk d;
    desk_init(&d);
    struct kl_http_server_config config = peer_config(hold, &d);
    struct kl_http_server *s = peer_start(*state, &config);
    static const char request[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody";
    unsigned answered = 0;
    for (unsigned i = 0; i < 400; i++) {
        struct peer *p = peer_new(s);
        bool whole = i % 4 != 3;
        peer_say(p, request, whole ? sizeof request - 1 : sizeof request - 3);
        if (whole && i % 4 != 2)
            desk_wait(&d, 1);
        if (i % 8 == 0)
            answered += desk_answer(&d); /* the answer is on its way while the client goes */
        peer_free(p, i % 2 == 0);
        answered += desk_answer(&d);
    }
    struct peer *last = peer_new(s); /* all threads still serve */
    peer_say(last, get, sizeof get - 1);
    desk_wait(&d, 1);
    answered += desk_answer(&d);
    char head[4096], body[64];
    assert_true(peer_hear(last, head, sizeof head, body, sizeof body, true));
    peer_free(last, false);
    kl_http_server_stop(s, 1000);
    answered += desk_answer(&d);
    assert_int_equal(answered, atomic_load(&d.seen));
}

/* The server ends while requests are out: their answers come after it is gone. */
static void test_base_http_limits__stop_under_pending_requests(void **state)
{
    struct desk d;
    desk_init(&d);
    struct kl_http_server_config config = peer_config(hold, &d);
    struct kl_http_server *s = peer_start(*state, &config);
    struct peer *peers[20];
    for (int i = 0; i < 20; i++) {
        peers[i] = peer_new(s);
        peer_say(peers[i], get, sizeof get - 1);
    }
    desk_wait(&d, 20);
    kl_http_server_stop(s, 0);
    assert_int_equal(desk_answer(&d), 20);
    for (int i = 0; i < 20; i++)
        peer_free(peers[i], true);
}

static void *stop_later(void *server)
{
    kl_http_server_stop(server, 60000);
    return NULL;
}

/* Idle connections end at once, a running request is answered, and told that this was the last. */
static void test_base_http_limits__graceful_stop(void **state)
{
    struct desk d;
    desk_init(&d);
    struct kl_http_server_config config = peer_config(hold, &d);
    struct kl_http_server *s = peer_start(*state, &config);
    struct peer *idle = peer_new(s), *busy = peer_new(s);
    pthread_t stopper;
    char head[4096], body[64];
    peer_say(busy, get, sizeof get - 1);
    desk_wait(&d, 1);
    assert_int_equal(pthread_create(&stopper, NULL, stop_later, s), 0);
    assert_int_equal(peer_hear_all(idle, head, sizeof head), 0);
    assert_int_equal(desk_answer(&d), 1);
    assert_true(peer_hear(busy, head, sizeof head, body, sizeof body, true));
    assert_non_null(strstr(head, "\r\nConnection: close\r\n"));
    assert_int_equal(peer_hear_all(busy, head, sizeof head), 0);
    assert_int_equal(pthread_join(stopper, NULL), 0);
    peer_free(idle, false);
    peer_free(busy, false);
}

/* Says one byte at a time until the server has enough; how many it took. */
static unsigned drip(struct peer *p, const char *text, size_t n)
{
    unsigned said = 0;
    while (said < 1000000 && peer_try_say(p, said < n ? text + said : "x", 1)) {
        kl_clock_shift(0, 10); /* the server's clock runs with every byte */
        said++;
    }
    return said;
}

static void test_base_http_limits__drip_feeders(void **state)
{
    static const char *const texts[] = {
        "GET /",
        "GET / HTTP/1.1\r\nX: ",
        "POST / HTTP/1.1\r\nContent-Length: 60000\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfff0\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 10000000\r\n\r\n", /* too big, and slow */
    };
    struct kl_http_server_config config = peer_config(at_once, NULL);
    config.request_ms = 300;
    config.max_header_bytes = 1000000;
    struct kl_http_server *s = peer_start(*state, &config);
    for (size_t i = 0; i < KL_COUNT(texts); i++) {
        struct peer *p = peer_new(s);
        unsigned said = drip(p, texts[i], strlen(texts[i]));
        assert_in_range(said, 2, 999999);
        peer_free(p, false);
    }
    kl_http_server_stop(s, 1000);
}

static void test_base_http_limits__silence(void **state)
{
    struct kl_http_server_config config = peer_config(at_once, NULL);
    config.handshake_ms = config.idle_ms = 200;
    struct kl_http_server *s = peer_start(*state, &config);
    char rest[64];
    struct peer *silent = peer_new_silent(s); /* never begins TLS */
    assert_int_equal(peer_hear_all(silent, rest, sizeof rest), 0);
    peer_free(silent, false);
    struct peer *half = peer_new_silent(s); /* begins and stops */
    peer_say(half, "\x16\x03\x01\x02", 4);
    assert_int_equal(peer_hear_all(half, rest, sizeof rest), 0);
    peer_free(half, false);
    struct peer *mute = peer_new(s); /* TLS, then nothing */
    assert_int_equal(peer_hear_all(mute, rest, sizeof rest), 0);
    peer_free(mute, false);
    struct peer *idle = peer_new(s); /* one request, then nothing */
    assert_int_equal(peer_ask(idle, get), 200);
    assert_int_equal(peer_hear_all(idle, rest, sizeof rest), 0);
    peer_free(idle, false);
    struct peer *junk = peer_new_silent(s); /* not TLS at all: ended by its alert */
    peer_say(junk, get, sizeof get - 1);
    (void)peer_hear_all(junk, rest, sizeof rest);
    peer_free(junk, false);
    kl_http_server_stop(s, 1000);
}

static void big_answer(struct kl_http_request *req, void *arg)
{
    static char body[8000000];
    (void)arg;
    kl_http_reply(req, 200, NULL, 0, body, sizeof body);
}

/* Asks for much and does not read: the time for the answer is limited too. */
static void test_base_http_limits__slow_readers(void **state)
{
    struct kl_http_server_config config = peer_config(big_answer, NULL);
    config.request_ms = 200;
    struct kl_http_server *s = peer_start(*state, &config);
    struct peer *p = peer_new(s);
    peer_say(p, get, sizeof get - 1);
    while (peer_try_say(p, "x", 1)) /* until the server has reset the connection */
        kl_clock_shift(0, 10);
    peer_free(p, true);
    kl_http_server_stop(s, 1000);
}

/* Pipelines without reading: the server does not gather what it cannot serve. */
static void test_base_http_limits__flooding(void **state)
{
    struct kl_http_server_config config = peer_config(big_answer, NULL);
    struct kl_http_server *s = peer_start(*state, &config);
    struct peer *p = peer_new(s);
    static char flood[65536];
    size_t said = 0;
    for (size_t i = 0; i + sizeof get - 1 < sizeof flood; i += sizeof get - 1)
        memcpy(flood + i, get, sizeof get - 1);
    while (said < (size_t)1 << 28 && peer_try_say(p, flood, 16000))
        said += 16000;
    assert_in_range(said, 1, (1 << 28) - 1);
    peer_free(p, true);
    kl_http_server_stop(s, 1000);
}

static void test_base_http_limits__connection_counts(void **state)
{
    struct kl_http_server_config config = peer_config(at_once, NULL);
    config.max_per_address = 5;
    config.max_connections = 5000;
    for (int round = 0; round < 2; round++) {
        struct kl_http_server *s = peer_start(*state, &config);
        struct peer *peers[5];
        char rest[64];
        for (int again = 0; again < 3; again++) { /* places come back */
            for (int i = 0; i < 5; i++) {
                peers[i] = peer_new(s);
                assert_non_null(peers[i]);
                assert_int_equal(peer_ask(peers[i], get), 200);
            }
            assert_null(peer_new(s));
            for (int i = 0; i < 5; i++) {
                peer_say(peers[i], "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 37);
                (void)peer_hear_all(peers[i], rest, sizeof rest);
                while (peer_hear_all(peers[i], rest, sizeof rest) > 0)
                    ;
                peer_free(peers[i], false);
            }
        }
        kl_http_server_stop(s, 1000);
        config.max_per_address = 5000;
        config.max_connections = 5;
    }
}

static void test_base_http_limits__thousand_connections(void **state)
{
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    assert_true(files.rlim_cur >= 2100);
    struct kl_http_server_config config = peer_config(at_once, NULL);
    struct kl_http_server *s = peer_start(*state, &config);
    static struct peer *peers[1000];
    for (int i = 0; i < 1000; i++) {
        peers[i] = peer_new(s);
        assert_non_null(peers[i]);
    }
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 1000; i++)
            assert_int_equal(peer_ask(peers[i], get), 200);
    for (int i = 0; i < 1000; i++)
        peer_free(peers[i], i % 3 == 0);
    kl_http_server_stop(s, 5000);
}

/* No descriptor is left to accept with; the server waits and goes on when there is one again. */
static void test_base_http_limits__out_of_descriptors(void **state)
{
    struct kl_http_server_config config = peer_config(at_once, NULL);
    config.idle_ms = 400; /* so that it looks again soon */
    struct kl_http_server *s = peer_start(*state, &config);
    struct peer *p = peer_new_socket();
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    peer_connect(p, s);
    (void)poll(NULL, 0, 300); /* time for the server to try; no matter if it does not */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(peer_shake(p));
    assert_int_equal(peer_ask(p, get), 200);
    peer_free(p, false);
    kl_http_server_stop(s, 1000);
}

static void test_base_http_limits__start_failures(void **state)
{
    struct kl_http_server_config config = peer_config(at_once, NULL);
    struct kl_http_server *s = peer_start(*state, &config), *none = NULL;
    static const char *const bad[] = {"",          "8443",       "localhost:8443",
                                      "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999",
                                      "[::1:8443", "::1:8443",   ":8443"};
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    config.tls = ctx;
    for (size_t i = 0; i < KL_COUNT(bad); i++) {
        config.listen = bad[i];
        assert_int_equal(kl_http_server_start(&config, &none, NULL), KL_CONFIG);
    }
    char taken[32];
    struct kl_err err = {0};
    (void)snprintf(taken, sizeof taken, "127.0.0.1:%u", kl_http_server_port(s));
    config.listen = taken;
    assert_int_equal(kl_http_server_start(&config, &none, &err), KL_IO);
    assert_non_null(strstr(err.text, taken));
    assert_null(none);
    kl_http_server_set_tls(s,
                           ctx); /* no certificate in it: new connections fail, the server lives */
    assert_null(peer_new(s));
    SSL_CTX_free(ctx);
    kl_http_server_stop(s, 1000);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_http_limits__answers_from_another_thread),
        cmocka_unit_test(test_base_http_limits__clients_that_go),
        cmocka_unit_test(test_base_http_limits__stop_under_pending_requests),
        cmocka_unit_test(test_base_http_limits__graceful_stop),
        cmocka_unit_test(test_base_http_limits__drip_feeders),
        cmocka_unit_test(test_base_http_limits__silence),
        cmocka_unit_test(test_base_http_limits__slow_readers),
        cmocka_unit_test(test_base_http_limits__flooding),
        cmocka_unit_test(test_base_http_limits__connection_counts),
        cmocka_unit_test(test_base_http_limits__thousand_connections),
        cmocka_unit_test(test_base_http_limits__out_of_descriptors),
        cmocka_unit_test(test_base_http_limits__start_failures),
    };
    return cmocka_run_group_tests_name("base.http_limits", tests, fixture_folder,
                                       fixture_folder_gone);
}
