#include "wrap/vault_kek.h"

#include "base/encoding.h"
#include "base/json.h"

#include <string.h>

enum { CALL_URL_MAX = KL_KEY_URL_MAX + 32, DEK_MAX = 512 };

/* {alg, value} */
static json_t *request(const char *alg, const void *value, size_t n)
{
    struct kl_buf text = KL_BUF_INIT(2 * KL_WRAPPED_MAX);
    kl_b64url_put(&text, value, n);
    json_t *body = kl_buf_failed(&text)
                       ? NULL
                       : json_pack("{s:s, s:s}", "alg", alg, "value", kl_buf_text(&text));
    kl_buf_wipe(&text);
    return body;
}

/* What is wrapped here keys a backup: kluisd then serves no RSA1_5 under this key. Others do not
 * know the member, and leave it alone. */
static json_t *wrap_request(const char *alg, struct kl_secret *dek)
{
    json_t *body = request(alg, kl_secret_bytes(dek), kl_secret_len(dek));
    if (body != NULL)
        (void)json_object_set_new(body, "kluisUse", json_string("backup"));
    return body;
}

/* Does kid name a version of the key (the very version, when key_url has one)? Hosts may differ: a
 * vault has several origins. */
static bool same_key(const char *key_url, const char *kid)
{
    const char *asked = strstr(key_url, "/keys/"), *used = strstr(kid, "/keys/");
    const size_t n = strlen(asked);
    return strncmp(asked, used, n) == 0 &&
           (used[n] == 0 || (used[n] == '/' && !kl_key_url_valid(key_url, true)));
}

/* POST {alg, value} to KEY/VERSION/OPERATION. The answer has the members kid and value, *ret_*
 * borrowed from it. */
static enum kl_code operate(struct kl_vault_client *c, const char *key_url, const char *operation,
                            json_t *body, json_t **ret, const char **ret_kid,
                            const char **ret_value, struct kl_err *err)
{
    KL_AUTO(json) owned = body;
    KL_AUTO(json) answer = NULL;
    char url[CALL_URL_MAX];
    if (owned == NULL)
        return kl_fail(err, KL_NO_MEMORY, "json_pack", "no memory for the request");
    (void)snprintf(url, sizeof url, "%s%s/%s", key_url, kl_key_url_valid(key_url, true) ? "" : "/",
                   operation);
    enum kl_code code = kl_vault_call(c, "POST", url, owned, &answer, err);
    if (code == KL_OK)
        code = kl_json_string(answer, "kid", ret_kid, err);
    if (code == KL_OK)
        code = kl_json_string(answer, "value", ret_value, err);
    if (code != KL_OK)
        return code;
    if (*ret_kid == NULL || *ret_value == NULL || strlen(*ret_kid) >= KL_KEY_URL_MAX ||
        !kl_key_url_valid(*ret_kid, true) || !same_key(key_url, *ret_kid))
        return kl_fail(err, KL_HTTP_STATUS, operation,
                       "the service's answer does not name the key version that was asked for");
    code = kl_vault_check_url(c, *ret_kid, err);
    if (code == KL_OK)
        *ret = kl_take(answer);
    return code;
}

static enum kl_code check_url(const char *url, bool versioned, struct kl_err *err)
{
    if (strlen(url) >= KL_KEY_URL_MAX || !kl_key_url_valid(url, versioned))
        return kl_fail(err, KL_BAD_INPUT, "url",
                       "a key is named by its URL, https://VAULT/keys/NAME%s: %.160s",
                       versioned ? "/VERSION" : " with or without /VERSION", url);
    return KL_OK;
}

enum kl_code kl_vault_wrap_key(struct kl_vault_client *c, const char *key_url, const char *alg,
                               struct kl_secret *dek, uint8_t ret_wrapped[static KL_WRAPPED_MAX],
                               size_t *ret_len, char ret_kid[static KL_KEY_URL_MAX],
                               struct kl_err *err)
{
    KL_AUTO(json) answer = NULL;
    const char *kid = NULL, *value = NULL;
    enum kl_code code = check_url(key_url, false, err);
    if (code == KL_OK)
        code = operate(c, key_url, "wrapkey", wrap_request(alg, dek), &answer, &kid, &value, err);
    if (code != KL_OK)
        return code;
    if (kl_b64url_decode(value, strlen(value), ret_wrapped, KL_WRAPPED_MAX, ret_len) != KL_OK ||
        *ret_len == 0)
        return kl_fail(err, KL_HTTP_STATUS, "wrapkey", "the service's answer is not a wrapped key");
    (void)snprintf(ret_kid, KL_KEY_URL_MAX, "%s", kid);
    return KL_OK;
}

