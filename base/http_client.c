#include "base/http_client.h"

#include "base/buf.h"

#include <curl/curl.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

struct kl_http_client {
    CURL *curl;
    struct kl_http_client_config config;
    char *ca_file, *user_agent;
    char words[CURL_ERROR_SIZE];
};

/* What the callbacks of one exchange need. */
struct transfer {
    struct kl_http_exchange *x;
    enum kl_code failure;
};

static void set_up_curl(void)
{
    /* curl's copies of bearer tokens and answers are wiped too. */
    (void)curl_global_init_mem(CURL_GLOBAL_DEFAULT, kl_wiping_malloc, kl_wiping_free,
                               kl_wiping_realloc, strdup, calloc);
}

static size_t on_body(char *bytes, size_t one, size_t n, void *arg)
{
    struct transfer *t = arg;
    (void)one;
    t->failure = kl_secret_append(t->x->answer, bytes, n);
    return t->failure == KL_OK ? n : CURL_WRITEFUNC_ERROR;
}

/* The value when the line is that header, trimmed and copied; false when it is another, or does not
 * fit. */
static bool copy_header(const char *line, size_t n, const char *name, char *out, size_t room)
{
    size_t skip = strlen(name);
    if (n <= skip || line[skip] != ':' || strncasecmp(line, name, skip) != 0)
        return false;
    skip++;
    while (skip < n && (line[skip] == ' ' || line[skip] == '\t'))
        skip++;
    while (n > skip && strchr("\r\n \t", line[n - 1]) != NULL)
        n--;
    if (n - skip >= room)
        return false;
    memcpy(out, line + skip, n - skip);
    out[n - skip] = 0;
    return true;
}

static size_t on_header(char *line, size_t one, size_t n, void *arg)
{
    struct transfer *t = arg;
    struct kl_http_exchange *x = t->x;
    char seconds[16];
    (void)one;
    if (copy_header(line, n, "Retry-After", seconds, sizeof seconds)) {
        char *end = NULL;
        long value =
            strtol(seconds, &end, 10); /* the other form, a date, is not used by those we talk to */
        if (end != seconds && *end == 0 && value >= 0 && value <= 86400)
            x->retry_after_ms = (int64_t)value * 1000;
    }
    (void)copy_header(line, n, "WWW-Authenticate", x->www_authenticate, sizeof x->www_authenticate);
    (void)copy_header(line, n, "WebHook-Allowed-Origin", x->webhook_origin,
                      sizeof x->webhook_origin);
    (void)copy_header(line, n, "x-ms-request-id", x->request_id, sizeof x->request_id);
    return n;
}

/* All that is the same for every exchange. */
static bool set_policy(struct kl_http_client *c)
{
    CURL *h = c->curl;
    CURLcode rc = curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "https");
    rc |= curl_easy_setopt(h, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    rc |= curl_easy_setopt(h, CURLOPT_SSL_VERIFYPEER, 1L);
    rc |= curl_easy_setopt(h, CURLOPT_SSL_VERIFYHOST, 2L);
    rc |= curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
    rc |= curl_easy_setopt(h, CURLOPT_PROXY, "");
    rc |= curl_easy_setopt(h, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    rc |= curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    rc |= curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
    rc |= curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    rc |= curl_easy_setopt(h, CURLOPT_TCP_NODELAY, 1L);
    rc |= curl_easy_setopt(h, CURLOPT_NOPROGRESS, 1L);
    rc |= curl_easy_setopt(h, CURLOPT_ERRORBUFFER, c->words);
    rc |= curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)c->config.connect_ms);
    rc |= curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)c->config.total_ms);
    rc |= curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
    rc |= curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
    rc |= curl_easy_setopt(h, CURLOPT_USERAGENT, c->user_agent);
    if (c->ca_file != NULL) {
        rc |= curl_easy_setopt(h, CURLOPT_CAINFO, c->ca_file);
        rc |= curl_easy_setopt(h, CURLOPT_CAPATH, NULL); /* that file and nothing else */
    }
    return rc == CURLE_OK;
}

