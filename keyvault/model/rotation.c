#include "keyvault/model/rotation.h"

#include "base/clock.h"
#include "base/log.h"
#include "keyvault/model/inside.h"
#include "keyvault/model/key.h"
#include "keyvault/model/kind.h"
#include "keyvault/model/softdelete.h"

#include <string.h>

#define DAY            INT64_C(86400)
#define LONGEST        (100 * 365 * DAY)
#define SHORTEST_LIFE  (28 * DAY)
#define SHORTEST_WAIT  (7 * DAY) /* after the creation and before the expiry */
#define USUAL_NOTICE   "P30D"
#define USUAL_NOTICE_S (30 * DAY)

/* --- durations --- */

struct unit {
    char letter;
    int64_t seconds;
};
static const struct unit date_units[] = {
    {'Y', 365 * DAY}, {'M', 30 * DAY}, {'W', 7 * DAY}, {'D', DAY}};
static const struct unit time_units[] = {{'H', 3600}, {'M', 60}, {'S', 1}};

/* Numbers with letters, each letter once and in order; *at moves on. False when something else is
 * there. */
static bool take_units(const char **at, const struct unit *units, size_t count, int64_t *sum)
{
    size_t next = 0;
    const char *p = *at;
    while (*p >= '0' && *p <= '9') {
        int64_t n = 0;
        for (; *p >= '0' && *p <= '9'; p++)
            n = n > LONGEST ? n : n * 10 + (*p - '0');
        while (next < count && units[next].letter != *p)
            next++;
        if (next == count || n > LONGEST / units[next].seconds)
            return false;
        *sum += n * units[next++].seconds;
        p++;
    }
    bool some = p != *at;
    *at = p;
    return some;
}

enum kl_code kl_duration_parse(const char *text, struct kl_duration *ret, struct kl_err *err)
{
    const char *p = text;
    int64_t sum = 0;
    size_t len = strlen(text);
    bool good = len <= KL_DURATION_MAX && *p++ == 'P';
    if (good && *p != 'T')
        good = take_units(&p, date_units, KL_COUNT(date_units), &sum);
    if (good && *p == 'T') {
        p++;
        good = take_units(&p, time_units, KL_COUNT(time_units), &sum);
    }
    if (!good || *p != '\0' || sum <= 0 || sum > LONGEST)
        return kl_fail(err, KL_BAD_INPUT, "duration",
                       "'%.31s' is not an ISO 8601 duration of at most 100 years, as P90D, P3M or "
                       "PT48H",
                       text);
    memcpy(ret->text, text, len + 1);
    ret->seconds = sum;
    return KL_OK;
}

/* --- rules --- */

enum kl_code kl_rotation_check(const struct kl_rotation *r, struct kl_err *err)
{
    int64_t life = r->expiry.seconds, rotate = r->rotate.seconds;
    if (life != 0 && life < SHORTEST_LIFE)
        return kl_fail(err, KL_BAD_INPUT, "expiryTime",
                       "The expiryTime of a rotation policy must be at least 28 days");
    if (rotate == 0)
        return KL_OK;
    if (r->rotate_before_expiry && life == 0)
        return kl_fail(err, KL_BAD_INPUT, "timeBeforeExpiry",
                       "A rotation by timeBeforeExpiry needs an expiryTime in the policy");
    if (rotate < SHORTEST_WAIT)
        return kl_fail(err, KL_BAD_INPUT, "trigger",
                       "A rotation must be at least 7 days after the creation and 7 days before "
                       "the expiry of a version");
    if (life != 0 && rotate > life - SHORTEST_WAIT)
        return kl_fail(err, KL_BAD_INPUT, "trigger",
                       "A rotation must be at least 7 days after the creation and 7 days before "
                       "the expiry of a version, and the expiryTime is %s",
                       r->expiry.text);
    return KL_OK;
}

/* --- rows --- */

static void put_duration(char out[static KL_ROW_DURATION], const struct kl_duration *d)
{
    (void)snprintf(out, KL_ROW_DURATION, "%s", d->text);
}

