/* Verbs that move the value of a secret: set, show, download. */
#include "base/encoding.h"
#include "base/prompt.h"
#include "cli/cmd_secret.h"
#include "cli/out.h"
#include "cli/target.h"
#include "cli/value.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VALUE_MAX = 25600 }; /* bytes, as the service has it */

/* ---- encodings, in az's words: how a file's bytes become text ---- */

static enum kl_code encode_base64(struct kl_secret *bytes, struct kl_secret **ret)
{
    size_t n = kl_secret_len(bytes), len = (n + 2) / 3 * 4;
    KL_AUTO(secret) text = kl_secret_new(len + 1);

    if (text == NULL || kl_secret_resize(text, len + 1) != KL_OK)
        return KL_NO_MEMORY;
    (void)EVP_EncodeBlock(kl_secret_bytes(text), kl_secret_bytes(bytes), (int)n);
    *ret = kl_secret_resize(text, len) == KL_OK ? kl_take(text) : NULL;
    return KL_OK;
}

static enum kl_code decode_base64(struct kl_secret *text, struct kl_secret **ret)
{
    size_t n = kl_secret_len(text), len = 0;
    KL_AUTO(secret) bytes = kl_secret_new(n);

    if (bytes == NULL || kl_secret_resize(bytes, n) != KL_OK)
        return KL_NO_MEMORY;
    if (kl_b64_decode((const char *)kl_secret_bytes(text), n, kl_secret_bytes(bytes), n, &len) !=
            KL_OK ||
        kl_secret_resize(bytes, len) != KL_OK)
        return KL_BAD_INPUT;
    *ret = kl_take(bytes);
    return KL_OK;
}

static enum kl_code encode_hex(struct kl_secret *bytes, struct kl_secret **ret)
{
    size_t n = kl_secret_len(bytes);
    KL_AUTO(secret) text = kl_secret_new(2 * n + 1);

    if (text == NULL || kl_secret_resize(text, 2 * n + 1) != KL_OK)
        return KL_NO_MEMORY;
    kl_hex(kl_secret_bytes(bytes), n, (char *)kl_secret_bytes(text));
    *ret = kl_secret_resize(text, 2 * n) == KL_OK ? kl_take(text) : NULL;
    return KL_OK;
}

static enum kl_code decode_hex(struct kl_secret *text, struct kl_secret **ret)
{
    size_t n = kl_secret_len(text) / 2;
    KL_AUTO(secret) bytes = kl_secret_new(n);

    if (bytes == NULL || kl_secret_resize(bytes, n) != KL_OK)
        return KL_NO_MEMORY;
    if (kl_secret_len(text) != 2 * n ||
        kl_unhex((const char *)kl_secret_bytes(text), kl_secret_bytes(bytes), n) != KL_OK)
        return KL_BAD_INPUT;
    *ret = kl_take(bytes);
    return KL_OK;
}

/* NULL: the bytes are the text. */
static const struct encoding {
    const char *name;
    enum kl_code (*encode)(struct kl_secret *bytes, struct kl_secret **ret);
    enum kl_code (*decode)(struct kl_secret *text, struct kl_secret **ret);
} encodings[] = {
    {"utf-8", NULL, NULL},
    {"ascii", NULL, NULL},
    {"base64", encode_base64, decode_base64},
    {"hex", encode_hex, decode_hex},
};

static const struct encoding *find_encoding(const char *name)
{
    for (size_t i = 0; name != NULL && i < KL_COUNT(encodings); i++) {
        if (strcmp(encodings[i].name, name) == 0)
            return &encodings[i];
    }
    return &encodings[0];
}

/* ---- set ---- */

/* From --file byte for byte, else typed without an echo, else from standard input without the end
 * of its last line. */
static enum kl_code read_value(const struct kl_cmd *cmd, struct kl_secret **ret, struct kl_err *err)
{
    const char *file = kl_cmd_value(cmd, "file");
    KL_AUTO(secret) value = NULL;
    enum kl_code code;

    if (kl_cmd_value(cmd, "value") != NULL)
        return kl_fail(err, KL_USAGE, NULL,
                       "--value would show the secret to every user of this host and keep it in "
                       "the shell's history; give it by --file FILE, on standard input, or type it "
                       "when asked");
    if (file != NULL)
        code = kl_value_read(file, &value, err);
    else if (isatty(STDIN_FILENO))
        code = kl_prompt_secret("Value of the secret: ", VALUE_MAX, &value, err);
    else
        code = kl_secret_read_fd(STDIN_FILENO, "standard input", VALUE_MAX, &value, err);
    if (code == KL_OK)
        *ret = kl_take(value);
    return code;
}

static enum kl_code put_value(json_t *body, struct kl_secret *text, struct kl_err *err)
{
    size_t n = kl_secret_len(text);

    if (n > VALUE_MAX)
        return kl_fail(err, KL_USAGE, NULL, "the value has %zu bytes; a secret takes at most %d", n,
                       VALUE_MAX);
    if (memchr(kl_secret_bytes(text), 0, n) != NULL ||
        json_object_set_new(body, "value", json_stringn((const char *)kl_secret_bytes(text), n)) !=
            0)
        return kl_fail(err, KL_USAGE, NULL,
                       "the value is no text in UTF-8; for other data say --encoding base64");
    return KL_OK;
}

