/* Client of the key service's HTTPS API, for the backup layer and the CLI. Written apart from the
 * server's codec on purpose: a mistake shared by both sides would pass every test of ours. The
 * server answers to foreign clients too (tests/clients/).
 *
 * Logs in as Key Vault clients do: 401 challenge, then OAuth 2.0 client credentials at the
 * configured authority (never at one that a challenge names on another host), token kept in memory
 * until shortly before it expires. The bearer token is sent only to hosts that the configuration
 * trusts: the authority's own host and port, the vault URL's, and siblings below the vault URL's
 * parent domain (same port). Retries 429 and 503 as Retry-After says, a bounded number of times.
 * One client per thread. Blocking.
 */
#ifndef KL_WRAP_VAULT_CLIENT_H
#define KL_WRAP_VAULT_CLIENT_H

#include "base/json.h"
#include "base/secret.h"

struct kl_vault_client;

struct kl_vault_client_config {
    const char *url;         /* KLUIS_URL: authority and service origin, "https://localhost:8443" */
    const char *vault_url;   /* KLUIS_VAULT_URL: default vault; may be NULL */
    const char *ca_file;     /* KLUIS_CA; NULL = the system's */
    const char *tenant;      /* KLUIS_TENANT */
    const char *client_id;   /* KLUIS_CLIENT_ID */
    const char *secret_file; /* KLUIS_CLIENT_SECRET_FILE */
    int64_t total_ms;        /* limit of one exchange; 0 = 30 s */
};

/** Strings are copied. KL_CONFIG names the variable or option that is missing. */
enum kl_code kl_vault_client_new(const struct kl_vault_client_config *config,
                                 struct kl_vault_client **ret, struct kl_err *err) KL_MUST_USE;
void kl_vault_client_free(struct kl_vault_client *c);

/** The configured client id, borrowed. */
const char *kl_vault_client_id(const struct kl_vault_client *c);

/** One API call with login and retries. `url` is absolute, or begins with "/" and is then below
 * config.url. api-version is appended when the path is not below /kluis/. `body` may be NULL. *ret
 * is the answer's JSON (NULL for 204), the caller's. An error answer is KL_HTTP_STATUS with the
 * server's message as text, the HTTP status as native and the API code ("KeyNotFound", innererror
 * first) in detail; 404 is KL_NOT_FOUND, 401 KL_UNAUTHENTICATED, 403 KL_FORBIDDEN, 409 KL_CONFLICT,
 * 429 KL_THROTTLED, 503 KL_TOKEN_UNAVAILABLE, with the same native and detail. */
enum kl_code kl_vault_call(struct kl_vault_client *c, const char *method, const char *url,
                           const json_t *body, json_t **ret, struct kl_err *err) KL_MUST_USE;

/** Log in now and say who we are: the answer of GET /kluis/v1/whoami. */
enum kl_code kl_vault_whoami(struct kl_vault_client *c, json_t **ret,
                             struct kl_err *err) KL_MUST_USE;

/** Would a call to this URL be allowed? KL_FORBIDDEN with a sentence that names the host and the
 * variable to set; KL_BAD_INPUT. Sends nothing. */
enum kl_code kl_vault_check_url(const struct kl_vault_client *c, const char *url,
                                struct kl_err *err) KL_MUST_USE;

/** Hand its PIN to a token that waits for one, with the client's own credentials: no access token
 * is needed, as the token that waits may be the one that signs them. *ret is the token as the
 * service sees it then. KL_CONFLICT: it waits for none, or refused the PIN. Never retried. */
enum kl_code kl_vault_token_login(struct kl_vault_client *c, const char *token,
                                  struct kl_secret *pin, json_t **ret,
                                  struct kl_err *err) KL_MUST_USE;

#define KL_WRAPPED_MAX 512 /* bytes: RSA-4096 */
#define KL_KEY_URL_MAX 1024

/** wrapKey of `dek` under key_url (with or without version), alg "RSA-OAEP-256". ret_kid gets the
 * versioned id that did it. */
enum kl_code kl_vault_wrap_key(struct kl_vault_client *c, const char *key_url, const char *alg,
                               struct kl_secret *dek, uint8_t ret_wrapped[static KL_WRAPPED_MAX],
                               size_t *ret_len, char ret_kid[static KL_KEY_URL_MAX],
                               struct kl_err *err) KL_MUST_USE;

/** unwrapKey by exactly the version that kid names. KL_WRAP_KEY when the service says that it does
 * not decrypt. */
enum kl_code kl_vault_unwrap_key(struct kl_vault_client *c, const char *kid, const char *alg,
                                 const uint8_t *wrapped, size_t n, struct kl_secret **ret_dek,
                                 struct kl_err *err) KL_MUST_USE;

KL_AUTO_DEFINE(vault_client, struct kl_vault_client, kl_vault_client_free);

#endif
