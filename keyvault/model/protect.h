/* MACs over the rows whose change could bring a purge forward or bring a deleted key back. Private
 * to the model.
 *
 * The MAC key of rows is what the token's KL_CALL_MAC answers to a fixed label. It is fetched for
 * each change, outside of any store session, used for as many rows as the change has, and wiped: a
 * change needs the token, a start checks thousands of rows with one token call, and nothing is left
 * in memory between. A token that cannot MAC leaves its vaults to another configured one that can;
 * without any, rows carry zeros. */
#ifndef KL_KEYVAULT_MODEL_PROTECT_H
#define KL_KEYVAULT_MODEL_PROTECT_H

#include "base/secret.h"
#include "keyvault/store/rows.h"

struct kl_model;
struct kl_token;

struct kl_protector {
    struct kl_secret *key; /* 32 bytes; NULL: no token can */
};

/** Fetch the key for rows of a vault on `token_name` (NULL: of the service itself). Blocks for a
 * token call. KL_TOKEN_UNAVAILABLE and the like. */
enum kl_code kl_protect_open(const struct kl_model *m, const char *token_name,
                             struct kl_protector *ret, struct kl_err *err) KL_MUST_USE;
void kl_protect_close(struct kl_protector *p);

/** Set row->mac. */
enum kl_code kl_protect_vault(const struct kl_protector *p, struct kl_vault_row *row,
                              struct kl_err *err) KL_MUST_USE;
enum kl_code kl_protect_object(const struct kl_protector *p, struct kl_object_row *row,
                               struct kl_err *err) KL_MUST_USE;
/** A version's binding to its key and its token object. The MAC is over what both row types hold.
 */
enum kl_code kl_protect_version(const struct kl_protector *p, struct kl_version_row *row,
                                struct kl_err *err) KL_MUST_USE;
/** The same for a version that is not made yet. What is CREATING gets undone, with what the token
 * has under its id: nobody but this service may say so. */
enum kl_code kl_protect_creating(const struct kl_protector *p, struct kl_version_row *row,
                                 struct kl_err *err) KL_MUST_USE;
/** The attributes that an update may change, with what they belong to: row->attr_mac. */
enum kl_code kl_protect_attributes(const struct kl_protector *p, struct kl_version_row *row,
                                   struct kl_err *err) KL_MUST_USE;
/** A further home of a version, READY or in the making. */
enum kl_code kl_protect_home(const struct kl_protector *p, struct kl_home_row *row, bool ready,
                             struct kl_err *err) KL_MUST_USE;
/** The row-protection key itself, from the token; made there when this database never saw one, and
 * known again by a note in it. KL_TOKEN_UNAVAILABLE when it is another one, or none. No store
 * session may be open. */
enum kl_code kl_protect_ask(const struct kl_model *m, struct kl_token *t, struct kl_secret **ret,
                            struct kl_err *err) KL_MUST_USE;
/** MAC of a text, for one purpose. */
enum kl_code kl_protect_text(const struct kl_protector *p, const char *purpose, const char *text,
                             uint8_t ret[static KL_ROW_MAC], struct kl_err *err) KL_MUST_USE;

/** KL_CORRUPT, with a line in the log, when the row is not as it was written. */
enum kl_code kl_protect_check_vault(const struct kl_protector *p, const struct kl_vault_row *row,
                                    struct kl_err *err) KL_MUST_USE;
enum kl_code kl_protect_check_object(const struct kl_protector *p, const struct kl_object_row *row,
                                     struct kl_err *err) KL_MUST_USE;
enum kl_code kl_protect_check_version(const struct kl_protector *p,
                                      const struct kl_token_key_row *row,
                                      struct kl_err *err) KL_MUST_USE;
enum kl_code kl_protect_check_creating(const struct kl_protector *p,
                                       const struct kl_token_key_row *row,
                                       struct kl_err *err) KL_MUST_USE;

#define KL_AUTO_PROTECTOR __attribute__((cleanup(kl_protect_close))) struct kl_protector

#endif
