#include "keyvault/auth/form.h"

#include "base/encoding.h"

#include <string.h>

/* n characters of a form into a new secret. A decoded value is text: it holds no NUL. */
static enum kl_code decode(const char *text, size_t n, bool percent, struct kl_secret **ret,
                           struct kl_err *err)
{
    if (n > KL_FORM_VALUE_MAX * 3)
        return kl_fail(err, KL_BAD_INPUT, "form", "a value is too long");
    KL_AUTO(secret) value = kl_secret_new(n + 1);
    if (value == NULL || kl_secret_resize(value, n + 1) != KL_OK)
        return kl_fail(err, KL_NO_MEMORY, "form", "out of memory");
    char *out = (char *)kl_secret_bytes(value);
    if (!percent && memchr(text, 0, n) == NULL)
        memcpy(out, text, n);
    else if (!percent || kl_percent_decode(text, n, true, out) != KL_OK)
        return kl_fail(err, KL_BAD_INPUT, "form", "a value is malformed");
    size_t len = strlen(out);
    if (len > KL_FORM_VALUE_MAX)
        return kl_fail(err, KL_BAD_INPUT, "form", "a value is too long");
    enum kl_code code = kl_secret_resize(value, len);
    if (code == KL_OK)
        *ret = kl_take(value);
    return code;
}

static struct kl_form_field *wanted(struct kl_form_field *fields, size_t count, const char *name,
                                    size_t n)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(fields[i].name) == n && memcmp(fields[i].name, name, n) == 0)
            return &fields[i];
    return NULL;
}

static enum kl_code parse_pair(const char *pair, size_t n, struct kl_form_field *fields,
                               size_t count, struct kl_err *err)
{
    const char *equals = memchr(pair, '=', n);
    size_t name_len = equals != NULL ? (size_t)(equals - pair) : n;
    struct kl_form_field *field = wanted(fields, count, pair, name_len);
    if (field == NULL)
        return KL_OK;
    if (field->value != NULL)
        return kl_fail(err, KL_BAD_INPUT, "form", "%s is given twice", field->name);
    size_t value_len = equals != NULL ? n - name_len - 1 : 0;
    return decode(pair + n - value_len, value_len, true, &field->value, err);
}

enum kl_code kl_form_parse(const char *body, size_t n, struct kl_form_field *fields, size_t count,
                           struct kl_err *err)
{
    for (size_t i = 0; i < count; i++)
        fields[i].value = NULL;
    if (n > KL_FORM_MAX)
        return kl_fail(err, KL_BAD_INPUT, "form", "the form is too long");
    size_t seen = 0;
    for (size_t at = 0; at < n; seen++) {
        const char *end = memchr(body + at, '&', n - at);
        size_t len = end != NULL ? (size_t)(end - body) - at : n - at;
        if (seen == KL_FORM_MAX_FIELDS)
            return kl_fail(err, KL_BAD_INPUT, "form", "the form has too many fields");
        enum kl_code code = parse_pair(body + at, len, fields, count, err);
        if (code != KL_OK)
            return code;
        at += len + 1;
    }
    return KL_OK;
}

void kl_form_done(struct kl_form_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        kl_secret_free(fields[i].value);
        fields[i].value = NULL;
    }
}

const char *kl_form_text(const struct kl_form_field *field)
{
    return field->value != NULL ? (const char *)kl_secret_bytes(field->value) : "";
}

enum kl_code kl_form_split_pair(const char *pair, size_t n, bool percent, struct kl_secret **ret_id,
                                struct kl_secret **ret_secret, struct kl_err *err)
{
    KL_AUTO(secret) id = NULL;
    KL_AUTO(secret) secret = NULL;
    const char *colon = memchr(pair, ':', n);
    if (colon == NULL || colon == pair || colon == pair + n - 1)
        return kl_fail(err, KL_BAD_INPUT, "form", "the credentials are not ID:SECRET");
    size_t id_len = (size_t)(colon - pair);
    enum kl_code code = decode(pair, id_len, percent, &id, err);
    if (code == KL_OK)
        code = decode(colon + 1, n - id_len - 1, percent, &secret, err);
    if (code != KL_OK)
        return code;
    *ret_id = kl_take(id);
    *ret_secret = kl_take(secret);
    return KL_OK;
}

enum kl_code kl_form_basic(const char *authorization, struct kl_secret **ret_id,
                           struct kl_secret **ret_secret, struct kl_err *err)
{
    static const char scheme[] = "Basic ";
    size_t n = strlen(authorization);
    if (n > KL_FORM_MAX || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return kl_fail(err, KL_BAD_INPUT, "form", "the credentials are not HTTP Basic");
    const char *text = authorization + sizeof scheme - 1;
    size_t len = 0;
    KL_AUTO(secret) pair = kl_secret_new(KL_FORM_MAX);
    if (pair == NULL || kl_secret_resize(pair, n) != KL_OK)
        return kl_fail(err, KL_NO_MEMORY, "form", "out of memory");
    if (kl_b64_decode(text, strlen(text), kl_secret_bytes(pair), n, &len) != KL_OK)
        return kl_fail(err, KL_BAD_INPUT, "form", "the credentials are not HTTP Basic");
    return kl_form_split_pair((const char *)kl_secret_bytes(pair), len, true, ret_id, ret_secret,
                              err);
}
