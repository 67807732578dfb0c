#include "tests/unit/cli/fake_service.h"

#include "base/http_server.h"
#include "base/tls.h"
#include "cli/dev_site.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 64, BODY = 8192 };

struct row {
    char method[8], path[200], body[BODY];
    int status;
    bool used;
};

static struct row answers[ROWS], seen[ROWS];
static char hosts[ROWS][100];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kl_http_server *server;
static SSL_CTX *tls;

static struct row *find(struct row *rows, const char *method, const char *path, bool make)
{
    for (size_t i = 0; i < ROWS; i++) {
        struct row *r = &rows[i];

        if (r->used && strcmp(r->method, method) == 0 && strcmp(r->path, path) == 0)
            return r;
        if (!r->used && make) {
            snprintf(r->method, sizeof(r->method), "%s", method);
            snprintf(r->path, sizeof(r->path), "%s", path);
            r->used = true;
            return r;
        }
        if (!r->used)
            return NULL;
    }
    return NULL;
}

static void reply(struct kl_http_request *req, int status, const char *body)
{
    const struct kl_http_header json = {"Content-Type", "application/json"};

    kl_http_reply(req, status, &json, 1, body, strlen(body));
}

static void challenge(struct kl_http_request *req)
{
    char value[300];

    snprintf(
        value, sizeof(value),
        "Bearer authorization=\"https://localhost:%u/tenant\", resource=\"https://vault.localhost\"",
        fake_port());
    const struct kl_http_header h = {"WWW-Authenticate", value};

    kl_http_reply(req, 401, &h, 1, "{}", 2);
}

static void note(struct kl_http_request *req)
{
    struct row *r = find(seen, kl_http_method(req), kl_http_path(req), true);
    const char *host = kl_http_header(req, "Host");
    size_t n = 0;
    const char *body = kl_http_body(req, &n);

    snprintf(r->body, sizeof(r->body), "%.*s", (int)n, body != NULL ? body : "");
    snprintf(hosts[r - seen], sizeof(hosts[0]), "%s", host != NULL ? host : "");
}

static void handle(struct kl_http_request *req, void *arg)
{
    const char *path = kl_http_path(req), *bearer = kl_http_header(req, "Authorization");
    size_t n = strlen(path);
    const struct row *r;

    (void)arg;
    if (n > 6 && strcmp(path + n - 6, "/token") == 0) {
        reply(req, 200,
              "{\"token_type\":\"Bearer\",\"expires_in\":3599,\"access_token\":\"good\"}");
        return;
    }
    if (bearer == NULL || strcmp(bearer, "Bearer good") != 0) {
        challenge(req);
        return;
    }
    pthread_mutex_lock(&lock);
    note(req);
    r = find(answers, kl_http_method(req), path, false);
    if (r != NULL)
        reply(req, r->status, r->body);
    else
        reply(req, 404, "{\"error\":{\"code\":\"KeyNotFound\",\"message\":\"nothing here\"}}");
    pthread_mutex_unlock(&lock);
}

uint16_t fake_port(void)
{
    return kl_http_server_port(server);
}

static void point_at(const char *folder)
{
    KL_AUTO(char) secret = fixture_file(folder, "secret", "s3cret\n", 7);
    KL_AUTO(char) ca = fixture_path(folder, "ca.pem");
    char url[100];

    snprintf(url, sizeof(url), "https://localhost:%u", fake_port());
    setenv("KLUIS_URL", url, 1);
    snprintf(url, sizeof(url), "https://demo.vault.localhost:%u", fake_port());
    setenv("KLUIS_VAULT_URL", url, 1);
    setenv("KLUIS_CA", ca, 1);
    setenv("KLUIS_TENANT", "11111111-2222-3333-4444-555555555555", 1);
    setenv("KLUIS_CLIENT_ID", "66666666-7777-8888-9999-000000000000", 1);
    setenv("KLUIS_CLIENT_SECRET_FILE", secret, 1);
    setenv("XDG_CONFIG_HOME", folder, 1);
    unsetenv("KLUIS_CONFIG");
}

void fake_start(const char *folder)
{
    KL_AUTO(dev_site) site = NULL;
    KL_AUTO(char) chain = fixture_path(folder, "server.pem");
    KL_AUTO(char) key = fixture_path(folder, "server-key.pem");

    assert_int_equal(kl_dev_site_open(folder, true, &site, NULL), KL_OK);
    assert_int_equal(kl_dev_make_certificates(site, NULL), KL_OK);
    assert_int_equal(kl_tls_server(chain, key, &tls, NULL), KL_OK);
    const struct kl_http_server_config config = {.listen = "127.0.0.1:0",
                                                 .io_threads = 1,
                                                 .tls = tls,
                                                 .max_header_bytes = 16384,
                                                 .max_body_bytes = 1 << 20,
                                                 .max_connections = 64,
                                                 .max_per_address = 64,
                                                 .handshake_ms = 60000,
                                                 .request_ms = 60000,
                                                 .idle_ms = 60000,
                                                 .handler = handle};

    assert_int_equal(kl_http_server_start(&config, &server, NULL), KL_OK);
    point_at(folder);
}

void fake_stop(void)
{
    kl_http_server_stop(server, 1000);
    SSL_CTX_free(tls);
}

void fake_answer(const char *method, const char *path, int status, const char *body)
{
    char port[8];
    struct row *r;
    size_t n = 0;

    snprintf(port, sizeof(port), "%u", fake_port());
    pthread_mutex_lock(&lock);
    r = find(answers, method, path, true);
    assert_non_null(r);
    r->status = status;
    while (*body != '\0' && n + 10 < sizeof(r->body)) {
        if (strncmp(body, "%PORT%", 6) == 0) {
            n += (size_t)snprintf(r->body + n, sizeof(r->body) - n, "%s", port);
            body += 6;
        } else {
            r->body[n++] = *body++;
        }
    }
    r->body[n] = '\0';
    pthread_mutex_unlock(&lock);
}

void fake_forget(void)
{
    pthread_mutex_lock(&lock);
    memset(answers, 0, sizeof(answers));
    memset(seen, 0, sizeof(seen));
    pthread_mutex_unlock(&lock);
}

const char *fake_seen_host(const char *method, const char *path)
{
    const struct row *r = find(seen, method, path, false);

    return r != NULL ? hosts[r - seen] : NULL;
}

const char *fake_seen_body(const char *method, const char *path)
{
    const struct row *r = find(seen, method, path, false);

    return r != NULL ? r->body : NULL;
}
