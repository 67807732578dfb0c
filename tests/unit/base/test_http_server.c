#include "tests/unit/base/http_peer.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OK_200 200

/* Tells what it was asked: METHOD|PATH|QUERY|body length|X-Test header. */
static void echo(struct kl_http_request *req, void *arg)
{
    char text[8192];
    size_t n = 0;
    const char *test = kl_http_header(req, "x-test");
    const struct kl_http_header headers[] = {{"Content-Type", "text/plain"},
                                             {"x-ms-Odd-CASE", "kept"},
                                             {"Content-Length", "7"},
                                             {"Transfer-Encoding", "chunked"}};
    (void)arg, (void)kl_http_body(req, &n);
    int len = snprintf(text, sizeof text, "%s|%s|%s|%zu|%s", kl_http_method(req), kl_http_path(req),
                       kl_http_query(req), n, test != NULL ? test : "-");
    kl_http_reply(req, OK_200, headers, KL_COUNT(headers), text, (size_t)len);
}

struct ask {
    const char *request, *body;
};

static void test_base_http_server__targets_and_methods(void **state)
{
    static const struct ask rows[] = {
        {"GET /keys/a//?api%2Dversion=7.4 HTTP/1.1\r\nHost: h\r\n\r\n",
         "GET|/keys/a//|api%2Dversion=7.4|0|-"},
        {"POST //keys//N%2F%20/wrapkey HTTP/1.1\r\nHost: h\r\n\r\n",
         "POST|//keys//N%2F%20/wrapkey||0|-"},
        {"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", "POST|/x||0|-"},
        {"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nX-TEST:  v w \r\n\r\nabc",
         "PUT|/x||3|v w"},
        {"PATCH /x?a?b=c HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na", "PATCH|/x|a?b=c|1|-"},
        {"PATCH /x HTTP/1.1\r\nHost: h\r\n\r\n", "PATCH|/x||0|-"},
        {"DELETE /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab", "DELETE|/x||2|-"},
        {"DELETE /x HTTP/1.1\r\nHost: h\r\n\r\n", "DELETE|/x||0|-"},
        {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS|*||0|-"},
        {"GET https://h:1/p/q?r HTTP/1.1\r\nHost: H:1\r\n\r\n", "GET|/p/q|r|0|-"},
        {"GET https://h HTTP/1.1\r\nHost: h\r\n\r\n", "GET|/||0|-"},
        {"GET /a?u=https://x/y HTTP/1.1\r\nHost: h\r\n\r\n", "GET|/a|u=https://x/y|0|-"},
        {"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
         "POST|/x||5|-"},
    };
    struct kl_http_server_config config = peer_config(echo, NULL);
    struct kl_http_server *s = peer_start(*state, &config);
    struct peer *p = peer_new(s);
    char head[4096], body[4096], expected[64];
    for (size_t i = 0; i < KL_COUNT(rows); i++) { /* all over one connection */
        peer_say(p, rows[i].request, strlen(rows[i].request));
        assert_true(peer_hear(p, head, sizeof head, body, sizeof body, true));
        assert_string_equal(body, rows[i].body);
        assert_memory_equal(head, "HTTP/1.1 200 OK\r\n", 17);
        (void)snprintf(expected, sizeof expected, "\r\nContent-Length: %zu\r\n", strlen(body));
        assert_non_null(strstr(head, expected));
        assert_null(strstr(strstr(head, "Content-Length") + 1, "Content-Length"));
        assert_null(strstr(head, "ransfer-"));
        assert_null(strstr(head, "Connection"));
        assert_non_null(strstr(head, "\r\nx-ms-Odd-CASE: kept\r\n"));
        assert_non_null(strstr(head, "\r\nContent-Type: text/plain\r\n"));
    }
    peer_free(p, false);
    kl_http_server_stop(s, 1000);
}

static void bare(struct kl_http_request *req, void *arg)
{
    const struct kl_http_header type = {"Content-Type", "application/json"};
    (void)arg;
    const struct kl_http_header split[] = {
        {"X-First", "1"}, {"X-Bad", "2\r\nX-Evil: 3"}, {"X-Last", "4"}};
    if (strcmp(kl_http_path(req), "/204") == 0)
        kl_http_reply(req, 204, &type, 1, "never sent", 10);
    else if (strcmp(kl_http_path(req), "/split") == 0)
        kl_http_reply(req, 200, split, KL_COUNT(split), "body", 4);
    else
        kl_http_reply(req, 429, NULL, 0, "body", 4);
}

static void test_base_http_server__no_header_within_a_value(void **state)
{
    struct kl_http_server_config config = peer_config(bare, NULL);
    struct kl_http_server *s = peer_start(*state, &config);
    struct peer *p = peer_new(s);
    char head[4096], body[64];
    static const char ask[] = "GET /split HTTP/1.1\r\nHost: h\r\n\r\n";
    peer_say(p, ask, sizeof ask - 1);
    assert_true(peer_hear(p, head, sizeof head, body, sizeof body, true));
    assert_non_null(strstr(head, "\r\nX-First: 1\r\nX-Last: 4\r\n"));
    assert_null(strstr(head, "X-Bad"));
    assert_null(strstr(head, "X-Evil"));
    peer_free(p, false);
    kl_http_server_stop(s, 1000);
}

static void test_base_http_server__no_header_unasked(void **state)
{
    struct kl_http_server_config config = peer_config(bare, NULL);
    struct kl_http_server *s = peer_start(*state, &config);
    struct peer *p = peer_new(s);
    char head[4096], body[64];
    static const char no_content[] = "GET /204 HTTP/1.1\r\nHost: h\r\n\r\n";
    static const char head_only[] = "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n";
    static const char plain[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    peer_say(p, no_content, sizeof no_content - 1);
    assert_true(peer_hear(p, head, sizeof head, body, sizeof body, true));
    assert_memory_equal(head, "HTTP/1.1 204 No Content\r\nDate: ", 31);
    assert_ptr_equal(strstr(strstr(head, "Date"), "\r\n"), head + strlen(head) - 4);
    peer_say(p, head_only, sizeof head_only - 1);
    assert_true(peer_hear(p, head, sizeof head, body, sizeof body, false));
    assert_memory_equal(head, "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\nDate: ", 57);
    peer_say(p, plain, sizeof plain - 1); /* right behind: a body of HEAD would show here */
    assert_true(peer_hear(p, head, sizeof head, body, sizeof body, true));
    assert_memory_equal(head, "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\nDate: ", 57);
    assert_string_equal(body, "body");
    peer_free(p, false);
    kl_http_server_stop(s, 1000);
}

static void test_base_http_server__connection_header(void **state)
{
    static const struct {
        const char *request, *fate; /* NULL = stays open without a word */
        bool closes;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", NULL, false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "close", true},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: TE, Close\r\n\r\n", "close", true},
        {"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "close", true},
        {"GET / HTTP/1.0\r\n\r\n", "close", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "keep-alive", false},
        {"GET https://h/ HTTP/1.1\r\nHost: h\r\n\r\n", NULL, false},
    };
    struct kl_http_server_config config = peer_config(echo, NULL);
    struct kl_http_server *s = peer_start(*state, &config);
    char head[4096], body[4096], rest[16];
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct peer *p = peer_new(s);
        peer_say(p, rows[i].request, strlen(rows[i].request));
        assert_true(peer_hear(p, head, sizeof head, body, sizeof body, true));
        assert_memory_equal(head, "HTTP/1.1 200", 12);
        const char *fate = strstr(head, "\r\nConnection: ");
        assert_int_equal(fate != NULL, rows[i].fate != NULL);
        if (fate != NULL) {
            assert_memory_equal(fate + 14, rows[i].fate, strlen(rows[i].fate));
            assert_null(strstr(fate + 3, "Connection"));
        }
        if (rows[i].closes)
            assert_int_equal(peer_hear_all(p, rest, sizeof rest), 0);
        else
            assert_int_equal(peer_ask(p, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"), OK_200);
        peer_free(p, false);
    }
    kl_http_server_stop(s, 1000);
}

static void facts(struct kl_http_request *req, void *arg)
{
    char text[100];
    unsigned thread = kl_http_thread(req);
    (void)arg;
    int n = snprintf(text, sizeof text, "%s %s %s", kl_http_peer(req), kl_http_tls_version(req),
                     thread < 2 ? "thread" : "?");
    kl_http_reply(req, OK_200, NULL, 0, text, (size_t)n);
}

static void test_base_http_server__facts_of_the_connection(void **state)
{
    struct kl_http_server_config config = peer_config(facts, NULL);
    struct kl_http_server *s = peer_start(*state, &config);
    struct peer *p = peer_new(s);
    char head[4096], body[4096];
    static const char request[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    peer_say(p, request, sizeof request - 1);
    assert_true(peer_hear(p, head, sizeof head, body, sizeof body, true));
    assert_string_equal(body, "127.0.0.1 TLSv1.3 thread");
    peer_free(p, false);
    kl_http_server_stop(s, 1000);
}

static void test_base_http_server__pipelining(void **state)
{
    struct kl_http_server_config config = peer_config(echo, NULL);
    struct kl_http_server *s = peer_start(*state, &config);
    struct peer *p = peer_new(s);
    char all[20000], head[4096], body[4096], expected[64];
    size_t n = 0;
    for (int i = 0; i < 200; i++)
        n += (size_t)snprintf(all + n, sizeof all - n,
                              "POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody", i);
    peer_say(p, all, n);
    for (int i = 0; i < 200; i++) {
        assert_true(peer_hear(p, head, sizeof head, body, sizeof body, true));
        (void)snprintf(expected, sizeof expected, "POST|/%d||4|-", i);
        assert_string_equal(body, expected);
    }
    peer_free(p, false);
    kl_http_server_stop(s, 1000);
}

static void test_base_http_server__own_error_pages(void **state)
{
    static const struct {
        const char *request;
        int status;
    } rows[] = {
        {"garbage\r\n\r\n", 400},
        {"\x16\x03\x01\x02\xff /\r\n\r\n", 400},
        {"GET / HTTP/2.0\r\n\r\n", 400},
        {"GET /\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
        {"GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\na", 400},
        {"GET / HTTP/1.1\r\nContent-Length : 1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400},
        {"FOO / HTTP/1.1\r\nHost: h\r\n\r\n", 501},
        {"TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", 501},
        {"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", 501},
        {"POST / HTTP/1.1\r\nExpect: wonders\r\nContent-Length: 1\r\n\r\n", 417},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", 413},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 413},
    };
    struct kl_http_server_config config = peer_config(echo, NULL);
    struct kl_http_server *s = peer_start(*state, &config);
    char head[4096], body[4096], rest[16];
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct peer *p = peer_new(s);
        peer_say(p, rows[i].request, strlen(rows[i].request));
        if (!peer_hear(p, head, sizeof head, body, sizeof body, true))
            fail_msg("no answer to %s", rows[i].request);
        if (strtol(head + 9, NULL, 10) != rows[i].status)
            fail_msg("%s to %s", head, rows[i].request);
        assert_memory_equal(body, "{\"error\":{\"code\":\"BadParameter\",\"message\":\"", 43);
        assert_non_null(strstr(head, "\r\nContent-Type: application/json; charset=utf-8\r\n"));
        assert_non_null(strstr(head, "\r\nConnection: close\r\n"));
        assert_int_equal(peer_hear_all(p, rest, sizeof rest), 0);
        peer_free(p, false);
    }
    kl_http_server_stop(s, 1000);
}

static void test_base_http_server__sizes(void **state)
{
    struct kl_http_server_config config = peer_config(echo, NULL);
    struct kl_http_server *s = peer_start(*state, &config);
    static const size_t bodies[] = {65536, 65537, 200000};
    static char big[300000];
    char head[4096], body[8192];
    for (size_t i = 0; i < KL_COUNT(bodies); i++) {
        struct peer *p = peer_new(s);
        int n = snprintf(big, sizeof big,
                         "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", bodies[i]);
        memset(big + n, 'b', bodies[i]);
        peer_say(p, big, (size_t)n + bodies[i]);
        assert_true(peer_hear(p, head, sizeof head, body, sizeof body, true));
        assert_int_equal(strtol(head + 9, NULL, 10), i == 0 ? OK_200 : 413);
        peer_free(p, false);
    }
    static const size_t header_sizes[] = {3000, 5000};
    for (size_t i = 0; i < KL_COUNT(header_sizes); i++) {
        struct peer *p = peer_new(s);
        int n = snprintf(big, sizeof big, "GET / HTTP/1.1\r\nHost: h\r\nX-Long: ");
        memset(big + n, 'x', header_sizes[i]);
        memcpy(big + (size_t)n + header_sizes[i], "\r\n\r\n", 5);
        assert_int_equal(peer_ask(p, big), i == 0 ? OK_200 : 400);
        peer_free(p, false);
        p = peer_new(s); /* the same as a target, and without an end */
        n = snprintf(big, sizeof big, "GET /");
        memset(big + n, 'x', header_sizes[i]);
        snprintf(big + (size_t)n + header_sizes[i], 32, "%s",
                 i == 0 ? " HTTP/1.1\r\nHost: h\r\n\r\n" : "");
        assert_int_equal(peer_ask(p, big), i == 0 ? OK_200 : 400);
        peer_free(p, false);
    }
    kl_http_server_stop(s, 1000);
}

static void test_base_http_server__expect_continue(void **state)
{
    struct kl_http_server_config config = peer_config(echo, NULL);
    struct kl_http_server *s = peer_start(*state, &config);
    static const char head_part[] =
        "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    char head[4096], body[4096];
    for (int i = 0; i < 200; i++) { /* waiting for it, and not waiting for it */
        struct peer *p = peer_new(s);
        peer_say(p, head_part, sizeof head_part - 1);
        if (i % 2 == 0) {
            assert_true(peer_hear(p, head, sizeof head, body, sizeof body, true));
            assert_string_equal(head, "HTTP/1.1 100 Continue\r\n\r\n");
        }
        peer_say(p, "abc", 3);
        assert_true(peer_hear(p, head, sizeof head, body, sizeof body, true));
        if (strncmp(head, "HTTP/1.1 100", 12) == 0)
            assert_true(peer_hear(p, head, sizeof head, body, sizeof body, true));
        assert_string_equal(body, "POST|/||3|-");
        assert_int_equal(peer_ask(p, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"), OK_200);
        peer_free(p, false);
    }
    kl_http_server_stop(s, 1000);
}

static void large(struct kl_http_request *req, void *arg)
{
    static char body[1000000];
    (void)arg;
    memset(body, 'L', sizeof body);
    kl_http_reply(req, OK_200, NULL, 0, body, sizeof body);
}

static void test_base_http_server__large_answers(void **state)
{
    struct kl_http_server_config config = peer_config(large, NULL);
    struct kl_http_server *s = peer_start(*state, &config);
    struct peer *p = peer_new(s);
    static const char request[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    char head[4096];
    char *body = malloc(1000001);
    for (int i = 0; i < 3; i++) {
        peer_say(p, request, sizeof request - 1);
        assert_true(peer_hear(p, head, sizeof head, body, 1000001, true));
        assert_int_equal(strspn(body, "L"), 1000000);
    }
    free(body);
    peer_free(p, false);
    kl_http_server_stop(s, 1000);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_http_server__targets_and_methods),
        cmocka_unit_test(test_base_http_server__no_header_within_a_value),
        cmocka_unit_test(test_base_http_server__no_header_unasked),
        cmocka_unit_test(test_base_http_server__connection_header),
        cmocka_unit_test(test_base_http_server__facts_of_the_connection),
        cmocka_unit_test(test_base_http_server__pipelining),
        cmocka_unit_test(test_base_http_server__own_error_pages),
        cmocka_unit_test(test_base_http_server__sizes),
        cmocka_unit_test(test_base_http_server__expect_continue),
        cmocka_unit_test(test_base_http_server__large_answers),
    };
    return cmocka_run_group_tests_name("base.http_server", tests, fixture_folder,
                                       fixture_folder_gone);
}