enum kl_code kl_http_client_new(const struct kl_http_client_config *config,
                                struct kl_http_client **ret, struct kl_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, set_up_curl);
    KL_AUTO(http_client) c = calloc(1, sizeof *c);
    if (c == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for an HTTPS client");
    c->config = *config;
    c->ca_file = config->ca_file != NULL ? strdup(config->ca_file) : NULL;
    c->user_agent = config->user_agent != NULL ? strdup(config->user_agent) : NULL;
    c->curl = curl_easy_init();
    if (c->curl == NULL || (config->ca_file != NULL && c->ca_file == NULL) ||
        (config->user_agent != NULL && c->user_agent == NULL) || !set_policy(c))
        return kl_fail(err, KL_NO_MEMORY, "curl_easy_init", "the HTTPS client cannot be set up");
    *ret = kl_take(c);
    return KL_OK;
}

void kl_http_client_free(struct kl_http_client *c)
{
    if (c == NULL)
        return;
    if (c->curl != NULL)
        curl_easy_cleanup(c->curl);
    free(c->ca_file);
    free(c->user_agent);
    free(c);
}

static bool add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (longer != NULL)
        *list = longer;
    return longer != NULL;
}

static bool add_bearer(struct curl_slist **list, struct kl_secret *bearer)
{
    static const char name[] = "Authorization: Bearer ";
    KL_AUTO(secret) line = kl_secret_new(sizeof name + kl_secret_len(bearer));
    return line != NULL && kl_secret_append(line, name, sizeof name - 1) == KL_OK &&
           kl_secret_append(line, kl_secret_bytes(bearer), kl_secret_len(bearer)) == KL_OK &&
           add_header(list, (const char *)kl_secret_bytes(line));
}

static bool build_headers(const struct kl_http_exchange *x, struct curl_slist **ret)
{
    char type[160];
    (void)snprintf(type, sizeof type, "Content-Type:%s%s", x->content_type != NULL ? " " : "",
                   x->content_type != NULL ? x->content_type : "");
    for (size_t i = 0; i < x->header_count; i++)
        if (!add_header(ret, x->headers[i]))
            return false;
    return add_header(ret, "Expect:") && add_header(ret, type) &&
           (x->bearer == NULL || add_bearer(ret, x->bearer));
}

static bool set_request(CURL *h, const struct kl_http_exchange *x, struct transfer *t,
                        struct curl_slist *headers)
{
    bool read_only = strcmp(x->method, "GET") == 0 || strcmp(x->method, "HEAD") == 0;
    CURLcode rc = curl_easy_setopt(h, CURLOPT_URL, x->url);
    rc |= curl_easy_setopt(h, CURLOPT_HTTPGET, 1L); /* forgets what the last exchange set */
    rc |= curl_easy_setopt(h, CURLOPT_NOBODY, strcmp(x->method, "HEAD") == 0 ? 1L : 0L);
    if (!read_only) {
        rc |= curl_easy_setopt(h, CURLOPT_POST, 1L);
        rc |= curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->body_len);
        rc |= curl_easy_setopt(h, CURLOPT_POSTFIELDS, x->body_len > 0 ? x->body : "");
    }
    rc |= curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, x->method);
    rc |= curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
    rc |= curl_easy_setopt(h, CURLOPT_WRITEDATA, t);
    rc |= curl_easy_setopt(h, CURLOPT_HEADERDATA, t);
    return rc == CURLE_OK;
}

/* "host:port" of the URL, into out. */
static void name_peer(const char *url, char *out, size_t room)
{
    char *host = NULL, *port = NULL;
    CURLU *u = curl_url();
    bool ok = u != NULL && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK;
    (void)snprintf(out, room, "%s%s%s", ok ? host : "the server", ok ? ":" : "", ok ? port : "");
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
}

