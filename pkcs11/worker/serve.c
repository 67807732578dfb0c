#include "pkcs11/worker/serve.h"

#include "base/log.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/domain_key.h"
#include "pkcs11/worker/manage.h"
#include "pkcs11/worker/progress.h"
#include "pkcs11/worker/quirk.h"
#include "pkcs11/worker/recover.h"
#include "pkcs11/worker/rsa.h"
#include "pkcs11/worker/secret_key.h"
#include "pkcs11/worker/session.h"
#include "pkcs11/worker/sign.h"
#include "pkcs11/worker/start.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a decrypt or sign carries through kl_recover_run. */
struct task {
    const struct kl_token_request *req;
    const struct kl_mech *mech;
    uint8_t *out;
    size_t len;
    bool bad, misfit;
    bool forbidden; /* by a token that calls the key one for this */
};

/* One failure for everything that is the data's fault: same code, text, operation, no native number
 * (Manger's attack). */
static enum kl_code undecryptable(struct kl_err *err)
{
    return kl_fail(err, KL_DECRYPT_FAILED, "decrypt",
                   "The ciphertext cannot be decrypted with this key");
}

static bool is_datas_fault(CK_RV rv)
{
    enum kl_ckr_class class = kl_ckr_class(rv);
    return class == KL_CKR_REQUEST || class == KL_CKR_AMBIGUOUS || class == KL_CKR_SUSPECT;
}

/* The token's own OAEP failed. The raw block, checked against the public half, proves whether the
 * data is bad; when it is good, the token had a bad moment and here is the plain text. */
static CK_RV look_at_block(struct kl_session *s, const struct kl_key *key, struct task *t, CK_RV rv)
{
    kl_session_drop(s);
    if (kl_session_ensure(s) != CKR_OK)
        return rv;
    CK_RV raw = kl_rsa_decrypt(s, key, t->mech, false, t->req->input, t->out, &t->len, &t->bad);
    bool told = raw == CKR_OK || raw == KL_CKR_WRONG_ANSWER;
    return told || raw == CKR_KEY_FUNCTION_NOT_PERMITTED ? raw : rv;
}

static CK_RV decrypt_once(struct kl_session *s, const struct kl_key *key, void *arg)
{
    struct task *t = arg;
    bool native = (atomic_load(&s->worker->native_algs) >> t->mech->alg & 1) != 0;
    t->bad = t->misfit = false;
    if (!kl_mech_fits(t->mech, key->type, key->curve)) {
        t->misfit = true;
        return CKR_OK;
    }
    if (!kl_rsa_ciphertext_fits(key, t->req->input, t->req->input_len)) {
        t->bad = true;
        return CKR_OK;
    }
    CK_RV rv = kl_rsa_decrypt(s, key, t->mech, native, t->req->input, t->out, &t->len, &t->bad);
    if (native && is_datas_fault(rv) && atomic_load(&s->worker->raw_rsa))
        rv = look_at_block(s, key, t, rv);
    t->forbidden = rv == CKR_KEY_FUNCTION_NOT_PERMITTED && key->may_decrypt;
    return rv;
}

static CK_RV sign_once(struct kl_session *s, const struct kl_key *key, void *arg)
{
    struct task *t = arg;
    t->misfit = !kl_mech_fits(t->mech, key->type, key->curve);
    return t->misfit ? CKR_OK : kl_sign_digest(s, key, t->mech, t->req->input, t->out, &t->len);
}

static enum kl_code prepare(struct kl_session *s, const struct kl_token_request *req, bool decrypt,
                            const struct kl_mech **ret, struct kl_err *err)
{
    const struct kl_mech *m = kl_mech_get(req->alg);
    if (m == NULL || kl_mech_decrypts(m) != decrypt)
        return kl_fail(err, KL_BAD_INPUT, "alg", "the algorithm does not go with the operation");
    if ((atomic_load(&s->worker->algs) >> m->alg & 1) == 0)
        return kl_fail(err, KL_TOKEN_UNSUPPORTED, "alg", "the token cannot do %s", m->name);
    if (!decrypt && req->input_len != m->digest_bytes)
        return kl_fail(err, KL_BAD_INPUT, "sign", "%s signs a digest of %zu bytes", m->name,
                       m->digest_bytes);
    *ret = m;
    return KL_OK;
}

