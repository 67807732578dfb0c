/* The run and the report of `kluis-tokend test`. */
#include "pkcs11/worker/qualify.h"

#include "base/buf.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/probe.h"
#include "pkcs11/worker/qualify_parts.h"
#include "pkcs11/worker/session.h"

#include <stdarg.h>
#include <string.h>

enum kl_outcome kl_trial_say(struct kl_trial *t, enum kl_outcome outcome, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(t->answer, sizeof t->answer, fmt, ap);
    va_end(ap);
    return outcome;
}

enum kl_outcome kl_trial_ckr(struct kl_trial *t, enum kl_outcome outcome, const char *what,
                             CK_RV rv)
{
    if (rv != CKR_OK)
        kl_session_drop(&t->s);
    return kl_trial_say(t, outcome, "%s: %s (0x%lx)", what, kl_ckr_name(rv), rv);
}

struct report {
    struct kl_buf rows;
    unsigned unfit, limits, fine;
};

static void put_member(struct kl_buf *out, const char *name, const char *text)
{
    kl_buf_printf(out, "\"%s\":", name);
    kl_buf_put_json(out, text, strlen(text));
}

static void add_row(struct report *r, const struct kl_trial_probe *p, enum kl_outcome outcome,
                    const char *answer)
{
    static const char *const bad[] = {
        [KL_WEIGHT_NEEDED] = "unfit", [KL_WEIGHT_WANTED] = "limit", [KL_WEIGHT_NOTED] = "note"};
    const char *verdict = outcome == KL_OUTCOME_YES  ? "ok"
                          : outcome == KL_OUTCOME_NO ? bad[p->weight]
                                                     : "not asked";
    const char *means = outcome == KL_OUTCOME_YES  ? p->yes
                        : outcome == KL_OUTCOME_NO ? p->no
                                                   : "nothing: it cannot be asked of this token";
    r->unfit += outcome == KL_OUTCOME_NO && p->weight == KL_WEIGHT_NEEDED;
    r->limits += outcome == KL_OUTCOME_NO && p->weight == KL_WEIGHT_WANTED;
    r->fine += outcome == KL_OUTCOME_YES;
    kl_buf_puts(&r->rows, r->rows.len > 0 ? ",{" : "{");
    put_member(&r->rows, "name", p->name);
    kl_buf_putc(&r->rows, ',');
    put_member(&r->rows, "verdict", verdict);
    kl_buf_putc(&r->rows, ',');
    put_member(&r->rows, "asked", p->asked);
    kl_buf_putc(&r->rows, ',');
    put_member(&r->rows, "answered", answer);
    kl_buf_putc(&r->rows, ',');
    put_member(&r->rows, "means", means);
    kl_buf_putc(&r->rows, '}');
}

static void run_probes(struct kl_trial *t, const struct kl_trial_probe *probes, size_t count,
                       struct report *r)
{
    for (size_t i = 0; i < count && !kl_trial_interrupted(); i++) {
        t->answer[0] = '\0';
        enum kl_outcome outcome = probes[i].run(t);
        add_row(r, &probes[i], outcome, t->answer);
    }
}

/* Last of all: what session objects cannot leave behind, and token objects must not. */
static void report_cleaning(struct report *r, unsigned left, bool on_token)
{
    static const struct kl_trial_probe cleaned = {
        .name = "clean-up",
        .asked = "are the objects of this test gone from the token",
        .weight = KL_WEIGHT_NOTED,
        .yes = "the token is as it was",
        .no = "session objects do not go with their session on this token; they were removed"};
    char answer[KL_ANSWER_ROOM];
    bool odd = left > 0 && !on_token;
    (void)snprintf(answer, sizeof answer, "%u objects had to be removed at the end", left);
    add_row(r, &cleaned, odd ? KL_OUTCOME_NO : KL_OUTCOME_YES, answer);
}

static enum kl_code print(const struct report *r, const struct kl_token_caps *caps,
                          struct kl_err *err)
{
    struct kl_buf out = KL_BUF_INIT(1 << 18);
    const char *verdict = r->unfit > 0 ? "unfit" : r->limits > 0 ? "fit with limits" : "fit";
    kl_buf_putc(&out, '{');
    put_member(&out, "verdict", verdict);
    kl_buf_printf(&out, ",\"ok\":%u,\"limits\":%u,\"unfit\":%u,\"token\":", r->fine, r->limits,
                  r->unfit);
    kl_probe_print(caps, &out);
    kl_buf_printf(&out, ",\"probes\":[%s]}\n", kl_buf_text(&r->rows));
    enum kl_code code = KL_OK;
    if (kl_buf_failed(&out) || fputs(kl_buf_text(&out), stdout) < 0 || fflush(stdout) != 0)
        code = kl_fail(err, KL_IO, "write", "the report cannot be written");
    kl_buf_done(&out);
    if (code == KL_OK && r->unfit > 0)
        code = kl_fail(err, KL_TOKEN_READBACK, "test",
                       "the token does not do what the service needs: see the rows marked unfit");
    return code;
}

enum kl_code kl_qualify_run(const struct kl_worker_config *conf, int pin_fd, struct kl_err *err)
{
    static struct kl_worker w;
    static struct kl_trial t;
    struct report r = {.rows = KL_BUF_INIT(1 << 17)};
    unsigned left = 0;
    enum kl_code code = kl_trial_begin(&w, conf, pin_fd, &t.s, err);
    if (code != KL_OK)
        return code;
    t.keeper = (struct kl_session){.worker = &w};
    t.wraps = CKM_VENDOR_DEFINED;
    run_probes(&t, kl_trial_use, kl_trial_use_count, &r);
    run_probes(&t, kl_trial_guard, kl_trial_guard_count, &r);
    kl_session_drop(&t.keeper);
    code = kl_trial_end(&t.s, pin_fd, &left, err);
    if (code == KL_OK && kl_trial_interrupted())
        code = kl_fail(err, KL_CONFLICT, "test", "interrupted; nothing is left on the token");
    if (code == KL_OK) {
        report_cleaning(&r, left, t.on_token);
        code = print(&r, &w.caps, err);
    }
    kl_buf_done(&r.rows);
    return code;
}
