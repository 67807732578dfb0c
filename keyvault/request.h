/* A request inside the server: the op that handlers see, and what only server.c, op.c and audit.c
 * need to end it. Made on an I/O thread, ended on any. */
#ifndef KL_KEYVAULT_REQUEST_H
#define KL_KEYVAULT_REQUEST_H

#include "base/buf.h"
#include "keyvault/route.h"
#include "keyvault/service.h"

#define KL_NO_ROUTE_INDEX SIZE_MAX

struct kl_request {
    struct kl_op op; /* first: handlers get its address */
    size_t route_index;
    char client_request_id[80]; /* x-ms-client-request-id when sane, else "" */
    char region[64];
    char allow[KL_ALLOW_MAX]; /* for a 405 */
    char *location;           /* of a 202, malloc'd; else NULL */
    bool expected;            /* announced to the audit log: its record comes within a token call */
    /* the answer, once it is known */
    int status;
    const char *content_type; /* static */
    struct kl_buf answer;     /* may hold a data key: wiped */
    enum kl_code fault;       /* KL_OK for a success */
    int64_t wait_ms;          /* of a 429: when it is worth trying again; 0 = a second */
};

static inline struct kl_request *kl_request_of(struct kl_op *op)
{
    return (struct kl_request *)op;
}

/** Take a request through routing, authentication and authorisation to its handler. The
 * kl_http_handler of the program; `arg` is the struct kl_service. */
void kl_server_handle(struct kl_http_request *http, void *arg);
/** kl_http_server_config.vouch: is it the header of an access token that is good now? */
bool kl_server_vouch(const char *authorization, void *arg);

#endif