static enum kl_code misfit(const struct kl_mech *m, struct kl_err *err)
{
    return kl_fail(err, KL_TOKEN_UNSUPPORTED, "alg", "the key is not one for %s", m->name);
}

static enum kl_code decrypt(struct kl_session *s, const struct kl_token_request *req, uint8_t *out,
                            size_t *ret_len, struct kl_err *err)
{
    struct task t = {.req = req, .out = out};
    enum kl_code code = prepare(s, req, true, &t.mech, err);
    if (code != KL_OK)
        return code;
    code = kl_recover_run(s, &req->key, decrypt_once, &t, "C_Decrypt", err);
    if (code == KL_BAD_INPUT || (code == KL_OK && t.bad))
        return undecryptable(err);
    if (code == KL_TOKEN_UNSUPPORTED && t.forbidden)
        return kl_fail(err, KL_TOKEN_KEY_MISSING, "C_Decrypt",
                       "the token contradicts itself about what the key may do");
    if (code != KL_OK)
        return code;
    if (t.misfit)
        return misfit(t.mech, err);
    *ret_len = t.len;
    return KL_OK;
}

static enum kl_code sign(struct kl_session *s, const struct kl_token_request *req, uint8_t *out,
                         size_t *ret_len, struct kl_err *err)
{
    struct task t = {.req = req, .out = out};
    enum kl_code code = prepare(s, req, false, &t.mech, err);
    if (code != KL_OK)
        return code;
    code = kl_recover_run(s, &req->key, sign_once, &t, "C_Sign", err);
    if (code == KL_BAD_INPUT) /* a digest of the right length is never the data's fault */
        return kl_fail(err, KL_TOKEN_UNSUPPORTED, "C_Sign", "the token refused to sign");
    if (code != KL_OK)
        return code;
    if (t.misfit)
        return misfit(t.mech, err);
    *ret_len = t.len;
    return KL_OK;
}

static enum kl_code random_bytes(struct kl_session *s, uint32_t count, uint8_t *out,
                                 size_t *ret_len, struct kl_err *err)
{
    if (count > KL_TOKEN_MAX_INPUT)
        return kl_fail(err, KL_TOO_BIG, "C_GenerateRandom", "at most %d random bytes at once",
                       KL_TOKEN_MAX_INPUT);
    for (uint32_t done = 0; done < count;) { /* OpenSC cards refuse large requests */
        uint32_t step = count - done < 256 ? count - done : 256;
        CK_RV rv = kl_session_ensure(s);
        if (rv == CKR_OK)
            rv = kl_f(s)->C_GenerateRandom(s->handle, out + done, step);
        if (rv != CKR_OK)
            return kl_recover_fault(s, rv, "C_GenerateRandom", err);
        done += step;
    }
    *ret_len = count;
    return KL_OK;
}

static enum kl_code find(struct kl_session *s, const struct kl_token_request *req, uint8_t *out,
                         size_t *ret_len, struct kl_err *err)
{
    struct kl_key key;
    enum kl_code code = kl_recover_key(s, &req->key, &key, err);
    if (code != KL_OK)
        return code;
    memcpy(out, key.spki, key.spki_len);
    *ret_len = key.spki_len;
    return KL_OK;
}

static enum kl_code canary(struct kl_session *s, const struct kl_token_request *req, uint8_t *out,
                           size_t *ret_len, struct kl_err *err)
{
    static const uint8_t any[KL_KEY_ID_LEN];
    enum kl_canary_word word = KL_CANARY_WELL;
    struct kl_key key;
    if (memcmp(req->key.id, any, sizeof any) == 0)
        word = kl_canary_keep_alive(s);
    else {
        enum kl_code code = kl_recover_key(s, &req->key, &key, err);
        if (code != KL_OK)
            return code;
        enum kl_canary_proof proof = kl_canary_prove(s, &key);
        if (proof == KL_CANARY_FAILED)
            return kl_fail(err, KL_TOKEN_READBACK, "canary", "the key does not work");
        word = proof == KL_CANARY_PROVEN ? KL_CANARY_WELL : KL_CANARY_MUTE;
    }
    if (word == KL_CANARY_ILL)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "canary", "no key of the token works");
    out[0] = word == KL_CANARY_WELL;
    *ret_len = 1;
    return KL_OK;
}

