#include "wrap/vault_client.h"

#include "base/http_client.h"
#include "wrap/trust.h"
#include "wrap/vault_login.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define API_VERSION "api-version=7.4"

enum {
    URL_MAX = 2048,
    ANSWER_MAX = 24 << 20,
    TRIES = 5,           /* of one call while the service says "later" */
    WAIT_MAX_MS = 10000, /* between two of them */
};

struct kl_vault_client {
    char *url;
    struct kl_trust trust;
    struct kl_http_client *http;
    struct kl_login *login;
};

static enum kl_code check_config(const struct kl_vault_client_config *config, struct kl_err *err)
{
    const struct {
        const char *value, *variable;
    } needed[] = {{config->url, "KLUIS_URL"},
                  {config->tenant, "KLUIS_TENANT"},
                  {config->client_id, "KLUIS_CLIENT_ID"},
                  {config->secret_file, "KLUIS_CLIENT_SECRET_FILE"}};
    for (size_t i = 0; i < KL_COUNT(needed); i++)
        if (needed[i].value == NULL || needed[i].value[0] == 0)
            return kl_fail(err, KL_CONFIG, "config", "%s is not set", needed[i].variable);
    return KL_OK;
}

static char *copy_url(const char *url)
{
    char *copy = strdup(url);
    if (copy != NULL && copy[0] != 0 && copy[strlen(copy) - 1] == '/')
        copy[strlen(copy) - 1] = 0;
    return copy;
}

