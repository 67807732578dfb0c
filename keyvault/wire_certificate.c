#include "keyvault/wire_certificate.h"

#include "base/clock.h"
#include "keyvault/auth/origin.h"

#include <string.h>

#define CERTIFICATE_TAG_MAX 256
#define CONTACTS_MAX        100

/* --- answers --- */

static void put_json(struct kl_buf *out, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    json_free_t release;
    if (text == NULL) {
        out->failed = true;
        return;
    }
    kl_buf_puts(out, text);
    json_get_alloc_funcs(NULL, &release);
    release(text);
}

static void put_member_text(struct kl_buf *out, const char *member, const char *text)
{
    if (text == NULL)
        return;
    kl_buf_printf(out, ",\"%s\":", member);
    kl_buf_put_json(out, text, strlen(text));
}

static const char *text_of(const json_t *object, const char *member)
{
    return json_string_value(json_object_get(object, member));
}

static void put_link(struct kl_buf *out, const struct kl_origin *origin, const char *member,
                     const char *collection, const char *name, const char *version)
{
    kl_buf_printf(out, "\"%s\":\"", member);
    kl_wire_put_id(out, origin, collection, name, version);
    kl_buf_putc(out, '"');
}

static json_t *about_of(const struct kl_vault_secret *c)
{
    json_t *about = NULL;
    if (c->about != NULL && kl_json_parse(c->about, strlen(c->about), &about, NULL) != KL_OK)
        about = NULL;
    return about;
}

static void put_rest(struct kl_buf *out, const struct kl_vault *vault,
                     const struct kl_vault_secret *c)
{
    kl_buf_putc(out, ',');
    kl_wire_put_attributes(out, vault, &c->attrs, c->created, c->updated);
    kl_buf_putc(out, '}');
    if (c->tags_json != NULL) {
        kl_buf_puts(out, ",\"tags\":");
        kl_buf_puts(out, c->tags_json);
    }
}

void kl_wire_put_certificate(struct kl_buf *out, const struct kl_origin *origin,
                             const struct kl_vault *vault, const struct kl_vault_secret *c,
                             const json_t *policy, bool pending)
{
    KL_AUTO(json) about = about_of(c);
    bool has = c->version[0] != 0;
    kl_buf_putc(out, '{');
    put_link(out, origin, "id", "certificates", c->name, has ? c->version : NULL);
    if (has) {
        kl_buf_putc(out, ',');
        put_link(out, origin, "kid", "keys", c->name, c->key_version);
        kl_buf_putc(out, ',');
        put_link(out, origin, "sid", "secrets", c->name, c->version);
    }
    put_member_text(out, "x5t", text_of(about, "x5t"));
    put_member_text(out, "x5t#S256", text_of(about, "x5t256"));
    put_member_text(out, "cer", text_of(about, "cer"));
    put_member_text(out, "contentType", text_of(about, "contentType"));
    put_rest(out, vault, c);
    if (policy != NULL) {
        kl_buf_puts(out, ",\"policy\":");
        kl_wire_put_policy(out, origin, c->name, policy);
    }
    if (pending) {
        kl_buf_puts(out, ",\"pending\":{");
        put_link(out, origin, "id", "certificates", c->name, "pending");
        kl_buf_putc(out, '}');
    }
    if (c->purge_at != 0)
        kl_wire_put_recovery(out, origin, "deletedcertificates", c->name, c->deleted_at,
                             c->purge_at);
    kl_buf_putc(out, '}');
}

/* Items have neither recoveryLevel nor recoverableDays (recorded replies of the real service). */
static void put_item_attributes(struct kl_buf *out, const struct kl_vault_secret *c)
{
    kl_buf_printf(out, ",\"attributes\":{\"enabled\":%s", c->attrs.enabled ? "true" : "false");
    if (c->attrs.has_nbf)
        kl_buf_printf(out, ",\"nbf\":%lld", (long long)c->attrs.nbf);
    if (c->attrs.has_exp)
        kl_buf_printf(out, ",\"exp\":%lld", (long long)c->attrs.exp);
    kl_buf_printf(out, ",\"created\":%lld,\"updated\":%lld}", (long long)c->created,
                  (long long)c->updated);
}

void kl_wire_put_certificate_item(struct kl_buf *out, const struct kl_origin *origin,
                                  const struct kl_vault *vault, const struct kl_vault_secret *c,
                                  bool versioned)
{
    KL_AUTO(json) about = about_of(c);
    (void)vault;
    kl_buf_putc(out, '{');
    put_link(out, origin, "id", "certificates", c->name, versioned ? c->version : NULL);
    put_member_text(out, "x5t", text_of(about, "x5t"));
    put_member_text(out, "subject", text_of(about, "subject"));
    put_item_attributes(out, c);
    kl_buf_puts(out, ",\"tags\":");
    kl_buf_puts(out, c->tags_json != NULL ? c->tags_json : "{}");
    if (c->purge_at != 0)
        kl_wire_put_recovery(out, origin, "deletedcertificates", c->name, c->deleted_at,
                             c->purge_at);
    kl_buf_putc(out, '}');
}

