#include "keyvault/model/event_inside.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>

#define LONGEST_PAUSE_MS (INT64_C(2) * 24 * 3600 * 1000)

/* Records of near and past expiries have Key Vault's operation names. */
static const struct kl_event_name names[KL_EVENT_TYPES] = {
    [KL_EVENT_KEY_NEW] = {"KeyNewVersionCreated", NULL, "Key", "keys"},
    [KL_EVENT_KEY_NEAR_EXPIRY] = {"KeyNearExpiry", "KeyNearExpiryEventGridNotification", "Key",
                                  "keys"},
    [KL_EVENT_KEY_EXPIRED] = {"KeyExpired", "KeyExpiredEventGridNotification", "Key", "keys"},
    [KL_EVENT_SECRET_NEW] = {"SecretNewVersionCreated", NULL, "Secret", "secrets"},
    [KL_EVENT_SECRET_NEAR_EXPIRY] = {"SecretNearExpiry", "SecretNearExpiryEventGridNotification",
                                     "Secret", "secrets"},
    [KL_EVENT_SECRET_EXPIRED] = {"SecretExpired", "SecretExpiredEventGridNotification", "Secret",
                                 "secrets"},
    [KL_EVENT_CERTIFICATE_NEW] = {"CertificateNewVersionCreated", NULL, "Certificate",
                                  "certificates"},
    [KL_EVENT_CERTIFICATE_NEAR_EXPIRY] = {"CertificateNearExpiry",
                                          "CertificateNearExpiryEventGridNotification",
                                          "Certificate", "certificates"},
    [KL_EVENT_CERTIFICATE_EXPIRED] = {"CertificateExpired",
                                      "CertificateExpiredEventGridNotification", "Certificate",
                                      "certificates"},
    [KL_EVENT_KEY_ROTATED] = {NULL, "KeyRotateIfDue", "Key", "keys"},
};

const struct kl_event_name *kl_event_name(int64_t type)
{
    return type >= 0 && type < KL_EVENT_TYPES ? &names[type] : NULL;
}

void kl_event_done(struct kl_event *e)
{
    kl_vault_unref(e->vault);
    e->vault = NULL;
}

void kl_event_receiver(struct kl_model *m, bool there, int64_t most)
{
    m->events.receiver = there;
    m->events.most = most;
}

uint64_t kl_event_lost(struct kl_model *m)
{
    return atomic_load(&m->events.lost);
}

/* --- putting down --- */

/* *ret = one more may wait. The audit log is never short of one: its records go to disk. */
static enum kl_code room_for_one(struct kl_model *m, struct kl_store_session *t, bool *ret,
                                 struct kl_err *err)
{
    struct kl_number_row waiting = {0};
    enum kl_code code = kl_store_one(t, KL_Q_EVENT_COUNT, NULL, 0, &waiting, err);
    if (code == KL_OK)
        *ret = waiting.number < m->events.most;
    return code;
}

static enum kl_code insert(struct kl_store_session *t, const struct kl_event_about *about,
                           struct kl_err *err)
{
    struct kl_event_row row = {.type = about->type,
                               .has_nbf = about->attrs.has_nbf,
                               .nbf = about->attrs.nbf,
                               .has_exp = about->attrs.has_exp,
                               .exp = about->attrs.exp,
                               .time = kl_clock_unix_ms(),
                               .recorded = names[about->type].audit == NULL};
    kl_uuid_new(row.id);
    (void)snprintf(row.vault_id, sizeof row.vault_id, "%s", about->vault_id);
    (void)snprintf(row.name, sizeof row.name, "%s", about->name);
    (void)snprintf(row.version, sizeof row.version, "%s", about->version);
    return kl_store_insert(t, KL_Q_EVENT_INSERT, &row, NULL, err);
}

