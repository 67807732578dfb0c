/* New keys and new versions: kl_key_create, kl_model_system_key. */
#include "keyvault/model/birth.h"

#include "base/clock.h"
#include "keyvault/model/home.h"
#include "keyvault/model/key.h"
#include "keyvault/model/softdelete.h"

#include <string.h>

#define RSA_OPS                                                                                    \
    (KL_OP_ENCRYPT | KL_OP_DECRYPT | KL_OP_SIGN | KL_OP_VERIFY | KL_OP_WRAP | KL_OP_UNWRAP)
#define EC_OPS (KL_OP_SIGN | KL_OP_VERIFY)

static unsigned ops_of_type(enum kl_key_type type)
{
    return type == KL_KEY_RSA ? RSA_OPS : EC_OPS;
}

enum kl_code kl_key_ops_fit(enum kl_key_type type, unsigned ops, struct kl_err *err)
{
    /* a key to import others under does nothing else */
    if (ops == KL_OP_IMPORT && type == KL_KEY_RSA)
        return KL_OK;
    if ((ops & ~ops_of_type(type)) != 0)
        return kl_fail(err, KL_BAD_INPUT, "key_ops", "key_ops do not fit the type of the key");
    return KL_OK;
}

const char *kl_tags_normal(const char *tags_json)
{
    return tags_json == NULL || strcmp(tags_json, "{}") == 0 ? NULL : tags_json;
}

void kl_birth_fill(const struct kl_key_create *how, const struct kl_key_spec *spec,
                   const char *token_name, struct kl_version_row *row)
{
    *row = (struct kl_version_row){.type = spec->type,
                                   .bits = spec->bits,
                                   .curve = spec->curve,
                                   .hsm = how->hsm,
                                   .ops = how->ops != 0 ? how->ops : ops_of_type(spec->type),
                                   .enabled = how->attrs.enabled,
                                   .has_nbf = how->attrs.has_nbf,
                                   .nbf = how->attrs.nbf,
                                   .has_exp = how->attrs.has_exp,
                                   .exp = how->attrs.exp,
                                   .profile = spec->profile,
                                   .tags = kl_tags_normal(how->tags_json)};
    row->created = row->updated = kl_clock_unix();
    (void)snprintf(row->token, sizeof row->token, "%s", token_name);
    kl_birth_ids(row, true);
}

static enum kl_code generate(struct kl_birth *b, const struct kl_key_spec *spec,
                             struct kl_secret **ret_spki, struct kl_err *err)
{
    struct kl_version_row *row = &b->rows[0];
    struct kl_token_request req = {.call = KL_CALL_GENERATE, .spec = *spec};
    memcpy(req.key.id, row->token_key, sizeof req.key.id);
    b->touched = 1;
    KL_AUTO(secret) spki = NULL;
    enum kl_code code = kl_token_call(b->token, &req, &spki, NULL, err);
    if (code != KL_OK)
        return code;
    row->spki = (struct kl_store_bytes){kl_secret_bytes(spki), kl_secret_len(spki)};
    kl_spki_hash(row->spki.bytes, row->spki.len, row->spki_hash);
    *ret_spki = kl_take(spki);
    return KL_OK;
}

static enum kl_code make(struct kl_birth *b, const struct kl_key_spec *spec,
                         struct kl_key_version **ret, struct kl_err *err)
{
    KL_AUTO(secret) spki = NULL;
    enum kl_code code = kl_birth_begin(b, err);
    if (code != KL_OK)
        return code;
    code = generate(b, spec, &spki, err);
    if (code != KL_OK) {
        kl_birth_undo(b);
        return code;
    }
    return kl_birth_ready(b, ret, err);
}

