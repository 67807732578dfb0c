#include "keyvault/sealing.h"

#include "base/clock.h"
#include "base/io.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

/* As it stands in a line of the log: what a client sends has its quotes escaped there. */
#define OPERATION "\"operationName\":\"AccessSealed\""
/* A start with an older database, or without the end of the log. */
#define ACCEPTED "\"operationName\":\"LossAccepted\""

/* --- whether they may be made --- */

struct look {
    bool any, sealed;
};

static enum kl_code look_through(const char *path, struct look *ret, struct kl_err *err)
{
    KL_AUTO(file) in = fopen(path, "re");
    KL_AUTO(char) line = NULL;
    size_t room = 0;
    if (in == NULL && errno == ENOENT)
        return KL_OK;
    if (in == NULL)
        return kl_fail_errno(err, "fopen", "%s cannot be read", path);
    while (!ret->sealed && getline(&line, &room, in) > 0) {
        ret->any = true;
        ret->sealed = strstr(line, OPERATION) != NULL;
    }
    return ferror(in) == 0 ? KL_OK : kl_fail_errno(err, "getline", "%s cannot be read", path);
}

static enum kl_code rule_of(const struct kl_service *s, enum kl_seal_rule *ret, struct kl_err *err)
{
    struct look seen = {false, false};
    enum kl_mark_seals mark;
    enum kl_code code = kl_model_mark_seals(s->model, &mark, err);
    *ret = KL_SEAL_MUST_FIT;
    if (code == KL_CORRUPT) /* kl_mark_check has refused it, or an operator has accepted it */
        return KL_OK;
    if (code != KL_OK || mark == KL_MARK_SEALED)
        return code;
    code = look_through(s->config->audit->path, &seen, err);
    if (code == KL_OK && mark == KL_MARK_UNSEALED && !seen.sealed)
        *ret = KL_SEAL_MAKE_MISSING;
    if (code == KL_OK && mark == KL_MARK_NONE && !seen.any)
        *ret = KL_SEAL_BEGIN;
    return code;
}

enum kl_code kl_sealing_check(const struct kl_service *s, bool accept, struct kl_err *err)
{
    enum kl_seal_rule rule = KL_SEAL_TAKE_AS_IS;
    enum kl_code code = accept ? KL_OK : rule_of(s, &rule, err);
    if (code == KL_OK)
        code = kl_model_access_check(s->model, rule, err);
    if (code == KL_CORRUPT)
        return kl_err_prefix(err, "--accept-changed-access goes on with them as they are");
    return code;
}

/* --- the record --- */

struct wait {
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool done;
    enum kl_code code;
};

static void written(void *arg, enum kl_code code)
{
    struct wait *w = arg;
    (void)pthread_mutex_lock(&w->lock);
    w->done = true;
    w->code = code;
    (void)pthread_cond_signal(&w->over);
    (void)pthread_mutex_unlock(&w->lock);
}

static enum kl_code append(struct kl_audit_log *log, const struct kl_buf *members,
                           struct kl_err *err)
{
    struct wait w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, KL_OK};
    if (kl_buf_failed(members))
        return kl_fail(err, KL_NO_MEMORY, "kl_buf", "no memory for a record");
    enum kl_code code = kl_audit_log_append(log, kl_buf_text(members), members->len, written, &w);
    if (code == KL_OK) {
        (void)pthread_mutex_lock(&w.lock);
        while (!w.done)
            (void)pthread_cond_wait(&w.over, &w.lock);
        (void)pthread_mutex_unlock(&w.lock);
        code = w.code;
    }
    return code == KL_OK ? KL_OK
                         : kl_fail(err, code, "audit", "what this start did cannot be recorded");
}

static enum kl_code record(const struct kl_service *s, const char *note, const char *operation,
                           struct kl_err *err)
{
    KL_AUTO(char) text = NULL;
    char time[32];
    enum kl_code code = kl_model_note_get(s->model, note, &text, err);
    if (code == KL_NOT_FOUND || (code == KL_OK && text[0] == 0))
        return KL_OK;
    if (code != KL_OK)
        return code;
    struct kl_buf members = KL_BUF_INIT(8192);
    kl_clock_iso(kl_clock_unix_ms(), time);
    kl_buf_printf(&members,
                  "\"time\":\"%s\",\"resourceId\":\"\",%s"
                  ",\"category\":\"AuditEvent\",\"resultType\":\"Success\","
                  "\"resultSignature\":\"OK\",\"resultDescription\":",
                  time, operation);
    kl_buf_put_json(&members, text, strlen(text));
    kl_buf_puts(&members, ",\"identity\":{},\"properties\":{}");
    code = append(s->audit, &members, err);
    kl_buf_done(&members);
    return code == KL_OK ? kl_model_note_put(s->model, note, "", err) : code;
}

enum kl_code kl_sealing_record(const struct kl_service *s, struct kl_err *err)
{
    enum kl_code code = record(s, KL_NOTE_SEALING, OPERATION, err);
    return code == KL_OK ? record(s, KL_MARK_NOTE_ACCEPTED, ACCEPTED, err) : code;
}
