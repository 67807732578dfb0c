#include "tests/lib/fake_token.h"

#include "base/clock.h"
#include "base/encoding.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <string.h>

#define MAX_KEYS 4096

struct fake_key {
    bool used;
    uint8_t id[KL_KEY_ID_LEN];
    struct kl_key_spec spec;
    EVP_PKEY *key;
};

struct waiting {
    struct waiting *next;
    struct kl_token_request req;
    uint8_t *input;
    kl_token_done *done;
    void *arg;
};

struct fake {
    struct kl_token token; /* first */
    pthread_mutex_t lock;
    pthread_cond_t more;
    pthread_t thread;
    bool stop, ready, overlook;
    uint8_t overlooked[KL_KEY_ID_LEN];
    struct waiting *head, **tail;
    struct fake_key keys[MAX_KEYS];
    uint8_t wrap_key[32], mac_key[32];
    struct kl_token_caps caps;
    struct {
        enum kl_code code;
        unsigned times, lost, calls;
    } plan[KL_CALL_COUNT];
};

/* --- algorithms --- */

static const struct {
    const char *hash;
    int padding; /* RSA padding; 0 = ECDSA */
    bool decrypts;
} algs[KL_ALG_COUNT] = {
    [KL_ALG_OAEP_SHA1] = {"SHA1", RSA_PKCS1_OAEP_PADDING, true},
    [KL_ALG_OAEP_SHA256] = {"SHA256", RSA_PKCS1_OAEP_PADDING, true},
    [KL_ALG_OAEP_SHA384] = {"SHA384", RSA_PKCS1_OAEP_PADDING, true},
    [KL_ALG_OAEP_SHA512] = {"SHA512", RSA_PKCS1_OAEP_PADDING, true},
    [KL_ALG_RSA15] = {"SHA1", RSA_PKCS1_PADDING, true},
    [KL_ALG_RS256] = {"SHA256", RSA_PKCS1_PADDING, false},
    [KL_ALG_RS384] = {"SHA384", RSA_PKCS1_PADDING, false},
    [KL_ALG_RS512] = {"SHA512", RSA_PKCS1_PADDING, false},
    [KL_ALG_PS256] = {"SHA256", RSA_PKCS1_PSS_PADDING, false},
    [KL_ALG_PS384] = {"SHA384", RSA_PKCS1_PSS_PADDING, false},
    [KL_ALG_PS512] = {"SHA512", RSA_PKCS1_PSS_PADDING, false},
    [KL_ALG_ES256] = {"SHA256", 0, false},
    [KL_ALG_ES384] = {"SHA384", 0, false},
    [KL_ALG_ES512] = {"SHA512", 0, false},
};

static const char *const curves[] = {NULL, "P-256", "P-384", "P-521"};
static const int curve_bytes[] = {0, 32, 48, 66};

static struct fake_key *find_key(struct fake *f, const uint8_t *id)
{
    for (size_t i = 0; i < MAX_KEYS; i++)
        if (f->keys[i].used && memcmp(f->keys[i].id, id, KL_KEY_ID_LEN) == 0)
            return &f->keys[i];
    return NULL;
}

static void forget(struct fake_key *k)
{
    EVP_PKEY_free(k->key);
    *k = (struct fake_key){0};
}

static enum kl_code put_spki(EVP_PKEY *key, struct kl_secret *out)
{
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(key, &der);
    if (n <= 0)
        return KL_CRYPTO;
    enum kl_code code = kl_secret_append(out, der, (size_t)n);
    OPENSSL_free(der);
    return code;
}

