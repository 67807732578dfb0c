/* Private keys and certificates together: PKCS#12 and PEM, in and out. What OpenSSL allocates is
 * wiped when it is freed (kl_wiping_allocators). */
#include "keyvault/model/x509.h"

#include "base/encoding.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>

#define BUNDLE_MAX 25600 /* bytes of a secret */

KL_AUTO_DEFINE(bundle_bio, BIO, BIO_free_all);
KL_AUTO_DEFINE(pkcs12, PKCS12, PKCS12_free);

static enum kl_code bad(struct kl_err *err, const char *why)
{
    return kl_fail(err, KL_BAD_INPUT, "value", "The specified certificate content %s", why);
}

/* --- in --- */

static int no_password(char *buf, int size, int rwflag, void *arg)
{
    (void)buf, (void)size, (void)rwflag, (void)arg;
    return -1;
}

/* PEM_X509_INFO does not keep a key apart from the certificates that come after it. */
static enum kl_code read_pem(const void *bytes, size_t n, const char *password, EVP_PKEY **ret_key,
                             STACK_OF(X509) * all, struct kl_err *err)
{
    KL_AUTO(bundle_bio) in = BIO_new_mem_buf(bytes, (int)n);
    KL_AUTO(bundle_bio) again = BIO_new_mem_buf(bytes, (int)n);
    X509 *x;
    if (in == NULL || again == NULL)
        return kl_fail_ossl(err, "BIO_new_mem_buf", "no memory for a certificate");
    while ((x = PEM_read_bio_X509(in, NULL, no_password, NULL)) != NULL) {
        if (sk_X509_num(all) == KL_CHAIN_MAX || sk_X509_push(all, x) <= 0) {
            X509_free(x);
            return bad(err, "has too many certificates");
        }
    }
    if (ret_key != NULL) {
        bool has = password != NULL && password[0] != '\0';
        *ret_key = PEM_read_bio_PrivateKey(again, NULL, has ? NULL : no_password,
                                           has ? (void *)(uintptr_t)password : NULL);
    }
    ERR_clear_error();
    return KL_OK;
}

static enum kl_code read_pkcs12(const void *bytes, size_t n, const char *password,
                                EVP_PKEY **ret_key, STACK_OF(X509) * all, struct kl_err *err)
{
    const unsigned char *at = bytes;
    KL_AUTO(pkcs12) p = d2i_PKCS12(NULL, &at, (long)n);
    KL_AUTO(x509) leaf = NULL;
    KL_AUTO(x509_stack) others = NULL;
    if (p == NULL ||
        PKCS12_parse(p, password != NULL ? password : "", ret_key, &leaf, &others) != 1) {
        ERR_clear_error();
        return bad(err, "cannot be read: it is no PKCS#12 or PEM bundle, or the password is wrong");
    }
    if (leaf != NULL && sk_X509_push(all, leaf) > 0)
        leaf = NULL;
    while (sk_X509_num(others) > 0 && sk_X509_num(all) < KL_CHAIN_MAX) {
        X509 *x = sk_X509_shift(others);
        if (sk_X509_push(all, x) <= 0)
            X509_free(x);
    }
    return others != NULL && sk_X509_num(others) > 0 ? bad(err, "has too many certificates")
                                                     : KL_OK;
}

/* The certificate of the key comes out of the chain; without a key it is the first. */
static X509 *take_leaf(EVP_PKEY *key, STACK_OF(X509) * all)
{
    for (int i = 0; i < sk_X509_num(all); i++)
        if (key == NULL || X509_check_private_key(sk_X509_value(all, i), key) == 1)
            return sk_X509_delete(all, i);
    return NULL;
}

enum kl_code kl_x509_read(const void *bytes, size_t n, const char *password, EVP_PKEY **ret_key,
                          X509 **ret_leaf, STACK_OF(X509) * *ret_chain, bool *ret_pem,
                          struct kl_err *err)
{
    static const char mark[] = "-----BEGIN ";
    KL_AUTO(x509_stack) all = sk_X509_new_null();
    KL_AUTO(evp_key) key = NULL;
    bool pem = memmem(bytes, n, mark, sizeof mark - 1) != NULL;
    if (all == NULL)
        return kl_fail_ossl(err, "sk_X509_new_null", "no memory for a certificate");
    EVP_PKEY **want = ret_key != NULL ? &key : NULL;
    enum kl_code code = pem ? read_pem(bytes, n, password, want, all, err)
                            : read_pkcs12(bytes, n, password, &key, all, err);
    if (code != KL_OK)
        return code;
    if (ret_key != NULL && key == NULL)
        return bad(err, "has no private key that can be read");
    X509 *leaf = take_leaf(ret_key != NULL ? key : NULL, all);
    ERR_clear_error();
    if (leaf == NULL)
        return bad(err, "has no certificate that belongs to its private key");
    if (ret_key != NULL)
        *ret_key = kl_take(key);
    *ret_leaf = leaf;
    *ret_chain = kl_take(all);
    *ret_pem = pem;
    return KL_OK;
}

