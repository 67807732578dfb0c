#include "keyvault/model/x509.h"

#include "base/encoding.h"

#include <ctype.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define UPN_OID    "1.3.6.1.4.1.311.20.2.3" /* otherName of user principal names */
#define SERIAL_LEN 16
#define PART_MAX   512

KL_AUTO_DEFINE(x509_req, X509_REQ, X509_REQ_free);
KL_AUTO_DEFINE(x509_name, X509_NAME, X509_NAME_free);

static inline void free_names(GENERAL_NAMES *g)
{
    sk_GENERAL_NAME_pop_free(g, GENERAL_NAME_free);
}
KL_AUTO_DEFINE(general_names, GENERAL_NAMES, free_names);

static enum kl_code bad(struct kl_err *err, const char *what, const char *value)
{
    return kl_fail(err, KL_BAD_INPUT, "policy", "The certificate policy's %s cannot be '%.100s'",
                   what, value);
}

static enum kl_code failed(struct kl_err *err, const char *op)
{
    return kl_fail_ossl(err, op, "cannot build a certificate");
}

/* --- subjects, as RFC 4514 and the Azure portal write them --- */

static int nid_of(const char *type)
{
    static const struct {
        const char *word;
        int nid;
    } others[] = {{"E", NID_pkcs9_emailAddress}, {"S", NID_stateOrProvinceName},
                  {"STREET", NID_streetAddress}, {"T", NID_title},
                  {"G", NID_givenName},          {"SERIALNUMBER", NID_serialNumber}};
    char upper[32];
    size_t i = 0;
    for (; type[i] != '\0' && i < sizeof upper - 1; i++)
        upper[i] = (char)toupper((unsigned char)type[i]);
    upper[i] = '\0';
    for (i = 0; i < KL_COUNT(others); i++)
        if (strcmp(others[i].word, upper) == 0)
            return others[i].nid;
    int nid = OBJ_txt2nid(upper);
    return nid != NID_undef ? nid : OBJ_txt2nid(type);
}

/* One value from *at on, unescaped, up to its comma; false for a broken one. */
static bool take_value(const char **at, char out[static PART_MAX])
{
    const char *p = *at;
    size_t n = 0, kept = 0; /* kept: what trailing blanks may not be cut below */
    bool quoted = *p == '"';
    p += quoted ? 1 : 0;
    for (; *p != '\0' && (quoted ? *p != '"' : *p != ',' && *p != ';' && *p != '+'); p++) {
        if (*p == '\\' && p[1] != '\0') {
            p++;
            kept = n + 1;
        }
        if (n == PART_MAX - 1)
            return false;
        out[n++] = *p;
    }
    if (quoted && *p++ != '"')
        return false;
    while (!quoted && n > kept && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
    while (*p == ' ')
        p++;
    *at = p;
    return n > 0 && (*p == '\0' || *p == ',' || *p == ';');
}

static bool take_part(const char **at, X509_NAME *name)
{
    char type[64], value[PART_MAX];
    size_t n = strcspn(*at, "=");
    if ((*at)[n] != '=' || n == 0 || n >= sizeof type)
        return false;
    memcpy(type, *at, n);
    while (n > 0 && type[n - 1] == ' ')
        n--;
    type[n] = '\0';
    *at += strcspn(*at, "=") + 1;
    *at += strspn(*at, " ");
    int nid = nid_of(type);
    return nid != NID_undef && take_value(at, value) &&
           X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, (const unsigned char *)value, -1,
                                      -1, 0) == 1;
}

static enum kl_code make_subject(const char *text, X509_NAME **ret, struct kl_err *err)
{
    KL_AUTO(x509_name) name = X509_NAME_new();
    if (name == NULL)
        return failed(err, "X509_NAME_new");
    for (const char *at = text + strspn(text, " "); *at != '\0';) {
        if (!take_part(&at, name))
            return bad(err, "subject", text);
        at += *at != '\0' ? 1 : 0;
        at += strspn(at, " ");
    }
    *ret = kl_take(name);
    return KL_OK;
}

