#include "keyvault/wire.h"

#include "keyvault/alg.h"
#include "keyvault/gate.h"

#include <strings.h>
#include <string.h>

#define ALL_RSA                                                                                    \
    (KL_OP_ENCRYPT | KL_OP_DECRYPT | KL_OP_SIGN | KL_OP_VERIFY | KL_OP_WRAP | KL_OP_UNWRAP)
#define ALL_EC     (KL_OP_SIGN | KL_OP_VERIFY)
#define TIME_LAST  INT64_C(253402300799) /* the end of year 9999 */
#define TIME_FIRST (-TIME_LAST) /* JavaScript SDKs send dates after 2038 as negative numbers */

static const struct {
    const char *kty;
    enum kl_key_type type;
    bool hsm;
} types[] = {
    {"RSA", KL_KEY_RSA, false},
    {"RSA-HSM", KL_KEY_RSA, true},
    {"EC", KL_KEY_EC, false},
    {"EC-HSM", KL_KEY_EC, true},
};

void kl_wire_tags_done(struct kl_wire_tags *t)
{
    kl_buf_done(&t->text);
}

size_t kl_wire_characters(const char *utf8)
{
    size_t n = 0;
    for (; *utf8 != 0; utf8++)
        n += ((unsigned char)*utf8 & 0xc0) != 0x80;
    return n;
}

enum kl_code kl_wire_parse_tags(const json_t *body, size_t text_max, struct kl_wire_tags *tags,
                                const char **ret_json, struct kl_err *err)
{
    json_t *object = json_object_get(body, "tags");
    if (object == NULL || json_is_null(object))
        return KL_OK;
    if (!json_is_object(object) || json_object_size(object) > KL_TAGS_MAX)
        return kl_fail(err, KL_BAD_INPUT, "tags", "tags must be an object of at most %d members",
                       KL_TAGS_MAX);
    tags->text = KL_BUF_INIT(64 * 1024);
    kl_buf_putc(&tags->text, '{');
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        if (!json_is_string(value) || kl_wire_characters(name) > text_max ||
            kl_wire_characters(json_string_value(value)) > text_max)
            return kl_fail(err, KL_BAD_INPUT, "tags",
                           "A tag's name and value must be strings of at most %zu characters",
                           text_max);
        if (tags->text.len > 1)
            kl_buf_putc(&tags->text, ',');
        kl_buf_put_json(&tags->text, name, strlen(name));
        kl_buf_putc(&tags->text, ':');
        kl_buf_put_json(&tags->text, json_string_value(value), json_string_length(value));
    }
    kl_buf_putc(&tags->text, '}');
    if (kl_buf_failed(&tags->text))
        return kl_fail(err, KL_NO_MEMORY, "tags", "No memory for the tags");
    *ret_json = kl_buf_text(&tags->text);
    return KL_OK;
}

static unsigned op_of(const char *word, unsigned allowed)
{
    for (unsigned bit = 1; bit <= KL_OP_IMPORT; bit <<= 1)
        if ((allowed & bit) != 0 && strcasecmp(word, kl_gate_word((enum kl_key_op)bit)) == 0)
            return bit;
    return 0;
}

static enum kl_code take_op(const json_t *item, enum kl_key_type type, unsigned *found,
                            struct kl_err *err)
{
    bool ec = type == KL_KEY_EC;
    const char *word = json_string_value(item);
    unsigned bit = word != NULL ? op_of(word, ec ? ALL_EC : ALL_RSA | KL_OP_IMPORT) : 0;
    if (bit == 0)
        return kl_fail(err, KL_BAD_INPUT, "key_ops",
                       "Key operation '%.40s' is not supported for a key of type '%s'. "
                       "Supported: %s",
                       word != NULL ? word : "", ec ? "EC" : "RSA",
                       ec ? "sign, verify" : "encrypt, decrypt, sign, verify, wrapKey, unwrapKey");
    *found |= bit;
    return KL_OK;
}

