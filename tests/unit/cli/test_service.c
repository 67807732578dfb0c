/* Whole command lines against a service that says what it is told. */
#include "tests/unit/cli/fake_service.h"

#include "cli/command.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUNDLE                                                                                     \
    "{\"key\":{\"kid\":\"https://demo.vault.localhost:%PORT%/keys/kek/0011\",\"kty\":\"RSA\","     \
    "\"key_ops\":[\"wrapKey\"]},\"attributes\":{\"enabled\":true,\"created\":1700000000}}"
#define REFUSED(code, text) "{\"error\":{\"code\":\"" code "\",\"message\":\"" text "\"}}"

static int start(void **state)
{
    if (fixture_folder(state) != 0)
        return -1;
    fake_start(*state);
    return 0;
}

static int stop(void **state)
{
    fake_stop();
    return capture_folder_gone(state);
}

static int forget(void **state)
{
    (void)state;
    fake_forget();
    return 0;
}

static void test_cli_service__show(void **state)
{
    (void)state;
    fake_answer("GET", "/keys/kek", 200, BUNDLE);
    assert_int_equal(capture("key show --name kek -o json"), KL_EXIT_DONE);
    assert_non_null(strstr(capture_out, "\"kty\": \"RSA\""));
    assert_string_equal(capture_err, ""); /* data to stdout, and no words */
    assert_int_equal(capture("keyvault key show -n kek -o tsv"), KL_EXIT_DONE);
    assert_int_equal(strncmp(capture_out, "kek\thttps://demo", 16), 0);
    assert_int_equal(capture("key show -n kek --vault-name demo -o table"), KL_EXIT_DONE);
    assert_non_null(strstr(capture_out, "Operations     wrapKey\n"));
}

static void test_cli_service__exit_codes(void **state)
{
    (void)state;
    assert_int_equal(capture("key show -n gone"), KL_EXIT_NOT_FOUND);
    assert_string_equal(capture_out, "");
    assert_non_null(strstr(capture_err, "kluis key show: "));
    assert_non_null(strstr(capture_err, "nothing here"));
    fake_answer("GET", "/keys/secret", 403, REFUSED("Forbidden", "no get permission"));
    assert_int_equal(capture("key show -n secret"), KL_EXIT_REFUSED);
    assert_non_null(strstr(capture_err, "no get permission"));
    fake_answer("POST", "/keys/kek/create", 409, REFUSED("Conflict", "name is held"));
    assert_int_equal(capture("key create -n kek"), KL_EXIT_REFUSED);
    fake_answer("POST", "/keys/kek/rotate", 400, REFUSED("BadParameter", "no"));
    assert_int_equal(capture("key rotate -n kek"), KL_EXIT_FAILED);
    assert_int_equal(capture("key rotate"), KL_EXIT_USAGE);
    assert_int_equal(capture("key show -n no/slash"), KL_EXIT_USAGE);
}

static void test_cli_service__unreachable(void **state)
{
    KL_AUTO(char) url = strdup(getenv("KLUIS_URL"));

    (void)state;
    setenv("KLUIS_URL", "https://localhost:1", 1);
    assert_int_equal(capture("whoami"), KL_EXIT_UNREACHABLE);
    setenv("KLUIS_URL", url, 1);
}

static void test_cli_service__lists_follow_pages(void **state)
{
    (void)state;
    fake_answer("GET", "/keys", 200,
                "{\"value\":[{\"kid\":\"https://demo.vault.localhost:%PORT%/keys/a\"}],"
                "\"nextLink\":\"https://demo.vault.localhost:%PORT%/keys/page2\"}");
    fake_answer("GET", "/keys/page2", 200,
                "{\"value\":[{\"kid\":\"https://demo.vault.localhost:%PORT%/keys/b\"}],"
                "\"nextLink\":null}");
    assert_int_equal(capture("key list -o tsv"), KL_EXIT_DONE);
    assert_int_equal(strncmp(capture_out, "a\t", 2), 0);
    assert_non_null(strstr(capture_out, "\nb\t"));
    fake_answer("GET", "/keys", 200, "{\"value\":[],\"nextLink\":null}");
    assert_int_equal(capture("key list -o json"), KL_EXIT_DONE);
    assert_string_equal(capture_out, "[]\n");
    fake_answer("GET", "/keys", 200, "{\"value\":7}");
    assert_int_equal(capture("key list -o json"), KL_EXIT_FAILED);
}

