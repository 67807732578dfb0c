/* A server under test, and raw TLS clients that say exactly the bytes they are told. Server: any
 * thread; clients: one each. */
#ifndef KL_TESTS_UNIT_BASE_HTTP_PEER_H
#define KL_TESTS_UNIT_BASE_HTTP_PEER_H

#include "tests/unit/base/fixture.h"

#include "base/http_server.h"

/** Limits that tests may change before peer_start. */
struct kl_http_server_config peer_config(kl_http_handler *handler, void *arg);
/** Start it with the certificate of the folder, on any free port. */
struct kl_http_server *peer_start(const char *folder, struct kl_http_server_config *config);

struct peer; /* one client */
/** Connected and shaken hands; NULL when the server would not. */
struct peer *peer_new(const struct kl_http_server *s);
/** Connected, not a byte said. */
struct peer *peer_new_silent(const struct kl_http_server *s);
/** A socket that is not connected yet, and its two next steps. peer_shake says whether TLS was
 * agreed on. */
struct peer *peer_new_socket(void);
void peer_connect(struct peer *p, const struct kl_http_server *s);
bool peer_shake(struct peer *p);
/** Close at once: with a reset when `abort`. */
void peer_free(struct peer *p, bool abort);
void peer_say(struct peer *p, const char *bytes, size_t n);
/** As peer_say, false when the server has closed. */
bool peer_try_say(struct peer *p, const char *bytes, size_t n);
/** Everything until the server closes, as text into out. */
size_t peer_hear_all(struct peer *p, char *out, size_t room);
/** One answer: head, and body by its Content-Length; false when the server closed before.
 * `has_body` = false for HEAD. */
bool peer_hear(struct peer *p, char *head, size_t head_room, char *body, size_t body_room,
               bool has_body);
/** Say a whole request text and hear the answer's status; 0 when the server closed. */
int peer_ask(struct peer *p, const char *request);

#endif