/* *ret_present is left alone when the member is absent, null or empty: there are clients that send
 * an empty list and mean nothing by it (azkeys 0.3.0, changelog). */
static enum kl_code parse_ops(const json_t *body, enum kl_key_type type, unsigned *ret,
                              bool *ret_present, struct kl_err *err)
{
    const json_t *list = json_object_get(body, "key_ops");
    if (list == NULL || json_is_null(list))
        return KL_OK;
    if (!json_is_array(list))
        return kl_fail(err, KL_BAD_INPUT, "key_ops", "key_ops must be an array of strings");
    unsigned found = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        enum kl_code code = take_op(json_array_get(list, i), type, &found, err);
        if (code != KL_OK)
            return code;
    }
    if ((found & KL_OP_IMPORT) != 0 && found != KL_OP_IMPORT)
        return kl_fail(err, KL_BAD_INPUT, "key_ops",
                       "Key operation 'import' cannot be combined with others");
    *ret = found;
    *ret_present = found != 0;
    return KL_OK;
}

/* Each of nbf and exp: present only when the member is there. */
static enum kl_code parse_time(const json_t *attributes, const char *name, int64_t *ret,
                               bool *ret_present, struct kl_err *err)
{
    const json_t *value = json_object_get(attributes, name);
    if (value == NULL || json_is_null(value))
        return KL_OK;
    *ret_present = true;
    return kl_json_int(attributes, name, TIME_FIRST, TIME_LAST, ret, err);
}

enum kl_code kl_wire_parse_attributes(const json_t *body, struct kl_key_attrs *ret,
                                      bool *ret_has_enabled, struct kl_err *err)
{
    const json_t *a = json_object_get(body, "attributes");
    if (a == NULL || json_is_null(a))
        return KL_OK;
    if (!json_is_object(a))
        return kl_fail(err, KL_BAD_INPUT, "attributes", "attributes must be an object");
    bool exportable = false;
    enum kl_code code = kl_json_bool(a, "exportable", &exportable, err);
    if (code == KL_OK && exportable)
        code = kl_fail(err, KL_BAD_INPUT, "attributes",
                       "An object cannot be exportable: keys never leave their token");
    if (code == KL_OK)
        code = kl_json_bool(a, "enabled", &ret->enabled, err);
    *ret_has_enabled = json_is_boolean(json_object_get(a, "enabled"));
    if (code == KL_OK)
        code = parse_time(a, "nbf", &ret->nbf, &ret->has_nbf, err);
    if (code == KL_OK)
        code = parse_time(a, "exp", &ret->exp, &ret->has_exp, err);
    return code;
}

static enum kl_code parse_rsa(const json_t *body, struct kl_key_spec *spec, struct kl_err *err)
{
    int64_t bits = 2048, exponent = 65537;
    enum kl_code code = kl_json_int(body, "key_size", INT32_MIN, INT32_MAX, &bits, err);
    if (code == KL_OK)
        code = kl_json_int(body, "public_exponent", 0, INT64_MAX, &exponent, err);
    if (code != KL_OK)
        return code;
    if (bits != 2048 && bits != 3072 && bits != 4096)
        return kl_fail(err, KL_BAD_INPUT, "key_size",
                       "key_size %lld is not valid for RSA: 2048, 3072 or 4096", (long long)bits);
    if (exponent != 65537 && exponent != 0)
        return kl_fail(err, KL_BAD_INPUT, "public_exponent", "public_exponent must be 65537");
    spec->bits = (uint32_t)bits;
    return KL_OK;
}

static enum kl_code parse_ec(const json_t *body, struct kl_key_spec *spec, struct kl_err *err)
{
    const char *crv = "P-256";
    enum kl_code code = kl_json_string(body, "crv", &crv, err);
    if (code != KL_OK)
        return code;
    spec->curve = kl_curve_find(crv);
    if (spec->curve == KL_CURVE_NONE)
        return kl_fail(err, KL_BAD_INPUT, "crv",
                       "Curve '%.20s' is not supported: P-256, P-384 or "
                       "P-521",
                       crv);
    return KL_OK;
}

