#include "keyvault/model/cert_policy.h"

#include "base/clock.h"

#include <ctype.h>
#include <openssl/objects.h>
#include <strings.h>
#include <string.h>

#define MONTHS_MAX     1200
#define DAYS_PER_MONTH 27 /* Key Vault's count for days_before_expiry */
#define LIST_MAX       100
#define TEXT_MAX       1024

static const struct {
    const char *kty;
    enum kl_key_type type;
    bool hsm;
} types[] = {{"RSA", KL_KEY_RSA, false},
             {"RSA-HSM", KL_KEY_RSA, true},
             {"EC", KL_KEY_EC, false},
             {"EC-HSM", KL_KEY_EC, true}};

static const struct {
    const char *crv;
    enum kl_curve curve;
} curves[] = {{"P-256", KL_CURVE_P256}, {"P-384", KL_CURVE_P384}, {"P-521", KL_CURVE_P521}};

/* RFC 5280 section 4.2.1.3, and what Key Vault lets a key do for it. */
static const struct {
    const char *word;
    unsigned ops;
} usages[] = {{"digitalSignature", KL_OP_SIGN | KL_OP_VERIFY},
              {"nonRepudiation", KL_OP_SIGN | KL_OP_VERIFY},
              {"keyEncipherment", KL_OP_WRAP | KL_OP_UNWRAP},
              {"dataEncipherment", KL_OP_ENCRYPT | KL_OP_DECRYPT},
              {"keyAgreement", 0},
              {"keyCertSign", KL_OP_SIGN | KL_OP_VERIFY},
              {"cRLSign", KL_OP_SIGN | KL_OP_VERIFY},
              {"encipherOnly", 0},
              {"decipherOnly", 0}};

void kl_cert_policy_done(struct kl_cert_policy *p)
{
    json_decref(p->json);
    p->json = NULL;
}

static enum kl_code bad(struct kl_err *err, const char *member, const char *why)
{
    return kl_fail(err, KL_BAD_INPUT, "policy", "The certificate policy's %s %s", member, why);
}

/* --- filling in --- */

static json_t *defaults(void)
{
    return json_pack("{s:{s:s,s:b},s:{s:s},s:{s:s,s:i},s:{s:s},s:{s:b}}", "key_props", "kty", "RSA",
                     "reuse_key", 0, "secret_props", "contentType", KL_CERT_POLICY_PKCS12,
                     "x509_props", "subject", "", "validity_months", 12, "issuer", "name",
                     "Unknown", "attributes", "enabled", 1);
}

/* One member of a part over what was there; null is as if it were absent. */
static bool merge_part(json_t *to, const char *name, json_t *part)
{
    const char *key;
    json_t *value, *mine = json_object_get(to, name);
    if (mine == NULL) {
        mine = json_object();
        if (json_object_set_new(to, name, mine) != 0)
            return false;
    }
    json_object_foreach(part, key, value)
    {
        if (json_is_null(value))
            continue;
        json_t *copy = json_deep_copy(value);
        if (copy == NULL || json_object_set_new(mine, key, copy) != 0)
            return false;
    }
    return true;
}

static enum kl_code merge(const json_t *given, json_t *to, struct kl_err *err)
{
    static const char *const parts[] = {"key_props", "secret_props", "x509_props", "issuer",
                                        "attributes"};
    bool good = true;
    for (size_t i = 0; i < KL_COUNT(parts); i++) {
        json_t *part = json_object_get(given, parts[i]);
        if (part == NULL || json_is_null(part))
            continue;
        if (!json_is_object(part))
            return bad(err, parts[i], "must be an object");
        good = good && merge_part(to, parts[i], part);
    }
    json_t *actions = json_object_get(given, "lifetime_actions");
    if (actions != NULL && !json_is_null(actions))
        good = good && json_object_set_new(to, "lifetime_actions", json_deep_copy(actions)) == 0;
    return good ? KL_OK : kl_fail(err, KL_NO_MEMORY, "json", "no memory for a policy");
}

/* --- checking --- */

static bool in_list(const json_t *list, const char *text)
{
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        if (strcasecmp(json_string_value(item), text) == 0)
            return true;
    }
    return false;
}

