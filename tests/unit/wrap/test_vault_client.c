/* The client against a scripted service that stands in for base/http_client. */
#include "tests/unit/wrap/support.h"

#include "base/clock.h"
#include "base/http_client.h"
#include "wrap/vault_kek.h"

#include <stdlib.h>
#include <string.h>

#define SERVICE "https://localhost:8443"
#define VAULT   "https://demo.vault.localhost:8443"
#define KID     VAULT "/keys/k/0123456789abcdef0123456789abcdef"
#define TENANT  "11111111-2222-3333-4444-555555555555"

enum { LOG_MAX = 32 };

/* What the service answers to anything that is not a login and carries a good token. */
struct answer {
    long status;
    const char *body;
};

static struct {
    const struct answer *answers; /* in turn; the last one stays */
    size_t answer_count, used;
    long login_status;
    const char *login_body;
    const char *challenge;
    unsigned tokens;        /* issued so far; only the newest is good */
    bool forget_tokens;     /* refuse the next token once */
    char log[LOG_MAX][160]; /* "METHOD URL token=N body=N" */
    size_t logged;
    char last_body[2048];
    int64_t retry_after_ms;
} service;

struct kl_http_client {
    int unused;
};

enum kl_code kl_http_client_new(const struct kl_http_client_config *config,
                                struct kl_http_client **ret, struct kl_err *err)
{
    static struct kl_http_client only;
    (void)config, (void)err;
    *ret = &only;
    return KL_OK;
}

void kl_http_client_free(struct kl_http_client *c)
{
    (void)c;
}

static void give(struct kl_http_exchange *x, long status, const char *body)
{
    x->status = status;
    x->answer = kl_secret_new(8192);
    x->retry_after_ms = status == 429 || status == 503 ? service.retry_after_ms : -1;
    assert_int_equal(kl_secret_append(x->answer, body, strlen(body)), KL_OK);
}

static unsigned token_of(const struct kl_http_exchange *x)
{
    return x->bearer != NULL
               ? (unsigned)strtoul((const char *)kl_secret_bytes(x->bearer) + strlen("token-"),
                                   NULL, 10)
               : 0;
}

static void answer_login(struct kl_http_exchange *x)
{
    char body[256];
    if (service.login_status != 200) {
        give(x, service.login_status, service.login_body);
        return;
    }
    (void)snprintf(body, sizeof body,
                   "{\"token_type\":\"Bearer\",\"expires_in\":3599,\"access_token\":\"token-%u\"}",
                   ++service.tokens);
    give(x, 200, body);
}

enum kl_code kl_http_do(struct kl_http_client *c, struct kl_http_exchange *x, struct kl_err *err)
{
    (void)c, (void)err;
    assert_true(service.logged < LOG_MAX);
    (void)snprintf(service.log[service.logged++], sizeof service.log[0],
                   "%s %.100s token=%u body=%zu", x->method, x->url, token_of(x), x->body_len);
    if (x->body_len > 0 && x->body_len < sizeof service.last_body) {
        memcpy(service.last_body, x->body, x->body_len);
        service.last_body[x->body_len] = 0;
    }
    if (strstr(x->url, "/oauth2/v2.0/token") != NULL) {
        answer_login(x);
    } else if (x->bearer == NULL || token_of(x) != service.tokens || service.forget_tokens) {
        service.forget_tokens = false;
        (void)snprintf(x->www_authenticate, sizeof x->www_authenticate, "%s", service.challenge);
        give(x, 401, "{\"error\":{\"code\":\"Unauthorized\",\"message\":\"no token\"}}");
    } else {
        const struct answer *a = &service.answers[service.used];
        if (service.used + 1 < service.answer_count)
            service.used++;
        give(x, a->status, a->body);
    }
    return KL_OK;
}

void kl_http_exchange_done(struct kl_http_exchange *x)
{
    kl_secret_free(x->answer);
    x->answer = NULL;
}