/* --- out --- */

static enum kl_code put_pem(EVP_PKEY *key, X509 *leaf, STACK_OF(X509) * chain, BIO *out)
{
    if (key != NULL && PEM_write_bio_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) != 1)
        return KL_CRYPTO;
    if (PEM_write_bio_X509(out, leaf) != 1)
        return KL_CRYPTO;
    for (int i = 0; i < sk_X509_num(chain); i++)
        if (PEM_write_bio_X509(out, sk_X509_value(chain, i)) != 1)
            return KL_CRYPTO;
    return KL_OK;
}

/* Nothing to protect by a password: the secret is what protects it. */
static enum kl_code put_pkcs12(EVP_PKEY *key, X509 *leaf, STACK_OF(X509) * chain, BIO *out)
{
    KL_AUTO(pkcs12) p = PKCS12_create("", NULL, key, leaf, chain, 0, 0, 0, 1, 0);
    BIO *b64 = p != NULL ? BIO_new(BIO_f_base64()) : NULL;
    if (b64 == NULL)
        return KL_CRYPTO;
    BIO_set_flags(b64, BIO_FLAGS_BASE64_NO_NL);
    (void)BIO_push(b64, out);
    bool good = i2d_PKCS12_bio(b64, p) == 1 && BIO_flush(b64) == 1;
    (void)BIO_pop(b64);
    BIO_free(b64);
    return good ? KL_OK : KL_CRYPTO;
}

enum kl_code kl_x509_write(EVP_PKEY *key, X509 *leaf, STACK_OF(X509) * chain, bool pem,
                           struct kl_secret **ret, struct kl_err *err)
{
    KL_AUTO(bundle_bio) out = BIO_new(BIO_s_mem());
    KL_AUTO(secret) value = kl_secret_new(BUNDLE_MAX);
    char *bytes = NULL;
    if (out == NULL || value == NULL)
        return kl_fail(err, KL_NO_MEMORY, "BIO_new", "no memory for a certificate");
    enum kl_code code = pem ? put_pem(key, leaf, chain, out) : put_pkcs12(key, leaf, chain, out);
    if (code != KL_OK)
        return kl_fail_ossl(err, "PKCS12_create", "cannot write a bundle of certificates");
    long n = BIO_get_mem_data(out, &bytes);
    if (kl_secret_append(value, bytes, (size_t)n) != KL_OK)
        return kl_fail(err, KL_BAD_INPUT, "value",
                       "The certificate with its chain has more than %d bytes", BUNDLE_MAX);
    *ret = kl_take(value);
    return KL_OK;
}

void kl_x509_put_b64(struct kl_buf *out, const void *bytes, size_t n)
{
    size_t room = 4 * ((n + 2) / 3);
    KL_AUTO(bytes) text = malloc(room + 1);
    if (text == NULL) {
        out->failed = true;
        return;
    }
    int len = EVP_EncodeBlock(text, bytes, (int)n);
    kl_buf_put(out, text, len > 0 ? (size_t)len : 0);
}

/* --- private keys --- */

enum kl_code kl_x509_new_key(const struct kl_cert_policy *policy, EVP_PKEY **ret,
                             struct kl_err *err)
{
    static const char *const curves[] = {
        [KL_CURVE_P256] = "P-256", [KL_CURVE_P384] = "P-384", [KL_CURVE_P521] = "P-521"};
    EVP_PKEY *key = policy->type == KL_KEY_RSA
                        ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)policy->bits)
                        : EVP_PKEY_Q_keygen(NULL, NULL, "EC", curves[policy->curve]);
    if (key == NULL)
        return kl_fail_ossl(err, "EVP_PKEY_Q_keygen", "cannot make a key");
    *ret = key;
    return KL_OK;
}

enum kl_code kl_x509_pkcs8(EVP_PKEY *key, struct kl_secret **ret, struct kl_err *err)
{
    PKCS8_PRIV_KEY_INFO *p8 = EVP_PKEY2PKCS8(key);
    unsigned char *der = NULL;
    int n = p8 != NULL ? i2d_PKCS8_PRIV_KEY_INFO(p8, &der) : -1;
    KL_AUTO(secret) out = kl_secret_new(KL_TOKEN_MAX_INPUT);
    enum kl_code code = KL_OK;
    PKCS8_PRIV_KEY_INFO_free(p8);
    if (n <= 0 || out == NULL || kl_secret_append(out, der, (size_t)n) != KL_OK)
        code = kl_fail_ossl(err, "i2d_PKCS8_PRIV_KEY_INFO", "cannot encode a private key");
    OPENSSL_clear_free(der, n > 0 ? (size_t)n : 0);
    if (code == KL_OK)
        *ret = kl_take(out);
    return code;
}