static enum kl_code check_list(const json_t *part, const char *name, struct kl_err *err)
{
    size_t i;
    const json_t *item, *list = json_object_get(part, name);
    if (list == NULL)
        return KL_OK;
    if (!json_is_array(list) || json_array_size(list) > LIST_MAX)
        return bad(err, name, "must be an array of at most 100 strings");
    json_array_foreach(list, i, item)
    {
        if (!json_is_string(item) || json_string_length(item) == 0 ||
            json_string_length(item) > TEXT_MAX ||
            strlen(json_string_value(item)) != json_string_length(item))
            return bad(err, name, "must be an array of at most 100 strings");
    }
    return KL_OK;
}

static bool take_type(const char *kty, struct kl_cert_policy *p)
{
    for (size_t i = 0; i < KL_COUNT(types); i++)
        if (strcasecmp(types[i].kty, kty) == 0) {
            p->type = types[i].type;
            p->hsm = types[i].hsm;
            return true;
        }
    return false;
}

static enum kl_code check_key(const json_t *key, struct kl_cert_policy *p, struct kl_err *err)
{
    const char *kty = "RSA", *crv = NULL;
    int64_t bits = 0;
    enum kl_code code = kl_json_string(key, "kty", &kty, err);
    if (code == KL_OK)
        code = kl_json_string(key, "crv", &crv, err);
    if (code == KL_OK)
        code = kl_json_int(key, "key_size", 0, 65536, &bits, err);
    if (code == KL_OK)
        code = kl_json_bool(key, "exportable", &p->exportable, err);
    if (code == KL_OK)
        code = kl_json_bool(key, "reuse_key", &p->reuse, err);
    if (code != KL_OK)
        return code;
    if (!take_type(kty, p))
        return bad(err, "kty", "must be RSA, RSA-HSM, EC or EC-HSM");
    if (p->hsm && p->exportable)
        return bad(err, "exportable", "cannot be true for a key of an HSM: it never leaves it");
    if (p->type == KL_KEY_RSA) {
        p->bits = bits != 0 ? (uint32_t)bits : 2048;
        return p->bits == 2048 || p->bits == 3072 || p->bits == 4096
                   ? KL_OK
                   : bad(err, "key_size", "must be 2048, 3072 or 4096");
    }
    for (size_t i = 0; i < KL_COUNT(curves); i++)
        if (strcmp(curves[i].crv, crv != NULL ? crv : "P-256") == 0)
            p->curve = curves[i].curve;
    return p->curve != KL_CURVE_NONE ? KL_OK : bad(err, "crv", "must be P-256, P-384 or P-521");
}

static enum kl_code check_usage(json_t *x509, struct kl_cert_policy *p, struct kl_err *err)
{
    const json_t *list = json_object_get(x509, "key_usage");
    size_t known = 0;
    if (list == NULL || json_array_size(list) == 0) {
        json_t *usual = p->type == KL_KEY_RSA ? json_pack("[ss]", usages[0].word, usages[2].word)
                                              : json_pack("[s]", usages[0].word);
        if (json_object_set_new(x509, "key_usage", usual) != 0)
            return kl_fail(err, KL_NO_MEMORY, "json", "no memory for a policy");
        list = usual;
    }
    for (size_t i = 0; i < KL_COUNT(usages); i++)
        if (in_list(list, usages[i].word)) {
            p->ops |= usages[i].ops;
            known++;
        }
    if (known != json_array_size(list))
        return bad(err, "key_usage", "has a word that RFC 5280 does not know, or one twice");
    if (p->type == KL_KEY_EC)
        p->ops &= KL_OP_SIGN | KL_OP_VERIFY;
    if (p->ops == 0)
        p->ops = KL_OP_VERIFY;
    return KL_OK;
}

