/* The parsed file as conf.c builds it, conf_value.c fills it and conf_print.c prints it. Private to
 * the three. */
#ifndef KL_BASE_CONF_PARTS_H
#define KL_BASE_CONF_PARTS_H

#include "base/conf.h"

/** One section that exists: what the file says, or the presets alone. */
struct kl_conf_found {
    const struct kl_conf_section *kind;
    unsigned char *values; /* kind->size bytes, laid out by the rows */
    unsigned line;         /* of its header, 0 = not in the file */
    unsigned *key_lines;   /* per row: where it was set, 0 = not in the file */
};

struct kl_conf {
    const struct kl_conf_section *kinds;
    size_t kind_count;
    struct kl_conf_found *found;
    size_t count;
    char *path, *folder; /* folder: absolute, for relative paths */
};

/** One line of a file that says something. */
struct kl_conf_line {
    const char *file;
    unsigned number;
    char *kind, *name; /* of "[kind name]", else NULL */
    char *key, *value; /* of "key = value", else NULL */
};

/** KL_CONFIG with "FILE:LINE: " before the words. */
enum kl_code kl_conf_fail(struct kl_err *err, const struct kl_conf_line *at, const char *fmt, ...)
    KL_PRINTF(3, 4);

/** `value` as it is when absolute, else behind the folder; malloc'd, NULL without memory. */
char *kl_conf_join(const char *folder, const char *value);

/** Parse `value`, put it where the row says within f, and let the row's own check see it. */
enum kl_code kl_conf_set(const struct kl_conf *c, struct kl_conf_found *f,
                         const struct kl_conf_row *row, const char *value,
                         const struct kl_conf_line *at, struct kl_err *err) KL_MUST_USE;

/** Append a number as a file would have it: 5m, 64K. */
void kl_conf_put_number(struct kl_buf *out, enum kl_conf_type type, int64_t number);
/** Append "from A to B". */
void kl_conf_put_range(struct kl_buf *out, const struct kl_conf_row *row);

#endif
