#include "base/json.h"

#include "base/io.h"
#include "base/secret.h"

#include <string.h>

#define FILE_LIMIT (1024 * 1024)

/* Where the scan stands: the containers that are open, and how many values each has got so far. */
struct scan {
    unsigned depth, values;
    bool in_string, escaped;
    struct {
        bool object;
        unsigned commas;
    } open[KL_JSON_MAX_DEPTH];
};

/* One byte outside of strings. NULL, or what is wrong. */
static const char *scan_structure(struct scan *s, char c)
{
    if ((c == ',' || c == '{' || c == '[') && ++s->values > KL_JSON_MAX_VALUES)
        return "too many values";
    if (c == '"') {
        s->in_string = true;
    } else if (c == '{' || c == '[') {
        if (s->depth == KL_JSON_MAX_DEPTH)
            return "nested too deeply";
        s->open[s->depth].object = c == '{';
        s->open[s->depth++].commas = 0;
    } else if ((c == '}' || c == ']') && s->depth > 0) {
        s->depth--;
    } else if (c == ',' && s->depth > 0 && s->open[s->depth - 1].object) {
        if (++s->open[s->depth - 1].commas >= KL_JSON_MAX_MEMBERS)
            return "too many members";
    } else if (c == 0) {
        return "a zero byte";
    }
    return NULL;
}

/* jansson recurses per level and builds a value per member, so both are bounded before it sees a
 * byte. Broken JSON passes: that is jansson's to find. */
static enum kl_code check_shape(const char *text, size_t n, struct kl_err *err)
{
    struct scan s = {0};
    for (size_t i = 0; i < n; i++) {
        const char *fault = NULL;
        if (s.escaped)
            s.escaped = false;
        else if (s.in_string && text[i] == '\\')
            s.escaped = true;
        else if (s.in_string)
            s.in_string = text[i] != '"';
        else
            fault = scan_structure(&s, text[i]);
        if (fault != NULL)
            return kl_fail(err, KL_BAD_INPUT, "json", "invalid JSON: %s at byte %zu", fault, i + 1);
    }
    return KL_OK;
}

/* Own words: jansson's quote the text around the fault, which may be a secret. */
static const char *fault_text(enum json_error_code code)
{
    static const char *const texts[] = {
        [json_error_stack_overflow] = "nested too deeply",
        [json_error_premature_end_of_input] = "unexpected end",
        [json_error_end_of_input_expected] = "text behind the value",
        [json_error_invalid_utf8] = "not UTF-8",
        [json_error_null_character] = "U+0000 in a string",
        [json_error_null_byte_in_key] = "U+0000 in a name",
        [json_error_duplicate_key] = "a name appears twice in one object",
        [json_error_numeric_overflow] = "number out of range",
        [json_error_out_of_memory] = "out of memory",
    };
    const char *text = (size_t)code < KL_COUNT(texts) ? texts[code] : NULL;
    return text != NULL ? text : "syntax error";
}

enum kl_code kl_json_parse(const char *text, size_t n, json_t **ret, struct kl_err *err)
{
    enum kl_code code = check_shape(text, n, err);
    if (code != KL_OK)
        return code;
    json_error_t e;
    json_t *value = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (value == NULL) {
        enum json_error_code why = json_error_code(&e);
        code = why == json_error_out_of_memory ? KL_NO_MEMORY : KL_BAD_INPUT;
        kl_wipe(e.text, sizeof e.text);
        return kl_fail(err, code, "json_loadb", "invalid JSON: %s at byte %d", fault_text(why),
                       e.position);
    }
    *ret = value;
    return KL_OK;
}

enum kl_code kl_json_read_file(const char *path, json_t **ret, struct kl_err *err)
{
    KL_AUTO(char) text = NULL;
    size_t n = 0;
    enum kl_code code = kl_io_read_file(path, FILE_LIMIT, &text, &n, err);
    if (code != KL_OK)
        return code;
    code = kl_json_parse(text, n, ret, err);
    kl_wipe(text, n);
    if (code != KL_OK)
        (void)kl_err_prefix(err, "%s", path);
    return code;
}

/* The member, or NULL when it is absent or null. */
static const json_t *member(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_null(value) ? NULL : value;
}

enum kl_code kl_json_string(const json_t *object, const char *name, const char **ret,
                            struct kl_err *err)
{
    const json_t *value = member(object, name);
    if (value == NULL)
        return KL_OK;
    if (!json_is_string(value))
        return kl_fail(err, KL_BAD_INPUT, "json", "%s must be a string", name);
    *ret = json_string_value(value);
    return KL_OK;
}

enum kl_code kl_json_int(const json_t *object, const char *name, int64_t min, int64_t max,
                         int64_t *ret, struct kl_err *err)
{
    const json_t *value = member(object, name);
    if (value == NULL)
        return KL_OK;
    if (!json_is_integer(value))
        return kl_fail(err, KL_BAD_INPUT, "json", "%s must be an integer", name);
    json_int_t number = json_integer_value(value);
    if (number < min || number > max)
        return kl_fail(err, KL_BAD_INPUT, "json", "%s must be from %lld to %lld", name,
                       (long long)min, (long long)max);
    *ret = number;
    return KL_OK;
}

enum kl_code kl_json_bool(const json_t *object, const char *name, bool *ret, struct kl_err *err)
{
    const json_t *value = member(object, name);
    if (value == NULL)
        return KL_OK;
    if (!json_is_boolean(value))
        return kl_fail(err, KL_BAD_INPUT, "json", "%s must be true or false", name);
    *ret = json_is_true(value);
    return KL_OK;
}
