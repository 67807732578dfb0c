/* One good token, and every way to spoil it that we know of (RFC 8725, and the failures of other
 * verifiers): none may pass. */
#include "keyvault/auth/jwt.h"

#include "tests/unit/keyvault/auth_support.h"

#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <string.h>

#define OTHER_ISSUER "https://other.example/v2.0"
#define LONG_130                                                                                        \
    "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""

static struct kl_jwks *own, *others;
static struct kl_jwt_issuer issuers[2];

static bool audience_ok(void *arg, const char *audience)
{
    (void)arg;
    return strcmp(audience, "https://vault.azure.net") == 0;
}

static enum kl_code check_n(const char *token, size_t n, struct kl_jwt_claims *ret,
                            struct kl_err *err)
{
    struct kl_jwt_rules rules = {&issuers[0], &issuers[1], 1, audience_ok, NULL, AUTH_NOW};
    return kl_jwt_verify(token, n, &rules, ret, err);
}

static enum kl_code check(const char *token, struct kl_jwt_claims *ret, struct kl_err *err)
{
    return check_n(token, strlen(token), ret, err);
}

struct member {
    const char *name, *value; /* JSON text; NULL = leave it out */
};

static const struct member good_header[] = {
    {"typ", "\"JWT\""}, {"alg", "\"RS256\""}, {"kid", "\"k1\""}};
static const struct member good_claims[] = {{"aud", "\"https://vault.azure.net\""},
                                            {"iss", "\"" AUTH_ISSUER "\""},
                                            {"iat", "1700000000"},
                                            {"nbf", "1700000000"},
                                            {"exp", "1700003600"},
                                            {"tid", "\"" AUTH_TENANT "\""},
                                            {"oid", "\"" AUTH_OID "\""},
                                            {"appid", "\"" AUTH_APP "\""},
                                            {"uti", "\"abc\""}};

static void put_member(struct kl_buf *b, const char *name, const char *value)
{
    if (value != NULL)
        kl_buf_printf(b, "%s\"%s\":%s", b->len > 1 ? "," : "", name, value);
}

/* The good members, one of them replaced or added. */
static char *object(const struct member *good, size_t count, const struct member *change)
{
    struct kl_buf b = KL_BUF_INIT(65536);
    bool replaced = false;
    kl_buf_putc(&b, '{');
    for (size_t i = 0; i < count; i++) {
        bool this = change != NULL && strcmp(good[i].name, change->name) == 0;
        put_member(&b, good[i].name, this ? change->value : good[i].value);
        replaced = replaced || this;
    }
    if (change != NULL && !replaced)
        put_member(&b, change->name, change->value);
    kl_buf_putc(&b, '}');
    return kl_buf_take(&b);
}

static char *make(const struct member *header_change, const struct member *claim_change)
{
    char *header = object(good_header, KL_COUNT(good_header), header_change);
    char *claims = object(good_claims, KL_COUNT(good_claims), claim_change);
    char *token = auth_sign(auth_key(0), header, claims);
    free(header);
    free(claims);
    return token;
}

static void expect(const char *token, bool good, const char *what, const char *value)
{
    struct kl_jwt_claims claims = {.expires = 77};
    enum kl_code code = check(token, &claims, NULL);
    if ((code == KL_OK) != good)
        fail_msg("%s = %s: %s", what, value != NULL ? value : "(absent)", kl_code_name(code));
    if (!good) {
        assert_int_equal(code, KL_UNAUTHENTICATED);
        assert_int_equal(claims.expires, 77);
    }
}

static void expect_claim(const struct member *m, bool good)
{
    char *token = make(NULL, m);
    expect(token, good, m->name, m->value);
    free(token);
}

static void expect_header(const struct member *m, bool good)
{
    char *token = make(m, NULL);
    expect(token, good, m->name, m->value);
    free(token);
}

static int set_up(void **state)
{
    (void)state;
    own = kl_jwks_new();
    others = kl_jwks_new();
    assert_int_equal(kl_jwks_add(own, "k1", auth_key(0), NULL), KL_OK);
    assert_int_equal(kl_jwks_add(others, "k2", auth_key(1), NULL), KL_OK);
    issuers[0] = (struct kl_jwt_issuer){.name = AUTH_ISSUER, .tenant = AUTH_TENANT, .keys = own};
    issuers[1] =
        (struct kl_jwt_issuer){.name = OTHER_ISSUER, .tenant = AUTH_TENANT, .keys = others};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kl_jwks_free(own);
    kl_jwks_free(others);
    return 0;
}