enum kl_code kl_event_new_version(struct kl_model *m, struct kl_store_session *t,
                                  const struct kl_event_about *about, struct kl_err *err)
{
    bool room = false;
    if (!m->events.receiver || about->vault_id[0] == '\0')
        return KL_OK;
    enum kl_code code = room_for_one(m, t, &room, err);
    if (code == KL_OK && room)
        return insert(t, about, err);
    if (code == KL_OK && atomic_fetch_add(&m->events.lost, 1) % 1000 == 0)
        kl_log(KL_LOG_ERROR, "too many events wait for their receiver; new ones are lost");
    return code;
}

enum kl_code kl_event_rotated(struct kl_model *m, struct kl_store_session *t,
                              const struct kl_event_about *about, struct kl_err *err)
{
    (void)m;
    return insert(t, about, err);
}

/* --- expiries --- */

struct look {
    enum kl_event_type type;
    enum kl_store_query query;
    int64_t kind; /* of a query that asks for one, else -1 */
};

static const struct look looks[] = {
    {KL_EVENT_KEY_NEAR_EXPIRY, KL_Q_KEYS_NEAR, -1},
    {KL_EVENT_KEY_EXPIRED, KL_Q_KEYS_EXPIRED, -1},
    {KL_EVENT_SECRET_NEAR_EXPIRY, KL_Q_SECRETS_NEAR, KL_KIND_SECRET},
    {KL_EVENT_SECRET_EXPIRED, KL_Q_SECRETS_EXPIRED, KL_KIND_SECRET},
    {KL_EVENT_CERTIFICATE_NEAR_EXPIRY, KL_Q_SECRETS_NEAR, KL_KIND_CERTIFICATE},
    {KL_EVENT_CERTIFICATE_EXPIRED, KL_Q_SECRETS_EXPIRED, KL_KIND_CERTIFICATE},
};

static enum kl_code read_due(struct kl_model *m, const struct look *look, int64_t now, void **ret,
                             size_t *ret_count, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK && look->kind < 0)
        return kl_store_all(t, look->query, KL_ARGS(KL_ARG_INT(now), KL_ARG_INT(look->type)), ret,
                            ret_count, err);
    if (code == KL_OK)
        code =
            kl_store_all(t, look->query,
                         KL_ARGS(KL_ARG_INT(now), KL_ARG_INT(look->kind), KL_ARG_INT(look->type)),
                         ret, ret_count, err);
    return code;
}

/* Mark and event in one commit: a mark that was there already leaves no second event. */
static enum kl_code put_down(struct kl_store_session *t, const struct look *look,
                             const struct kl_due_row *due, unsigned *found, struct kl_err *err)
{
    int64_t fresh = 0;
    const struct kl_event_about about = {.type = look->type,
                                         .vault_id = due->vault_id,
                                         .name = due->name,
                                         .version = due->version,
                                         .attrs = {.has_nbf = due->has_nbf != 0,
                                                   .nbf = due->nbf,
                                                   .has_exp = due->has_exp != 0,
                                                   .exp = due->exp}};
    enum kl_code code = kl_store_run(t, KL_Q_EVENT_MARK,
                                     KL_ARGS(KL_ARG_INT(look->type), KL_ARG_INT(due->object),
                                             KL_ARG_TEXT(due->version), KL_ARG_INT(due->exp)),
                                     &fresh, err);
    if (code != KL_OK || fresh == 0)
        return code;
    ++*found;
    return insert(t, &about, err);
}

static enum kl_code scan_one(struct kl_model *m, const struct look *look, int64_t now,
                             unsigned *found, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    void *rows = NULL;
    size_t count = 0;
    enum kl_code code = read_due(m, look, now, &rows, &count, err);
    if (code == KL_OK && count > 0)
        code = kl_store_begin(m->store, true, &t, err);
    for (size_t i = 0; i < count && code == KL_OK; i++)
        code = put_down(t, look, &((const struct kl_due_row *)rows)[i], found, err);
    if (code == KL_OK && count > 0)
        code = kl_store_commit(t, err);
    free(rows);
    return code;
}

