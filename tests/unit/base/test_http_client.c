#include "tests/unit/base/http_peer.h"

#include "base/http_client.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* Answers by path; "/echo" tells what came. */
static void serve(struct kl_http_request *req, void *arg)
{
    const char *path = kl_http_path(req), *auth = kl_http_header(req, "Authorization");
    const struct kl_http_header headers[] = {
        {"WWW-Authenticate", "Bearer authorization=\"https://h/t\", resource=\"https://h\""},
        {"Retry-After", "7"},
        {"x-ms-request-id", "0a1b2c3d-0000-1111-2222-333344445555"},
        {"Location", "https://localhost:1/elsewhere"}};
    static char large[5000];
    char text[1000];
    size_t n = 0;
    const char *body = kl_http_body(req, &n);
    (void)arg;
    if (strcmp(path, "/challenge") == 0) {
        kl_http_reply(req, 401, headers, 3, "{}", 2);
    } else if (strcmp(path, "/redirect") == 0) {
        kl_http_reply(req, 302, headers + 3, 1, NULL, 0);
    } else if (strcmp(path, "/large") == 0) {
        kl_http_reply(req, 200, NULL, 0, large, sizeof large);
    } else {
        const char *type = kl_http_header(req, "Content-Type"),
                   *length = kl_http_header(req, "Content-Length"),
                   *agent = kl_http_header(req, "User-Agent");
        int len =
            snprintf(text, sizeof text, "%s %s?%s [%.*s] type=%s auth=%s length=%s agent=%s",
                     kl_http_method(req), path, kl_http_query(req), (int)n, body, type ? type : "-",
                     auth ? auth : "-", length ? length : "-", agent ? agent : "-");
        kl_http_reply(req, 200, NULL, 0, text, (size_t)len);
    }
}

struct scene {
    struct kl_http_server *server;
    struct kl_http_client *client;
    char *ca, url[100];
};

static void scene_init(struct scene *scene, const char *folder)
{
    struct kl_http_server_config config = peer_config(serve, NULL);
    scene->server = peer_start(folder, &config);
    scene->ca = fixture_path(folder, "cert.pem");
    const struct kl_http_client_config c = {.ca_file = scene->ca,
                                            .connect_ms = 5000,
                                            .total_ms = 10000,
                                            .max_answer_bytes = 4096,
                                            .user_agent = "test/1"};
    assert_int_equal(kl_http_client_new(&c, &scene->client, NULL), KL_OK);
}

static void scene_done(struct scene *scene)
{
    kl_http_client_free(scene->client);
    if (scene->server != NULL)
        kl_http_server_stop(scene->server, 1000);
    free(scene->ca);
}

static enum kl_code ask(struct scene *scene, const char *method, const char *host, const char *path,
                        struct kl_http_exchange *x, struct kl_err *err)
{
    (void)snprintf(scene->url, sizeof scene->url, "https://%s:%u%s", host,
                   kl_http_server_port(scene->server), path);
    x->method = method;
    x->url = scene->url;
    return kl_http_do(scene->client, x, err);
}

static void test_base_http_client__requests_and_answers(void **state)
{
    struct scene scene = {0};
    struct kl_http_exchange x = {0};
    KL_AUTO(secret) bearer = kl_secret_new(100);
    assert_int_equal(kl_secret_append(bearer, "tok.en", 6), KL_OK);
    scene_init(&scene, *state);
    assert_int_equal(ask(&scene, "GET", "localhost", "/echo//a%2Fb/../c?q=1", &x, NULL), KL_OK);
    assert_int_equal(x.status, 200);
    assert_string_equal(kl_secret_bytes(x.answer),
                        "GET /echo//a%2Fb/../c?q=1 [] type=- auth=- length=- agent=test/1");
    x.content_type = "application/json";
    x.body = "{}";
    x.body_len = 2;
    x.bearer = bearer;
    static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE"};
    for (size_t i = 0; i < KL_COUNT(methods); i++) {
        char expected[200];
        (void)snprintf(expected, sizeof expected,
                       "%s /echo? [{}] type=application/json auth=Bearer tok.en length=2 "
                       "agent=test/1",
                       methods[i]);
        assert_int_equal(ask(&scene, methods[i], "127.0.0.1", "/echo", &x, NULL), KL_OK);
        assert_string_equal(kl_secret_bytes(x.answer), expected);
    }
    kl_http_exchange_done(&x);
    memset(&x, 0, sizeof x); /* nothing of the last exchange sticks */
    assert_int_equal(ask(&scene, "POST", "localhost", "/echo", &x, NULL), KL_OK);
    assert_string_equal(kl_secret_bytes(x.answer),
                        "POST /echo? [] type=- auth=- length=0 agent=test/1");
    assert_int_equal(ask(&scene, "HEAD", "localhost", "/echo", &x, NULL), KL_OK);
    assert_int_equal(kl_secret_len(x.answer), 0);
    assert_int_equal(ask(&scene, "GET", "localhost", "/echo", &x, NULL), KL_OK);
    assert_int_equal(x.retry_after_ms, -1);
    assert_string_equal(x.www_authenticate, "");
    kl_http_exchange_done(&x);
    scene_done(&scene);
}

