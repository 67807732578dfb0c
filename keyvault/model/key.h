/* Small rules of keys that several files need. Private to the model. */
#ifndef KL_KEYVAULT_MODEL_KEY_H
#define KL_KEYVAULT_MODEL_KEY_H

#include "keyvault/model/inside.h"

/** KL_KEY_NOT_FOUND with the wording that clients know. */
enum kl_code kl_key_missing(struct kl_err *err, const char *name);
/** KL_BAD_INPUT when `ops` has bits that no key of this type can do. */
enum kl_code kl_key_ops_fit(enum kl_key_type type, unsigned ops, struct kl_err *err) KL_MUST_USE;
/** No tags and "{}" are the same: NULL. */
const char *kl_tags_normal(const char *tags_json);

#endif