static enum kl_code parse_type(const json_t *body, struct kl_key_create *how, struct kl_err *err)
{
    const char *kty = NULL;
    enum kl_code code = kl_wire_text(body, "kty", &kty, err);
    if (code != KL_OK)
        return code;
    for (size_t i = 0; i < KL_COUNT(types); i++)
        if (strcmp(types[i].kty, kty) == 0) {
            how->spec.type = types[i].type;
            how->hsm = types[i].hsm;
            return types[i].type == KL_KEY_EC ? parse_ec(body, &how->spec, err)
                                              : parse_rsa(body, &how->spec, err);
        }
    return kl_fail(err, KL_BAD_INPUT, "kty",
                   "kty '%.20s' is not supported: RSA, RSA-HSM, EC or EC-HSM", kty);
}

static enum kl_code parse_profile(const json_t *body, struct kl_key_spec *spec, struct kl_err *err)
{
    const json_t *extras = json_object_get(body, "kluis");
    const char *word = "";
    if (extras == NULL || json_is_null(extras))
        return KL_OK;
    if (!json_is_object(extras))
        return kl_fail(err, KL_BAD_INPUT, "kluis", "kluis must be an object");
    enum kl_code code = kl_json_string(extras, "profile", &word, err);
    if (code != KL_OK)
        return code;
    if (strcmp(word, "fixed") == 0)
        spec->profile = KL_PROFILE_FIXED;
    else if (word[0] != 0)
        return kl_fail(err, KL_BAD_INPUT, "kluis",
                       "A key may ask for profile 'fixed' only; the other one is the vault's");
    return KL_OK;
}

enum kl_code kl_wire_parse_create(const json_t *body, struct kl_key_create *how,
                                  struct kl_wire_tags *tags, struct kl_err *err)
{
    bool present = false;
    *how = (struct kl_key_create){.attrs = {.enabled = true}};
    enum kl_code code = parse_type(body, how, err);
    if (code == KL_OK)
        code = parse_ops(body, how->spec.type, &how->ops, &present, err);
    if (code == KL_OK)
        code = kl_wire_parse_attributes(body, &how->attrs, &present, err);
    if (code == KL_OK)
        code = kl_wire_parse_tags(body, KL_TAG_TEXT_MAX, tags, &how->tags_json, err);
    if (code == KL_OK)
        code = parse_profile(body, &how->spec, err);
    const json_t *release = json_object_get(body, "release_policy");
    if (code == KL_OK && release != NULL && !json_is_null(release))
        code = kl_fail(err, KL_BAD_INPUT, "release_policy",
                       "release_policy is for exportable keys; a key never leaves its token");
    if (code != KL_OK)
        return code;
    /* key_ops may be widened later by an update, as Key Vault allows: the token gets the flags of
     * the type, the service enforces the operations. */
    how->spec.may_decrypt = how->spec.type == KL_KEY_RSA;
    how->spec.may_sign = true;
    return KL_OK;
}

static enum kl_code parse_import_type(const json_t *jwk, struct kl_key_create *how,
                                      struct kl_err *err)
{
    const char *kty = NULL;
    enum kl_code code = kl_wire_text(jwk, "kty", &kty, err);
    if (code != KL_OK)
        return code;
    for (size_t i = 0; i < KL_COUNT(types); i++)
        if (strcmp(types[i].kty, kty) == 0) {
            how->spec.type = types[i].type;
            how->hsm = types[i].hsm;
            return KL_OK;
        }
    return kl_fail(err, KL_BAD_INPUT, "kty",
                   "kty '%.20s' is not supported: RSA, RSA-HSM, EC or EC-HSM", kty);
}

