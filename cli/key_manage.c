/* The life of a key: made, shown, changed, rotated, deleted, recovered, purged. */
#include "cli/backup_file.h"
#include "cli/cmd_key.h"
#include "cli/out.h"
#include "cli/target.h"
#include "cli/value.h"

#include <string.h>

static const struct kl_column bundle_columns[] = {
    {"Name", "key.kid", KL_COLUMN_HEAD},
    {"Id", "key.kid", KL_COLUMN_TEXT},
    {"Type", "key.kty", KL_COLUMN_TEXT},
    {"Curve", "key.crv", KL_COLUMN_TEXT},
    {"Operations", "key.key_ops", KL_COLUMN_LIST},
    {"Enabled", "attributes.enabled", KL_COLUMN_TEXT},
    {"NotBefore", "attributes.nbf", KL_COLUMN_TIME},
    {"Expires", "attributes.exp", KL_COLUMN_TIME},
    {"Created", "attributes.created", KL_COLUMN_TIME},
    {"Updated", "attributes.updated", KL_COLUMN_TIME},
    {"RecoveryLevel", "attributes.recoveryLevel", KL_COLUMN_TEXT},
    {"Profile", "kluis.profile", KL_COLUMN_TEXT},
    {"Token", "kluis.token", KL_COLUMN_TEXT},
    {"Copies", "kluis.tokens", KL_COLUMN_LIST},
    {"Origin", "kluis.origin", KL_COLUMN_TEXT},
    {"Tags", "tags", KL_COLUMN_LIST},
};

static const struct kl_column list_columns[] = {
    {"Name", "kid", KL_COLUMN_HEAD},
    {"Enabled", "attributes.enabled", KL_COLUMN_TEXT},
    {"Expires", "attributes.exp", KL_COLUMN_TIME},
    {"Created", "attributes.created", KL_COLUMN_TIME},
    {"Tags", "tags", KL_COLUMN_LIST},
    {"Id", "kid", KL_COLUMN_TEXT},
};

static const struct kl_column version_columns[] = {
    {"Version", "kid", KL_COLUMN_LAST},
    {"Enabled", "attributes.enabled", KL_COLUMN_TEXT},
    {"NotBefore", "attributes.nbf", KL_COLUMN_TIME},
    {"Expires", "attributes.exp", KL_COLUMN_TIME},
    {"Created", "attributes.created", KL_COLUMN_TIME},
};

static const struct kl_column deleted_columns[] = {
    {"Name", "kid", KL_COLUMN_HEAD},
    {"Deleted", "deletedDate", KL_COLUMN_TIME},
    {"PurgedAt", "scheduledPurgeDate", KL_COLUMN_TIME},
    {"RecoveryLevel", "attributes.recoveryLevel", KL_COLUMN_TEXT},
    {"RecoveryId", "recoveryId", KL_COLUMN_TEXT},
};

static const struct kl_column deleted_bundle_columns[] = {
    {"Name", "key.kid", KL_COLUMN_HEAD},
    {"Deleted", "deletedDate", KL_COLUMN_TIME},
    {"PurgedAt", "scheduledPurgeDate", KL_COLUMN_TIME},
    {"RecoveryLevel", "attributes.recoveryLevel", KL_COLUMN_TEXT},
    {"RecoveryId", "recoveryId", KL_COLUMN_TEXT},
};

const struct kl_column *kl_key_columns(size_t *ret_count)
{
    *ret_count = KL_COUNT(bundle_columns);
    return bundle_columns;
}

/* One call on a key's URL, its answer shown. */
static enum kl_code call_and_show(struct kl_cmd *cmd, const char *method, enum kl_target_part part,
                                  const char *suffix, const json_t *body,
                                  const struct kl_column *columns, size_t count, struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) answer = NULL;
    enum kl_code code = kl_target_key(cmd, part, suffix, &url, err);

    if (code == KL_OK)
        code = kl_target_call(cmd, method, url, body, &answer, err);
    return code == KL_OK ? kl_out_show(cmd, answer, columns, count, err) : code;
}

