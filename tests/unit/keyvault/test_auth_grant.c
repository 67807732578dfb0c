/* The token endpoints and the OpenID documents as handlers: what a request says goes in, what is
 * answered comes out. HTTP and the ways to end an operation are stood in for below. */
#include "keyvault/op_admin.h"

#include "keyvault/auth/failures.h"
#include "keyvault/auth/issuer.h"
#include "tests/unit/keyvault/auth_support.h"

#include <string.h>

#define FORM   "application/x-www-form-urlencoded"
#define GRANT  "grant_type=client_credentials&"
#define CLIENT "client_id=" AUTH_APP "&client_secret=a&"
#define SCOPE  "scope=https%3A%2F%2Fvault.azure.net%2F.default"
#define PAIR   AUTH_APP ":a"

/* --- stand-ins --- */

struct request {
    kl_op_handler *handler;
    const char *tenant, *type, *body, *header, *value, *resource;
};

static const struct request *now;
static int status;
static json_t *answer;

const char *kl_http_header(const struct kl_http_request *req, const char *name)
{
    (void)req;
    if (strcmp(name, "Content-Type") == 0)
        return now->type;
    return now->header != NULL && strcmp(name, now->header) == 0 ? now->value : NULL;
}

const void *kl_http_body(const struct kl_http_request *req, size_t *ret_len)
{
    (void)req;
    *ret_len = now->body != NULL ? strlen(now->body) : 0;
    return now->body;
}

const char *kl_http_peer(const struct kl_http_request *req)
{
    (void)req;
    return "192.0.2.1";
}

enum kl_code kl_op_query(const struct kl_op *op, const char *name, char *out, size_t room,
                         struct kl_err *err)
{
    (void)op;
    (void)err;
    bool wanted = now->resource != NULL && strcmp(name, "resource") == 0;
    (void)snprintf(out, room, "%s", wanted ? now->resource : "");
    return KL_OK;
}

void kl_admin_reply(struct kl_op *op, int code, json_t *object)
{
    (void)op;
    assert_int_equal(status, 0);
    assert_non_null(object);
    status = code;
    answer = object;
}

void kl_op_reply_bytes(struct kl_op *op, int code, const char *content_type, const void *bytes,
                       size_t n)
{
    (void)op;
    assert_int_equal(status, 0);
    assert_string_equal(content_type, "application/json; charset=utf-8");
    status = code;
    assert_int_equal(kl_json_parse(bytes, n, &answer, NULL), KL_OK);
}

/* --- the tests --- */

static struct kl_service service;

static int set_up(void **state)
{
    (void)state;
    auth_world_reset();
    auth_signing_fails(KL_OK, KL_OK);
    service.authenticator = auth_authenticator();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kl_authenticator_free(service.authenticator);
    json_decref(answer);
    answer = NULL;
    return 0;
}

static void ask(const struct request *r, struct kl_op *op)
{
    *op = (struct kl_op){.service = &service, .origin = {"demo.vault.localhost", 8443}};
    (void)snprintf(op->name, sizeof op->name, "%s", r->tenant != NULL ? r->tenant : "");
    json_decref(answer);
    answer = NULL;
    status = 0;
    now = r;
    r->handler(op);
    assert_int_not_equal(status, 0);
}

static const char *text(const char *name)
{
    const char *value = json_string_value(json_object_get(answer, name));
    return value != NULL ? value : "";
}

static void expect_token(void)
{
    struct kl_caller caller;
    char value[8192];
    if (status != 200)
        fail_msg("%d %s", status, text("error_description"));
    assert_string_equal(text("token_type"), "Bearer");
    (void)snprintf(value, sizeof value, "Bearer %s", text("access_token"));
    assert_int_equal(kl_authenticate(service.authenticator, value, &caller, NULL), KL_OK);
    assert_string_equal(caller.who.name, "a");
}

static void test_auth_grant__tokens(void **state)
{
    (void)state;
    static const struct request good[] = {
        {kl_op_token_tenant, AUTH_TENANT, FORM, GRANT CLIENT SCOPE, NULL, NULL, NULL},
        {kl_op_token_tenant, AUTH_TENANT, FORM "; charset=UTF-8", CLIENT GRANT SCOPE, NULL, NULL,
         NULL},
        {kl_op_token_tenant, AUTH_TENANT, FORM, GRANT CLIENT "resource=https://vault.azure.net/",
         NULL, NULL, NULL},
        {kl_op_token_tenant, AUTH_TENANT, FORM, GRANT "x-client-SKU=js&claims=%7b%7d&" CLIENT SCOPE,
         NULL, NULL, NULL},
        {kl_op_token_tenant, AUTH_TENANT, FORM, GRANT SCOPE, "Authorization",
         "Basic YWFhYWFhYWEtMDAwMC00MDAwLTgwMDAtMDAwMDAwMDAwMGNhOmE=", NULL},
        {kl_op_token_adfs, NULL, FORM, GRANT CLIENT "client_info=1&scope=https://0.0.1/.default",
         NULL, NULL, NULL},
    };
    for (size_t i = 0; i < KL_COUNT(good); i++) {
        struct kl_op op;
        ask(&good[i], &op);
        expect_token();
        assert_int_equal(json_integer_value(json_object_get(answer, "expires_in")), 3599);
        assert_true(json_is_integer(json_object_get(answer, "ext_expires_in")));
        assert_string_equal(op.caller.who.name, "a");
        assert_string_equal(op.caller.app_id, AUTH_APP);
    }
}