static void test_auth_jwt__good(void **state)
{
    (void)state;
    char *token = make(NULL, NULL);
    struct kl_jwt_claims claims;
    assert_int_equal(check(token, &claims, NULL), KL_OK);
    free(token);
    assert_ptr_equal(claims.issuer, &issuers[0]);
    assert_string_equal(claims.object_id, AUTH_OID);
    assert_string_equal(claims.app_id, AUTH_APP);
    assert_string_equal(claims.token_id, "abc");
    assert_int_equal(claims.expires, 1700003600);
    static const struct member fine[] = {
        {"nbf", NULL},         {"nbf", "1700000060"},           {"iat", "1700000060"},
        {"exp", "1700086400"}, {"exp", "1700000001"},           {"uti", NULL},
        {"jti", "\"other\""},  {"azp", "\"" AUTH_APP "\""},     {"ver", "\"1.0\""},
        {"sub", "17"},         {"unheard", "{\"of\":[1,2,3]}"},
    };
    for (size_t i = 0; i < KL_COUNT(fine); i++)
        expect_claim(&fine[i], true);
    static const struct member headers[] = {
        {"typ", NULL}, {"typ", "\"jwt\""}, {"x5t", "\"thumb\""}};
    for (size_t i = 0; i < KL_COUNT(headers); i++)
        expect_header(&headers[i], true);
}

static const struct member bad_claims[] = {
    {"exp", NULL},
    {"exp", "0"},
    {"exp", "-1"},
    {"exp", "\"1700003600\""},
    {"exp", "1700003600.5"},
    {"exp", "1.7e9"},
    {"exp", "1699999999"},
    {"exp", "1700000000"},
    {"exp", "1700086401"},
    {"exp", "253402300800"},
    {"exp", "9223372036854775807"},
    {"exp", "99999999999999999999"},
    {"exp", "null"},
    {"exp", "true"},
    {"exp", "[1700003600]"},
    {"iat", NULL},
    {"iat", "1700000061"},
    {"iat", "\"1700000000\""},
    {"iat", "-5"},
    {"iat", "1600000000"},
    {"iat", "null"},
    {"nbf", "1700000061"},
    {"nbf", "\"1700000000\""},
    {"nbf", "-1"},
    {"nbf", "null"},
    {"nbf", "9223372036854775807"},
    {"aud", NULL},
    {"aud", "\"\""},
    {"aud", "\"https://vault.azure.net//\""},
    {"aud", "\"https://VAULT.azure.net\""},
    {"aud", "\"https://vault.azure.net.evil.example\""},
    {"aud", "\"https://management.azure.com\""},
    {"aud", "\" https://vault.azure.net\""},
    {"aud", "[\"https://vault.azure.net\"]"},
    {"aud", "[]"},
    {"aud", "5"},
    {"aud", "null"},
    {"aud", "{\"a\":1}"},
    {"iss", NULL},
    {"iss", "\"\""},
    {"iss", "\"" AUTH_ISSUER "/\""},
    {"iss", "\"https://LOCALHOST:8443/" AUTH_TENANT "/v2.0\""},
    {"iss", "\"https://localhost:8443/\""},
    {"iss", "\"https://localhost:8443.evil.example/" AUTH_TENANT "/v2.0\""},
    {"iss", "\"" OTHER_ISSUER "\""}, /* another trusted issuer, but not its key */
    {"iss", "[\"" AUTH_ISSUER "\"]"},
    {"iss", "5"},
    {"tid", NULL},
    {"tid", "\"\""},
    {"tid", "\"99999999-2222-4333-8444-555555555555\""},
    {"tid", "null"},
    {"oid", NULL},
    {"oid", "\"\""},
    {"oid", "\"a\""},
    {"oid", "\"" AUTH_OID "0\""},
    {"oid", "\"{" AUTH_OID "}\""},
    {"oid", "5"},
    {"oid", "[\"" AUTH_OID "\"]"},
    {"appid", NULL},
    {"appid", "\"\""},
    {"appid", "\"app\""},
    {"appid", "5"},
    {"azp", "\"" AUTH_OID "\""}, /* another than appid */
    {"azp", "5"},
    {"uti", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""},
};

