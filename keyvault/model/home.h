/* Homes: the tokens that the versions of a key are on. The first is where the version was made, and
 * stands in its own row; others are copies under the tokens' common domain key, each a row of its
 * own, read back and proved by the token before it counts. Private to the model but for the calls
 * that model.h names. */
#ifndef KL_KEYVAULT_MODEL_HOME_H
#define KL_KEYVAULT_MODEL_HOME_H

#include "keyvault/model/inside.h"

/** A copy under way, known to reconciliation as births are. */
struct kl_move_in {
    uint8_t token_key[KL_KEY_ID_LEN];
    struct kl_move_in *next;
};

/** Names by commas into v->homes. False without memory, or when there are too many. */
bool kl_home_parse(const struct kl_model *m, const char *names, struct kl_vault *v);
/** All homes of k into k->homes, in the order of its vault, as the session sees them. */
enum kl_code kl_home_load(const struct kl_model *m, struct kl_store_session *t,
                          struct kl_key_version *k, struct kl_err *err) KL_MUST_USE;

/** A list of homes as it is stored, after a check: each one configured, none twice; for the domain
 * profile each one ready and able to hold a domain-backed key, so that copies are possible.
 * KL_BAD_INPUT, KL_TOKEN_UNAVAILABLE, KL_TOKEN_UNSUPPORTED. */
enum kl_code kl_home_list(const struct kl_model *m, const char *const *names, size_t count,
                          enum kl_profile profile, char ret[static KL_ROW_HOMES],
                          struct kl_err *err) KL_MUST_USE;

/** Copy all versions of an object to the homes of its vault that lack them and are ready. What
 * fails is logged, and done by the next reconciliation. Blocks for token calls. */
void kl_home_spread(struct kl_model *m, const struct kl_vault *v, int64_t object_id);
/** The same for all keys of a vault. */
void kl_home_spread_vault(struct kl_model *m, const struct kl_vault *v);
/** That for a key which was made just now: *key becomes the snapshot that knows all its homes,
 * where there are more than one. Never a failure of the creation: KL_OK. */
enum kl_code kl_home_settle(struct kl_model *m, struct kl_vault *v, int64_t object_id,
                            struct kl_key_version **key, struct kl_err *err);
/** A key of the service itself to every other token that can take it; how many copies were made. */
unsigned kl_home_spread_own(struct kl_model *m, const struct kl_key_version *key);
/** The same for every vault, and for the service's own keys; how many copies were made. */
unsigned kl_home_fill(struct kl_model *m);

/** Is this copy one that is under way? Under births.lock. */
bool kl_home_moving_locked(const struct kl_model *m, const uint8_t id[static KL_KEY_ID_LEN]);
/** Undo a copy that was never READY: its token object, then its row. */
enum kl_code kl_home_undo(struct kl_model *m, struct kl_token *token,
                          const struct kl_token_key_row *row, struct kl_err *err) KL_MUST_USE;

#endif