enum kl_code kl_vault_unwrap_key(struct kl_vault_client *c, const char *kid, const char *alg,
                                 const uint8_t *wrapped, size_t n, struct kl_secret **ret_dek,
                                 struct kl_err *err)
{
    KL_AUTO(json) answer = NULL;
    KL_AUTO(secret) dek = kl_secret_new(DEK_MAX);
    const char *used = NULL, *value = NULL;
    size_t len = 0;
    enum kl_code code = check_url(kid, true, err);
    if (code != KL_OK)
        return code;
    struct kl_err why = {.code = KL_OK};
    code = operate(c, kid, "unwrapkey", request(alg, wrapped, n), &answer, &used, &value, &why);
    if (code != KL_OK && err != NULL)
        *err = why;
    if (code == KL_HTTP_STATUS && why.native == 400) {
        (void)kl_err_prefix(err, "the key version that the slot names does not open it");
        return err != NULL ? (err->code = KL_WRAP_KEY) : KL_WRAP_KEY;
    }
    if (code != KL_OK)
        return code;
    if (dek == NULL || kl_secret_resize(dek, DEK_MAX) != KL_OK)
        return kl_fail(err, KL_NO_MEMORY, "mmap", "no memory for the data key");
    if (kl_b64url_decode(value, strlen(value), kl_secret_bytes(dek), DEK_MAX, &len) != KL_OK)
        return kl_fail(err, KL_HTTP_STATUS, "unwrapkey", "the service's answer is not a data key");
    code = kl_secret_resize(dek, len);
    *ret_dek = kl_take(dek);
    return code;
}

enum kl_code kl_vault_newest_key(struct kl_vault_client *c, const char *key_url,
                                 char ret_kid[static KL_KEY_URL_MAX], struct kl_err *err)
{
    KL_AUTO(json) answer = NULL;
    const char *kid = NULL;
    enum kl_code code = check_url(key_url, false, err);
    if (code == KL_OK)
        code = kl_vault_call(c, "GET", key_url, NULL, &answer, err);
    if (code == KL_OK)
        code = kl_json_string(json_object_get(answer, "key"), "kid", &kid, err);
    if (code != KL_OK)
        return code;
    if (kid == NULL || strlen(kid) >= KL_KEY_URL_MAX || !kl_key_url_valid(kid, true))
        return kl_fail(err, KL_HTTP_STATUS, "GET", "the service's answer is not a key");
    (void)snprintf(ret_kid, KL_KEY_URL_MAX, "%s", kid);
    return KL_OK;
}

static enum kl_code wrap(void *arg, const char *key_url, const char *alg, struct kl_secret *dek,
                         uint8_t ret_wrapped[static KL_SLOT_WRAPPED_MAX], size_t *ret_len,
                         char ret_kid[static KL_SLOT_KEK_MAX], struct kl_err *err)
{
    return kl_vault_wrap_key(arg, key_url, alg, dek, ret_wrapped, ret_len, ret_kid, err);
}

static enum kl_code unwrap(void *arg, const char *kid, const char *alg, const uint8_t *wrapped,
                           size_t n, struct kl_secret **ret_dek, struct kl_err *err)
{
    return kl_vault_unwrap_key(arg, kid, alg, wrapped, n, ret_dek, err);
}

static enum kl_code newest(void *arg, const char *key_url, char ret_kid[static KL_SLOT_KEK_MAX],
                           struct kl_err *err)
{
    return kl_vault_newest_key(arg, key_url, ret_kid, err);
}

struct kl_kek kl_vault_kek(struct kl_vault_client *c)
{
    return (struct kl_kek){.arg = c, .wrap = wrap, .unwrap = unwrap, .newest = newest};
}