static void script(const struct answer *answers, size_t n)
{
    memset(&service, 0, sizeof service);
    service.answers = answers;
    service.answer_count = n;
    service.login_status = 200;
    service.challenge = "Bearer authorization=\"https://login.evil.test/t\", "
                        "resource=\"https://vault.localhost:8443\"";
}

static struct kl_vault_client *client(void)
{
    BYTES secret = {.at = (uint8_t *)strdup("s3cret &+=\n"), .n = 11};
    write_file(temp_path("secret"), &secret);
    const struct kl_vault_client_config config = {
        .url = SERVICE "/",
        .vault_url = VAULT,
        .tenant = TENANT,
        .client_id = "id 1",
        .secret_file = temp_path("secret"),
    };
    struct kl_vault_client *c = NULL;
    struct kl_err err;
    if (kl_vault_client_new(&config, &c, &err) != KL_OK)
        fail_msg("%s", err.text);
    return c;
}

static void assert_log(size_t i, const char *line)
{
    assert_true(i < service.logged);
    assert_string_equal(service.log[i], line);
}

static void test_wrap_vault_client__challenge_login_call(void **state)
{
    (void)state;
    static const struct answer answers[] = {{200, "{\"a\":1}"}};
    script(answers, 1);
    KL_AUTO(vault_client) c = client();
    KL_AUTO(json) body = json_pack("{s:s}", "x", "y");
    KL_AUTO(json) first = NULL;
    KL_AUTO(json) second = NULL;
    assert_int_equal(kl_vault_call(c, "POST", VAULT "/keys/k/create", body, &first, NULL), KL_OK);
    assert_int_equal(json_integer_value(json_object_get(first, "a")), 1);
    /* without a token no body; the login only ever at the configured service */
    assert_log(0, "POST " VAULT "/keys/k/create?api-version=7.4 token=0 body=0");
    assert_int_equal(strncmp(service.log[1], "POST " SERVICE "/" TENANT "/oauth2/v2.0/token ", 80),
                     0);
    assert_log(2, "POST " VAULT "/keys/k/create?api-version=7.4 token=1 body=9");
    assert_int_equal(kl_vault_call(c, "GET", VAULT "/keys?maxresults=5", NULL, &second, NULL),
                     KL_OK);
    assert_log(3, "GET " VAULT "/keys?maxresults=5&api-version=7.4 token=1 body=0");
    assert_int_equal(service.logged, 4);
}

static void test_wrap_vault_client__login_form(void **state)
{
    (void)state;
    static const struct answer answers[] = {{204, ""}};
    script(answers, 1);
    KL_AUTO(vault_client) c = client();
    json_t *none = NULL;
    assert_int_equal(kl_vault_call(c, "DELETE", "/kluis/v1/vaults/a", NULL, &none, NULL), KL_OK);
    assert_null(none);
    assert_string_equal(service.last_body,
                        "grant_type=client_credentials&client_id=id%201"
                        "&scope=https%3A%2F%2Fvault%2Elocalhost%3A8443%2F%2Edefault"
                        "&client_secret=s3cret%20%26%2B%3D");
    assert_log(2, "DELETE " SERVICE "/kluis/v1/vaults/a token=1 body=0");
}

static void test_wrap_vault_client__token_renewed(void **state)
{
    (void)state;
    static const struct answer answers[] = {{200, "{}"}};
    script(answers, 1);
    KL_AUTO(vault_client) c = client();
    for (unsigned round = 0; round < 3; round++) {
        KL_AUTO(json) answer = NULL;
        assert_int_equal(kl_vault_whoami(c, &answer, NULL), KL_OK);
        if (round == 0)
            kl_clock_shift(0, 3600 * 1000); /* ran out by time */
        else
            service.forget_tokens = true; /* refused before its time */
    }
    assert_int_equal(service.tokens, 3);
}

