/* Every row of the API against every kind of caller: the decision follows from the row's scope and
 * permission and from nothing else. A new row is in the matrix by being a row. */
#include "keyvault/auth/policy.h"
#include "keyvault/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define CALLER_ID  "aaaaaaaa-0000-4000-8000-000000000001"
#define MANAGER_ID "aaaaaaaa-0000-4000-8000-000000000002"

enum extent { NOTHING, EXACTLY, ALL_BUT, EVERYTHING };

/* One kind of caller. */
struct kind {
    const char *name;
    bool authenticated;
    unsigned roles;
    enum extent here;          /* policy in the vault that is asked for */
    bool everything_elsewhere; /* a policy in another vault */
};

static const struct kind kinds[] = {
    {"nobody", false, 0, NOTHING, false},
    {"no policy", true, 0, NOTHING, false},
    {"exactly that permission", true, 0, EXACTLY, false},
    {"all other permissions", true, 0, ALL_BUT, false},
    {"everything in this vault", true, 0, EVERYTHING, false},
    {"administrator", true, KL_ROLE_ADMINISTRATOR, NOTHING, false},
    {"administrator with all other permissions", true, KL_ROLE_ADMINISTRATOR, ALL_BUT, false},
    {"auditor", true, KL_ROLE_AUDITOR, NOTHING, false},
    {"everything in another vault", true, 0, NOTHING, true},
    {"administrator with everything in another vault", true, KL_ROLE_ADMINISTRATOR, NOTHING, true},
};

static void fill(struct kl_policy *p, const char *object_id, enum extent how,
                 enum kl_permission permission)
{
    *p = (struct kl_policy){0};
    memcpy(p->object_id, object_id, KL_UUID_LEN + 1);
    for (size_t kind = 0; kind < KL_PERM_KINDS && how >= ALL_BUT; kind++)
        p->allowed[kind] = kl_permission_all((enum kl_permission_kind)kind);
    if (how == ALL_BUT)
        p->allowed[kl_permission_kind_of(permission)] &= ~kl_permission_bit(permission);
    if (how == EXACTLY)
        p->allowed[kl_permission_kind_of(permission)] = kl_permission_bit(permission);
}

static bool is_about_vault(const struct kl_route *row)
{
    return row->scope == KL_SCOPE_HOST || row->scope == KL_SCOPE_NAMED ||
           row->scope == KL_SCOPE_NAMED_OR_NEW;
}

static enum kl_code expected(const struct kl_route *row, const struct kind *k)
{
    bool allowed = false;
    if (row->scope == KL_SCOPE_OPEN)
        return KL_OK;
    if (!k->authenticated)
        return KL_UNAUTHENTICATED;
    switch (row->scope) {
    case KL_SCOPE_OPEN:
    case KL_SCOPE_CALLER:
        return KL_OK;
    case KL_SCOPE_HOST:
    case KL_SCOPE_NAMED:
    case KL_SCOPE_NAMED_OR_NEW:
        allowed = k->here == EXACTLY || k->here == EVERYTHING;
        break;
    case KL_SCOPE_ADMIN:
        allowed = k->roles == KL_ROLE_ADMINISTRATOR;
        break;
    case KL_SCOPE_AUDITOR:
        allowed = k->roles != 0;
        break;
    }
    return allowed ? KL_OK : KL_FORBIDDEN;
}

/* What kl_authorize says to this caller: the vault of the row has a manager besides, so no vault
 * here is without one. */
