/* The life of a secret, but for its value: listed, changed, deleted, recovered, purged, backed up.
 */
#include "cli/backup_file.h"
#include "cli/cmd_secret.h"
#include "cli/out.h"
#include "cli/target.h"
#include "cli/value.h"

static const struct kl_column bundle_columns[] = {
    {"Name", "id", KL_COLUMN_HEAD},
    {"Value", "value", KL_COLUMN_TEXT},
    {"Id", "id", KL_COLUMN_TEXT},
    {"ContentType", "contentType", KL_COLUMN_TEXT},
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
    {"ContentType", "contentType", KL_COLUMN_TEXT},
    {"Enabled", "attributes.enabled", KL_COLUMN_TEXT},
    {"Expires", "attributes.exp", KL_COLUMN_TIME},
    {"Created", "attributes.created", KL_COLUMN_TIME},
    {"Tags", "tags", KL_COLUMN_LIST},
    {"Id", "id", KL_COLUMN_TEXT},
};

static const struct kl_column version_columns[] = {
    {"Version", "id", KL_COLUMN_LAST},
    {"ContentType", "contentType", KL_COLUMN_TEXT},
    {"Enabled", "attributes.enabled", KL_COLUMN_TEXT},
    {"NotBefore", "attributes.nbf", KL_COLUMN_TIME},
    {"Expires", "attributes.exp", KL_COLUMN_TIME},
    {"Created", "attributes.created", KL_COLUMN_TIME},
};

static const struct kl_column deleted_columns[] = {
    {"Name", "id", KL_COLUMN_HEAD},
    {"Deleted", "deletedDate", KL_COLUMN_TIME},
    {"PurgedAt", "scheduledPurgeDate", KL_COLUMN_TIME},
    {"RecoveryLevel", "attributes.recoveryLevel", KL_COLUMN_TEXT},
    {"RecoveryId", "recoveryId", KL_COLUMN_TEXT},
};

enum kl_code kl_secret_cmd_show_bundle(struct kl_cmd *cmd, json_t *bundle, struct kl_err *err)
{
    return kl_out_show(cmd, bundle, bundle_columns, KL_COUNT(bundle_columns), err);
}

/* One call on a secret's URL; *ret may be NULL when the answer is not wanted. */
static enum kl_code call(struct kl_cmd *cmd, const char *method, enum kl_target_part part,
                         const char *suffix, const json_t *body, json_t **ret, struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    enum kl_code code = kl_target_key(cmd, part, suffix, &url, err);

    return code == KL_OK ? kl_target_call(cmd, method, url, body, ret, err) : code;
}

/* ---- change ---- */

enum kl_code kl_secret_cmd_put_attributes(const struct kl_cmd *cmd, const bool *enabled,
                                          json_t *body, struct kl_err *err)
{
    const char *type = kl_cmd_value(cmd, "content-type");
    KL_AUTO(json) attributes = json_object();
    enum kl_code code = kl_value_put_time(cmd, "expires", "exp", attributes, err);

    if (code == KL_OK)
        code = kl_value_put_time(cmd, "not-before", "nbf", attributes, err);
    if (code == KL_OK && enabled != NULL)
        json_object_set_new(attributes, "enabled", json_boolean(*enabled));
    if (code == KL_OK && json_object_size(attributes) > 0)
        json_object_set(body, "attributes", attributes);
    if (code == KL_OK && type != NULL)
        code = kl_value_put_text(body, "contentType", type, err);
    return code == KL_OK ? kl_value_put_tags(cmd, body, err) : code;
}