/* The key a request names, its fingerprint checked as the real worker does. */
static enum kl_code bound_key(struct fake *f, const struct kl_token_request *req,
                              struct fake_key **ret)
{
    struct fake_key *k = find_key(f, req->key.id);
    if (k == NULL)
        return KL_TOKEN_KEY_MISSING;
    KL_AUTO(secret) spki = kl_secret_new(1024);
    uint8_t hash[KL_SPKI_HASH_LEN];
    if (spki == NULL || put_spki(k->key, spki) != KL_OK)
        return KL_CRYPTO;
    kl_spki_hash(kl_secret_bytes(spki), kl_secret_len(spki), hash);
    if (memcmp(hash, req->key.spki_hash, sizeof hash) != 0)
        return KL_TOKEN_KEY_MISSING;
    *ret = k;
    return KL_OK;
}

static bool set_up(EVP_PKEY_CTX *ctx, enum kl_token_alg alg)
{
    const EVP_MD *md = EVP_get_digestbyname(algs[alg].hash);
    if (algs[alg].decrypts)
        return EVP_PKEY_decrypt_init(ctx) > 0 &&
               EVP_PKEY_CTX_set_rsa_padding(ctx, algs[alg].padding) > 0 &&
               (algs[alg].padding != RSA_PKCS1_OAEP_PADDING ||
                (EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md) > 0 &&
                 EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) > 0));
    if (EVP_PKEY_sign_init(ctx) <= 0 || EVP_PKEY_CTX_set_signature_md(ctx, md) <= 0)
        return false;
    if (algs[alg].padding == 0)
        return true;
    if (EVP_PKEY_CTX_set_rsa_padding(ctx, algs[alg].padding) <= 0)
        return false;
    return algs[alg].padding != RSA_PKCS1_PSS_PADDING ||
           EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) > 0;
}

static enum kl_code raw_ecdsa(const struct fake_key *k, const uint8_t *der, size_t n,
                              struct kl_secret *out)
{
    int width = curve_bytes[k->spec.curve];
    const unsigned char *p = der;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
    uint8_t raw[132];
    bool ok = sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, width) == width &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + width, width) == width;
    ECDSA_SIG_free(sig);
    return ok ? kl_secret_append(out, raw, 2 * (size_t)width) : KL_CRYPTO;
}

static enum kl_code use_key(struct fake *f, const struct kl_token_request *req,
                            struct kl_secret *out)
{
    struct fake_key *k = NULL;
    enum kl_code code = bound_key(f, req, &k);
    if (code != KL_OK)
        return code;
    bool decrypt = req->call == KL_CALL_DECRYPT;
    if ((f->caps.algs & 1U << req->alg) == 0 || algs[req->alg].decrypts != decrypt)
        return KL_TOKEN_UNSUPPORTED;
    uint8_t bytes[1024];
    size_t n = sizeof bytes;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(k->key, NULL);
    bool ok = ctx != NULL && set_up(ctx, req->alg) &&
              (decrypt ? EVP_PKEY_decrypt(ctx, bytes, &n, req->input, req->input_len)
                       : EVP_PKEY_sign(ctx, bytes, &n, req->input, req->input_len)) > 0;
    EVP_PKEY_CTX_free(ctx);
    if (!ok)
        code = decrypt ? KL_DECRYPT_FAILED : KL_CRYPTO;
    else if (!decrypt && algs[req->alg].padding == 0)
        code = raw_ecdsa(k, bytes, n, out);
    else
        code = kl_secret_append(out, bytes, n);
    kl_wipe(bytes, sizeof bytes);
    return code;
}

/* --- keys --- */

static enum kl_code add_key(struct fake *f, const struct kl_token_request *req, EVP_PKEY *key,
                            struct kl_secret *out)
{
    if (find_key(f, req->key.id) != NULL)
        return KL_EXISTS;
    for (size_t i = 0; i < MAX_KEYS; i++) {
        if (f->keys[i].used)
            continue;
        if (EVP_PKEY_up_ref(key) != 1)
            return KL_CRYPTO;
        f->keys[i] = (struct fake_key){.used = true, .spec = req->spec, .key = key};
        memcpy(f->keys[i].id, req->key.id, KL_KEY_ID_LEN);
        return put_spki(key, out);
    }
    return KL_NO_SPACE;
}