void kl_x509_subject(const X509 *x, struct kl_buf *out)
{
    BIO *mem = BIO_new(BIO_s_mem());
    char *bytes = NULL;
    if (mem != NULL && X509_NAME_print_ex(mem, X509_get_subject_name(x), 0,
                                          (XN_FLAG_ONELINE & ~(unsigned long)XN_FLAG_SPC_EQ) &
                                              ~(unsigned long)ASN1_STRFLGS_ESC_MSB) >= 0) {
        long n = BIO_get_mem_data(mem, &bytes);
        kl_buf_put(out, bytes, n > 0 ? (size_t)n : 0);
    }
    BIO_free(mem);
}

/* --- alternative names --- */

static GENERAL_NAME *plain_name(int type, const char *text)
{
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_IA5STRING *s = ASN1_IA5STRING_new();
    bool ascii = true;
    for (const char *p = text; *p != '\0'; p++)
        ascii = ascii && *p > 0x20 && *p < 0x7f;
    if (g == NULL || s == NULL || !ascii || ASN1_STRING_set(s, text, -1) != 1) {
        GENERAL_NAME_free(g);
        ASN1_IA5STRING_free(s);
        return NULL;
    }
    GENERAL_NAME_set0_value(g, type, s);
    return g;
}

static GENERAL_NAME *address_name(int type, const char *text)
{
    (void)type;
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(text);
    GENERAL_NAME *g = ip != NULL ? GENERAL_NAME_new() : NULL;
    if (g == NULL) {
        ASN1_OCTET_STRING_free(ip);
        return NULL;
    }
    GENERAL_NAME_set0_value(g, GEN_IPADD, ip);
    return g;
}

static GENERAL_NAME *principal_name(int type, const char *text)
{
    (void)type;
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_OBJECT *oid = OBJ_txt2obj(UPN_OID, 1);
    ASN1_TYPE *value = ASN1_TYPE_new();
    ASN1_UTF8STRING *s = ASN1_UTF8STRING_new();
    if (g != NULL && oid != NULL && value != NULL && s != NULL &&
        ASN1_STRING_set(s, text, -1) == 1) {
        ASN1_TYPE_set(value, V_ASN1_UTF8STRING, s);
        s = NULL;
        if (GENERAL_NAME_set0_othername(g, oid, value) == 1)
            return g;
    }
    GENERAL_NAME_free(g);
    ASN1_OBJECT_free(oid);
    ASN1_TYPE_free(value);
    ASN1_UTF8STRING_free(s);
    return NULL;
}

static const struct {
    const char *member;
    int type;
    GENERAL_NAME *(*make)(int type, const char *text);
} san_kinds[] = {{"dns_names", GEN_DNS, plain_name},
                 {"emails", GEN_EMAIL, plain_name},
                 {"upns", GEN_OTHERNAME, principal_name},
                 {"uris", GEN_URI, plain_name},
                 {"ipAddresses", GEN_IPADD, address_name}};

static enum kl_code make_names(const json_t *sans, GENERAL_NAMES **ret, struct kl_err *err)
{
    KL_AUTO(general_names) names = sk_GENERAL_NAME_new_null();
    for (size_t k = 0; k < KL_COUNT(san_kinds); k++) {
        size_t i;
        const json_t *item;
        json_array_foreach(json_object_get(sans, san_kinds[k].member), i, item)
        {
            const char *text = json_string_value(item);
            GENERAL_NAME *g = san_kinds[k].make(san_kinds[k].type, text);
            if (g == NULL)
                return bad(err, san_kinds[k].member, text);
            if (sk_GENERAL_NAME_push(names, g) <= 0) {
                GENERAL_NAME_free(g);
                return failed(err, "sk_GENERAL_NAME_push");
            }
        }
    }
    *ret = kl_take(names);
    return KL_OK;
}

/* --- extensions --- */

typedef STACK_OF(X509_EXTENSION) extensions;

static inline void free_extensions(extensions *s)
{
    sk_X509_EXTENSION_pop_free(s, X509_EXTENSION_free);
}
KL_AUTO_DEFINE(extensions, extensions, free_extensions);

static bool add(extensions *to, int nid, bool critical, void *value)
{
    X509_EXTENSION *e = X509V3_EXT_i2d(nid, critical ? 1 : 0, value);
    if (e != NULL && sk_X509_EXTENSION_push(to, e) > 0)
        return true;
    X509_EXTENSION_free(e);
    return false;
}

