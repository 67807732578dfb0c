#include "wrap/vault_login.h"

#include "base/clock.h"
#include "base/json.h"
#include "wrap/trust.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    URL_MAX = 2048,
    RESOURCE_MAX = 512,
    TOKEN_MAX = 16 * 1024,
    SECRET_MAX = 1024,
    REMEMBERED = 8,       /* origins whose resource we know */
    EARLY_MS = 60 * 1000, /* a token is renewed so long before its end */
};

/* What a challenge taught us about one origin, and the token we got for it. */
struct grant {
    char origin[KL_ORIGIN_MAX];
    char resource[RESOURCE_MAX];
    struct kl_secret *token; /* NULL until logged in */
    int64_t until_ms;        /* monotonic */
};

struct kl_login {
    struct kl_http_client *http; /* borrowed */
    char *url, *tenant, *client_id, *secret_file;
    struct grant grants[REMEMBERED];
    size_t next_grant; /* the slot to use again when all are taken */
};

enum kl_code kl_login_new(struct kl_http_client *http, const char *url, const char *tenant,
                          const char *client_id, const char *secret_file, struct kl_login **ret,
                          struct kl_err *err)
{
    KL_AUTO(login) l = calloc(1, sizeof *l);
    if (l != NULL) {
        l->http = http;
        l->url = strdup(url);
        l->tenant = strdup(tenant);
        l->client_id = strdup(client_id);
        l->secret_file = strdup(secret_file);
    }
    if (l == NULL || l->url == NULL || l->tenant == NULL || l->client_id == NULL ||
        l->secret_file == NULL)
        return kl_fail(err, KL_NO_MEMORY, "strdup", "no memory for the login");
    *ret = kl_take(l);
    return KL_OK;
}

void kl_login_free(struct kl_login *l)
{
    if (l == NULL)
        return;
    for (size_t i = 0; i < REMEMBERED; i++)
        kl_secret_free(l->grants[i].token);
    free(l->url);
    free(l->tenant);
    free(l->client_id);
    free(l->secret_file);
    free(l);
}

const char *kl_login_client_id(const struct kl_login *l)
{
    return l->client_id;
}

/* Value of NAME="…" in a WWW-Authenticate line (RFC 9110 section 11.6.1); false when absent or
 * longer than room. */
static bool challenge_value(const char *line, const char *name, char *ret, size_t room)
{
    const size_t n = strlen(name);
    for (const char *p = line; (p = strstr(p, name)) != NULL; p += n) {
        const bool starts = p == line || p[-1] == ' ' || p[-1] == ',';
        if (!starts || p[n] != '=' || p[n + 1] != '"')
            continue;
        const size_t len = strcspn(p + n + 2, "\"");
        if (len == 0 || len >= room || p[n + 2 + len] != '"')
            return false;
        memcpy(ret, p + n + 2, len);
        ret[len] = 0;
        return true;
    }
    return false;
}

/* The resource to ask a token for. Whom to ask is never the challenge's to say: that is the
 * configured service. */
static void learn_resource(const struct kl_login *l, const char *challenge, char *ret)
{
    static const char suffix[] = "/.default";
    if (challenge_value(challenge, "resource", ret, RESOURCE_MAX))
        return;
    if (!challenge_value(challenge, "scope", ret, RESOURCE_MAX)) {
        (void)snprintf(ret, RESOURCE_MAX, "%s", l->url);
        return;
    }
    const size_t n = strlen(ret), k = sizeof suffix - 1;
    if (n > k && strcmp(ret + n - k, suffix) == 0)
        ret[n - k] = 0;
}

static enum kl_code put_encoded(struct kl_secret *form, const char *name, const uint8_t *value,
                                size_t n)
{
    static const char hex[] = "0123456789ABCDEF";
    enum kl_code code = kl_secret_append(form, name, strlen(name));
    for (size_t i = 0; i < n && code == KL_OK; i++) {
        const char escape[3] = {'%', hex[value[i] >> 4], hex[value[i] & 15]};
        const bool plain = (value[i] >= 'a' && value[i] <= 'z') ||
                           (value[i] >= 'A' && value[i] <= 'Z') ||
                           (value[i] >= '0' && value[i] <= '9');
        code = plain ? kl_secret_append(form, value + i, 1) : kl_secret_append(form, escape, 3);
    }
    return code;
}

/* The client's credentials, and one field more. */
static enum kl_code credentials_form(const struct kl_login *l, const char *name,
                                     const uint8_t *value, size_t n, struct kl_secret **ret,
                                     struct kl_err *err)
{
    KL_AUTO(secret) secret = NULL;
    enum kl_code code = kl_secret_read_file(l->secret_file, SECRET_MAX, &secret, err);
    if (code != KL_OK)
        return kl_err_prefix(err, "the client secret (KLUIS_CLIENT_SECRET_FILE)");
    KL_AUTO(secret) form = kl_secret_new(8192);
    if (form == NULL)
        return kl_fail(err, KL_NO_MEMORY, "mmap", "no memory for the login");
    code =
        put_encoded(form, "grant_type=client_credentials&client_id=", (const uint8_t *)l->client_id,
                    strlen(l->client_id));
    if (code == KL_OK)
        code = put_encoded(form, name, value, n);
    if (code == KL_OK)
        code = put_encoded(form, "&client_secret=", kl_secret_bytes(secret), kl_secret_len(secret));
    if (code != KL_OK)
        return kl_fail(err, code, "login", "the login request cannot be made");
    *ret = kl_take(form);
    return KL_OK;
}

static enum kl_code login_form(const struct kl_login *l, const char *resource,
                               struct kl_secret **ret, struct kl_err *err)
{
    char scope[RESOURCE_MAX + 16];
    (void)snprintf(scope, sizeof scope, "%s/.default", resource);
    return credentials_form(l, "&scope=", (const uint8_t *)scope, strlen(scope), ret, err);
}

