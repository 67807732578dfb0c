/* Backups of keys and secrets: sealed blobs that only the same domain can open, written whole or
 * not at all. */
#include "cli/backup_file.h"

#include "base/encoding.h"
#include "cli/value.h"

#include "base/io.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BLOB_MAX = 32 << 20 }; /* 501 versions of RSA-4096, sealed and in base64, with room */

/* --subscription is az's way to say which account is meant; here it is a label of the vault, so say
 * so when it differs. */
static enum kl_code check_subscription(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *asked = kl_cmd_value(cmd, "subscription");
    const char *name = kl_cmd_value(cmd, "vault-name");
    const char *is = "";
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) vault = NULL;
    enum kl_code code = KL_OK;

    if (asked == NULL)
        return KL_OK;
    if (name == NULL)
        return kl_fail(err, KL_USAGE, NULL, "--subscription goes with --vault-name");
    code = kl_target_format(&url, err, "/kluis/v1/vaults/%s", name);
    if (code == KL_OK)
        code = kl_target_call(cmd, "GET", url, NULL, &vault, err);
    if (code == KL_OK)
        code = kl_json_string(vault, "subscription", &is, err);
    if (code == KL_OK && strcasecmp(is, asked) != 0)
        code = kl_fail(err, KL_CONFLICT, NULL, "vault %s is in subscription '%s', not '%s'", name,
                       is, asked);
    return code;
}

/* The blob of an answer as bytes; malloc'd. */
static enum kl_code decode_blob(const json_t *answer, unsigned char **ret, size_t *ret_len,
                                struct kl_err *err)
{
    const char *text = NULL;
    KL_AUTO(bytes) blob = NULL;
    enum kl_code code = kl_json_string(answer, "value", &text, err);

    if (code != KL_OK)
        return code;
    if (text == NULL || *text == '\0')
        return kl_fail(err, KL_CORRUPT, NULL, "the service's answer holds no backup");
    blob = malloc(strlen(text));
    if (blob == NULL)
        return kl_fail(err, KL_NO_MEMORY, "malloc", "out of memory");
    if (kl_b64url_decode(text, strlen(text), blob, strlen(text), ret_len) != KL_OK)
        return kl_fail(err, KL_CORRUPT, NULL, "the service's backup is not base64url");
    *ret = kl_take(blob);
    return KL_OK;
}

enum kl_code kl_backup_to_file(struct kl_cmd *cmd, enum kl_target_part part, struct kl_err *err)
{
    const char *file = kl_cmd_value(cmd, "file");
    bool force = kl_cmd_flag(cmd, "force");
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) answer = NULL;
    KL_AUTO(bytes) blob = NULL;
    size_t n = 0;
    enum kl_code code = kl_value_check_target(file, force, err);

    if (code == KL_OK)
        code = check_subscription(cmd, err);
    if (code == KL_OK)
        code = kl_target_key(cmd, part, "backup", &url, err);
    if (code == KL_OK)
        code = kl_target_call(cmd, "POST", url, NULL, &answer, err);
    if (code == KL_OK)
        code = decode_blob(answer, &blob, &n, err);
    if (code == KL_OK)
        code = kl_value_write(file, force, blob, n, err);
    if (code == KL_OK)
        kl_cmd_say(
            "%zu bytes in %s. Store it offline: it restores what is in it as it is now, with "
            "every version, into a vault of the same subscription and geography.",
            n, file);
    return code;
}

enum kl_code kl_backup_from_file(struct kl_cmd *cmd, enum kl_target_part part,
                                 const struct kl_column *columns, size_t count, struct kl_err *err)
{
    KL_AUTO(char) vault = NULL;
    KL_AUTO(char) url = NULL;
    KL_AUTO(char) blob = NULL;
    KL_AUTO(json) body = json_object();
    KL_AUTO(json) answer = NULL;
    struct kl_buf text = KL_BUF_INIT(BLOB_MAX * 2);
    size_t n = 0;
    enum kl_code code = kl_io_read_file(kl_cmd_value(cmd, "file"), BLOB_MAX, &blob, &n, err);

    if (code == KL_OK && n == 0)
        code = kl_fail(err, KL_BAD_INPUT, NULL, "%s is empty", kl_cmd_value(cmd, "file"));
    if (code == KL_OK)
        code = check_subscription(cmd, err);
    if (code == KL_OK) {
        kl_b64url_put(&text, blob, n);
        code = kl_value_put_text(body, "value", kl_buf_text(&text), err);
    }
    kl_buf_done(&text);
    if (code == KL_OK)
        code = kl_target_vault(cmd, &vault, err);
    if (code == KL_OK)
        code = kl_target_format(&url, err, "%s/%s/restore", vault, kl_target_collection(part));
    if (code == KL_OK)
        code = kl_target_call(cmd, "POST", url, body, &answer, err);
    return code == KL_OK ? kl_out_show(cmd, answer, columns, count, err) : code;
}
