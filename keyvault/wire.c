#include "keyvault/wire.h"

#include "keyvault/alg.h"
#include "keyvault/auth/origin.h"
#include "keyvault/gate.h"

#include <openssl/core_names.h>
#include <string.h>

void kl_wire_put_id(struct kl_buf *out, const struct kl_origin *origin, const char *collection,
                    const char *name, const char *version)
{
    kl_origin_put(out, origin);
    kl_buf_putc(out, '/');
    kl_buf_puts(out, collection);
    kl_buf_putc(out, '/');
    kl_buf_puts(out, name);
    if (version != NULL) {
        kl_buf_putc(out, '/');
        kl_buf_puts(out, version);
    }
}

const char *kl_wire_recovery_level(const struct kl_vault *vault)
{
    if (vault->retention_days >= 90)
        return vault->purge_protection ? "Recoverable" : "Recoverable+Purgeable";
    return vault->purge_protection ? "CustomizedRecoverable" : "CustomizedRecoverable+Purgeable";
}

void kl_wire_put_attributes(struct kl_buf *out, const struct kl_vault *vault,
                            const struct kl_key_attrs *a, int64_t created, int64_t updated)
{
    kl_buf_printf(out, "\"attributes\":{\"enabled\":%s", a->enabled ? "true" : "false");
    if (a->has_nbf)
        kl_buf_printf(out, ",\"nbf\":%lld", (long long)a->nbf);
    if (a->has_exp)
        kl_buf_printf(out, ",\"exp\":%lld", (long long)a->exp);
    kl_buf_printf(out,
                  ",\"created\":%lld,\"updated\":%lld,\"recoveryLevel\":\"%s\","
                  "\"recoverableDays\":%d",
                  (long long)created, (long long)updated, kl_wire_recovery_level(vault),
                  vault->retention_days);
}

static void put_attributes(struct kl_buf *out, const struct kl_vault *vault,
                           const struct kl_key_version *key)
{
    kl_wire_put_attributes(out, vault, &key->attrs, key->created, key->updated);
    kl_buf_puts(out, ",\"exportable\":false,\"hsmPlatform\":\"0\"}");
}

static void put_tags(struct kl_buf *out, const struct kl_key_version *key)
{
    if (key->tags_json != NULL && key->tags_json[0] != 0) {
        kl_buf_puts(out, ",\"tags\":");
        kl_buf_puts(out, key->tags_json);
    }
}

/* One big number of the public key as base64url: `width` bytes, or as long as it is for 0. */
static void put_number(struct kl_buf *out, const struct kl_key_version *key, const char *param,
                       size_t width)
{
    uint8_t bytes[1024];
    BIGNUM *n = NULL;
    if (EVP_PKEY_get_bn_param(key->public_key, param, &n) != 1 ||
        (size_t)BN_num_bytes(n) > sizeof bytes || width > sizeof bytes) {
        out->failed = true;
    } else {
        int len = width > 0 ? BN_bn2binpad(n, bytes, (int)width) : BN_bn2bin(n, bytes);
        kl_b64url_put(out, bytes, len > 0 ? (size_t)len : 0);
    }
    BN_free(n);
}

static void put_public(struct kl_buf *out, const struct kl_key_version *key)
{
    if (key->type == KL_KEY_EC) {
        size_t width = kl_curve_bytes(key->curve);
        kl_buf_printf(out, ",\"crv\":\"%s\",\"x\":\"", kl_curve_name(key->curve));
        put_number(out, key, OSSL_PKEY_PARAM_EC_PUB_X, width);
        kl_buf_puts(out, "\",\"y\":\"");
        put_number(out, key, OSSL_PKEY_PARAM_EC_PUB_Y, width);
    } else {
        kl_buf_puts(out, ",\"n\":\"");
        put_number(out, key, OSSL_PKEY_PARAM_RSA_N, 0);
        kl_buf_puts(out, "\",\"e\":\"");
        put_number(out, key, OSSL_PKEY_PARAM_RSA_E, 0);
    }
    kl_buf_putc(out, '"');
}

static void put_jwk(struct kl_buf *out, const struct kl_origin *origin,
                    const struct kl_key_version *key)
{
    static const enum kl_key_op order[] = {KL_OP_ENCRYPT, KL_OP_DECRYPT, KL_OP_SIGN,  KL_OP_VERIFY,
                                           KL_OP_WRAP,    KL_OP_UNWRAP,  KL_OP_IMPORT};
    kl_buf_puts(out, "\"key\":{\"kid\":\"");
    kl_wire_put_id(out, origin, "keys", key->name, key->version);
    kl_buf_printf(out, "\",\"kty\":\"%s%s\",\"key_ops\":[", key->type == KL_KEY_EC ? "EC" : "RSA",
                  key->hsm ? "-HSM" : "");
    const char *comma = "";
    for (size_t i = 0; i < KL_COUNT(order); i++)
        if ((key->ops & (unsigned)order[i]) != 0) {
            kl_buf_printf(out, "%s\"%s\"", comma, kl_gate_word(order[i]));
            comma = ",";
        }
    kl_buf_putc(out, ']');
    put_public(out, key);
    kl_buf_putc(out, '}');
}

const char *kl_wire_origin(enum kl_key_origin origin)
{
    static const char *const words[KL_ORIGIN_COUNT] = {"generated", "attached", "software-import",
                                                       "byok-import"};
    return (unsigned)origin < KL_ORIGIN_COUNT ? words[origin] : "unknown";
}

