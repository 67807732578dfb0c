/* Origins as text: what vaults are reached at, what challenges and audiences are made of. Pure
 * functions. */
#ifndef KL_KEYVAULT_ORIGIN_H
#define KL_KEYVAULT_ORIGIN_H

#include "base/buf.h"
#include "keyvault/model/object.h"

#define KL_AUDIENCE_MAX 300 /* characters of an audience that can fit any origin, with the NUL */

/** "host:port", "host" (port 443), or either behind "https://" with at most one "/" at the end.
 * Host names, IPv4, IPv6 in brackets; made lower case. KL_BAD_INPUT with a sentence. */
enum kl_code kl_origin_parse(const char *text, struct kl_origin *ret,
                             struct kl_err *err) KL_MUST_USE;

/** Append "https://host:port"; the port 443 is left out, IPv6 gets its brackets. No slash. */
void kl_origin_put(struct kl_buf *b, const struct kl_origin *origin);

/** The host less its first label, as a text rule (127.0.0.1 -> 0.0.1), or the host itself when it
 * has only one label or is IPv6. Borrowed from `host`. This is the `resource` of the challenge:
 * the Azure SDKs refuse a challenge unless the request's host ends in "." and it. */
const char *kl_origin_parent(const char *host);

/** Whether an audience belongs to an origin: https://host or its parent, with or without the port,
 * with or without one slash at the end; compared byte by byte. libmongocrypt asks for the form
 * without a port. */
bool kl_origin_is_audience(const struct kl_origin *origin, const char *audience);

#endif
