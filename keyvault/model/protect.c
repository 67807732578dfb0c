#include "keyvault/model/protect.h"

#include "base/log.h"
#include "keyvault/model/escrow.h"
#include "keyvault/model/inside.h"
#include "keyvault/model/kind.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <string.h>

/* A token that is away: another one may have its row key in escrow. */
static enum kl_code ask_or_escrow(const struct kl_model *m, struct kl_token *t,
                                  struct kl_secret **ret, struct kl_err *err)
{
    struct kl_err unused;
    enum kl_code code = kl_protect_ask(m, t, ret, err);
    bool away = code == KL_TOKEN_UNAVAILABLE || code == KL_TOKEN_PIN;
    return away && kl_escrow_get(m, t->name, ret, &unused) == KL_OK ? KL_OK : code;
}

enum kl_code kl_protect_open(const struct kl_model *m, const char *token_name,
                             struct kl_protector *ret, struct kl_err *err)
{
    struct kl_secret *key = NULL;
    struct kl_err unused;
    enum kl_code code = KL_TOKEN_UNSUPPORTED;
    if (token_name != NULL) {
        struct kl_token *own;
        code = kl_model_token_named(m, token_name, &own, err);
        if (code == KL_OK)
            code = ask_or_escrow(m, own, &key, err);
        else if (kl_escrow_get(m, token_name, &key, &unused) == KL_OK)
            code = KL_OK;
    }
    for (size_t i = 0; i < m->token_count && code == KL_TOKEN_UNSUPPORTED; i++)
        code = ask_or_escrow(m, m->tokens[i], &key, err);
    if (code != KL_OK && code != KL_TOKEN_UNSUPPORTED)
        return code;
    ret->key = key;
    return KL_OK;
}

void kl_protect_close(struct kl_protector *p)
{
    kl_secret_free(p->key);
    p->key = NULL;
}

#define TAGS_ROOM (1 << 20) /* more than any tags that the API takes */

/* Canonical form: every text behind its length, every number as 8 bytes, big-endian, in a fixed
 * order. */
static void put_number(struct kl_buf *b, int64_t number)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)((uint64_t)number >> (56 - 8 * i));
    kl_buf_put(b, bytes, sizeof bytes);
}

static void put_text(struct kl_buf *b, const char *text)
{
    put_number(b, (int64_t)strlen(text));
    kl_buf_puts(b, text);
}

static enum kl_code mac_of(const struct kl_protector *p, struct kl_buf *b,
                           uint8_t ret[static KL_ROW_MAC], struct kl_err *err)
{
    unsigned n = KL_ROW_MAC;
    enum kl_code code = KL_OK;
    if (kl_buf_failed(b))
        code = kl_fail(err, KL_NO_MEMORY, "kl_buf_put", "no memory for a row's MAC");
    else if (p->key == NULL)
        memset(ret, 0, KL_ROW_MAC);
    else if (HMAC(EVP_sha256(), kl_secret_bytes(p->key), (int)kl_secret_len(p->key),
                  (const unsigned char *)b->bytes, b->len, ret, &n) == NULL)
        code = kl_fail_ossl(err, "HMAC", "cannot compute a row's MAC");
    kl_buf_done(b);
    return code;
}

static enum kl_code vault_mac(const struct kl_protector *p, const struct kl_vault_row *row,
                              uint8_t ret[static KL_ROW_MAC], struct kl_err *err)
{
    struct kl_buf b = KL_BUF_INIT(4096);
    put_text(&b, "vault 1");
    put_text(&b, row->id);
    put_text(&b, row->name);
    put_text(&b, row->folded);
    put_number(&b, row->state);
    put_text(&b, row->subscription);
    put_text(&b, row->geography);
    put_text(&b, row->token);
    put_number(&b, row->profile);
    put_number(&b, row->retention_days);
    put_number(&b, row->purge_protection);
    put_number(&b, row->created);
    put_number(&b, row->deleted_at);
    put_number(&b, row->purge_at);
    put_number(&b, row->deleted_elapsed);
    if (row->homes[0] != '\0') { /* rows of before have none */
        put_text(&b, "homes");
        put_text(&b, row->homes);
    }
    if (row->rbac != 0)
        put_text(&b, "rbac");
    if (row->extras != 0) {
        put_text(&b, "extras");
        put_number(&b, row->extras);
    }
    return mac_of(p, &b, ret, err);
}

