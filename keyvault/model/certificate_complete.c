/* The moment a certificate comes to be: its version, and that of its secret, in one commit. */
#include "keyvault/model/certificate_inside.h"

#include "base/clock.h"
#include "keyvault/model/key.h"
#include "keyvault/model/softdelete.h"

#include <string.h>

#define ABOUT_MAX (64 * 1024)

enum kl_code kl_certificate_check_name(struct kl_model *m, const struct kl_vault *v,
                                       const char *name, struct kl_err *err)
{
    static const enum kl_kind kinds[] = {KL_KIND_CERTIFICATE, KL_KIND_KEY, KL_KIND_SECRET};
    KL_AUTO(store_session) t = NULL;
    if (!kl_name_valid(name))
        return kl_fail(err, KL_BAD_INPUT, "name",
                       "the certificate name must match ^[0-9a-zA-Z-]{1,127}$");
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    for (size_t i = 0; i < KL_COUNT(kinds) && code == KL_OK; i++) {
        struct kl_object_row o = {0};
        enum kl_life next;
        code = kl_object_read(t, v->id, kinds[i], name, &o, err);
        if (code == KL_NOT_FOUND) {
            code = KL_OK;
            continue;
        }
        if (code == KL_OK)
            code = kl_life_next(kinds[i], (enum kl_life)o.state, KL_EVENT_READY, &next);
        if (code == KL_NAME_DELETED)
            return kl_object_held(kinds[i], name, err);
        if (code == KL_OK && kinds[i] != KL_KIND_CERTIFICATE && o.managed == 0)
            return kl_object_led(kinds[i], name, false, err);
    }
    return code;
}

enum kl_code kl_certificate_object(struct kl_model *m, const struct kl_vault *v, const char *name,
                                   struct kl_object_row *ret, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    if (!kl_name_valid(name))
        return kl_object_missing(KL_KIND_CERTIFICATE, name, "", err);
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    return code == KL_OK ? kl_vault_secret_object(t, v->id, KL_KIND_CERTIFICATE, name, ret, err)
                         : code;
}

/* --- what it says of itself --- */

static void put_thumbprint(struct kl_buf *out, const char *member, const char *hash,
                           const unsigned char *der, size_t n)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t len = 0;
    if (EVP_Q_digest(NULL, hash, NULL, der, n, digest, &len) != 1)
        out->failed = true;
    kl_buf_printf(out, "\"%s\":\"", member);
    kl_b64url_put(out, digest, len);
    kl_buf_puts(out, "\",");
}

static enum kl_code put_about(struct kl_buf *out, X509 *leaf, bool pem, struct kl_err *err)
{
    unsigned char *der = NULL;
    struct kl_buf subject = KL_BUF_INIT(16384);
    int n = i2d_X509(leaf, &der);
    if (n <= 0)
        return kl_fail_ossl(err, "i2d_X509", "cannot encode a certificate");
    kl_x509_subject(leaf, &subject);
    kl_buf_putc(out, '{');
    put_thumbprint(out, "x5t", "SHA1", der, (size_t)n);
    put_thumbprint(out, "x5t256", "SHA256", der, (size_t)n);
    kl_buf_puts(out, "\"subject\":");
    kl_buf_put_json(out, kl_buf_text(&subject), subject.len);
    kl_buf_printf(out, ",\"contentType\":\"%s\",\"cer\":\"",
                  pem ? KL_CERT_POLICY_PEM : KL_CERT_POLICY_PKCS12);
    kl_x509_put_b64(out, der, (size_t)n);
    kl_buf_puts(out, "\"}");
    OPENSSL_free(der);
    kl_buf_done(&subject);
    return kl_buf_failed(out)
               ? kl_fail(err, KL_BAD_INPUT, "certificate", "the certificate is too big")
               : KL_OK;
}

static bool unix_time(const ASN1_TIME *at, int64_t *ret)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(at, &tm) != 1)
        return false;
    *ret = timegm(&tm);
    return true;
}

/* --- rows --- */

struct rows {
    struct kl_buf about, sealed_secret, sealed_none;
    struct kl_secret *value;
    struct kl_secret_row certificate, secret;
};

static void rows_done(struct rows *r)
{
    kl_buf_done(&r->about);
    kl_buf_done(&r->sealed_secret);
    kl_buf_done(&r->sealed_none);
    kl_secret_free(r->value);
}

static enum kl_code fill_item(const struct kl_certificate_version *c, struct rows *r,
                              struct kl_err *err)
{
    struct kl_secret_item_row *item = &r->certificate.item;
    *item = (struct kl_secret_item_row){.enabled = c->enabled,
                                        .has_nbf = 1,
                                        .has_exp = 1,
                                        .key_version = c->key->version,
                                        .tags = kl_tags_normal(c->tags_json)};
    if (!unix_time(X509_get0_notBefore(c->leaf), &item->nbf) ||
        !unix_time(X509_get0_notAfter(c->leaf), &item->exp))
        return kl_fail(err, KL_BAD_INPUT, "certificate", "The certificate has no valid dates");
    item->created = item->updated = kl_clock_unix();
    memcpy(item->version, c->version, sizeof item->version);
    r->secret.item = *item;
    r->secret.item.content_type = c->policy->pem ? KL_CERT_POLICY_PEM : KL_CERT_POLICY_PKCS12;
    item->about = kl_buf_text(&r->about);
    return KL_OK;
}

