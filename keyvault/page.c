#include "keyvault/page.h"

#include "keyvault/auth/origin.h"
#include "keyvault/wire.h"

#include <string.h>

enum kl_code kl_page_read(struct kl_op *op, struct kl_listing *ret)
{
    char token[1024];
    ret->limit = KL_PAGE_MAX;
    ret->after[0] = 0;
    enum kl_code code =
        kl_op_query(op, "maxresults", ret->max_text, sizeof ret->max_text, &op->err);
    if (code == KL_OK)
        code = kl_op_query(op, "$skiptoken", token, sizeof token, &op->err);
    if (code == KL_OK && token[0] != 0)
        code = kl_wire_parse_skiptoken(token, ret->kind, ret->after, sizeof ret->after, &op->err);
    if (code != KL_OK || ret->max_text[0] == 0)
        return code;
    char *end;
    unsigned long n = strtoul(ret->max_text, &end, 10);
    if (ret->max_text[0] < '0' || ret->max_text[0] > '9' || *end != 0 || n < 1 || n > KL_PAGE_MAX)
        return kl_fail(&op->err, KL_BAD_INPUT, "maxresults", "maxresults must be between 1 and %d",
                       KL_PAGE_MAX);
    ret->limit = n;
    return KL_OK;
}

/* Clients follow nextLink as it is: absolute, with api-version, and maxresults only if they sent
 * it. */
void kl_page_end(struct kl_buf *out, const struct kl_op *op, const struct kl_listing *l,
                 const char *next)
{
    kl_buf_puts(out, "],\"nextLink\":");
    if (next[0] == 0) {
        kl_buf_puts(out, "null}");
        return;
    }
    kl_buf_putc(out, '"');
    kl_origin_put(out, &op->origin);
    kl_buf_puts(out, l->path);
    kl_buf_puts(out, "?api-version=");
    kl_buf_puts(out, op->api_version);
    kl_buf_puts(out, "&$skiptoken=");
    kl_wire_put_skiptoken(out, l->kind, next);
    if (l->max_text[0] != 0)
        kl_buf_printf(out, "&maxresults=%zu", l->limit);
    if (l->with != NULL)
        kl_buf_printf(out, "&%s", l->with);
    kl_buf_puts(out, "\"}");
}

void kl_page_begin(struct kl_buf *out)
{
    kl_buf_puts(out, "{\"value\":[");
}