static void test_wrap_vault_client__foreign_hosts_get_nothing(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "https://evil.test/keys/k/0123456789abcdef0123456789abcdef",
        "https://demo.vault.localhost/keys/k/0123456789abcdef0123456789abcdef",
        "https://demo.vault.localhost:8443.evil.test/keys/k/1",
    };
    script(NULL, 0);
    KL_AUTO(vault_client) c = client();
    for (size_t i = 0; i < KL_COUNT(urls); i++) {
        struct kl_secret *dek = NULL;
        struct kl_err err;
        const enum kl_code code =
            kl_vault_unwrap_key(c, urls[i], "RSA-OAEP-256", (const uint8_t *)"x", 1, &dek, &err);
        assert_true(code == KL_FORBIDDEN || code == KL_BAD_INPUT);
        assert_null(dek);
        if (i == 0)
            assert_text_has(&err, "evil.test:443 is not a host that we trust");
    }
    assert_int_equal(service.logged, 0);
}

/* A container cannot make us call another operation of a trusted host either. */
static void test_wrap_vault_client__key_urls_only(void **state)
{
    (void)state;
    static const char *const urls[] = {
        VAULT "/keys/k/../../kluis/v1/principals",
        VAULT "/secrets/s/1",
        VAULT "/keys/k/1?x=",
        VAULT "/keys/k/1/x",
        VAULT "/keys/k",
    };
    script(NULL, 0);
    KL_AUTO(vault_client) c = client();
    for (size_t i = 0; i < KL_COUNT(urls); i++) {
        struct kl_secret *dek = NULL;
        assert_int_equal(
            kl_vault_unwrap_key(c, urls[i], "RSA-OAEP", (const uint8_t *)"x", 1, &dek, NULL),
            KL_BAD_INPUT);
    }
    assert_int_equal(service.logged, 0);
}

static void test_wrap_vault_client__errors_keep_the_servers_words(void **state)
{
    (void)state;
    static const struct {
        struct answer answer;
        enum kl_code code;
        const char *text, *detail;
    } rows[] = {
        {{404, "{\"error\":{\"code\":\"KeyNotFound\",\"message\":\"no key k\"}}"},
         KL_NOT_FOUND,
         "no key k",
         "KeyNotFound"},
        {{403,
          "{\"error\":{\"code\":\"Forbidden\",\"message\":\"disabled\",\"innererror\":{\"code\":\"KeyDisabled\"}}}"},
         KL_FORBIDDEN,
         "disabled",
         "KeyDisabled"},
        {{409, "{\"error\":{\"code\":\"Conflict\",\"message\":\"m\"}}"},
         KL_CONFLICT,
         "m",
         "Conflict"},
        {{400, "{\"error\":{\"code\":\"BadParameter\",\"message\":\"m\"}}"},
         KL_HTTP_STATUS,
         "m",
         "BadParameter"},
        {{500, "<html>"}, KL_HTTP_STATUS, "the service answered with status 500", ""},
        {{502, ""}, KL_HTTP_STATUS, "status 502", ""},
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        script(&rows[i].answer, 1);
        KL_AUTO(vault_client) c = client();
        json_t *answer = NULL;
        struct kl_err err;
        assert_int_equal(kl_vault_call(c, "GET", VAULT "/keys/k", NULL, &answer, &err),
                         rows[i].code);
        assert_text_has(&err, rows[i].text);
        assert_string_equal(err.detail, rows[i].detail);
        assert_int_equal(err.native, rows[i].answer.status);
        assert_int_equal(err.domain, KL_DOMAIN_HTTP);
    }
}

static void test_wrap_vault_client__login_refused(void **state)
{
    (void)state;
    script(NULL, 0);
    service.login_status = 401;
    service.login_body =
        "{\"error\":\"invalid_client\",\"error_description\":\"the client secret is wrong\"}";
    KL_AUTO(vault_client) c = client();
    json_t *answer = NULL;
    struct kl_err err;
    assert_int_equal(kl_vault_whoami(c, &answer, &err), KL_UNAUTHENTICATED);
    assert_text_has(&err, "the client secret is wrong");
    assert_string_equal(err.detail, "invalid_client");
    assert_int_equal(service.logged, 2);
}