static void test_cli_service__create_says_what_was_asked(void **state)
{
    const char *body;

    (void)state;
    fake_answer("POST", "/keys/kek/create", 200, BUNDLE);
    assert_int_equal(capture("key create -n kek --size 3072 --ops wrapkey unwrapKey --disabled "
                             "--expires 2030-01-01 --tags a=1 b=2,3 --no-backup"),
                     KL_EXIT_DONE);
    body = fake_seen_body("POST", "/keys/kek/create");
    assert_non_null(strstr(body, "\"kty\":\"RSA\""));
    assert_non_null(strstr(body, "\"key_size\":3072"));
    assert_non_null(strstr(body, "\"key_ops\":[\"wrapKey\",\"unwrapKey\"]"));
    assert_non_null(strstr(body, "\"exp\":1893456000"));
    assert_non_null(strstr(body, "\"enabled\":false"));
    assert_non_null(strstr(body, "\"b\":\"2,3\""));
    assert_non_null(strstr(body, "\"profile\":\"fixed\""));
    assert_int_equal(capture("key create -n kek --curve P-384 --protection hsm"), KL_EXIT_DONE);
    body = fake_seen_body("POST", "/keys/kek/create");
    assert_non_null(strstr(body, "\"kty\":\"EC-HSM\""));
    assert_int_equal(capture("key create -n kek --curve P-384 --kty RSA"), KL_EXIT_USAGE);
}

static void test_cli_service__vault_names(void **state)
{
    (void)state;
    /* the service knows the address */
    fake_answer("GET", "/kluis/v1/vaults/safe", 200,
                "{\"name\":\"safe\",\"vaultUri\":\"https://safe.vault.localhost:%PORT%/\"}");
    fake_answer("GET", "/keys/kek", 200, BUNDLE);
    assert_int_equal(capture("key show -n kek --vault-name safe"), KL_EXIT_DONE);
    assert_int_equal(strncmp(fake_seen_host("GET", "/keys/kek"), "safe.vault.localhost", 20), 0);
    /* who may not ask finds the sibling of the vault that is configured */
    fake_answer("GET", "/kluis/v1/vaults/other", 403, REFUSED("Forbidden", "no"));
    assert_int_equal(capture("key show -n kek --vault-name other"), KL_EXIT_DONE);
    assert_int_equal(strncmp(fake_seen_host("GET", "/keys/kek"), "other.vault.localhost", 21), 0);
    assert_int_equal(capture("key show -n kek --vault-name nowhere"), KL_EXIT_NOT_FOUND);
}

static void test_cli_service__id_names_the_version(void **state)
{
    KL_AUTO(char) words = NULL;

    (void)state;
    fake_answer("GET", "/keys/kek/0011", 200, BUNDLE);
    fake_answer("POST", "/keys/kek/rotate", 200, BUNDLE);
    assert_true(asprintf(&words, "key show --id https://demo.vault.localhost:%u/keys/kek/0011",
                         fake_port()) > 0);
    assert_int_equal(capture(words), KL_EXIT_DONE);
    free(kl_take(words));
    assert_true(asprintf(&words, "key rotate --id https://demo.vault.localhost:%u/keys/kek/0011",
                         fake_port()) > 0);
    assert_int_equal(capture(words), KL_EXIT_DONE); /* a rotation is of the key, not of a version */
    assert_int_equal(capture("key show --id https://demo.vault.localhost/secrets/x"),
                     KL_EXIT_USAGE);
    assert_int_equal(capture("key show --id http://demo.vault.localhost/keys/x"), KL_EXIT_USAGE);
}

static void test_cli_service__token_goes_to_no_stranger(void **state)
{
    (void)state;
    assert_int_not_equal(capture("key show --id https://localhost.example:1/keys/kek"),
                         KL_EXIT_DONE);
    assert_null(fake_seen_host("GET", "/keys/kek"));
}

static void test_cli_service__backup_file(void **state)
{
    KL_AUTO(char) path = fixture_path(*state, "kek.blob");
    KL_AUTO(char) words = NULL;
    KL_AUTO(char) content = NULL;
    struct stat st;
    size_t n = 0;

    assert_true(asprintf(&words, "key backup -n kek --file %s", path) > 0);
    assert_int_equal(capture(words), KL_EXIT_NOT_FOUND);
    assert_int_not_equal(stat(path, &st), 0); /* a failure leaves no file */
    fake_answer("POST", "/keys/kek/backup", 200, "{\"value\":\"YmxvYg\"}");
    assert_int_equal(capture(words), KL_EXIT_DONE);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    content = fixture_read(path, &n);
    assert_string_equal(content, "blob");
    assert_non_null(strstr(capture_err, "Store it offline"));
    assert_string_equal(capture_out, "");
    assert_int_equal(capture(words), KL_EXIT_FAILED); /* never replaced unasked */
    assert_non_null(strstr(capture_err, "--force"));
    free(kl_take(words));
    fake_answer("POST", "/keys/restore", 200, BUNDLE);
    assert_true(asprintf(&words, "key restore --file %s", path) > 0);
    assert_int_equal(capture(words), KL_EXIT_DONE);
    assert_string_equal(fake_seen_body("POST", "/keys/restore"), "{\"value\":\"YmxvYg\"}");
}

