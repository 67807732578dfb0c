/* The development site's CA and server certificate. */
#include "base/encoding.h"
#include "cli/dev_site.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CA_KEY     "ca-key.pem"
#define SERVER     "server.pem"
#define SERVER_KEY "server-key.pem"

/* "*.localhost" would not do: OpenSSL and node want two dots in a wildcard name. */
#define SERVER_NAMES "DNS:localhost,DNS:vault.localhost,DNS:*.vault.localhost,IP:127.0.0.1,IP:::1"

enum { CA_DAYS = 3650, SERVER_DAYS = 397, RENEW_DAYS = 30 };

static void free_key(EVP_PKEY *k)
{
    EVP_PKEY_free(k);
}
static void free_x509(X509 *x)
{
    X509_free(x);
}
static void free_bio(BIO *b)
{
    BIO_free(b);
}
KL_AUTO_DEFINE(dev_key, EVP_PKEY, free_key);
KL_AUTO_DEFINE(dev_x509, X509, free_x509);
KL_AUTO_DEFINE(dev_bio, BIO, free_bio);

/* ---- files ---- */

static BIO *open_site_file(const struct kl_dev_site *s, const char *name)
{
    KL_AUTO(char) path = NULL;

    return kl_dev_path(s, name, &path, NULL) == KL_OK ? BIO_new_file(path, "r") : NULL;
}

static X509 *read_certificate(const struct kl_dev_site *s, const char *name)
{
    KL_AUTO(dev_bio) in = open_site_file(s, name);

    return in != NULL ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
}

static EVP_PKEY *read_key(const struct kl_dev_site *s, const char *name)
{
    KL_AUTO(dev_bio) in = open_site_file(s, name);

    return in != NULL ? PEM_read_bio_PrivateKey(in, NULL, NULL, NULL) : NULL;
}

/* What a memory BIO holds, to DIR/name. OpenSSL's memory is wiped on free (kl_wiping_allocators).
 */
static enum kl_code write_bio(const struct kl_dev_site *s, const char *name, BIO *mem,
                              struct kl_err *err)
{
    struct kl_buf text = KL_BUF_INIT(65536);
    char *bytes = NULL;
    long n = BIO_get_mem_data(mem, &bytes);

    kl_buf_put(&text, bytes, (size_t)n);
    return kl_dev_write(s, name, &text, err);
}

static enum kl_code write_key(const struct kl_dev_site *s, const char *name, EVP_PKEY *key,
                              struct kl_err *err)
{
    KL_AUTO(dev_bio) mem = BIO_new(BIO_s_mem());

    if (mem == NULL || PEM_write_bio_PrivateKey(mem, key, NULL, NULL, 0, NULL, NULL) != 1)
        return kl_fail_ossl(err, "PEM_write_bio_PrivateKey", "cannot write %s", name);
    return write_bio(s, name, mem, err);
}

static enum kl_code write_certificate(const struct kl_dev_site *s, const char *name, X509 *x,
                                      struct kl_err *err)
{
    KL_AUTO(dev_bio) mem = BIO_new(BIO_s_mem());

    if (mem == NULL || PEM_write_bio_X509(mem, x) != 1)
        return kl_fail_ossl(err, "PEM_write_bio_X509", "cannot write %s", name);
    return write_bio(s, name, mem, err);
}

/* ---- certificates ---- */

struct profile {
    const char *common_name;
    int days;
    struct {
        int nid;
        const char *value;
    } extensions[5];
};

static const struct profile ca_profile = {
    .common_name = "kluis development CA",
    .days = CA_DAYS,
    .extensions = {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                   {NID_key_usage, "critical,keyCertSign,cRLSign"},
                   {NID_subject_key_identifier, "hash"}},
};

static const struct profile server_profile = {
    .common_name = "localhost",
    .days = SERVER_DAYS,
    .extensions = {{NID_basic_constraints, "critical,CA:FALSE"},
                   {NID_key_usage, "critical,digitalSignature"},
                   {NID_ext_key_usage, "serverAuth"},
                   {NID_authority_key_identifier, "keyid"},
                   {NID_subject_alt_name, SERVER_NAMES}},
};

static bool set_serial(X509 *x)
{
    unsigned char serial[16];
    BIGNUM *n;
    bool ok;

    kl_random(serial, sizeof(serial));
    serial[0] &= 0x7f; /* RFC 5280 section 4.1.2.2: positive, at most 20 octets */
    n = BN_bin2bn(serial, sizeof(serial), NULL);
    ok = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;
    BN_free(n);
    return ok;
}

