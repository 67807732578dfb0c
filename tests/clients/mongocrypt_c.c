/* Debian's libmongocrypt from C, as MongoDB's C driver uses it: a program for each step of a data
 * key's life, which only carries bytes between the library and TLS connections. Data keys and
 * ciphertexts are files of BSON.
 *
 *   mongocrypt_c datakey ENDPOINT NAME VERSION OUT    ("" = no version)
 *   mongocrypt_c encrypt KEY TEXT OUT
 *   mongocrypt_c decrypt KEY IN                       prints the text
 *   mongocrypt_c rewrap KEY ENDPOINT NAME OUT
 *
 * Environment: KLUIS_TENANT, KLUIS_CLIENT_ID, KLUIS_CLIENT_SECRET_FILE, KLUIS_CA, IDENTITY
 * (host:port). Exit 1 with the library's sentence. */
#include <bson/bson.h>
#include <mongocrypt.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALGORITHM "AEAD_AES_256_CBC_HMAC_SHA_512-Random"

static unsigned requests;

static _Noreturn void fail(const char *what, const char *why)
{
    (void)fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static const char *setting(const char *name)
{
    const char *value = getenv(name);
    if (value == NULL)
        fail(name, "not set");
    return value;
}

static bson_t *read_bson(const char *path)
{
    bson_error_t error;
    bson_reader_t *reader = bson_reader_new_from_file(path, &error);
    if (reader == NULL)
        fail(path, error.message);
    const bson_t *found = bson_reader_read(reader, NULL);
    if (found == NULL)
        fail(path, "no document");
    bson_t *copy = bson_copy(found);
    bson_reader_destroy(reader);
    return copy;
}

static void write_bson(const char *path, const bson_t *document)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(bson_get_data(document), 1, document->len, f) != document->len ||
        fclose(f) != 0)
        fail(path, "cannot be written");
}

/* The library looks at the caller's bytes. */
static mongocrypt_binary_t *view(const bson_t *document)
{
    return mongocrypt_binary_new_from_data((uint8_t *)(uintptr_t)bson_get_data(document),
                                           document->len);
}

static void must(bool done, mongocrypt_ctx_t *ctx, const char *what)
{
    if (done)
        return;
    mongocrypt_status_t *status = mongocrypt_status_new();
    (void)mongocrypt_ctx_status(ctx, status);
    fail(what, mongocrypt_status_message(status, NULL));
}

static void must_kms(bool done, mongocrypt_kms_ctx_t *kms, const char *what)
{
    if (done)
        return;
    mongocrypt_status_t *status = mongocrypt_status_new();
    (void)mongocrypt_kms_ctx_status(kms, status);
    fail(what, mongocrypt_status_message(status, NULL));
}

static mongocrypt_t *library(void)
{
    char secret[128] = "";
    FILE *f = fopen(setting("KLUIS_CLIENT_SECRET_FILE"), "r");
    if (f == NULL || fgets(secret, sizeof secret, f) == NULL)
        fail("KLUIS_CLIENT_SECRET_FILE", "cannot be read");
    (void)fclose(f);
    secret[strcspn(secret, "\n")] = 0;
    mongocrypt_t *crypt = mongocrypt_new();
    bson_t *providers =
        BCON_NEW("azure", "{", "tenantId", BCON_UTF8(setting("KLUIS_TENANT")), "clientId",
                 BCON_UTF8(setting("KLUIS_CLIENT_ID")), "clientSecret", BCON_UTF8(secret),
                 "identityPlatformEndpoint", BCON_UTF8(setting("IDENTITY")), "}");
    mongocrypt_binary_t *bytes = view(providers);
    if (!mongocrypt_setopt_kms_providers(crypt, bytes) || !mongocrypt_init(crypt))
        fail("mongocrypt_init", "refused");
    mongocrypt_binary_destroy(bytes);
    bson_destroy(providers);
    return crypt;
}

