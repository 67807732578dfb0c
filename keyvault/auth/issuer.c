#include "keyvault/auth/issuer.h"

#include "base/clock.h"
#include "keyvault/auth/parts.h"
#include "keyvault/failover.h"

#include <string.h>

const char *kl_issuer_tenant(const struct kl_authenticator *a)
{
    return a->tenant;
}

json_t *kl_issuer_jwks(const struct kl_authenticator *a)
{
    return kl_jwks_format(a->own_keys);
}

/* The one word of a scope that names a resource; the words of OpenID beside it say nothing here. */
static enum kl_code scope_word(const char *scope, const char **ret, size_t *ret_len,
                               struct kl_err *err)
{
    static const char *const passed_over[] = {"openid", "profile", "offline_access"};
    const char *word = NULL;
    size_t len = 0;
    for (const char *at = scope + strspn(scope, " "); *at != 0; at += strspn(at, " ")) {
        size_t n = strcspn(at, " ");
        bool skip = false;
        for (size_t i = 0; i < KL_COUNT(passed_over); i++)
            skip |= strlen(passed_over[i]) == n && memcmp(passed_over[i], at, n) == 0;
        if (!skip && word != NULL)
            return kl_fail(err, KL_BAD_INPUT, "scope", "one resource at a time");
        if (!skip) {
            word = at;
            len = n;
        }
        at += n;
    }
    static const char suffix[] = "/.default";
    const size_t suffix_len = sizeof suffix - 1;
    if (word == NULL || len <= suffix_len ||
        memcmp(word + len - suffix_len, suffix, suffix_len) != 0)
        return kl_fail(err, KL_BAD_INPUT, "scope", "the scope is not RESOURCE/.default");
    *ret = word;
    *ret_len = len - suffix_len;
    return KL_OK;
}

