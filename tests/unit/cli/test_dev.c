#include "tests/unit/cli/capture.h"

#include "base/io.h"
#include "cli/dev_site.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct kl_dev_token softhsm = {0};

static struct kl_dev_site *site_in(const char *folder, const char *name)
{
    KL_AUTO(char) dir = fixture_path(folder, name);
    struct kl_dev_site *s = NULL;

    assert_int_equal(kl_dev_site_open(dir, true, &s, NULL), KL_OK);
    return s;
}

static void test_cli_dev__site_is_remembered(void **state)
{
    struct kl_dev_site *s = site_in(*state, "one");
    struct kl_err err = {0};
    KL_AUTO(char) dir = strdup(s->dir);
    KL_AUTO(char) tenant = NULL;
    struct kl_buf ready = KL_BUF_INIT(16);
    int64_t port;

    assert_int_equal(kl_dev_site_settle(s, 0, &softhsm, NULL), KL_OK);
    assert_true(s->fresh && s->own_token);
    tenant = strdup(s->tenant);
    port = s->port;
    kl_dev_site_free(s);

    s = NULL;
    assert_int_equal(kl_dev_site_open(dir, false, &s, NULL), KL_OK);
    assert_int_equal(kl_dev_site_settle(s, 0, &softhsm, NULL), KL_OK);
    assert_false(s->fresh);
    assert_int_equal(s->port, port);
    assert_string_equal(s->tenant, tenant);
    assert_int_equal(kl_dev_write(s, KL_DEV_ENV, &ready, NULL), KL_OK);
    kl_dev_site_free(s);

    s = NULL;
    assert_int_equal(kl_dev_site_open(dir, false, &s, NULL), KL_OK);
    assert_int_equal(kl_dev_site_settle(s, port + 1, &softhsm, &err), KL_CONFLICT);
    assert_non_null(strstr(err.text, "lives on port"));
    kl_dev_site_free(s);
}

static char *text_of(const char *folder, const char *name)
{
    KL_AUTO(char) path = fixture_path(folder, name);
    char *text = NULL;
    size_t n = 0;

    assert_int_equal(kl_io_read_file(path, 65536, &text, &n, NULL), KL_OK);
    return text;
}

/* What a module is told by its environment and by its string must be there in the next life. */
static void test_cli_dev__given_token_is_remembered(void **state)
{
    struct kl_dev_site *s = site_in(*state, "given");
    KL_AUTO(char) dir = strdup(s->dir);
    KL_AUTO(char) config = NULL;
    KL_AUTO(char) env = NULL;
    const struct kl_dev_token given = {.module = "/proc/self/exe",
                                       .uri = "pkcs11:token=given",
                                       .pin_file = "/dev/null",
                                       .init_args = "dir='/a b'"};

    assert_int_equal(setenv("NSS_TEST_PLACE", "it's here", 1), 0);
    assert_int_equal(setenv("SOME_PIN", "1234", 1), 0);
    assert_int_equal(kl_dev_site_settle(s, 0, &given, NULL), KL_OK);
    kl_dev_site_free(s);
    assert_int_equal(unsetenv("NSS_TEST_PLACE"), 0);

    s = NULL;
    assert_int_equal(kl_dev_site_open(dir, false, &s, NULL), KL_OK);
    assert_int_equal(kl_dev_site_settle(s, 0, &softhsm, NULL), KL_OK);
    assert_string_equal(getenv("NSS_TEST_PLACE"), "it's here");
    s->client_id = strdup("me");
    assert_int_equal(kl_dev_make_config(s, NULL), KL_OK);
    assert_int_equal(kl_dev_write_env(s, NULL), KL_OK);
    config = text_of(s->dir, "kluis.conf");
    env = text_of(s->dir, "env");
    assert_non_null(strstr(config, "\ninit-args = dir='/a b'\n"));
    assert_non_null(strstr(env, "\nexport NSS_TEST_PLACE='it'\\''s here'\n"));
    assert_null(strstr(env, "SOME_PIN"));
    kl_dev_site_free(s);

    /* what the caller's environment says now goes before what was kept */
    s = NULL;
    assert_int_equal(setenv("NSS_TEST_PLACE", "moved", 1), 0);
    assert_int_equal(kl_dev_site_open(dir, false, &s, NULL), KL_OK);
    assert_int_equal(kl_dev_site_settle(s, 0, &softhsm, NULL), KL_OK);
    assert_string_equal(getenv("NSS_TEST_PLACE"), "moved");
    assert_string_equal(json_string_value(json_object_get(s->token_env, "NSS_TEST_PLACE")),
                        "moved");
    kl_dev_site_free(s);
    assert_int_equal(unsetenv("NSS_TEST_PLACE"), 0);
}

static void test_cli_dev__one_at_a_time(void **state)
{
    struct kl_dev_site *s = site_in(*state, "locked"), *other = NULL;

    assert_int_equal(kl_dev_site_open(s->dir, true, &other, NULL), KL_CONFLICT);
    assert_null(other);
    kl_dev_site_free(s);
}

static void test_cli_dev__no_site_is_not_found(void **state)
{
    KL_AUTO(char) words = NULL;

    assert_true(asprintf(&words, "dev down --dir %s/nowhere", (const char *)*state) > 0);
    assert_int_equal(capture(words), 3);
}