/* The members of an object behind what has been put. */
static void put_members(struct kl_buf *out, const json_t *object)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        kl_buf_putc(out, ',');
        kl_buf_put_json(out, name, strlen(name));
        kl_buf_putc(out, ':');
        put_json(out, value);
    }
}

void kl_wire_put_policy(struct kl_buf *out, const struct kl_origin *origin, const char *name,
                        const json_t *policy)
{
    kl_buf_putc(out, '{');
    put_link(out, origin, "id", "certificates", name, "policy");
    put_members(out, policy);
    kl_buf_putc(out, '}');
}

void kl_wire_put_operation(struct kl_buf *out, const struct kl_origin *origin, const char *name,
                           const json_t *op)
{
    static const char *const shown[] = {"issuer", "csr",   "cancellation_requested",
                                        "status", "error", "request_id"};
    const char *status = text_of(op, "status");
    bool completed = status != NULL && strcmp(status, "completed") == 0;
    kl_buf_putc(out, '{');
    put_link(out, origin, "id", "certificates", name, "pending");
    for (size_t i = 0; i < KL_COUNT(shown); i++) {
        const json_t *value = json_object_get(op, shown[i]);
        if (value == NULL)
            continue;
        kl_buf_printf(out, ",\"%s\":", shown[i]);
        put_json(out, value);
    }
    if (completed) {
        kl_buf_putc(out, ',');
        put_link(out, origin, "target", "certificates", name, NULL);
    } else {
        put_member_text(out, "status_details", text_of(op, "status_details"));
    }
    kl_buf_putc(out, '}');
}

static void put_issuer_id(struct kl_buf *out, const struct kl_origin *origin, const char *name)
{
    kl_buf_puts(out, "\"id\":\"");
    kl_wire_put_id(out, origin, "certificates", "issuers", name);
    kl_buf_putc(out, '"');
}

void kl_wire_put_issuer(struct kl_buf *out, const struct kl_origin *origin, const json_t *issuer,
                        bool item)
{
    const char *name = text_of(issuer, "name");
    const json_t *credentials = json_object_get(issuer, "credentials");
    const json_t *organisation = json_object_get(issuer, "org_details");
    kl_buf_putc(out, '{');
    put_issuer_id(out, origin, name != NULL ? name : "");
    put_member_text(out, "provider", text_of(issuer, "provider"));
    if (!item && text_of(credentials, "account_id") != NULL) {
        kl_buf_puts(out, ",\"credentials\":{\"account_id\":");
        put_json(out, json_object_get(credentials, "account_id"));
        kl_buf_putc(out, '}');
    }
    if (!item && organisation != NULL) {
        kl_buf_puts(out, ",\"org_details\":");
        put_json(out, organisation);
    }
    if (!item) {
        kl_buf_puts(out, ",\"attributes\":");
        put_json(out, json_object_get(issuer, "attributes"));
    }
    kl_buf_putc(out, '}');
}

void kl_wire_put_contacts(struct kl_buf *out, const struct kl_origin *origin,
                          const json_t *contacts)
{
    kl_buf_puts(out, "{\"id\":\"");
    kl_wire_put_id(out, origin, "certificates", "contacts", NULL);
    kl_buf_puts(out, "\",\"contacts\":");
    put_json(out, contacts);
    kl_buf_putc(out, '}');
}

/* --- requests --- */

enum kl_code kl_wire_parse_certificate(const json_t *body, struct kl_certificate_how *ret,
                                       struct kl_wire_tags *tags, struct kl_err *err)
{
    bool has_enabled;
    *ret = (struct kl_certificate_how){.policy = json_object_get(body, "policy"),
                                       .attrs = {.enabled = true}};
    enum kl_code code = kl_wire_parse_attributes(body, &ret->attrs, &has_enabled, err);
    return code == KL_OK ? kl_wire_parse_tags(body, CERTIFICATE_TAG_MAX, tags, &ret->tags_json, err)
                         : code;
}

