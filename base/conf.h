/* Configuration files: "[section name]" lines and "key = value" lines, "#" comment lines; one table
 * of rows says what exists.
 *
 * Each consumer keeps its rows beside itself; the program joins the tables. Unknown sections and
 * keys, bad values, and repeated keys (unless the row is a list) are refused with FILE:LINE. Values
 * never hold secrets, only where they are.
 */
#ifndef KL_BASE_CONF_H
#define KL_BASE_CONF_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum kl_conf_type {
    KL_CONF_TEXT,     /* -> char *, strdup'ed */
    KL_CONF_PATH,     /* -> char *, made absolute against the file's folder */
    KL_CONF_INT,      /* -> int64_t within [min, max] */
    KL_CONF_BOOL,     /* -> bool: yes or no */
    KL_CONF_DURATION, /* -> int64_t milliseconds: 250ms, 30s, 5m, 48h, 90d; within [min, max] */
    KL_CONF_BYTES,    /* -> int64_t bytes: 4096, 64K, 16M; within [min, max] */
    KL_CONF_LIST,     /* -> struct kl_conf_list, the key may be repeated */
};

struct kl_conf_list {
    char **values;
    size_t count;
};

/** One key of one kind of section. `offset` is where the value goes in the section's struct.
 * `preset` is what an absent key means, written as in a file; NULL = no value (a NULL string, 0, an
 * empty list) unless `required`. */
struct kl_conf_row {
    const char *key;
    enum kl_conf_type type;
    size_t offset;
    int64_t min,
        max; /* of the numbers; both 0 = any INT, any DURATION or BYTES that is not negative */
    const char *preset;
    bool required;
    const char *help; /* one or more sentences for the sample file and the reference page */
    /* NULL or a check of the finished value; fills err with one sentence */
    enum kl_code (*check)(const void *value, struct kl_err *err);
};

/** A kind of section: "[service]" once (named = false), or "[token NAME]" any number of times. */
struct kl_conf_section {
    const char *kind;
    bool named;
    size_t size; /* of the struct; a named section's struct begins with: char *name */
    const struct kl_conf_row *rows;
    size_t row_count;
    const char *help;
};

struct kl_conf; /* opaque: the parsed file; owns every value */

/** Parse `path` against the kinds. KL_CONFIG with "FILE:LINE: …" for anything wrong. */
enum kl_code kl_conf_load(const char *path, const struct kl_conf_section *kinds, size_t kind_count,
                          struct kl_conf **ret, struct kl_err *err) KL_MUST_USE;
void kl_conf_free(struct kl_conf *c);

/** The struct of the index-th section of this kind, or NULL. An unnamed section that the file lacks
 * is there with presets. */
const void *kl_conf_section(const struct kl_conf *c, const char *kind, size_t index);

/** Without any table: the raw value of `key` in section `kind`, or KL_NOT_FOUND. For programs that
 * need one fact of another program's file (the CLI: where the audit log is). *ret is malloc'd;
 * relative paths are made absolute when `path_value`. */
enum kl_code kl_conf_lookup(const char *path, const char *kind, const char *key, bool path_value,
                            char **ret, struct kl_err *err) KL_MUST_USE;

/** Append the sample file: every kind and row with its help, type, range and default, commented
 * out. */
void kl_conf_print_sample(const struct kl_conf_section *kinds, size_t kind_count,
                          struct kl_buf *out);
/** Append the effective configuration, defaults included. */
void kl_conf_print(const struct kl_conf *c, struct kl_buf *out);

KL_AUTO_DEFINE(conf, struct kl_conf, kl_conf_free);

#endif
