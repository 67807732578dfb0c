/* Paging, for all listings: what is asked for, and the nextLink of the answer. */
#ifndef KL_KEYVAULT_PAGE_H
#define KL_KEYVAULT_PAGE_H

#include "keyvault/ops.h"

struct kl_listing {
    char kind[KL_OP_SEGMENT_MAX + 32]; /* binds a page token to its listing */
    char path[KL_OP_SEGMENT_MAX + 32]; /* of the listing, in identifiers */
    char after[KL_NAME_MAX + KL_VERSION_LEN + 8];
    const char *with;  /* a further parameter to be repeated, "name=value", or NULL */
    char max_text[16]; /* maxresults as sent, "" when not */
    size_t limit;
};

/** Read maxresults and $skiptoken; kind and path are set already. KL_BAD_INPUT in op->err. */
enum kl_code kl_page_read(struct kl_op *op, struct kl_listing *l) KL_MUST_USE;
/** Append what stands before the items, and what stands behind them: nextLink, null without a
 * `next`. */
void kl_page_begin(struct kl_buf *out);
void kl_page_end(struct kl_buf *out, const struct kl_op *op, const struct kl_listing *l,
                 const char *next);

#endif
