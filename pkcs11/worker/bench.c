/* Decryptions a second by number of threads. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/encoding.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/mech.h"
#include "pkcs11/worker/qualify.h"
#include "pkcs11/worker/rsa.h"
#include "pkcs11/worker/session.h"

#include <stdlib.h>
#include <string.h>

#define SAMPLES    4096 /* latencies kept by one thread */
#define GOOD_SHARE 95   /* per cent of the best rate that is good enough */

struct job {
    pthread_t thread;
    struct kl_worker *w;
    const struct kl_key *key;
    const struct kl_mech *mech;
    bool native;
    int64_t until_ms;
    uint64_t done, wrong;
    size_t samples;
    uint32_t us[SAMPLES];
};

static int64_t now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* A round trip, as every answer must be looked at; its software half is a small part of it. */
static void *work(void *arg)
{
    struct job *j = arg;
    struct kl_session s = {.worker = j->w};
    uint8_t plain[32];
    kl_random(plain, sizeof plain);
    while (kl_clock_mono_ms() < j->until_ms && !kl_trial_interrupted()) {
        bool ok = false;
        int64_t begun = now_us();
        CK_RV rv = kl_session_ensure(&s);
        if (rv == CKR_OK)
            rv = kl_rsa_round_trip(&s, j->key, j->mech, j->native, plain, sizeof plain, &ok);
        if (rv != CKR_OK)
            kl_session_drop(&s);
        j->us[j->done % SAMPLES] = (uint32_t)(now_us() - begun);
        j->done += ok;
        j->wrong += !ok;
        if (j->wrong > 3)
            break;
    }
    j->samples = j->done < SAMPLES ? (size_t)j->done : SAMPLES;
    kl_session_drop(&s);
    return NULL;
}

struct rate {
    unsigned workers;
    double per_second, p50_ms, p99_ms;
    uint64_t wrong;
};

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void find_percentiles(const struct job *jobs, unsigned count, struct rate *r)
{
    size_t n = 0;
    uint32_t *all = calloc((size_t)count * SAMPLES, sizeof *all);
    for (unsigned i = 0; all != NULL && i < count; i++) {
        memcpy(all + n, jobs[i].us, jobs[i].samples * sizeof *all);
        n += jobs[i].samples;
    }
    if (n > 0) {
        qsort(all, n, sizeof *all, compare);
        size_t middle = n / 2, last = n * 99 / 100;
        r->p50_ms = all[middle] / 1000.0;
        r->p99_ms = all[last] / 1000.0;
    }
    free(all);
}

static struct rate run_row(const struct job *model, unsigned count, unsigned seconds)
{
    struct rate r = {.workers = 0};
    struct job *jobs = calloc(count, sizeof *jobs);
    int64_t begun = now_us(), until_ms = kl_clock_mono_ms() + (int64_t)seconds * 1000;
    uint64_t done = 0;
    for (; jobs != NULL && r.workers < count; r.workers++) {
        struct job *j = &jobs[r.workers];
        *j = (struct job){.w = model->w,
                          .key = model->key,
                          .mech = model->mech,
                          .native = model->native,
                          .until_ms = until_ms};
        if (pthread_create(&j->thread, NULL, work, j) != 0)
            break;
    }
    for (unsigned i = 0; i < r.workers; i++) {
        (void)pthread_join(jobs[i].thread, NULL);
        done += jobs[i].done;
        r.wrong += jobs[i].wrong;
    }
    r.per_second = (double)done * 1e6 / (double)(now_us() - begun);
    find_percentiles(jobs, r.workers, &r);
    free(jobs);
    return r;
}

/* The smallest number of threads that comes near the best rate. */
static unsigned recommend(const struct rate *rows, size_t count)
{
    double best = 0;
    for (size_t i = 0; i < count; i++)
        best = rows[i].per_second > best ? rows[i].per_second : best;
    for (size_t i = 0; i < count; i++)
        if (rows[i].per_second * 100 >= best * GOOD_SHARE)
            return rows[i].workers;
    return 1;
}

