#include "keyvault/gate.h"

#include "base/clock.h"
#include "base/log.h"
#include "keyvault/public_op.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <string.h>

#define CANARY_LEN 32 /* bytes; fits under every OAEP row and key size */

struct waiter {
    struct waiter *next;
    kl_gate_done *done;
    void *arg;
};

struct canary {
    struct canary *next;
    struct kl_gate *gate;
    struct kl_key_version *key;
    struct waiter *waiters;
    uint8_t secret[CANARY_LEN];
};

struct kl_gate {
    pthread_mutex_t lock;
    struct canary *flying;
    int64_t proof_ms;
    struct kl_failover *failover;
};

static const struct {
    enum kl_key_op use;
    const char *word;
    bool timed; /* held back outside nbf … exp */
} uses[] = {
    {KL_OP_ENCRYPT, "encrypt", true}, {KL_OP_DECRYPT, "decrypt", false},
    {KL_OP_SIGN, "sign", true},       {KL_OP_VERIFY, "verify", false},
    {KL_OP_WRAP, "wrapKey", true},    {KL_OP_UNWRAP, "unwrapKey", false},
    {KL_OP_IMPORT, "import", true},
};

static size_t use_row(enum kl_key_op use)
{
    size_t i = 0;
    while (uses[i].use != use)
        i++;
    return i;
}

const char *kl_gate_word(enum kl_key_op use)
{
    return uses[use_row(use)].word;
}

enum kl_code kl_gate_check(const struct kl_key_version *key, enum kl_key_op use, int64_t now_unix,
                           struct kl_err *err)
{
    size_t row = use_row(use);
    const struct kl_key_attrs *a = &key->attrs;
    if (!a->enabled)
        return kl_fail(err, KL_KEY_DISABLED, "gate",
                       "Operation %s is not allowed on a disabled key.", uses[row].word);
    if (uses[row].timed && a->has_nbf && now_unix < a->nbf)
        return kl_fail(err, KL_KEY_NOT_YET_VALID, "gate",
                       "Operation %s is not allowed on a key that is not yet valid.",
                       uses[row].word);
    if (uses[row].timed && a->has_exp && now_unix >= a->exp)
        return kl_fail(err, KL_KEY_EXPIRED, "gate",
                       "Operation %s is not allowed on an expired key.", uses[row].word);
    if ((key->ops & (unsigned)use) == 0)
        return kl_fail(err, KL_KEY_OP_FORBIDDEN, "gate",
                       "Operation %s is not permitted on this key.", uses[row].word);
    return KL_OK;
}

struct kl_gate *kl_gate_new(int64_t proof_ms, struct kl_failover *failover)
{
    struct kl_gate *g = calloc(1, sizeof *g);
    if (g == NULL)
        return NULL;
    (void)pthread_mutex_init(&g->lock, NULL);
    g->proof_ms = proof_ms;
    g->failover = failover;
    return g;
}

void kl_gate_free(struct kl_gate *g)
{
    if (g == NULL)
        return;
    (void)pthread_mutex_destroy(&g->lock);
    free(g);
}

void kl_gate_mark(struct kl_key_version *key)
{
    atomic_store_explicit(&key->proved_ms, kl_clock_mono_ms(), memory_order_relaxed);
}

/* Takes the canary off the list, so that nobody joins it any more, and tells those who wait. */
static void land(struct canary *c, const struct kl_err *err)
{
    struct kl_gate *g = c->gate;
    (void)pthread_mutex_lock(&g->lock);
    struct canary **link = &g->flying;
    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    (void)pthread_mutex_unlock(&g->lock);
    while (c->waiters != NULL) {
        struct waiter *w = c->waiters;
        c->waiters = w->next;
        w->done(w->arg, err);
        free(w);
    }
    kl_key_version_unref(c->key);
    kl_wipe(c->secret, sizeof c->secret);
    free(c);
}