/* A checked connection to 127.0.0.1 under the name that the library asks for. */
static BIO *connect_to(const char *endpoint)
{
    static SSL_CTX *tls;
    char host[256], address[64];
    if (tls == NULL)
        tls = SSL_CTX_new(TLS_client_method());
    if (tls == NULL || SSL_CTX_load_verify_locations(tls, setting("KLUIS_CA"), NULL) != 1)
        fail("KLUIS_CA", "cannot be used");
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    (void)snprintf(host, sizeof host, "%.*s", (int)strcspn(endpoint, ":"), endpoint);
    (void)snprintf(address, sizeof address, "127.0.0.1%s", endpoint + strlen(host));
    BIO *bio = BIO_new_ssl_connect(tls);
    SSL *ssl = NULL;
    (void)BIO_get_ssl(bio, &ssl);
    bool numeric = host[strspn(host, "0123456789.")] == 0;
    if (ssl == NULL || (numeric ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host)
                                : SSL_set1_host(ssl, host)) != 1)
        fail(host, "cannot be asked for");
    (void)BIO_set_conn_hostname(bio, address);
    if (BIO_do_connect(bio) != 1 || BIO_do_handshake(bio) != 1)
        fail(endpoint, "no TLS connection");
    return bio;
}

static void serve(mongocrypt_kms_ctx_t *kms)
{
    const char *endpoint = NULL;
    uint8_t answer[1024];
    mongocrypt_binary_t *message = mongocrypt_binary_new();
    must_kms(mongocrypt_kms_ctx_endpoint(kms, &endpoint), kms, "endpoint");
    must_kms(mongocrypt_kms_ctx_message(kms, message), kms, "message");
    BIO *bio = connect_to(endpoint);
    int len = (int)mongocrypt_binary_len(message);
    if (BIO_write(bio, mongocrypt_binary_data(message), len) != len)
        fail(endpoint, "the request could not be sent");
    mongocrypt_binary_destroy(message);
    for (uint32_t wanted; (wanted = mongocrypt_kms_ctx_bytes_needed(kms)) > 0;) {
        int got = BIO_read(bio, answer, (int)(wanted < sizeof answer ? wanted : sizeof answer));
        if (got <= 0)
            fail(endpoint, "the answer is cut off");
        mongocrypt_binary_t *part = mongocrypt_binary_new_from_data(answer, (uint32_t)got);
        must_kms(mongocrypt_kms_ctx_feed(kms, part), kms, "feed");
        mongocrypt_binary_destroy(part);
    }
    BIO_free_all(bio);
    requests++;
}

/* The state machine to its end; `key` is what the collection of data keys would answer. */
static bson_t *run(mongocrypt_ctx_t *ctx, const bson_t *key)
{
    mongocrypt_kms_ctx_t *kms;
    mongocrypt_binary_t *bytes = mongocrypt_binary_new();
    for (;;) {
        switch (mongocrypt_ctx_state(ctx)) {
        case MONGOCRYPT_CTX_NEED_MONGO_KEYS: {
            mongocrypt_binary_t *found = view(key);
            must(mongocrypt_ctx_mongo_op(ctx, bytes), ctx, "mongo_op");
            must(mongocrypt_ctx_mongo_feed(ctx, found), ctx, "mongo_feed");
            must(mongocrypt_ctx_mongo_done(ctx), ctx, "mongo_done");
            mongocrypt_binary_destroy(found);
            break;
        }
        case MONGOCRYPT_CTX_NEED_KMS:
            while ((kms = mongocrypt_ctx_next_kms_ctx(ctx)) != NULL)
                serve(kms);
            must(mongocrypt_ctx_kms_done(ctx), ctx, "kms_done");
            break;
        case MONGOCRYPT_CTX_READY: {
            must(mongocrypt_ctx_finalize(ctx, bytes), ctx, "finalize");
            bson_t *out =
                bson_new_from_data(mongocrypt_binary_data(bytes), mongocrypt_binary_len(bytes));
            mongocrypt_binary_destroy(bytes);
            return out;
        }
        default:
            must(false, ctx, "state");
        }
    }
}