/* One sentence per cause that a user can do something about. */
static enum kl_code explain(const struct kl_http_client *c, const struct kl_http_exchange *x,
                            CURLcode rc, struct kl_err *err)
{
    static const struct {
        CURLcode rc;
        enum kl_code code;
        const char *form; /* one %s: the peer */
    } rows[] = {
        {CURLE_COULDNT_RESOLVE_HOST, KL_UNREACHABLE, "cannot find the address of %s"},
        {CURLE_OPERATION_TIMEDOUT, KL_TIMEOUT, "no answer from %s in time"},
        {CURLE_PEER_FAILED_VERIFICATION, KL_UNREACHABLE,
         "the certificate of %s is not trusted; is the right CA file given?"},
        {CURLE_SSL_CACERT_BADFILE, KL_UNREACHABLE,
         "the CA file for %s cannot be read or holds no certificate"},
        {CURLE_SSL_CONNECT_ERROR, KL_UNREACHABLE, "no TLS connection to %s"},
        {CURLE_GOT_NOTHING, KL_UNREACHABLE, "%s closed the connection without an answer"},
        {CURLE_RECV_ERROR, KL_UNREACHABLE, "the connection to %s broke"},
        {CURLE_SEND_ERROR, KL_UNREACHABLE, "the connection to %s broke"},
        {CURLE_PARTIAL_FILE, KL_UNREACHABLE, "the answer of %s was cut off"},
        {CURLE_COULDNT_CONNECT, KL_UNREACHABLE, "cannot connect to %s"},
        {CURLE_OUT_OF_MEMORY, KL_NO_MEMORY, "no memory to talk to %s"},
    };
    char peer[280], text[320];
    long number = 0;
    size_t i = 0;
    name_peer(x->url, peer, sizeof peer);
    (void)curl_easy_getinfo(c->curl, CURLINFO_OS_ERRNO, &number);
    if (rc == CURLE_COULDNT_CONNECT && number != 0) {
        char words[96];
        return kl_fail_native(err, KL_UNREACHABLE, KL_DOMAIN_CURL, rc, "connect",
                              "cannot connect to %s: %s; is kluisd running?", peer,
                              strerror_r((int)number, words, sizeof words));
    }
    while (i < KL_COUNT(rows) && rows[i].rc != rc)
        i++;
    const char *form = i < KL_COUNT(rows) ? rows[i].form : "the exchange with %s failed";
    const char *gap = strstr(form, "%s");
    (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(gap - form), form, peer, gap + 2);
    enum kl_code code = kl_fail_native(err, i < KL_COUNT(rows) ? rows[i].code : KL_UNREACHABLE,
                                       KL_DOMAIN_CURL, rc, "curl", "%s", text);
    if (err != NULL)
        (void)snprintf(err->detail, sizeof err->detail, "%s", c->words);
    return code;
}

static enum kl_code perform(struct kl_http_client *c, struct kl_http_exchange *x,
                            struct curl_slist *headers, struct kl_err *err)
{
    struct transfer t = {.x = x};
    if (!set_request(c->curl, x, &t, headers))
        return kl_fail(err, KL_BAD_INPUT, "curl_easy_setopt", "%s is not a URL to ask", x->url);
    c->words[0] = 0;
    CURLcode rc = curl_easy_perform(c->curl);
    if (t.failure == KL_TOO_BIG)
        return kl_fail(err, KL_TOO_BIG, "curl", "the answer is larger than %zu bytes",
                       c->config.max_answer_bytes);
    if (t.failure != KL_OK)
        return kl_fail(err, t.failure, "curl", "no memory for the answer");
    if (rc != CURLE_OK)
        return explain(c, x, rc, err);
    (void)curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &x->status);
    return KL_OK;
}

enum kl_code kl_http_do(struct kl_http_client *c, struct kl_http_exchange *x, struct kl_err *err)
{
    if (strncasecmp(x->url, "https://", 8) != 0)
        return kl_fail(err, KL_BAD_INPUT, "curl", "%s is not an https:// URL", x->url);
    kl_http_exchange_done(x);
    x->status = 0;
    x->retry_after_ms = -1;
    x->www_authenticate[0] = x->webhook_origin[0] = x->request_id[0] = 0;
    x->answer = kl_secret_new(c->config.max_answer_bytes);
    struct curl_slist *headers = NULL;
    enum kl_code code = KL_NO_MEMORY;
    if (x->answer != NULL && build_headers(x, &headers))
        code = perform(c, x, headers, err);
    else
        (void)kl_fail(err, code, "curl", "no memory for a request");
    (void)curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, NULL);
    (void)curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, NULL);
    curl_slist_free_all(headers);
    if (code != KL_OK)
        kl_http_exchange_done(x);
    return code;
}

void kl_http_exchange_done(struct kl_http_exchange *x)
{
    kl_secret_free(x->answer);
    x->answer = NULL;
}
