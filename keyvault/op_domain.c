/* The domain keys of a token, seen by administrators and auditors. */
#include "base/encoding.h"
#include "keyvault/op_admin.h"
#include "keyvault/ops.h"

#include <string.h>

static const char *origin_word(uint8_t origin)
{
    static const char *const words[KL_DOMAIN_ORIGINS] = {
        [KL_DOMAIN_EARLY] = "inside", [KL_DOMAIN_INSIDE] = "inside", [KL_DOMAIN_SHARES] = "shares"};
    return origin < KL_DOMAIN_ORIGINS ? words[origin] : "unknown";
}

static json_t *key_json(const struct kl_domain_key_state *s)
{
    char id[2 * KL_KEY_ID_LEN + 1];
    kl_hex(s->key.id, sizeof s->key.id, id);
    return json_pack("{s:s, s:I, s:s, s:b, s:b, s:b, s:s, s:I}", "id", id, "generation",
                     (json_int_t)s->key.generation, "origin", origin_word(s->key.origin), "current",
                     s->key.current != 0, "whole", s->key.whole != 0, "unwrapTemplate",
                     s->key.unwrap_template != 0, "name", s->name, "backups",
                     (json_int_t)s->backups);
}

static struct kl_token *named(struct kl_op *op)
{
    for (size_t i = 0; i < op->service->token_count; i++)
        if (strcmp(op->service->tokens[i]->name, op->name) == 0)
            return op->service->tokens[i];
    return NULL;
}

void kl_op_domain_keys(struct kl_op *op)
{
    struct kl_domain_key_state states[KL_DOMAIN_KEYS_MOST];
    struct kl_token *token = named(op);
    size_t count = 0;
    enum kl_code code =
        token != NULL ? kl_domain_states(op->service->model, token, states, &count, &op->err)
                      : kl_fail(&op->err, KL_NOT_FOUND, "token", "There is no token of this name");
    if (!kl_op_ok(op, code))
        return;
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(list, key_json(&states[i]));
    kl_admin_reply_list(op, list);
}