static void test_auth_jwt__claims(void **state)
{
    (void)state;
    for (size_t i = 0; i < KL_COUNT(bad_claims); i++)
        expect_claim(&bad_claims[i], false);
}

static void test_auth_jwt__headers(void **state)
{
    (void)state;
    static const struct member bad[] = {
        {"alg", NULL},
        {"alg", "\"none\""},
        {"alg", "\"None\""},
        {"alg", "\"NONE\""},
        {"alg", "\"nOnE\""},
        {"alg", "\"HS256\""},
        {"alg", "\"RS384\""},
        {"alg", "\"RS512\""},
        {"alg", "\"PS256\""},
        {"alg", "\"ES256\""},
        {"alg", "\"EdDSA\""},
        {"alg", "\"rs256\""},
        {"alg", "\"RS256 \""},
        {"alg", "\"\""},
        {"alg", "5"},
        {"alg", "null"},
        {"alg", "[\"RS256\"]"},
        {"typ", "\"JWE\""},
        {"typ", "\"JOSE\""},
        {"typ", "5"},
        {"typ", "null"},
        {"kid", NULL},
        {"kid", "\"\""},
        {"kid", "\"K1\""},
        {"kid", "\"k2\""},
        {"kid", "5"},
        {"kid", "null"},
        {"kid", LONG_130},
        {"kid", "\"k1\\u0000\""},
        {"kid", "\"../../../dev/null\""},
        {"kid", "\"k1' OR '1'='1\""},
        {"kid", "[\"k1\"]"},
        {"crit", "[\"exp\"]"},
        {"crit", "[]"},
        {"b64", "false"},
        {"b64", "true"},
        {"jku", "\"https://evil.example/keys\""},
        {"jwk", "{\"kty\":\"RSA\"}"},
        {"x5u", "\"https://evil.example/cert\""},
        {"x5c", "[\"MIIB\"]"},
        {"zip", "\"DEF\""},
        {"enc", "\"A256GCM\""},
        {"a", "[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]"},
    };
    for (size_t i = 0; i < KL_COUNT(bad); i++)
        expect_header(&bad[i], false);
}

/* Whole parts that are wrong in themselves, though rightly signed. */
static void test_auth_jwt__parts(void **state)
{
    (void)state;
    static const char header[] = "{\"alg\":\"RS256\",\"kid\":\"k1\"}";
    char *claims = object(good_claims, KL_COUNT(good_claims), NULL);
    static const char *const headers[] = {"",
                                          "[]",
                                          "1",
                                          "null",
                                          "\"RS256\"",
                                          "{",
                                          "{\"alg\":\"RS256\",\"kid\":\"k1\"}x",
                                          "{\"alg\":\"none\",\"alg\":\"RS256\",\"kid\":\"k1\"}",
                                          "{\"alg\":\"RS256\",\"kid\":\"k2\",\"kid\":\"k1\"}",
                                          "{\"alg\":\"RS256\",\"kid\":\"k1\xff\"}",
                                          "\xef\xbb\xbf{\"alg\":\"RS256\",\"kid\":\"k1\"}"};
    for (size_t i = 0; i < KL_COUNT(headers); i++) {
        char *token = auth_sign(auth_key(0), headers[i], claims);
        expect(token, false, "header", headers[i]);
        free(token);
    }
    static const char *const payloads[] = {"",    "[]", "null", "1",
                                           "foo", "{}", "{",    "{\"exp\":1,\"exp\":1700003600}"};
    for (size_t i = 0; i < KL_COUNT(payloads); i++) {
        char *token = auth_sign(auth_key(0), header, payloads[i]);
        expect(token, false, "payload", payloads[i]);
        free(token);
    }
    free(claims);
}