static void print(const struct job *j, uint32_t bits, const struct rate *rows, size_t count)
{
    struct kl_buf out = KL_BUF_INIT(16384);
    const struct kl_token_caps *caps = &j->w->caps;
    unsigned best = recommend(rows, count);
    kl_buf_puts(&out, "{\"token\":");
    kl_buf_put_json(&out, caps->label, strlen(caps->label));
    kl_buf_printf(&out, ",\"algorithm\":\"%s\",\"native\":%s,\"bits\":%u,\"rows\":[", j->mech->name,
                  j->native ? "true" : "false", bits);
    for (size_t i = 0; i < count; i++)
        kl_buf_printf(&out,
                      "%s{\"workers\":%u,\"perSecond\":%.0f,\"p50Ms\":%.2f,\"p99Ms\":%.2f,"
                      "\"failures\":%llu}",
                      i > 0 ? "," : "", rows[i].workers, rows[i].per_second, rows[i].p50_ms,
                      rows[i].p99_ms, (unsigned long long)rows[i].wrong);
    kl_buf_printf(
        &out,
        "],\"recommended\":%u,\"reason\":\"workers = %u: the least that comes within %d%% "
        "of the best rate measured; more only make each caller wait longer\"}\n",
        best, best, 100 - GOOD_SHARE);
    (void)fputs(kl_buf_text(&out), stdout);
    (void)fflush(stdout);
    kl_buf_done(&out);
}

static const struct kl_mech *choose_mech(const struct kl_token_caps *caps)
{
    static const enum kl_token_alg wanted[] = {KL_ALG_OAEP_SHA256, KL_ALG_OAEP_SHA1};
    for (size_t i = 0; i < KL_COUNT(wanted); i++)
        if ((caps->algs >> wanted[i] & 1) != 0)
            return kl_mech_get(wanted[i]);
    return NULL;
}

static enum kl_code measure(struct kl_session *s, unsigned seconds, unsigned most, uint32_t bits,
                            struct kl_err *err)
{
    struct kl_key_spec spec = {.type = KL_KEY_RSA,
                               .bits = bits,
                               .profile = KL_PROFILE_FIXED,
                               .may_decrypt = true,
                               .may_sign = true};
    struct rate rows[16];
    struct kl_key key;
    size_t count = 0;
    bool on_token = false;
    const struct kl_mech *mech = choose_mech(&s->worker->caps);
    if (mech == NULL)
        return kl_fail(err, KL_TOKEN_UNSUPPORTED, "bench", "the token decrypts no RSA-OAEP");
    CK_RV rv = kl_trial_key(s, &spec, &key, &on_token);
    if (rv != CKR_OK)
        return kl_ckr_fail(err, KL_TOKEN_UNSUPPORTED, rv, "C_GenerateKeyPair",
                           "the token makes no RSA key of %u bits", bits);
    struct job model = {.w = s->worker,
                        .key = &key,
                        .mech = mech,
                        .native = (s->worker->caps.native_algs >> mech->alg & 1) != 0};
    (void)run_row(&model, 1, 1); /* the first calls of a module are slow */
    for (unsigned n = 1; n <= most && count < KL_COUNT(rows) && !kl_trial_interrupted(); n *= 2)
        rows[count++] = run_row(&model, n, seconds);
    if (kl_trial_interrupted())
        return kl_fail(err, KL_CONFLICT, "bench", "interrupted; nothing is left on the token");
    print(&model, bits, rows, count);
    return KL_OK;
}

enum kl_code kl_bench_run(const struct kl_worker_config *conf, int pin_fd, unsigned seconds,
                          unsigned most, uint32_t bits, struct kl_err *err)
{
    static struct kl_worker w;
    struct kl_session s;
    unsigned left = 0;
    enum kl_code code = kl_trial_begin(&w, conf, pin_fd, &s, err);
    if (code != KL_OK)
        return code;
    code = measure(&s, seconds, most, bits, err);
    struct kl_err why;
    enum kl_code ended = kl_trial_end(&s, pin_fd, &left, &why);
    if (code == KL_OK && ended != KL_OK)
        *err = why;
    return code == KL_OK ? ended : code;
}