static enum kl_code generate(struct fake *f, const struct kl_token_request *req,
                             struct kl_secret *out)
{
    EVP_PKEY *key = req->spec.type == KL_KEY_RSA ? EVP_RSA_gen(req->spec.bits)
                                                 : EVP_EC_gen(curves[req->spec.curve]);
    if (key == NULL)
        return KL_TOKEN_UNSUPPORTED;
    enum kl_code code = add_key(f, req, key, out);
    EVP_PKEY_free(key);
    return code;
}

/* RFC 5649 under the domain key, both ways. */
static enum kl_code key_wrap(struct fake *f, bool wrap, const uint8_t *in, size_t n,
                             struct kl_secret *out)
{
    enum kl_code code = kl_secret_resize(out, n + 16);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0, last = 0;
    if (code != KL_OK || ctx == NULL) {
        EVP_CIPHER_CTX_free(ctx);
        return KL_NO_MEMORY;
    }
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    uint8_t *to = kl_secret_bytes(out);
    bool ok = EVP_CipherInit_ex(ctx, EVP_aes_256_wrap_pad(), NULL, f->wrap_key, NULL, wrap) > 0 &&
              EVP_CipherUpdate(ctx, to, &len, in, (int)n) > 0 &&
              EVP_CipherFinal_ex(ctx, to + len, &last) > 0;
    EVP_CIPHER_CTX_free(ctx);
    return ok ? kl_secret_resize(out, (size_t)(len + last)) : KL_CORRUPT;
}

static enum kl_code wrap_key(struct fake *f, const struct kl_token_request *req,
                             struct kl_secret *out)
{
    struct fake_key *k = NULL;
    enum kl_code code = bound_key(f, req, &k);
    if (code != KL_OK)
        return code;
    if (k->spec.profile != KL_PROFILE_DOMAIN)
        return KL_TOKEN_UNSUPPORTED;
    unsigned char *der = NULL;
    int n = i2d_PrivateKey(k->key, &der);
    if (n <= 0)
        return KL_CRYPTO;
    code = key_wrap(f, true, der, (size_t)n, out);
    OPENSSL_clear_free(der, (size_t)n);
    return code;
}

static enum kl_code unwrap_key(struct fake *f, const struct kl_token_request *req,
                               struct kl_secret *out)
{
    KL_AUTO(secret) der = kl_secret_new(KL_TOKEN_MAX_INPUT + 16);
    if (der == NULL)
        return KL_NO_MEMORY;
    enum kl_code code = key_wrap(f, false, req->input, req->input_len, der);
    if (code != KL_OK)
        return code;
    const unsigned char *p = kl_secret_bytes(der);
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &p, (long)kl_secret_len(der));
    if (key == NULL)
        return KL_CORRUPT;
    uint8_t hash[KL_SPKI_HASH_LEN];
    code = put_spki(key, out);
    kl_spki_hash(kl_secret_bytes(out), kl_secret_len(out), hash);
    if (code == KL_OK && memcmp(hash, req->key.spki_hash, sizeof hash) != 0)
        code = KL_TOKEN_READBACK;
    if (code == KL_OK && kl_secret_resize(out, 0) == KL_OK)
        code = add_key(f, req, key, out);
    EVP_PKEY_free(key);
    return code;
}

/* One domain key from before those had ids: its MAC key is the fake's only one. */
static enum kl_code domain_keys(struct fake *f, const struct kl_token_request *req,
                                struct kl_secret *out)
{
    struct kl_token_domain row = {.origin = KL_DOMAIN_EARLY, .current = 1, .whole = 1};
    (void)req;
    return f->caps.domain_wrap != 0 ? kl_secret_append(out, &row, sizeof row) : KL_OK;
}

static enum kl_code reseal(struct fake *f, const struct kl_token_request *req,
                           struct kl_secret *out)
{
    (void)f;
    return kl_secret_append(out, req->input, req->input_len);
}

