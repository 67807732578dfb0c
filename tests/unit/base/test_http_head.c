/* What is looked at before evhttp takes a request apart: framing to the letter, and who may send a
 * large body. */
#include "tests/unit/base/http_peer.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALL 1000

/* Answers with the length of the body. */
static void measure(struct kl_http_request *req, void *arg)
{
    char text[32];
    size_t n = 0;
    (void)arg, (void)kl_http_body(req, &n);
    int len = snprintf(text, sizeof text, "%zu", n);
    kl_http_reply(req, 200, NULL, 0, text, (size_t)len);
}

static bool knows_good(const char *authorization, void *arg)
{
    (void)arg;
    return strcmp(authorization, "Bearer good") == 0;
}

#define CHUNKED "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
#define NEXT    "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"

/* Each is refused, and what follows it is nobody's request. */
static void test_base_http_head__refused(void **state)
{
    static const struct {
        const char *head, *body;
    } rows[] = {
        {"HEAD / HTTP/1.1\r\nHost: h\r\nContent-Length: 43\r\n\r\n", ""},
        {"HEAD / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\n\r\n"},
        {"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\n\r\n"},
        {CHUNKED, "0x3\r\nabc\r\n0\r\n\r\n"},
        {CHUNKED, "+3\r\nabc\r\n0\r\n\r\n"},
        {CHUNKED, " 3\r\nabc\r\n0\r\n\r\n"},
        {CHUNKED, "3 junk\r\nabc\r\n0\r\n\r\n"},
        {CHUNKED, "000000003\r\nabc\r\n0\r\n\r\n"},
        {CHUNKED, "3\r\nabc0\r\n\r\n"},
        {CHUNKED, "3\nabc\r\n0\r\n\r\n"},
        {CHUNKED, "3\r\nabc\n0\r\n\r\n"},
        {CHUNKED, "3\r\nabc\r\n0\r\n\n"},
        {CHUNKED, "3\r\nabc\r\n\r\n0\r\n\r\n"},
        {CHUNKED, "3\r\nabc\r\n0\r\nX-Late: trailer\r\n\r\n"},
        {"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n", ""},
        {"GET https://other/ HTTP/1.1\r\nHost: h\r\n\r\n", ""},
        {"GET https://h@other/ HTTP/1.1\r\nHost: h\r\n\r\n", ""},
        {"GET https://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n", ""},
        {"GET https://h:1/ HTTP/1.1\r\nHost: h\r\n\r\n", ""},
        {"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", ""},
        {"GET https://h/ HTTP/1.1\r\n\r\n", ""},
    };
    struct kl_http_server_config config = peer_config(measure, NULL);
    struct kl_http_server *s = peer_start(*state, &config);
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        char text[1024], heard[4096];
        int n = snprintf(text, sizeof text, "%s%s" NEXT, rows[i].head, rows[i].body);
        struct peer *p = peer_new(s);
        peer_say(p, text, (size_t)n);
        (void)peer_hear_all(p, heard, sizeof heard);
        if (strncmp(heard, "HTTP/1.1 400 ", 13) != 0 || strstr(heard + 1, "HTTP/1.1") != NULL)
            fail_msg("%s%s\nis answered\n%s", rows[i].head, rows[i].body, heard);
        peer_free(p, false);
    }
    kl_http_server_stop(s, 1000);
}

static void test_base_http_head__zero_byte(void **state)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: h\0.other\r\n\r\n";
    struct kl_http_server_config config = peer_config(measure, NULL);
    struct kl_http_server *s = peer_start(*state, &config);
    struct peer *p = peer_new(s);
    char heard[4096];
    peer_say(p, request, sizeof request - 1);
    (void)peer_hear_all(p, heard, sizeof heard);
    assert_memory_equal(heard, "HTTP/1.1 400 ", 13);
    peer_free(p, false);
    kl_http_server_stop(s, 1000);
}

/* Good chunks, however they are cut, also several requests at once. */
static void test_base_http_head__chunks(void **state)
{
    static const char good[] = CHUNKED "3\r\nabc\r\n00d\r\n\r\n0\r\n\r\n1\r\nx\r\n\r\n0\r\n\r\n";
    static const size_t body_at = sizeof CHUNKED - 1;
    struct kl_http_server_config config = peer_config(measure, NULL);
    struct kl_http_server *s = peer_start(*state, &config);
    struct peer *p = peer_new(s);
    char head[4096], body[4096];
    for (size_t cut = body_at; cut < sizeof good - 1; cut++) {
        peer_say(p, good, cut);
        peer_say(p, good + cut, sizeof good - 1 - cut);
        assert_true(peer_hear(p, head, sizeof head, body, sizeof body, true));
        if (strcmp(body, "16") != 0)
            fail_msg("cut at %zu: %s", cut, body);
    }
    peer_say(p, good, body_at);
    for (size_t i = body_at; i < sizeof good - 1; i++)
        peer_say(p, good + i, 1);
    assert_true(peer_hear(p, head, sizeof head, body, sizeof body, true));
    assert_string_equal(body, "16");
    char thrice[3 * sizeof good];
    int n = snprintf(thrice, sizeof thrice, "%s%s%s", good, good, good);
    peer_say(p, thrice, (size_t)n);
    for (int i = 0; i < 3; i++) {
        assert_true(peer_hear(p, head, sizeof head, body, sizeof body, true));
        assert_string_equal(body, "16");
    }
    peer_free(p, false);
    kl_http_server_stop(s, 1000);
}

