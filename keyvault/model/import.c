/* Keys that come from outside: attached where they are, or imported onto the token. */
#include "keyvault/model/birth.h"
#include "keyvault/model/home.h"
#include "keyvault/model/key.h"

#include <openssl/core_names.h>
#include <openssl/x509.h>
#include <string.h>

#define CKM_RSA_AES_KEY_WRAP                                                                       \
    0x1054UL /* PKCS#11 3.0; what a token says that unwrapped it inside                            \
              */

KL_AUTO_DEFINE(public_key, EVP_PKEY, EVP_PKEY_free);

/* Type, size, curve and fingerprint as the public key has them. */
static enum kl_code take_public(struct kl_version_row *row, const uint8_t *spki, size_t n,
                                struct kl_err *err)
{
    static const struct {
        int bits;
        enum kl_curve curve;
    } curves[] = {{256, KL_CURVE_P256}, {384, KL_CURVE_P384}, {521, KL_CURVE_P521}};
    const unsigned char *at = spki;
    KL_AUTO(public_key) key = d2i_PUBKEY(NULL, &at, (long)n);
    if (key == NULL || at != spki + n)
        return kl_fail_ossl(err, "d2i_PUBKEY", "the token's public key cannot be read");
    row->type = EVP_PKEY_is_a(key, "EC") ? KL_KEY_EC : KL_KEY_RSA;
    row->bits = row->type == KL_KEY_RSA ? EVP_PKEY_get_bits(key) : 0;
    row->curve = KL_CURVE_NONE;
    for (size_t i = 0; i < KL_COUNT(curves) && row->type == KL_KEY_EC; i++)
        if (EVP_PKEY_get_bits(key) == curves[i].bits)
            row->curve = curves[i].curve;
    row->spki = (struct kl_store_bytes){spki, n};
    kl_spki_hash(spki, n, row->spki_hash);
    return KL_OK;
}

static enum kl_code check_name(const char *name, struct kl_err *err)
{
    return kl_name_valid(name) ? KL_OK
                               : kl_fail(err, KL_BAD_INPUT, "name",
                                         "the key name must match ^[0-9a-zA-Z-]{1,127}$");
}

/* One private key under two names would be two lives of one thing: deleted here, it works there. */
static enum kl_code must_be_new(struct kl_model *m, const struct kl_version_row *row, bool own_id,
                                struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_token_key_row there;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code != KL_OK)
        return code;
    code = kl_store_one(t, KL_Q_TOKEN_KEY_BY_HASH,
                        KL_ARGS(KL_ARG_BYTES(row->spki_hash, sizeof row->spki_hash)), &there, NULL);
    if (code == KL_NOT_FOUND && !own_id) /* an id of ours stands in the row that is being made */
        code = kl_store_one(
            t, KL_Q_TOKEN_KEY_BY_ID,
            KL_ARGS(KL_ARG_TEXT(row->token), KL_ARG_BYTES(row->token_key, sizeof row->token_key)),
            &there, NULL);
    if (code == KL_NOT_FOUND)
        return KL_OK;
    return code == KL_OK ? kl_fail(err, KL_CONFLICT, "key",
                                   "this private key is served already, as version %s on token %s",
                                   there.version, there.token)
                         : kl_fail(err, code, "store", "cannot look for the key in the database");
}

/* --- attach --- */

struct found {
    struct kl_token *token;
    struct kl_secret *answer;
};

/* The URI says which token: each home of the vault is asked, and only one may know the key. */
static enum kl_code ask_homes(const struct kl_vault *v, const char *uri, struct found *ret,
                              struct kl_err *err)
{
    enum kl_code fault = KL_OK;
    const struct kl_token_request req = {
        .call = KL_CALL_ATTACH, .input = uri, .input_len = strlen(uri)};
    (void)kl_fail(err, KL_NOT_FOUND, "uri", "no token of vault %s has the key", v->name);
    for (size_t i = 0; i < v->home_count; i++) {
        KL_AUTO(secret) answer = NULL;
        struct kl_err e = {.code = KL_OK};
        if (v->homes[i].token == NULL)
            continue;
        enum kl_code code = kl_token_call(v->homes[i].token, &req, &answer, NULL, &e);
        if (code == KL_OK && ret->token != NULL)
            return kl_fail(err, KL_BAD_INPUT, "uri",
                           "tokens %s and %s both have the key: let the URI say token=",
                           ret->token->name, v->homes[i].token_name);
        if (code == KL_OK)
            *ret = (struct found){v->homes[i].token, kl_take(answer)};
        else if (code != KL_NOT_FOUND && fault == KL_OK) {
            fault = code;
            *err = e;
        }
    }
    return ret->token != NULL ? KL_OK : fault != KL_OK ? fault : KL_NOT_FOUND;
}

static unsigned ops_for(const struct kl_token_attached *a, int64_t type)
{
    unsigned cipher = type == KL_KEY_RSA && a->may_decrypt != 0
                          ? KL_OP_ENCRYPT | KL_OP_DECRYPT | KL_OP_WRAP | KL_OP_UNWRAP
                          : 0;
    return cipher | (a->may_sign != 0 ? KL_OP_SIGN | KL_OP_VERIFY : 0);
}