enum kl_code kl_login_post_pin(struct kl_login *l, const char *url, struct kl_secret *pin,
                               struct kl_http_exchange *x, struct kl_err *err)
{
    KL_AUTO(secret) form = NULL;
    enum kl_code code =
        credentials_form(l, "&pin=", kl_secret_bytes(pin), kl_secret_len(pin), &form, err);
    if (code != KL_OK)
        return code;
    *x = (struct kl_http_exchange){.method = "POST",
                                   .url = url,
                                   .content_type = "application/x-www-form-urlencoded",
                                   .body = kl_secret_bytes(form),
                                   .body_len = kl_secret_len(form)};
    return kl_http_do(l->http, x, err);
}

static enum kl_code read_token(struct kl_secret *answer, struct grant *grant, struct kl_err *err)
{
    KL_AUTO(json) json = NULL;
    const char *text = NULL, *type = "Bearer";
    int64_t seconds = 300;
    enum kl_code code =
        kl_json_parse((const char *)kl_secret_bytes(answer), kl_secret_len(answer), &json, err);
    if (code == KL_OK)
        code = kl_json_string(json, "access_token", &text, err);
    if (code == KL_OK)
        code = kl_json_string(json, "token_type", &type, err);
    if (code == KL_OK)
        code = kl_json_int(json, "expires_in", 1, 7 * 86400, &seconds, err);
    if (code != KL_OK)
        return kl_err_prefix(err, "the token service's answer");
    if (text == NULL || strcasecmp(type, "Bearer") != 0 || strlen(text) >= TOKEN_MAX ||
        text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=")])
        return kl_fail(err, KL_UNAUTHENTICATED, "login", "the token service gave no bearer token");
    KL_AUTO(secret) token = kl_secret_new(TOKEN_MAX);
    if (token == NULL || kl_secret_append(token, text, strlen(text)) != KL_OK)
        return kl_fail(err, KL_NO_MEMORY, "mmap", "no memory for the token");
    kl_secret_free(grant->token);
    grant->token = kl_take(token);
    const int64_t life = seconds * 1000;
    grant->until_ms = kl_clock_mono_ms() + (life > 2 * EARLY_MS ? life - EARLY_MS : life / 2);
    return KL_OK;
}

/* RFC 6749 section 5.2: {"error","error_description"}. */
static enum kl_code login_refused(const struct kl_http_exchange *x, struct kl_err *err)
{
    KL_AUTO(json) json = NULL;
    const char *why = "no reason given", *name = "";
    if (kl_json_parse((const char *)kl_secret_bytes(x->answer), kl_secret_len(x->answer), &json,
                      NULL) == KL_OK) {
        (void)!kl_json_string(json, "error", &name, NULL);
        (void)!kl_json_string(json, "error_description", &why, NULL);
    }
    const enum kl_code code = x->status == 429   ? KL_THROTTLED
                              : x->status == 503 ? KL_TOKEN_UNAVAILABLE
                                                 : KL_UNAUTHENTICATED;
    (void)kl_fail_native(err, code, KL_DOMAIN_HTTP, (unsigned long)x->status, "login",
                         "the login was refused: %s", why);
    if (err != NULL)
        (void)snprintf(err->detail, sizeof err->detail, "%s", name);
    return code;
}

static enum kl_code login(struct kl_login *l, struct grant *grant, struct kl_err *err)
{
    KL_AUTO(secret) form = NULL;
    char url[URL_MAX];
    enum kl_code code = login_form(l, grant->resource, &form, err);
    if (code != KL_OK)
        return code;
    (void)snprintf(url, sizeof url, "%s/%s/oauth2/v2.0/token", l->url, l->tenant);
    struct kl_http_exchange x = {
        .method = "POST",
        .url = url,
        .content_type = "application/x-www-form-urlencoded",
        .body = kl_secret_bytes(form),
        .body_len = kl_secret_len(form),
    };
    code = kl_http_do(l->http, &x, err);
    if (code == KL_OK)
        code = x.status == 200 ? read_token(x.answer, grant, err) : login_refused(&x, err);
    kl_http_exchange_done(&x);
    return code;
}

static struct grant *grant_of(struct kl_login *l, const char *origin)
{
    for (size_t i = 0; i < REMEMBERED; i++)
        if (strcmp(l->grants[i].origin, origin) == 0)
            return &l->grants[i];
    return NULL;
}

static struct grant *grant_new(struct kl_login *l, const char *origin)
{
    struct grant *grant = grant_of(l, origin);
    if (grant == NULL) {
        grant = &l->grants[l->next_grant++ % REMEMBERED];
        kl_secret_free(grant->token);
        *grant = (struct grant){.token = NULL};
        (void)snprintf(grant->origin, sizeof grant->origin, "%s", origin);
    }
    return grant;
}

enum kl_code kl_login_token(struct kl_login *l, const char *origin, struct kl_secret **ret,
                            struct kl_err *err)
{
    struct grant *grant = grant_of(l, origin);
    *ret = NULL;
    if (grant == NULL)
        return KL_OK;
    if (grant->token == NULL || kl_clock_mono_ms() >= grant->until_ms) {
        enum kl_code code = login(l, grant, err);
        if (code != KL_OK)
            return code;
    }
    *ret = grant->token;
    return KL_OK;
}

void kl_login_challenged(struct kl_login *l, const char *origin, const char *challenge)
{
    struct grant *grant = grant_new(l, origin);
    kl_secret_free(grant->token);
    grant->token = NULL;
    learn_resource(l, challenge, grant->resource);
}
