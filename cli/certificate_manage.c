/* The life of a certificate: shown, listed, changed, deleted, recovered, purged, backed up. */
#include "base/io.h"
#include "cli/backup_file.h"
#include "cli/cmd_certificate.h"
#include "cli/target.h"
#include "cli/value.h"

#include <string.h>

enum { POLICY_MAX = 65536 };

static const struct kl_column bundle_columns[] = {
    {"Name", "id", KL_COLUMN_HEAD},
    {"Id", "id", KL_COLUMN_TEXT},
    {"Subject", "policy.x509_props.subject", KL_COLUMN_TEXT},
    {"Issuer", "policy.issuer.name", KL_COLUMN_TEXT},
    {"Thumbprint", "x5t", KL_COLUMN_TEXT},
    {"ThumbprintSha256", "x5t#S256", KL_COLUMN_TEXT},
    {"KeyId", "kid", KL_COLUMN_TEXT},
    {"SecretId", "sid", KL_COLUMN_TEXT},
    {"KeyType", "policy.key_props.kty", KL_COLUMN_TEXT},
    {"Exportable", "policy.key_props.exportable", KL_COLUMN_TEXT},
    {"Enabled", "attributes.enabled", KL_COLUMN_TEXT},
    {"NotBefore", "attributes.nbf", KL_COLUMN_TIME},
    {"Expires", "attributes.exp", KL_COLUMN_TIME},
    {"Created", "attributes.created", KL_COLUMN_TIME},
    {"Updated", "attributes.updated", KL_COLUMN_TIME},
    {"RecoveryLevel", "attributes.recoveryLevel", KL_COLUMN_TEXT},
    {"Tags", "tags", KL_COLUMN_LIST},
};

static const struct kl_column list_columns[] = {
    {"Name", "id", KL_COLUMN_HEAD},
    {"Subject", "subject", KL_COLUMN_TEXT},
    {"Enabled", "attributes.enabled", KL_COLUMN_TEXT},
    {"Expires", "attributes.exp", KL_COLUMN_TIME},
    {"Thumbprint", "x5t", KL_COLUMN_TEXT},
    {"Tags", "tags", KL_COLUMN_LIST},
};

static const struct kl_column version_columns[] = {
    {"Version", "id", KL_COLUMN_LAST},
    {"Subject", "subject", KL_COLUMN_TEXT},
    {"Enabled", "attributes.enabled", KL_COLUMN_TEXT},
    {"NotBefore", "attributes.nbf", KL_COLUMN_TIME},
    {"Expires", "attributes.exp", KL_COLUMN_TIME},
    {"Thumbprint", "x5t", KL_COLUMN_TEXT},
};

static const struct kl_column deleted_columns[] = {
    {"Name", "id", KL_COLUMN_HEAD},
    {"Deleted", "deletedDate", KL_COLUMN_TIME},
    {"PurgedAt", "scheduledPurgeDate", KL_COLUMN_TIME},
    {"RecoveryId", "recoveryId", KL_COLUMN_TEXT},
};

enum kl_code kl_certificate_cmd_bundle(const struct kl_cmd *cmd, const json_t *bundle,
                                       struct kl_err *err)
{
    return kl_out_show(cmd, bundle, bundle_columns, KL_COUNT(bundle_columns), err);
}

/* One call on a certificate's URL. */
static enum kl_code call(struct kl_cmd *cmd, const char *method, enum kl_target_part part,
                         const char *suffix, const json_t *body, json_t **ret, struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    enum kl_code code = kl_target_key(cmd, part, suffix, &url, err);

    return code == KL_OK ? kl_target_call(cmd, method, url, body, ret, err) : code;
}

/* ---- options ---- */

enum kl_code kl_certificate_cmd_attributes(const struct kl_cmd *cmd, const bool *enabled,
                                           json_t *body, struct kl_err *err)
{
    if (enabled != NULL)
        (void)json_object_set_new(body, "attributes",
                                  json_pack("{s:b}", "enabled", *enabled ? 1 : 0));
    return kl_value_put_tags(cmd, body, err);
}

enum kl_code kl_certificate_cmd_policy(const struct kl_cmd *cmd, json_t *body, struct kl_err *err)
{
    const char *text = kl_cmd_value(cmd, "policy");
    KL_AUTO(char) bytes = NULL;
    json_t *policy = NULL;
    size_t n = 0;
    enum kl_code code = KL_OK;

    if (text == NULL)
        return KL_OK;
    if (text[0] == '@')
        code = kl_io_read_file(text + 1, POLICY_MAX, &bytes, &n, err);
    if (code == KL_OK)
        code = kl_json_parse(bytes != NULL ? bytes : text, bytes != NULL ? n : strlen(text),
                             &policy, err);
    if (code == KL_OK && !json_is_object(policy))
        code = kl_fail(err, KL_USAGE, NULL, "--policy must be a JSON object, or @FILE with one");
    else if (code != KL_OK)
        (void)kl_err_prefix(err, "--policy (JSON, or @FILE with JSON)");
    if (code == KL_OK)
        (void)json_object_set(body, "policy", policy);
    json_decref(policy);
    return code;
}

/* ---- show, change ---- */

enum kl_code kl_certificate_cmd_show(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(json) answer = NULL;
    enum kl_code code = call(cmd, "GET", KL_TARGET_CERTIFICATES, NULL, NULL, &answer, err);

    return code == KL_OK ? kl_certificate_cmd_bundle(cmd, answer, err) : code;
}