/* nbf and exp are the certificate's own: sent ones are left alone, as the real service does. */
enum kl_code kl_wire_parse_certificate_patch(const json_t *body,
                                             struct kl_wire_certificate_patch *ret,
                                             struct kl_err *err)
{
    bool has_enabled = false;
    *ret = (struct kl_wire_certificate_patch){.attrs = {.enabled = true}};
    enum kl_code code = kl_wire_parse_attributes(body, &ret->attrs, &has_enabled, err);
    if (code == KL_OK)
        code =
            kl_wire_parse_tags(body, CERTIFICATE_TAG_MAX, &ret->tags, &ret->patch.tags_json, err);
    ret->patch.enabled = has_enabled ? &ret->attrs.enabled : NULL;
    return code;
}

/* PEM comes as it is from some clients, as base64 from others. */
enum kl_code kl_wire_parse_bundle(const json_t *body, struct kl_secret **ret, struct kl_err *err)
{
    const json_t *value = json_object_get(body, "value");
    if (!json_is_string(value) || json_string_length(value) == 0)
        return kl_fail(err, KL_BAD_INPUT, "value", "Property value is required");
    const char *text = json_string_value(value);
    size_t n = json_string_length(value), len = n;
    KL_AUTO(secret) out = kl_secret_new(n);
    if (out == NULL || kl_secret_resize(out, n) != KL_OK)
        return kl_fail(err, KL_NO_MEMORY, "value", "No memory for the certificate");
    if (strstr(text, "-----BEGIN ") != NULL)
        memcpy(kl_secret_bytes(out), text, n);
    else if (kl_b64_decode(text, n, kl_secret_bytes(out), n, &len) != KL_OK)
        return kl_fail(err, KL_BAD_INPUT, "value",
                       "The specified certificate content is neither PEM nor base64");
    enum kl_code code = kl_secret_resize(out, len);
    if (code == KL_OK)
        *ret = kl_take(out);
    return code;
}

static enum kl_code copy_members(const json_t *body, json_t *to, struct kl_err *err)
{
    static const struct {
        const char *name;
        json_type type;
    } members[] = {
        {"provider", JSON_STRING}, {"credentials", JSON_OBJECT}, {"org_details", JSON_OBJECT}};
    for (size_t i = 0; i < KL_COUNT(members); i++) {
        const json_t *value = json_object_get(body, members[i].name);
        if (value == NULL || json_is_null(value))
            continue;
        if (json_typeof(value) != members[i].type)
            return kl_fail(err, KL_BAD_INPUT, "issuer", "Member %s is not of the right type",
                           members[i].name);
        if (json_object_set_new(to, members[i].name, json_deep_copy(value)) != 0)
            return kl_fail(err, KL_NO_MEMORY, "json", "No memory for an issuer");
    }
    return KL_OK;
}

enum kl_code kl_wire_parse_issuer(const json_t *body, const json_t *was, const char *name,
                                  json_t **ret, struct kl_err *err)
{
    KL_AUTO(json) issuer = was != NULL ? json_deep_copy(was) : json_object();
    int64_t now = kl_clock_unix(), created = now;
    bool enabled = true;
    enum kl_code code = copy_members(body, issuer, err);
    const json_t *old = json_object_get(was, "attributes");
    if (code == KL_OK)
        code = kl_json_int(old, "created", 0, INT64_MAX, &created, err);
    if (code == KL_OK)
        code = kl_json_bool(old, "enabled", &enabled, err);
    if (code == KL_OK)
        code = kl_json_bool(json_object_get(body, "attributes"), "enabled", &enabled, err);
    if (code == KL_OK && text_of(issuer, "provider") == NULL)
        code = kl_fail(err, KL_BAD_INPUT, "provider", "Property provider is required");
    if (code != KL_OK)
        return code;
    json_t *attributes = json_pack("{s:b,s:I,s:I}", "enabled", enabled ? 1 : 0, "created",
                                   (json_int_t)created, "updated", (json_int_t)now);
    if (json_object_set_new(issuer, "attributes", attributes) != 0 ||
        (was == NULL && json_object_set_new(issuer, "name", json_string(name)) != 0))
        return kl_fail(err, KL_NO_MEMORY, "json", "No memory for an issuer");
    *ret = kl_take(issuer);
    return KL_OK;
}

enum kl_code kl_wire_parse_contacts(const json_t *body, const json_t **ret, struct kl_err *err)
{
    size_t i;
    const json_t *item, *list = json_object_get(body, "contacts");
    if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > CONTACTS_MAX)
        return kl_fail(err, KL_BAD_INPUT, "contacts", "contacts must be an array of 1 to %d",
                       CONTACTS_MAX);
    json_array_foreach(list, i, item)
    {
        if (text_of(item, "email") == NULL)
            return kl_fail(err, KL_BAD_INPUT, "contacts", "Each contact needs an email");
    }
    *ret = list;
    return KL_OK;
}
