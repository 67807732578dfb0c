/* How certificates come to be, and out again: create, pending, import, download. */
#include "base/encoding.h"
#include "base/io.h"
#include "cli/cmd_certificate.h"
#include "cli/target.h"
#include "cli/value.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { BUNDLE_MAX = 65536, PASSWORD_MAX = 1024 };

static const struct kl_column pending_columns[] = {
    {"Name", "id", KL_COLUMN_HEAD},
    {"Status", "status", KL_COLUMN_TEXT},
    {"Issuer", "issuer.name", KL_COLUMN_TEXT},
    {"Details", "status_details", KL_COLUMN_TEXT},
    {"RequestId", "request_id", KL_COLUMN_TEXT},
    {"Csr", "csr", KL_COLUMN_TEXT},
};

static enum kl_code show_pending(const struct kl_cmd *cmd, const json_t *op, struct kl_err *err)
{
    return kl_out_show(cmd, op, pending_columns, KL_COUNT(pending_columns), err);
}

static enum kl_code call(struct kl_cmd *cmd, const char *method, const char *suffix,
                         const json_t *body, json_t **ret, struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    enum kl_code code = kl_target_key(cmd, KL_TARGET_CERTIFICATES, suffix, &url, err);

    return code == KL_OK ? kl_target_call(cmd, method, url, body, ret, err) : code;
}

/* ---- create ---- */

static const char *text_of(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));

    return text != NULL ? text : "";
}

static enum kl_code put_subject(const struct kl_cmd *cmd, json_t *body, struct kl_err *err)
{
    const char *subject = kl_cmd_value(cmd, "subject");
    json_t *policy = json_object_get(body, "policy");

    if (policy == NULL && subject == NULL)
        return kl_fail(err, KL_USAGE, NULL,
                       "--policy (JSON or @FILE, see 'kluis certificate get-default-policy') or "
                       "--subject is missing");
    if (subject == NULL)
        return KL_OK;
    if (policy == NULL) {
        policy = json_pack("{s:{s:s}}", "issuer", "name", "Self");
        (void)json_object_set_new(body, "policy", policy);
    }
    if (json_object_get(policy, "x509_props") == NULL)
        (void)json_object_set_new(policy, "x509_props", json_object());
    return kl_value_put_text(json_object_get(policy, "x509_props"), "subject", subject, err);
}

enum kl_code kl_certificate_cmd_create(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(json) body = json_object();
    KL_AUTO(json) begun = NULL;
    KL_AUTO(json) op = NULL;
    bool disabled = false;
    bool given = kl_cmd_bool(cmd, "disabled", &disabled);
    bool enabled = !disabled;
    enum kl_code code = kl_certificate_cmd_policy(cmd, body, err);

    if (code == KL_OK)
        code = put_subject(cmd, body, err);
    if (code == KL_OK)
        code = kl_certificate_cmd_attributes(cmd, given ? &enabled : NULL, body, err);
    if (code == KL_OK)
        code = call(cmd, "POST", "create", body, &begun, err);
    if (code == KL_OK)
        code = call(cmd, "GET", "pending", NULL, &op, err);
    if (code == KL_OK && strcmp(text_of(op, "status"), "inProgress") == 0)
        kl_cmd_say("The request waits to be signed by your authority; 'kluis certificate pending "
                   "merge' brings its answer in.");
    return code == KL_OK ? show_pending(cmd, op, err) : code;
}

enum kl_code kl_certificate_cmd_default_policy(struct kl_cmd *cmd, struct kl_err *err)
{
    bool scaffold = kl_cmd_flag(cmd, "scaffold");
    KL_AUTO(json)
    policy =
        json_pack("{s:{s:s,s:i,s:b,s:b},s:{s:s},s:{s:s,s:i,s:[s,s]},s:[{s:{s:i},s:{s:s}}],s:{s:s}}",
                  "key_props", "kty", "RSA", "key_size", 2048, "exportable", 0, "reuse_key", 0,
                  "secret_props", "contentType", "application/x-pkcs12", "x509_props", "subject",
                  "CN=CLIGetDefaultPolicy", "validity_months", 12, "key_usage", "digitalSignature",
                  "keyEncipherment", "lifetime_actions", "trigger", "lifetime_percentage", 80,
                  "action", "action_type", "AutoRenew", "issuer", "name", "Self");

