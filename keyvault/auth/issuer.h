/* The built-in token service without its HTTP: client credentials in, access tokens out, signed by
 * the issuer's key on the token. Thread safe. */
#ifndef KL_KEYVAULT_ISSUER_H
#define KL_KEYVAULT_ISSUER_H

#include "base/json.h"
#include "keyvault/auth/authorize.h"
#include "keyvault/auth/origin.h"

/** The tenant, lower case. Borrowed. */
const char *kl_issuer_tenant(const struct kl_authenticator *a);
/** The JWK set with the issuer's public key; new reference, NULL without memory. */
json_t *kl_issuer_jwks(const struct kl_authenticator *a);

/** The audience that a request asks for: of a `resource` ("https://vault.azure.net/") or a `scope`
 * (the same behind
 * "/.default" or "//.default"; openid, profile and offline_access beside it are passed over). Lower
 * case, without a slash at the end. KL_BAD_INPUT when it is not a single one of ours. */
enum kl_code kl_issuer_audience(const struct kl_authenticator *a, const char *text, bool is_scope,
                                char ret[static KL_AUDIENCE_MAX], struct kl_err *err) KL_MUST_USE;

/** Check a client id and its secret. An unknown client, a disabled one and a wrong secret are one
 * answer, in one time: KL_UNAUTHENTICATED. KL_KEY_EXPIRED for one that was right once. KL_THROTTLED
 * after KL_FAILURES_MAX failures of this id from this address (`peer`). */
enum kl_code kl_issuer_check_client(struct kl_authenticator *a, const char *client_id,
                                    struct kl_secret *secret, const char *peer,
                                    struct kl_principal *ret, struct kl_err *err) KL_MUST_USE;

/** Check a client assertion (assertion.h); `client_id` is what the form says beside it, or "".
 * `origin` is where the request came in: the assertion must be for an endpoint there or on the
 * service's own. Each is good once, or for ten minutes
 * at one address (assertion.h): KL_EXISTS. KL_UNAUTHENTICATED, KL_THROTTLED. */
enum kl_code kl_issuer_check_assertion(struct kl_authenticator *a, const char *client_id,
                                       const char *text, const struct kl_origin *origin,
                                       const char *peer, struct kl_principal *ret,
                                       struct kl_err *err) KL_MUST_USE;

struct kl_issued {
    struct kl_secret *token;     /* the JWT; borrowed during the callback */
    int64_t expires_in, expires; /* seconds from now; unix seconds */
};

/** Comes once, on the token's supervisor thread, and must not block. `issued` is NULL unless
 * err->code is KL_OK. */
typedef void kl_issue_done(void *arg, const struct kl_issued *issued, const struct kl_err *err);

/** How a client showed who it is: Entra ID's claim appidacr, by which audit records tell. */
enum kl_login { KL_LOGIN_SECRET = 1, KL_LOGIN_ASSERTION = 2 };

/** Its word in an audit record; "bearer" for what is none of them. */
const char *kl_issuer_login_word(int how);

/** Make an access token for a principal and an audience. Never blocks. Not KL_OK = `done` will not
 * come: KL_TOKEN_…, KL_NO_MEMORY. */
enum kl_code kl_issuer_issue(struct kl_authenticator *a, const struct kl_principal *who,
                             enum kl_login how, const char *audience, kl_issue_done *done,
                             void *arg, struct kl_err *err) KL_MUST_USE;

#endif