static void from_row(const struct kl_rotation_row *row, struct kl_rotation *ret)
{
    *ret = (struct kl_rotation){.rotate_before_expiry = row->rotate_before > 0,
                                .created = row->created,
                                .updated = row->updated};
    ret->rotate.seconds = row->rotate_before > 0 ? row->rotate_before : row->rotate_after;
    ret->notify.seconds = row->notify_before;
    ret->expiry.seconds = row->lifetime;
    (void)snprintf(ret->rotate.text, sizeof ret->rotate.text, "%s", row->rotate);
    (void)snprintf(ret->notify.text, sizeof ret->notify.text, "%s", row->notify);
    (void)snprintf(ret->expiry.text, sizeof ret->expiry.text, "%s", row->expiry);
}

static void to_row(const struct kl_rotation *p, int64_t object, struct kl_rotation_row *ret)
{
    *ret = (struct kl_rotation_row){.object = object,
                                    .notify_before = p->notify.seconds,
                                    .lifetime = p->expiry.seconds,
                                    .created = p->created,
                                    .updated = p->updated};
    *(p->rotate_before_expiry ? &ret->rotate_before : &ret->rotate_after) = p->rotate.seconds;
    put_duration(ret->rotate, &p->rotate);
    put_duration(ret->notify, &p->notify);
    put_duration(ret->expiry, &p->expiry);
}

static enum kl_code active_key(struct kl_store_session *t, const struct kl_vault *v,
                               const char *name, struct kl_object_row *ret, struct kl_err *err)
{
    enum kl_code code = kl_object_read(t, v->id, KL_KIND_KEY, name, ret, err);
    if (code == KL_NOT_FOUND || (code == KL_OK && ret->state != KL_LIFE_ACTIVE))
        return kl_key_missing(err, name);
    return code;
}

/* The policy of an object as the session sees it. */
static enum kl_code read_policy(struct kl_store_session *t, int64_t object, struct kl_rotation *ret,
                                struct kl_err *err)
{
    struct kl_rotation_row row;
    enum kl_code code = kl_store_one(t, KL_Q_ROTATION_GET, KL_ARGS(KL_ARG_INT(object)), &row, err);
    if (code == KL_NOT_FOUND) {
        *ret = (struct kl_rotation){.notify = {USUAL_NOTICE, USUAL_NOTICE_S}};
        return KL_OK;
    }
    if (code == KL_OK)
        from_row(&row, ret);
    return code;
}

enum kl_code kl_rotation_get(struct kl_model *m, struct kl_vault *v, const char *name,
                             struct kl_rotation *ret, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_object_row object = {0};
    enum kl_code code = kl_name_valid(name) ? KL_OK : kl_key_missing(err, name);
    if (code == KL_OK)
        code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = active_key(t, v, name, &object, err);
    return code == KL_OK ? read_policy(t, object.id, ret, err) : code;
}

/* What came from elsewhere has a second owner, who rotates it; its versions here would be other
 * keys than theirs. */
static enum kl_code may_rotate(struct kl_model *m, struct kl_vault *v, const char *name,
                               struct kl_err *err)
{
    KL_AUTO(key_version) newest = NULL;
    enum kl_code code = kl_key_find(m, v, name, "", &newest, err);
    if (code == KL_OK && newest->origin != KL_ORIGIN_MADE)
        return kl_fail(err, KL_BAD_INPUT, "lifetimeActions",
                       "The key %.127s was brought in from outside and can only have the action "
                       "Notify",
                       name);
    return code;
}

static enum kl_code write_policy(struct kl_model *m, const struct kl_vault *v, const char *name,
                                 struct kl_rotation *policy, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_object_row object = {0};
    struct kl_rotation_row row;
    struct kl_rotation before;
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_vault_must_be_active(t, v->id, err);
    if (code == KL_OK)
        code = active_key(t, v, name, &object, err);
    if (code == KL_OK && object.managed != 0)
        return kl_object_managed(KL_KIND_KEY, name, err);
    if (code == KL_OK)
        code = read_policy(t, object.id, &before, err);
    if (code != KL_OK)
        return code;
    policy->updated = kl_clock_unix();
    policy->created = before.created != 0 ? before.created : policy->updated;
    to_row(policy, object.id, &row);
    code = kl_store_insert(t, KL_Q_ROTATION_PUT, &row, NULL, err);
    return code == KL_OK ? kl_store_commit(t, err) : code;
}