enum kl_code kl_wire_parse_import(const json_t *body, struct kl_key_create *how,
                                  struct kl_wire_tags *tags, const json_t **ret_jwk,
                                  struct kl_err *err)
{
    const json_t *jwk = json_object_get(body, "key");
    bool present = false, hsm = false;
    *how = (struct kl_key_create){.attrs = {.enabled = true}};
    if (!json_is_object(jwk))
        return kl_fail(err, KL_BAD_INPUT, "key", "Property key is required: a JSON Web Key");
    enum kl_code code = parse_import_type(jwk, how, err);
    if (code == KL_OK)
        code = parse_ops(jwk, how->spec.type, &how->ops, &present, err);
    if (code == KL_OK && how->ops == KL_OP_IMPORT)
        code = kl_fail(err, KL_BAD_INPUT, "key_ops",
                       "A key to import others under is made on the token, not imported");
    if (code == KL_OK)
        code = kl_json_bool(body, "Hsm", &hsm, err);
    if (code == KL_OK)
        code = kl_wire_parse_attributes(body, &how->attrs, &present, err);
    if (code == KL_OK)
        code = kl_wire_parse_tags(body, KL_TAG_TEXT_MAX, tags, &how->tags_json, err);
    if (code == KL_OK)
        code = parse_profile(body, &how->spec, err);
    how->hsm = how->hsm || hsm;
    *ret_jwk = jwk;
    return code;
}

enum kl_code kl_wire_parse_patch(const json_t *body, enum kl_key_type type,
                                 struct kl_wire_patch *ret, struct kl_err *err)
{
    struct kl_key_attrs attrs = {.enabled = true};
    bool has_enabled = false, has_ops = false;
    *ret = (struct kl_wire_patch){.enabled = true};
    enum kl_code code = parse_ops(body, type, &ret->ops, &has_ops, err);
    if (code == KL_OK)
        code = kl_wire_parse_attributes(body, &attrs, &has_enabled, err);
    if (code == KL_OK)
        code = kl_wire_parse_tags(body, KL_TAG_TEXT_MAX, &ret->tags, &ret->patch.tags_json, err);
    if (code != KL_OK)
        return code;
    ret->enabled = attrs.enabled;
    ret->nbf = attrs.nbf;
    ret->exp = attrs.exp;
    ret->patch.enabled = has_enabled ? &ret->enabled : NULL;
    ret->patch.nbf = attrs.has_nbf ? &ret->nbf : NULL;
    ret->patch.exp = attrs.has_exp ? &ret->exp : NULL;
    ret->patch.ops = has_ops ? &ret->ops : NULL;
    return KL_OK;
}

enum kl_code kl_wire_text(const json_t *body, const char *name, const char **ret,
                          struct kl_err *err)
{
    const char *text = NULL;
    enum kl_code code = kl_json_string(body, name, &text, err);
    if (code != KL_OK)
        return code;
    if (text == NULL || text[0] == 0)
        return kl_fail(err, KL_BAD_INPUT, name, "Property %s is required", name);
    *ret = text;
    return KL_OK;
}

enum kl_code kl_wire_decode(struct kl_span text, const char *name, uint8_t *out, size_t room,
                            size_t *ret_len, struct kl_err *err)
{
    enum kl_code code = kl_b64url_decode(text.text, text.n, out, room, ret_len);
    if (code == KL_TOO_BIG)
        return kl_fail(err, KL_BAD_INPUT, name, "Property %s is longer than %zu bytes", name, room);
    if (code != KL_OK || *ret_len == 0)
        return kl_fail(err, KL_BAD_INPUT, name, "Property %s is not valid base64url", name);
    return KL_OK;
}

enum kl_code kl_wire_bytes(const json_t *body, const char *name, uint8_t *out, size_t room,
                           size_t *ret_len, struct kl_err *err)
{
    const char *text = NULL;
    enum kl_code code = kl_wire_text(body, name, &text, err);
    return code == KL_OK
               ? kl_wire_decode((struct kl_span){text, strlen(text)}, name, out, room, ret_len, err)
               : code;
}