enum kl_code kl_certificate_cmd_set_attributes(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(json) body = json_object();
    KL_AUTO(json) answer = NULL;
    bool enabled = true;
    bool given = kl_cmd_bool(cmd, "enabled", &enabled);
    enum kl_code code = kl_certificate_cmd_attributes(cmd, given ? &enabled : NULL, body, err);

    if (code == KL_OK)
        code = kl_certificate_cmd_policy(cmd, body, err);
    if (code == KL_OK && json_object_size(body) == 0)
        code = kl_fail(err, KL_USAGE, NULL,
                       "nothing to change: --enabled, --tags or --policy is missing");
    if (code == KL_OK)
        code = call(cmd, "PATCH", KL_TARGET_CERTIFICATES, NULL, body, &answer, err);
    return code == KL_OK ? kl_certificate_cmd_bundle(cmd, answer, err) : code;
}

/* ---- list ---- */

static enum kl_code list_vault(struct kl_cmd *cmd, enum kl_target_part part, const char *query,
                               const struct kl_column *columns, size_t count, struct kl_err *err)
{
    KL_AUTO(char) vault = NULL;
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) all = NULL;
    enum kl_code code = kl_target_vault(cmd, &vault, err);

    if (code == KL_OK)
        code = kl_target_format(&url, err, "%s/%s%s", vault, kl_target_collection(part), query);
    if (code == KL_OK)
        code = kl_target_list(cmd, url, &all, err);
    return code == KL_OK ? kl_out_list(cmd, all, columns, count, err) : code;
}

enum kl_code kl_certificate_cmd_list(struct kl_cmd *cmd, struct kl_err *err)
{
    return list_vault(cmd, KL_TARGET_CERTIFICATES,
                      kl_cmd_flag(cmd, "include-pending") ? "?includePending=true" : "",
                      list_columns, KL_COUNT(list_columns), err);
}

enum kl_code kl_certificate_cmd_list_deleted(struct kl_cmd *cmd, struct kl_err *err)
{
    return list_vault(cmd, KL_TARGET_DELETED_CERTIFICATES, "", deleted_columns,
                      KL_COUNT(deleted_columns), err);
}

enum kl_code kl_certificate_cmd_list_versions(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) all = NULL;
    enum kl_code code = kl_target_key(cmd, KL_TARGET_CERTIFICATES, "versions", &url, err);

    if (code == KL_OK)
        code = kl_target_list(cmd, url, &all, err);
    return code == KL_OK ? kl_out_list(cmd, all, version_columns, KL_COUNT(version_columns), err)
                         : code;
}

/* ---- delete, recover, purge ---- */

static enum kl_code show_deleted(struct kl_cmd *cmd, const char *method, enum kl_target_part part,
                                 struct kl_err *err)
{
    KL_AUTO(json) answer = NULL;
    enum kl_code code = call(cmd, method, part, NULL, NULL, &answer, err);

    return code == KL_OK ? kl_out_show(cmd, answer, deleted_columns, KL_COUNT(deleted_columns), err)
                         : code;
}

enum kl_code kl_certificate_cmd_show_deleted(struct kl_cmd *cmd, struct kl_err *err)
{
    return show_deleted(cmd, "GET", KL_TARGET_DELETED_CERTIFICATES, err);
}

enum kl_code kl_certificate_cmd_delete(struct kl_cmd *cmd, struct kl_err *err)
{
    char room[128];
    enum kl_code code = kl_target_confirm(
        cmd,
        "Nobody can use this certificate, its key or its secret from now on. They can be "
        "recovered until the vault's retention ends.",
        err);

    if (code == KL_OK)
        code = show_deleted(cmd, "DELETE", KL_TARGET_CERTIFICATES, err);
    if (code == KL_OK)
        kl_cmd_say("Deleted. 'kluis certificate recover' brings %s back.",
                   kl_target_key_name(cmd, room, sizeof(room)));
    return code;
}

enum kl_code kl_certificate_cmd_recover(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(json) answer = NULL;
    enum kl_code code =
        call(cmd, "POST", KL_TARGET_DELETED_CERTIFICATES, "recover", NULL, &answer, err);

    return code == KL_OK ? kl_certificate_cmd_bundle(cmd, answer, err) : code;
}

enum kl_code kl_certificate_cmd_purge(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(json) nothing = NULL;
    enum kl_code code = kl_target_confirm(
        cmd, "This destroys every version of this certificate, its key and its secret for good.",
        err);

    if (code == KL_OK)
        code = call(cmd, "DELETE", KL_TARGET_DELETED_CERTIFICATES, NULL, NULL, &nothing, err);
    if (code == KL_OK)
        kl_cmd_say("Purged.");
    return code;
}

/* ---- backup, restore ---- */

enum kl_code kl_certificate_cmd_backup(struct kl_cmd *cmd, struct kl_err *err)
{
    return kl_backup_to_file(cmd, KL_TARGET_CERTIFICATES, err);
}

enum kl_code kl_certificate_cmd_restore(struct kl_cmd *cmd, struct kl_err *err)
{
    return kl_backup_from_file(cmd, KL_TARGET_CERTIFICATES, bundle_columns,
                               KL_COUNT(bundle_columns), err);
}
