#include "keyvault/model/credential.h"

#include "base/clock.h"
#include "keyvault/model/inside.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>
#include <time.h>

#define SECRET_BYTES 32

KL_AUTO_DEFINE(x509, X509, X509_free);
KL_AUTO_DEFINE(bio, BIO, BIO_free_all);

/* SHA-256(salt || secret): the secret is 256 random bits, so nothing slower is of use. */
static bool hash_secret(const uint8_t salt[static 16], const void *secret, size_t n,
                        uint8_t ret[static 32])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) > 0 &&
              EVP_DigestUpdate(ctx, salt, 16) > 0 && EVP_DigestUpdate(ctx, secret, n) > 0 &&
              EVP_DigestFinal_ex(ctx, ret, NULL) > 0;
    EVP_MD_CTX_free(ctx);
    return ok;
}

static void begin(struct kl_credential *c, enum kl_credential_kind kind, const char *object_id,
                  const char *name, int64_t expires)
{
    *c = (struct kl_credential){.kind = kind, .created = kl_clock_unix(), .expires = expires};
    kl_uuid_new(c->id);
    (void)snprintf(c->object_id, sizeof c->object_id, "%s", object_id);
    (void)snprintf(c->name, sizeof c->name, "%s", name);
}

enum kl_code kl_credential_make_secret(const char *object_id, const char *name, int64_t expires,
                                       struct kl_credential *ret, struct kl_secret **ret_secret,
                                       struct kl_err *err)
{
    uint8_t random[SECRET_BYTES];
    struct kl_credential c;
    struct kl_buf text = KL_BUF_INIT(KL_B64URL_LEN(SECRET_BYTES) + 1);
    KL_AUTO(secret) s = kl_secret_new(KL_B64URL_LEN(SECRET_BYTES));
    begin(&c, KL_CREDENTIAL_SECRET, object_id, name, expires);
    kl_random(random, sizeof random);
    kl_random(c.salt, sizeof c.salt);
    kl_b64url_put(&text, random, sizeof random);
    kl_wipe(random, sizeof random);
    bool ok = s != NULL && !kl_buf_failed(&text) &&
              kl_secret_append(s, text.bytes, text.len) == KL_OK &&
              hash_secret(c.salt, text.bytes, text.len, c.hash);
    kl_buf_wipe(&text);
    if (!ok)
        return kl_fail(err, KL_NO_MEMORY, "secret", "no memory for a client secret");
    *ret = c;
    *ret_secret = kl_take(s);
    return KL_OK;
}

enum kl_code kl_credential_insert(struct kl_store_session *t, const struct kl_credential *c,
                                  struct kl_err *err)
{
    struct kl_credential_row row = {
        .kind = c->kind, .created = c->created, .expires = c->expires, .value = c->value};
    memcpy(row.id, c->id, sizeof row.id);
    memcpy(row.object_id, c->object_id, sizeof row.object_id);
    memcpy(row.name, c->name, sizeof row.name);
    memcpy(row.salt, c->salt, sizeof row.salt);
    memcpy(row.hash, c->hash, sizeof row.hash);
    return kl_store_insert(t, KL_Q_CREDENTIAL_INSERT, &row, NULL, err);
}

enum kl_code kl_directory_commit(struct kl_model *m, struct kl_store_session *t, struct kl_err *err)
{
    enum kl_code code = kl_seal_write(m, t, NULL, err);
    if (code == KL_OK)
        code = kl_model_commit(m, t, err);
    return code == KL_OK ? kl_directory_load(&m->directory, t, err) : code;
}

void kl_credential_done(struct kl_credential *c)
{
    free(c->value);
    c->value = NULL;
}

void kl_credential_list_free(struct kl_credential *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        kl_credential_done(&list[i]);
    free(list);
}

/* --- adding --- */

/* Under a write session. */
static enum kl_code check_room(struct kl_model *m, const struct kl_credential *c,
                               struct kl_err *err)
{
    struct kl_principal who;
    size_t count = 0;
    enum kl_code code = kl_principal_find(m, c->object_id, &who, err);
    if (code == KL_OK && (who.kind != KL_PRINCIPAL_APPLICATION || who.issuer[0] != '\0'))
        code = kl_fail(err, KL_BAD_INPUT, "credential",
                       "only applications of the service's own have credentials here");
    (void)pthread_rwlock_rdlock(&m->directory.lock);
    (void)kl_people_credentials(&m->directory.now, c->object_id, &count);
    bool taken = c->kind != KL_CREDENTIAL_SECRET &&
                 kl_people_proof(&m->directory.now, c->kind, c->hash) != NULL;
    (void)pthread_rwlock_unlock(&m->directory.lock);
    if (code == KL_OK && taken)
        code = kl_fail(err, KL_EXISTS, "credential", "a principal has this credential already");
    if (code == KL_OK && count >= KL_CREDENTIALS_MAX)
        code = kl_fail(err, KL_CONFLICT, "credential",
                       "the principal has %d credentials already; remove one first",
                       KL_CREDENTIALS_MAX);
    return code;
}