static enum kl_code show_bundle(struct kl_cmd *cmd, const char *method, enum kl_target_part part,
                                const char *suffix, const json_t *body, struct kl_err *err)
{
    return call_and_show(cmd, method, part, suffix, body, bundle_columns, KL_COUNT(bundle_columns),
                         err);
}

/* ---- create, change ---- */

/* attributes {enabled, nbf, exp}, key_ops and tags, as create and set-attributes both take them. */
static enum kl_code put_attributes(const struct kl_cmd *cmd, bool enabled_given, bool enabled,
                                   json_t *body, struct kl_err *err)
{
    KL_AUTO(json) attributes = json_object();
    enum kl_code code = kl_value_put_time(cmd, "expires", "exp", attributes, err);

    if (code == KL_OK)
        code = kl_value_put_time(cmd, "not-before", "nbf", attributes, err);
    if (code == KL_OK && enabled_given)
        json_object_set_new(attributes, "enabled", json_boolean(enabled));
    if (code == KL_OK && json_object_size(attributes) > 0)
        json_object_set(body, "attributes", attributes);
    if (code == KL_OK)
        code = kl_value_put_words(cmd, "ops", "key_ops", body, err);
    return code == KL_OK ? kl_value_put_tags(cmd, body, err) : code;
}

static enum kl_code put_kind(const struct kl_cmd *cmd, json_t *body, struct kl_err *err)
{
    const char *kty = kl_cmd_value(cmd, "kty");
    const char *curve = kl_cmd_value(cmd, "curve");
    const char *protection = kl_cmd_value(cmd, "protection");
    char kind[16];
    int64_t size = 0;
    enum kl_code code;

    if (kty == NULL)
        kty = curve != NULL ? "EC" : "RSA";
    if (curve != NULL && strncmp(kty, "EC", 2) != 0)
        return kl_fail(err, KL_USAGE, NULL, "--curve belongs to --kty EC, not to %s", kty);
    bool hsm = protection != NULL && strcmp(protection, "hsm") == 0 && strstr(kty, "-HSM") == NULL;

    snprintf(kind, sizeof(kind), "%s%s", kty, hsm ? "-HSM" : "");
    code = kl_value_put_text(body, "kty", kind, err);
    if (code == KL_OK && curve != NULL)
        code = kl_value_put_text(body, "crv", curve, err);
    if (code == KL_OK)
        code = kl_cmd_int(cmd, "size", 1024, 16384, &size, err);
    if (code == KL_OK && size != 0)
        json_object_set_new(body, "key_size", json_integer(size));
    return code;
}

enum kl_code kl_key_create(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(json) body = json_object();
    bool disabled = false;
    bool given = kl_cmd_bool(cmd, "disabled", &disabled);
    enum kl_code code = put_kind(cmd, body, err);

    if (code == KL_OK)
        code = put_attributes(cmd, given, !disabled, body, err);
    if (code == KL_OK && kl_cmd_flag(cmd, "no-backup"))
        json_object_set_new(body, "kluis", json_pack("{s:s}", "profile", "fixed"));
    return code == KL_OK ? show_bundle(cmd, "POST", KL_TARGET_KEYS, "create", body, err) : code;
}

enum kl_code kl_key_set_attributes(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(json) body = json_object();
    bool enabled = true;
    bool given = kl_cmd_bool(cmd, "enabled", &enabled);
    enum kl_code code = put_attributes(cmd, given, enabled, body, err);

    if (code == KL_OK && json_object_size(body) == 0)
        code = kl_fail(err, KL_USAGE, NULL,
                       "nothing to change: --enabled, --expires, --not-before, --ops or --tags is "
                       "missing");
    return code == KL_OK ? show_bundle(cmd, "PATCH", KL_TARGET_KEYS, NULL, body, err) : code;
}

enum kl_code kl_key_rotate(struct kl_cmd *cmd, struct kl_err *err)
{
    return show_bundle(cmd, "POST", KL_TARGET_KEYS, "rotate", NULL, err);
}

