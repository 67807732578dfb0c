/* How certificates are made: a key on the token, a request, a certificate. */
#include "keyvault/model/certificate_inside.h"

#include "base/clock.h"
#include "keyvault/model/softdelete.h"

#include <string.h>

struct making {
    struct kl_model *m;
    struct kl_vault *v;
    const char *name;
    const struct kl_certificate_how *how;
    struct kl_cert_policy policy;
    struct kl_key_version *key;
    EVP_PKEY *private_key; /* in this process, for an exportable one */
    json_t *op;
};

static void making_done(struct making *k)
{
    kl_cert_policy_done(&k->policy);
    kl_key_version_unref(k->key);
    EVP_PKEY_free(k->private_key);
    json_decref(k->op);
}

static enum kl_code no_memory(struct kl_err *err)
{
    return kl_fail(err, KL_NO_MEMORY, "json", "no memory for a certificate");
}

/* --- the key --- */

static struct kl_key_create key_like(const struct making *k)
{
    return (struct kl_key_create){
        .spec = {.type = k->policy.type, .bits = k->policy.bits, .curve = k->policy.curve},
        .hsm = k->policy.hsm,
        .managed = true,
        .ops = k->policy.ops,
        .attrs = {.enabled = k->how->attrs.enabled},
        .tags_json = k->how->tags_json};
}

/* A key that was in this process goes onto the token, so that all that is done with it is done
 * there. */
static enum kl_code import_key(struct making *k, struct kl_err *err)
{
    KL_AUTO(secret) pkcs8 = NULL;
    struct kl_key_import how = {.as = key_like(k)};
    enum kl_code code = kl_x509_pkcs8(k->private_key, &pkcs8, err);
    how.as.spec.bits = 0;
    how.as.spec.curve = KL_CURVE_NONE;
    how.bytes = pkcs8;
    return code == KL_OK ? kl_key_import(k->m, k->v, k->name, &how, &k->key, err) : code;
}

/* The key of the newest version, if the policy wants it again and it is such a one. */
static enum kl_code reuse_key(struct making *k, struct kl_err *err)
{
    struct kl_vault_secret newest = {.name = ""};
    if (!k->policy.reuse || k->policy.exportable)
        return KL_OK;
    enum kl_code code = kl_certificate_get(k->m, k->v, k->name, "", &newest, NULL);
    bool there = code == KL_OK && newest.key_version[0] != '\0';
    if (there)
        code = kl_key_find(k->m, k->v, k->name, newest.key_version, &k->key, err);
    kl_vault_secret_done(&newest);
    if (!there)
        return KL_OK;
    if (code == KL_OK && (k->key->type != k->policy.type || k->key->bits != k->policy.bits ||
                          k->key->curve != k->policy.curve)) {
        kl_key_version_unref(k->key);
        k->key = NULL;
    }
    return code;
}

static enum kl_code make_key(struct making *k, struct kl_err *err)
{
    enum kl_code code = reuse_key(k, err);
    if (code != KL_OK || k->key != NULL)
        return code;
    if (!k->policy.exportable) {
        const struct kl_key_create how = key_like(k);
        return kl_key_create(k->m, k->v, k->name, &how, &k->key, err);
    }
    code = kl_x509_new_key(&k->policy, &k->private_key, err);
    return code == KL_OK ? import_key(k, err) : code;
}

/* --- the operation --- */

static enum kl_code make_op(struct making *k, bool reused, struct kl_err *err)
{
    struct kl_buf csr = KL_BUF_INIT(64 * 1024), text = KL_BUF_INIT(96 * 1024);
    char request_id[KL_UUID_LEN + 1], version[KL_VERSION_LEN + 1];
    enum kl_code code = kl_x509_request(k->key, &k->policy, &csr, err);
    kl_x509_put_b64(&text, kl_buf_text(&csr), csr.len);
    kl_uuid_new(request_id);
    for (size_t i = 0, n = 0; request_id[i] != '\0'; i++)
        if (request_id[i] != '-')
            request_id[n++] = request_id[i], request_id[n] = '\0';
    memcpy(version, k->key->version, sizeof version);
    if (reused)
        kl_vault_secret_new_version(version);
    json_t *issuer = json_object_get(k->policy.json, "issuer");
    if (code == KL_OK)
        k->op = json_pack("{s:O,s:s,s:b,s:s,s:s,s:s,s:s,s:b,s:s*,s:s}", "issuer", issuer, "csr",
                          kl_buf_text(&text), "cancellation_requested", 0, "status", "inProgress",
                          "request_id", request_id, "key", k->key->version, "version", version,
                          "enabled", k->how->attrs.enabled ? 1 : 0, "tags", k->how->tags_json,
                          "status_details",
                          k->policy.self ? "The certificate is being created."
                                         : "Pending certificate created. Please Perform Merge to "
                                           "complete the request.");
    kl_buf_done(&csr);
    kl_buf_done(&text);
    return code == KL_OK && k->op == NULL ? no_memory(err) : code;
}