static bool set_extensions(X509 *x, X509 *issuer, const struct profile *p)
{
    X509V3_CTX ctx;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    for (size_t i = 0; i < KL_COUNT(p->extensions) && p->extensions[i].value != NULL; i++) {
        X509_EXTENSION *e =
            X509V3_EXT_conf_nid(NULL, &ctx, p->extensions[i].nid, p->extensions[i].value);
        bool ok = e != NULL && X509_add_ext(x, e, -1) == 1;

        X509_EXTENSION_free(e);
        if (!ok)
            return false;
    }
    return true;
}

/* issuer NULL: self-signed. */
static X509 *issue(const struct profile *p, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key)
{
    KL_AUTO(dev_x509) x = X509_new();
    X509_NAME *name = x != NULL ? X509_get_subject_name(x) : NULL;

    if (x == NULL || X509_set_version(x, X509_VERSION_3) != 1 || !set_serial(x) ||
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)p->common_name,
                                   -1, -1, 0) != 1 ||
        X509_set_issuer_name(x, issuer != NULL ? X509_get_subject_name(issuer) : name) != 1 ||
        X509_gmtime_adj(X509_getm_notBefore(x), -300) == NULL || /* clocks differ a little */
        X509_time_adj_ex(X509_getm_notAfter(x), p->days, 0, NULL) == NULL ||
        X509_set_pubkey(x, key) != 1 || !set_extensions(x, issuer != NULL ? issuer : x, p) ||
        X509_sign(x, issuer_key, EVP_sha256()) == 0)
        return NULL;
    return kl_take(x);
}

/* A key that is there and belongs to its certificate is a finished pair; anything else is made
 * anew. */
static bool pair_is_good(const struct kl_dev_site *s, const char *certificate, const char *key,
                         int days_left)
{
    KL_AUTO(dev_x509) x = read_certificate(s, certificate);
    KL_AUTO(dev_key) k = read_key(s, key);
    time_t then = time(NULL) + (time_t)days_left * 86400;
    bool good = x != NULL && k != NULL && X509_check_private_key(x, k) == 1 &&
                X509_cmp_time(X509_get0_notAfter(x), &then) > 0;

    return good;
}

static enum kl_code make_ca(const struct kl_dev_site *s, struct kl_err *err)
{
    KL_AUTO(dev_key) key = EVP_EC_gen("P-256");
    KL_AUTO(dev_x509) x = key != NULL ? issue(&ca_profile, key, NULL, key) : NULL;
    enum kl_code code;

    if (x == NULL)
        return kl_fail_ossl(err, "X509_sign", "cannot make the CA");
    code = write_key(s, CA_KEY, key, err);
    return code == KL_OK ? write_certificate(s, KL_DEV_CA, x, err) : code;
}

static enum kl_code make_server(const struct kl_dev_site *s, struct kl_err *err)
{
    KL_AUTO(dev_x509) ca = read_certificate(s, KL_DEV_CA);
    KL_AUTO(dev_key) ca_key = read_key(s, CA_KEY);
    KL_AUTO(dev_key) key = EVP_EC_gen("P-256");
    KL_AUTO(dev_x509) x = NULL;
    enum kl_code code;

    if (ca != NULL && ca_key != NULL && key != NULL)
        x = issue(&server_profile, key, ca, ca_key);
    if (x == NULL)
        return kl_fail_ossl(err, "X509_sign", "cannot make the server's certificate");
    code = write_key(s, SERVER_KEY, key, err);
    return code == KL_OK ? write_certificate(s, SERVER, x, err) : code;
}

static bool server_is_of_ca(const struct kl_dev_site *s)
{
    KL_AUTO(dev_x509) ca = read_certificate(s, KL_DEV_CA);
    KL_AUTO(dev_x509) x = read_certificate(s, SERVER);

    return ca != NULL && x != NULL && X509_verify(x, X509_get0_pubkey(ca)) == 1;
}

enum kl_code kl_dev_make_certificates(struct kl_dev_site *s, struct kl_err *err)
{
    enum kl_code code = KL_OK;

    if (!pair_is_good(s, KL_DEV_CA, CA_KEY, RENEW_DAYS)) {
        code = make_ca(s, err);
        if (code == KL_OK)
            kl_dev_say(s, "CA made");
    }
    if (code == KL_OK &&
        (!pair_is_good(s, SERVER, SERVER_KEY, RENEW_DAYS) || !server_is_of_ca(s))) {
        code = make_server(s, err);
        if (code == KL_OK)
            kl_dev_say(s, "server certificate made");
    }
    return code;
}