enum kl_code kl_issuer_audience(const struct kl_authenticator *a, const char *text, bool is_scope,
                                char ret[static KL_AUDIENCE_MAX], struct kl_err *err)
{
    char audience[KL_AUDIENCE_MAX];
    size_t n = strlen(text);
    enum kl_code code = is_scope ? scope_word(text, &text, &n, err) : KL_OK;
    if (code != KL_OK)
        return code;
    if (n > 0 && text[n - 1] == '/')
        n--;
    bool known = n > 0 && n < sizeof audience;
    for (size_t i = 0; known && i < n; i++)
        audience[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    audience[known ? n : 0] = 0;
    /* A slash would be tolerated by the check, but two of them were there then. */
    if (!known || audience[n - 1] == '/' || !kl_authenticator_audience_ok(a, audience))
        return kl_fail(err, KL_BAD_INPUT, "scope", "the resource is not one of this service");
    memcpy(ret, audience, n + 1);
    return KL_OK;
}

static bool find_client(const struct kl_authenticator *a, const char *client_id,
                        struct kl_principal *ret)
{
    return kl_principal_find(a->model, client_id, ret, NULL) == KL_OK &&
           strcasecmp(ret->client_id, client_id) == 0 && !ret->disabled &&
           ret->kind == KL_PRINCIPAL_APPLICATION && ret->issuer[0] == '\0';
}

static enum kl_code check_blocked(struct kl_authenticator *a, const char *client_id,
                                  const char *peer, int64_t now_ms, struct kl_err *err)
{
    return kl_failures_blocked(a->failures, client_id, peer, now_ms)
               ? kl_fail(err, KL_THROTTLED, "client",
                         "Too many failed attempts of this client; wait ten minutes")
               : KL_OK;
}

enum kl_code kl_issuer_check_client(struct kl_authenticator *a, const char *client_id,
                                    struct kl_secret *secret, const char *peer,
                                    struct kl_principal *ret, struct kl_err *err)
{
    int64_t now_ms = kl_clock_mono_ms();
    enum kl_code code = check_blocked(a, client_id, peer, now_ms, err);
    if (code != KL_OK)
        return code;
    struct kl_principal who = {0};
    bool known = find_client(a, client_id, &who);
    /* also for unknown clients, so that the time says nothing */
    code = kl_credential_check(a->model, known ? who.object_id : NULL, secret, kl_clock_unix());
    if (known && code == KL_OK) {
        *ret = who;
        return KL_OK;
    }
    kl_failures_note(a->failures, client_id, peer, now_ms);
    if (code == KL_KEY_EXPIRED)
        return kl_fail(err, KL_KEY_EXPIRED, "client", "AADSTS7000222: The client secret expired");
    return kl_fail(err, KL_UNAUTHENTICATED, "client",
                   "AADSTS7000215: Invalid client secret provided or unknown client");
}

/* The token service itself, by any of the names that clients have for it: an endpoint, the issuer
 * or the tenant on the origin that was asked. */
static bool is_for_us(const struct kl_authenticator *a, const struct kl_origin *origin,
                      const char *audience)
{
    static const char *const tails[] = {"/oauth2/v2.0/token", "/oauth2/token", "/v2.0", "/", ""};
    struct kl_buf tenant = KL_BUF_INIT(2 * KL_AUDIENCE_MAX), adfs = KL_BUF_INIT(KL_AUDIENCE_MAX);
    kl_origin_put(&tenant, origin);
    kl_origin_put(&adfs, origin);
    kl_buf_printf(&tenant, "/%s", a->tenant);
    kl_buf_puts(&adfs, "/adfs");
    const struct kl_buf *const bases[] = {&tenant, &adfs};
    bool fits = false;
    for (size_t b = 0; b < KL_COUNT(bases); b++)
        for (size_t i = 0; i < KL_COUNT(tails); i++)
            fits |= strncasecmp(audience, kl_buf_text(bases[b]), bases[b]->len) == 0 &&
                    strcmp(audience + bases[b]->len, tails[i]) == 0;
    kl_buf_done(&tenant);
    kl_buf_done(&adfs);
    return fits;
}

static enum kl_code check_opened(struct kl_authenticator *a, const struct kl_assertion *assertion,
                                 const struct kl_origin *origin, const char *peer,
                                 struct kl_principal *ret, struct kl_err *err)
{
    struct kl_credential *list = NULL;
    size_t count = 0;
    int64_t now = kl_clock_unix();
    if (!find_client(a, assertion->client_id, ret))
        return kl_fail(err, KL_UNAUTHENTICATED, "client", "AADSTS700016: unknown client");
    if (!is_for_us(a, origin, assertion->audience) &&
        !is_for_us(a, &a->origin, assertion->audience))
        return kl_fail(err, KL_UNAUTHENTICATED, "client",
                       "AADSTS700027: client assertion: its aud is not this token service");
    enum kl_code code = kl_credential_list(a->model, ret->object_id, &list, &count, err);
    if (code != KL_OK)
        return code;
    code = kl_assertion_verify(assertion, list, count, now, err);
    kl_credential_list_free(list, count);
    return code == KL_OK ? kl_replays_note(a->replays, assertion, peer, now, err) : code;
}

enum kl_code kl_issuer_check_assertion(struct kl_authenticator *a, const char *client_id,
                                       const char *text, const struct kl_origin *origin,
                                       const char *peer, struct kl_principal *ret,
                                       struct kl_err *err)
{
    int64_t now_ms = kl_clock_mono_ms();
    struct kl_assertion assertion;
    struct kl_principal who = {0};
    enum kl_code code = kl_assertion_open(text, strlen(text), kl_clock_unix(), &assertion, err);
    if (code != KL_OK)
        return code;
    code = check_blocked(a, assertion.client_id, peer, now_ms, err);
    if (code == KL_OK && client_id[0] != 0 && strcasecmp(client_id, assertion.client_id) != 0)
        code = kl_fail(err, KL_UNAUTHENTICATED, "client",
                       "AADSTS700027: client assertion: it is another client's");
    if (code == KL_OK)
        code = check_opened(a, &assertion, origin, peer, &who, err);
    if (code == KL_UNAUTHENTICATED)
        kl_failures_note(a->failures, assertion.client_id, peer, now_ms);
    kl_assertion_done(&assertion);
    if (code == KL_OK)
        *ret = who;
    return code;
}

/* What a signature call needs to remember. */
struct issue {
    struct kl_buf text; /* HEADER.PAYLOAD, the signature's input */
    int64_t expires_in, expires;
    kl_issue_done *done;
    void *arg;
};

static void issue_free(struct issue *i)
{
    kl_buf_done(&i->text);
    free(i);
}

KL_AUTO_DEFINE(issue, struct issue, issue_free);

static int collect(const char *text, size_t n, void *arg)
{
    kl_buf_put(arg, text, n);
    return 0;
}

static void put_part(struct kl_buf *b, json_t *part)
{
    struct kl_buf text = KL_BUF_INIT(KL_JWS_MAX / 2);
    if (part == NULL || json_dump_callback(part, collect, &text, JSON_COMPACT) != 0 ||
        kl_buf_failed(&text))
        b->failed = true;
    kl_b64url_put(b, kl_buf_text(&text), text.len);
    kl_buf_done(&text);
    json_decref(part);
}

static json_t *make_claims(const struct kl_authenticator *a, const struct kl_principal *who,
                           enum kl_login how, const char *audience, int64_t now)
{
    unsigned char random[16];
    struct kl_buf id = KL_BUF_INIT(64);
    kl_random(random, sizeof random);
    kl_b64url_put(&id, random, sizeof random);
    json_t *claims = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "aud", audience, "iss",
        a->issuer, "iat", (json_int_t)now, "nbf", (json_int_t)now, "exp",
        (json_int_t)now + (json_int_t)a->lifetime_s, "tid", a->tenant, "oid", who->object_id, "sub",
        who->object_id, "appid", who->client_id, "ver", "1.0", "uti", kl_buf_text(&id), "jti",
        kl_buf_text(&id), "appidacr", how == KL_LOGIN_SECRET ? "1" : "2");
    kl_buf_done(&id);
    return claims;
}

