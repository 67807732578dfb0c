/* Pages of objects, whatever their kind. Private to the model. */
#ifndef KL_KEYVAULT_MODEL_LIST_H
#define KL_KEYVAULT_MODEL_LIST_H

#include "keyvault/model/inside.h"

/** KL_BAD_INPUT unless 1 … KL_PAGE_MAX. */
enum kl_code kl_page_limit(size_t limit, struct kl_err *err) KL_MUST_USE;
/** The objects behind `after` in the order of upper-cased name, at most limit + 1 of them: one more
 * than asked for shows that there is a next page. */
enum kl_code kl_page_objects(struct kl_store_session *t, const char *vault_id, enum kl_kind kind,
                             enum kl_object_state state, const char *after, size_t limit,
                             struct kl_object_row ret[static KL_PAGE_MAX + 1], size_t *ret_count,
                             struct kl_err *err) KL_MUST_USE;

#endif
