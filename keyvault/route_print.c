#include "keyvault/route.h"

#include "keyvault/auth/policy.h"

#include <string.h>

static const char *const scopes[] = {
    [KL_SCOPE_OPEN] = "open",
    [KL_SCOPE_CALLER] = "caller",
    [KL_SCOPE_HOST] = "host",
    [KL_SCOPE_NAMED] = "named",
    [KL_SCOPE_ADMIN] = "admin",
    [KL_SCOPE_AUDITOR] = "auditor",
    [KL_SCOPE_NAMED_OR_NEW] = "named-or-new",
};

static void put_member(struct kl_buf *out, const char *head, const char *value)
{
    kl_buf_puts(out, head);
    if (value != NULL)
        kl_buf_put_json(out, value, strlen(value));
    else
        kl_buf_puts(out, "null");
}

static void put_row(struct kl_buf *out, const struct kl_route *row)
{
    enum kl_permission p = row->permission;
    bool any = p != KL_MAY_NOTHING;
    put_member(out, "{\"method\":", row->method);
    put_member(out, ",\"path\":", row->path);
    put_member(out, ",\"scope\":", scopes[row->scope]);
    put_member(out, ",\"kind\":", any ? kl_permission_kind_word(kl_permission_kind_of(p)) : NULL);
    put_member(out, ",\"permission\":", any ? kl_permission_word(p) : NULL);
    put_member(out, ",\"operation\":", row->audit);
    put_member(out, ",\"summary\":", row->summary);
    kl_buf_puts(out, "}");
}

void kl_routes_print(struct kl_buf *out)
{
    for (size_t i = 0; i < kl_routes_count(); i++) {
        kl_buf_puts(out, i == 0 ? "[\n" : ",\n");
        put_row(out, kl_routes_at(i));
    }
    kl_buf_puts(out, "\n]\n");
}