static enum kl_code decide(const struct kl_route *row, const struct kind *k)
{
    struct kl_policy here[2], elsewhere[1];
    struct kl_vault vault = {.name = "here", .policies = here, .policy_count = 1};
    struct kl_vault other = {.name = "elsewhere", .policies = elsewhere, .policy_count = 1};
    fill(&here[0], MANAGER_ID, EVERYTHING, KL_MAY_NOTHING);
    fill(&here[1], CALLER_ID, k->here, row->permission);
    fill(&elsewhere[0], CALLER_ID, EVERYTHING, KL_MAY_NOTHING);
    if (k->here != NOTHING)
        vault.policy_count = 2;
    struct kl_caller caller = {.authenticated = k->authenticated};
    caller.who.roles = k->roles;
    memcpy(caller.who.object_id, CALLER_ID, KL_UUID_LEN + 1);
    bool vault_row = is_about_vault(row);
    /* that the other policy is a good one, there */
    if (k->everything_elsewhere && vault_row)
        assert_int_equal(
            kl_authorize(&caller, row->scope, row->permission, &other, row->audit, NULL), KL_OK);
    return kl_authorize(&caller, row->scope, row->permission, vault_row ? &vault : NULL, row->audit,
                        NULL);
}

static void test_auth_matrix__every_row(void **state)
{
    (void)state;
    unsigned wrong = 0;
    for (size_t i = 0; i < kl_routes_count(); i++) {
        const struct kl_route *row = kl_routes_at(i);
        for (size_t k = 0; k < KL_COUNT(kinds); k++) {
            enum kl_code want = expected(row, &kinds[k]);
            enum kl_code got = decide(row, &kinds[k]);
            if (got != want)
                print_error("%s %s for %s: %s, not %s\n", row->method, row->path, kinds[k].name,
                            kl_code_name(got), kl_code_name(want));
            wrong += got != want;
        }
    }
    assert_int_equal(wrong, 0);
    assert_true(kl_routes_count() > 40);
}

/* Where a row may make its vault, only an administrator may, and nobody else learns that it is
 * not there. */
static void test_auth_matrix__a_new_vault_is_the_administrators(void **state)
{
    (void)state;
    unsigned seen = 0;
    for (size_t i = 0; i < kl_routes_count(); i++) {
        const struct kl_route *row = kl_routes_at(i);
        for (size_t k = 0; k < KL_COUNT(kinds) && row->scope == KL_SCOPE_NAMED_OR_NEW; k++) {
            struct kl_caller caller = {.authenticated = kinds[k].authenticated};
            enum kl_code want = !caller.authenticated                     ? KL_UNAUTHENTICATED
                                : kinds[k].roles == KL_ROLE_ADMINISTRATOR ? KL_OK
                                                                          : KL_FORBIDDEN;
            caller.who.roles = kinds[k].roles;
            seen++;
            assert_int_equal(
                kl_authorize(&caller, row->scope, row->permission, NULL, row->audit, NULL), want);
        }
    }
    assert_true(seen > 0);
}

/* A row on a vault without a permission would be nobody's, an operation without an audit name would
 * leave no trace, and an open row must be one of the few that are known to be. */
static void test_auth_matrix__rows_are_complete(void **state)
{
    (void)state;
    unsigned open = 0;
    for (size_t i = 0; i < kl_routes_count(); i++) {
        const struct kl_route *row = kl_routes_at(i);
        bool vault_row = is_about_vault(row);
        assert_int_equal(vault_row, row->permission != KL_MAY_NOTHING);
        assert_non_null(row->handler);
        assert_non_null(row->summary);
        if (row->scope != KL_SCOPE_OPEN)
            assert_non_null(row->audit);
        if (row->scope == KL_SCOPE_NAMED)
            assert_true(strstr(row->path, "/kluis/v1/vaults/{name}") == row->path ||
                        strstr(row->path, "Microsoft.KeyVault/vaults/{name}") != NULL);
        if (row->scope == KL_SCOPE_HOST)
            assert_int_not_equal(kl_permission_kind_of(row->permission), KL_PERM_VAULT);
        open += row->scope == KL_SCOPE_OPEN;
    }
    assert_int_equal(open, 14);
}

static int set_up(void **state)
{
    (void)state;
    return kl_routes_compile(NULL) == KL_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auth_matrix__every_row),
        cmocka_unit_test(test_auth_matrix__a_new_vault_is_the_administrators),
        cmocka_unit_test(test_auth_matrix__rows_are_complete),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
