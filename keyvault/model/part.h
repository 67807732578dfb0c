/* Sealed JSON that belongs to a certificate or to a vault: policies, operations under way with
 * their private keys, issuers, contacts. Private to the model. Thread safe. */
#ifndef KL_KEYVAULT_MODEL_PART_H
#define KL_KEYVAULT_MODEL_PART_H

#include "base/json.h"
#include "keyvault/model/inside.h"

/** Stored: append only. */
enum kl_part {
    KL_PART_POLICY = 1, /* of a certificate */
    KL_PART_PENDING,    /* its operation under way, or the last one */
    KL_PART_KEY,        /* the private key for it, PKCS#8, until there is a certificate */
    KL_PART_ISSUER,     /* of a vault, by name */
    KL_PART_CONTACTS,
    KL_PART_COUNT
};

struct kl_part_id {
    const struct kl_vault *v;
    int64_t object; /* 0 = the vault's */
    enum kl_part part;
    const char *name; /* of the certificate or issuer; "" for contacts */
};

/** Inside of a caller's write session. */
enum kl_code kl_part_write(struct kl_store_session *t, const struct kl_vault_key *key,
                           const struct kl_part_id *id, const void *bytes, size_t n,
                           struct kl_err *err) KL_MUST_USE;
enum kl_code kl_part_write_json(struct kl_store_session *t, const struct kl_vault_key *key,
                                const struct kl_part_id *id, const json_t *json,
                                struct kl_err *err) KL_MUST_USE;
/** *ret_found may be NULL. */
enum kl_code kl_part_delete(struct kl_store_session *t, const struct kl_part_id *id,
                            bool *ret_found, struct kl_err *err) KL_MUST_USE;

/** In a session of its own; may wait for a token. KL_NOT_FOUND, KL_CORRUPT. */
enum kl_code kl_part_read(struct kl_model *m, const struct kl_part_id *id, struct kl_secret **ret,
                          struct kl_err *err) KL_MUST_USE;
enum kl_code kl_part_read_json(struct kl_model *m, const struct kl_part_id *id, json_t **ret,
                               struct kl_err *err) KL_MUST_USE;

#endif
