#include "keyvault/auth/origin.h"

#include <arpa/inet.h>
#include <string.h>

#define SCHEME     "https://"
#define SCHEME_LEN (sizeof SCHEME - 1)
#define PLAIN_PORT 443

static bool name_valid(const char *host)
{
    size_t label = 0;
    for (const char *c = host; *c != 0; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9');
        bool edge = label == 0 || c[1] == '.' || c[1] == 0;
        if (*c == '.' && label == 0)
            return false;
        if (*c != '.' && !plain && (*c != '-' || edge))
            return false;
        label = *c == '.' ? 0 : label + 1;
        if (label > 63)
            return false;
    }
    return label > 0;
}

static bool port_parse(const char *text, uint16_t *ret)
{
    unsigned port = 0;
    size_t n = strlen(text);
    if (n == 0 || n > 5 || text[0] == '0')
        return false;
    for (; *text != 0; text++) {
        if (*text < '0' || *text > '9')
            return false;
        port = port * 10 + (unsigned)(*text - '0');
    }
    if (port > UINT16_MAX)
        return false;
    *ret = (uint16_t)port;
    return true;
}

/* Cut the host off `text`; what follows it is returned, NULL when there is no host. */
static char *split_host(char *text, char **ret_host)
{
    unsigned char ipv6[16];
    if (text[0] != '[') {
        char *rest = text + strcspn(text, ":");
        *ret_host = text;
        return rest;
    }
    char *end = strchr(text, ']');
    if (end == NULL)
        return NULL;
    *end = 0;
    *ret_host = text + 1;
    return inet_pton(AF_INET6, text + 1, ipv6) == 1 ? end + 1 : NULL;
}

enum kl_code kl_origin_parse(const char *text, struct kl_origin *ret, struct kl_err *err)
{
    static const char wrong[] = "'%.80s' is not an origin (host:port)";
    char copy[KL_AUDIENCE_MAX];
    const char *from = strncasecmp(text, SCHEME, SCHEME_LEN) == 0 ? text + SCHEME_LEN : text;
    size_t n = strlen(from);
    if (from != text && n > 0 && from[n - 1] == '/')
        n--;
    if (n == 0 || n >= sizeof copy)
        return kl_fail(err, KL_BAD_INPUT, "origin", wrong, text);
    for (size_t i = 0; i < n; i++)
        copy[i] = (char)(from[i] >= 'A' && from[i] <= 'Z' ? from[i] + 32 : from[i]);
    copy[n] = 0;

    struct kl_origin origin = {.port = PLAIN_PORT};
    char *host = NULL;
    char *rest = split_host(copy, &host);
    if (rest == NULL)
        return kl_fail(err, KL_BAD_INPUT, "origin", wrong, text);
    bool port_ok = *rest == 0 || (*rest == ':' && port_parse(rest + 1, &origin.port));
    *rest = 0;
    if (!port_ok || strlen(host) > KL_HOST_MAX || (copy[0] != '[' && !name_valid(host)))
        return kl_fail(err, KL_BAD_INPUT, "origin", wrong, text);
    memcpy(origin.host, host, strlen(host) + 1);
    *ret = origin;
    return KL_OK;
}

static void put_host(struct kl_buf *b, const char *host)
{
    bool ipv6 = strchr(host, ':') != NULL;
    kl_buf_printf(b, SCHEME "%s%s%s", ipv6 ? "[" : "", host, ipv6 ? "]" : "");
}

void kl_origin_put(struct kl_buf *b, const struct kl_origin *origin)
{
    put_host(b, origin->host);
    if (origin->port != PLAIN_PORT)
        kl_buf_printf(b, ":%u", origin->port);
}

const char *kl_origin_parent(const char *host)
{
    const char *dot = strchr(host, ':') == NULL ? strchr(host, '.') : NULL;
    return dot != NULL && dot[1] != 0 ? dot + 1 : host;
}

bool kl_origin_is_audience(const struct kl_origin *origin, const char *audience)
{
    const char *hosts[] = {origin->host, kl_origin_parent(origin->host)};
    size_t n = strlen(audience);
    if (n > 0 && audience[n - 1] == '/')
        n--;
    bool fits = false;
    for (size_t i = 0; i < 2 * KL_COUNT(hosts) && !fits; i++) {
        struct kl_buf candidate = KL_BUF_INIT(KL_AUDIENCE_MAX);
        put_host(&candidate, hosts[i / 2]);
        if (i % 2 == 1)
            kl_buf_printf(&candidate, ":%u", origin->port);
        fits = !kl_buf_failed(&candidate) && candidate.len == n &&
               memcmp(candidate.bytes, audience, n) == 0;
        kl_buf_done(&candidate);
    }
    return fits;
}