enum kl_code kl_event_scan(struct kl_model *m, int64_t now, unsigned *ret_found, struct kl_err *err)
{
    unsigned found = 0;
    enum kl_code code = KL_OK;
    for (size_t i = 0; i < KL_COUNT(looks) && code == KL_OK; i++) {
        unsigned before;
        do { /* a query gives so many at a time */
            before = found;
            code = scan_one(m, &looks[i], now, &found, err);
        } while (code == KL_OK && found > before);
    }
    if (code == KL_OK)
        *ret_found = found;
    return code;
}

/* --- taking up --- */

static enum kl_code forget_in(struct kl_store_session *t, int64_t number, struct kl_err *err)
{
    return kl_store_run(t, KL_Q_EVENT_DELETE, KL_ARGS(KL_ARG_INT(number)), NULL, err);
}

static void fill(const struct kl_event_row *row, struct kl_event *ret)
{
    *ret = (struct kl_event){.number = row->number,
                             .type = (enum kl_event_type)row->type,
                             .attrs = {.enabled = true,
                                       .has_nbf = row->has_nbf != 0,
                                       .nbf = row->nbf,
                                       .has_exp = row->has_exp != 0,
                                       .exp = row->exp},
                             .time_ms = row->time,
                             .tries = row->tries};
    memcpy(ret->id, row->id, sizeof ret->id);
    (void)snprintf(ret->name, sizeof ret->name, "%s", row->name);
    (void)snprintf(ret->version, sizeof ret->version, "%s", row->version);
}

static enum kl_code next(struct kl_model *m, enum kl_store_query query,
                         const struct kl_store_value *args, size_t count, struct kl_event *ret,
                         struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_event_row row;
    struct kl_event e;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_store_one(t, query, args, count, &row, err);
    if (code == KL_OK && kl_event_name(row.type) == NULL)
        return kl_fail(err, KL_CORRUPT, "store", "an event of an unknown type %lld",
                       (long long)row.type);
    if (code != KL_OK)
        return code;
    fill(&row, &e);
    code = kl_snapshot_vault(m, t, row.vault_id, &e.vault, err);
    if (code == KL_OK)
        *ret = e;
    return code;
}

enum kl_code kl_event_unrecorded(struct kl_model *m, struct kl_event *ret, struct kl_err *err)
{
    return next(m, KL_Q_EVENT_UNRECORDED, NULL, 0, ret, err);
}

enum kl_code kl_event_ready(struct kl_model *m, int64_t now_ms, struct kl_event *ret,
                            struct kl_err *err)
{
    /* No pause is that long: the clock was put back since. */
    return next(m, KL_Q_EVENT_READY,
                KL_ARGS(KL_ARG_INT(now_ms), KL_ARG_INT(now_ms + LONGEST_PAUSE_MS)), ret, err);
}

/* --- moving on --- */

enum kl_code kl_event_set_recorded(struct kl_model *m, const struct kl_event *e, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    bool wanted = m->events.receiver && names[e->type].event != NULL;
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK && wanted)
        code = kl_store_run(t, KL_Q_EVENT_RECORDED, KL_ARGS(KL_ARG_INT(e->number)), NULL, err);
    else if (code == KL_OK)
        code = forget_in(t, e->number, err);
    return code == KL_OK ? kl_store_commit(t, err) : code;
}

enum kl_code kl_event_set_tried(struct kl_model *m, const struct kl_event *e, int64_t next_ms,
                                struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_store_run(
            t, KL_Q_EVENT_TRIED,
            KL_ARGS(KL_ARG_INT(e->tries + 1), KL_ARG_INT(next_ms), KL_ARG_INT(e->number)), NULL,
            err);
    return code == KL_OK ? kl_store_commit(t, err) : code;
}

enum kl_code kl_event_forget(struct kl_model *m, const struct kl_event *e, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = forget_in(t, e->number, err);
    return code == KL_OK ? kl_store_commit(t, err) : code;
}
