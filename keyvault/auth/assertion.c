#include "keyvault/auth/assertion.h"

#include "base/encoding.h"

#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <string.h>

#define SKEW_S 60

KL_AUTO_DEFINE(x509, X509, X509_free);
KL_AUTO_DEFINE(bio, BIO, BIO_free_all);

static enum kl_code invalid(struct kl_err *err, const char *what)
{
    return kl_fail(err, KL_UNAUTHENTICATED, "assertion", "AADSTS700027: client assertion: %s",
                   what);
}

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* x5c, which some clients send along, is passed over: the certificate that counts is the one that
 * the principal has. */
static enum kl_code read_header(struct kl_assertion *a, struct kl_err *err)
{
    static const char *const refused[] = {"crit", "b64", "jku", "jwk", "x5u", "zip", "enc"};
    const char *alg = text_of(a->jws.header, "alg");
    for (size_t i = 0; i < KL_COUNT(refused); i++)
        if (json_object_get(a->jws.header, refused[i]) != NULL)
            return invalid(err, "its header has a member that is not accepted");
    if (alg == NULL || (strcmp(alg, "RS256") != 0 && strcmp(alg, "PS256") != 0))
        return invalid(err, "its alg is neither RS256 nor PS256");
    a->alg = alg[0] == 'P' ? KL_JWS_PS256 : KL_JWS_RS256;
    if (text_of(a->jws.header, "x5t") == NULL && text_of(a->jws.header, "x5t#S256") == NULL)
        return invalid(err, "its header names no certificate (x5t or x5t#S256)");
    return KL_OK;
}

/* Whole seconds or absent; `missing` is what absence means. */
static bool read_time(const json_t *claims, const char *name, int64_t missing, int64_t *ret)
{
    const json_t *value = json_object_get(claims, name);
    *ret = value != NULL ? json_integer_value(value) : missing;
    return value == NULL || json_is_integer(value);
}

static enum kl_code read_claims(struct kl_assertion *a, int64_t now, struct kl_err *err)
{
    int64_t not_before, issued;
    if (kl_json_parse((const char *)a->jws.payload, a->jws.payload_len, &a->claims, NULL) !=
            KL_OK ||
        !json_is_object(a->claims))
        return invalid(err, "its payload is not a JSON object");
    const char *subject = text_of(a->claims, "sub");
    a->client_id = text_of(a->claims, "iss");
    a->audience = text_of(a->claims, "aud");
    a->id = text_of(a->claims, "jti");
    if (a->client_id == NULL || subject == NULL || strcmp(a->client_id, subject) != 0)
        return invalid(err, "iss and sub must both be the client id");
    if (a->audience == NULL || a->id == NULL || a->id[0] == 0)
        return invalid(err, "aud and jti are required");
    if (!read_time(a->claims, "exp", 0, &a->expires) ||
        !read_time(a->claims, "nbf", now, &not_before) ||
        !read_time(a->claims, "iat", now, &issued))
        return invalid(err, "its times are not whole seconds");
    if (a->expires <= now || not_before > now + SKEW_S || issued > now + SKEW_S)
        return invalid(err, "it is not within its validity time");
    const json_t *from = json_object_get(a->claims, "nbf");
    from = from != NULL ? from : json_object_get(a->claims, "iat");
    a->brief = from != NULL && a->expires - json_integer_value(from) <= KL_ASSERTION_BRIEF_S;
    if (a->expires > now + KL_ASSERTION_LIFE_MAX_S + SKEW_S)
        return invalid(err, "it is good for longer than an hour");
    return KL_OK;
}

enum kl_code kl_assertion_open(const char *text, size_t n, int64_t now, struct kl_assertion *ret,
                               struct kl_err *err)
{
    struct kl_assertion a = {.claims = NULL};
    enum kl_code code = kl_jws_split(text, n, &a.jws, err);
    if (code != KL_OK)
        return code;
    code = read_header(&a, err);
    if (code == KL_OK)
        code = read_claims(&a, now, err);
    if (code == KL_OK)
        *ret = a;
    else
        kl_assertion_done(&a);
    return code;
}

void kl_assertion_done(struct kl_assertion *a)
{
    json_decref(a->claims);
    kl_jws_done(&a->jws);
    a->claims = NULL;
}

/* Whether the header's member, if there, is the certificate's thumbprint. Old clients write x5t as
 * upper-case hex (ADAL), others in base64 with padding. */
static bool names(const json_t *header, const char *member, X509 *cert, const EVP_MD *md)
{
    unsigned char digest[EVP_MAX_MD_SIZE], said[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1];
    unsigned n = 0;
    size_t len = 0;
    const char *text = text_of(header, member);
    if (text == NULL)
        return true;
    if (X509_digest(cert, md, digest, &n) != 1)
        return false;
    kl_hex(digest, n, hex);
    if (strcasecmp(text, hex) == 0)
        return true;
    return kl_b64url_decode(text, strlen(text), said, sizeof said, &len) == KL_OK && len == n &&
           CRYPTO_memcmp(said, digest, n) == 0;
}

static X509 *certificate_of(const struct kl_credential *c)
{
    KL_AUTO(bio) in = c->kind == KL_CREDENTIAL_CERTIFICATE ? BIO_new_mem_buf(c->value, -1) : NULL;
    return in != NULL ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
}

static enum kl_code verify_with(const struct kl_assertion *a, X509 *cert, struct kl_err *err)
{
    EVP_PKEY *key = X509_get0_pubkey(cert);
    if (key == NULL || !EVP_PKEY_is_a(key, "RSA"))
        return invalid(err, "the certificate's key is not RSA");
    if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0)
        return invalid(err, "the certificate is not yet valid");
    return kl_jws_verify_key(&a->jws, key, a->alg, err);
}

enum kl_code kl_assertion_verify(const struct kl_assertion *a,
                                 const struct kl_credential *credentials, size_t count, int64_t now,
                                 struct kl_err *err)
{
    for (size_t i = 0; i < count; i++) {
        KL_AUTO(x509) cert = certificate_of(&credentials[i]);
        if (cert == NULL || !names(a->jws.header, "x5t", cert, EVP_sha1()) ||
            !names(a->jws.header, "x5t#S256", cert, EVP_sha256()))
            continue;
        if (credentials[i].expires != 0 && now >= credentials[i].expires)
            return invalid(err, "the certificate has expired");
        return verify_with(a, cert, err);
    }
    return invalid(err, "it is signed with a certificate that the client does not have here");
}
