#include "keyvault/wire_secret.h"

#include <string.h>

#define SECRET_TAG_MAX 512 /* characters; those of keys may have half of that */

/* --- answers --- */

static void put_id(struct kl_buf *out, const struct kl_origin *origin,
                   const struct kl_vault_secret *s, bool versioned)
{
    kl_buf_puts(out, "\"id\":\"");
    kl_wire_put_id(out, origin, "secrets", s->name, versioned ? s->version : NULL);
    kl_buf_puts(out, "\",");
}

static void put_members(struct kl_buf *out, const struct kl_origin *origin,
                        const struct kl_vault *vault, const struct kl_vault_secret *s,
                        bool versioned)
{
    put_id(out, origin, s, versioned);
    kl_wire_put_attributes(out, vault, &s->attrs, s->created, s->updated);
    kl_buf_putc(out, '}');
    if (s->content_type != NULL) {
        kl_buf_puts(out, ",\"contentType\":");
        kl_buf_put_json(out, s->content_type, strlen(s->content_type));
    }
    if (s->tags_json != NULL) {
        kl_buf_puts(out, ",\"tags\":");
        kl_buf_puts(out, s->tags_json);
    }
    if (s->key_version[0] != 0) {
        kl_buf_puts(out, ",\"kid\":\"");
        kl_wire_put_id(out, origin, "keys", s->name, s->key_version);
        kl_buf_putc(out, '"');
    }
    if (s->managed)
        kl_buf_puts(out, ",\"managed\":true");
}

/* As long as the text is in JSON, at most. */
static size_t json_len(const char *text, size_t n)
{
    size_t len = 2;
    for (size_t i = 0; i < n; i++)
        len += (unsigned char)text[i] < 0x20 || text[i] == '"' || text[i] == '\\' ? 6 : 1;
    return len;
}

void kl_wire_put_secret(struct kl_buf *out, const struct kl_origin *origin,
                        const struct kl_vault *vault, const struct kl_vault_secret *secret,
                        const char *value, size_t value_len)
{
    kl_buf_putc(out, '{');
    put_members(out, origin, vault, secret, true);
    if (value != NULL) {
        kl_buf_reserve(out, json_len(value, value_len) + 16);
        kl_buf_puts(out, ",\"value\":");
        kl_buf_put_json(out, value, value_len);
    }
    kl_buf_putc(out, '}');
}

void kl_wire_put_deleted_secret(struct kl_buf *out, const struct kl_origin *origin,
                                const struct kl_vault *vault, const struct kl_vault_secret *secret,
                                bool item)
{
    kl_buf_putc(out, '{');
    put_members(out, origin, vault, secret, !item);
    kl_wire_put_recovery(out, origin, "deletedsecrets", secret->name, secret->deleted_at,
                         secret->purge_at);
    kl_buf_putc(out, '}');
}

void kl_wire_put_secret_item(struct kl_buf *out, const struct kl_origin *origin,
                             const struct kl_vault *vault, const struct kl_vault_secret *secret,
                             bool versioned)
{
    kl_buf_putc(out, '{');
    put_members(out, origin, vault, secret, versioned);
    kl_buf_putc(out, '}');
}

/* --- requests --- */

static enum kl_code parse_content_type(const json_t *body, const char **ret, struct kl_err *err)
{
    const char *text = NULL;
    enum kl_code code = kl_json_string(body, "contentType", &text, err);
    if (code == KL_OK && text != NULL && kl_wire_characters(text) > KL_CONTENT_TYPE_MAX)
        return kl_fail(err, KL_BAD_INPUT, "contentType",
                       "contentType may have at most %d characters", KL_CONTENT_TYPE_MAX);
    if (code == KL_OK)
        *ret = text;
    return code;
}

/* An empty value is one; only an absent one is refused. */
static enum kl_code parse_value(const json_t *body, const char **ret, size_t *ret_len,
                                struct kl_err *err)
{
    const json_t *value = json_object_get(body, "value");
    if (value == NULL || json_is_null(value))
        return kl_fail(err, KL_BAD_INPUT, "value", "Property value is required");
    if (!json_is_string(value))
        return kl_fail(err, KL_BAD_INPUT, "value", "value must be a string");
    *ret = json_string_value(value);
    *ret_len = json_string_length(value);
    return KL_OK;
}

enum kl_code kl_wire_parse_secret(const json_t *body, struct kl_vault_secret_set *ret,
                                  struct kl_wire_tags *tags, struct kl_err *err)
{
    bool has_enabled;
    *ret = (struct kl_vault_secret_set){.attrs = {.enabled = true}};
    enum kl_code code = parse_value(body, &ret->value, &ret->value_len, err);
    if (code == KL_OK)
        code = parse_content_type(body, &ret->content_type, err);
    if (code == KL_OK && ret->content_type != NULL && ret->content_type[0] == 0)
        ret->content_type = NULL;
    if (code == KL_OK)
        code = kl_wire_parse_attributes(body, &ret->attrs, &has_enabled, err);
    return code == KL_OK ? kl_wire_parse_tags(body, SECRET_TAG_MAX, tags, &ret->tags_json, err)
                         : code;
}

enum kl_code kl_wire_parse_secret_patch(const json_t *body, struct kl_wire_secret_patch *ret,
                                        struct kl_err *err)
{
    bool has_enabled = false;
    *ret = (struct kl_wire_secret_patch){.attrs = {.enabled = true}};
    const json_t *value = json_object_get(body, "value");
    if (value != NULL && !json_is_null(value))
        return kl_fail(err, KL_BAD_INPUT, "value",
                       "The value of a version never changes; set the secret again");
    enum kl_code code = parse_content_type(body, &ret->patch.content_type, err);
    if (code == KL_OK)
        code = kl_wire_parse_attributes(body, &ret->attrs, &has_enabled, err);
    if (code == KL_OK)
        code = kl_wire_parse_tags(body, SECRET_TAG_MAX, &ret->tags, &ret->patch.tags_json, err);
    ret->patch.enabled = has_enabled ? &ret->attrs.enabled : NULL;
    ret->patch.nbf = ret->attrs.has_nbf ? &ret->attrs.nbf : NULL;
    ret->patch.exp = ret->attrs.has_exp ? &ret->attrs.exp : NULL;
    return code;
}