static enum kl_code list(struct fake *f, const struct kl_token_request *req, struct kl_secret *out)
{
    enum kl_code code = KL_OK;
    uint32_t place = 0;
    for (size_t i = 0; code == KL_OK && i < MAX_KEYS; i++) {
        struct kl_token_listed row = {0};
        if (!f->keys[i].used || place++ < req->offset)
            continue;
        if (f->overlook && memcmp(f->keys[i].id, f->overlooked, KL_KEY_ID_LEN) == 0)
            continue;
        KL_AUTO(secret) spki = kl_secret_new(1024);
        if (spki == NULL || put_spki(f->keys[i].key, spki) != KL_OK)
            return KL_CRYPTO;
        memcpy(row.key.id, f->keys[i].id, KL_KEY_ID_LEN);
        kl_spki_hash(kl_secret_bytes(spki), kl_secret_len(spki), row.key.spki_hash);
        memcpy(row.label, f->keys[i].spec.label, sizeof row.label);
        if (kl_secret_len(out) + sizeof row > KL_TOKEN_MAX_INPUT)
            break;
        code = kl_secret_append(out, &row, sizeof row);
    }
    return code;
}

/* --- the calls --- */

/* A fingerprint of zeros means any. */
static enum kl_code find(struct fake *f, const struct kl_token_request *req, struct kl_secret *out)
{
    static const uint8_t any[KL_SPKI_HASH_LEN];
    struct fake_key *k = find_key(f, req->key.id);
    if (k == NULL)
        return KL_TOKEN_KEY_MISSING;
    enum kl_code code = KL_OK;
    if (memcmp(req->key.spki_hash, any, sizeof any) != 0)
        code = bound_key(f, req, &k);
    return code == KL_OK ? put_spki(k->key, out) : code;
}

static enum kl_code destroy(struct fake *f, const struct kl_token_request *req,
                            struct kl_secret *out)
{
    (void)out;
    struct fake_key *k = find_key(f, req->key.id);
    if (k != NULL)
        forget(k);
    return KL_OK;
}

static enum kl_code mac(struct fake *f, const struct kl_token_request *req, struct kl_secret *out)
{
    uint8_t tag[32];
    unsigned n = sizeof tag;
    (void)HMAC(EVP_sha256(), f->mac_key, sizeof f->mac_key, req->input, req->input_len, tag, &n);
    return kl_secret_append(out, tag, n);
}

static enum kl_code random_bytes(struct fake *f, const struct kl_token_request *req,
                                 struct kl_secret *out)
{
    (void)f;
    enum kl_code code = kl_secret_resize(out, req->count);
    if (code == KL_OK)
        kl_random(kl_secret_bytes(out), req->count);
    return code;
}

static enum kl_code probe(struct fake *f, const struct kl_token_request *req, struct kl_secret *out)
{
    (void)req;
    return kl_secret_append(out, &f->caps, sizeof f->caps);
}

static enum kl_code canary(struct fake *f, const struct kl_token_request *req,
                           struct kl_secret *out)
{
    (void)f, (void)req;
    return kl_secret_append(out, "\1", 1);
}

static enum kl_code (*const calls[KL_CALL_COUNT])(struct fake *, const struct kl_token_request *,
                                                  struct kl_secret *) = {
    [KL_CALL_PROBE] = probe,         [KL_CALL_DECRYPT] = use_key, [KL_CALL_SIGN] = use_key,
    [KL_CALL_RANDOM] = random_bytes, [KL_CALL_MAC] = mac,         [KL_CALL_FIND] = find,
    [KL_CALL_GENERATE] = generate,   [KL_CALL_DESTROY] = destroy, [KL_CALL_WRAP] = wrap_key,
    [KL_CALL_UNWRAP] = unwrap_key,   [KL_CALL_LIST] = list,       [KL_CALL_CANARY] = canary,
    [KL_CALL_DOMAIN] = domain_keys,  [KL_CALL_RESEAL] = reseal,
};

