#include "keyvault/route.h"

#include "keyvault/auth/policy.h"
#include "tests/unit/keyvault/key_support.h"

#include <ctype.h>
#include <string.h>

static int set_up(void **state)
{
    (void)state;
    struct kl_err err;
    if (kl_routes_compile(&err) == KL_OK)
        return 0;
    print_error("%s\n", err.text);
    return -1;
}

static bool starts_upper_word(const char *text)
{
    for (const char *p = text; *p != 0; p++)
        if (!isalnum((unsigned char)*p))
            return false;
    return isupper((unsigned char)text[0]) != 0;
}

/* An operation that nobody is asked permission for, or that leaves no record, must be seen here. */
static void test_keyvault_route__every_row_is_sane(void **state)
{
    (void)state;
    assert_true(kl_routes_count() > 20);
    for (size_t i = 0; i < kl_routes_count(); i++) {
        const struct kl_route *r = kl_routes_at(i);
        bool asks = r->scope == KL_SCOPE_HOST || r->scope == KL_SCOPE_NAMED ||
                    r->scope == KL_SCOPE_NAMED_OR_NEW;
        assert_non_null(r->handler);
        assert_true(r->summary != NULL && strlen(r->summary) > 4);
        assert_true(r->path[0] == '/');
        if (asks != (r->permission != KL_MAY_NOTHING))
            fail_msg("%s %s: scope and permission do not go together", r->method, r->path);
        if (r->audit == NULL && r->scope != KL_SCOPE_OPEN)
            fail_msg("%s %s leaves no record", r->method, r->path);
        assert_true(r->audit == NULL || starts_upper_word(r->audit));
        if (r->scope == KL_SCOPE_HOST)
            assert_int_equal(kl_permission_kind_of(r->permission),
                             strstr(r->path, "certificates") != NULL ? KL_PERM_CERTIFICATES
                             : strstr(r->path, "secrets") != NULL    ? KL_PERM_SECRETS
                                                                     : KL_PERM_KEYS);
        if (r->scope == KL_SCOPE_NAMED) {
            assert_int_equal(kl_permission_kind_of(r->permission), KL_PERM_VAULT);
            assert_non_null(strstr(r->path, "{name}"));
        }
    }
}

/* Key Vault's own names (learn.microsoft.com, "Azure Key Vault logging"), by what stands before
 * them. Dashboards and alarms that teams have for Key Vault ask for these. */
static const char *const operations[][40] = {
    {"Vault", "Get", "Put", "Delete", "Patch", "Recover"},
    {"Key",
     "Create",
     "Get",
     "Import",
     "Delete",
     "Sign",
     "Verify",
     "Wrap",
     "Unwrap",
     "Encrypt",
     "Decrypt",
     "Update",
     "List",
     "ListVersions",
     "Purge",
     "Backup",
     "Restore",
     "Recover",
     "GetDeleted",
     "ListDeleted",
     "Rotate",
     "RotationPolicyGet",
     "RotationPolicySet"},
    {"Secret", "Set", "Get", "Update", "Delete", "List", "ListVersions", "Purge", "Backup",
     "Restore", "Recover", "GetDeleted", "ListDeleted"},
    {"Certificate",   "Get",           "Create",       "Import",         "Update",
     "List",          "ListVersions",  "Delete",       "Purge",          "Backup",
     "Restore",       "Recover",       "GetDeleted",   "ListDeleted",    "PolicyGet",
     "PolicyUpdate",  "ContactsGet",   "ContactsSet",  "ContactsDelete", "IssuerGet",
     "IssuerSet",     "IssuerUpdate",  "IssuerDelete", "IssuersList",    "PendingGet",
     "PendingUpdate", "PendingDelete", "PendingMerge"},
};

static bool is_operation(const char *name)
{
    static const char *const ours[] = {"KeyRelease", "KeyReseal",
                                       "RandomBytesGet"}; /* it names none */
    for (size_t i = 0; i < KL_COUNT(ours); i++)
        if (strcmp(name, ours[i]) == 0)
            return true;
    for (size_t i = 0; i < KL_COUNT(operations); i++) {
        size_t head = strlen(operations[i][0]);
        for (size_t k = 1; operations[i][k] != NULL; k++)
            if (strncmp(name, operations[i][0], head) == 0 &&
                strcmp(name + head, operations[i][k]) == 0)
                return true;
    }
    return false;
}

static bool has_row(const char *head, const char *tail)
{
    for (size_t i = 0; i < kl_routes_count(); i++) {
        const char *audit = kl_routes_at(i)->audit;
        if (audit != NULL && strncmp(audit, head, strlen(head)) == 0 &&
            strcmp(audit + strlen(head), tail) == 0)
            return true;
    }
    return false;
}

static void test_keyvault_route__operations_have_key_vaults_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < kl_routes_count(); i++) {
        const struct kl_route *r = kl_routes_at(i);
        if (r->scope == KL_SCOPE_HOST && !is_operation(r->audit))
            fail_msg("%s %s: Key Vault has no operation %s", r->method, r->path, r->audit);
    }
    for (size_t i = 0; i < KL_COUNT(operations); i++)
        for (size_t k = 1; operations[i][k] != NULL; k++)
            if (!has_row(operations[i][0], operations[i][k]))
                fail_msg("no row is recorded as %s%s", operations[i][0], operations[i][k]);
}