static enum kl_code short_call(struct kl_session *s, const struct kl_token_request *req,
                               uint8_t *out, size_t *ret_len, struct kl_err *err)
{
    switch (req->call) {
    case KL_CALL_DECRYPT:
        return decrypt(s, req, out, ret_len, err);
    case KL_CALL_SIGN:
        return sign(s, req, out, ret_len, err);
    case KL_CALL_RANDOM:
        return random_bytes(s, req->count, out, ret_len, err);
    case KL_CALL_MAC:
        *ret_len = KL_MAC_LEN;
        return kl_domain_key_mac(s, req, out, err);
    case KL_CALL_FIND:
        return find(s, req, out, ret_len, err);
    case KL_CALL_CANARY:
        return canary(s, req, out, ret_len, err);
    case KL_CALL_PROBE:
    case KL_CALL_GENERATE:
    case KL_CALL_DESTROY:
    case KL_CALL_WRAP:
    case KL_CALL_UNWRAP:
    case KL_CALL_LIST:
    case KL_CALL_DOMAIN:
    case KL_CALL_RESEAL:
    case KL_CALL_ATTACH:
    case KL_CALL_IMPORT:
    case KL_CALL_COUNT:
        break;
    }
    return kl_fail(err, KL_BAD_INPUT, "lane", "this call has no business on the short lane");
}

static enum kl_code serve_short(struct kl_session *s, const struct kl_token_request *req,
                                uint8_t *out, size_t *ret_len, struct kl_err *err)
{
    enum kl_code code;
    do
        code = short_call(s, req, out, ret_len, err);
    while (kl_recover_again(s, code));
    return code;
}

/* A lane's thread. Its buffers are its own and wiped after each call. */
struct lane_thread {
    pthread_t thread;
    struct kl_session session;
    unsigned lane;
    int fd;
    uint8_t in[KL_PROTO_MAX + 1], out[KL_PROTO_MAX];
    struct kl_answer answer;
};

static void answer(struct lane_thread *t, uint64_t id, enum kl_code code, const struct kl_err *err)
{
    struct kl_answer *a = &t->answer;
    struct kl_err none = {.code = KL_OK};
    size_t n = kl_proto_put_reply(t->out, id, code == KL_OK ? &none : err, a->mechanism, a->bytes,
                                  code == KL_OK ? a->len : 0);
    ssize_t sent = send(t->fd, t->out, n, MSG_NOSIGNAL);
    kl_wipe(t->out, n);
    kl_wipe(a->bytes,
            a->len > KL_RSA_MAX ? a->len : KL_RSA_MAX); /* a failed decrypt may have begun one */
    if (sent < 0)
        _exit(0); /* the client is gone */
}

static void leave_if_condemned(const struct kl_worker *w, const struct kl_err *err)
{
    if (!atomic_load(&w->condemned))
        return;
    kl_log_err(KL_LOG_ERROR, "the token does not work; ending for a new worker", err);
    _exit(KL_EXIT_TOKEN);
}

static void serve_frame(struct lane_thread *t, size_t n)
{
    struct kl_token_request req;
    struct kl_err err = {.code = KL_OK};
    uint64_t id = 0;
    if (n > KL_PROTO_MAX || kl_proto_get_request(t->in, n, &id, &req) != KL_OK)
        _exit(KL_EXIT_PROTOCOL);
    t->answer.len = 0;
    t->answer.mechanism = 0;
    enum kl_code code = t->lane == KL_LANE_MANAGE
                            ? kl_manage_serve(&t->session, &req, &t->answer, &err)
                            : serve_short(&t->session, &req, t->answer.bytes, &t->answer.len, &err);
    answer(t, id, code, &err);
    kl_wipe(t->in, n);
    leave_if_condemned(t->session.worker, &err);
}

/* A thread without work for a while. While one hangs here, the client's next canary waits for the
 * same lock and misses its deadline. */
static void keep_alive(struct lane_thread *t)
{
    struct kl_err err = {.code = KL_OK};
    if (kl_canary_keep_alive(&t->session) == KL_CANARY_ILL)
        (void)kl_fail(&err, KL_TOKEN_UNAVAILABLE, "canary", "no key of the token works");
    else if (t->lane == KL_LANE_MANAGE)
        (void)kl_session_touch_anchor(t->session.worker, &err);
    leave_if_condemned(t->session.worker, &err);
}