enum kl_code kl_secret_cmd_set_attributes(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(json) body = json_object();
    KL_AUTO(json) answer = NULL;
    bool enabled = true;
    bool given = kl_cmd_bool(cmd, "enabled", &enabled);
    enum kl_code code = kl_secret_cmd_put_attributes(cmd, given ? &enabled : NULL, body, err);

    if (code == KL_OK && json_object_size(body) == 0)
        code = kl_fail(err, KL_USAGE, NULL,
                       "nothing to change: --enabled, --expires, --not-before, --content-type or "
                       "--tags is missing");
    if (code == KL_OK)
        code = call(cmd, "PATCH", KL_TARGET_SECRETS, NULL, body, &answer, err);
    return code == KL_OK ? kl_secret_cmd_show_bundle(cmd, answer, err) : code;
}

/* ---- list ---- */

static enum kl_code list_vault(struct kl_cmd *cmd, enum kl_target_part part,
                               const struct kl_column *columns, size_t count, struct kl_err *err)
{
    KL_AUTO(char) vault = NULL;
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) all = NULL;
    enum kl_code code = kl_target_vault(cmd, &vault, err);

    if (code == KL_OK)
        code = kl_target_format(&url, err, "%s/%s", vault, kl_target_collection(part));
    if (code == KL_OK)
        code = kl_target_list(cmd, url, &all, err);
    return code == KL_OK ? kl_out_list(cmd, all, columns, count, err) : code;
}

enum kl_code kl_secret_cmd_list(struct kl_cmd *cmd, struct kl_err *err)
{
    return list_vault(cmd, KL_TARGET_SECRETS, list_columns, KL_COUNT(list_columns), err);
}

enum kl_code kl_secret_cmd_list_deleted(struct kl_cmd *cmd, struct kl_err *err)
{
    return list_vault(cmd, KL_TARGET_DELETED_SECRETS, deleted_columns, KL_COUNT(deleted_columns),
                      err);
}

enum kl_code kl_secret_cmd_list_versions(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) all = NULL;
    enum kl_code code = kl_target_key(cmd, KL_TARGET_SECRETS, "versions", &url, err);

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

enum kl_code kl_secret_cmd_show_deleted(struct kl_cmd *cmd, struct kl_err *err)
{
    return show_deleted(cmd, "GET", KL_TARGET_DELETED_SECRETS, err);
}

enum kl_code kl_secret_cmd_delete(struct kl_cmd *cmd, struct kl_err *err)
{
    char room[128];
    enum kl_code code =
        kl_target_confirm(cmd,
                          "Nobody can read any version of this secret from now on. It can be "
                          "recovered until the vault's retention ends.",
                          err);

    if (code == KL_OK)
        code = show_deleted(cmd, "DELETE", KL_TARGET_SECRETS, err);
    if (code == KL_OK)
        kl_cmd_say("Deleted. 'kluis secret recover' brings %s back.",
                   kl_target_key_name(cmd, room, sizeof(room)));
    return code;
}

enum kl_code kl_secret_cmd_recover(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(json) answer = NULL;
    enum kl_code code = call(cmd, "POST", KL_TARGET_DELETED_SECRETS, "recover", NULL, &answer, err);

    return code == KL_OK ? kl_secret_cmd_show_bundle(cmd, answer, err) : code;
}

enum kl_code kl_secret_cmd_purge(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(json) nothing = NULL;
    enum kl_code code =
        kl_target_confirm(cmd, "This destroys every version of this secret for good.", err);

    if (code == KL_OK)
        code = call(cmd, "DELETE", KL_TARGET_DELETED_SECRETS, NULL, NULL, &nothing, err);
    if (code == KL_OK)
        kl_cmd_say("Purged.");
    return code;
}

/* ---- backup, restore ---- */

enum kl_code kl_secret_cmd_backup(struct kl_cmd *cmd, struct kl_err *err)
{
    return kl_backup_to_file(cmd, KL_TARGET_SECRETS, err);
}

enum kl_code kl_secret_cmd_restore(struct kl_cmd *cmd, struct kl_err *err)
{
    return kl_backup_from_file(cmd, KL_TARGET_SECRETS, bundle_columns, KL_COUNT(bundle_columns),
                               err);
}
