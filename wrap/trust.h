/* Which hosts may get a bearer token or anything else from us. A container names the key that opens
 * it; whoever wrote the container must not choose whom we talk to. Pure functions on the caller's
 * storage, thread safe. */
#ifndef KL_WRAP_TRUST_H
#define KL_WRAP_TRUST_H

#include "base/err.h"

#define KL_ORIGIN_MAX 272 /* "host:port" in lower case, with the NUL */

/** Split an https URL of the plain form "https://HOST[:PORT][/…][?…]": no user, no fragment, only
 * characters that no parser reads in two ways. *ret_rest points at what follows the port ("" when
 * nothing does). KL_BAD_INPUT. */
enum kl_code kl_origin_of(const char *url, char ret_origin[static KL_ORIGIN_MAX],
                          const char **ret_rest, struct kl_err *err) KL_MUST_USE;

struct kl_trust {
    char service[KL_ORIGIN_MAX]; /* KLUIS_URL */
    char vault[KL_ORIGIN_MAX];   /* KLUIS_VAULT_URL, "" when unset */
    char parent[KL_ORIGIN_MAX]; /* ".vault.example.com:8443": one more label in front is trusted; ""
                                   = none */
};

/** From the two configured URLs (vault_url may be NULL). KL_CONFIG names the variable that is no
 * https URL. */
enum kl_code kl_trust_init(const char *url, const char *vault_url, struct kl_trust *ret,
                           struct kl_err *err) KL_MUST_USE;

/** KL_OK when `url` leads to the service's own origin, the vault's, or a sibling of the vault's:
 * same port, one label in front of the same parent domain. Addresses have no siblings, nor has a
 * vault right below a top level ("kluis.nl") or below what looks like a registry's suffix
 * ("kluis.co.uk"). KL_BAD_INPUT for what kl_origin_of refuses; else KL_FORBIDDEN with a sentence
 * that names the host and the variable to set. */
enum kl_code kl_trust_check(const struct kl_trust *trust, const char *url,
                            struct kl_err *err) KL_MUST_USE;

#endif
