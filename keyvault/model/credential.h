/* Making and writing credentials; shared by principal.c and credential.c. Private to the model. */
#ifndef KL_KEYVAULT_MODEL_CREDENTIAL_H
#define KL_KEYVAULT_MODEL_CREDENTIAL_H

#include "keyvault/model/principal.h"
#include "keyvault/store/store.h"

/** A fresh secret (256 random bits as base64url) and what is kept of it. `name` is cut to its
 * room. */
enum kl_code kl_credential_make_secret(const char *object_id, const char *name, int64_t expires,
                                       struct kl_credential *ret, struct kl_secret **ret_secret,
                                       struct kl_err *err) KL_MUST_USE;
enum kl_code kl_credential_insert(struct kl_store_session *t, const struct kl_credential *c,
                                  struct kl_err *err) KL_MUST_USE;
/** Commit a change of principals or credentials and show it. */
enum kl_code kl_directory_commit(struct kl_model *m, struct kl_store_session *t,
                                 struct kl_err *err) KL_MUST_USE;

#endif