/* What kluis says beside Key Vault's own members; clients ignore members that they do not know. */
static void put_extras(struct kl_buf *out, const struct kl_key_version *key)
{
    kl_buf_printf(out, ",\"kluis\":{\"profile\":\"%s\",\"token\":",
                  key->profile == KL_PROFILE_DOMAIN ? "domain-backed" : "fixed");
    kl_buf_put_json(out, key->token_name, strlen(key->token_name));
    for (size_t i = 0; i < key->home_count; i++) {
        kl_buf_puts(out, i == 0 ? ",\"tokens\":[" : ",");
        kl_buf_put_json(out, key->homes[i].token_name, strlen(key->homes[i].token_name));
    }
    kl_buf_puts(out, key->home_count > 0 ? "]" : "");
    if (key->origin != KL_ORIGIN_MADE)
        kl_buf_printf(out, ",\"origin\":\"%s\"", kl_wire_origin(key->origin));
    if (key->origin == KL_ORIGIN_ATTACHED)
        kl_buf_printf(out, ",\"destroyOnPurge\":%s", key->keep ? "false" : "true");
    kl_buf_putc(out, '}');
}

static void put_bundle_members(struct kl_buf *out, const struct kl_origin *origin,
                               const struct kl_vault *vault, const struct kl_key_version *key)
{
    put_jwk(out, origin, key);
    kl_buf_putc(out, ',');
    put_attributes(out, vault, key);
    put_tags(out, key);
    if (key->managed)
        kl_buf_puts(out, ",\"managed\":true");
    put_extras(out, key);
}

void kl_wire_put_bundle(struct kl_buf *out, const struct kl_origin *origin,
                        const struct kl_vault *vault, const struct kl_key_version *key)
{
    kl_buf_putc(out, '{');
    put_bundle_members(out, origin, vault, key);
    kl_buf_putc(out, '}');
}

void kl_wire_put_recovery(struct kl_buf *out, const struct kl_origin *origin,
                          const char *collection, const char *name, int64_t deleted_at,
                          int64_t purge_at)
{
    kl_buf_puts(out, ",\"recoveryId\":\"");
    kl_wire_put_id(out, origin, collection, name, NULL);
    kl_buf_printf(out, "\",\"deletedDate\":%lld,\"scheduledPurgeDate\":%lld", (long long)deleted_at,
                  (long long)purge_at);
}

void kl_wire_put_deleted(struct kl_buf *out, const struct kl_origin *origin,
                         const struct kl_vault *vault, const struct kl_deleted_key *deleted)
{
    kl_buf_putc(out, '{');
    put_bundle_members(out, origin, vault, deleted->latest);
    kl_wire_put_recovery(out, origin, "deletedkeys", deleted->latest->name, deleted->deleted_at,
                         deleted->purge_at);
    kl_buf_putc(out, '}');
}

static void put_item_members(struct kl_buf *out, const struct kl_origin *origin,
                             const struct kl_vault *vault, const struct kl_key_version *key,
                             bool versioned)
{
    kl_buf_puts(out, "\"kid\":\"");
    kl_wire_put_id(out, origin, "keys", key->name, versioned ? key->version : NULL);
    kl_buf_puts(out, "\",");
    put_attributes(out, vault, key);
    put_tags(out, key);
    if (key->managed)
        kl_buf_puts(out, ",\"managed\":true");
}

void kl_wire_put_item(struct kl_buf *out, const struct kl_origin *origin,
                      const struct kl_vault *vault, const struct kl_key_version *key,
                      bool versioned)
{
    kl_buf_putc(out, '{');
    put_item_members(out, origin, vault, key, versioned);
    kl_buf_putc(out, '}');
}

void kl_wire_put_deleted_item(struct kl_buf *out, const struct kl_origin *origin,
                              const struct kl_vault *vault, const struct kl_key_page *page,
                              size_t i)
{
    kl_buf_putc(out, '{');
    put_item_members(out, origin, vault, page->items[i], false);
    kl_wire_put_recovery(out, origin, "deletedkeys", page->items[i]->name, page->deleted_at[i],
                         page->purge_at[i]);
    kl_buf_putc(out, '}');
}

void kl_wire_put_skiptoken(struct kl_buf *out, const char *listing, const char *marker)
{
    struct kl_buf plain = KL_BUF_INIT(1024);
    kl_buf_printf(&plain, "1!%s!%s", listing, marker);
    kl_b64url_put(out, kl_buf_text(&plain), plain.len);
    out->failed = out->failed || kl_buf_failed(&plain);
    kl_buf_done(&plain);
}

enum kl_code kl_wire_parse_skiptoken(const char *token, const char *listing, char *out, size_t room,
                                     struct kl_err *err)
{
    char plain[1024], head[512];
    size_t n = 0;
    int head_len = snprintf(head, sizeof head, "1!%s!", listing);
    if (head_len < 0 || (size_t)head_len >= sizeof head ||
        kl_b64url_decode(token, strlen(token), plain, sizeof plain - 1, &n) != KL_OK ||
        memchr(plain, 0, n) != NULL || n < (size_t)head_len ||
        memcmp(plain, head, (size_t)head_len) != 0 || n - (size_t)head_len >= room)
        return kl_fail(err, KL_BAD_INPUT, "skiptoken", "The $skiptoken is not valid");
    memcpy(out, plain + head_len, n - (size_t)head_len);
    out[n - (size_t)head_len] = 0;
    return KL_OK;
}