/* Words of check_usage's table, so OpenSSL's own text form is safe: it knows each of them. */
static bool add_usage(extensions *to, const json_t *list)
{
    static const char *const words[] = {"digitalSignature", "nonRepudiation", "keyEncipherment",
                                        "dataEncipherment", "keyAgreement",   "keyCertSign",
                                        "cRLSign",          "encipherOnly",   "decipherOnly"};
    ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
    size_t i;
    const json_t *item;
    bool good = bits != NULL;
    json_array_foreach(list, i, item)
    {
        for (size_t w = 0; w < KL_COUNT(words); w++)
            if (strcasecmp(words[w], json_string_value(item)) == 0)
                good = good && ASN1_BIT_STRING_set_bit(bits, (int)w, 1) == 1;
    }
    good = good && add(to, NID_key_usage, true, bits);
    ASN1_BIT_STRING_free(bits);
    return good;
}

static bool add_ekus(extensions *to, const json_t *list)
{
    EXTENDED_KEY_USAGE *ekus = sk_ASN1_OBJECT_new_null();
    size_t i;
    const json_t *item;
    bool good = ekus != NULL;
    json_array_foreach(list, i, item)
    {
        ASN1_OBJECT *oid = OBJ_txt2obj(json_string_value(item), 1);
        good = good && oid != NULL && sk_ASN1_OBJECT_push(ekus, oid) > 0;
    }
    if (good && json_array_size(list) > 0)
        good = add(to, NID_ext_key_usage, false, ekus);
    sk_ASN1_OBJECT_pop_free(ekus, ASN1_OBJECT_free);
    return good;
}

static bool add_constraints(extensions *to, bool ca)
{
    BASIC_CONSTRAINTS *b = BASIC_CONSTRAINTS_new();
    bool good = b != NULL;
    if (good)
        b->ca = ca ? 0xff : 0;
    good = good && add(to, NID_basic_constraints, ca, b);
    BASIC_CONSTRAINTS_free(b);
    return good;
}

/* RFC 5280 section 4.2.1.2, method 1. */
static bool add_key_id(extensions *to, X509_PUBKEY *key)
{
    unsigned char digest[20];
    const unsigned char *bytes = NULL;
    int len = 0;
    size_t n = 0;
    ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
    bool good = id != NULL && X509_PUBKEY_get0_param(NULL, &bytes, &len, NULL, key) == 1 &&
                EVP_Q_digest(NULL, "SHA1", NULL, bytes, (size_t)len, digest, &n) == 1 &&
                ASN1_OCTET_STRING_set(id, digest, (int)n) == 1 &&
                add(to, NID_subject_key_identifier, false, id);
    ASN1_OCTET_STRING_free(id);
    return good;
}

static enum kl_code make_extensions(const json_t *x509, extensions **ret, struct kl_err *err)
{
    KL_AUTO(extensions) list = sk_X509_EXTENSION_new_null();
    KL_AUTO(general_names) names = NULL;
    const json_t *subject = json_object_get(x509, "subject");
    bool ca = json_is_true(json_object_get(json_object_get(x509, "basic_constraints"), "ca"));
    enum kl_code code = make_names(json_object_get(x509, "sans"), &names, err);
    if (code != KL_OK)
        return code;
    /* RFC 5280 section 4.2.1.6: critical where there is no subject. */
    if (list == NULL || !add_usage(list, json_object_get(x509, "key_usage")) ||
        !add_ekus(list, json_object_get(x509, "ekus")) || !add_constraints(list, ca) ||
        (sk_GENERAL_NAME_num(names) > 0 &&
         !add(list, NID_subject_alt_name, json_string_length(subject) == 0, names)))
        return failed(err, "X509V3_EXT_i2d");
    *ret = kl_take(list);
    return KL_OK;
}

/* --- requests and certificates --- */

struct parts {
    X509_NAME *subject;
    extensions *extensions;
};

static void parts_done(struct parts *p)
{
    X509_NAME_free(p->subject);
    free_extensions(p->extensions);
}

static enum kl_code make_parts(const struct kl_cert_policy *policy, struct parts *p,
                               struct kl_err *err)
{
    const json_t *x509 = json_object_get(policy->json, "x509_props");
    const char *subject = json_string_value(json_object_get(x509, "subject"));
    enum kl_code code = make_subject(subject != NULL ? subject : "", &p->subject, err);
    return code == KL_OK ? make_extensions(x509, &p->extensions, err) : code;
}