static enum kl_code check_ekus(json_t *x509, struct kl_err *err)
{
    size_t i;
    const json_t *item, *list = json_object_get(x509, "ekus");
    if (list == NULL) {
        json_t *usual = json_pack("[ss]", "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2");
        return json_object_set_new(x509, "ekus", usual) == 0
                   ? KL_OK
                   : kl_fail(err, KL_NO_MEMORY, "json", "no memory for a policy");
    }
    json_array_foreach(list, i, item)
    {
        ASN1_OBJECT *oid = OBJ_txt2obj(json_string_value(item), 1);
        bool good = oid != NULL;
        ASN1_OBJECT_free(oid);
        if (!good)
            return bad(err, "ekus", "must be object identifiers in dotted form");
    }
    return KL_OK;
}

static enum kl_code check_sans(json_t *x509, bool *ret_any, struct kl_err *err)
{
    static const char *const kinds[] = {"emails", "dns_names", "upns", "uris", "ipAddresses"};
    const json_t *sans = json_object_get(x509, "sans");
    enum kl_code code = KL_OK;
    if (sans != NULL && !json_is_object(sans))
        return bad(err, "sans", "must be an object");
    for (size_t i = 0; i < KL_COUNT(kinds) && code == KL_OK; i++) {
        code = check_list(sans, kinds[i], err);
        if (json_array_size(json_object_get(sans, kinds[i])) > 0)
            *ret_any = true;
    }
    return code;
}

static enum kl_code check_x509(json_t *x509, struct kl_cert_policy *p, struct kl_err *err)
{
    const char *subject = "";
    int64_t months = 12;
    bool sans = false;
    enum kl_code code = kl_json_string(x509, "subject", &subject, err);
    if (code == KL_OK)
        code = kl_json_int(x509, "validity_months", 1, MONTHS_MAX, &months, err);
    if (code == KL_OK)
        code = check_list(x509, "ekus", err);
    if (code == KL_OK)
        code = check_list(x509, "key_usage", err);
    if (code == KL_OK)
        code = check_sans(x509, &sans, err);
    if (code == KL_OK)
        code = check_ekus(x509, err);
    if (code == KL_OK)
        code = check_usage(x509, p, err);
    if (code == KL_OK && subject[0] == '\0' && !sans)
        code = bad(err, "x509_props", "needs a subject or a subject alternative name");
    p->months = (int)months;
    return code;
}

static enum kl_code check_action(json_t *item, const struct kl_cert_policy *p, struct kl_err *err)
{
    static const char *const words[] = {"AutoRenew", "EmailContacts"};
    json_t *action = json_object_get(item, "action");
    const json_t *trigger = json_object_get(item, "trigger");
    const char *type = "";
    int64_t percent = 0, days = 0;
    enum kl_code code = kl_json_string(action, "action_type", &type, err);
    if (code == KL_OK)
        code = kl_json_int(trigger, "lifetime_percentage", 1, 99, &percent, err);
    if (code == KL_OK)
        code = kl_json_int(trigger, "days_before_expiry", 1, (int64_t)p->months * DAYS_PER_MONTH,
                           &days, err);
    if (code != KL_OK)
        return code;
    if ((percent == 0) == (days == 0))
        return bad(err, "lifetime_actions",
                   "need either lifetime_percentage or days_before_expiry in each trigger");
    for (size_t i = 0; i < KL_COUNT(words); i++)
        if (strcasecmp(type, words[i]) == 0)
            return json_object_set_new(action, "action_type", json_string(words[i])) == 0
                       ? KL_OK
                       : kl_fail(err, KL_NO_MEMORY, "json", "no memory for a policy");
    return bad(err, "action_type", "must be AutoRenew or EmailContacts");
}

static enum kl_code check_actions(json_t *policy, const struct kl_cert_policy *p,
                                  struct kl_err *err)
{
    size_t i;
    json_t *item, *list = json_object_get(policy, "lifetime_actions");
    enum kl_code code = KL_OK;
    if (list == NULL) {
        list = json_pack("[{s:{s:i},s:{s:s}}]", "trigger", "lifetime_percentage", 80, "action",
                         "action_type", p->self ? "AutoRenew" : "EmailContacts");
        return json_object_set_new(policy, "lifetime_actions", list) == 0
                   ? KL_OK
                   : kl_fail(err, KL_NO_MEMORY, "json", "no memory for a policy");
    }
    if (!json_is_array(list) || json_array_size(list) > 2)
        return bad(err, "lifetime_actions", "must be an array of at most two");
    json_array_foreach(list, i, item)
    {
        if (!json_is_object(json_object_get(item, "action")) ||
            !json_is_object(json_object_get(item, "trigger")))
            return bad(err, "lifetime_actions", "need a trigger and an action each");
        if (code == KL_OK)
            code = check_action(item, p, err);
    }
    return code;
}