/* az notes how a file was encoded, so that a download can undo it. */
static enum kl_code note_encoding(json_t *body, const char *name, struct kl_err *err)
{
    json_t *tags = json_object_get(body, "tags");

    if (tags == NULL) {
        tags = json_object();
        (void)json_object_set_new(body, "tags", tags);
    }
    return kl_value_put_text(tags, "file-encoding", name, err);
}

static enum kl_code put_encoded(const struct kl_cmd *cmd, struct kl_secret *value, json_t *body,
                                struct kl_err *err)
{
    const char *name = kl_cmd_value(cmd, "encoding");
    const struct encoding *encoding = find_encoding(name);
    KL_AUTO(secret) text = NULL;
    if (encoding->encode != NULL && (encoding->encode(value, &text) != KL_OK || text == NULL))
        return kl_fail(err, KL_NO_MEMORY, "malloc", "out of memory");
    enum kl_code code = put_value(body, text != NULL ? text : value, err);
    if (code == KL_OK && (name != NULL || kl_cmd_value(cmd, "file") != NULL))
        code = note_encoding(body, encoding->name, err);
    return code;
}

enum kl_code kl_secret_cmd_set(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(json) body = json_object();
    KL_AUTO(json) answer = NULL;
    KL_AUTO(secret) value = NULL;
    KL_AUTO(char) url = NULL;
    bool disabled = false;
    bool given = kl_cmd_bool(cmd, "disabled", &disabled);
    bool enabled = !disabled;
    enum kl_code code = kl_secret_cmd_put_attributes(cmd, given ? &enabled : NULL, body, err);

    if (code == KL_OK)
        code = read_value(cmd, &value, err);
    if (code == KL_OK)
        code = put_encoded(cmd, value, body, err);
    if (code == KL_OK)
        code = kl_target_key(cmd, KL_TARGET_SECRETS, NULL, &url, err);
    if (code == KL_OK)
        code = kl_target_call(cmd, "PUT", url, body, &answer, err);
    if (code == KL_OK) /* whoever sets it has it */
        (void)json_object_del(answer, "value");
    return code == KL_OK ? kl_secret_cmd_show_bundle(cmd, answer, err) : code;
}

/* ---- show, download ---- */

static enum kl_code get(struct kl_cmd *cmd, json_t **ret, struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    enum kl_code code = kl_target_key(cmd, KL_TARGET_SECRETS, NULL, &url, err);

    return code == KL_OK ? kl_target_call(cmd, "GET", url, NULL, ret, err) : code;
}

enum kl_code kl_secret_cmd_show(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(json) answer = NULL;
    enum kl_code code = get(cmd, &answer, err);

    if (code == KL_OK && isatty(STDOUT_FILENO) && !kl_cmd_flag(cmd, "show-secret")) {
        (void)json_object_del(answer, "value");
        kl_cmd_say("The value is not shown at a terminal without --show-secret; 'kluis secret "
                   "download' writes it to a file.");
    }
    return code == KL_OK ? kl_secret_cmd_show_bundle(cmd, answer, err) : code;
}

static enum kl_code decode(const struct kl_cmd *cmd, const json_t *bundle, struct kl_secret **ret,
                           struct kl_err *err)
{
    const json_t *value = json_object_get(bundle, "value");
    const char *name = kl_cmd_value(cmd, "encoding");
    KL_AUTO(secret) text = kl_secret_new(json_string_length(value));

    if (!json_is_string(value))
        return kl_fail(err, KL_CORRUPT, NULL, "the service's answer holds no value");
    if (text == NULL ||
        kl_secret_append(text, json_string_value(value), json_string_length(value)) != KL_OK)
        return kl_fail(err, KL_NO_MEMORY, "malloc", "out of memory");
    if (name == NULL)
        name = json_string_value(json_object_get(json_object_get(bundle, "tags"), "file-encoding"));
    const struct encoding *encoding = find_encoding(name);

    if (encoding->decode == NULL) {
        *ret = kl_take(text);
        return KL_OK;
    }
    if (encoding->decode(text, ret) != KL_OK)
        return kl_fail(err, KL_BAD_INPUT, NULL,
                       "the value is no %s; say --encoding utf-8 to get it as it is",
                       encoding->name);
    return KL_OK;
}

enum kl_code kl_secret_cmd_download(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *file = kl_cmd_value(cmd, "file");
    bool force = kl_cmd_flag(cmd, "force");
    KL_AUTO(json) answer = NULL;
    KL_AUTO(secret) bytes = NULL;
    enum kl_code code = KL_OK;

    if (strcmp(file, "-") != 0)
        code = kl_value_check_target(file, force, err);
    if (code == KL_OK)
        code = get(cmd, &answer, err);
    if (code == KL_OK)
        code = decode(cmd, answer, &bytes, err);
    if (code != KL_OK)
        return code;
    if (strcmp(file, "-") == 0)
        return kl_out_bytes(kl_secret_bytes(bytes), kl_secret_len(bytes), err);
    return kl_value_write(file, force, kl_secret_bytes(bytes), kl_secret_len(bytes), err);
}
