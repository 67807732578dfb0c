#include "base/conf_parts.h"

#include <inttypes.h>
#include <string.h>

struct unit {
    const char *suffix;
    int64_t factor;
};

static const struct unit durations[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000}};
static const struct unit sizes[] = {{"", 1}, {"K", 1024}, {"M", 1024 * 1024}, {"G", 1 << 30}};
static const struct unit plain[] = {{"", 1}};

/* The three kinds of numbers; other types have no row. */
static const struct {
    const struct unit *units;
    size_t count;
    const char *words;
} forms[] = {
    [KL_CONF_INT] = {plain, KL_COUNT(plain), "a whole number"},
    [KL_CONF_DURATION] = {durations, KL_COUNT(durations), "a time like 250ms, 30s, 5m, 48h, 90d"},
    [KL_CONF_BYTES] = {sizes, KL_COUNT(sizes), "a size like 4096, 64K, 16M, 1G"},
};

enum kl_code kl_conf_fail(struct kl_err *err, const struct kl_conf_line *at, const char *fmt, ...)
{
    char text[240];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return kl_fail(err, KL_CONFIG, "conf", "%s:%u: %s", at->file, at->number, text);
}

char *kl_conf_join(const char *folder, const char *value)
{
    char *joined = NULL;
    if (value[0] == '/')
        return strdup(value);
    return asprintf(&joined, "%s/%s", folder, value) < 0 ? NULL : joined;
}

/* A number with one of the units, from min to max (both 0 = any that is not negative where a unit
 * is needed). */
static enum kl_code parse_number(const char *value, const struct unit *units, size_t unit_count,
                                 int64_t *ret)
{
    char *end = NULL;
    if (strspn(value, "-0123456789") == 0)
        return KL_BAD_INPUT;
    intmax_t number = strtoimax(value, &end, 10);
    if (number == INTMAX_MAX || number == INTMAX_MIN)
        return KL_BAD_INPUT;
    for (size_t i = 0; i < unit_count; i++) {
        if (strcmp(end, units[i].suffix) == 0)
            return __builtin_mul_overflow(number, units[i].factor, ret) ? KL_BAD_INPUT : KL_OK;
    }
    *ret = 0; /* nought needs no unit */
    return number == 0 && *end == 0 ? KL_OK : KL_BAD_INPUT;
}

static enum kl_code set_number(const struct kl_conf_row *row, const char *value, int64_t *ret,
                               const struct kl_conf_line *at, struct kl_err *err)
{
    int64_t number = 0;
    if (parse_number(value, forms[row->type].units, forms[row->type].count, &number) != KL_OK)
        return kl_conf_fail(err, at, "%s must be %s, not \"%s\"", row->key, forms[row->type].words,
                            value);
    const bool free_range = row->min == 0 && row->max == 0;
    if (free_range ? number < 0 && row->type != KL_CONF_INT
                   : number < row->min || number > row->max) {
        struct kl_buf range = KL_BUF_INIT(128);
        kl_conf_put_range(&range, row);
        (void)kl_conf_fail(err, at, "%s must be %s", row->key, kl_buf_text(&range));
        kl_buf_done(&range);
        return KL_CONFIG;
    }
    *ret = number;
    return KL_OK;
}

static enum kl_code add_to_list(struct kl_conf_list *list, const char *value)
{
    char **bigger = realloc(list->values, (list->count + 1) * sizeof *bigger);
    if (bigger == NULL)
        return KL_NO_MEMORY;
    list->values = bigger;
    list->values[list->count] = strdup(value);
    if (list->values[list->count] == NULL)
        return KL_NO_MEMORY;
    list->count++;
    return KL_OK;
}

static enum kl_code set_bool(const struct kl_conf_row *row, const char *value, bool *ret,
                             const struct kl_conf_line *at, struct kl_err *err)
{
    *ret = strcmp(value, "yes") == 0;
    if (!*ret && strcmp(value, "no") != 0)
        return kl_conf_fail(err, at, "%s must be yes or no, not \"%s\"", row->key, value);
    return KL_OK;
}

static enum kl_code set_text(char *copy, char **ret)
{
    if (copy == NULL)
        return KL_NO_MEMORY;
    *ret = copy;
    return KL_OK;
}

enum kl_code kl_conf_set(const struct kl_conf *c, struct kl_conf_found *f,
                         const struct kl_conf_row *row, const char *value,
                         const struct kl_conf_line *at, struct kl_err *err)
{
    void *place = f->values + row->offset;
    enum kl_code code = KL_INTERNAL;
    switch (row->type) {
    case KL_CONF_TEXT:
        code = set_text(strdup(value), place);
        break;
    case KL_CONF_PATH:
        code = set_text(kl_conf_join(c->folder, value), place);
        break;
    case KL_CONF_INT:
    case KL_CONF_DURATION:
    case KL_CONF_BYTES:
        code = set_number(row, value, place, at, err);
        break;
    case KL_CONF_BOOL:
        code = set_bool(row, value, place, at, err);
        break;
    case KL_CONF_LIST:
        code = add_to_list(place, value);
        break;
    }
    if (code == KL_NO_MEMORY)
        return kl_fail(err, code, "strdup", "no memory for %s", at->file);
    if (code != KL_OK || row->check == NULL)
        return code;
    struct kl_err why = {0};
    if (row->check(place, &why) != KL_OK)
        return kl_conf_fail(err, at, "%s: %s", row->key, why.text);
    return KL_OK;
}

/* The largest unit that divides the number. */
static void put_number(struct kl_buf *out, int64_t number, const struct unit *units, size_t count)
{
    size_t i = count - 1;
    while (i > 0 && (number == 0 || number % units[i].factor != 0))
        i--;
    kl_buf_printf(out, "%" PRId64 "%s", number / units[i].factor, units[i].suffix);
}

void kl_conf_put_number(struct kl_buf *out, enum kl_conf_type type, int64_t number)
{
    put_number(out, number, forms[type].units, forms[type].count);
}

void kl_conf_put_range(struct kl_buf *out, const struct kl_conf_row *row)
{
    kl_buf_puts(out, "from ");
    kl_conf_put_number(out, row->type, row->min);
    kl_buf_puts(out, " to ");
    kl_conf_put_number(out, row->type, row->max);
}
