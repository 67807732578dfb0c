#include "tests/unit/keyvault/auth_support.h"

#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

struct auth_world auth_world;

EVP_PKEY *auth_key(unsigned which)
{
    static EVP_PKEY *keys[2];
    if (keys[which] == NULL)
        keys[which] = EVP_RSA_gen(2048);
    assert_non_null(keys[which]);
    return keys[which];
}

char *auth_sign_text(EVP_PKEY *key, const char *text)
{
    unsigned char signature[512];
    size_t len = sizeof signature;
    struct kl_buf token = KL_BUF_INIT(1 << 20);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(
        EVP_DigestSign(ctx, signature, &len, (const unsigned char *)text, strlen(text)), 1);
    EVP_MD_CTX_free(ctx);
    kl_buf_printf(&token, "%s.", text);
    kl_b64url_put(&token, signature, len);
    return kl_buf_take(&token);
}

char *auth_sign(EVP_PKEY *key, const char *header, const char *payload)
{
    struct kl_buf text = KL_BUF_INIT(1 << 20);
    kl_b64url_put(&text, header, strlen(header));
    kl_buf_putc(&text, '.');
    kl_b64url_put(&text, payload, strlen(payload));
    char *token = auth_sign_text(key, kl_buf_text(&text));
    kl_buf_done(&text);
    return token;
}

struct kl_key_version *auth_issuer_key(unsigned which, struct kl_token *token)
{
    struct kl_key_version *k = calloc(1, sizeof *k);
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(auth_key(which), &der);
    assert_true(n > 0);
    k->refs = 1;
    k->type = KL_KEY_RSA;
    k->bits = 2048;
    k->token = token;
    kl_spki_hash(der, (size_t)n, k->ref.spki_hash);
    OPENSSL_free(der);
    assert_int_equal(EVP_PKEY_up_ref(auth_key(which)), 1);
    k->public_key = auth_key(which);
    return k;
}

static enum kl_code fail_submit, fail_reply;

void auth_signing_fails(enum kl_code submit, enum kl_code reply)
{
    fail_submit = submit;
    fail_reply = reply;
}

static enum kl_code sign_now(struct kl_token *t, const struct kl_token_request *req,
                             kl_token_done *done, void *arg, struct kl_err *err)
{
    (void)t;
    if (fail_submit != KL_OK)
        return kl_fail(err, fail_submit, "submit", "the token is not there");
    assert_int_equal(req->call, KL_CALL_SIGN);
    assert_int_equal(req->alg, KL_ALG_RS256);
    assert_int_equal(req->input_len, 32);
    struct kl_token_reply reply = {.code = fail_reply};
    unsigned char signature[256];
    size_t len = sizeof signature;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(auth_key(0), NULL);
    assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING), 1);
    assert_int_equal(EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()), 1);
    assert_int_equal(EVP_PKEY_sign(ctx, signature, &len, req->input, req->input_len), 1);
    EVP_PKEY_CTX_free(ctx);
    if (fail_reply == KL_OK) {
        reply.output = kl_secret_new(len);
        assert_int_equal(kl_secret_append(reply.output, signature, len), KL_OK);
    }
    done(arg, &reply);
    kl_secret_free(reply.output);
    return KL_OK;
}

struct kl_token *auth_signing_token(void)
{
    static const struct kl_token_ops ops = {.submit = sign_now};
    static struct kl_token token = {.ops = &ops, .name = "signing"};
    return &token;
}

struct kl_authenticator *auth_authenticator(void)
{
    struct kl_key_version *key = auth_issuer_key(0, auth_signing_token());
    struct kl_authenticator *a = NULL;
    struct kl_authenticator_config config = {.issuer_key = key,
                                             .origin = "https://localhost:8443",
                                             .tenant = AUTH_TENANT,
                                             .token_lifetime_s = 3600};
    assert_int_equal(kl_authenticator_new(&config, &a, NULL), KL_OK);
    kl_key_version_unref(key);
    return a;
}

/* --- the stand-in model --- */

static void add_principal(const char *name, char digit, unsigned roles)
{
    struct kl_principal *p = &auth_world.principals[auth_world.principal_count++];
    *p = (struct kl_principal){.roles = roles, .kind = KL_PRINCIPAL_APPLICATION};
    (void)snprintf(p->name, sizeof p->name, "%s", name);
    (void)snprintf(p->object_id, sizeof p->object_id, "%s", AUTH_OID);
    (void)snprintf(p->client_id, sizeof p->client_id, "%s", AUTH_APP);
    p->object_id[KL_UUID_LEN - 1] = p->client_id[KL_UUID_LEN - 1] = digit;
}