/* `others_end` 0: the other secrets stay as they are. */
static enum kl_code add(struct kl_model *m, const struct kl_credential *c, int64_t others_end,
                        struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_seal_check_change(m, t, NULL, err);
    if (code == KL_OK)
        code = check_room(m, c, err);
    if (code == KL_OK && others_end != 0)
        code = kl_store_run(t, KL_Q_CREDENTIAL_EXPIRE,
                            KL_ARGS(KL_ARG_INT(others_end), KL_ARG_TEXT(c->object_id),
                                    KL_ARG_INT(KL_CREDENTIAL_SECRET)),
                            NULL, err);
    if (code == KL_OK)
        code = kl_credential_insert(t, c, err);
    return code == KL_OK ? kl_directory_commit(m, t, err) : code;
}

enum kl_code kl_credential_reset(struct kl_model *m, const char *object_id, const char *name,
                                 int64_t expires, int64_t others_end, struct kl_credential *ret,
                                 struct kl_secret **ret_secret, struct kl_err *err)
{
    struct kl_credential c;
    KL_AUTO(secret) secret = NULL;
    enum kl_code code = kl_credential_make_secret(object_id, name, expires, &c, &secret, err);
    if (code == KL_OK)
        code = add(m, &c, others_end, err);
    if (code != KL_OK)
        return code;
    *ret = c;
    *ret_secret = kl_take(secret);
    return KL_OK;
}

enum kl_code kl_credential_add_secret(struct kl_model *m, const char *object_id, const char *name,
                                      int64_t expires, struct kl_credential *ret,
                                      struct kl_secret **ret_secret, struct kl_err *err)
{
    return kl_credential_reset(m, object_id, name, expires, 0, ret, ret_secret, err);
}

static bool key_is_strong(X509 *cert)
{
    EVP_PKEY *key = X509_get0_pubkey(cert);
    int bits = key != NULL ? EVP_PKEY_get_bits(key) : 0;
    if (key != NULL && EVP_PKEY_is_a(key, "RSA"))
        return bits >= 2048 && bits <= 4096;
    return key != NULL && EVP_PKEY_is_a(key, "EC") && (bits == 256 || bits == 384 || bits == 521);
}

/* What is kept is the certificate alone, printed anew: whatever else the text held (a private key,
 * say) goes no further. */
static enum kl_code read_certificate(const char *pem, struct kl_credential *c, struct kl_err *err)
{
    KL_AUTO(bio) in = BIO_new_mem_buf(pem, -1);
    KL_AUTO(bio) out = BIO_new(BIO_s_mem());
    KL_AUTO(x509) cert = in != NULL ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
    struct tm end;
    char *text = NULL;
    if (cert == NULL)
        return kl_fail_ossl(NULL, "PEM_read_bio_X509", "no certificate"),
               kl_fail(err, KL_BAD_INPUT, "certificate", "value holds no PEM certificate");
    if (!key_is_strong(cert))
        return kl_fail(err, KL_BAD_INPUT, "certificate",
                       "the certificate's key must be RSA of 2048 to 4096 bits, P-256, P-384 or "
                       "P-521");
    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &end) != 1 ||
        X509_digest(cert, EVP_sha256(), c->hash, NULL) != 1 || out == NULL ||
        PEM_write_bio_X509(out, cert) != 1)
        return kl_fail_ossl(err, "X509", "the certificate cannot be read");
    int64_t not_after = timegm(&end);
    if (c->expires == 0 || c->expires > not_after)
        c->expires = not_after;
    long n = BIO_get_mem_data(out, &text);
    c->value = strndup(text, (size_t)n);
    return c->value != NULL ? KL_OK : kl_fail(err, KL_NO_MEMORY, "strndup", "no memory");
}

/* Compared as text with what a certificate says, so it must have one spelling: host names in lower
 * case, addresses as inet_ntop writes them. */