static enum kl_code write_accepted(struct making *k, const struct kl_vault_key *key,
                                   const struct kl_protector *p, struct kl_secret *pkcs8,
                                   struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    bool is_free = false;
    struct kl_vault_secret_birth birth = {
        .m = k->m, .v = k->v, .name = k->name, .kind = KL_KIND_CERTIFICATE, .key = key};
    enum kl_code code = kl_store_begin(k->m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_vault_must_be_active(t, k->v->id, err);
    if (code == KL_OK)
        code = kl_vault_secret_place(&birth, t, p, &is_free, err);
    struct kl_part_id id = {k->v, birth.object.id, KL_PART_POLICY, k->name};
    if (code == KL_OK)
        code = kl_part_write_json(t, key, &id, k->policy.json, err);
    id.part = KL_PART_PENDING;
    if (code == KL_OK)
        code = kl_part_write_json(t, key, &id, k->op, err);
    id.part = KL_PART_KEY;
    if (code == KL_OK && pkcs8 != NULL)
        code = kl_part_write(t, key, &id, kl_secret_bytes(pkcs8), kl_secret_len(pkcs8), err);
    else if (code == KL_OK)
        code = kl_part_delete(t, &id, NULL, err);
    return code == KL_OK ? kl_model_commit(k->m, t, err) : code;
}

/* From here on a crash loses nothing of it. */
static enum kl_code accept(struct making *k, struct kl_err *err)
{
    KL_AUTO(vault_key) key = NULL;
    KL_AUTO(secret) pkcs8 = NULL;
    KL_AUTO_PROTECTOR p = {NULL};
    enum kl_code code = kl_vault_key_for_sealing(k->m, k->v, &key, err);
    if (code == KL_OK)
        code = kl_protect_open(k->m, k->v->token_name, &p, err);
    if (code == KL_OK && k->private_key != NULL)
        code = kl_x509_pkcs8(k->private_key, &pkcs8, err);
    return code == KL_OK ? write_accepted(k, key, &p, pkcs8, err) : code;
}

static const char *text_of(const json_t *op, const char *member)
{
    const char *text = json_string_value(json_object_get(op, member));
    return text != NULL ? text : "";
}

static struct kl_certificate_version version_of(const struct making *k)
{
    struct kl_certificate_version c = {.m = k->m,
                                       .v = k->v,
                                       .name = k->name,
                                       .key = k->key,
                                       .policy = &k->policy,
                                       .private_key = k->private_key,
                                       .enabled = json_is_true(json_object_get(k->op, "enabled")),
                                       .tags_json =
                                           json_string_value(json_object_get(k->op, "tags")),
                                       .op = k->op};
    (void)snprintf(c.version, sizeof c.version, "%s", text_of(k->op, "version"));
    return c;
}

static enum kl_code sign_self(struct making *k, struct kl_err *err)
{
    KL_AUTO(x509) leaf = NULL;
    struct kl_vault_secret made = {.name = ""};
    enum kl_code code = kl_x509_self(k->key, &k->policy, kl_clock_unix(), &leaf, err);
    struct kl_certificate_version c = version_of(k);
    c.leaf = leaf;
    if (code == KL_OK)
        code = kl_certificate_complete(&c, &made, err);
    kl_vault_secret_done(&made);
    /* Somebody else asked for the same operation and was faster. */
    return code == KL_EXISTS ? KL_OK : code;
}

static enum kl_code none_waits(struct making *k, struct kl_err *err)
{
    KL_AUTO(json) op = NULL;
    struct kl_object_row object = {0};
    if (kl_certificate_object(k->m, k->v, k->name, &object, NULL) != KL_OK)
        return KL_OK;
    const struct kl_part_id id = {k->v, object.id, KL_PART_PENDING, k->name};
    enum kl_code code = kl_part_read_json(k->m, &id, &op, err);
    if (code != KL_OK)
        return code == KL_NOT_FOUND ? KL_OK : code;
    if (strcmp(text_of(op, "status"), "inProgress") == 0 &&
        strcasecmp(text_of(json_object_get(op, "issuer"), "name"), KL_SELF) != 0)
        return kl_fail(err, KL_CONFLICT, "certificate",
                       "A new key vault certificate can not be created or imported while a pending "
                       "key vault certificate's status is inProgress.");
    return KL_OK;
}

static enum kl_code create(struct making *k, json_t **ret_op, struct kl_err *err)
{
    enum kl_code code = kl_cert_policy_read(k->how->policy, NULL, false, &k->policy, err);
    if (code == KL_OK)
        code = kl_x509_check(&k->policy, err);
    if (code == KL_OK)
        code = kl_certificate_check_name(k->m, k->v, k->name, err);
    if (code == KL_OK)
        code = none_waits(k, err);
    if (code == KL_OK)
        code = make_key(k, err);
    bool reused = code == KL_OK && k->private_key == NULL && k->policy.reuse;
    if (code == KL_OK)
        code = make_op(k, reused, err);
    if (code == KL_OK)
        code = accept(k, err);
    if (code != KL_OK)
        return code;
    json_t *begun = json_deep_copy(k->op);
    code = k->policy.self ? sign_self(k, err) : KL_OK;
    if (code == KL_OK && begun == NULL)
        code = no_memory(err);
    if (code == KL_OK)
        *ret_op = begun;
    else
        json_decref(begun);
    return code;
}

enum kl_code kl_certificate_create(struct kl_model *m, struct kl_vault *v, const char *name,
                                   const struct kl_certificate_how *how, json_t **ret_op,
                                   struct kl_err *err)
{
    struct making k = {.m = m, .v = v, .name = name, .how = how};
    enum kl_code code = create(&k, ret_op, err);
    making_done(&k);
    return code;
}

/* --- going on with one --- */

static enum kl_code read_private(struct making *k, int64_t object, struct kl_err *err)
{
    KL_AUTO(secret) pkcs8 = NULL;
    const struct kl_part_id id = {k->v, object, KL_PART_KEY, k->name};
    enum kl_code code = kl_part_read(k->m, &id, &pkcs8, err);
    if (code != KL_OK)
        return code == KL_NOT_FOUND ? KL_OK : code;
    const unsigned char *at = kl_secret_bytes(pkcs8);
    k->private_key = d2i_AutoPrivateKey(NULL, &at, (long)kl_secret_len(pkcs8));
    return k->private_key != NULL
               ? KL_OK
               : kl_fail_ossl(err, "d2i_AutoPrivateKey", "a stored key is damaged");
}

/* The operation with its policy, key and, where there is one, private key. */
static enum kl_code resume(struct making *k, struct kl_err *err)
{
    KL_AUTO(json) policy = NULL;
    struct kl_object_row object = {0};
    enum kl_code code = kl_certificate_object(k->m, k->v, k->name, &object, err);
    struct kl_part_id id = {k->v, object.id, KL_PART_PENDING, k->name};
    if (code == KL_OK)
        code = kl_part_read_json(k->m, &id, &k->op, err);
    if (code == KL_NOT_FOUND)
        return kl_fail(err, KL_PENDING_NOT_FOUND, "pending", "Pending certificate not found: %s",
                       k->name);
    if (code != KL_OK || strcmp(text_of(k->op, "status"), "inProgress") != 0)
        return code;
    id.part = KL_PART_POLICY;
    code = kl_part_read_json(k->m, &id, &policy, err);
    if (code == KL_OK)
        code = kl_cert_policy_read(NULL, policy, false, &k->policy, err);
    if (code == KL_OK)
        code = kl_key_find(k->m, k->v, k->name, text_of(k->op, "key"), &k->key, err);
    return code == KL_OK ? read_private(k, object.id, err) : code;
}

enum kl_code kl_certificate_pending(struct kl_model *m, struct kl_vault *v, const char *name,
                                    json_t **ret_op, struct kl_err *err)
{
    struct making k = {.m = m, .v = v, .name = name};
    enum kl_code code = resume(&k, err);
    if (code == KL_OK && k.key != NULL &&
        strcasecmp(text_of(json_object_get(k.op, "issuer"), "name"), KL_SELF) == 0)
        code = sign_self(&k, err);
    if (code == KL_OK)
        *ret_op = kl_take(k.op);
    making_done(&k);
    return code;
}

/* --- merge --- */

static enum kl_code read_chain(const struct kl_certificate_bytes *x5c, size_t count, EVP_PKEY *key,
                               X509 **ret_leaf, STACK_OF(X509) * chain, struct kl_err *err)
{
    for (size_t i = 0; i < count; i++) {
        const unsigned char *at = x5c[i].bytes;
        KL_AUTO(x509) x = d2i_X509(NULL, &at, (long)x5c[i].len);
        if (x == NULL || at != (const unsigned char *)x5c[i].bytes + x5c[i].len)
            return kl_fail(err, KL_BAD_INPUT, "x5c", "x5c has what is no X.509 certificate");
        if (*ret_leaf == NULL && EVP_PKEY_eq(X509_get0_pubkey(x), key) == 1)
            *ret_leaf = kl_take(x);
        else if (sk_X509_push(chain, x) > 0)
            x = NULL;
    }
    return *ret_leaf != NULL
               ? KL_OK
               : kl_fail(err, KL_BAD_INPUT, "x5c",
                         "The public key of the end-entity certificate in the specified X.509 "
                         "certificate content does not match the public part of the specified "
                         "private key. Please check if certificate is valid.");
}

static enum kl_code merge(struct making *k, const struct kl_certificate_bytes *x5c, size_t count,
                          struct kl_vault_secret *ret, struct kl_err *err)
{
    KL_AUTO(x509) leaf = NULL;
    KL_AUTO(x509_stack) chain = sk_X509_new_null();
    enum kl_code code = resume(k, err);
    if (code == KL_OK && (k->key == NULL || k->policy.self))
        code = kl_fail(err, KL_PENDING_NOT_FOUND, "pending", "Pending certificate not found: %s",
                       k->name);
    if (code == KL_OK)
        code = read_chain(x5c, count, k->key->public_key, &leaf, chain, err);
    if (code != KL_OK)
        return code;
    struct kl_certificate_version c = version_of(k);
    c.leaf = leaf;
    c.chain = chain;
    c.enabled = k->how->attrs.enabled;
    if (k->how->tags_json != NULL)
        c.tags_json = k->how->tags_json;
    return kl_certificate_complete(&c, ret, err);
}

enum kl_code kl_certificate_merge(struct kl_model *m, struct kl_vault *v, const char *name,
                                  const struct kl_certificate_bytes *x5c, size_t count,
                                  const struct kl_certificate_how *how, struct kl_vault_secret *ret,
                                  struct kl_err *err)
{
    struct making k = {.m = m, .v = v, .name = name, .how = how};
    if (count > KL_CHAIN_MAX)
        return kl_fail(err, KL_BAD_INPUT, "x5c", "x5c may have at most %d certificates",
                       KL_CHAIN_MAX);
    enum kl_code code = merge(&k, x5c, count, ret, err);
    making_done(&k);
    return code;
}

/* --- import --- */

/* What the bundle is decides; the request may add to that. */
static enum kl_code import_policy(struct making *k, X509 *leaf, bool pem, struct kl_err *err)
{
    KL_AUTO(json) derived = NULL;
    enum kl_code code = kl_x509_policy_of(leaf, pem, &derived, err);
    if (code != KL_OK)
        return code;
    json_t *given = json_object_get(k->how->policy, "key_props");
    const char *kty = json_string_value(json_object_get(given, "kty"));
    json_t *own = json_object_get(derived, "key_props");
    code = kl_cert_policy_read(k->how->policy, derived, true, &k->policy, err);
    if (code != KL_OK)
        return code;
    const char *is = json_string_value(json_object_get(own, "kty"));
    if (kty != NULL && is != NULL && strncasecmp(kty, is, strlen(is)) != 0)
        return kl_fail(err, KL_BAD_INPUT, "policy",
                       "The policy's kty is %.20s, the certificate's key is %s", kty, is);
    return KL_OK;
}

static enum kl_code import(struct making *k, struct kl_secret *bundle, const char *password,
                           struct kl_vault_secret *ret, struct kl_err *err)
{
    KL_AUTO(x509) leaf = NULL;
    KL_AUTO(x509_stack) chain = NULL;
    bool pem = false;
    enum kl_code code = kl_certificate_check_name(k->m, k->v, k->name, err);
    if (code == KL_OK)
        code = none_waits(k, err);
    if (code == KL_OK)
        code = kl_x509_read(kl_secret_bytes(bundle), kl_secret_len(bundle), password,
                            &k->private_key, &leaf, &chain, &pem, err);
    if (code == KL_OK)
        code = import_policy(k, leaf, pem, err);
    if (code == KL_OK)
        code = import_key(k, err);
    if (code != KL_OK)
        return code;
    struct kl_certificate_version c = version_of(k);
    memcpy(c.version, k->key->version, sizeof c.version);
    c.leaf = leaf;
    c.chain = chain;
    c.enabled = k->how->attrs.enabled;
    c.tags_json = k->how->tags_json;
    return kl_certificate_complete(&c, ret, err);
}

enum kl_code kl_certificate_import(struct kl_model *m, struct kl_vault *v, const char *name,
                                   struct kl_secret *bundle, const char *password,
                                   const struct kl_certificate_how *how,
                                   struct kl_vault_secret *ret, struct kl_err *err)
{
    struct making k = {.m = m, .v = v, .name = name, .how = how};
    enum kl_code code = import(&k, bundle, password, ret, err);
    making_done(&k);
    return code;
}