static enum kl_code fill_attached(const struct kl_key_attach *how, const struct found *f,
                                  struct kl_version_row *row, struct kl_err *err)
{
    const struct kl_key_create as = {.attrs = how->attrs, .tags_json = how->tags_json, .hsm = true};
    const struct kl_key_spec spec = {.profile = KL_PROFILE_FIXED};
    struct kl_token_attached says;
    size_t n = kl_secret_len(f->answer);
    if (n <= sizeof says)
        return kl_fail(err, KL_INTERNAL, "KL_CALL_ATTACH", "a short answer of token %s",
                       f->token->name);
    memcpy(&says, kl_secret_bytes(f->answer), sizeof says);
    kl_birth_fill(&as, &spec, f->token->name, row);
    memcpy(row->token_key, says.id, sizeof row->token_key);
    row->origin = KL_ORIGIN_ATTACHED;
    row->keep = !how->destroy_on_purge;
    enum kl_code code =
        take_public(row, kl_secret_bytes(f->answer) + sizeof says, n - sizeof says, err);
    if (code != KL_OK)
        return code;
    unsigned can = ops_for(&says, row->type);
    if ((how->ops & ~can) != 0)
        return kl_fail(err, KL_BAD_INPUT, "key_ops",
                       "the key's attributes on the token do not allow all of key_ops");
    row->ops = how->ops != 0 ? how->ops : can;
    return KL_OK;
}

enum kl_code kl_key_attach(struct kl_model *m, struct kl_vault *v, const char *name,
                           const struct kl_key_attach *how, struct kl_key_version **ret,
                           struct kl_err *err)
{
    struct found f = {NULL, NULL};
    struct kl_version_row row;
    enum kl_code code = check_name(name, err);
    if (code == KL_OK)
        code = ask_homes(v, how->uri, &f, err);
    if (code == KL_OK)
        code = fill_attached(how, &f, &row, err);
    if (code == KL_OK)
        code = must_be_new(m, &row, false, err);
    if (code == KL_OK) {
        struct kl_birth b = {.m = m,
                             .vault_id = v->id,
                             .name = name,
                             .token = f.token,
                             .vouching = v->token_name,
                             .rows = &row,
                             .count = 1};
        code = kl_birth_begin(&b, err);
        if (code == KL_OK)
            code = kl_birth_ready(&b, ret, err);
    }
    kl_secret_free(f.answer);
    return code;
}

/* --- import --- */

static enum kl_code bring_in(struct kl_birth *b, const struct kl_key_import *how,
                             const struct kl_key_spec *spec, struct kl_secret **ret_spki,
                             struct kl_err *err)
{
    struct kl_version_row *row = &b->rows[0];
    struct kl_token_request req = {.call = KL_CALL_IMPORT,
                                   .spec = *spec,
                                   .input = kl_secret_bytes(how->bytes),
                                   .input_len = kl_secret_len(how->bytes)};
    KL_AUTO(secret) spki = NULL;
    uint64_t mechanism = 0;
    memcpy(req.key.id, row->token_key, sizeof req.key.id);
    if (how->wrapping != NULL)
        req.wrapping = how->wrapping->ref;
    b->touched = 1;
    enum kl_code code = kl_token_call(b->token, &req, &spki, &mechanism, err);
    if (code == KL_OK)
        code = take_public(row, kl_secret_bytes(spki), kl_secret_len(spki), err);
    if (code != KL_OK)
        return code;
    row->origin = mechanism == CKM_RSA_AES_KEY_WRAP ? KL_ORIGIN_BYOK : KL_ORIGIN_SOFTWARE;
    *ret_spki = kl_take(spki);
    return KL_OK;
}

static enum kl_code finish(struct kl_birth *b, const struct kl_key_import *how,
                           const struct kl_key_spec *spec, struct kl_key_version **ret,
                           struct kl_err *err)
{
    KL_AUTO(secret) spki = NULL;
    enum kl_code code = kl_birth_begin(b, err);
    if (code != KL_OK)
        return code;
    code = bring_in(b, how, spec, &spki, err);
    /* One behind a certificate may be another's too: it is another object on the token. */
    if (code == KL_OK && !b->managed)
        code = must_be_new(b->m, &b->rows[0], true, err);
    if (code != KL_OK) {
        kl_birth_undo(b);
        return code;
    }
    return kl_birth_ready(b, ret, err);
}

enum kl_code kl_key_import(struct kl_model *m, struct kl_vault *v, const char *name,
                           const struct kl_key_import *how, struct kl_key_version **ret,
                           struct kl_err *err)
{
    struct kl_token *token = how->wrapping != NULL ? how->wrapping->token : NULL;
    struct kl_key_spec spec = how->as.spec;
    struct kl_version_row row;
    enum kl_code code = check_name(name, err);
    if (code == KL_OK)
        code = kl_key_ops_fit(spec.type, how->as.ops, err);
    if (code == KL_OK && token == NULL)
        code = kl_vault_token(v, &token, err);
    if (code != KL_OK)
        return code;
    if (spec.profile == 0)
        spec.profile = v->profile;
    spec.may_decrypt = spec.type == KL_KEY_RSA;
    spec.may_sign = true;
    kl_birth_fill(&how->as, &spec, token->name, &row);
    row.origin = KL_ORIGIN_SOFTWARE;
    (void)snprintf(spec.label, sizeof spec.label, "%.24s/%.30s/%.6s", v->name, name, row.version);
    struct kl_birth b = {.m = m,
                         .managed = how->as.managed,
                         .vault_id = v->id,
                         .name = name,
                         .token = token,
                         .vouching = v->token_name,
                         .rows = &row,
                         .count = 1};
    code = finish(&b, how, &spec, ret, err);
    return code == KL_OK ? kl_home_settle(m, v, b.object.id, ret, err) : code;
}