/* Spellings of a good token that are not the good token. */
static void test_auth_jwt__text(void **state)
{
    (void)state;
    char *good = make(NULL, NULL);
    size_t n = strlen(good);
    char *dot1 = strchr(good, '.');
    char *dot2 = strchr(dot1 + 1, '.');
    char text[8192];
#define SPOIL(...)                                                                                 \
    do {                                                                                           \
        (void)snprintf(text, sizeof text, __VA_ARGS__);                                            \
        expect(text, false, "text", text);                                                         \
    } while (0)
    SPOIL(" %s", good);
    SPOIL("%s ", good);
    SPOIL("%s\n", good);
    SPOIL("%s=", good);
    SPOIL("%s==", good);
    SPOIL("%s.", good);
    SPOIL("%s.x", good);
    SPOIL(".%s", good);
    SPOIL("%.*s", (int)(dot2 - good), good);
    SPOIL("%.*s.", (int)(dot2 - good), good);
    SPOIL("%.*s", (int)(dot1 - good), good);
    SPOIL("..");
    SPOIL(".");
    SPOIL("%s", "");
    SPOIL("%.*s%s", (int)(dot1 - good), good, dot2);
    SPOIL("%.*s.%s", (int)(dot1 - good), good, dot2);
    SPOIL("%s", dot1);
    SPOIL("%.*s=%s", (int)(dot1 - good), good, dot1);
    SPOIL("%.*s=%s", (int)(dot2 - good), good, dot2);
    SPOIL("%.*s", (int)n - 1, good);
    SPOIL("%.*s", (int)n - 4, good);
    SPOIL("%sAAAA", good);
    SPOIL("%.*sA%s", (int)(dot2 - good), good, dot2);
    SPOIL("%.*s.%0342d", (int)(dot2 - good), good, 0);
    SPOIL("%s,%s", good, good);
    SPOIL("{\"payload\":\"%.*s\"}", (int)(dot2 - dot1 - 1), dot1 + 1);
#undef SPOIL
    free(good);
}

static size_t put_padded(struct kl_buf *b, const char *text, bool pad)
{
    size_t before = b->len;
    kl_b64url_put(b, text, strlen(text));
    while (pad && (b->len - before) % 4 != 0)
        kl_buf_putc(b, '=');
    return strlen(text) % 3;
}

/* The issuer itself spells a part with padding, or in three parts: rightly signed, and still not a
 * compact token. */
static void test_auth_jwt__signed_spellings(void **state)
{
    (void)state;
    static const char header[] = "{\"alg\":\"RS256\",\"kid\":\"k1\"  }";
    char *claims = object(good_claims, KL_COUNT(good_claims), NULL);
    struct kl_buf padded = KL_BUF_INIT(8192);
    kl_buf_printf(&padded, "%s ", claims); /* blanks until padding is needed */
    while (padded.len % 3 == 0)
        kl_buf_putc(&padded, ' ');
    for (int which = 0; which < 4; which++) {
        struct kl_buf text = KL_BUF_INIT(8192);
        assert_int_not_equal(put_padded(&text, header, which == 1), 0);
        kl_buf_putc(&text, '.');
        assert_int_not_equal(put_padded(&text, kl_buf_text(&padded), which == 2), 0);
        kl_buf_puts(&text, which == 3 ? ".AAAA" : "");
        char *token = auth_sign_text(auth_key(0), kl_buf_text(&text));
        expect(token, which == 0, "spelling", token);
        free(token);
        kl_buf_done(&text);
    }
    kl_buf_done(&padded);
    free(claims);
}

/* Each character of the token in turn becomes another one: nothing in it is without weight, not
 * even the bits that its last characters do not need. */
static void test_auth_jwt__every_character(void **state)
{
    (void)state;
    char *token = make(NULL, NULL);
    for (size_t i = 0; token[i] != 0; i++) {
        char kept = token[i];
        static const char others_of[] = {'A', 'B', '_', '.', '=', '+', '/', 1};
        for (size_t k = 0; k < sizeof others_of; k++) {
            token[i] = others_of[k];
            if (token[i] != kept)
                expect(token, false, "changed", token);
        }
        token[i] = (char)(kept + 1);
        expect(token, false, "changed", token);
        token[i] = kept;
    }
    expect(token, true, "restored", token);
    free(token);
}

static void test_auth_jwt__size(void **state)
{
    (void)state;
    char *filler = calloc(1, 20000);
    memset(filler, 'x', 19990);
    filler[0] = filler[19989] = '"';
    struct member big = {"filler", filler};
    expect_claim(&big, false);
    filler[8000] = '"';
    filler[8001] = 0;
    expect_claim(&big, true);
    free(filler);
    /* a NUL within the length that the caller gives */
    char *token = make(NULL, NULL);
    struct kl_jwt_claims claims;
    assert_int_equal(check_n(token, strlen(token) + 1, &claims, NULL), KL_UNAUTHENTICATED);
    free(token);
}

