/* The key service as a KEK of containers (container/head.h). Threads as for the client behind it.
 */
#ifndef KL_WRAP_VAULT_KEK_H
#define KL_WRAP_VAULT_KEK_H

#include "wrap/container/head.h"
#include "wrap/vault_client.h"

/** The client's keys; the client is borrowed for as long as the result is used. */
struct kl_kek kl_vault_kek(struct kl_vault_client *c);

/** Versioned URL of the newest version of an unversioned key URL (GET, permission get). */
enum kl_code kl_vault_newest_key(struct kl_vault_client *c, const char *key_url,
                                 char ret_kid[static KL_KEY_URL_MAX],
                                 struct kl_err *err) KL_MUST_USE;

#endif