static void test_cli_dev__taken_port_is_one_sentence(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    KL_AUTO(char) words = NULL;
    KL_AUTO(char) site = fixture_path(*state, "taken/site.json");

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    assert_true(asprintf(&words, "dev up --dir %s/taken --port %d", (const char *)*state,
                         ntohs(a.sin_port)) > 0);
    assert_int_equal(capture(words), 1);
    assert_non_null(strstr(capture_err, "is taken"));
    assert_ptr_equal(strchr(capture_err, '\n'), capture_err + strlen(capture_err) - 1);
    assert_int_not_equal(access(site, F_OK), 0); /* so that the next call may choose again */
    close(fd);
}

static X509 *certificate(const struct kl_dev_site *s, const char *name)
{
    KL_AUTO(char) path = fixture_path(s->dir, name);
    FILE *in = fopen(path, "re");
    X509 *x = in != NULL ? PEM_read_X509(in, NULL, NULL, NULL) : NULL;

    assert_non_null(x);
    fclose(in);
    return x;
}

static void test_cli_dev__certificate_has_the_names(void **state)
{
    static const char *const hosts[] = {"localhost", "vault.localhost", "demo.vault.localhost",
                                        "safe.vault.localhost"};
    struct kl_dev_site *s = site_in(*state, "certificates");
    KL_AUTO(char) key = fixture_path(s->dir, "server-key.pem");
    struct stat st;

    assert_int_equal(kl_dev_make_certificates(s, NULL), KL_OK);
    X509 *x = certificate(s, "server.pem"), *ca = certificate(s, "ca.pem");

    for (size_t i = 0; i < KL_COUNT(hosts); i++)
        assert_int_equal(X509_check_host(x, hosts[i], 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(x, "example.org", 0, 0, NULL), 0);
    assert_int_equal(X509_check_ip_asc(x, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(x, "::1", 0), 1);
    assert_int_equal(X509_verify(x, X509_get0_pubkey(ca)), 1);
    assert_int_equal(X509_check_ca(ca), 1);
    assert_int_equal(X509_check_ca(x), 0);
    assert_int_equal(stat(key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    X509_free(x);
    X509_free(ca);
    kl_dev_site_free(s);
}

static void test_cli_dev__certificates_mended_not_replaced(void **state)
{
    struct kl_dev_site *s = site_in(*state, "mended");
    KL_AUTO(char) server = fixture_path(s->dir, "server.pem");

    assert_int_equal(kl_dev_make_certificates(s, NULL), KL_OK);
    X509 *ca = certificate(s, "ca.pem"), *first = certificate(s, "server.pem");

    assert_int_equal(kl_dev_make_certificates(s, NULL), KL_OK);
    X509 *same = certificate(s, "server.pem");

    assert_int_equal(X509_cmp(first, same), 0);
    assert_int_equal(unlink(server), 0); /* a call that was killed between key and certificate */
    assert_int_equal(kl_dev_make_certificates(s, NULL), KL_OK);
    X509 *again = certificate(s, "server.pem"), *ca_again = certificate(s, "ca.pem");

    assert_int_not_equal(X509_cmp(first, again), 0);
    assert_int_equal(X509_cmp(ca, ca_again), 0);
    X509_free(ca);
    X509_free(first);
    X509_free(same);
    X509_free(again);
    X509_free(ca_again);
    kl_dev_site_free(s);
}

static void test_cli_dev__env_survives_odd_folders(void **state)
{
    struct kl_dev_site *s = site_in(*state, "it's $HOME");
    KL_AUTO(char) command = NULL;
    KL_AUTO(char) ca = fixture_path(s->dir, "ca.pem");
    char got[4096] = "";

    assert_int_equal(kl_dev_site_settle(s, 0, &softhsm, NULL), KL_OK);
    s->client_id = strdup("11111111-2222-3333-4444-555555555555");
    assert_int_equal(kl_dev_write_env(s, NULL), KL_OK);
    assert_true(asprintf(&command, "cd \"%s\"/it*; . ./env; printf %%s \"$KLUIS_CA\"",
                         (const char *)*state) > 0);
    FILE *in = popen(command, "re");

    assert_non_null(fgets(got, sizeof(got), in));
    assert_int_equal(pclose(in), 0);
    assert_string_equal(got, ca);
    kl_dev_site_free(s);
}

static void test_cli_dev__token_options_go_together(void **state)
{
    KL_AUTO(char) words = NULL;

    assert_true(asprintf(&words, "dev up --dir %s/given --pkcs11-uri pkcs11:token=x",
                         (const char *)*state) > 0);
    assert_int_equal(capture(words), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_dev__site_is_remembered),
        cmocka_unit_test(test_cli_dev__given_token_is_remembered),
        cmocka_unit_test(test_cli_dev__one_at_a_time),
        cmocka_unit_test(test_cli_dev__no_site_is_not_found),
        cmocka_unit_test(test_cli_dev__taken_port_is_one_sentence),
        cmocka_unit_test(test_cli_dev__certificate_has_the_names),
        cmocka_unit_test(test_cli_dev__certificates_mended_not_replaced),
        cmocka_unit_test(test_cli_dev__env_survives_odd_folders),
        cmocka_unit_test(test_cli_dev__token_options_go_together),
    };

    return cmocka_run_group_tests(tests, fixture_folder, capture_folder_gone);
}
