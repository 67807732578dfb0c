#include "tests/unit/base/fixture.h"

#include "base/tls.h"

#include <openssl/pem.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static SSL_CTX *server(const char *folder)
{
    KL_AUTO(char) cert = fixture_path(folder, "cert.pem");
    KL_AUTO(char) key = fixture_path(folder, "key.pem");
    SSL_CTX *ctx = NULL;
    fixture_certificate(folder);
    assert_int_equal(kl_tls_server(cert, key, &ctx, NULL), KL_OK);
    return ctx;
}

/* Shake hands in memory; true when both sides are done. */
static bool shake(SSL *client, SSL *other)
{
    BIO *a = NULL, *b = NULL;
    assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
    SSL_set_bio(client, a, a);
    SSL_set_bio(other, b, b);
    SSL_set_connect_state(client);
    SSL_set_accept_state(other);
    int c = 0, s = 0;
    for (int i = 0; i < 20 && (c != 1 || s != 1); i++) {
        c = SSL_do_handshake(client);
        s = SSL_do_handshake(other);
    }
    return c == 1 && s == 1;
}

static bool connects(SSL_CTX *ctx, int version, const char *suites, const char *alpn)
{
    SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
    assert_int_equal(SSL_CTX_set_max_proto_version(client_ctx, version), 1);
    assert_int_equal(SSL_CTX_set_min_proto_version(client_ctx, 0), 1);
    SSL_CTX_set_security_level(client_ctx, 0);
    if (suites != NULL)
        assert_int_equal(SSL_CTX_set_cipher_list(client_ctx, suites), 1);
    SSL *client = SSL_new(client_ctx), *other = SSL_new(ctx);
    if (alpn != NULL)
        assert_int_equal(
            SSL_set_alpn_protos(client, (const unsigned char *)alpn, (unsigned)strlen(alpn)), 0);
    bool ok = shake(client, other);
    SSL_free(client);
    SSL_free(other);
    SSL_CTX_free(client_ctx);
    return ok;
}

static void test_base_tls__versions_and_suites(void **state)
{
    SSL_CTX *ctx = server(*state);
    assert_true(connects(ctx, TLS1_3_VERSION, NULL, NULL));
    assert_true(connects(ctx, TLS1_2_VERSION, NULL, NULL));
    assert_true(connects(ctx, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", NULL));
    assert_false(connects(ctx, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256", NULL)); /* CBC */
    assert_false(connects(ctx, TLS1_1_VERSION, "ALL:@SECLEVEL=0", NULL));
    assert_true(connects(ctx, TLS1_3_VERSION, NULL, "\x02h2\x08http/1.1"));
    assert_false(connects(ctx, TLS1_3_VERSION, NULL, "\x02h2"));
    SSL_CTX_free(ctx);
}

static void test_base_tls__settings(void **state)
{
    SSL_CTX *ctx = server(*state);
    assert_int_equal(SSL_CTX_get_num_tickets(ctx), 1);
    assert_true((SSL_CTX_get_options(ctx) & SSL_OP_NO_RENEGOTIATION) != 0);
    assert_true((SSL_CTX_get_options(ctx) & SSL_OP_NO_COMPRESSION) != 0);
    assert_int_equal(kl_tls_days_left(ctx), 0); /* an hour */
    SSL_CTX_free(ctx);
}

static void write_encrypted_key(const char *path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(PEM_write_PKCS8PrivateKey(f, key, EVP_aes_256_cbc(), "pass", 4, NULL, NULL),
                     1);
    (void)fclose(f);
    EVP_PKEY_free(key);
}

static void test_base_tls__faults_name_the_file(void **state)
{
    KL_AUTO(char) cert = fixture_path(*state, "cert.pem");
    KL_AUTO(char) key = fixture_path(*state, "key.pem");
    KL_AUTO(char) other = fixture_path(*state, "other.pem");
    KL_AUTO(char) junk = fixture_file(*state, "junk.pem", "junk", 4);
    SSL_CTX *ctx = NULL;
    fixture_certificate(*state);
    assert_int_equal(rename(key, other), 0);
    fixture_certificate(*state); /* a new pair: other.pem no longer belongs */
    KL_AUTO(char) locked = fixture_path(*state, "locked.pem");
    write_encrypted_key(locked);
    const struct {
        const char *cert, *key, *named;
    } rows[] = {{"/nonexistent", key, "/nonexistent"},
                {cert, "/nonexistent", "/nonexistent"},
                {junk, key, junk},
                {cert, junk, junk},
                {cert, other, other},
                {cert, locked, locked}};
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct kl_err err = {0};
        assert_int_equal(kl_tls_server(rows[i].cert, rows[i].key, &ctx, &err), KL_CONFIG);
        assert_int_equal(err.code, KL_CONFIG);
        assert_non_null(strstr(err.text, rows[i].named));
        assert_null(ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_tls__versions_and_suites),
        cmocka_unit_test(test_base_tls__settings),
        cmocka_unit_test(test_base_tls__faults_name_the_file),
    };
    return cmocka_run_group_tests_name("base.tls", tests, fixture_folder, fixture_folder_gone);
}