static void land_failed(struct canary *c, const struct kl_err *cause)
{
    struct kl_err err;
    if (cause->code == KL_TOKEN_BUSY) {
        err = *cause;
    } else {
        (void)kl_fail(&err, KL_WRAP_GATE, "canary", "The private half did not prove itself");
        kl_log(KL_LOG_WARNING, "wrap gate closed name=%s version=%s code=%s op=%s native=0x%lx",
               c->key->name, c->key->version, kl_code_name(cause->code), cause->op, cause->native);
    }
    land(c, &err);
}

static void canary_back(void *arg, struct kl_token_reply *reply)
{
    struct canary *c = arg;
    if (reply->code != KL_OK) {
        land_failed(c, &reply->err);
        return;
    }
    if (kl_secret_len(reply->output) != CANARY_LEN ||
        CRYPTO_memcmp(kl_secret_bytes(reply->output), c->secret, CANARY_LEN) != 0) {
        struct kl_err err = {.code = KL_OK};
        (void)kl_fail(&err, KL_TOKEN_READBACK, "canary", "The canary came back changed");
        land_failed(c, &err);
        return;
    }
    kl_gate_mark(c->key);
    land(c, NULL);
}

static void fly(struct canary *c, const struct kl_api_alg *alg)
{
    struct kl_err err = {.code = KL_OK};
    uint8_t sealed[KL_MAX_MODULUS];
    size_t n = 0;
    enum kl_code code = kl_public_encrypt(alg, c->key, c->secret, CANARY_LEN, sealed, &n, &err);
    if (code == KL_OK) {
        const struct kl_token_request req = {
            .call = KL_CALL_DECRYPT, .alg = alg->token, .input = sealed, .input_len = n};
        code = kl_failover_submit(c->gate->failover, c->key, &req, canary_back, c, &err);
    }
    if (code != KL_OK)
        land_failed(c, &err);
}

/* Joins the canary that flies for this key, or makes one. *ret_new is set when the caller must let
 * it fly. False without memory. */
static bool join(struct kl_gate *g, struct kl_key_version *key, struct waiter *w,
                 struct canary **ret_new)
{
    *ret_new = NULL;
    (void)pthread_mutex_lock(&g->lock);
    struct canary *c = g->flying;
    while (c != NULL && memcmp(c->key->ref.id, key->ref.id, KL_KEY_ID_LEN) != 0)
        c = c->next;
    if (c == NULL) {
        c = calloc(1, sizeof *c);
        if (c == NULL)
            goto done;
        c->gate = g;
        c->key = kl_key_version_ref(key);
        kl_random(c->secret, CANARY_LEN);
        c->next = g->flying;
        g->flying = c;
        *ret_new = c;
    }
    if (w != NULL) {
        w->next = c->waiters;
        c->waiters = w;
    }
done:
    (void)pthread_mutex_unlock(&g->lock);
    return c != NULL;
}

bool kl_gate_open(struct kl_gate *g, const struct kl_api_alg *alg, struct kl_key_version *key)
{
    int64_t proved = atomic_load_explicit(&key->proved_ms, memory_order_relaxed);
    int64_t age = kl_clock_mono_ms() - proved;
    if (proved == 0 || age >= g->proof_ms)
        return false;
    struct canary *fresh;
    if (age >= g->proof_ms / 2 && join(g, key, NULL, &fresh) && fresh != NULL)
        fly(fresh, alg);
    return true;
}

void kl_gate_prove(struct kl_gate *g, const struct kl_api_alg *alg, struct kl_key_version *key,
                   kl_gate_done *done, void *arg)
{
    struct waiter *w = calloc(1, sizeof *w);
    struct canary *fresh;
    if (w != NULL)
        *w = (struct waiter){.done = done, .arg = arg};
    if (w == NULL || !join(g, key, w, &fresh)) {
        free(w);
        struct kl_err err;
        (void)kl_fail(&err, KL_NO_MEMORY, "canary", "No memory for a proof");
        done(arg, &err);
        return;
    }
    if (fresh != NULL)
        fly(fresh, alg);
}