enum kl_code kl_x509_check(const struct kl_cert_policy *policy, struct kl_err *err)
{
    struct parts p = {NULL, NULL};
    enum kl_code code = make_parts(policy, &p, err);
    parts_done(&p);
    return code;
}

static enum kl_code fill_request(X509_REQ *req, const struct kl_key_version *key,
                                 const struct parts *p, struct kl_buf *ret, struct kl_err *err)
{
    unsigned char *der = NULL;
    if (X509_REQ_set_version(req, 0) != 1 || X509_REQ_set_subject_name(req, p->subject) != 1 ||
        X509_REQ_set_pubkey(req, key->public_key) != 1 ||
        X509_REQ_add_extensions(req, p->extensions) != 1)
        return failed(err, "X509_REQ");
    enum kl_code code = kl_x509_sign(key, NULL, req, err);
    int n = code == KL_OK ? i2d_X509_REQ(req, &der) : -1;
    if (code == KL_OK && n <= 0)
        code = failed(err, "i2d_X509_REQ");
    if (code == KL_OK)
        kl_buf_put(ret, der, (size_t)n);
    OPENSSL_free(der);
    return code;
}

enum kl_code kl_x509_request(const struct kl_key_version *key, const struct kl_cert_policy *policy,
                             struct kl_buf *ret, struct kl_err *err)
{
    struct parts p = {NULL, NULL};
    KL_AUTO(x509_req) req = X509_REQ_new();
    enum kl_code code = req != NULL ? make_parts(policy, &p, err) : failed(err, "X509_REQ_new");
    if (code == KL_OK)
        code = fill_request(req, key, &p, ret, err);
    parts_done(&p);
    return code;
}

static bool set_serial(X509 *x)
{
    unsigned char serial[SERIAL_LEN];
    kl_random(serial, sizeof serial);
    serial[0] &= 0x7f; /* RFC 5280 section 4.1.2.2: positive, at most 20 octets */
    BIGNUM *n = BN_bin2bn(serial, sizeof serial, NULL);
    bool good = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;
    BN_free(n);
    return good;
}

static bool set_validity(X509 *x, int64_t now, int months)
{
    time_t from = (time_t)now - 600; /* as Key Vault does: clocks of others may be late */
    struct tm end;
    if (gmtime_r(&from, &end) == NULL)
        return false;
    end.tm_mon += months;
    if (end.tm_mday > 28)
        end.tm_mday = 28;
    time_t to = timegm(&end);
    return ASN1_TIME_set(X509_getm_notBefore(x), from) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(x), to) != NULL;
}

static enum kl_code fill_certificate(X509 *x, const struct kl_key_version *key, struct parts *p,
                                     struct kl_err *err)
{
    if (!add_key_id(p->extensions, X509_get_X509_PUBKEY(x)))
        return failed(err, "X509V3_EXT_i2d");
    for (int i = 0; i < sk_X509_EXTENSION_num(p->extensions); i++)
        if (X509_add_ext(x, sk_X509_EXTENSION_value(p->extensions, i), -1) != 1)
            return failed(err, "X509_add_ext");
    return kl_x509_sign(key, x, NULL, err);
}

enum kl_code kl_x509_self(const struct kl_key_version *key, const struct kl_cert_policy *policy,
                          int64_t now, X509 **ret, struct kl_err *err)
{
    struct parts p = {NULL, NULL};
    KL_AUTO(x509) x = X509_new();
    enum kl_code code = x != NULL ? make_parts(policy, &p, err) : failed(err, "X509_new");
    if (code == KL_OK &&
        (X509_set_version(x, X509_VERSION_3) != 1 || !set_serial(x) ||
         !set_validity(x, now, policy->months) || X509_set_subject_name(x, p.subject) != 1 ||
         X509_set_issuer_name(x, p.subject) != 1 || X509_set_pubkey(x, key->public_key) != 1))
        code = failed(err, "X509_set");
    if (code == KL_OK)
        code = fill_certificate(x, key, &p, err);
    parts_done(&p);
    if (code == KL_OK)
        *ret = kl_take(x);
    return code;
}
