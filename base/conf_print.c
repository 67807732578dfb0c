#include "base/conf_parts.h"

#include <string.h>

#define LINE_WIDTH 100

/* Append text as "# " lines of at most LINE_WIDTH characters, broken at blanks. */
static void put_comment(struct kl_buf *out, const char *text)
{
    while (text != NULL && *text != 0) {
        size_t n = strcspn(text, "\n");
        if (n > LINE_WIDTH - 2) {
            n = LINE_WIDTH - 2;
            while (n > 0 && text[n] != ' ')
                n--;
            if (n == 0)
                n = strcspn(text, " \n");
        }
        kl_buf_puts(out, "# ");
        kl_buf_put(out, text, n);
        kl_buf_putc(out, '\n');
        text += n;
        text += strspn(text, " \n");
    }
}

static const char *type_words(enum kl_conf_type type)
{
    static const char *const words[] = {
        [KL_CONF_TEXT] = "Text",
        [KL_CONF_PATH] = "Path, relative ones to this file's folder",
        [KL_CONF_INT] = "Number",
        [KL_CONF_BOOL] = "yes or no",
        [KL_CONF_DURATION] = "Time (ms, s, m, h, d)",
        [KL_CONF_BYTES] = "Size (K, M, G)",
        [KL_CONF_LIST] = "Text, may be given several times",
    };
    return words[type];
}

static bool has_range(const struct kl_conf_row *row)
{
    return (row->min != 0 || row->max != 0) &&
           (row->type == KL_CONF_INT || row->type == KL_CONF_DURATION ||
            row->type == KL_CONF_BYTES);
}

static void put_sample_row(struct kl_buf *out, const struct kl_conf_row *row)
{
    kl_buf_putc(out, '\n');
    put_comment(out, row->help);
    kl_buf_printf(out, "# %s", type_words(row->type));
    if (has_range(row)) {
        kl_buf_putc(out, ' ');
        kl_conf_put_range(out, row);
    }
    if (row->required)
        kl_buf_puts(out, "; required");
    else if (row->preset != NULL)
        kl_buf_printf(out, "; default %s", row->preset);
    kl_buf_printf(out, ".\n#%s =%s%s\n", row->key, row->preset != NULL ? " " : "",
                  row->preset != NULL ? row->preset : "");
}

void kl_conf_print_sample(const struct kl_conf_section *kinds, size_t kind_count,
                          struct kl_buf *out)
{
    for (size_t i = 0; i < kind_count; i++) {
        if (i > 0)
            kl_buf_puts(out, "\n\n");
        put_comment(out, kinds[i].help);
        kl_buf_printf(out, "#[%s%s]\n", kinds[i].kind, kinds[i].named ? " NAME" : "");
        for (size_t k = 0; k < kinds[i].row_count; k++)
            put_sample_row(out, &kinds[i].rows[k]);
    }
}

static void put_line(struct kl_buf *out, const char *key, const char *value)
{
    if (value != NULL)
        kl_buf_printf(out, "%s = %s\n", key, value);
    else
        kl_buf_printf(out, "# %s is not set\n", key);
}

static void put_list(struct kl_buf *out, const char *key, const struct kl_conf_list *list)
{
    if (list->count == 0)
        put_line(out, key, NULL);
    for (size_t i = 0; i < list->count; i++)
        put_line(out, key, list->values[i]);
}

static void put_value(struct kl_buf *out, const struct kl_conf_row *row, const void *place)
{
    switch (row->type) {
    case KL_CONF_TEXT:
    case KL_CONF_PATH:
        put_line(out, row->key, *(const char *const *)place);
        break;
    case KL_CONF_INT:
    case KL_CONF_DURATION:
    case KL_CONF_BYTES:
        kl_buf_printf(out, "%s = ", row->key);
        kl_conf_put_number(out, row->type, *(const int64_t *)place);
        kl_buf_putc(out, '\n');
        break;
    case KL_CONF_BOOL:
        put_line(out, row->key, *(const bool *)place ? "yes" : "no");
        break;
    case KL_CONF_LIST:
        put_list(out, row->key, place);
        break;
    }
}

void kl_conf_print(const struct kl_conf *c, struct kl_buf *out)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct kl_conf_found *f = &c->found[i];
        const char *name = f->kind->named ? *(const char *const *)(const void *)f->values : "";
        kl_buf_printf(out, "%s[%s%s%s]\n", i > 0 ? "\n" : "", f->kind->kind, *name ? " " : "",
                      name);
        for (size_t k = 0; k < f->kind->row_count; k++)
            put_value(out, &f->kind->rows[k], f->values + f->kind->rows[k].offset);
    }
}