static void answer(struct fake *f, struct waiting *w)
{
    struct kl_token_reply reply = {.output = kl_secret_new(KL_TOKEN_MAX_INPUT + 16)};
    (void)pthread_mutex_lock(&f->lock);
    enum kl_token_call call = w->req.call;
    f->plan[call].calls++;
    if (f->plan[call].times > 0) {
        f->plan[call].times--;
        reply.code = f->plan[call].code;
    } else {
        w->req.input = w->input;
        reply.code = calls[call](f, &w->req, reply.output);
        if (f->plan[call].lost > 0) {
            f->plan[call].lost--;
            reply.code = KL_TOKEN_UNAVAILABLE;
        }
    }
    (void)pthread_mutex_unlock(&f->lock);
    reply.mechanism = call == KL_CALL_WRAP ? 0xfa4e : 0;
    if (reply.code != KL_OK) {
        kl_secret_free(kl_take(reply.output));
        (void)kl_fail(&reply.err, reply.code, "fake", "the token says: %s",
                      kl_code_text(reply.code));
    }
    w->done(w->arg, &reply);
    kl_secret_free(reply.output);
    free(w->input);
    free(w);
}

static void *serve(void *arg)
{
    struct fake *f = arg;
    for (;;) {
        (void)pthread_mutex_lock(&f->lock);
        while (f->head == NULL && !f->stop)
            (void)pthread_cond_wait(&f->more, &f->lock);
        struct waiting *w = f->head;
        if (w != NULL && (f->head = w->next) == NULL)
            f->tail = &f->head;
        (void)pthread_mutex_unlock(&f->lock);
        if (w == NULL)
            return NULL;
        answer(f, w);
    }
}

static enum kl_code submit(struct kl_token *t, const struct kl_token_request *req,
                           kl_token_done *done, void *arg, struct kl_err *err)
{
    struct fake *f = (struct fake *)t;
    if (req->input_len > KL_TOKEN_MAX_INPUT)
        return kl_fail(err, KL_TOO_BIG, "submit", "more than %d bytes", KL_TOKEN_MAX_INPUT);
    struct waiting *w = calloc(1, sizeof *w);
    uint8_t *input = malloc(req->input_len + 1);
    if (w == NULL || input == NULL) {
        free(w);
        free(input);
        return kl_fail(err, KL_NO_MEMORY, "submit", "out of memory");
    }
    if (req->input_len > 0)
        memcpy(input, req->input, req->input_len);
    *w = (struct waiting){.req = *req, .input = input, .done = done, .arg = arg};
    (void)pthread_mutex_lock(&f->lock);
    bool ready = f->ready;
    if (ready) {
        *f->tail = w;
        f->tail = &w->next;
        (void)pthread_cond_signal(&f->more);
    }
    (void)pthread_mutex_unlock(&f->lock);
    if (ready)
        return KL_OK;
    free(input);
    free(w);
    return kl_fail(err, KL_TOKEN_UNAVAILABLE, "submit", "token %s is away", t->name);
}

static void status(struct kl_token *t, struct kl_token_status *ret)
{
    struct fake *f = (struct fake *)t;
    (void)pthread_mutex_lock(&f->lock);
    *ret = (struct kl_token_status){
        .state = f->ready ? KL_TOKEN_READY : KL_TOKEN_DOWN, .generation = 1, .caps = f->caps};
    (void)pthread_mutex_unlock(&f->lock);
}

static void close_fake(struct kl_token *t)
{
    struct fake *f = (struct fake *)t;
    (void)pthread_mutex_lock(&f->lock);
    f->stop = true;
    (void)pthread_cond_signal(&f->more);
    (void)pthread_mutex_unlock(&f->lock);
    (void)pthread_join(f->thread, NULL);
    for (size_t i = 0; i < MAX_KEYS; i++)
        forget(&f->keys[i]);
    (void)pthread_mutex_destroy(&f->lock);
    (void)pthread_cond_destroy(&f->more);
    kl_wipe(f, sizeof *f);
    free(f);
}