static void test_base_http_client__headers_and_limits(void **state)
{
    struct scene scene = {0};
    struct kl_http_exchange x = {0};
    struct kl_err err = {0};
    scene_init(&scene, *state);
    assert_int_equal(ask(&scene, "GET", "localhost", "/challenge", &x, NULL), KL_OK);
    assert_int_equal(x.status, 401);
    assert_int_equal(x.retry_after_ms, 7000);
    assert_string_equal(x.www_authenticate,
                        "Bearer authorization=\"https://h/t\", resource=\"https://h\"");
    assert_string_equal(x.request_id, "0a1b2c3d-0000-1111-2222-333344445555");
    assert_int_equal(ask(&scene, "GET", "localhost", "/redirect", &x, NULL), KL_OK);
    assert_int_equal(x.status, 302);
    assert_int_equal(x.retry_after_ms, -1);
    assert_int_equal(ask(&scene, "GET", "localhost", "/large", &x, &err), KL_TOO_BIG);
    assert_null(x.answer);
    assert_non_null(strstr(err.text, "4096"));
    assert_int_equal(ask(&scene, "GET", "localhost", "/echo", &x, NULL), KL_OK);
    kl_http_exchange_done(&x);
    scene_done(&scene);
}

static void test_base_http_client__environment_is_ignored(void **state)
{
    struct scene scene = {0};
    struct kl_http_exchange x = {0};
    scene_init(&scene, *state);
    assert_int_equal(setenv("https_proxy", "http://127.0.0.1:1", 1), 0);
    assert_int_equal(setenv("ALL_PROXY", "http://127.0.0.1:1", 1), 0);
    assert_int_equal(ask(&scene, "GET", "localhost", "/echo", &x, NULL), KL_OK);
    assert_int_equal(unsetenv("https_proxy") | unsetenv("ALL_PROXY"), 0);
    kl_http_exchange_done(&x);
    scene_done(&scene);
}

static void test_base_http_client__sentences(void **state)
{
    struct scene scene = {0};
    struct kl_http_exchange x = {0};
    struct kl_err err = {0};
    char expected[200];
    scene_init(&scene, *state);
    x.method = "GET";
    x.url = "http://localhost/";
    assert_int_equal(kl_http_do(scene.client, &x, &err), KL_BAD_INPUT);
    x.url = "file:///etc/passwd";
    assert_int_equal(kl_http_do(scene.client, &x, &err), KL_BAD_INPUT);
    x.url = "https://";
    assert_int_not_equal(kl_http_do(scene.client, &x, &err), KL_OK);
    assert_int_equal(ask(&scene, "GET", "127.0.0.2", "/", &x, &err), KL_UNREACHABLE);
    assert_non_null(strstr(err.text, "cannot connect to 127.0.0.2:"));
    fixture_certificate(*state); /* a CA that the server does not belong to */
    struct kl_http_client *stranger = NULL;
    struct kl_http_client_config c = {
        .ca_file = scene.ca, .connect_ms = 5000, .total_ms = 10000, .max_answer_bytes = 10};
    assert_int_equal(kl_http_client_new(&c, &stranger, NULL), KL_OK);
    x.url = scene.url;
    (void)snprintf(scene.url, sizeof scene.url, "https://localhost:%u/",
                   kl_http_server_port(scene.server));
    assert_int_equal(kl_http_do(stranger, &x, &err), KL_UNREACHABLE);
    (void)snprintf(expected, sizeof expected,
                   "the certificate of localhost:%u is not trusted; is the right CA file given?",
                   kl_http_server_port(scene.server));
    assert_string_equal(err.text, expected);
    kl_http_client_free(stranger);
    c.ca_file = "/nonexistent/ca.pem";
    assert_int_equal(kl_http_client_new(&c, &stranger, NULL), KL_OK);
    assert_int_equal(kl_http_do(stranger, &x, &err), KL_UNREACHABLE);
    assert_non_null(strstr(err.text, "the CA file for localhost"));
    kl_http_client_free(stranger);
    unsigned port = kl_http_server_port(scene.server);
    kl_http_server_stop(kl_take(scene.server), 1000);
    assert_int_equal(kl_http_do(scene.client, &x, &err), KL_UNREACHABLE);
    (void)snprintf(expected, sizeof expected,
                   "cannot connect to localhost:%u: Connection refused; is kluisd running?", port);
    assert_string_equal(err.text, expected);
    scene_done(&scene);
}

static void never(struct kl_http_request *req, void *arg)
{
    *(struct kl_http_request **)arg = req;
}

static void test_base_http_client__timeout(void **state)
{
    struct kl_http_request *held = NULL;
    struct kl_http_server_config config = peer_config(never, &held);
    struct kl_http_server *s = peer_start(*state, &config);
    KL_AUTO(char) ca = fixture_path(*state, "cert.pem");
    const struct kl_http_client_config c = {
        .ca_file = ca, .connect_ms = 5000, .total_ms = 300, .max_answer_bytes = 10};
    KL_AUTO(http_client) client = NULL;
    struct kl_http_exchange x = {.method = "GET"};
    struct kl_err err = {0};
    char url[60];
    (void)snprintf(url, sizeof url, "https://localhost:%u/", kl_http_server_port(s));
    x.url = url;
    assert_int_equal(kl_http_client_new(&c, &client, NULL), KL_OK);
    assert_int_equal(kl_http_do(client, &x, &err), KL_TIMEOUT);
    assert_memory_equal(err.text, "no answer from localhost:", 25);
    kl_http_server_stop(s, 0);
    if (held != NULL) /* the server had got as far as that */
        kl_http_reply(held, 200, NULL, 0, NULL, 0);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_http_client__requests_and_answers),
        cmocka_unit_test(test_base_http_client__headers_and_limits),
        cmocka_unit_test(test_base_http_client__environment_is_ignored),
        cmocka_unit_test(test_base_http_client__sentences),
        cmocka_unit_test(test_base_http_client__timeout),
    };
    return cmocka_run_group_tests_name("base.http_client", tests, fixture_folder,
                                       fixture_folder_gone);
}