enum kl_code kl_vault_client_new(const struct kl_vault_client_config *config,
                                 struct kl_vault_client **ret, struct kl_err *err)
{
    enum kl_code code = check_config(config, err);
    if (code != KL_OK)
        return code;
    KL_AUTO(vault_client) c = calloc(1, sizeof *c);
    if (c == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for the client");
    c->url = copy_url(config->url);
    if (c->url == NULL)
        return kl_fail(err, KL_NO_MEMORY, "strdup", "no memory for the client");
    code = kl_trust_init(config->url, config->vault_url, &c->trust, err);
    if (code != KL_OK)
        return code;
    const int64_t total_ms = config->total_ms > 0 ? config->total_ms : 30000;
    const struct kl_http_client_config http = {
        .ca_file = config->ca_file,
        .connect_ms = total_ms < 10000 ? total_ms : 10000,
        .total_ms = total_ms,
        .max_answer_bytes = ANSWER_MAX,
        .user_agent = "kluis/" KLUIS_VERSION,
    };
    code = kl_http_client_new(&http, &c->http, err);
    if (code == KL_OK)
        code = kl_login_new(c->http, c->url, config->tenant, config->client_id, config->secret_file,
                            &c->login, err);
    if (code == KL_OK)
        *ret = kl_take(c);
    return code;
}

void kl_vault_client_free(struct kl_vault_client *c)
{
    if (c == NULL)
        return;
    kl_login_free(c->login);
    if (c->http != NULL)
        kl_http_client_free(c->http);
    free(c->url);
    free(c);
}

static enum kl_code error_of(struct kl_http_exchange *x, struct kl_err *err)
{
    static const struct {
        long status;
        enum kl_code code;
    } rows[] = {{401, KL_UNAUTHENTICATED}, {403, KL_FORBIDDEN}, {404, KL_NOT_FOUND},
                {409, KL_CONFLICT},        {429, KL_THROTTLED}, {503, KL_TOKEN_UNAVAILABLE}};
    enum kl_code code = KL_HTTP_STATUS;
    for (size_t i = 0; i < KL_COUNT(rows); i++)
        if (rows[i].status == x->status)
            code = rows[i].code;
    KL_AUTO(json) json = NULL;
    const char *message = NULL, *name = "";
    if (kl_json_parse((const char *)kl_secret_bytes(x->answer), kl_secret_len(x->answer), &json,
                      NULL) == KL_OK) {
        const json_t *error = json_object_get(json, "error");
        (void)!kl_json_string(error, "message", &message, NULL);
        (void)!kl_json_string(error, "code", &name, NULL);
        (void)!kl_json_string(json_object_get(error, "innererror"), "code", &name, NULL);
    }
    (void)kl_fail_native(err, code, KL_DOMAIN_HTTP, (unsigned long)x->status, x->method, "%s",
                         message != NULL ? message : "the service gave no reason");
    if (message == NULL && err != NULL)
        (void)snprintf(err->text, sizeof err->text, "the service answered with status %ld",
                       x->status);
    if (err != NULL)
        (void)snprintf(err->detail, sizeof err->detail, "%s", name);
    return code;
}

static void wait_before_retry(int64_t retry_after_ms, int attempt)
{
    int64_t ms = retry_after_ms >= 0 ? retry_after_ms : (int64_t)250 << attempt;
    ms = ms < WAIT_MAX_MS ? ms : WAIT_MAX_MS;
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

static enum kl_code absolute_url(const struct kl_vault_client *c, const char *url, char *ret,
                                 char *ret_origin, struct kl_err *err)
{
    char whole[URL_MAX - 32]; /* leaves room for the api-version */
    const char *rest;
    const int n = snprintf(whole, sizeof whole, "%s%s", url[0] == '/' ? c->url : "", url);
    if (n < 0 || (size_t)n >= sizeof whole)
        return kl_fail(err, KL_BAD_INPUT, "url", "the URL is too long");
    enum kl_code code = kl_trust_check(&c->trust, whole, err);
    if (code == KL_OK)
        code = kl_origin_of(whole, ret_origin, &rest, err);
    if (code != KL_OK)
        return code;
    const bool plain = strncmp(rest, "/kluis/", 7) == 0 || strstr(rest, "api-version") != NULL;
    const char *joint = plain ? "" : strchr(rest, '?') != NULL ? "&" : "?";
    (void)snprintf(ret, URL_MAX, "%s%s%s", whole, joint, plain ? "" : API_VERSION);
    return KL_OK;
}

/* One exchange, with our token if there is one. Without a token the body stays at home, as Key
 * Vault's own clients do it: the answer will be a challenge, and the body may hold a DEK. */
static enum kl_code exchange(struct kl_vault_client *c, const char *origin, struct kl_secret *body,
                             struct kl_http_exchange *x, struct kl_err *err)
{
    enum kl_code code = kl_login_token(c->login, origin, &x->bearer, err);
    if (code != KL_OK)
        return code;
    x->content_type = body != NULL ? "application/json" : NULL;
    if (body != NULL && x->bearer != NULL) {
        x->body = kl_secret_bytes(body);
        x->body_len = kl_secret_len(body);
    }
    return kl_http_do(c->http, x, err);
}

static enum kl_code answer_of(struct kl_http_exchange *x, json_t **ret, struct kl_err *err)
{
    if (x->status < 200 || x->status > 299)
        return error_of(x, err);
    json_t *json = NULL;
    enum kl_code code = KL_OK;
    if (x->status != 204 && kl_secret_len(x->answer) > 0)
        code = kl_json_parse((const char *)kl_secret_bytes(x->answer), kl_secret_len(x->answer),
                             &json, err);
    if (code != KL_OK)
        return kl_err_prefix(err, "the service's answer");
    *ret = json;
    return KL_OK;
}

static enum kl_code call(struct kl_vault_client *c, const char *method, const char *url,
                         const char *origin, struct kl_secret *body, json_t **ret,
                         struct kl_err *err)
{
    bool challenged = false;
    for (int attempt = 0;;) {
        struct kl_http_exchange x = {.method = method, .url = url};
        enum kl_code code = exchange(c, origin, body, &x, err);
        const bool log_in = code == KL_OK && x.status == 401 && !challenged;
        const bool later = code == KL_OK ? x.status == 429 || x.status == 503
                                         : code == KL_THROTTLED || code == KL_TOKEN_UNAVAILABLE;
        const bool again = log_in || (later && ++attempt < TRIES);
        if (log_in) {
            challenged = true;
            kl_login_challenged(c->login, origin, x.www_authenticate);
        } else if (again) {
            wait_before_retry(code == KL_OK ? x.retry_after_ms : -1, attempt);
        } else if (code == KL_OK) {
            code = answer_of(&x, ret, err);
        }
        kl_http_exchange_done(&x);
        if (!again)
            return code;
    }
}

static enum kl_code print_body(const json_t *body, struct kl_secret **ret, struct kl_err *err)
{
    const size_t n = json_dumpb(body, NULL, 0, JSON_COMPACT);
    KL_AUTO(secret) text = kl_secret_new(n);
    if (n == 0 || text == NULL || kl_secret_resize(text, n) != KL_OK ||
        json_dumpb(body, (char *)kl_secret_bytes(text), n, JSON_COMPACT) != n)
        return kl_fail(err, KL_NO_MEMORY, "json_dumpb", "the request cannot be written");
    *ret = kl_take(text);
    return KL_OK;
}

enum kl_code kl_vault_call(struct kl_vault_client *c, const char *method, const char *url,
                           const json_t *body, json_t **ret, struct kl_err *err)
{
    char whole[URL_MAX], origin[KL_ORIGIN_MAX];
    KL_AUTO(secret) text = NULL;
    enum kl_code code = absolute_url(c, url, whole, origin, err);
    if (code == KL_OK && body != NULL)
        code = print_body(body, &text, err);
    return code == KL_OK ? call(c, method, whole, origin, text, ret, err) : code;
}

enum kl_code kl_vault_token_login(struct kl_vault_client *c, const char *token,
                                  struct kl_secret *pin, json_t **ret, struct kl_err *err)
{
    char path[URL_MAX / 2], whole[URL_MAX], origin[KL_ORIGIN_MAX];
    struct kl_http_exchange x = {.method = "POST"};
    if (snprintf(path, sizeof path, "/kluis/v1/tokens/%s/login", token) >= (int)sizeof path)
        return kl_fail(err, KL_BAD_INPUT, "token", "the token's name is too long");
    enum kl_code code = absolute_url(c, path, whole, origin, err);
    if (code == KL_OK)
        code = kl_login_post_pin(c->login, whole, pin, &x, err);
    if (code == KL_OK)
        code = answer_of(&x, ret, err);
    kl_http_exchange_done(&x);
    return code;
}

const char *kl_vault_client_id(const struct kl_vault_client *c)
{
    return kl_login_client_id(c->login);
}

enum kl_code kl_vault_check_url(const struct kl_vault_client *c, const char *url,
                                struct kl_err *err)
{
    return kl_trust_check(&c->trust, url, err);
}

enum kl_code kl_vault_whoami(struct kl_vault_client *c, json_t **ret, struct kl_err *err)
{
    return kl_vault_call(c, "GET", "/kluis/v1/whoami", NULL, ret, err);
}