static enum kl_code object_mac(const struct kl_protector *p, const struct kl_object_row *row,
                               uint8_t ret[static KL_ROW_MAC], struct kl_err *err)
{
    struct kl_buf b = KL_BUF_INIT(4096);
    /* Rows of before there were other kinds than keys keep their MAC. */
    if (row->kind == KL_KIND_KEY && row->managed == 0) {
        put_text(&b, "object 1");
    } else {
        put_text(&b, "object 2");
        put_number(&b, row->kind);
        put_number(&b, row->managed);
    }
    put_number(&b, row->id);
    put_text(&b, row->vault_id);
    put_text(&b, row->name);
    put_text(&b, row->folded);
    put_number(&b, row->state);
    put_number(&b, row->created);
    put_number(&b, row->deleted_at);
    put_number(&b, row->purge_at);
    put_number(&b, row->deleted_elapsed);
    return mac_of(p, &b, ret, err);
}

static enum kl_code version_mac(const struct kl_protector *p, const char *label,
                                const struct kl_token_key_row *row, uint8_t ret[static KL_ROW_MAC],
                                struct kl_err *err)
{
    struct kl_buf b = KL_BUF_INIT(4096);
    put_text(&b, label);
    put_number(&b, row->seq);
    put_number(&b, row->object);
    put_text(&b, row->version);
    put_text(&b, row->token);
    kl_buf_put(&b, row->token_key, sizeof row->token_key);
    kl_buf_put(&b, row->spki_hash, sizeof row->spki_hash);
    if (row->origin != 0 || row->keep != 0) { /* rows of before have neither */
        put_number(&b, row->origin);
        put_number(&b, row->keep);
    }
    return mac_of(p, &b, ret, err);
}

enum kl_code kl_protect_vault(const struct kl_protector *p, struct kl_vault_row *row,
                              struct kl_err *err)
{
    return vault_mac(p, row, row->mac, err);
}

enum kl_code kl_protect_object(const struct kl_protector *p, struct kl_object_row *row,
                               struct kl_err *err)
{
    return object_mac(p, row, row->mac, err);
}

static const char made[] = "version 1", creating[] = "creating 1";
static const char home[] = "home 1", moving_in[] = "home creating 1";

enum kl_code kl_protect_version(const struct kl_protector *p, struct kl_version_row *row,
                                struct kl_err *err)
{
    struct kl_token_key_row same = {
        .seq = row->seq, .object = row->object, .origin = row->origin, .keep = row->keep};
    memcpy(same.version, row->version, sizeof same.version);
    memcpy(same.token, row->token, sizeof same.token);
    memcpy(same.token_key, row->token_key, sizeof same.token_key);
    memcpy(same.spki_hash, row->spki_hash, sizeof same.spki_hash);
    return version_mac(p, made, &same, row->mac, err);
}

enum kl_code kl_protect_attributes(const struct kl_protector *p, struct kl_version_row *row,
                                   struct kl_err *err)
{
    const int64_t numbers[] = {row->seq,     row->object,   row->type,    row->bits,
                               row->curve,   row->hsm,      row->ops,     row->enabled,
                               row->has_nbf, row->nbf,      row->has_exp, row->exp,
                               row->profile, row->restored, row->created, row->updated};
    struct kl_buf b = KL_BUF_INIT(TAGS_ROOM);
    put_text(&b, "attributes 1");
    put_text(&b, row->version);
    for (size_t i = 0; i < KL_COUNT(numbers); i++)
        put_number(&b, numbers[i]);
    put_number(&b, row->tags != NULL);
    put_text(&b, row->tags != NULL ? row->tags : "");
    return mac_of(p, &b, row->attr_mac, err);
}

