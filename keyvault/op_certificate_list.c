/* Listings of certificates; issuers and contacts of a vault. */
#include "keyvault/page.h"
#include "keyvault/wire_certificate.h"

#include <strings.h>
#include <string.h>

static void reply_page(struct kl_op *op, const struct kl_listing *l,
                       struct kl_vault_secret_page *page, bool versioned)
{
    struct kl_buf json = KL_BUF_INIT(KL_ANSWER_CEILING);
    kl_page_begin(&json);
    for (size_t i = 0; i < page->count; i++) {
        if (i > 0)
            kl_buf_putc(&json, ',');
        kl_wire_put_certificate_item(&json, &op->origin, op->vault, &page->items[i], versioned);
    }
    kl_page_end(&json, op, l, page->next);
    kl_vault_secret_page_done(page);
    kl_op_reply_buf(op, 200, &json);
}

static void list_certificates(struct kl_op *op, struct kl_listing *l, enum kl_object_state state)
{
    struct kl_vault_secret_page page;
    char pending[8];
    enum kl_code code = kl_page_read(op, l);
    if (code == KL_OK)
        code = kl_op_query(op, "includePending", pending, sizeof pending, &op->err);
    if (code == KL_OK)
        code = kl_certificate_list(op->service->model, op->vault, state,
                                   strcasecmp(pending, "true") == 0, l->after, l->limit, &page,
                                   &op->err);
    if (code == KL_OK && strcasecmp(pending, "true") == 0)
        l->with = "includePending=true";
    if (kl_op_ok(op, code))
        reply_page(op, l, &page, false);
}

void kl_op_certificate_list(struct kl_op *op)
{
    struct kl_listing l = {.kind = "certificates", .path = "/certificates"};
    list_certificates(op, &l, KL_STATE_ACTIVE);
}

void kl_op_deleted_certificate_list(struct kl_op *op)
{
    struct kl_listing l = {.kind = "deletedcertificates", .path = "/deletedcertificates"};
    list_certificates(op, &l, KL_STATE_DELETED);
}

void kl_op_certificate_versions(struct kl_op *op)
{
    struct kl_listing l = {.with = NULL};
    struct kl_vault_secret_page page;
    (void)snprintf(l.kind, sizeof l.kind, "certificateversions/%s", op->name);
    (void)snprintf(l.path, sizeof l.path, "/certificates/%s/versions", op->name);
    enum kl_code code = kl_page_read(op, &l);
    if (code == KL_OK)
        code = kl_certificate_versions(op->service->model, op->vault, op->name, l.after, l.limit,
                                       &page, &op->err);
    if (kl_op_ok(op, code))
        reply_page(op, &l, &page, true);
}

/* --- issuers --- */

static void reply_issuer(struct kl_op *op, enum kl_code code, json_t *issuer)
{
    KL_AUTO(json) i = issuer;
    struct kl_buf json = KL_BUF_INIT(KL_ANSWER_CEILING);
    if (!kl_op_ok(op, code))
        return;
    kl_wire_put_issuer(&json, &op->origin, i, false);
    kl_op_reply_buf(op, 200, &json);
}

void kl_op_issuer_get(struct kl_op *op)
{
    json_t *issuer = NULL;
    enum kl_code code = kl_issuer_get(op->service->model, op->vault, op->name, &issuer, &op->err);
    reply_issuer(op, code, issuer);
}

void kl_op_issuer_delete(struct kl_op *op)
{
    json_t *issuer = NULL;
    enum kl_code code =
        kl_issuer_delete(op->service->model, op->vault, op->name, &issuer, &op->err);
    reply_issuer(op, code, issuer);
}

static void write_issuer(struct kl_op *op, bool update)
{
    KL_AUTO(json) was = NULL;
    json_t *issuer = NULL;
    enum kl_code code = kl_op_need_body(op);
    if (code == KL_OK && update)
        code = kl_issuer_get(op->service->model, op->vault, op->name, &was, &op->err);
    if (code == KL_OK)
        code = kl_wire_parse_issuer(op->body, was, op->name, &issuer, &op->err);
    if (code == KL_OK)
        code = kl_issuer_put(op->service->model, op->vault, op->name, issuer, &op->err);
    reply_issuer(op, code, issuer);
}

void kl_op_issuer_put(struct kl_op *op)
{
    write_issuer(op, false);
}

void kl_op_issuer_update(struct kl_op *op)
{
    write_issuer(op, true);
}

void kl_op_issuer_list(struct kl_op *op)
{
    struct kl_listing l = {.kind = "issuers", .path = "/certificates/issuers"};
    struct kl_issuer_page page;
    struct kl_buf json = KL_BUF_INIT(KL_ANSWER_CEILING);
    enum kl_code code = kl_page_read(op, &l);
    if (code == KL_OK)
        code = kl_issuer_list(op->service->model, op->vault, l.after, l.limit, &page, &op->err);
    if (!kl_op_ok(op, code))
        return;
    kl_page_begin(&json);
    for (size_t i = 0; i < page.count; i++) {
        if (i > 0)
            kl_buf_putc(&json, ',');
        kl_wire_put_issuer(&json, &op->origin, page.items[i], true);
    }
    kl_page_end(&json, op, &l, page.next);
    kl_issuer_page_done(&page);
    kl_op_reply_buf(op, 200, &json);
}

/* --- contacts --- */

static void reply_contacts(struct kl_op *op, enum kl_code code, const json_t *contacts)
{
    struct kl_buf json = KL_BUF_INIT(KL_ANSWER_CEILING);
    if (!kl_op_ok(op, code))
        return;
    kl_wire_put_contacts(&json, &op->origin, contacts);
    kl_op_reply_buf(op, 200, &json);
}

void kl_op_contacts_get(struct kl_op *op)
{
    KL_AUTO(json) contacts = NULL;
    enum kl_code code = kl_contacts_get(op->service->model, op->vault, &contacts, &op->err);
    reply_contacts(op, code, contacts);
}

void kl_op_contacts_delete(struct kl_op *op)
{
    KL_AUTO(json) contacts = NULL;
    enum kl_code code = kl_contacts_delete(op->service->model, op->vault, &contacts, &op->err);
    reply_contacts(op, code, contacts);
}

void kl_op_contacts_put(struct kl_op *op)
{
    const json_t *contacts = NULL;
    enum kl_code code = kl_op_need_body(op);
    if (code == KL_OK)
        code = kl_wire_parse_contacts(op->body, &contacts, &op->err);
    if (code == KL_OK)
        code = kl_contacts_put(op->service->model, op->vault, contacts, &op->err);
    reply_contacts(op, code, contacts);
}
