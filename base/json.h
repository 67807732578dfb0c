/* JSON on top of jansson: bounded, strict parsing and short typed reads. Values live in memory that
 * is wiped on free (kl_wiping_allocators). Not thread safe per value; jansson's reference counts
 * are atomic here. */
#ifndef KL_BASE_JSON_H
#define KL_BASE_JSON_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KL_JSON_MAX_DEPTH   16
#define KL_JSON_MAX_MEMBERS 512    /* of one object */
#define KL_JSON_MAX_VALUES  131072 /* of a text: each costs far more memory than its bytes */

/** Parse exactly one JSON value of n bytes: duplicate names, depth, members or values over the
 * limits above (checked before jansson sees a byte), invalid UTF-8, U+0000 and trailing bytes are
 * KL_BAD_INPUT with the place in the text. *ret is the caller's (json_decref). */
enum kl_code kl_json_parse(const char *text, size_t n, json_t **ret,
                           struct kl_err *err) KL_MUST_USE;

/** Read a whole file of at most 1 MiB as JSON. */
enum kl_code kl_json_read_file(const char *path, json_t **ret, struct kl_err *err) KL_MUST_USE;

/** Member `name` of an object. Absent and null are the same: *ret keeps its value (so preset the
 * default) and the result is KL_OK. A wrong type or a number out of [min, max] is KL_BAD_INPUT
 * naming the member. Strings are borrowed. */
enum kl_code kl_json_string(const json_t *object, const char *name, const char **ret,
                            struct kl_err *err) KL_MUST_USE;
enum kl_code kl_json_int(const json_t *object, const char *name, int64_t min, int64_t max,
                         int64_t *ret, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_json_bool(const json_t *object, const char *name, bool *ret,
                          struct kl_err *err) KL_MUST_USE;

KL_AUTO_DEFINE(json, json_t, json_decref);

#endif