enum kl_code kl_rotation_put(struct kl_model *m, struct kl_vault *v, const char *name,
                             struct kl_rotation *policy, struct kl_err *err)
{
    if (policy->notify.seconds == 0) /* the real service adds it to a policy without one */
        policy->notify = (struct kl_duration){USUAL_NOTICE, USUAL_NOTICE_S};
    enum kl_code code =
        kl_name_valid(name) ? kl_rotation_check(policy, err) : kl_key_missing(err, name);
    if (code == KL_OK && policy->rotate.seconds != 0)
        code = may_rotate(m, v, name, err);
    return code == KL_OK ? write_policy(m, v, name, policy, err) : code;
}

/* --- the rotation --- */

static enum kl_code rotate(struct kl_model *m, struct kl_vault *v, const struct kl_key_version *old,
                           bool by_policy, struct kl_key_version **ret, struct kl_err *err)
{
    struct kl_rotation policy;
    enum kl_code code = kl_rotation_get(m, v, old->name, &policy, err);
    if (code != KL_OK)
        return code;
    struct kl_key_create how = {.spec = {.type = old->type,
                                         .bits = old->bits,
                                         .curve = old->curve,
                                         .profile = old->profile},
                                .hsm = old->hsm,
                                .ops = old->ops,
                                .attrs = {.enabled = true},
                                .tags_json = old->tags_json,
                                .replaces = by_policy ? old->seq : 0};
    how.attrs.has_exp = policy.expiry.seconds != 0;
    how.attrs.exp = how.attrs.has_exp ? kl_clock_unix() + policy.expiry.seconds : 0;
    return kl_key_create(m, v, old->name, &how, ret, err);
}

enum kl_code kl_key_rotate(struct kl_model *m, struct kl_vault *v, const char *name,
                           struct kl_key_version **ret, struct kl_err *err)
{
    KL_AUTO(key_version) old = NULL;
    enum kl_code code = kl_key_find(m, v, name, "", &old, err);
    return code == KL_OK ? rotate(m, v, old, false, ret, err) : code;
}

static enum kl_code rotate_due(struct kl_model *m, const struct kl_due_row *due, struct kl_err *err)
{
    KL_AUTO(vault) v = NULL;
    KL_AUTO(key_version) old = NULL;
    KL_AUTO(key_version) fresh = NULL;
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_snapshot_vault(m, t, due->vault_id, &v, err);
    kl_store_end(kl_take(t));
    if (code == KL_OK)
        code = kl_key_find(m, v, due->name, due->version, &old, err);
    if (code == KL_OK)
        code = rotate(m, v, old, true, &fresh, err);
    if (code == KL_OK)
        kl_log(KL_LOG_INFO, "rotated by policy vault=%s key=%s version=%s", v->name, due->name,
               fresh->version);
    return code;
}

enum kl_code kl_rotation_run(struct kl_model *m, int64_t now, unsigned *ret_rotated,
                             struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    void *rows = NULL;
    size_t count = 0;
    unsigned rotated = 0;
    struct kl_err e;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_store_all(t, KL_Q_ROTATIONS_DUE, KL_ARGS(KL_ARG_INT(now)), &rows, &count, err);
    kl_store_end(kl_take(t));
    for (size_t i = 0; i < count && code == KL_OK; i++) {
        const struct kl_due_row *due = &((const struct kl_due_row *)rows)[i];
        if (rotate_due(m, due, &e) == KL_OK)
            rotated++;
        else {
            (void)kl_err_prefix(&e, "%s", due->name);
            kl_log_err(KL_LOG_ERROR, "rotation by policy, tried again in a minute", &e);
        }
    }
    free(rows);
    if (code == KL_OK)
        *ret_rotated = rotated;
    return code;
}
