/* TLS client certificates: from what a handshake has shown to a caller. */
#include "base/clock.h"
#include "keyvault/auth/parts.h"

#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <string.h>

#define SUBJECT_MAX 300

KL_AUTO_DEFINE(names, GENERAL_NAMES, GENERAL_NAMES_free);

static enum kl_code nobody(struct kl_err *err)
{
    return kl_fail(err, KL_UNAUTHENTICATED, "certificate",
                   "The TLS client certificate belongs to no enabled principal");
}

static bool put_text(char out[static SUBJECT_MAX], const char *kind, const ASN1_STRING *text)
{
    int n = ASN1_STRING_length(text);
    const char *bytes = (const char *)ASN1_STRING_get0_data(text);
    if (n <= 0 || n > SUBJECT_MAX - 8 || memchr(bytes, 0, (size_t)n) != NULL)
        return false;
    (void)snprintf(out, SUBJECT_MAX, "%s%.*s", kind, n, bytes);
    return true;
}

/* Spelled as credential.c spells subjects; false for kinds that none is made of. */
static bool spell(const GENERAL_NAME *name, char out[static SUBJECT_MAX])
{
    bool ok = false;
    if (name->type == GEN_DNS)
        ok = put_text(out, "dns:", name->d.dNSName);
    else if (name->type == GEN_URI)
        return put_text(out, "uri:", name->d.uniformResourceIdentifier);
    else if (name->type == GEN_IPADD) {
        int n = ASN1_STRING_length(name->d.iPAddress);
        memcpy(out, "ip:", 4);
        return (n == 4 || n == 16) &&
               inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(name->d.iPAddress),
                         out + 3, SUBJECT_MAX - 3) != NULL;
    }
    for (char *c = out; ok && *c != 0; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
    return ok;
}

static bool owner_of_name(const struct kl_authenticator *a, const GENERAL_NAME *name, int64_t now,
                          struct kl_principal *ret)
{
    char text[SUBJECT_MAX];
    uint8_t hash[EVP_MAX_MD_SIZE];
    return spell(name, text) &&
           EVP_Digest(text, strlen(text), hash, NULL, EVP_sha256(), NULL) == 1 &&
           kl_credential_owner(a->model, KL_CREDENTIAL_SUBJECT, hash, now, ret, NULL) == KL_OK;
}

/* Names of several principals in one certificate say nothing about who is calling. */
static enum kl_code owner_by_name(const struct kl_authenticator *a, X509 *certificate, int64_t now,
                                  struct kl_principal *ret, struct kl_err *err)
{
    KL_AUTO(names) names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    struct kl_principal found = {.object_id = ""};
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        struct kl_principal one;
        if (!owner_of_name(a, sk_GENERAL_NAME_value(names, i), now, &one))
            continue;
        if (found.object_id[0] != 0 && strcmp(found.object_id, one.object_id) != 0)
            return nobody(err);
        found = one;
    }
    if (found.object_id[0] == 0)
        return nobody(err);
    *ret = found;
    return KL_OK;
}

enum kl_code kl_authenticate_certificate(struct kl_authenticator *a, X509 *certificate,
                                         bool trusted, struct kl_caller *ret, struct kl_err *err)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    int64_t now = kl_clock_unix();
    struct kl_caller c = {.authenticated = true, .method = "certificate", .expires = INT64_MAX};
    if (X509_digest(certificate, EVP_sha256(), hash, NULL) != 1 ||
        X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0 ||
        X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
        return nobody(err);
    enum kl_code code =
        kl_credential_owner(a->model, KL_CREDENTIAL_CERTIFICATE, hash, now, &c.who, NULL);
    if (code != KL_OK)
        code = trusted ? owner_by_name(a, certificate, now, &c.who, err) : nobody(err);
    if (code == KL_OK && c.who.disabled)
        code = nobody(err);
    if (code != KL_OK)
        return code;
    memcpy(c.app_id, c.who.client_id, sizeof c.app_id);
    *ret = c;
    return KL_OK;
}