static enum kl_code seal_row(const struct kl_certificate_version *c, const struct kl_vault_key *key,
                             enum kl_kind kind, const void *bytes, size_t n, struct kl_buf *out,
                             struct kl_secret_row *row, struct kl_err *err)
{
    char folded[KL_ROW_NAME];
    kl_model_fold(c->name, folded, sizeof folded);
    const struct kl_sealed_place place = {c->v->id, kl_kind_row(kind)->noun, folded, c->version};
    enum kl_code code = kl_sealed_put(kl_vault_key_cipher(key), &place, bytes, n, out, err);
    row->sealed = (struct kl_store_bytes){kl_buf_text(out), out->len};
    return code;
}

static enum kl_code fill_rows(const struct kl_certificate_version *c,
                              const struct kl_vault_key *key, struct rows *r, struct kl_err *err)
{
    enum kl_code code = put_about(&r->about, c->leaf, c->policy->pem, err);
    if (code == KL_OK)
        code = fill_item(c, r, err);
    if (code == KL_OK)
        code = kl_x509_write(c->policy->exportable ? c->private_key : NULL, c->leaf, c->chain,
                             c->policy->pem, &r->value, err);
    if (code == KL_OK)
        code = seal_row(c, key, KL_KIND_SECRET, kl_secret_bytes(r->value), kl_secret_len(r->value),
                        &r->sealed_secret, &r->secret, err);
    return code == KL_OK
               ? seal_row(c, key, KL_KIND_CERTIFICATE, "", 0, &r->sealed_none, &r->certificate, err)
               : code;
}

/* --- the commit --- */

static enum kl_code write_parts(const struct kl_certificate_version *c,
                                const struct kl_vault_key *key, struct kl_store_session *t,
                                int64_t object, struct kl_err *err)
{
    struct kl_part_id id = {c->v, object, KL_PART_POLICY, c->name};
    enum kl_code code = kl_part_write_json(t, key, &id, c->policy->json, err);
    if (code != KL_OK || c->op == NULL)
        return code;
    if (json_object_set_new(c->op, "status", json_string("completed")) != 0)
        return kl_fail(err, KL_NO_MEMORY, "json", "no memory for an operation");
    id.part = KL_PART_PENDING;
    code = kl_part_write_json(t, key, &id, c->op, err);
    id.part = KL_PART_KEY;
    return code == KL_OK ? kl_part_delete(t, &id, NULL, err) : code;
}

static enum kl_code write_all(const struct kl_certificate_version *c,
                              const struct kl_vault_key *key, const struct kl_protector *p,
                              struct rows *r, struct kl_object_row *ret_object, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    bool is_free = false;
    struct kl_vault_secret_birth birth = {.m = c->m,
                                          .v = c->v,
                                          .name = c->name,
                                          .kind = KL_KIND_CERTIFICATE,
                                          .key = key,
                                          .rows = &r->certificate,
                                          .count = 1};
    enum kl_code code = kl_store_begin(c->m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_vault_must_be_active(t, c->v->id, err);
    if (code == KL_OK)
        code = kl_vault_secret_place(&birth, t, p, &is_free, err);
    *ret_object = birth.object;
    if (code == KL_OK)
        code = write_parts(c, key, t, birth.object.id, err);
    birth.kind = KL_KIND_SECRET;
    birth.managed = true;
    birth.rows = &r->secret;
    if (code == KL_OK)
        code = kl_vault_secret_place(&birth, t, p, &is_free, err);
    return code == KL_OK ? kl_model_commit(c->m, t, err) : code;
}

/* The key knows the dates of its certificate before anybody can see that. */
static enum kl_code date_key(const struct kl_certificate_version *c,
                             const struct kl_secret_item_row *item, struct kl_err *err)
{
    KL_AUTO(key_version) changed = NULL;
    bool enabled = item->enabled != 0;
    const struct kl_key_patch patch = {
        .enabled = &enabled, .nbf = &item->nbf, .exp = &item->exp, .managed = true};
    return kl_key_update(c->m, c->v, c->name, c->key->version, &patch, &changed, err);
}

enum kl_code kl_certificate_complete(const struct kl_certificate_version *c,
                                     struct kl_vault_secret *ret, struct kl_err *err)
{
    KL_AUTO(vault_key) key = NULL;
    KL_AUTO_PROTECTOR p = {NULL};
    struct kl_object_row object = {0};
    struct rows r = {.about = KL_BUF_INIT(ABOUT_MAX),
                     .sealed_secret = KL_BUF_INIT(KL_SECRET_VALUE_MAX + KL_SEALED_OVERHEAD + 1),
                     .sealed_none = KL_BUF_INIT(KL_SEALED_OVERHEAD + 1)};
    enum kl_code code = kl_vault_key_for_sealing(c->m, c->v, &key, err);
    if (code == KL_OK)
        code = fill_rows(c, key, &r, err);
    if (code == KL_OK)
        code = date_key(c, &r.certificate.item, err);
    if (code == KL_OK)
        code = kl_protect_open(c->m, c->v->token_name, &p, err);
    if (code == KL_OK)
        code = write_all(c, key, &p, &r, &object, err);
    if (code == KL_OK)
        code = kl_vault_secret_copy(&object, &r.certificate.item, ret, err);
    rows_done(&r);
    return code;
}