/* A key of one issuer vouches for no other: not by kid, not by name. */
static void test_auth_jwt__issuers_apart(void **state)
{
    (void)state;
    static const struct member other_kid = {"kid", "\"k2\""};
    static const struct member other_iss = {"iss", "\"" OTHER_ISSUER "\""};
    char *header = object(good_header, KL_COUNT(good_header), &other_kid);
    char *claims = object(good_claims, KL_COUNT(good_claims), NULL);
    char *other_claims = object(good_claims, KL_COUNT(good_claims), &other_iss);
    char *own_header = object(good_header, KL_COUNT(good_header), NULL);
    char *tokens[] = {auth_sign(auth_key(1), header, claims),
                      auth_sign(auth_key(1), own_header, claims),
                      auth_sign(auth_key(0), header, other_claims),
                      auth_sign(auth_key(1), own_header, other_claims),
                      auth_sign(auth_key(1), header, other_claims)};
    for (size_t i = 0; i < KL_COUNT(tokens); i++) {
        expect(tokens[i], i == 4, "issuer and key", tokens[i]);
        free(tokens[i]);
    }
    free(header);
    free(claims);
    free(other_claims);
    free(own_header);
}

/* The public key as an HMAC secret: the classic confusion of RS256 with HS256. */
static void test_auth_jwt__hmac_with_public_key(void **state)
{
    (void)state;
    static const char *const headers[] = {"{\"alg\":\"HS256\",\"kid\":\"k1\"}",
                                          "{\"alg\":\"RS256\",\"kid\":\"k1\"}"};
    char *pem = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PUBKEY(bio, auth_key(0)), 1);
    long pem_len = BIO_get_mem_data(bio, &pem);
    char *claims = object(good_claims, KL_COUNT(good_claims), NULL);
    for (size_t i = 0; i < KL_COUNT(headers); i++) {
        unsigned char mac[32];
        unsigned mac_len = sizeof mac;
        struct kl_buf text = KL_BUF_INIT(8192);
        kl_b64url_put(&text, headers[i], strlen(headers[i]));
        kl_buf_putc(&text, '.');
        kl_b64url_put(&text, claims, strlen(claims));
        assert_non_null(HMAC(EVP_sha256(), pem, (int)pem_len, (const unsigned char *)text.bytes,
                             text.len, mac, &mac_len));
        kl_buf_putc(&text, '.');
        kl_b64url_put(&text, mac, mac_len);
        expect(kl_buf_text(&text), false, "hmac", headers[i]);
        kl_buf_done(&text);
    }
    free(claims);
    BIO_free(bio);
}

static void test_auth_jwt__wording(void **state)
{
    (void)state;
    static const struct {
        struct member claim;
        const char *words;
    } rows[] = {
        {{"aud", "\"https://management.azure.com\""}, "AKV10022"},
        {{"iss", "\"https://sts.windows.net/x/\""}, "AKV10032"},
        {{"exp", "1699999999"}, "IDX10223"},
        {{"nbf", "1700009999"}, "IDX10222"},
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct kl_err err;
        struct kl_jwt_claims claims;
        char *token = make(NULL, &rows[i].claim);
        assert_int_equal(check(token, &claims, &err), KL_UNAUTHENTICATED);
        assert_non_null(strstr(err.text, rows[i].words));
        free(token);
    }
    static const struct member unknown = {"kid", "\"k9\""};
    struct kl_err err;
    struct kl_jwt_claims claims;
    char *token = make(&unknown, NULL);
    assert_int_equal(check(token, &claims, &err), KL_UNAUTHENTICATED);
    assert_non_null(strstr(err.text, "AKV10046"));
    free(token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auth_jwt__good),
        cmocka_unit_test(test_auth_jwt__claims),
        cmocka_unit_test(test_auth_jwt__headers),
        cmocka_unit_test(test_auth_jwt__parts),
        cmocka_unit_test(test_auth_jwt__text),
        cmocka_unit_test(test_auth_jwt__signed_spellings),
        cmocka_unit_test(test_auth_jwt__every_character),
        cmocka_unit_test(test_auth_jwt__size),
        cmocka_unit_test(test_auth_jwt__issuers_apart),
        cmocka_unit_test(test_auth_jwt__hmac_with_public_key),
        cmocka_unit_test(test_auth_jwt__wording),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
