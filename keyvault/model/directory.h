/* Principals and their credentials in memory, found by id, name, or what they prove themselves
 * with. Private to the model. Read under a read lock; replaced as a whole. */
#ifndef KL_KEYVAULT_MODEL_DIRECTORY_H
#define KL_KEYVAULT_MODEL_DIRECTORY_H

#include "keyvault/model/principal.h"
#include "keyvault/store/store.h"

#include <pthread.h>

/** One state of it. */
struct kl_people {
    struct kl_principal *principals; /* by folded name */
    size_t principal_count, principal_room;
    struct kl_credential *credentials; /* by object id, oldest first */
    size_t credential_count, credential_room;
    uint32_t *slots; /* open addressing; 0 = free, else 1 + place in `principals` or behind them in
                        `credentials` */
    size_t slot_count; /* a power of two */
};

struct kl_directory {
    pthread_rwlock_t lock;
    struct kl_people now;
    atomic_uint_fast64_t generation;
};

void kl_directory_init(struct kl_directory *d);
void kl_directory_done(struct kl_directory *d);
/** Read all from the store and show it, with the next generation; nothing changes on failure. The
 * session must be a write session once there are other threads. */
enum kl_code kl_directory_load(struct kl_directory *d, struct kl_store_session *t,
                               struct kl_err *err) KL_MUST_USE;

/* Under `lock`. Borrowed; NULL = none. */
const struct kl_principal *kl_people_find(const struct kl_people *p, const char *any);
const struct kl_credential *kl_people_proof(const struct kl_people *p, enum kl_credential_kind kind,
                                            const uint8_t hash[static 32]);
/** The first of a principal's credentials and their number. */
const struct kl_credential *kl_people_credentials(const struct kl_people *p, const char *object_id,
                                                  size_t *ret_count);

#endif