static struct kl_vault *add_vault(const char *name)
{
    struct kl_vault *v = &auth_world.vaults[auth_world.vault_count++];
    *v = (struct kl_vault){.refs = 1000};
    (void)snprintf(v->name, sizeof v->name, "%s", name);
    return v;
}

static void add_origin(struct kl_vault *v, const char *host)
{
    struct kl_origin *o = &v->origins[v->origin_count++];
    (void)snprintf(o->host, sizeof o->host, "%s", host);
    o->port = 8443;
}

void auth_world_reset(void)
{
    auth_world = (struct auth_world){.principal_count = 0};
    add_principal("a", 'a', KL_ROLE_ADMINISTRATOR);
    add_principal("b", 'b', KL_ROLE_AUDITOR);
    add_principal("c", 'c', 0);
    struct kl_vault *demo = add_vault("demo");
    add_origin(demo, "demo.vault.localhost");
    add_origin(demo, "localhost");
    add_origin(add_vault("safe"), "127.0.0.1");
}

struct kl_principal *auth_principal(const char *name)
{
    for (size_t i = 0; i < auth_world.principal_count; i++)
        if (strcmp(auth_world.principals[i].name, name) == 0)
            return &auth_world.principals[i];
    return NULL;
}

enum kl_code kl_principal_find(struct kl_model *m, const char *any, struct kl_principal *ret,
                               struct kl_err *err)
{
    (void)m;
    for (size_t i = 0; i < auth_world.principal_count; i++) {
        const struct kl_principal *p = &auth_world.principals[i];
        if (strcmp(p->name, any) == 0 || strcmp(p->object_id, any) == 0 ||
            strcmp(p->client_id, any) == 0) {
            *ret = *p;
            return KL_OK;
        }
    }
    return kl_fail(err, KL_NOT_FOUND, "find", "no such principal");
}

uint64_t kl_principal_generation(struct kl_model *m)
{
    (void)m;
    return auth_world.generation;
}

enum kl_code kl_credential_check(struct kl_model *m, const char *object_id,
                                 struct kl_secret *secret, int64_t now)
{
    (void)m;
    (void)now;
    for (size_t i = 0; object_id != NULL && i < auth_world.principal_count; i++)
        if (strcmp(auth_world.principals[i].object_id, object_id) == 0 &&
            strcmp(auth_world.principals[i].name, (const char *)kl_secret_bytes(secret)) == 0)
            return KL_OK;
    return KL_NOT_FOUND;
}

enum kl_code kl_credential_list(struct kl_model *m, const char *object_id,
                                struct kl_credential **ret, size_t *ret_count, struct kl_err *err)
{
    (void)m;
    (void)err;
    *ret = calloc(1, sizeof **ret);
    *ret_count = 0;
    const struct kl_credential *c = &auth_world.credential;
    if (c->value != NULL && strcmp(c->object_id, object_id) == 0) {
        **ret = *c;
        (*ret)->value = strdup(c->value);
        *ret_count = 1;
    }
    return KL_OK;
}

void kl_credential_list_free(struct kl_credential *list, size_t count)
{
    if (count > 0)
        free(list->value);
    free(list);
}

enum kl_code kl_credential_owner(struct kl_model *m, enum kl_credential_kind kind,
                                 const uint8_t hash[static 32], int64_t now,
                                 struct kl_principal *ret, struct kl_err *err)
{
    const struct kl_credential *c = &auth_world.credential;
    (void)now;
    if (c->value == NULL || c->kind != kind || memcmp(c->hash, hash, sizeof c->hash) != 0)
        return kl_fail(err, KL_NOT_FOUND, "credential", "nobody");
    return kl_principal_find(m, c->object_id, ret, err);
}

enum kl_code kl_vault_list(struct kl_model *m, enum kl_object_state state, struct kl_vault ***ret,
                           size_t *ret_count, struct kl_err *err)
{
    (void)m;
    (void)state;
    (void)err;
    *ret = calloc(auth_world.vault_count + 1, sizeof **ret);
    for (size_t i = 0; i < auth_world.vault_count; i++)
        (*ret)[i] = &auth_world.vaults[i];
    *ret_count = auth_world.vault_count;
    return KL_OK;
}

void kl_vault_list_free(struct kl_vault **list, size_t count)
{
    (void)count;
    free(list);
}
