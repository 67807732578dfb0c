#include "keyvault/metrics.h"
#include "keyvault/ops.h"
#include "keyvault/wire.h"

#include <string.h>

static const char *const state_words[] = {
    [KL_TOKEN_STARTING] = "starting",
    [KL_TOKEN_READY] = "ready",
    [KL_TOKEN_DOWN] = "down",
    [KL_TOKEN_PIN_REFUSED] = "pin-refused",
};

void kl_op_healthz(struct kl_op *op)
{
    struct kl_buf json = KL_BUF_INIT(64);
    kl_buf_puts(&json, "{\"status\":\"ok\"}");
    kl_op_reply_buf(op, 200, &json);
}

void kl_op_readyz(struct kl_op *op)
{
    struct kl_buf tokens = KL_BUF_INIT(KL_ANSWER_CEILING), json = KL_BUF_INIT(KL_ANSWER_CEILING);
    bool ready = true;
    for (size_t i = 0; i < op->service->token_count; i++) {
        struct kl_token_status status;
        const char *name = op->service->tokens[i]->name;
        kl_token_status(op->service->tokens[i], &status);
        ready = ready && status.state == KL_TOKEN_READY;
        kl_buf_puts(&tokens, i > 0 ? ",{\"name\":" : "{\"name\":");
        kl_buf_put_json(&tokens, name, strlen(name));
        kl_buf_printf(&tokens, ",\"state\":\"%s\",\"lastOk\":%lld}", state_words[status.state],
                      (long long)status.last_ok_unix);
    }
    kl_buf_printf(&json, "{\"status\":\"%s\",\"tokens\":[%s]}", ready ? "ready" : "not ready",
                  kl_buf_text(&tokens));
    kl_buf_done(&tokens);
    kl_op_reply_buf(op, ready ? 200 : 503, &json);
}

void kl_op_metrics(struct kl_op *op)
{
    struct kl_buf text = KL_BUF_INIT(KL_ANSWER_CEILING);
    kl_metrics_put(&text, op->service);
    kl_op_reply_bytes(op, 200, "text/plain; version=0.0.4; charset=utf-8", kl_buf_text(&text),
                      text.len);
    kl_buf_done(&text);
}