/* Only what must be reachable without a token is. */
static void test_keyvault_route__open_rows_are_few(void **state)
{
    (void)state;
    static const char *const allowed[] = {"/healthz", "/readyz",   "/metrics",  "oauth2",
                                          "openid",   "discovery", "/metadata", "/login"};
    for (size_t i = 0; i < kl_routes_count(); i++) {
        const struct kl_route *r = kl_routes_at(i);
        bool known = false;
        for (size_t k = 0; k < KL_COUNT(allowed); k++)
            known = known || strstr(r->path, allowed[k]) != NULL;
        if (r->scope == KL_SCOPE_OPEN && !known)
            fail_msg("%s %s is open to everybody", r->method, r->path);
    }
}

/* Each row is found under its own path. */
static void test_keyvault_route__every_row_is_reached(void **state)
{
    (void)state;
    for (size_t i = 0; i < kl_routes_count(); i++) {
        const struct kl_route *r = kl_routes_at(i);
        struct kl_route_match m;
        char path[256] = "";
        for (const char *p = r->path; *p != 0; p++) {
            size_t n = strlen(path);
            if (*p == '{') {
                (void)snprintf(path + n, sizeof path - n, "thing");
                p = strchr(p, '}');
            } else {
                path[n] = *p;
                path[n + 1] = 0;
            }
        }
        assert_int_equal(kl_route_find(r->method, path, &m, NULL), KL_OK);
        assert_ptr_equal(m.route, r);
        assert_int_equal(m.index, i);
    }
}

static void test_keyvault_route__forms_that_clients_send(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path, *audit, *name, *version;
    } rows[] = {
        {"GET", "/keys/n", "KeyGet", "n", ""},
        {"GET", "/keys/n/", "KeyGet", "n", ""},
        {"GET", "/keys/n/0123", "KeyGet", "n", "0123"},
        {"PATCH", "/keys/n/", "KeyUpdate", "n", ""},
        {"POST", "/keys/n//unwrapkey", "KeyUnwrap", "n", ""},
        {"POST", "/keys/n/unwrapkey", "KeyUnwrap", "n", ""},
        {"POST", "/keys/n/0123/UnwrapKey", "KeyUnwrap", "n", "0123"},
        {"POST", "/Keys/n/wrapKey", "KeyWrap", "n", ""},
        {"GET", "/keys", "KeyList", "", ""},
        {"GET", "/keys/", "KeyList", "", ""},
        {"GET", "/keys/n/versions", "KeyListVersions", "n", ""},
        {"POST", "/keys/restore", "KeyRestore", "", ""},
        {"GET", "/keys/restore", "KeyGet", "restore", ""},
        {"GET", "/keys/%6e%2d1", "KeyGet", "n-1", ""},
        {"GET", "/keys/a%2Fb", "KeyGet", "a/b", ""},
        {"DELETE", "/deletedkeys/n", "KeyPurge", "n", ""},
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct kl_route_match m;
        assert_int_equal(kl_route_find(rows[i].method, rows[i].path, &m, NULL), KL_OK);
        assert_string_equal(m.route->audit, rows[i].audit);
        assert_string_equal(m.name, rows[i].name);
        assert_string_equal(m.version, rows[i].version);
    }
}

static void test_keyvault_route__refusals(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
        enum kl_code code;
        const char *text;
    } rows[] = {
        {"GET", "/", KL_NO_ROUTE, "The request URI names no operation"},
        {"GET", "", KL_NO_ROUTE, "The request URI names no operation"},
        {"GET", "/nothing/here/at/all/x", KL_NO_ROUTE, "The request URI names no operation"},
        {"POST", "/keys//create", KL_BAD_INPUT, "Operation not specified"},
        {"GET", "/keys/%zz", KL_BAD_INPUT, "The request URI has a broken escape"},
        {"GET", "/keys/a%00b", KL_BAD_INPUT, "The request URI has a broken escape"},
        {"GET", "/a/b/c/d/e/f/g/h/i/j/k", KL_BAD_INPUT, "The request URI is too long"},
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct kl_route_match m;
        struct kl_err err;
        assert_int_equal(kl_route_find(rows[i].method, rows[i].path, &m, &err), rows[i].code);
        assert_string_equal(err.text, rows[i].text);
    }
    char segment[400];
    memset(segment, 'a', sizeof segment);
    memcpy(segment, "/keys/", 6);
    segment[sizeof segment - 1] = 0;
    struct kl_route_match m;
    assert_int_equal(kl_route_find("GET", segment, &m, NULL), KL_BAD_INPUT);
}

static void test_keyvault_route__wrong_methods(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path, *text, *allow;
    } rows[] = {
        {"PUT", "/keys/restore", "Method PUT does not allow operation 'restore'",
         "GET, POST, PATCH, DELETE"},
        {"HEAD", "/keys", "Method HEAD does not allow operation 'keys'", "GET"},
        {"POST", "/keys/n/v", "Method POST does not allow operation 'v'", "GET, PATCH"},
        {"DELETE", "/keys/n/v", "Method DELETE does not allow operation 'v'", "GET, PATCH"},
        {"OPTIONS", "/keys/n/sign", "Method OPTIONS does not allow operation 'sign'",
         "GET, POST, PATCH"},
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct kl_route_match m;
        struct kl_err err;
        assert_int_equal(kl_route_find(rows[i].method, rows[i].path, &m, &err), KL_BAD_METHOD);
        assert_string_equal(err.text, rows[i].text);
        assert_string_equal(m.allow, rows[i].allow);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keyvault_route__operations_have_key_vaults_names),
        cmocka_unit_test(test_keyvault_route__every_row_is_sane),
        cmocka_unit_test(test_keyvault_route__open_rows_are_few),
        cmocka_unit_test(test_keyvault_route__every_row_is_reached),
        cmocka_unit_test(test_keyvault_route__forms_that_clients_send),
        cmocka_unit_test(test_keyvault_route__refusals),
        cmocka_unit_test(test_keyvault_route__wrong_methods),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