static void test_auth_grant__managed_identity(void **state)
{
    (void)state;
    static const struct request good[] = {
        {kl_op_identity_get, NULL, NULL, NULL, "X-IDENTITY-HEADER", PAIR,
         "https://vault.azure.net"},
        {kl_op_identity_get, NULL, NULL, NULL, "Secret", PAIR, "https://vault.azure.net"},
        {kl_op_identity_post, NULL, FORM, "resource=https%3A%2F%2Fvault.azure.net", "Secret", PAIR,
         NULL},
        {kl_op_identity_post, NULL, FORM,
         "resource=https%3A%2F%2Fvault.azure.net&client_id=" AUTH_APP, "Secret", PAIR, NULL},
    };
    for (size_t i = 0; i < KL_COUNT(good); i++) {
        struct kl_op op;
        ask(&good[i], &op);
        expect_token();
        assert_string_equal(text("expires_in"), "3599");
        assert_true(strtoll(text("expires_on"), NULL, 10) > 1700000000);
        assert_string_equal(text("resource"), "https://vault.azure.net");
        assert_string_equal(text("client_id"), AUTH_APP);
    }
}

static const struct {
    struct request request;
    int status;
    const char *error, *number;
} refusals[] = {
    {{kl_op_token_tenant, AUTH_TENANT, "application/json", "{}", NULL, NULL, NULL},
     400,
     "invalid_request",
     "AADSTS90014"},
    {{kl_op_token_tenant, AUTH_TENANT, FORM "x", GRANT CLIENT SCOPE, NULL, NULL, NULL},
     400,
     "invalid_request",
     "AADSTS90014"},
    {{kl_op_token_tenant, AUTH_TENANT, NULL, GRANT CLIENT SCOPE, NULL, NULL, NULL},
     400,
     "invalid_request",
     "AADSTS90014"},
    {{kl_op_token_tenant, AUTH_TENANT, FORM, NULL, NULL, NULL, NULL},
     400,
     "unsupported_grant_type",
     "AADSTS70003"},
    {{kl_op_token_tenant, AUTH_TENANT, FORM, "grant_type=password&" CLIENT SCOPE, NULL, NULL, NULL},
     400,
     "unsupported_grant_type",
     "AADSTS70003"},
    {{kl_op_token_tenant, AUTH_TENANT, FORM, GRANT CLIENT CLIENT SCOPE, NULL, NULL, NULL},
     400,
     "invalid_request",
     "AADSTS90014"},
    {{kl_op_token_tenant, "common", FORM, GRANT CLIENT SCOPE, NULL, NULL, NULL},
     400,
     "invalid_request",
     "AADSTS90002"},
    {{kl_op_token_tenant, AUTH_TENANT, FORM, GRANT "client_id=" AUTH_APP "&client_secret=b&" SCOPE,
      NULL, NULL, NULL},
     401,
     "invalid_client",
     "AADSTS7000215"},
    {{kl_op_token_tenant, AUTH_TENANT, FORM, GRANT "client_id=nobody&client_secret=b&" SCOPE, NULL,
      NULL, NULL},
     401,
     "invalid_client",
     "AADSTS7000215"},
    {{kl_op_token_tenant, AUTH_TENANT, FORM, GRANT "client_id=" AUTH_APP "&" SCOPE, NULL, NULL,
      NULL},
     401,
     "invalid_client",
     "AADSTS7000218"},
    {{kl_op_token_tenant, AUTH_TENANT, FORM, GRANT "client_secret=a&" SCOPE, NULL, NULL, NULL},
     400,
     "invalid_request",
     "AADSTS90014"},
    {{kl_op_token_tenant, AUTH_TENANT, FORM, GRANT CLIENT, NULL, NULL, NULL},
     400,
     "invalid_request",
     "AADSTS90014"},
    {{kl_op_token_tenant, AUTH_TENANT, FORM,
      GRANT CLIENT "scope=https://graph.microsoft.com/.default", NULL, NULL, NULL},
     400,
     "invalid_scope",
     "AADSTS70011"},
    {{kl_op_token_tenant, AUTH_TENANT, FORM, GRANT CLIENT SCOPE, "Authorization", "Basic YTpi",
      NULL},
     400,
     "invalid_request",
     "AADSTS90014"},
    {{kl_op_token_tenant, AUTH_TENANT, FORM, GRANT SCOPE, "Authorization", "Basic %%%", NULL},
     400,
     "invalid_request",
     "AADSTS90014"},
    {{kl_op_identity_get, NULL, NULL, NULL, NULL, NULL, "https://vault.azure.net"},
     401,
     "invalid_client",
     "AADSTS7000218"},
    {{kl_op_identity_get, NULL, NULL, NULL, "X-IDENTITY-HEADER", "nocolon",
      "https://vault.azure.net"},
     401,
     "invalid_client",
     "AADSTS7000215"},
    {{kl_op_identity_get, NULL, NULL, NULL, "Secret", "nocolon", "https://vault.azure.net"},
     401,
     "invalid_client",
     "AADSTS7000215"},
    {{kl_op_identity_get, NULL, NULL, NULL, "X-IDENTITY-HEADER", PAIR, NULL},
     400,
     "invalid_request",
     "AADSTS90014"},
    {{kl_op_identity_post, NULL, FORM, "resource=https://vault.azure.net&client_id=other", "Secret",
      PAIR, NULL},
     401,
     "invalid_client",
     "AADSTS7000215"},
};

