#include "keyvault/event_wire.h"

#include "base/clock.h"
#include "base/encoding.h"
#include "base/json.h"
#include "keyvault/wire.h"

#include <openssl/hmac.h>
#include <string.h>

#define KEY_MAX    512
#define PREFIX     "whsec_"
#define EVENT_TYPE "Microsoft.KeyVault."
#define VERSION    "1"
#define BODY_TYPE  "application/json"

static void put_member(struct kl_buf *out, const char *head, const char *text)
{
    kl_buf_puts(out, head);
    kl_buf_put_json(out, text, strlen(text));
}

static void put_source(struct kl_buf *out, const char *head, const struct kl_vault *v)
{
    char id[256];
    (void)snprintf(id, sizeof id, "/subscriptions/%.160s/providers/Microsoft.KeyVault/vaults/%s",
                   v->subscription, v->name);
    put_member(out, head, id);
}

static void put_time(struct kl_buf *out, const char *head, int64_t unix_ms)
{
    char time[32];
    kl_clock_iso(unix_ms, time);
    put_member(out, head, time);
}

static void put_when(struct kl_buf *out, const char *head, bool there, int64_t when)
{
    if (there)
        kl_buf_printf(out, "%s%lld", head, (long long)when);
    else
        kl_buf_printf(out, "%snull", head);
}

static void put_data(struct kl_buf *out, const struct kl_event *e)
{
    const struct kl_event_name *name = kl_event_name(e->type);
    kl_buf_puts(out, ",\"data\":{\"Id\":\"");
    if (e->vault->origin_count > 0)
        kl_wire_put_id(out, &e->vault->origins[0], name->collection, e->name, e->version);
    put_member(out, "\",\"VaultName\":", e->vault->name);
    put_member(out, ",\"ObjectType\":", name->object);
    put_member(out, ",\"ObjectName\":", e->name);
    put_member(out, ",\"Version\":", e->version);
    put_when(out, ",\"NBF\":", e->attrs.has_nbf, e->attrs.nbf);
    put_when(out, ",\"EXP\":", e->attrs.has_exp, e->attrs.exp);
    kl_buf_putc(out, '}');
}

void kl_event_put_grid(struct kl_buf *out, const struct kl_event *e)
{
    put_member(out, "[{\"id\":", e->id);
    put_source(out, ",\"topic\":", e->vault);
    put_member(out, ",\"subject\":", e->name);
    kl_buf_printf(out, ",\"eventType\":\"" EVENT_TYPE "%s\"", kl_event_name(e->type)->event);
    put_data(out, e);
    kl_buf_puts(out, ",\"dataVersion\":\"" VERSION "\",\"metadataVersion\":\"" VERSION "\"");
    put_time(out, ",\"eventTime\":", e->time_ms);
    kl_buf_puts(out, "}]");
}

void kl_event_put_cloud(struct kl_buf *out, const struct kl_event *e)
{
    put_member(out, "{\"specversion\":\"1.0\",\"id\":", e->id);
    put_source(out, ",\"source\":", e->vault);
    put_member(out, ",\"subject\":", e->name);
    kl_buf_printf(out, ",\"type\":\"" EVENT_TYPE "%s\"", kl_event_name(e->type)->event);
    kl_buf_puts(out, ",\"datacontenttype\":\"" BODY_TYPE "\"");
    put_time(out, ",\"time\":", e->time_ms);
    put_data(out, e);
    kl_buf_putc(out, '}');
}

void kl_event_put_validation(struct kl_buf *out, const char *code)
{
    char id[KL_UUID_LEN + 1];
    kl_uuid_new(id);
    put_member(out, "[{\"id\":", id);
    kl_buf_puts(out, ",\"topic\":\"\",\"subject\":\"\","
                     "\"eventType\":\"Microsoft.EventGrid.SubscriptionValidationEvent\"");
    put_member(out, ",\"data\":{\"validationCode\":", code);
    kl_buf_puts(out, "},\"dataVersion\":\"" VERSION "\",\"metadataVersion\":\"" VERSION "\"");
    put_time(out, ",\"eventTime\":", kl_clock_unix_ms());
    kl_buf_puts(out, "}]");
}

bool kl_event_validated(const char *answer, size_t n, const char *code)
{
    json_t *body = NULL;
    const char *given = NULL;
    bool same = kl_json_parse(answer, n, &body, NULL) == KL_OK &&
                kl_json_string(body, "validationResponse", &given, NULL) == KL_OK &&
                given != NULL && strcmp(given, code) == 0;
    json_decref(body);
    return same;
}

/* --- signatures --- */

enum kl_code kl_event_key(struct kl_secret *text, struct kl_secret **ret, struct kl_err *err)
{
    const char *bytes = (const char *)kl_secret_bytes(text);
    size_t n = kl_secret_len(text), skip = sizeof PREFIX - 1;
    uint8_t decoded[KEY_MAX];
    KL_AUTO(secret) key = kl_secret_new(KEY_MAX);
    enum kl_code code = key != NULL ? KL_OK : KL_NO_MEMORY;
    if (code == KL_OK && n > skip && strncmp(bytes, PREFIX, skip) == 0) {
        code = kl_b64_decode(bytes + skip, n - skip, decoded, sizeof decoded, &n);
        if (code == KL_OK)
            code = kl_secret_append(key, decoded, n);
        kl_wipe(decoded, sizeof decoded);
    } else if (code == KL_OK) {
        code = kl_secret_append(key, bytes, n);
    }
    if (code != KL_OK)
        return kl_fail(err, KL_CONFIG, "secret-file",
                       "the secret of [events] is not a text of at most %d bytes, or " PREFIX
                       " and base64",
                       KEY_MAX);
    *ret = kl_take(key);
    return KL_OK;
}

enum kl_code kl_event_sign(struct kl_secret *key, const char *id, int64_t seconds,
                           const struct kl_buf *body, char ret[static KL_EVENT_SIGNATURE_MAX],
                           struct kl_err *err)
{
    unsigned char mac[EVP_MAX_MD_SIZE], text[EVP_MAX_MD_SIZE * 2];
    unsigned n = 0;
    struct kl_buf message = KL_BUF_INIT(body->len + 128);
    kl_buf_printf(&message, "%s.%lld.", id, (long long)seconds);
    kl_buf_put(&message, body->bytes, body->len);
    bool done = !kl_buf_failed(&message) &&
                HMAC(EVP_sha256(), kl_secret_bytes(key), (int)kl_secret_len(key),
                     (const unsigned char *)message.bytes, message.len, mac, &n) != NULL;
    kl_buf_done(&message);
    if (!done)
        return kl_fail_ossl(err, "HMAC", "an event cannot be signed");
    (void)EVP_EncodeBlock(text, mac, (int)n);
    (void)snprintf(ret, KL_EVENT_SIGNATURE_MAX, "v1,%.44s", (const char *)text);
    return KL_OK;
}
