/* JSON of the simplest kind without a tree: one object whose members are plain strings, as nearly
 * every body of the hot operations is. No allocation; the text is not copied. Any thread.
 *
 * Whatever it does not take is for kl_json_parse, which then finds the fault, if there is one:
 * whatever it takes means the same there. */
#ifndef KL_BASE_JSON_FLAT_H
#define KL_BASE_JSON_FLAT_H

#include <stdbool.h>
#include <stddef.h>

#define KL_FLAT_MEMBERS 8

/** Bytes of somebody else's text; no NUL behind them. */
struct kl_span {
    const char *text;
    size_t n;
};

struct kl_flat {
    size_t count; /* 0 = nothing was read */
    struct {
        struct kl_span name, value;
    } members[KL_FLAT_MEMBERS];
};

/** Read n bytes. False, and *ret untouched, unless they are an object of 1 to KL_FLAT_MEMBERS
 * members with different names, all names and values strings of printable ASCII without escapes.
 * The spans point into text. */
bool kl_json_flat(const char *text, size_t n, struct kl_flat *ret);
/** The member's value; .text is NULL when there is none. */
struct kl_span kl_flat_get(const struct kl_flat *flat, const char *name);

#endif