static void test_auth_grant__refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < KL_COUNT(refusals); i++) {
        struct kl_op op;
        ask(&refusals[i].request, &op);
        if (status != refusals[i].status || strcmp(text("error"), refusals[i].error) != 0)
            fail_msg("row %zu: %d %s", i, status, text("error_description"));
        assert_ptr_equal(strstr(text("error_description"), refusals[i].number),
                         text("error_description"));
        assert_string_equal(text("access_token"), "");
        assert_false(op.caller.authenticated && refusals[i].status == 401);
    }
}

static void test_auth_grant__too_many(void **state)
{
    (void)state;
    static const struct request bad = {kl_op_token_tenant,
                                       AUTH_TENANT,
                                       FORM,
                                       GRANT "client_id=x&client_secret=b&" SCOPE,
                                       NULL,
                                       NULL,
                                       NULL};
    struct kl_op op;
    for (int i = 0; i < KL_FAILURES_MAX; i++) {
        ask(&bad, &op);
        assert_int_equal(status, 401);
    }
    ask(&bad, &op);
    assert_int_equal(status, 429);
}

static void test_auth_grant__token_away(void **state)
{
    (void)state;
    static const struct request good = {
        kl_op_token_tenant, AUTH_TENANT, FORM, GRANT CLIENT SCOPE, NULL, NULL, NULL};
    struct kl_op op;
    auth_signing_fails(KL_TOKEN_UNAVAILABLE, KL_OK);
    ask(&good, &op);
    assert_int_equal(status, 503);
    auth_signing_fails(KL_OK, KL_TOKEN_UNAVAILABLE);
    ask(&good, &op);
    assert_int_equal(status, 503);
    assert_string_equal(text("error"), "temporarily_unavailable");
}

/* Endpoints and issuer on the origin that was asked, for all three documents. */
static void test_auth_grant__documents(void **state)
{
    (void)state;
    static const struct {
        struct request request;
        const char *token_endpoint;
    } rows[] = {
        {{kl_op_openid_v2, AUTH_TENANT, NULL, NULL, NULL, NULL, NULL},
         "https://demo.vault.localhost:8443/" AUTH_TENANT "/oauth2/v2.0/token"},
        {{kl_op_openid_v1, AUTH_TENANT, NULL, NULL, NULL, NULL, NULL},
         "https://demo.vault.localhost:8443/" AUTH_TENANT "/oauth2/token"},
        {{kl_op_openid_adfs, NULL, NULL, NULL, NULL, NULL, NULL},
         "https://demo.vault.localhost:8443/adfs/oauth2/token"},
    };
    static const char *const lists[] = {"response_types_supported", "subject_types_supported",
                                        "id_token_signing_alg_values_supported",
                                        "token_endpoint_auth_methods_supported"};
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct kl_op op;
        ask(&rows[i].request, &op);
        assert_int_equal(status, 200);
        assert_string_equal(text("token_endpoint"), rows[i].token_endpoint);
        assert_string_equal(text("issuer"),
                            "https://demo.vault.localhost:8443/" AUTH_TENANT "/v2.0");
        assert_string_equal(text("jwks_uri"), "https://demo.vault.localhost:8443/" AUTH_TENANT
                                              "/discovery/v2.0/keys");
        assert_string_not_equal(text("authorization_endpoint"), "");
        for (size_t k = 0; k < KL_COUNT(lists); k++)
            assert_true(json_array_size(json_object_get(answer, lists[k])) > 0);
    }
    static const struct request foreign = {kl_op_openid_v2, "common", NULL, NULL, NULL, NULL, NULL};
    struct kl_op op;
    ask(&foreign, &op);
    assert_int_equal(status, 400);
    static const struct request keys = {kl_op_jwks, AUTH_TENANT, NULL, NULL, NULL, NULL, NULL};
    ask(&keys, &op);
    assert_int_equal(json_array_size(json_object_get(answer, "keys")), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_auth_grant__tokens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_grant__managed_identity, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_grant__refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_grant__too_many, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_grant__token_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auth_grant__documents, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