enum kl_code kl_key_create(struct kl_model *m, struct kl_vault *v, const char *name,
                           const struct kl_key_create *how, struct kl_key_version **ret,
                           struct kl_err *err)
{
    struct kl_token *token;
    struct kl_version_row row;
    struct kl_key_spec spec = how->spec;
    if (!kl_name_valid(name))
        return kl_fail(err, KL_BAD_INPUT, "name", "the key name must match ^[0-9a-zA-Z-]{1,127}$");
    enum kl_code code = kl_key_ops_fit(spec.type, how->ops, err);
    if (code == KL_OK)
        code = kl_vault_token(v, &token, err);
    if (code != KL_OK)
        return code;
    if (spec.profile == 0)
        spec.profile = v->profile;
    /* key_ops may change later, attributes on the token never: the object can do all that its type
     * allows. */
    spec.may_decrypt = spec.type == KL_KEY_RSA;
    spec.may_sign = how->ops != KL_OP_IMPORT;
    spec.may_unwrap = how->ops == KL_OP_IMPORT;
    if (spec.may_unwrap)
        spec.profile = KL_PROFILE_FIXED;
    kl_birth_fill(how, &spec, token->name, &row);
    (void)snprintf(spec.label, sizeof spec.label, "%.24s/%.30s/%.6s", v->name, name, row.version);
    struct kl_birth b = {.m = m,
                         .managed = how->managed,
                         .replaces = how->replaces,
                         .vault_id = v->id,
                         .name = name,
                         .token = token,
                         .vouching = v->token_name,
                         .rows = &row,
                         .count = 1};
    code = make(&b, &spec, ret, err);
    return code == KL_OK ? kl_home_settle(m, v, b.object.id, ret, err) : code;
}

static enum kl_code find_system_key(struct kl_model *m, const char *purpose, const char *version,
                                    struct kl_key_version **ret, struct kl_err *err)
{
    size_t count = 0;
    KL_AUTO(store_session) t = NULL;
    struct kl_object_row object = {0};
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_object_read(t, "", KL_KIND_KEY, purpose, &object, err);
    if (code == KL_OK && object.state != KL_LIFE_ACTIVE)
        code = KL_NOT_FOUND;
    if (code != KL_OK)
        return code;
    if (version == NULL)
        return kl_snapshot_newest(m, t, &object, ret, err);
    code = kl_snapshot_versions(m, t, &object, KL_Q_VERSION_GET,
                                KL_ARGS(KL_ARG_INT(object.id), KL_ARG_TEXT(version)), ret, 1,
                                &count, err);
    if (code == KL_OK && count == 0)
        code = kl_fail(err, KL_NOT_FOUND, "store", "no version %s of %s", version, purpose);
    return code;
}

enum kl_code kl_system_key_version(struct kl_model *m, const char *purpose, const char *version,
                                   struct kl_key_version **ret, struct kl_err *err)
{
    return find_system_key(m, purpose, version, ret, err);
}

/* Then it is copied to all of them, so that the service outlives the loss of one. */
static bool several_homes(const struct kl_model *m, struct kl_token *token)
{
    struct kl_token_status status;
    kl_token_status(token, &status);
    return m->token_count > 1 && status.caps.domain_wrap != 0;
}

static enum kl_code make_system_key(struct kl_model *m, struct kl_token *token, const char *purpose,
                                    const struct kl_key_spec *spec, struct kl_key_version **ret,
                                    struct kl_err *err)
{
    struct kl_version_row row;
    struct kl_key_spec own = *spec;
    /* one purpose, one use */
    struct kl_key_create how = {.attrs = {.enabled = true},
                                .ops = spec->may_decrypt ? KL_OP_WRAP | KL_OP_UNWRAP
                                                         : KL_OP_SIGN | KL_OP_VERIFY};
    own.profile = several_homes(m, token) ? KL_PROFILE_DOMAIN : KL_PROFILE_FIXED;
    own.may_sign = !spec->may_decrypt;
    kl_birth_fill(&how, &own, token->name, &row);
    (void)snprintf(own.label, sizeof own.label, "kluis/%.40s", purpose);
    struct kl_birth b = {
        .m = m, .vault_id = "", .name = purpose, .token = token, .rows = &row, .count = 1};
    return make(&b, &own, ret, err);
}

enum kl_code kl_model_system_key(struct kl_model *m, struct kl_token *token, const char *purpose,
                                 const struct kl_key_spec *spec, struct kl_key_version **ret,
                                 struct kl_err *err)
{
    KL_AUTO(key_version) k = NULL;
    enum kl_code code = find_system_key(m, purpose, NULL, &k, err);
    if (code == KL_NOT_FOUND)
        code = make_system_key(m, token, purpose, spec, &k, err);
    if (code == KL_OK && kl_home_spread_own(m, k) > 0) {
        kl_key_version_unref(kl_take(k));
        code = find_system_key(m, purpose, NULL, &k, err);
    }
    if (code == KL_OK)
        *ret = kl_take(k);
    return code;
}