static enum kl_code check_rest(json_t *policy, struct kl_cert_policy *p, struct kl_err *err)
{
    const char *type = KL_CERT_POLICY_PKCS12, *issuer = "Unknown";
    enum kl_code code =
        kl_json_string(json_object_get(policy, "secret_props"), "contentType", &type, err);
    if (code == KL_OK)
        code = kl_json_string(json_object_get(policy, "issuer"), "name", &issuer, err);
    if (code != KL_OK)
        return code;
    p->pem = strcasecmp(type, KL_CERT_POLICY_PEM) == 0;
    p->self = strcasecmp(issuer, "Self") == 0;
    if (!p->pem && strcasecmp(type, KL_CERT_POLICY_PKCS12) != 0)
        return bad(err, "contentType", "must be " KL_CERT_POLICY_PKCS12 " or " KL_CERT_POLICY_PEM);
    return issuer[0] != '\0' ? check_actions(policy, p, err) : bad(err, "issuer", "needs a name");
}

/* What is not said and what does not belong to the type of the key. */
static enum kl_code settle_key(json_t *key, const struct kl_cert_policy *p, struct kl_err *err)
{
    bool good = json_object_set_new(key, "exportable", json_boolean(p->exportable)) == 0 &&
                json_object_set_new(key, "reuse_key", json_boolean(p->reuse)) == 0;
    if (p->type == KL_KEY_RSA) {
        (void)json_object_del(key, "crv");
        good = good && json_object_set_new(key, "key_size", json_integer(p->bits)) == 0;
    } else {
        for (size_t i = 0; i < KL_COUNT(curves); i++)
            if (curves[i].curve == p->curve)
                good = good && json_object_set_new(key, "crv", json_string(curves[i].crv)) == 0;
        (void)json_object_del(key, "key_size");
    }
    return good ? KL_OK : kl_fail(err, KL_NO_MEMORY, "json", "no memory for a policy");
}

static enum kl_code stamp(json_t *attributes, struct kl_err *err)
{
    bool enabled = true;
    int64_t now = kl_clock_unix();
    enum kl_code code = kl_json_bool(attributes, "enabled", &enabled, err);
    if (code == KL_OK && (json_object_set_new(attributes, "updated", json_integer(now)) != 0 ||
                          (json_object_get(attributes, "created") == NULL &&
                           json_object_set_new(attributes, "created", json_integer(now)) != 0)))
        code = kl_fail(err, KL_NO_MEMORY, "json", "no memory for a policy");
    return code;
}

enum kl_code kl_cert_policy_read(const json_t *given, const json_t *base, bool imported,
                                 struct kl_cert_policy *ret, struct kl_err *err)
{
    KL_AUTO(json) policy = base != NULL ? json_deep_copy(base) : defaults();
    struct kl_cert_policy p = {.exportable = imported};
    if (policy == NULL)
        return kl_fail(err, KL_NO_MEMORY, "json", "no memory for a policy");
    if (given != NULL && !json_is_object(given) && !json_is_null(given))
        return kl_fail(err, KL_BAD_INPUT, "policy", "The policy must be an object");
    enum kl_code code = merge(given, policy, err);
    if (code == KL_OK)
        code = check_key(json_object_get(policy, "key_props"), &p, err);
    if (code == KL_OK)
        code = settle_key(json_object_get(policy, "key_props"), &p, err);
    if (code == KL_OK)
        code = check_x509(json_object_get(policy, "x509_props"), &p, err);
    if (code == KL_OK)
        code = check_rest(policy, &p, err);
    if (code == KL_OK)
        code = stamp(json_object_get(policy, "attributes"), err);
    if (code != KL_OK)
        return code;
    p.json = kl_take(policy);
    *ret = p;
    return KL_OK;
}