static enum kl_code read_subject(const char *value, struct kl_credential *c, struct kl_err *err)
{
    unsigned char address[16];
    char text[300];
    size_t n = strlen(value);
    bool ok = n > 4 && n < sizeof text && strpbrk(value, " \t\r\n*") == NULL;
    for (size_t i = 0; ok && i < n; i++)
        ok = value[i] > 0x20 && value[i] < 0x7f;
    bool dns = ok && strncmp(value, "dns:", 4) == 0, uri = ok && strncmp(value, "uri:", 4) == 0;
    bool ip = ok && strncmp(value, "ip:", 3) == 0 &&
              (inet_pton(AF_INET, value + 3, address) == 1 ||
               inet_pton(AF_INET6, value + 3, address) == 1);
    if (!dns && !uri && !ip)
        return kl_fail(err, KL_BAD_INPUT, "subject",
                       "a subject is dns:NAME, uri:URI or ip:ADDRESS, without wildcards");
    (void)snprintf(text, sizeof text, "%s", value);
    for (size_t i = 0; dns && i < n; i++)
        text[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    if (ip)
        (void)inet_ntop(strchr(value + 3, ':') != NULL ? AF_INET6 : AF_INET, address, text + 3,
                        sizeof text - 3);
    c->value = strdup(text);
    if (c->value == NULL)
        return kl_fail(err, KL_NO_MEMORY, "strdup", "no memory");
    return EVP_Digest(text, strlen(text), c->hash, NULL, EVP_sha256(), NULL) == 1
               ? KL_OK
               : kl_fail_ossl(err, "EVP_Digest", "cannot hash a subject");
}

enum kl_code kl_credential_add_proof(struct kl_model *m, const char *object_id, const char *name,
                                     enum kl_credential_kind kind, const char *value,
                                     int64_t expires, struct kl_credential *ret, struct kl_err *err)
{
    struct kl_credential c;
    begin(&c, kind, object_id, name, expires);
    enum kl_code code = kind == KL_CREDENTIAL_CERTIFICATE ? read_certificate(value, &c, err)
                                                          : read_subject(value, &c, err);
    if (code == KL_OK)
        code = add(m, &c, 0, err);
    if (code == KL_OK)
        *ret = c;
    else
        kl_credential_done(&c);
    return code;
}

/* --- reading --- */

static bool copy(const struct kl_credential *from, struct kl_credential *to)
{
    *to = *from;
    to->value = from->value != NULL ? strdup(from->value) : NULL;
    return from->value == NULL || to->value != NULL;
}

enum kl_code kl_credential_list(struct kl_model *m, const char *object_id,
                                struct kl_credential **ret, size_t *ret_count, struct kl_err *err)
{
    struct kl_principal who;
    size_t count = 0;
    enum kl_code code = kl_principal_find(m, object_id, &who, err);
    if (code != KL_OK)
        return code;
    (void)pthread_rwlock_rdlock(&m->directory.lock);
    const struct kl_credential *from =
        kl_people_credentials(&m->directory.now, who.object_id, &count);
    struct kl_credential *list = calloc(count + 1, sizeof *list);
    bool ok = list != NULL;
    for (size_t i = 0; i < count && ok; i++)
        ok = copy(&from[i], &list[i]);
    (void)pthread_rwlock_unlock(&m->directory.lock);
    if (!ok) {
        if (list != NULL)
            kl_credential_list_free(list, count);
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for a list of credentials");
    }
    *ret = list;
    *ret_count = count;
    return KL_OK;
}

enum kl_code kl_credential_delete(struct kl_model *m, const char *object_id, const char *id,
                                  struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    int64_t changed = 0;
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_seal_check_change(m, t, NULL, err);
    if (code == KL_OK)
        code = kl_store_run(t, KL_Q_CREDENTIAL_DELETE,
                            KL_ARGS(KL_ARG_TEXT(object_id), KL_ARG_TEXT(id)), &changed, err);
    if (code == KL_OK && changed == 0)
        code = kl_fail(err, KL_NOT_FOUND, "credential", "the principal has no credential %s", id);
    return code == KL_OK ? kl_directory_commit(m, t, err) : code;
}

static bool is_over(const struct kl_credential *c, int64_t now)
{
    return c->expires != 0 && now >= c->expires;
}

static bool secret_fits(const struct kl_credential *c, struct kl_secret *secret)
{
    uint8_t hash[32];
    bool fits = hash_secret(c->salt, kl_secret_bytes(secret), kl_secret_len(secret), hash) &&
                CRYPTO_memcmp(hash, c->hash, sizeof hash) == 0;
    kl_wipe(hash, sizeof hash);
    return fits;
}

enum kl_code kl_credential_check(struct kl_model *m, const char *object_id,
                                 struct kl_secret *secret, int64_t now)
{
    static const struct kl_credential nobody = {.kind = KL_CREDENTIAL_CERTIFICATE};
    size_t count = 0;
    enum kl_code code = KL_NOT_FOUND;
    (void)pthread_rwlock_rdlock(&m->directory.lock);
    const struct kl_credential *list =
        kl_people_credentials(&m->directory.now, object_id != NULL ? object_id : "", &count);
    for (size_t i = 0; i < count; i++) {
        if (list[i].kind != KL_CREDENTIAL_SECRET || !secret_fits(&list[i], secret))
            continue;
        if (!is_over(&list[i], now))
            code = KL_OK;
        else if (code == KL_NOT_FOUND)
            code = KL_KEY_EXPIRED;
    }
    (void)pthread_rwlock_unlock(&m->directory.lock);
    if (count == 0) /* as long as for a principal with a secret */
        (void)secret_fits(&nobody, secret);
    return code;
}

enum kl_code kl_credential_owner(struct kl_model *m, enum kl_credential_kind kind,
                                 const uint8_t hash[static 32], int64_t now,
                                 struct kl_principal *ret, struct kl_err *err)
{
    (void)pthread_rwlock_rdlock(&m->directory.lock);
    const struct kl_credential *c = kl_people_proof(&m->directory.now, kind, hash);
    const struct kl_principal *who =
        c != NULL && !is_over(c, now) ? kl_people_find(&m->directory.now, c->object_id) : NULL;
    if (who != NULL)
        *ret = *who;
    (void)pthread_rwlock_unlock(&m->directory.lock);
    return who != NULL ? KL_OK : kl_fail(err, KL_NOT_FOUND, "credential", "no principal has it");
}