    if (policy == NULL)
        return kl_fail(err, KL_NO_MEMORY, "json", "out of memory");
    if (scaffold)
        (void)json_object_set_new(json_object_get(policy, "x509_props"), "sans",
                                  json_pack("{s:[s],s:[s],s:[s]}", "dns_names",
                                            "hostname.example.com", "emails", "user@example.com",
                                            "upns", "user@example.com"));
    KL_AUTO(char) text = json_dumps(policy, JSON_INDENT(2));
    return text != NULL ? kl_out_bytes(text, strlen(text), err)
                        : kl_fail(err, KL_NO_MEMORY, "json", "out of memory");
}

/* ---- pending ---- */

/* One certificate of a file: the base64 between its marks, or all of a DER file. */
static enum kl_code put_certificate(json_t *list, const char *pem, size_t n, struct kl_err *err)
{
    KL_AUTO(char) text = malloc(n + 1);
    size_t len = 0;

    if (text == NULL)
        return kl_fail(err, KL_NO_MEMORY, "malloc", "out of memory");
    for (size_t i = 0; i < n; i++)
        if (strchr(" \r\n\t", pem[i]) == NULL)
            text[len++] = pem[i];
    text[len] = '\0';
    return json_array_append_new(list, json_string(text)) == 0
               ? KL_OK
               : kl_fail(err, KL_BAD_INPUT, NULL, "the file holds no certificate in PEM or DER");
}

static enum kl_code put_der(json_t *list, const char *bytes, size_t n, struct kl_err *err)
{
    KL_AUTO(bytes) text = malloc(4 * ((n + 2) / 3) + 1);

    if (text == NULL)
        return kl_fail(err, KL_NO_MEMORY, "malloc", "out of memory");
    (void)EVP_EncodeBlock(text, (const unsigned char *)bytes, (int)n);
    return json_array_append_new(list, json_string((const char *)text)) == 0
               ? KL_OK
               : kl_fail(err, KL_NO_MEMORY, "json", "out of memory");
}

static enum kl_code read_chain(const char *file, json_t *list, struct kl_err *err)
{
    static const char from[] = "-----BEGIN CERTIFICATE-----", to[] = "-----END CERTIFICATE-----";
    KL_AUTO(char) bytes = NULL;
    size_t n = 0;
    enum kl_code code = kl_io_read_file(file, BUNDLE_MAX, &bytes, &n, err);

    if (code != KL_OK)
        return code;
    const char *at = memmem(bytes, n, from, sizeof(from) - 1);

    if (at == NULL)
        return n > 0 ? put_der(list, bytes, n, err)
                     : kl_fail(err, KL_BAD_INPUT, NULL, "%s is empty", file);
    while (at != NULL && code == KL_OK) {
        const char *body = at + sizeof(from) - 1;
        const char *end = memmem(body, n - (size_t)(body - bytes), to, sizeof(to) - 1);

        if (end == NULL)
            return kl_fail(err, KL_BAD_INPUT, NULL, "%s ends in the middle of a certificate", file);
        code = put_certificate(list, body, (size_t)(end - body), err);
        at = memmem(end, n - (size_t)(end - bytes), from, sizeof(from) - 1);
    }
    return code;
}

static enum kl_code merge(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *file = kl_cmd_value(cmd, "file");
    KL_AUTO(json) body = json_object();
    KL_AUTO(json) answer = NULL;
    json_t *list = json_array();
    bool disabled = false;
    bool given = kl_cmd_bool(cmd, "disabled", &disabled);
    bool enabled = !disabled;
    (void)json_object_set_new(body, "x5c", list);
    enum kl_code code =
        file != NULL ? read_chain(file, list, err)
                     : kl_fail(err, KL_USAGE, NULL, "--file is missing: the signed certificate");

    if (code == KL_OK)
        code = kl_certificate_cmd_attributes(cmd, given ? &enabled : NULL, body, err);
    if (code == KL_OK)
        code = call(cmd, "POST", "pending/merge", body, &answer, err);
    return code == KL_OK ? kl_certificate_cmd_bundle(cmd, answer, err) : code;
}

static enum kl_code change_pending(struct kl_cmd *cmd, const char *method, struct kl_err *err)
{
    KL_AUTO(json) op = NULL;
    enum kl_code code = call(cmd, method, "pending", NULL, &op, err);

    return code == KL_OK ? show_pending(cmd, op, err) : code;
}

enum kl_code kl_certificate_cmd_pending(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *const *words;
    size_t n = kl_cmd_positionals(cmd, &words);
    const char *what = n == 1 ? words[0] : "";

    if (strcmp(what, "merge") == 0)
        return merge(cmd, err);
    if (strcmp(what, "show") == 0)
        return change_pending(cmd, "GET", err);
    if (strcmp(what, "delete") == 0)
        return change_pending(cmd, "DELETE", err);
    return kl_fail(err, KL_USAGE, NULL, "say pending merge, pending show or pending delete");
}

