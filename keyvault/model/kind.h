/* What differs between the kinds of objects that share one life (softdelete.h), a row for each: a
 * kind more is a row more. Private to the model. */
#ifndef KL_KEYVAULT_MODEL_KIND_H
#define KL_KEYVAULT_MODEL_KIND_H

#include "keyvault/model/object.h"
#include "keyvault/store/rows.h"

struct kl_kind_row {
    const char *noun, *title;     /* "key", "Key" */
    enum kl_code missing;         /* no active object of that name */
    enum kl_code deleted_missing; /* no deleted one */
    bool on_token; /* each version has an object on a token, which a purge destroys first; else
                      purging is one commit */
    bool leads;    /* key and secret of its name that are managed go the way it goes */
    enum kl_store_query forget; /* removes all versions of an object that has nothing on a token */
};

/** The row of a kind as stored; one that refuses everything as KL_CORRUPT for a number that is no
 * kind. */
const struct kl_kind_row *kl_kind_row(int64_t kind);

/** The kind's code for a missing object or version, in the words that clients know. `version` ""
 * or NULL = the object. */
enum kl_code kl_object_missing(enum kl_kind kind, const char *name, const char *version,
                               struct kl_err *err);
/** The same for a deleted object. */
enum kl_code kl_object_not_deleted(enum kl_kind kind, const char *name, struct kl_err *err);
/** KL_NAME_DELETED: a deleted object holds the name. */
enum kl_code kl_object_held(enum kl_kind kind, const char *name, struct kl_err *err);

/** KL_CONFLICT: the name is taken by an object behind a certificate (`led`), or by one that is not
 * and was to become one. */
enum kl_code kl_object_led(enum kl_kind kind, const char *name, bool led, struct kl_err *err);
/** KL_MANAGED: what is behind a certificate changes with it only. */
enum kl_code kl_object_managed(enum kl_kind kind, const char *name, struct kl_err *err);

#endif