static void test_wrap_vault_client__retries_are_bounded(void **state)
{
    (void)state;
    static const struct answer busy[] = {
        {503, "{\"error\":{\"code\":\"ServiceUnavailable\",\"message\":\"token away\"}}"}};
    static const struct answer soon[] = {{429, "{}"}, {503, "{}"}, {200, "{}"}};
    json_t *answer = NULL;
    struct kl_err err;
    {
        script(busy, 1);
        KL_AUTO(vault_client) c = client();
        assert_int_equal(kl_vault_whoami(c, &answer, &err), KL_TOKEN_UNAVAILABLE);
        assert_text_has(&err, "token away");
        assert_int_equal(service.logged, 2 + 5);
    }
    script(soon, KL_COUNT(soon));
    KL_AUTO(vault_client) c = client();
    assert_int_equal(kl_vault_whoami(c, &answer, &err), KL_OK);
    assert_int_equal(service.logged, 2 + 3);
    json_decref(answer);
}

static struct kl_secret *some_dek(void)
{
    struct kl_secret *dek = kl_secret_new(KL_DEK_BYTES);
    assert_int_equal(kl_secret_append(dek, "0123456789abcdef0123456789abcdef", KL_DEK_BYTES),
                     KL_OK);
    return dek;
}

static void test_wrap_vault_client__wrap_and_unwrap(void **state)
{
    (void)state;
    static const struct answer wrapped[] = {{200, "{\"kid\":\"" KID "\",\"value\":\"AQID\"}"}};
    uint8_t out[KL_WRAPPED_MAX];
    char kid[KL_KEY_URL_MAX];
    size_t n = 0;
    script(wrapped, 1);
    KL_AUTO(vault_client) c = client();
    KL_AUTO(secret) dek = some_dek();
    assert_int_equal(kl_vault_wrap_key(c, VAULT "/keys/k", "RSA-OAEP-256", dek, out, &n, kid, NULL),
                     KL_OK);
    assert_int_equal(n, 3);
    assert_true(memcmp(out, "\1\2\3", 3) == 0);
    assert_string_equal(kid, KID);
    assert_log(2, "POST " VAULT "/keys/k//wrapkey?api-version=7.4 token=1 body=96");
    assert_string_equal(service.last_body,
                        "{\"alg\":\"RSA-OAEP-256\",\"value\":"
                        "\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\",\"kluisUse\":\"backup\"}");
    KL_AUTO(secret) back = NULL;
    assert_int_equal(kl_vault_unwrap_key(c, KID, "RSA-OAEP-256", out, n, &back, NULL), KL_OK);
    assert_int_equal(kl_secret_len(back), 3);
    assert_log(3, "POST " KID "/unwrapkey?api-version=7.4 token=1 body=37");
}

/* An answer that names another key, another version, or a host that we would not ask later, is no
 * answer. */
static void test_wrap_vault_client__answers_for_another_key(void **state)
{
    (void)state;
    static const struct answer rows[] = {
        {200,
         "{\"kid\":\"" VAULT "/keys/other/0123456789abcdef0123456789abcdef\",\"value\":\"AQID\"}"},
        {200,
         "{\"kid\":\"https://evil.test/keys/k/0123456789abcdef0123456789abcdef\",\"value\":\"AQID\"}"},
        {200, "{\"kid\":\"" VAULT "/keys/k\",\"value\":\"AQID\"}"},
        {200, "{\"kid\":\"" KID "\"}"},
        {200, "{\"value\":\"AQID\"}"},
        {200, "{\"kid\":\"" KID "\",\"value\":\"%%%\"}"},
        {200, "{\"kid\":\"" KID "\",\"value\":\"\"}"},
        {204, ""},
        {200, "[]"},
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        uint8_t out[KL_WRAPPED_MAX];
        char kid[KL_KEY_URL_MAX] = "untouched";
        size_t n = 0;
        script(&rows[i], 1);
        KL_AUTO(vault_client) c = client();
        KL_AUTO(secret) dek = some_dek();
        assert_int_not_equal(
            kl_vault_wrap_key(c, VAULT "/keys/k", "RSA-OAEP", dek, out, &n, kid, NULL), KL_OK);
        assert_string_equal(kid, "untouched");
    }
    static const struct answer other_version[] = {
        {200,
         "{\"kid\":\"" VAULT "/keys/k/ffffffffffffffffffffffffffffffff\",\"value\":\"AQID\"}"}};
    script(other_version, 1);
    KL_AUTO(vault_client) c = client();
    struct kl_secret *dek = NULL;
    assert_int_equal(kl_vault_unwrap_key(c, KID, "RSA-OAEP", (const uint8_t *)"x", 1, &dek, NULL),
                     KL_HTTP_STATUS);
}