/* A request with a body of n bytes; the caller frees. */
static char *request_of(const char *authorization, bool chunked, size_t n, size_t *ret_len)
{
    char length[64];
    size_t room = n + 512;
    char *text = malloc(room);
    (void)snprintf(length, sizeof length,
                   chunked ? "Transfer-Encoding: chunked" : "Content-Length: %zu", n);
    int at = snprintf(text, room, "POST / HTTP/1.1\r\nHost: h\r\n%s%s%s%s\r\n\r\n",
                      authorization != NULL ? "authorization:\t " : "",
                      authorization != NULL ? authorization : "",
                      authorization != NULL ? "\r\n" : "", length);
    if (chunked)
        at += snprintf(text + at, room - (size_t)at, "%zx\r\n", n);
    memset(text + at, 'x', n);
    *ret_len = (size_t)at + n;
    if (chunked) {
        memcpy(text + *ret_len, "\r\n0\r\n\r\n", 7);
        *ret_len += 7;
    }
    return text;
}

static int status_of(struct peer *p, const char *authorization, bool chunked, size_t n)
{
    char head[4096], body[4096];
    size_t len;
    char *text = request_of(authorization, chunked, n, &len);
    (void)peer_try_say(p, text, len); /* it may be refused before it is all there */
    free(text);
    return peer_hear(p, head, sizeof head, body, sizeof body, true)
               ? (int)strtol(head + 9, NULL, 10)
               : 0;
}

static void test_base_http_head__large_bodies(void **state)
{
    static const struct {
        const char *authorization;
        size_t n;
        int status;
    } rows[] = {
        {NULL, SMALL, 200},          {NULL, SMALL + 1, 413},
        {"Bearer bad", SMALL, 200},  {"Bearer bad", SMALL + 1, 413},
        {"Bearer bad", 65536, 413},  {"Bearer good", SMALL + 1, 200},
        {"Bearer good", 65536, 200}, {"Bearer good", 65537, 413},
    };
    struct kl_http_server_config config = peer_config(measure, NULL);
    config.vouch = knows_good;
    config.max_unvouched_bytes = SMALL;
    struct kl_http_server *s = peer_start(*state, &config);
    for (size_t i = 0; i < 2 * KL_COUNT(rows); i++) {
        struct peer *p = peer_new(s);
        bool chunked = i % 2 == 1;
        /* What one request was allowed the next one is not. */
        assert_int_equal(status_of(p, "Bearer good", chunked, 5000), 200);
        int status = status_of(p, rows[i / 2].authorization, chunked, rows[i / 2].n);
        bool cut_off = status == 0 && chunked && rows[i / 2].status == 413;
        if (status != rows[i / 2].status && !cut_off)
            fail_msg("%s with %zu bytes, chunked %d: %d", rows[i / 2].authorization, rows[i / 2].n,
                     chunked, status);
        peer_free(p, false);
    }
    kl_http_server_stop(s, 1000);
}

/* A head in pieces is not read ahead: small bodies only, and no chunks. */
static void test_base_http_head__in_pieces(void **state)
{
    struct kl_http_server_config config = peer_config(measure, NULL);
    config.vouch = knows_good;
    config.max_unvouched_bytes = SMALL;
    struct kl_http_server *s = peer_start(*state, &config);
    for (int large = 0; large < 2; large++) {
        struct peer *p = peer_new(s);
        char head[4096], body[4096];
        size_t len;
        char *text = request_of("Bearer good", false, large ? SMALL + 1 : SMALL, &len);
        for (size_t i = 0; i < 100; i++)
            peer_say(p, text + i, 1);
        peer_say(p, text + 100, len - 100);
        assert_true(peer_hear(p, head, sizeof head, body, sizeof body, true));
        assert_int_equal((int)strtol(head + 9, NULL, 10), large ? 413 : 200);
        free(text);
        peer_free(p, false);
    }
    kl_http_server_stop(s, 1000);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_http_head__refused),
        cmocka_unit_test(test_base_http_head__zero_byte),
        cmocka_unit_test(test_base_http_head__chunks),
        cmocka_unit_test(test_base_http_head__large_bodies),
        cmocka_unit_test(test_base_http_head__in_pieces),
    };
    return cmocka_run_group_tests_name("base.http_head", tests, fixture_folder,
                                       fixture_folder_gone);
}