/* Before the row has its number, and the key its public half. */
enum kl_code kl_protect_creating(const struct kl_protector *p, struct kl_version_row *row,
                                 struct kl_err *err)
{
    struct kl_token_key_row same = {
        .seq = 0, .object = row->object, .origin = row->origin, .keep = row->keep};
    memcpy(same.version, row->version, sizeof same.version);
    memcpy(same.token, row->token, sizeof same.token);
    memcpy(same.token_key, row->token_key, sizeof same.token_key);
    return version_mac(p, creating, &same, row->mac, err);
}

enum kl_code kl_protect_home(const struct kl_protector *p, struct kl_home_row *row, bool ready,
                             struct kl_err *err)
{
    struct kl_token_key_row same = {.seq = row->seq, .object = row->object};
    memcpy(same.version, row->version, sizeof same.version);
    memcpy(same.token, row->token, sizeof same.token);
    memcpy(same.token_key, row->token_key, sizeof same.token_key);
    memcpy(same.spki_hash, row->spki_hash, sizeof same.spki_hash);
    return version_mac(p, ready ? home : moving_in, &same, row->mac, err);
}

enum kl_code kl_protect_text(const struct kl_protector *p, const char *purpose, const char *text,
                             uint8_t ret[static KL_ROW_MAC], struct kl_err *err)
{
    struct kl_buf b = KL_BUF_INIT(4096);
    put_text(&b, purpose);
    put_text(&b, text);
    return mac_of(p, &b, ret, err);
}

static enum kl_code tampered(const char *kind, const char *name, const char *id, struct kl_err *err)
{
    struct kl_err e;
    (void)kl_fail(&e, KL_CORRUPT, "MAC",
                  "the stored record of this %s was changed by a foreign hand", kind);
    (void)snprintf(e.detail, sizeof e.detail, "%s %s (%s)", kind, name, id);
    kl_log_err(KL_LOG_ERROR, "protected row", &e);
    if (err != NULL)
        *err = e;
    return KL_CORRUPT;
}

enum kl_code kl_protect_check_vault(const struct kl_protector *p, const struct kl_vault_row *row,
                                    struct kl_err *err)
{
    uint8_t mac[KL_ROW_MAC];
    enum kl_code code = vault_mac(p, row, mac, err);
    if (code == KL_OK && CRYPTO_memcmp(mac, row->mac, sizeof mac) != 0)
        return tampered("vault", row->name, row->id, err);
    return code;
}

enum kl_code kl_protect_check_object(const struct kl_protector *p, const struct kl_object_row *row,
                                     struct kl_err *err)
{
    uint8_t mac[KL_ROW_MAC];
    enum kl_code code = object_mac(p, row, mac, err);
    if (code == KL_OK && CRYPTO_memcmp(mac, row->mac, sizeof mac) != 0)
        return tampered(kl_kind_row(row->kind)->noun, row->name, row->vault_id, err);
    return code;
}

enum kl_code kl_protect_check_version(const struct kl_protector *p,
                                      const struct kl_token_key_row *row, struct kl_err *err)
{
    uint8_t mac[KL_ROW_MAC];
    enum kl_code code = version_mac(p, row->home != 0 ? home : made, row, mac, err);
    if (code == KL_OK && CRYPTO_memcmp(mac, row->mac, sizeof mac) != 0)
        return tampered("key version", row->version, row->token, err);
    return code;
}

enum kl_code kl_protect_check_creating(const struct kl_protector *p,
                                       const struct kl_token_key_row *row, struct kl_err *err)
{
    uint8_t mac[KL_ROW_MAC];
    struct kl_token_key_row unborn = *row;
    if (row->home == 0) {
        unborn.seq = 0;
        memset(unborn.spki_hash, 0, sizeof unborn.spki_hash);
    }
    enum kl_code code = version_mac(p, row->home != 0 ? moving_in : creating, &unborn, mac, err);
    if (code == KL_OK && CRYPTO_memcmp(mac, row->mac, sizeof mac) != 0)
        return tampered("key version", row->version, row->token, err);
    return code;
}
