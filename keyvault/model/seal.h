/* Seals over who may log in and what they may: one over all principals and credentials, one over
 * each vault's policies and role assignments. A seal is a MAC under a key of the token over the
 * rows as a set, so that a row which a foreign hand adds, changes or takes away is noticed. Private
 * to the model.
 *
 * The key is fetched once, when a start checks all seals, and kept in locked memory: shutting
 * somebody out must work while the token does not. Without it nothing is checked, and nothing may
 * be changed but by a model without tokens (the first principal). Where no token can MAC there are
 * no seals. The same key makes the MACs over attributes of keys (attributes.c). */
#ifndef KL_KEYVAULT_MODEL_SEAL_H
#define KL_KEYVAULT_MODEL_SEAL_H

#include "base/secret.h"
#include "keyvault/store/store.h"

#include <stdatomic.h>

struct kl_model;

enum kl_seal_state {
    KL_SEAL_UNKNOWN, /* not asked yet, or no token answered */
    KL_SEAL_NONE,    /* no token can */
    KL_SEAL_HELD,
};

struct kl_seals {
    atomic_int state;
    struct kl_secret *key; /* constant once HELD */
};

void kl_seals_done(struct kl_seals *s);

/** Do the rows fit their seal? KL_CORRUPT, with a line in the log; KL_OK while no key is held.
 * `vault_id` NULL: principals and credentials. Any session. */
enum kl_code kl_seal_check(const struct kl_model *m, struct kl_store_session *t,
                           const char *vault_id, struct kl_err *err) KL_MUST_USE;
/** The same before a change: KL_TOKEN_UNAVAILABLE when nothing can be sealed now. */
enum kl_code kl_seal_check_change(const struct kl_model *m, struct kl_store_session *t,
                                  const char *vault_id, struct kl_err *err) KL_MUST_USE;
/** The same for principals and every vault that is shown. */
enum kl_code kl_seal_check_all(const struct kl_model *m, struct kl_store_session *t,
                               struct kl_err *err) KL_MUST_USE;
/** Seal the rows as they now are in this write session. */
enum kl_code kl_seal_write(const struct kl_model *m, struct kl_store_session *t,
                           const char *vault_id, struct kl_err *err) KL_MUST_USE;
/** Seal every vault that is shown. */
enum kl_code kl_seal_write_vaults(const struct kl_model *m, struct kl_store_session *t,
                                  struct kl_err *err) KL_MUST_USE;

#endif