static void *run_lane(void *arg)
{
    struct lane_thread *t = arg;
    for (;;) {
        ssize_t n = recv(t->fd, t->in, sizeof t->in, 0);
        if (n < 0 && errno == EAGAIN)
            keep_alive(t);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            break;
        serve_frame(t, (size_t)n);
    }
    kl_session_drop(&t->session);
    return NULL;
}

static void greet(int fd, const struct kl_worker *w, uint32_t threads, const struct kl_err *err)
{
    uint8_t frame[KL_PROTO_MAX];
    struct kl_hello hello = {.err = *err,
                             .login_tried = w->login_tried,
                             .threads = threads,
                             .proved = w->canary.passed_ms != 0,
                             .caps = w->caps};
    size_t n = kl_proto_put_hello(frame, &hello);
    kl_progress_close();
    (void)send(fd, frame, n, MSG_NOSIGNAL);
}

static void report(const struct kl_worker *w)
{
    kl_log(KL_LOG_INFO, "token=%s label=%s model=%s serial=%s keys=%zu algorithms=0x%x native=0x%x",
           w->conf.name, w->caps.label, w->caps.model, w->caps.serial, kl_keys_count(w->keys),
           w->caps.algs, w->caps.native_algs);
    if ((w->quirks & KL_QUIRK_NEVER_SYNCS) != 0 && w->conf.store_dir[0] == 0)
        kl_log(
            KL_LOG_WARNING,
            "token=%s never syncs its store and store_dir is not set: new keys may be lost with the power",
            w->conf.name);
}

/* recv returns after this long without a frame. */
static void set_idle_time(int fd, uint32_t ms)
{
    const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (long)(ms % 1000) * 1000};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
}

/* Sessions are opened here: a token may have fewer than we want threads. */
static uint32_t open_sessions(struct kl_worker *w, struct lane_thread *threads, uint32_t wanted)
{
    uint32_t got = 0;
    kl_progress_step("C_OpenSession", false);
    while (got < wanted) {
        threads[got].session.worker = w;
        if (kl_session_ensure(&threads[got].session) != CKR_OK)
            break;
        got++;
    }
    return got;
}

static int run_lanes(struct kl_worker *w, const int lanes[KL_PROTO_LANES])
{
    uint32_t wanted = 1 + (w->conf.workers < 1 ? 1 : w->conf.workers);
    struct kl_err err = {.code = KL_OK};
    struct lane_thread *threads = calloc(wanted, sizeof *threads);
    uint32_t count = threads == NULL ? 0 : open_sessions(w, threads, wanted);
    for (int i = 0; i < KL_PROTO_LANES; i++)
        set_idle_time(lanes[i], w->conf.keep_alive_ms);
    for (uint32_t i = 0; i < count; i++) {
        threads[i].lane = i == 0 ? KL_LANE_MANAGE : KL_LANE_SHORT;
        threads[i].fd = lanes[threads[i].lane];
        if (count >= 2 && pthread_create(&threads[i].thread, NULL, run_lane, &threads[i]) != 0)
            _exit(KL_EXIT_START);
    }
    if (count < 2) {
        (void)kl_fail(&err, KL_TOKEN_UNAVAILABLE, "C_OpenSession",
                      "the token gives fewer than three sessions");
        greet(lanes[KL_LANE_MANAGE], w, 0, &err);
        return KL_EXIT_START;
    }
    report(w);
    greet(lanes[KL_LANE_MANAGE], w, count - 1, &err);
    for (uint32_t i = 0; i < count; i++)
        (void)pthread_join(threads[i].thread, NULL);
    free(threads);
    return 0;
}

int kl_serve(const struct kl_worker_config *conf, const int lanes[KL_PROTO_LANES], int pin_fd)
{
    static struct kl_worker w; /* the threads of a condemned worker may still look at it */
    struct kl_err err = {.code = KL_OK};
    w.conf = *conf;
    w.ask_fd = lanes[KL_LANE_MANAGE];
    kl_progress_open(lanes[KL_LANE_MANAGE]);
    if (kl_start(&w, pin_fd, &err) != KL_OK) {
        kl_log_err(KL_LOG_ERROR, w.conf.name, &err);
        greet(lanes[KL_LANE_MANAGE], &w, 0, &err);
        return KL_EXIT_START;
    }
    int status = run_lanes(&w, lanes);
    kl_module_close(&w.module);
    return status;
}
