/* Handlers of the rows in route.c, and the few steps that they share. See op.h for the rules. */
#ifndef KL_KEYVAULT_OPS_H
#define KL_KEYVAULT_OPS_H

#include "base/buf.h"
#include "keyvault/op.h"
#include "keyvault/service.h"

/* op_keys.c */
kl_op_handler kl_op_key_create, kl_op_key_get, kl_op_key_update, kl_op_key_rotate;
/* op_rotation.c */
kl_op_handler kl_op_rotation_get, kl_op_rotation_put, kl_op_key_release;
/* op_import.c */
kl_op_handler kl_op_key_import;
/* op_list.c */
kl_op_handler kl_op_key_list, kl_op_key_versions, kl_op_deleted_list;
/* op_crypto.c */
kl_op_handler kl_op_encrypt, kl_op_decrypt, kl_op_wrap, kl_op_unwrap, kl_op_sign, kl_op_verify,
    kl_op_random;
/* op_deleted.c */
kl_op_handler kl_op_key_delete, kl_op_deleted_get, kl_op_deleted_recover, kl_op_deleted_purge;
/* op_backup.c */
kl_op_handler kl_op_key_backup, kl_op_key_restore, kl_op_key_reseal;
/* op_secrets.c, op_secret_list.c */
kl_op_handler kl_op_secret_set, kl_op_secret_get, kl_op_secret_update, kl_op_secret_backup,
    kl_op_secret_restore, kl_op_secret_delete, kl_op_deleted_secret_get,
    kl_op_deleted_secret_recover, kl_op_deleted_secret_purge, kl_op_secret_list,
    kl_op_secret_versions, kl_op_deleted_secret_list;
/* op_certificates.c */
kl_op_handler kl_op_certificate_create, kl_op_certificate_import, kl_op_certificate_get,
    kl_op_certificate_update, kl_op_certificate_policy_get, kl_op_certificate_policy_update,
    kl_op_certificate_delete, kl_op_deleted_certificate_get, kl_op_deleted_certificate_recover,
    kl_op_deleted_certificate_purge, kl_op_certificate_backup, kl_op_certificate_restore;
/* op_pending.c */
kl_op_handler kl_op_pending_get, kl_op_pending_cancel, kl_op_pending_delete, kl_op_pending_merge;
/* op_certificate_list.c */
kl_op_handler kl_op_certificate_list, kl_op_certificate_versions, kl_op_deleted_certificate_list,
    kl_op_issuer_list, kl_op_issuer_get, kl_op_issuer_put, kl_op_issuer_update, kl_op_issuer_delete,
    kl_op_contacts_get, kl_op_contacts_put, kl_op_contacts_delete;
/* op_health.c */
kl_op_handler kl_op_healthz, kl_op_readyz, kl_op_metrics;

/** "ready" …, "half-open" …: how the API spells a token's state and its circuit. Static. */
const char *kl_health_state(enum kl_token_state state);
const char *kl_health_circuit(enum kl_circuit circuit);

/** End with JSON in a buffer, which is taken, and wiped once it is sent. 500 when the buffer has
 * failed. */
void kl_op_reply_buf(struct kl_op *op, int status, struct kl_buf *json);
/** End with the KeyBundle of op->key. */
void kl_op_reply_bundle(struct kl_op *op);
struct kl_vault_secret;
/** End with a CertificateBundle; takes what the certificate holds. `whole`: with its policy. */
void kl_op_reply_certificate(struct kl_op *op, int status, struct kl_vault_secret *c, bool whole);
/** End with 202, JSON in a buffer, and where its progress is to be asked for. */
void kl_op_reply_accepted_buf(struct kl_op *op, const char *location, struct kl_buf *json);
/** End with op->err, which holds `code`, unless that is KL_OK. True = go on. */
bool kl_op_ok(struct kl_op *op, enum kl_code code);
/** The backup in the body's member "value"; malloc'd. KL_BAD_INPUT, KL_BACKUP_MALFORMED. */
enum kl_code kl_op_read_blob(struct kl_op *op, uint8_t **ret, size_t *ret_len) KL_MUST_USE;
/** End with {"value": blob}, or with op->err, which holds `code`; the blob is taken. */
void kl_op_reply_blob(struct kl_op *op, enum kl_code code, struct kl_buf *blob);
/** Parse the body, if there is one, unless that has happened. KL_BAD_INPUT. */
enum kl_code kl_op_parse_body(struct kl_op *op) KL_MUST_USE;
/** The same, and KL_BAD_INPUT when there is none. */
enum kl_code kl_op_need_body(struct kl_op *op) KL_MUST_USE;

#endif
