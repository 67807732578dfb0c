#include "wrap/trust.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define HTTPS   "https://"
#define DIGITS  "0123456789"
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
/* RFC 3986 pchar, "/" and "?", without "@" and what shells and parsers like to read as something
 * else. */
#define PATH_CHARS DIGITS LETTERS "-._~%!$&'()*+,;=:/?"

static size_t host_length(const char *p)
{
    if (*p != '[')
        return strspn(p, DIGITS LETTERS "-.");
    const size_t n = strspn(p + 1, DIGITS "abcdefABCDEF:.");
    return p[1 + n] == ']' ? n + 2 : 0;
}

/* "[:PORT]" at *p; 443 when absent, 0 when wrong. Moves *p behind it. */
static unsigned long port_at(const char **p)
{
    if (**p != ':')
        return 443;
    const size_t n = strspn(*p + 1, DIGITS);
    const unsigned long port = n >= 1 && n <= 5 ? strtoul(*p + 1, NULL, 10) : 0;
    *p += 1 + n;
    return port <= 65535 ? port : 0;
}

enum kl_code kl_origin_of(const char *url, char ret_origin[static KL_ORIGIN_MAX],
                          const char **ret_rest, struct kl_err *err)
{
    if (strncmp(url, HTTPS, strlen(HTTPS)) != 0)
        return kl_fail(err, KL_BAD_INPUT, "url", "the URL does not begin with https://");
    const char *host = url + strlen(HTTPS), *p = host;
    const size_t host_len = host_length(host);
    p += host_len;
    const unsigned long port = port_at(&p);
    if (host_len == 0 || host_len > 253 || port == 0 || strspn(p, PATH_CHARS) != strlen(p) ||
        (*p != 0 && *p != '/' && *p != '?'))
        return kl_fail(err, KL_BAD_INPUT, "url",
                       "the URL is not of the form https://HOST:PORT/PATH");
    (void)snprintf(ret_origin, KL_ORIGIN_MAX, "%.*s:%lu", (int)host_len, host, port);
    for (char *c = ret_origin; *c != 0; c++)
        *c = (char)tolower((unsigned char)*c);
    *ret_rest = p;
    return KL_OK;
}

/* Of "kluis.co.uk" the parent is a suffix below which strangers register: two labels, the first of
 * at most three letters. */
static bool registry_suffix(const char *parent)
{
    const char *dot = strchr(parent, '.');
    return dot == NULL || (dot - parent <= 3 && strchr(dot + 1, '.') == NULL);
}

static void find_parent(const char *origin, char *ret_parent)
{
    const char *dot = strchr(origin, '.');
    char parent[KL_ORIGIN_MAX];
    ret_parent[0] = 0;
    if (origin[0] == '[' || dot == NULL)
        return;
    (void)snprintf(parent, sizeof parent, "%.*s", (int)strcspn(dot + 1, ":"), dot + 1);
    if (strspn(parent, DIGITS ".") == strlen(parent) || registry_suffix(parent))
        return;
    (void)snprintf(ret_parent, KL_ORIGIN_MAX, "%s", dot);
}

enum kl_code kl_trust_init(const char *url, const char *vault_url, struct kl_trust *ret,
                           struct kl_err *err)
{
    struct kl_trust trust = {.vault = ""};
    const char *rest;
    if (kl_origin_of(url, trust.service, &rest, err) != KL_OK) {
        (void)kl_err_prefix(err, "KLUIS_URL");
        return err != NULL ? (err->code = KL_CONFIG) : KL_CONFIG;
    }
    if (vault_url != NULL && kl_origin_of(vault_url, trust.vault, &rest, err) != KL_OK) {
        (void)kl_err_prefix(err, "KLUIS_VAULT_URL");
        return err != NULL ? (err->code = KL_CONFIG) : KL_CONFIG;
    }
    if (vault_url != NULL)
        find_parent(trust.vault, trust.parent);
    *ret = trust;
    return KL_OK;
}

/* The service's own origin, the vault's, or a sibling of the vault's. */
static bool covers(const struct kl_trust *trust, const char *origin)
{
    if (strcmp(origin, trust->service) == 0 || strcmp(origin, trust->vault) == 0)
        return true;
    const char *dot = strchr(origin, '.');
    return trust->parent[0] != 0 && dot != NULL && dot > origin && strcmp(dot, trust->parent) == 0;
}

enum kl_code kl_trust_check(const struct kl_trust *trust, const char *url, struct kl_err *err)
{
    char origin[KL_ORIGIN_MAX];
    const char *rest;
    enum kl_code code = kl_origin_of(url, origin, &rest, err);
    if (code != KL_OK || covers(trust, origin))
        return code;
    return kl_fail(
        err, KL_FORBIDDEN, "trust",
        "%.100s is not a host that we trust, nothing was sent to it; if it is yours, set "
        "KLUIS_VAULT_URL to https://%.100s",
        origin, origin);
}
