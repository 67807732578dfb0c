/* Client assertions (RFC 7523 section 3): a JWT that a client signs with the key of a certificate
 * that it has as a credential. Says who signed and for whom; knows no HTTP. */
#ifndef KL_KEYVAULT_ASSERTION_H
#define KL_KEYVAULT_ASSERTION_H

#include "keyvault/auth/jws.h"
#include "keyvault/model/principal.h"

#define KL_ASSERTION_LIFE_MAX_S 3600
/* What MSAL gives its assertions. MSAL for node 5.6 (ClientAssertion.getJwt), and with it the Azure
 * SDK's ClientCertificateCredential, sends one as often as it needs a token until it ends, as Entra
 * ID allows. */
#define KL_ASSERTION_BRIEF_S 600
#define KL_ASSERTION_TYPE    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

struct kl_assertion {
    struct kl_jws jws;
    json_t *claims;
    enum kl_jws_alg alg;
    const char *client_id; /* iss and sub; borrowed from claims */
    const char *audience;  /* borrowed from claims */
    const char *id;        /* jti; borrowed from claims */
    int64_t expires;       /* unix seconds */
    bool brief;            /* made for at most KL_ASSERTION_BRIEF_S, as it says itself */
};

/** Take an assertion apart: "alg" RS256 or PS256; the certificate named by "x5t" or "x5t#S256";
 * iss and sub the same client id; a jti; exp at most KL_ASSERTION_LIFE_MAX_S ahead, nbf and iat not
 * ahead (a minute of skew). Nothing is authentic yet. KL_UNAUTHENTICATED with a sentence. `text`
 * must outlive *ret; end it with kl_assertion_done.
 * Source: RFC 7523; learn.microsoft.com, "Microsoft identity platform application authentication
 * certificate credentials"; @azure/msal-common 16: seen. */
enum kl_code kl_assertion_open(const char *text, size_t n, int64_t now, struct kl_assertion *ret,
                               struct kl_err *err) KL_MUST_USE;
void kl_assertion_done(struct kl_assertion *a);

/** Check its signature under the one of these credentials that its header names.
 * KL_UNAUTHENTICATED. */
enum kl_code kl_assertion_verify(const struct kl_assertion *a,
                                 const struct kl_credential *credentials, size_t count, int64_t now,
                                 struct kl_err *err) KL_MUST_USE;

/* --- assertions that were used --- */

struct kl_replays;

/** NULL without memory. Bounded, thread safe. */
struct kl_replays *kl_replays_new(void);
void kl_replays_free(struct kl_replays *r);
/** Take note of a verified assertion from `peer`, the client's address. KL_EXISTS: it was used
 * before; a brief one may come again from where it came from first. KL_THROTTLED: too many are
 * remembered to remember one more; it must not be let through then. */
enum kl_code kl_replays_note(struct kl_replays *r, const struct kl_assertion *a, const char *peer,
                             int64_t now, struct kl_err *err) KL_MUST_USE;

#endif