/* TEXT.SIGNATURE as a secret: with its signature the text becomes a bearer token. */
static enum kl_code join(const struct kl_buf *text, struct kl_secret *signature,
                         struct kl_secret **ret, struct kl_err *err)
{
    struct kl_buf tail = KL_BUF_INIT(2 * KL_JWS_SIGNATURE_MAX);
    kl_buf_putc(&tail, '.');
    kl_b64url_put(&tail, kl_secret_bytes(signature), kl_secret_len(signature));
    KL_AUTO(secret) token = kl_secret_new(KL_JWS_MAX);
    bool ok = token != NULL && !kl_buf_failed(&tail) &&
              kl_secret_append(token, text->bytes, text->len) == KL_OK &&
              kl_secret_append(token, tail.bytes, tail.len) == KL_OK;
    kl_buf_wipe(&tail);
    if (!ok)
        return kl_fail(err, KL_NO_MEMORY, "issuer", "out of memory");
    *ret = kl_take(token);
    return KL_OK;
}

static void signed_done(void *arg, struct kl_token_reply *reply)
{
    KL_AUTO(issue) i = arg;
    KL_AUTO(secret) token = NULL;
    struct kl_err err = reply->err;
    err.code = reply->code;
    if (err.code == KL_OK)
        err.code = join(&i->text, reply->output, &token, &err);
    struct kl_issued issued = {token, i->expires_in, i->expires};
    i->done(i->arg, err.code == KL_OK ? &issued : NULL, &err);
}

static enum kl_code prepare(struct kl_authenticator *a, const struct kl_principal *who,
                            enum kl_login how, const char *audience, struct issue *i,
                            struct kl_err *err)
{
    int64_t now = kl_clock_unix();
    i->text = KL_BUF_INIT(KL_JWS_MAX / 2);
    i->expires = now + a->lifetime_s;
    i->expires_in = a->lifetime_s - 1;
    put_part(&i->text, json_pack("{s:s, s:s, s:s}", "typ", "JWT", "alg", "RS256", "kid", a->kid));
    kl_buf_putc(&i->text, '.');
    put_part(&i->text, make_claims(a, who, how, audience, now));
    return kl_buf_failed(&i->text) ? kl_fail(err, KL_NO_MEMORY, "issuer", "out of memory") : KL_OK;
}

enum kl_code kl_issuer_issue(struct kl_authenticator *a, const struct kl_principal *who,
                             enum kl_login how, const char *audience, kl_issue_done *done,
                             void *arg, struct kl_err *err)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    KL_AUTO(issue) i = calloc(1, sizeof *i);
    if (i == NULL)
        return kl_fail(err, KL_NO_MEMORY, "issuer", "out of memory");
    i->done = done;
    i->arg = arg;
    enum kl_code code = prepare(a, who, how, audience, i, err);
    if (code != KL_OK)
        return code;
    if (EVP_Digest(i->text.bytes, i->text.len, digest, NULL, a->sha256, NULL) != 1)
        return kl_fail_ossl(err, "EVP_Digest", "cannot hash a token");
    struct kl_token_request req = {
        .call = KL_CALL_SIGN, .alg = KL_ALG_RS256, .input = digest, .input_len = 32};
    code = kl_failover_submit(a->failover, a->issuer_key, &req, signed_done, i, err);
    if (code == KL_OK)
        i = NULL; /* signed_done has it now, and may have freed it already */
    return code;
}
