/* HTTPS client over libcurl: TLS 1.2+, own CA file, names checked, no redirects, no proxy and no
 * netrc from the environment, bounded answers, keep-alive. One kl_http_client per thread
 * (connections are reused inside it). Blocking. */
#ifndef KL_BASE_HTTP_CLIENT_H
#define KL_BASE_HTTP_CLIENT_H

#include "base/secret.h"

#include <stdbool.h>

struct kl_http_client;

struct kl_http_client_config {
    const char *ca_file;     /* NULL = the system's */
    int64_t connect_ms;      /* to the end of the TLS handshake */
    int64_t total_ms;        /* of a whole exchange */
    size_t max_answer_bytes; /* of a body; KL_TOO_BIG above */
    const char *user_agent;  /* NULL = none is sent */
};

/** Make a client; the strings are copied. KL_NO_MEMORY. */
enum kl_code kl_http_client_new(const struct kl_http_client_config *config,
                                struct kl_http_client **ret, struct kl_err *err) KL_MUST_USE;
/** Close its connections, free; NULL is fine. */
void kl_http_client_free(struct kl_http_client *c);

/** Zero it, fill the first part, use it for any number of exchanges. */
struct kl_http_exchange {
    /* in */
    const char *method, *url;
    const char *content_type; /* NULL = no body headers beyond Content-Length: 0 */
    const void *body;         /* borrowed */
    size_t body_len;
    const char *const *headers; /* further ones, "Name: value"; borrowed */
    size_t header_count;
    struct kl_secret *bearer; /* NULL or the token for "Authorization: Bearer"; borrowed */
    /* out: fill with kl_http_exchange_done at the end */
    long status;
    struct kl_secret *answer;    /* body, never NULL after KL_OK */
    char www_authenticate[1024]; /* "" when absent */
    int64_t retry_after_ms;      /* -1 when absent, a date, or more than a day */
    char webhook_origin[256];    /* WebHook-Allowed-Origin, "" when absent */
    char request_id[40];         /* x-ms-request-id, "" when absent */
};

/** One exchange. KL_OK whatever the status; KL_UNREACHABLE (connect, TLS, name: the text names host
 * and cause), KL_TIMEOUT, KL_TOO_BIG. https URLs only: others are KL_BAD_INPUT. */
enum kl_code kl_http_do(struct kl_http_client *c, struct kl_http_exchange *x,
                        struct kl_err *err) KL_MUST_USE;
/** Free the answer; what went in is the caller's. */
void kl_http_exchange_done(struct kl_http_exchange *x);

KL_AUTO_DEFINE(http_client, struct kl_http_client, kl_http_client_free);

#endif
