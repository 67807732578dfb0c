#include "pkcs11/proto.h"

#include <assert.h>
#include <string.h>

struct writer {
    uint8_t *bytes;
    size_t used;
};

static void put(struct writer *w, const void *bytes, size_t n)
{
    assert(n <= KL_PROTO_MAX - w->used);
    if (n > 0)
        memcpy(w->bytes + w->used, bytes, n);
    w->used += n;
}

static void put_number(struct writer *w, uint64_t value, size_t width)
{
    uint8_t le[8];
    for (size_t i = 0; i < width; i++)
        le[i] = (uint8_t)(value >> (8 * i));
    put(w, le, width);
}

static void put_sized(struct writer *w, const void *bytes, size_t n)
{
    put_number(w, n, 4);
    put(w, bytes, n);
}

static void put_text(struct writer *w, const char *text)
{
    put_sized(w, text, strlen(text));
}

static void put_err(struct writer *w, const struct kl_err *err)
{
    put_number(w, (uint64_t)err->code, 2);
    if (err->code == KL_OK)
        return; /* nothing else is read of a success */
    put_number(w, (uint64_t)err->domain, 1);
    put_number(w, err->native, 8);
    put_text(w, err->op);
    put_text(w, err->text);
    put_text(w, err->detail);
}

/* Sticky: after the first thing that does not fit, everything reads as zero and `bad` stays set. */
struct reader {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static const uint8_t *take(struct reader *r, size_t n)
{
    if (r->bad || n > r->left) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->at;
    r->at += n;
    r->left -= n;
    return p;
}

static uint64_t get_number(struct reader *r, size_t width)
{
    const uint8_t *p = take(r, width);
    uint64_t value = 0;
    for (size_t i = 0; p != NULL && i < width; i++)
        value |= (uint64_t)p[i] << (8 * i);
    return value;
}

static uint64_t get_below(struct reader *r, size_t width, uint64_t limit)
{
    uint64_t value = get_number(r, width);
    if (value >= limit) {
        r->bad = true;
        return 0;
    }
    return value;
}

static void get_bytes(struct reader *r, void *out, size_t n)
{
    const uint8_t *p = take(r, n);
    if (p != NULL)
        memcpy(out, p, n);
}

static const uint8_t *get_sized(struct reader *r, size_t limit, size_t *ret_len)
{
    size_t n = (size_t)get_below(r, 4, limit + 1);
    *ret_len = n;
    return take(r, n);
}

static void get_text(struct reader *r, char *out, size_t room)
{
    size_t n;
    const uint8_t *p = get_sized(r, room - 1, &n);
    if (p == NULL || memchr(p, 0, n) != NULL) {
        r->bad = true;
        return;
    }
    memcpy(out, p, n);
    out[n] = 0;
}

static void get_err(struct reader *r, struct kl_err *ret)
{
    *ret = (struct kl_err){.code = (enum kl_code)get_below(r, 2, KL_CODE_COUNT)};
    if (ret->code == KL_OK)
        return;
    ret->domain = (enum kl_domain)get_below(r, 1, KL_DOMAIN_CURL + 1);
    ret->native = (unsigned long)get_number(r, 8);
    get_text(r, ret->op, sizeof ret->op);
    get_text(r, ret->text, sizeof ret->text);
    get_text(r, ret->detail, sizeof ret->detail);
}

static struct writer start(void *frame, enum kl_frame_kind kind)
{
    struct writer w = {.bytes = frame};
    put_number(&w, (uint64_t)kind, 1);
    return w;
}

static struct reader open_frame(const void *frame, size_t n, enum kl_frame_kind kind)
{
    struct reader r = {.at = frame, .left = n};
    if (get_number(&r, 1) != (uint64_t)kind)
        r.bad = true;
    return r;
}

static enum kl_code close_frame(const struct reader *r)
{
    return r->bad || r->left != 0 ? KL_CORRUPT : KL_OK;
}

enum kl_frame_kind kl_proto_kind(const void *frame, size_t n)
{
    return n == 0 ? 0 : (enum kl_frame_kind) * (const uint8_t *)frame;
}

size_t kl_proto_put_config(void *frame, const struct kl_worker_config *conf)
{
    struct writer w = start(frame, KL_FRAME_CONFIG);
    put_text(&w, conf->name);
    put_text(&w, conf->module);
    put_text(&w, conf->uri);
    put_text(&w, conf->pin_source);
    put_text(&w, conf->init_args);
    put_text(&w, conf->store_dir);
    put_text(&w, conf->state_dir);
    put_number(&w, conf->workers, 4);
    put_number(&w, conf->keep_alive_ms, 4);
    put_number(&w, conf->software_oaep, 1);
    put_number(&w, conf->relogin, 1);
    put_number(&w, conf->network, 1);
    put_number(&w, conf->all_files, 1);
    put_text(&w, conf->module_sha256);
    put_text(&w, conf->user);
    put_text(&w, conf->syscalls);
    put_text(&w, conf->files);
    put_text(&w, conf->hidden);
    return w.used;
}

enum kl_code kl_proto_get_config(const void *frame, size_t n, struct kl_worker_config *ret)
{
    struct reader r = open_frame(frame, n, KL_FRAME_CONFIG);
    struct kl_worker_config c = {.workers = 0};
    get_text(&r, c.name, sizeof c.name);
    get_text(&r, c.module, sizeof c.module);
    get_text(&r, c.uri, sizeof c.uri);
    get_text(&r, c.pin_source, sizeof c.pin_source);
    get_text(&r, c.init_args, sizeof c.init_args);
    get_text(&r, c.store_dir, sizeof c.store_dir);
    get_text(&r, c.state_dir, sizeof c.state_dir);
    c.workers = (uint32_t)get_number(&r, 4);
    c.keep_alive_ms = (uint32_t)get_number(&r, 4);
    c.software_oaep = get_below(&r, 1, 2) == 1;
    c.relogin = get_below(&r, 1, 2) == 1;
    c.network = get_below(&r, 1, 2) == 1;
    c.all_files = get_below(&r, 1, 2) == 1;
    get_text(&r, c.module_sha256, sizeof c.module_sha256);
    get_text(&r, c.user, sizeof c.user);
    get_text(&r, c.syscalls, sizeof c.syscalls);
    get_text(&r, c.files, sizeof c.files);
    get_text(&r, c.hidden, sizeof c.hidden);
    if (close_frame(&r) != KL_OK)
        return KL_CORRUPT;
    *ret = c;
    return KL_OK;
}

size_t kl_proto_put_request(void *frame, uint64_t id, const struct kl_token_request *req)
{
    struct writer w = start(frame, KL_FRAME_REQUEST);
    const struct kl_key_spec *spec = &req->spec;
    put_number(&w, id, 8);
    put_number(&w, (uint64_t)req->call, 1);
    put_number(&w, (uint64_t)req->alg, 1);
    put(&w, req->key.id, sizeof req->key.id);
    put(&w, req->key.spki_hash, sizeof req->key.spki_hash);
    put(&w, req->wrapping.id, sizeof req->wrapping.id);
    put(&w, req->wrapping.spki_hash, sizeof req->wrapping.spki_hash);
    put_number(&w, (uint64_t)spec->type, 1);
    put_number(&w, spec->bits, 4);
    put_number(&w, (uint64_t)spec->curve, 1);
    put_number(&w, (uint64_t)spec->profile, 1);
    put_number(&w, spec->may_decrypt, 1);
    put_number(&w, spec->may_sign, 1);
    put_number(&w, spec->may_unwrap, 1);
    put_sized(&w, spec->label, strnlen(spec->label, sizeof spec->label - 1));
    put_number(&w, req->mechanism, 8);
    put_number(&w, req->count, 4);
    put_number(&w, req->offset, 4);
    put_sized(&w, req->input, req->input_len);
    return w.used;
}

enum kl_code kl_proto_get_request(const void *frame, size_t n, uint64_t *ret_id,
                                  struct kl_token_request *ret)
{
    struct reader r = open_frame(frame, n, KL_FRAME_REQUEST);
    struct kl_token_request q = {.count = 0};
    uint64_t id = get_number(&r, 8);
    q.call = (enum kl_token_call)get_below(&r, 1, KL_CALL_COUNT);
    q.alg = (enum kl_token_alg)get_below(&r, 1, KL_ALG_COUNT);
    get_bytes(&r, q.key.id, sizeof q.key.id);
    get_bytes(&r, q.key.spki_hash, sizeof q.key.spki_hash);
    get_bytes(&r, q.wrapping.id, sizeof q.wrapping.id);
    get_bytes(&r, q.wrapping.spki_hash, sizeof q.wrapping.spki_hash);
    q.spec.type = (enum kl_key_type)get_below(&r, 1, KL_KEY_EC + 1);
    q.spec.bits = (uint32_t)get_number(&r, 4);
    q.spec.curve = (enum kl_curve)get_below(&r, 1, KL_CURVE_P521 + 1);
    q.spec.profile = (enum kl_profile)get_below(&r, 1, KL_PROFILE_DOMAIN + 1);
    q.spec.may_decrypt = get_below(&r, 1, 2) == 1;
    q.spec.may_sign = get_below(&r, 1, 2) == 1;
    q.spec.may_unwrap = get_below(&r, 1, 2) == 1;
    get_text(&r, q.spec.label, sizeof q.spec.label);
    q.mechanism = get_number(&r, 8);
    q.count = (uint32_t)get_number(&r, 4);
    q.offset = (uint32_t)get_number(&r, 4);
    q.input = get_sized(&r, KL_TOKEN_MAX_INPUT, &q.input_len);
    if (close_frame(&r) != KL_OK || q.call == 0)
        return KL_CORRUPT;
    *ret_id = id;
    *ret = q;
    return KL_OK;
}

void kl_proto_end_texts(struct kl_token_caps *caps)
{
    caps->model[sizeof caps->model - 1] = 0;
    caps->manufacturer[sizeof caps->manufacturer - 1] = 0;
    caps->serial[sizeof caps->serial - 1] = 0;
    caps->label[sizeof caps->label - 1] = 0;
    caps->firmware[sizeof caps->firmware - 1] = 0;
}

size_t kl_proto_put_hello(void *frame, const struct kl_hello *hello)
{
    struct writer w = start(frame, KL_FRAME_HELLO);
    put_err(&w, &hello->err);
    put_number(&w, hello->login_tried, 1);
    put_number(&w, hello->threads, 4);
    put_number(&w, hello->proved, 1);
    put(&w, &hello->caps, sizeof hello->caps); /* both programs are of one build */
    return w.used;
}

enum kl_code kl_proto_get_hello(const void *frame, size_t n, struct kl_hello *ret)
{
    struct reader r = open_frame(frame, n, KL_FRAME_HELLO);
    struct kl_hello h = {.threads = 0};
    get_err(&r, &h.err);
    h.login_tried = get_below(&r, 1, 2) == 1;
    h.threads = (uint32_t)get_number(&r, 4);
    h.proved = get_below(&r, 1, 2) == 1;
    get_bytes(&r, &h.caps, sizeof h.caps);
    if (close_frame(&r) != KL_OK)
        return KL_CORRUPT;
    kl_proto_end_texts(&h.caps);
    *ret = h;
    return KL_OK;
}

size_t kl_proto_put_progress(void *frame, const struct kl_progress *p)
{
    struct writer w = start(frame, KL_FRAME_PROGRESS);
    put_number(&w, p->slow, 1);
    put_text(&w, p->step);
    return w.used;
}

enum kl_code kl_proto_get_progress(const void *frame, size_t n, struct kl_progress *ret)
{
    struct reader r = open_frame(frame, n, KL_FRAME_PROGRESS);
    struct kl_progress p = {.slow = get_below(&r, 1, 2) == 1};
    get_text(&r, p.step, sizeof p.step);
    if (close_frame(&r) != KL_OK)
        return KL_CORRUPT;
    *ret = p;
    return KL_OK;
}

size_t kl_proto_put_ask_pin(void *frame, const char *text)
{
    struct writer w = start(frame, KL_FRAME_ASK_PIN);
    put_text(&w, text);
    return w.used;
}

enum kl_code kl_proto_get_ask_pin(const void *frame, size_t n, char ret[static KL_ASK_MAX])
{
    char text[KL_ASK_MAX];
    struct reader r = open_frame(frame, n, KL_FRAME_ASK_PIN);
    get_text(&r, text, sizeof text);
    if (close_frame(&r) != KL_OK)
        return KL_CORRUPT;
    memcpy(ret, text, sizeof text);
    return KL_OK;
}

size_t kl_proto_put_pin(void *frame, const void *pin, size_t n)
{
    struct writer w = start(frame, KL_FRAME_PIN);
    put_sized(&w, pin, n);
    return w.used;
}

enum kl_code kl_proto_get_pin(const void *frame, size_t n, const uint8_t **ret, size_t *ret_len)
{
    size_t len;
    struct reader r = open_frame(frame, n, KL_FRAME_PIN);
    const uint8_t *pin = get_sized(&r, KL_PIN_MAX, &len);
    if (close_frame(&r) != KL_OK || len == 0)
        return KL_CORRUPT;
    *ret = pin;
    *ret_len = len;
    return KL_OK;
}

size_t kl_proto_put_reply(void *frame, uint64_t id, const struct kl_err *err, uint64_t mechanism,
                          const void *output, size_t output_len)
{
    struct writer w = start(frame, KL_FRAME_REPLY);
    put_number(&w, id, 8);
    put_err(&w, err);
    put_number(&w, mechanism, 8);
    put_sized(&w, output, output_len);
    return w.used;
}

enum kl_code kl_proto_get_reply(const void *frame, size_t n, struct kl_proto_reply *ret)
{
    struct reader r = open_frame(frame, n, KL_FRAME_REPLY);
    struct kl_proto_reply p = {.id = get_number(&r, 8)};
    get_err(&r, &p.err);
    p.mechanism = get_number(&r, 8);
    p.output = get_sized(&r, KL_TOKEN_MAX_INPUT, &p.output_len);
    if (close_frame(&r) != KL_OK)
        return KL_CORRUPT;
    *ret = p;
    return KL_OK;
}

unsigned kl_proto_lane(enum kl_token_call call)
{
    switch (call) {
    case KL_CALL_DECRYPT:
    case KL_CALL_SIGN:
    case KL_CALL_RANDOM:
    case KL_CALL_MAC:
    case KL_CALL_FIND:
    case KL_CALL_CANARY:
        return KL_LANE_SHORT;
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
    return KL_LANE_MANAGE;
}