static void test_wrap_vault_client__wrong_version_has_its_sentence(void **state)
{
    (void)state;
    static const struct answer bad[] = {
        {400, "{\"error\":{\"code\":\"BadParameter\",\"message\":\"decryption failed\"}}"}};
    script(bad, 1);
    KL_AUTO(vault_client) c = client();
    struct kl_secret *dek = NULL;
    struct kl_err err;
    assert_int_equal(kl_vault_unwrap_key(c, KID, "RSA-OAEP", (const uint8_t *)"x", 1, &dek, &err),
                     KL_WRAP_KEY);
    assert_text_has(&err,
                    "the key version that the slot names does not open it: decryption failed");
}

static void test_wrap_vault_client__newest(void **state)
{
    (void)state;
    static const struct answer bundle[] = {{200, "{\"key\":{\"kid\":\"" KID "\"}}"}};
    char kid[KL_KEY_URL_MAX];
    script(bundle, 1);
    KL_AUTO(vault_client) c = client();
    assert_int_equal(kl_vault_newest_key(c, VAULT "/keys/k", kid, NULL), KL_OK);
    assert_string_equal(kid, KID);
}

static void test_wrap_vault_client__missing_settings(void **state)
{
    (void)state;
    const struct kl_vault_client_config full = {
        .url = SERVICE, .tenant = TENANT, .client_id = "x", .secret_file = "/nonexistent/secret"};
    struct kl_vault_client_config rows[4] = {full, full, full, full};
    static const char *const names[] = {"KLUIS_URL", "KLUIS_TENANT", "KLUIS_CLIENT_ID",
                                        "KLUIS_CLIENT_SECRET_FILE"};
    struct kl_vault_client *c = NULL;
    struct kl_err err;
    rows[0].url = NULL;
    rows[1].tenant = "";
    rows[2].client_id = NULL;
    rows[3].secret_file = NULL;
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        assert_int_equal(kl_vault_client_new(&rows[i], &c, &err), KL_CONFIG);
        assert_text_has(&err, names[i]);
    }
    script(NULL, 0);
    assert_int_equal(kl_vault_client_new(&full, &c, &err), KL_OK);
    json_t *answer = NULL;
    assert_int_equal(kl_vault_whoami(c, &answer, &err), KL_NOT_FOUND);
    assert_text_has(&err, "KLUIS_CLIENT_SECRET_FILE");
    kl_vault_client_free(c);
}

int main(void)
{
#define ROW(name) cmocka_unit_test(test_wrap_vault_client__##name)
    const struct CMUnitTest tests[] = {
        ROW(challenge_login_call),
        ROW(login_form),
        ROW(token_renewed),
        ROW(foreign_hosts_get_nothing),
        ROW(key_urls_only),
        ROW(errors_keep_the_servers_words),
        ROW(login_refused),
        ROW(retries_are_bounded),
        ROW(wrap_and_unwrap),
        ROW(answers_for_another_key),
        ROW(wrong_version_has_its_sentence),
        ROW(newest),
        ROW(missing_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
