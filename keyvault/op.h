/* One request on its way: what a handler gets, and the ways to end it. Every end goes through the
 * audit log first: the answer leaves only when its record is on disk.
 *
 * A handler runs where its route row says: on the connection's I/O thread (KL_RUN_LOOP: must not
 * block; may hand on to a token call and end in its callback) or on a job thread (KL_RUN_JOB: may
 * block; KL_RUN_READ: may block, but never on a token). It ends the operation exactly once by one
 * of the kl_op_… calls below. */
#ifndef KL_KEYVAULT_OP_H
#define KL_KEYVAULT_OP_H

#include "base/http_server.h"
#include "base/json.h"
#include "base/json_flat.h"
#include "keyvault/auth/authorize.h"

struct kl_service; /* keyvault/service.h */
struct kl_op;

typedef void kl_op_handler(struct kl_op *op);

enum kl_run { KL_RUN_LOOP, KL_RUN_JOB, KL_RUN_READ };

/** One row of the API: routing, 404/405, authorisation, audit and the API page all read it. */
struct kl_route {
    const char *method;
    const char *path; /* "/keys/{name}/{version}/unwrapkey"; literal segments match without case,
                         {version} may be empty or absent */
    enum kl_scope scope;
    enum kl_permission permission;
    enum kl_run run;
    kl_op_handler *handler;
    const char *audit; /* operationName, e.g. "KeyUnwrap" */
    const char *summary;
};

#define KL_OP_SEGMENT_MAX 256
#define KL_EXACT_MAX      (KL_NAME_MAX + KL_VERSION_LEN + 20)

struct kl_op {
    struct kl_http_request *http;
    const struct kl_route *route;
    struct kl_service *service;
    struct kl_vault *vault;  /* reference; NULL unless the scope is HOST or NAMED (or the host
                                happens to match) */
    struct kl_origin origin; /* the configured origin that matched the Host, else the service's */
    char name[KL_OP_SEGMENT_MAX];         /* {name}, percent-decoded, "" when the path has none */
    char version[KL_OP_SEGMENT_MAX];      /* {version} or {id}, "" when absent or empty */
    char subscription[KL_OP_SEGMENT_MAX]; /* of a path of the management API, else "" */
    char place[KL_OP_SEGMENT_MAX];        /* its {group} or {location}, else "" */
    char api_version[40];
    struct kl_caller caller;
    json_t *body; /* parsed object, or NULL when the request had none; not parsed for KL_RUN_LOOP,
                     whose handlers ask kl_op_need_body or read kl_http_body themselves */
    struct kl_key_version
        *key;       /* reference, set by the handler: names the exact version in the audit record */
    unsigned older; /* versions before that, tried for a request that named none */
    char exact[KL_EXACT_MAX]; /* the same for other kinds: "secrets/NAME/VERSION", else "" */
    int64_t started_ms;       /* monotonic */
    char request_id[KL_UUID_LEN + 1];
    struct kl_err err; /* scratch for the handler */
    void *state;       /* the handler's own, freed by it */
};

/** Value of a query parameter (names and values percent-decoded) into out, "" when absent.
 * KL_BAD_INPUT for broken escapes. */
enum kl_code kl_op_query(const struct kl_op *op, const char *name, char *out, size_t room,
                         struct kl_err *err) KL_MUST_USE;

/** End with JSON; the reference is taken. `body` NULL = no body (204). */
void kl_op_reply(struct kl_op *op, int status, json_t *body);
/** End with 202 and where its progress is to be asked for; the URL is copied. */
void kl_op_reply_accepted(struct kl_op *op, const char *location);
/** End with n bytes of a given type (the JSON of hot operations, written by hand); copied, so the
 * caller wipes its own. */
void kl_op_reply_bytes(struct kl_op *op, int status, const char *content_type, const void *bytes,
                       size_t n);
/** End with the HTTP status and error body that keyvault/fault.c gives to err->code. */
void kl_op_fail(struct kl_op *op, const struct kl_err *err);
/** Run `handler` for this op on a job thread (from a loop handler or a token callback). */
void kl_op_to_job(struct kl_op *op, kl_op_handler *handler);
/** The same from a KL_RUN_READ handler that finds that it needs a token: on a thread that may wait
 * for one. */
void kl_op_to_token_job(struct kl_op *op, kl_op_handler *handler);

#endif