struct kl_token *fake_token_new(const char *name, const char *domain)
{
    static const struct kl_token_ops ops = {
        .submit = submit, .status = status, .close = close_fake, .login = NULL};
    struct fake *f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    f->token = (struct kl_token){&ops, name};
    f->tail = &f->head;
    f->ready = true;
    (void)SHA256((const uint8_t *)domain, strlen(domain), f->wrap_key);
    (void)SHA256(f->wrap_key, sizeof f->wrap_key, f->mac_key);
    f->caps = (struct kl_token_caps){.algs = (1U << KL_ALG_COUNT) - 2,
                                     .native_algs = (1U << KL_ALG_COUNT) - 2,
                                     .rsa_bits_ok = {1, 1, 1},
                                     .curves_ok = {0, 1, 1, 1},
                                     .domain_wrap = 1,
                                     .mac = 1};
    (void)snprintf(f->caps.label, sizeof f->caps.label, "%s", name);
    (void)pthread_mutex_init(&f->lock, NULL);
    (void)pthread_cond_init(&f->more, NULL);
    if (pthread_create(&f->thread, NULL, serve, f) == 0)
        return &f->token;
    free(f);
    return NULL;
}

/* --- what a test can do to it --- */

void fake_token_fail(struct kl_token *t, enum kl_token_call call, enum kl_code code, unsigned times)
{
    struct fake *f = (struct fake *)t;
    (void)pthread_mutex_lock(&f->lock);
    f->plan[call].code = code;
    f->plan[call].times = times;
    (void)pthread_mutex_unlock(&f->lock);
}

void fake_token_lose_answer(struct kl_token *t, enum kl_token_call call, unsigned times)
{
    struct fake *f = (struct fake *)t;
    (void)pthread_mutex_lock(&f->lock);
    f->plan[call].lost = times;
    (void)pthread_mutex_unlock(&f->lock);
}

void fake_token_set_ready(struct kl_token *t, bool ready)
{
    struct fake *f = (struct fake *)t;
    (void)pthread_mutex_lock(&f->lock);
    f->ready = ready;
    (void)pthread_mutex_unlock(&f->lock);
}

void fake_token_set_caps(struct kl_token *t, const struct kl_token_caps *caps)
{
    struct fake *f = (struct fake *)t;
    (void)pthread_mutex_lock(&f->lock);
    f->caps = *caps;
    (void)pthread_mutex_unlock(&f->lock);
}

size_t fake_token_key_count(struct kl_token *t)
{
    struct fake *f = (struct fake *)t;
    size_t n = 0;
    (void)pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < MAX_KEYS; i++)
        n += f->keys[i].used;
    (void)pthread_mutex_unlock(&f->lock);
    return n;
}

bool fake_token_remove(struct kl_token *t, const uint8_t id[static KL_KEY_ID_LEN])
{
    struct fake *f = (struct fake *)t;
    (void)pthread_mutex_lock(&f->lock);
    struct fake_key *k = find_key(f, id);
    if (k != NULL)
        forget(k);
    (void)pthread_mutex_unlock(&f->lock);
    return k != NULL;
}

unsigned fake_token_calls(struct kl_token *t, enum kl_token_call call)
{
    struct fake *f = (struct fake *)t;
    (void)pthread_mutex_lock(&f->lock);
    unsigned n = f->plan[call].calls;
    (void)pthread_mutex_unlock(&f->lock);
    return n;
}

void fake_token_overlook(struct kl_token *t, const uint8_t id[static KL_KEY_ID_LEN])
{
    struct fake *f = (struct fake *)t;
    (void)pthread_mutex_lock(&f->lock);
    f->overlook = true;
    memcpy(f->overlooked, id, KL_KEY_ID_LEN);
    (void)pthread_mutex_unlock(&f->lock);
}
