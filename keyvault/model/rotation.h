/* Rotation policies of keys, and the rotations that they ask for.
 *
 * Whether a key is due is read from its newest version alone, and its new version is committed only
 * while that version is still the newest: a service that is killed in between, runs twice, or meets
 * a rotation by hand makes one version, never two. What comes due while the service is down is done
 * when it is back. */
#ifndef KL_KEYVAULT_MODEL_ROTATION_H
#define KL_KEYVAULT_MODEL_ROTATION_H

#include "keyvault/model/model.h"

#define KL_DURATION_MAX 31 /* characters of an ISO 8601 duration that is kept */

/** A span of time as written and in seconds, a year counting 365 days and a month 30, as in .NET's
 * XmlConvert.ToTimeSpan, which the real service is built on. seconds 0 = none. */
struct kl_duration {
    char text[KL_DURATION_MAX + 1];
    int64_t seconds;
};

struct kl_rotation {
    struct kl_duration rotate; /* seconds 0 = no rotation */
    bool rotate_before_expiry; /* counted back from exp; else on from created */
    struct kl_duration notify; /* before exp */
    struct kl_duration expiry; /* of versions that a rotation makes; none = they do not expire */
    int64_t created, updated;  /* unix seconds, 0 = never set */
};

/** "P90D", "P1Y10D", "PT48H" (ISO 8601 4.4.3.2; weeks too). KL_BAD_INPUT for anything else, for
 * nothing, and for more than a hundred years. */
enum kl_code kl_duration_parse(const char *text, struct kl_duration *ret,
                               struct kl_err *err) KL_MUST_USE;

/** Key Vault's rules: 28 days of life at least; a rotation at least 7 days after the creation and 7
 * days before the expiry; before an expiry only where versions expire. KL_BAD_INPUT. */
enum kl_code kl_rotation_check(const struct kl_rotation *r, struct kl_err *err) KL_MUST_USE;

/** The policy of a key; one that only notifies, 30 days before the expiry, where none was set.
 * KL_KEY_NOT_FOUND. */
enum kl_code kl_rotation_get(struct kl_model *m, struct kl_vault *v, const char *name,
                             struct kl_rotation *ret, struct kl_err *err) KL_MUST_USE;
/** Set or replace it; *policy gets its times. KL_KEY_NOT_FOUND, KL_BAD_INPUT (also: a rotation of a
 * key that was not made here), KL_MANAGED. */
enum kl_code kl_rotation_put(struct kl_model *m, struct kl_vault *v, const char *name,
                             struct kl_rotation *policy, struct kl_err *err) KL_MUST_USE;

/** Rotate what is due by the wall clock `now` (unix seconds). What fails is logged and due again at
 * the next call. Token calls. */
enum kl_code kl_rotation_run(struct kl_model *m, int64_t now, unsigned *ret_rotated,
                             struct kl_err *err) KL_MUST_USE;

#endif
