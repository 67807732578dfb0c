/* Events: what happened to a version, or is about to, for those who listen (keyvault/events.h) and
 * for the audit log. They wait in the store until everybody has them.
 *
 * An event of a new version is committed together with the version; one about an expiry together
 * with a mark of that version and that expiry, so that none comes twice, whenever the service is
 * killed. Delivery is at least once, always under the same id. Names and data: Microsoft's event
 * schema of Key Vault for Event Grid. Thread safe; writes may block for an fsync. */
#ifndef KL_KEYVAULT_MODEL_EVENT_H
#define KL_KEYVAULT_MODEL_EVENT_H

#include "keyvault/model/model.h"

/** Stored: append only. The first nine are three to each kind, in the order of enum kl_kind. */
enum kl_event_type {
    KL_EVENT_KEY_NEW,
    KL_EVENT_KEY_NEAR_EXPIRY,
    KL_EVENT_KEY_EXPIRED,
    KL_EVENT_SECRET_NEW,
    KL_EVENT_SECRET_NEAR_EXPIRY,
    KL_EVENT_SECRET_EXPIRED,
    KL_EVENT_CERTIFICATE_NEW,
    KL_EVENT_CERTIFICATE_NEAR_EXPIRY,
    KL_EVENT_CERTIFICATE_EXPIRED,
    KL_EVENT_KEY_ROTATED, /* by its policy: for the audit log alone */
    KL_EVENT_TYPES
};

struct kl_event_name {
    const char *event;  /* "KeyNewVersionCreated"; NULL = nobody but the audit log hears of it */
    const char *audit;  /* operationName of its record; NULL = a request had one already */
    const char *object; /* "Key": ObjectType */
    const char *collection; /* "keys": of the object's URL */
};
/** The names of a type; NULL for a number that is none. */
const struct kl_event_name *kl_event_name(int64_t type);

struct kl_event {
    int64_t number;
    char id[KL_UUID_LEN + 1]; /* the same at each delivery */
    enum kl_event_type type;
    struct kl_vault *vault; /* reference; free with kl_event_done */
    char name[KL_NAME_MAX + 1], version[KL_VERSION_LEN + 1];
    struct kl_key_attrs attrs;
    int64_t time_ms; /* unix, when it happened */
    int64_t tries;   /* deliveries that failed */
};
void kl_event_done(struct kl_event *e);

/** Whether there is a receiver at all, and how many events may wait for it: without one, events
 * are for the audit log alone. Before any other thread. */
void kl_event_receiver(struct kl_model *m, bool there, int64_t most);
/** Events that were thrown away since the start because too many waited. */
uint64_t kl_event_lost(struct kl_model *m);

/** Look for newest versions whose expiry is near or past, and put down their events. *ret_found
 * counts them. Wall clock `now` in unix seconds. */
enum kl_code kl_event_scan(struct kl_model *m, int64_t now, unsigned *ret_found,
                           struct kl_err *err) KL_MUST_USE;

/** The oldest event without its audit record. KL_NOT_FOUND. */
enum kl_code kl_event_unrecorded(struct kl_model *m, struct kl_event *ret,
                                 struct kl_err *err) KL_MUST_USE;
/** Its record is on disk: it goes on to the receiver, or is done. */
enum kl_code kl_event_set_recorded(struct kl_model *m, const struct kl_event *e,
                                   struct kl_err *err) KL_MUST_USE;
/** The oldest recorded event whose next try has come. KL_NOT_FOUND. */
enum kl_code kl_event_ready(struct kl_model *m, int64_t now_ms, struct kl_event *ret,
                            struct kl_err *err) KL_MUST_USE;
/** It was not delivered; again at `next_ms` (unix milliseconds). */
enum kl_code kl_event_set_tried(struct kl_model *m, const struct kl_event *e, int64_t next_ms,
                                struct kl_err *err) KL_MUST_USE;
/** Delivered, or given up. */
enum kl_code kl_event_forget(struct kl_model *m, const struct kl_event *e,
                             struct kl_err *err) KL_MUST_USE;

#endif