/* ---- show, list ---- */

enum kl_code kl_key_show(struct kl_cmd *cmd, struct kl_err *err)
{
    return show_bundle(cmd, "GET", KL_TARGET_KEYS, NULL, NULL, err);
}

static enum kl_code list_vault(struct kl_cmd *cmd, const char *what,
                               const struct kl_column *columns, size_t count, struct kl_err *err)
{
    KL_AUTO(char) vault = NULL;
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) all = NULL;
    enum kl_code code = kl_target_vault(cmd, &vault, err);

    if (code == KL_OK)
        code = kl_target_format(&url, err, "%s/%s", vault, what);
    if (code == KL_OK)
        code = kl_target_list(cmd, url, &all, err);
    return code == KL_OK ? kl_out_list(cmd, all, columns, count, err) : code;
}

enum kl_code kl_key_list(struct kl_cmd *cmd, struct kl_err *err)
{
    return list_vault(cmd, "keys", list_columns, KL_COUNT(list_columns), err);
}

enum kl_code kl_key_list_deleted(struct kl_cmd *cmd, struct kl_err *err)
{
    return list_vault(cmd, "deletedkeys", deleted_columns, KL_COUNT(deleted_columns), err);
}

enum kl_code kl_key_list_versions(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) all = NULL;
    enum kl_code code = kl_target_key(cmd, KL_TARGET_KEYS, "versions", &url, err);

    if (code == KL_OK)
        code = kl_target_list(cmd, url, &all, err);
    return code == KL_OK ? kl_out_list(cmd, all, version_columns, KL_COUNT(version_columns), err)
                         : code;
}

enum kl_code kl_key_show_deleted(struct kl_cmd *cmd, struct kl_err *err)
{
    return call_and_show(cmd, "GET", KL_TARGET_DELETED, NULL, NULL, deleted_bundle_columns,
                         KL_COUNT(deleted_bundle_columns), err);
}

/* ---- delete, recover, purge ---- */

enum kl_code kl_key_delete(struct kl_cmd *cmd, struct kl_err *err)
{
    char room[128];
    enum kl_code code =
        kl_target_confirm(cmd,
                          "Every version of this key stops working at once. It can be "
                          "recovered until the vault's retention ends.",
                          err);

    if (code == KL_OK)
        code = call_and_show(cmd, "DELETE", KL_TARGET_KEYS, NULL, NULL, deleted_bundle_columns,
                             KL_COUNT(deleted_bundle_columns), err);
    if (code == KL_OK)
        kl_cmd_say("Deleted. 'kluis key recover' brings %s back.",
                   kl_target_key_name(cmd, room, sizeof(room)));
    return code;
}

enum kl_code kl_key_recover(struct kl_cmd *cmd, struct kl_err *err)
{
    return show_bundle(cmd, "POST", KL_TARGET_DELETED, "recover", NULL, err);
}

enum kl_code kl_key_purge(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) nothing = NULL;
    enum kl_code code =
        kl_target_confirm(cmd,
                          "This destroys every version of this key, on the token too, "
                          "for good. Backups that were made under it cannot be opened "
                          "afterwards.",
                          err);

    if (code == KL_OK)
        code = kl_target_key(cmd, KL_TARGET_DELETED, NULL, &url, err);
    if (code == KL_OK)
        code = kl_target_call(cmd, "DELETE", url, NULL, &nothing, err);
    if (code == KL_OK)
        kl_cmd_say("Purged.");
    return code;
}

/* ---- backup, restore ---- */

enum kl_code kl_key_backup(struct kl_cmd *cmd, struct kl_err *err)
{
    return kl_backup_to_file(cmd, KL_TARGET_KEYS, err);
}

enum kl_code kl_key_restore(struct kl_cmd *cmd, struct kl_err *err)
{
    return kl_backup_from_file(cmd, KL_TARGET_KEYS, bundle_columns, KL_COUNT(bundle_columns), err);
}
