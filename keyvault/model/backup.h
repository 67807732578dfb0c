/* The steps that a backup, a restore and a re-seal share. Private to the model. All block for token
 * calls. */
#ifndef KL_KEYVAULT_MODEL_BACKUP_H
#define KL_KEYVAULT_MODEL_BACKUP_H

#include "keyvault/model/backup_blob.h"
#include "keyvault/model/domain.h"
#include "keyvault/model/inside.h"

/** Decode a blob and believe it: its domain key is on the vault's token, the seal is right, and its
 * subscription and geography are the vault's. KL_BACKUP_MALFORMED, KL_BACKUP_DOMAIN,
 * KL_BACKUP_SCOPE. End with kl_backup_done; the blob must outlive *ret. */
enum kl_code kl_backup_open(struct kl_model *m, struct kl_vault *v, const void *blob, size_t n,
                            struct kl_backup *ret, struct kl_seal_domain *ret_domain,
                            struct kl_token **ret_token, struct kl_err *err) KL_MUST_USE;

/** May a backup of that subscription and geography come into this vault? Its row's MAC is checked
 * as well. KL_BACKUP_SCOPE, KL_CORRUPT. */
enum kl_code kl_backup_check_scope(struct kl_model *m, const struct kl_vault *v,
                                   const char *subscription, const char *geography,
                                   struct kl_err *err) KL_MUST_USE;

/** What the token is asked to unwrap a version: KL_CALL_UNWRAP (then set key.id and label) or
 * KL_CALL_RESEAL. Points into the blob. */
void kl_backup_unwrap_request(const struct kl_backup_version *from, enum kl_token_call call,
                              struct kl_token_request *ret);

/** Length and seal, under the domain that the blob's head names. KL_TOO_BIG. */
enum kl_code kl_backup_finish(struct kl_buf *out, struct kl_token *token,
                              const struct kl_seal_domain *domain, struct kl_err *err) KL_MUST_USE;

/** Note that the newest backup of this key is the blob with this seal, under this domain; on disk
 * when it returns, or kept in memory while the store cannot be written. */
enum kl_code kl_backup_note(struct kl_model *m, const struct kl_vault *v, int64_t kind,
                            const char *name, const struct kl_seal_domain *domain,
                            const uint8_t seal[static KL_BACKUP_MAC_LEN],
                            struct kl_err *err) KL_MUST_USE;

struct kl_birth;
/** kl_key_backup of a key behind a certificate, for the backup of that. */
enum kl_code kl_key_backup_managed(struct kl_model *m, struct kl_vault *v, const char *name,
                                   struct kl_buf *ret, struct kl_err *err) KL_MUST_USE;
/** kl_key_restore of such a key, which must have this name; `like` has managed, also and also_arg
 * set, nothing else. */
enum kl_code kl_key_restore_managed(struct kl_model *m, struct kl_vault *v, const void *blob,
                                    size_t n, const char *name, const struct kl_birth *like,
                                    struct kl_key_version **ret, struct kl_err *err) KL_MUST_USE;

#endif
