/* From method and path to the row of the API that answers. The rows are in route.c; they are
 * compiled once into a small tree, which is constant afterwards. */
#ifndef KL_KEYVAULT_ROUTE_H
#define KL_KEYVAULT_ROUTE_H

#include "base/buf.h"
#include "keyvault/op.h"

/** Compile the rows. KL_EXISTS when two collide, KL_TOO_BIG. Once, before any other call here. */
enum kl_code kl_routes_compile(struct kl_err *err) KL_MUST_USE;

/** Number of rows, and each by its index. */
size_t kl_routes_count(void);
const struct kl_route *kl_routes_at(size_t index);

/** Append the rows as a JSON array: method, path, scope, the kind and word of the permission (null
 * without one), operationName (null for what leaves no record), summary. */
void kl_routes_print(struct kl_buf *out);

#define KL_ALLOW_MAX 40 /* "GET, POST, PUT, PATCH, DELETE" */

struct kl_route_match {
    const struct kl_route *route;
    size_t index;                         /* of the row */
    char name[KL_OP_SEGMENT_MAX];         /* {name}, decoded */
    char version[KL_OP_SEGMENT_MAX];      /* any other parameter, decoded */
    char subscription[KL_OP_SEGMENT_MAX]; /* {subscription} */
    char place[KL_OP_SEGMENT_MAX];        /* {group} or {location} */
    char allow[KL_ALLOW_MAX];             /* with KL_BAD_METHOD: the methods that the path has */
};

/** Find the row of a raw path (up to "?"): segments are percent-decoded once, literal words match
 * without case, one empty segment at the end is dropped, {version} may be empty or absent.
 * KL_BAD_INPUT (broken escape, empty {name}, too many or too long segments), KL_NO_ROUTE,
 * KL_BAD_METHOD (the path exists for other methods, which ret->allow lists as the Allow header
 * does; nothing else of ret is of use then). */
enum kl_code kl_route_find(const char *method, const char *path, struct kl_route_match *ret,
                           struct kl_err *err) KL_MUST_USE;

#endif