static void set_master(mongocrypt_ctx_t *ctx, const char *endpoint, const char *name,
                       const char *version)
{
    bson_t *master = BCON_NEW("provider", "azure", "keyVaultEndpoint", BCON_UTF8(endpoint),
                              "keyName", BCON_UTF8(name));
    if (version[0] != 0)
        BSON_APPEND_UTF8(master, "keyVersion", version);
    mongocrypt_binary_t *bytes = view(master);
    must(mongocrypt_ctx_setopt_key_encryption_key(ctx, bytes), ctx, "master key");
    mongocrypt_binary_destroy(bytes);
    bson_destroy(master);
}

static void datakey(mongocrypt_ctx_t *ctx, char **arg)
{
    set_master(ctx, arg[0], arg[1], arg[2]);
    must(mongocrypt_ctx_datakey_init(ctx), ctx, "datakey");
    write_bson(arg[3], run(ctx, NULL));
}

static void encrypt(mongocrypt_ctx_t *ctx, char **arg)
{
    const bson_t *key = read_bson(arg[0]);
    bson_t *message = BCON_NEW("v", BCON_UTF8(arg[1]));
    bson_iter_t at;
    const uint8_t *id = NULL;
    uint32_t len = 0;
    if (!bson_iter_init_find(&at, key, "_id"))
        fail(arg[0], "has no _id");
    bson_iter_binary(&at, NULL, &len, &id);
    must(mongocrypt_ctx_setopt_key_id(
             ctx, mongocrypt_binary_new_from_data((uint8_t *)(uintptr_t)id, len)),
         ctx, "key id");
    must(mongocrypt_ctx_setopt_algorithm(ctx, ALGORITHM, -1), ctx, "algorithm");
    must(mongocrypt_ctx_explicit_encrypt_init(ctx, view(message)), ctx, "encrypt");
    write_bson(arg[2], run(ctx, key));
}

static void decrypt(mongocrypt_ctx_t *ctx, char **arg)
{
    const bson_t *key = read_bson(arg[0]);
    must(mongocrypt_ctx_explicit_decrypt_init(ctx, view(read_bson(arg[1]))), ctx, "decrypt");
    bson_t *out = run(ctx, key);
    bson_iter_t at;
    if (!bson_iter_init_find(&at, out, "v") || !BSON_ITER_HOLDS_UTF8(&at))
        fail("decrypt", "no text came out");
    (void)puts(bson_iter_utf8(&at, NULL));
}

/* What comes out are the new members of the data key, in a list of one. */
static void rewrap(mongocrypt_ctx_t *ctx, char **arg)
{
    static const char *const replaced[] = {"keyMaterial", "masterKey"};
    const bson_t *key = read_bson(arg[0]);
    set_master(ctx, arg[1], arg[2], "");
    must(mongocrypt_ctx_rewrap_many_datakey_init(ctx, view(bson_new())), ctx, "rewrap");
    bson_t *out = run(ctx, key);
    bson_t after = BSON_INITIALIZER;
    bson_copy_to_excluding_noinit(key, &after, replaced[0], replaced[1], NULL);
    for (size_t i = 0; i < 2; i++) {
        bson_iter_t at, member;
        char path[40];
        (void)snprintf(path, sizeof path, "v.0.%s", replaced[i]);
        if (!bson_iter_init(&at, out) || !bson_iter_find_descendant(&at, path, &member) ||
            !bson_append_iter(&after, replaced[i], -1, &member))
            fail("rewrap", path);
    }
    write_bson(arg[3], &after);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int count;
        void (*step)(mongocrypt_ctx_t *, char **);
    } steps[] = {{"datakey", 4, datakey},
                 {"encrypt", 3, encrypt},
                 {"decrypt", 2, decrypt},
                 {"rewrap", 4, rewrap}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if (argc == steps[i].count + 2 && strcmp(argv[1], steps[i].name) == 0) {
            steps[i].step(mongocrypt_ctx_new(library()), argv + 2);
            (void)fprintf(stderr, "libmongocrypt %s, %u requests\n", mongocrypt_version(NULL),
                          requests);
            return 0;
        }
    (void)fputs("use: mongocrypt_c datakey|encrypt|decrypt|rewrap ARGUMENTS\n", stderr);
    return 2;
}
