/* kluis key rotation-policy show and update. */
#include "cli/cmd_key.h"

#include "base/json.h"
#include "cli/out.h"
#include "cli/target.h"
#include "cli/value.h"

#include <string.h>
#include <strings.h>

static const struct kl_column columns[] = {
    {"Id", "id", KL_COLUMN_TEXT},
    {"RotateAfter", "rotateAfter", KL_COLUMN_TEXT},
    {"RotateBefore", "rotateBefore", KL_COLUMN_TEXT},
    {"NotifyBefore", "notifyBefore", KL_COLUMN_TEXT},
    {"ExpiryTime", "attributes.expiryTime", KL_COLUMN_TEXT},
    {"Created", "attributes.created", KL_COLUMN_TIME},
    {"Updated", "attributes.updated", KL_COLUMN_TIME},
};

/* What each short option stands for in a policy. */
static const struct {
    const char *option, *type, *trigger, *member;
} actions[] = {{"rotate-after", "Rotate", "timeAfterCreate", "rotateAfter"},
               {"rotate-before", "Rotate", "timeBeforeExpiry", "rotateBefore"},
               {"notify-before", "Notify", "timeBeforeExpiry", "notifyBefore"}};

static bool is_type(const json_t *item, const char *type)
{
    const char *text = json_string_value(json_object_get(json_object_get(item, "action"), "type"));
    return text != NULL && strcasecmp(text, type) == 0;
}

/* A table has one line for each, so they stand beside the list too; JSON is as the service gave it.
 */
static enum kl_code show(struct kl_cmd *cmd, json_t *policy, struct kl_err *err)
{
    const json_t *list = json_object_get(policy, "lifetimeActions");
    if (kl_cmd_format(cmd) == KL_FORMAT_JSON)
        return kl_out_show(cmd, policy, columns, KL_COUNT(columns), err);
    for (size_t i = 0; i < json_array_size(list); i++)
        for (size_t a = 0; a < KL_COUNT(actions); a++) {
            const json_t *item = json_array_get(list, i);
            json_t *when = json_object_get(json_object_get(item, "trigger"), actions[a].trigger);
            if (is_type(item, actions[a].type) && json_is_string(when))
                (void)json_object_set(policy, actions[a].member, when);
        }
    return kl_out_show(cmd, policy, columns, KL_COUNT(columns), err);
}

static void drop_actions(json_t *list, const char *type)
{
    for (size_t i = json_array_size(list); i-- > 0;)
        if (is_type(json_array_get(list, i), type))
            (void)json_array_remove(list, i);
}

static bool is_none(const char *text)
{
    return strcasecmp(text, "none") == 0;
}

/* The short options on top of the policy that there is. */
static enum kl_code put_options(const struct kl_cmd *cmd, json_t *policy, unsigned *given,
                                struct kl_err *err)
{
    json_t *list = json_object_get(policy, "lifetimeActions");
    const char *expiry = kl_cmd_value(cmd, "expiry-time");
    json_t *attributes = json_object_get(policy, "attributes");
    if (!json_is_array(list) || !json_is_object(attributes))
        return kl_fail(err, KL_HTTP_STATUS, "rotationpolicy", "the service's answer is no policy");
    if (kl_cmd_value(cmd, "rotate-after") != NULL && kl_cmd_value(cmd, "rotate-before") != NULL)
        return kl_fail(err, KL_USAGE, NULL,
                       "--rotate-after and --rotate-before exclude each other: a key has one "
                       "trigger for its rotation");
    for (size_t a = 0; a < KL_COUNT(actions); a++) {
        const char *when = kl_cmd_value(cmd, actions[a].option);
        if (when == NULL)
            continue;
        ++*given;
        drop_actions(list, actions[a].type);
        if (!is_none(when))
            (void)json_array_append_new(list, json_pack("{s:{s:s}, s:{s:s}}", "trigger",
                                                        actions[a].trigger, when, "action", "type",
                                                        actions[a].type));
    }
    *given += expiry != NULL;
    if (expiry != NULL && is_none(expiry))
        (void)json_object_del(attributes, "expiryTime");
    else if (expiry != NULL)
        return kl_value_put_text(attributes, "expiryTime", expiry, err);
    return KL_OK;
}

/* --value as az has it: JSON, or the file that holds it. */
static enum kl_code read_value(const struct kl_cmd *cmd, json_t **ret, struct kl_err *err)
{
    const char *value = kl_cmd_value(cmd, "value"), *file = kl_cmd_value(cmd, "file");
    if (value != NULL && file != NULL)
        return kl_fail(err, KL_USAGE, NULL, "--value and --file exclude each other");
    if (value != NULL && value[strspn(value, " \t\r\n")] == '{')
        return kl_json_parse(value, strlen(value), ret, err);
    return kl_json_read_file(file != NULL ? file : value, ret, err);
}

static enum kl_code run_show(struct kl_cmd *cmd, const char *url, struct kl_err *err)
{
    KL_AUTO(json) policy = NULL;
    enum kl_code code = kl_target_call(cmd, "GET", url, NULL, &policy, err);
    return code == KL_OK ? show(cmd, policy, err) : code;
}

static enum kl_code run_update(struct kl_cmd *cmd, const char *url, struct kl_err *err)
{
    KL_AUTO(json) wanted = NULL;
    KL_AUTO(json) policy = NULL;
    unsigned given = 0;
    bool whole = kl_cmd_value(cmd, "value") != NULL || kl_cmd_value(cmd, "file") != NULL;
    enum kl_code code =
        whole ? read_value(cmd, &wanted, err) : kl_target_call(cmd, "GET", url, NULL, &wanted, err);
    if (code == KL_OK && !whole)
        code = put_options(cmd, wanted, &given, err);
    if (code == KL_OK && !whole && given == 0)
        return kl_fail(err, KL_USAGE, NULL,
                       "nothing to change: --rotate-after, --rotate-before, --notify-before, "
                       "--expiry-time, --value or --file is missing");
    if (code == KL_OK)
        code = kl_target_call(cmd, "PUT", url, wanted, &policy, err);
    return code == KL_OK ? show(cmd, policy, err) : code;
}

enum kl_code kl_key_rotation_policy(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    const char *const *words;
    (void)kl_cmd_positionals(cmd, &words);
    bool update = strcmp(words[0], "update") == 0;
    if (!update && strcmp(words[0], "show") != 0)
        return kl_fail(err, KL_USAGE, NULL, "the words here are show and update, not '%.40s'",
                       words[0]);
    enum kl_code code = kl_target_key(cmd, KL_TARGET_KEYS, "rotationpolicy", &url, err);
    if (code != KL_OK)
        return code;
    return update ? run_update(cmd, url, err) : run_show(cmd, url, err);
}
