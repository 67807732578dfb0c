#include "base/clock.h"
#include "keyvault/metrics.h"
#include "keyvault/ops.h"
#include "keyvault/wire.h"

#include <string.h>

static const char *const state_words[] = {
    [KL_TOKEN_STARTING] = "starting",
    [KL_TOKEN_READY] = "ready",
    [KL_TOKEN_DOWN] = "down",
    [KL_TOKEN_PIN_REFUSED] = "pin-refused",
    [KL_TOKEN_PIN_WANTED] = "pin-wanted",
};

void kl_op_healthz(struct kl_op *op)
{
    struct kl_buf json = KL_BUF_INIT(64);
    kl_buf_puts(&json, "{\"status\":\"ok\"}");
    kl_op_reply_buf(op, 200, &json);
}

static const char *const circuit_words[] = {
    [KL_CIRCUIT_CLOSED] = "closed",
    [KL_CIRCUIT_OPEN] = "open",
    [KL_CIRCUIT_HALF_OPEN] = "half-open",
};

const char *kl_health_state(enum kl_token_state state)
{
    return state_words[state];
}

const char *kl_health_circuit(enum kl_circuit circuit)
{
    return circuit_words[circuit];
}

static void put_health(struct kl_buf *out, const struct kl_token_status *status)
{
    int64_t canary = status->health.canary_unix;
    kl_buf_printf(out, ",\"state\":\"%s\",\"circuit\":\"%s\",\"lastOk\":%lld,\"lastCanary\":%lld",
                  kl_health_state(status->state), kl_health_circuit(status->health.circuit),
                  (long long)status->last_ok_unix, (long long)canary);
    if (canary != 0)
        kl_buf_printf(out, ",\"canaryAge\":%lld", (long long)(kl_clock_unix() - canary));
    kl_buf_puts(out, "}");
}

/* One token that is gone is no reason to take the others' callers away from this service. */
void kl_op_readyz(struct kl_op *op)
{
    struct kl_buf tokens = KL_BUF_INIT(KL_ANSWER_CEILING), json = KL_BUF_INIT(KL_ANSWER_CEILING);
    size_t ready = 0, count = op->service->token_count;
    for (size_t i = 0; i < count; i++) {
        struct kl_token_status status;
        const char *name = op->service->tokens[i]->name;
        kl_token_status(op->service->tokens[i], &status);
        ready += status.state == KL_TOKEN_READY;
        kl_buf_puts(&tokens, i > 0 ? ",{\"name\":" : "{\"name\":");
        kl_buf_put_json(&tokens, name, strlen(name));
        put_health(&tokens, &status);
    }
    kl_buf_printf(&json, "{\"status\":\"%s\",\"tokens\":[%s]}",
                  ready == count ? "ready"
                  : ready > 0    ? "degraded"
                                 : "not ready",
                  kl_buf_text(&tokens));
    kl_buf_done(&tokens);
    kl_op_reply_buf(op, ready > 0 ? 200 : 503, &json);
}

void kl_op_metrics(struct kl_op *op)
{
    struct kl_buf text = KL_BUF_INIT(KL_ANSWER_CEILING);
    kl_metrics_put(&text, op->service);
    kl_op_reply_bytes(op, 200, "text/plain; version=0.0.4; charset=utf-8", kl_buf_text(&text),
                      text.len);
    kl_buf_done(&text);
}