/* ---- import, download ---- */

static enum kl_code put_bundle(const struct kl_cmd *cmd, json_t *body, struct kl_err *err)
{
    KL_AUTO(secret) bytes = NULL;
    KL_AUTO(secret) text = NULL;
    enum kl_code code = kl_secret_read_file(kl_cmd_value(cmd, "file"), BUNDLE_MAX, &bytes, err);

    if (code != KL_OK)
        return code;
    size_t n = kl_secret_len(bytes), room = 4 * ((n + 2) / 3) + 1;

    text = kl_secret_new(room);
    if (text == NULL || kl_secret_resize(text, room) != KL_OK)
        return kl_fail(err, KL_NO_MEMORY, "malloc", "out of memory");
    (void)EVP_EncodeBlock(kl_secret_bytes(text), kl_secret_bytes(bytes), (int)n);
    return kl_value_put_text(body, "value", (const char *)kl_secret_bytes(text), err);
}

static enum kl_code put_password(const struct kl_cmd *cmd, json_t *body, struct kl_err *err)
{
    const char *file = kl_cmd_value(cmd, "password-file");
    KL_AUTO(secret) password = NULL;

    if (kl_cmd_value(cmd, "password") != NULL)
        return kl_fail(err, KL_USAGE, NULL,
                       "--password would show it to every user of this host and keep it in the "
                       "shell's history; give it by --password-file FILE");
    if (file == NULL)
        return KL_OK;
    enum kl_code code = kl_secret_read_file(file, PASSWORD_MAX, &password, err);

    if (code == KL_OK && json_object_set_new(body, "pwd",
                                             json_stringn((const char *)kl_secret_bytes(password),
                                                          kl_secret_len(password))) != 0)
        code = kl_fail(err, KL_BAD_INPUT, NULL, "%s is no text in UTF-8", file);
    return code;
}

enum kl_code kl_certificate_cmd_import(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(json) body = json_object();
    KL_AUTO(json) answer = NULL;
    bool disabled = false;
    bool given = kl_cmd_bool(cmd, "disabled", &disabled);
    bool enabled = !disabled;
    enum kl_code code = kl_certificate_cmd_policy(cmd, body, err);

    if (code == KL_OK)
        code = kl_certificate_cmd_attributes(cmd, given ? &enabled : NULL, body, err);
    if (code == KL_OK)
        code = put_password(cmd, body, err);
    if (code == KL_OK)
        code = put_bundle(cmd, body, err);
    if (code == KL_OK)
        code = call(cmd, "POST", "import", body, &answer, err);
    return code == KL_OK ? kl_certificate_cmd_bundle(cmd, answer, err) : code;
}

static enum kl_code write_pem(const char *cer, const char *file, bool force, struct kl_err *err)
{
    struct kl_buf text = KL_BUF_INIT(2 * BUNDLE_MAX);

    kl_buf_puts(&text, "-----BEGIN CERTIFICATE-----\n");
    for (size_t n = strlen(cer), i = 0; i < n; i += 64) {
        kl_buf_put(&text, cer + i, n - i < 64 ? n - i : 64);
        kl_buf_putc(&text, '\n');
    }
    kl_buf_puts(&text, "-----END CERTIFICATE-----\n");
    enum kl_code code = kl_value_write(file, force, kl_buf_text(&text), text.len, err);

    kl_buf_done(&text);
    return code;
}

enum kl_code kl_certificate_cmd_download(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *file = kl_cmd_value(cmd, "file"), *encoding = kl_cmd_value(cmd, "encoding");
    bool force = kl_cmd_flag(cmd, "force");
    KL_AUTO(json) answer = NULL;
    enum kl_code code = kl_value_check_target(file, force, err);

    if (code == KL_OK)
        code = call(cmd, "GET", NULL, NULL, &answer, err);
    const char *cer = text_of(answer, "cer");

    if (code == KL_OK && *cer == '\0')
        code = kl_fail(err, KL_NOT_FOUND, NULL, "there is no certificate yet, its operation waits");
    if (code != KL_OK)
        return code;
    if (encoding == NULL || strcmp(encoding, "PEM") == 0)
        return write_pem(cer, file, force, err);
    size_t n = strlen(cer), len = 0;
    KL_AUTO(bytes) der = malloc(n);

    if (der == NULL || kl_b64_decode(cer, n, der, n, &len) != KL_OK)
        return kl_fail(err, KL_CORRUPT, NULL, "the service's certificate is not base64");
    return kl_value_write(file, force, der, len, err);
}