static void test_cli_service__subscription_is_checked(void **state)
{
    KL_AUTO(char) words = NULL;

    fake_answer("GET", "/kluis/v1/vaults/demo", 200, "{\"subscription\":\"S1\"}");
    fake_answer("POST", "/keys/kek/backup", 200, "{\"value\":\"YmxvYg\"}");
    assert_true(asprintf(&words,
                         "keyvault key backup --vault-name demo -n kek --subscription S2 --file "
                         "%s/sub.blob",
                         (const char *)*state) > 0);
    assert_int_equal(capture(words), KL_EXIT_REFUSED);
    words[strlen("keyvault key backup --vault-name demo -n kek --subscription S")] = '1';
    assert_int_equal(capture(words), KL_EXIT_DONE);
}

static void test_cli_service__wrap_and_unwrap(void **state)
{
    KL_AUTO(char) dek = fixture_file(*state, "dek", "0123456789abcdef", 16);
    KL_AUTO(char) wrapped = fixture_path(*state, "wrapped");
    KL_AUTO(char) words = NULL;
    KL_AUTO(char) content = NULL;
    size_t n = 0;

    fake_answer("POST", "/keys/kek/wrapkey", 200, "{\"kid\":\"k\",\"value\":\"d3JhcHBlZA\"}");
    fake_answer("POST", "/keys/kek/unwrapkey", 200,
                "{\"kid\":\"k\",\"value\":\"MDEyMzQ1Njc4OWFiY2RlZg\"}");
    assert_true(asprintf(&words, "key wrap -n kek --file %s --out %s", dek, wrapped) > 0);
    assert_int_equal(capture(words), KL_EXIT_DONE);
    assert_string_equal(fake_seen_body("POST", "/keys/kek/wrapkey"),
                        "{\"alg\":\"RSA-OAEP-256\",\"value\":\"MDEyMzQ1Njc4OWFiY2RlZg\"}");
    content = fixture_read(wrapped, &n);
    assert_string_equal(content, "wrapped");
    assert_int_equal(capture("key unwrap -n kek --value d3JhcHBlZA== --out -"), KL_EXIT_DONE);
    assert_string_equal(capture_out, "0123456789abcdef");
    assert_string_equal(fake_seen_body("POST", "/keys/kek/unwrapkey"),
                        "{\"alg\":\"RSA-OAEP-256\",\"value\":\"d3JhcHBlZA\"}");
    /* a plaintext is never an argument */
    assert_int_equal(capture("key wrap -n kek --value MDEyMw=="), KL_EXIT_USAGE);
}

static void test_cli_service__verify_fails_on_a_bad_signature(void **state)
{
    KL_AUTO(char) file = fixture_file(*state, "message", "abc", 3);
    KL_AUTO(char) words = NULL;

    assert_true(
        asprintf(&words, "key verify -n kek -a RS256 --file %s --signature AAAA -o tsv", file) > 0);
    fake_answer("POST", "/keys/kek/verify", 200, "{\"value\":true}");
    assert_int_equal(capture(words), KL_EXIT_DONE);
    /* SHA-256 of "abc", FIPS 180-4 example */
    assert_non_null(strstr(fake_seen_body("POST", "/keys/kek/verify"),
                           "\"digest\":\"ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0\""));
    fake_answer("POST", "/keys/kek/verify", 200, "{\"value\":false}");
    assert_int_equal(capture(words), KL_EXIT_FAILED);
    assert_string_equal(capture_out, "no\n");
}

static void test_cli_service__principal_secret_is_not_shown(void **state)
{
    KL_AUTO(char) path = fixture_path(*state, "new.secret");
    KL_AUTO(char) words = NULL;
    KL_AUTO(char) content = NULL;
    struct stat st;
    size_t n = 0;

    fake_answer("POST", "/kluis/v1/principals", 403, REFUSED("Forbidden", "no"));
    assert_true(asprintf(&words, "principal create --name srv --secret-file %s -o json", path) > 0);
    assert_int_equal(capture(words), KL_EXIT_REFUSED);
    assert_int_not_equal(stat(path, &st), 0);
    fake_answer("POST", "/kluis/v1/principals", 200,
                "{\"name\":\"srv\",\"objectId\":\"o\",\"clientId\":\"c\","
                "\"clientSecret\":\"hush-hush\"}");
    assert_int_equal(capture(words), KL_EXIT_DONE);
    assert_null(strstr(capture_out, "hush"));
    assert_null(strstr(capture_err, "hush"));
    content = fixture_read(path, &n);
    assert_string_equal(content, "hush-hush\n");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(capture(words), KL_EXIT_FAILED); /* the file is there: asked before */
    assert_int_equal(capture("principal create --name srv"), KL_EXIT_USAGE);
}