/* --- a policy after the fact --- */

static json_t *names_of(X509 *x)
{
    json_t *dns = json_array(), *emails = json_array();
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int type;
        const ASN1_STRING *s = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        if (type == GEN_DNS || type == GEN_EMAIL)
            (void)json_array_append_new(type == GEN_DNS ? dns : emails,
                                        json_stringn((const char *)ASN1_STRING_get0_data(s),
                                                     (size_t)ASN1_STRING_length(s)));
    }
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
    json_t *sans = json_object();
    (void)json_object_set_new(sans, "dns_names", dns);
    if (json_array_size(emails) > 0)
        (void)json_object_set_new(sans, "emails", emails);
    else
        json_decref(emails);
    return sans;
}

static json_t *ekus_of(X509 *x)
{
    json_t *list = json_array();
    EXTENDED_KEY_USAGE *ekus = X509_get_ext_d2i(x, NID_ext_key_usage, NULL, NULL);
    for (int i = 0; i < sk_ASN1_OBJECT_num(ekus); i++) {
        char oid[100];
        if (OBJ_obj2txt(oid, sizeof oid, sk_ASN1_OBJECT_value(ekus, i), 1) > 0)
            (void)json_array_append_new(list, json_string(oid));
    }
    sk_ASN1_OBJECT_pop_free(ekus, ASN1_OBJECT_free);
    return list;
}

static json_t *usage_of(X509 *x)
{
    static const struct {
        uint32_t bit;
        const char *word;
    } words[] = {{KU_DIGITAL_SIGNATURE, "digitalSignature"},
                 {KU_NON_REPUDIATION, "nonRepudiation"},
                 {KU_KEY_ENCIPHERMENT, "keyEncipherment"},
                 {KU_DATA_ENCIPHERMENT, "dataEncipherment"},
                 {KU_KEY_AGREEMENT, "keyAgreement"},
                 {KU_KEY_CERT_SIGN, "keyCertSign"},
                 {KU_CRL_SIGN, "cRLSign"}};
    json_t *list = json_array();
    uint32_t has = X509_get_key_usage(x); /* all bits when there is no extension */
    for (size_t i = 0; i < KL_COUNT(words) && has != UINT32_MAX; i++)
        if ((has & words[i].bit) != 0)
            (void)json_array_append_new(list, json_string(words[i].word));
    return list;
}

static json_t *key_of(EVP_PKEY *key)
{
    int bits = EVP_PKEY_get_bits(key);
    if (EVP_PKEY_is_a(key, "RSA"))
        return json_pack("{s:s,s:i}", "kty", "RSA", "key_size", bits);
    char name[64] = "";
    size_t n = 0;
    (void)EVP_PKEY_get_group_name(key, name, sizeof name, &n);
    int nid = EC_curve_nist2nid(name) != NID_undef ? EC_curve_nist2nid(name) : OBJ_txt2nid(name);
    const char *nist = EC_curve_nid2nist(nid);
    return json_pack("{s:s,s:s}", "kty", "EC", "crv", nist != NULL ? nist : name);
}

enum kl_code kl_x509_policy_of(X509 *x, bool pem, json_t **ret, struct kl_err *err)
{
    struct kl_buf subject = KL_BUF_INIT(16384);
    EVP_PKEY *key = X509_get0_pubkey(x);
    int days = 0, seconds = 0;
    if (key == NULL ||
        ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(x), X509_get0_notAfter(x)) != 1)
        return bad(err, "has no public key or no dates that can be read");
    kl_x509_subject(x, &subject);
    int months = days / 30 > 0 ? days / 30 : 1;
    json_t *usage = usage_of(x);
    *ret =
        json_pack("{s:o,s:{s:s},s:{s:s,s:i,s:o,s:o,s:o},s:{s:s},s:{s:b}}", "key_props", key_of(key),
                  "secret_props", "contentType", pem ? KL_CERT_POLICY_PEM : KL_CERT_POLICY_PKCS12,
                  "x509_props", "subject", kl_buf_text(&subject), "validity_months",
                  months > 1200 ? 1200 : months, "sans", names_of(x), "ekus", ekus_of(x),
                  "key_usage", usage, "issuer", "name", "Unknown", "attributes", "enabled", 1);
    kl_buf_done(&subject);
    return *ret != NULL ? KL_OK : kl_fail(err, KL_NO_MEMORY, "json", "no memory for a policy");
}
