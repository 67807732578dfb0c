/* Data to standard output, as -o asks: JSON as the service gave it, an aligned table for people, or
 * tab-separated values for scripts. Text of the service never reaches a terminal raw: control
 * characters become '?' in tables and TSV. Not thread safe. */
#ifndef KL_CLI_OUT_H
#define KL_CLI_OUT_H

#include "base/buf.h"
#include "base/json.h"
#include "cli/command.h"

enum kl_column_kind {
    KL_COLUMN_TEXT, /* strings, numbers, yes/no */
    KL_COLUMN_TIME, /* Unix seconds, shown as 2026-01-31T12:00:00Z */
    KL_COLUMN_SEEN, /* the same, with 0 for never */
    KL_COLUMN_LIST, /* array of strings with commas, or an object as key=value */
    KL_COLUMN_LAST, /* the last segment of a URL */
    KL_COLUMN_HEAD, /* the key's name: the third segment of an id's path ("…/keys/NAME/…") */
};

/* One column of a list, or one line of a shown object. */
struct kl_column {
    const char *title;
    const char *path; /* members parted by dots: "attributes.exp" */
    enum kl_column_kind kind;
};

/** Show an array, one row per value. An empty table says so on standard error. KL_IO when standard
 * output fails. */
enum kl_code kl_out_list(const struct kl_cmd *cmd, const json_t *array,
                         const struct kl_column *columns, size_t count,
                         struct kl_err *err) KL_MUST_USE;

/** Show one object: JSON whole, a table with one line per column, TSV with one row. */
enum kl_code kl_out_show(const struct kl_cmd *cmd, const json_t *object,
                         const struct kl_column *columns, size_t count,
                         struct kl_err *err) KL_MUST_USE;

/** Put n raw bytes on standard output. */
enum kl_code kl_out_bytes(const void *bytes, size_t n, struct kl_err *err) KL_MUST_USE;

/** Append one value as its column shows it; "-" when it is absent. */
void kl_out_value(const json_t *object, const struct kl_column *column, struct kl_buf *out);

#endif