#define ALICE "aaaaaaaa-0000-4000-8000-000000000001"

static void test_cli_service__policy_replaces_only_what_is_named(void **state)
{
    static const char path[] = "/kluis/v1/vaults/demo/policies/" ALICE;

    (void)state;
    fake_answer("GET", "/kluis/v1/principals", 200,
                "{\"value\":[{\"objectId\":\"" ALICE "\",\"name\":\"alice\"}],\"nextLink\":null}");
    fake_answer("GET", "/kluis/v1/vaults/demo/policies", 200,
                "{\"value\":[{\"objectId\":\"" ALICE "\",\"name\":\"alice\",\"permissions\":"
                "{\"keys\":[\"get\"],\"vault\":[\"get\"]}}],\"nextLink\":null}");
    fake_answer("PUT", path, 200, "{}");
    assert_int_equal(capture("policy set --vault-name demo --principal alice --key-permissions "
                             "get,LIST wrapkey --dry-run"),
                     KL_EXIT_DONE);
    assert_null(fake_seen_body("PUT", path));
    assert_non_null(strstr(capture_err, "keys: get -> get,list,wrapKey"));
    assert_int_equal(capture("policy set --vault-name demo --principal alice --key-permissions "
                             "get,LIST wrapkey"),
                     KL_EXIT_DONE);
    assert_string_equal(
        fake_seen_body("PUT", path),
        "{\"permissions\":{\"keys\":[\"get\",\"list\",\"wrapKey\"],\"vault\":[\"get\"]}}");
    assert_int_equal(capture("policy show --vault-name demo -o tsv"), KL_EXIT_DONE);
    assert_string_equal(capture_out, "alice\t" ALICE "\tkeys\tget\nalice\t" ALICE "\tvault\tget\n");
    assert_int_equal(capture("policy set --vault-name demo --principal alice"), KL_EXIT_USAGE);
    assert_int_equal(capture("policy set --vault-name demo --principal bob --key-permissions get"),
                     KL_EXIT_NOT_FOUND);
    assert_int_equal(
        capture("policy set --vault-name demo --principal alice --key-permissions everything"),
        KL_EXIT_USAGE);
}

static void test_cli_service__login_notes_the_path_only(void **state)
{
    KL_AUTO(char) path = fixture_path(*state, "kluis/login.json");
    KL_AUTO(char) content = NULL;
    size_t n = 0;

    fake_answer("GET", "/kluis/v1/whoami", 200, "{\"name\":\"admin\",\"roles\":[\"auditor\"]}");
    assert_int_equal(capture("login -o tsv"), KL_EXIT_DONE);
    assert_int_equal(strncmp(capture_out, "admin\t", 6), 0);
    content = fixture_read(path, &n);
    assert_null(strstr(content, "s3cret"));
    assert_non_null(strstr(content, "/secret\""));
    assert_int_equal(capture("logout"), KL_EXIT_DONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_cli_service__show, forget),
        cmocka_unit_test_teardown(test_cli_service__exit_codes, forget),
        cmocka_unit_test_teardown(test_cli_service__unreachable, forget),
        cmocka_unit_test_teardown(test_cli_service__lists_follow_pages, forget),
        cmocka_unit_test_teardown(test_cli_service__create_says_what_was_asked, forget),
        cmocka_unit_test_teardown(test_cli_service__vault_names, forget),
        cmocka_unit_test_teardown(test_cli_service__id_names_the_version, forget),
        cmocka_unit_test_teardown(test_cli_service__token_goes_to_no_stranger, forget),
        cmocka_unit_test_teardown(test_cli_service__backup_file, forget),
        cmocka_unit_test_teardown(test_cli_service__subscription_is_checked, forget),
        cmocka_unit_test_teardown(test_cli_service__wrap_and_unwrap, forget),
        cmocka_unit_test_teardown(test_cli_service__verify_fails_on_a_bad_signature, forget),
        cmocka_unit_test_teardown(test_cli_service__principal_secret_is_not_shown, forget),
        cmocka_unit_test_teardown(test_cli_service__policy_replaces_only_what_is_named, forget),
        cmocka_unit_test_teardown(test_cli_service__login_notes_the_path_only, forget),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
