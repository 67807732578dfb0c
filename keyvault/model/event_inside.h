/* Events from within the model: put down in the session of what happened. Private to the model. */
#ifndef KL_KEYVAULT_MODEL_EVENT_INSIDE_H
#define KL_KEYVAULT_MODEL_EVENT_INSIDE_H

#include "keyvault/model/event.h"
#include "keyvault/model/inside.h"

/** What an event is about. */
struct kl_event_about {
    enum kl_event_type type;
    const char *vault_id, *name, *version;
    struct kl_key_attrs attrs;
};

/** A new version that is READY with this session's commit; nothing where nobody listens. */
enum kl_code kl_event_new_version(struct kl_model *m, struct kl_store_session *t,
                                  const struct kl_event_about *about,
                                  struct kl_err *err) KL_MUST_USE;
/** A rotation by policy, likewise: for the audit log. */
enum kl_code kl_event_rotated(struct kl_model *m, struct kl_store_session *t,
                              const struct kl_event_about *about, struct kl_err *err) KL_MUST_USE;

#endif
