/* Logging in at the configured service: OAuth 2.0 client credentials (RFC 6749 section 4.4), tokens
 * kept in memory by origin.
 *
 * Whom to ask for a token is configuration; a challenge only says for which resource. The client
 * secret is read from its file for each login and wiped after it. One per client, not thread safe,
 * blocking.
 */
#ifndef KL_WRAP_VAULT_LOGIN_H
#define KL_WRAP_VAULT_LOGIN_H

#include "base/http_client.h"

struct kl_login;

/** `http` is borrowed; the strings are copied. url: the service, without a slash at the end.
 * KL_NO_MEMORY. */
enum kl_code kl_login_new(struct kl_http_client *http, const char *url, const char *tenant,
                          const char *client_id, const char *secret_file, struct kl_login **ret,
                          struct kl_err *err) KL_MUST_USE;
void kl_login_free(struct kl_login *l);
/** Borrowed. */
const char *kl_login_client_id(const struct kl_login *l);

/** The token for an origin ("host:port"), borrowed until the next call; *ret is NULL while the
 * origin has not challenged us. Logs in again by itself shortly before a token ends.
 * KL_UNAUTHENTICATED with the server's words, KL_THROTTLED, KL_TOKEN_UNAVAILABLE, the codes of
 *  kl_secret_read_file and kl_http_do. */
enum kl_code kl_login_token(struct kl_login *l, const char *origin, struct kl_secret **ret,
                            struct kl_err *err) KL_MUST_USE;

/** The origin answered 401 with this WWW-Authenticate line ("" when it had none): learn its
 * resource, drop its token. */
void kl_login_challenged(struct kl_login *l, const char *origin, const char *challenge);

/** POST a form with the client's credentials and a token's PIN: for `kluis token login`, where no
 * access token can be had. *x is filled; its answer is the caller's (kl_http_exchange_done). */
enum kl_code kl_login_post_pin(struct kl_login *l, const char *url, struct kl_secret *pin,
                               struct kl_http_exchange *x, struct kl_err *err) KL_MUST_USE;

KL_AUTO_DEFINE(login, struct kl_login, kl_login_free);

#endif
