#include "cli/target.h"

#include "cli/command_parts.h"
#include "cli/session.h"
#include "wrap/trust.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum kl_code kl_target_format(char **ret, struct kl_err *err, const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    int n;

    va_start(args, fmt);
    n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n < 0)
        return kl_fail(err, KL_NO_MEMORY, "vasprintf", "out of memory");
    *ret = text;
    return KL_OK;
}

/* Key Vault's own rule for names of vaults and keys; also keeps "/", "?" and ".." out of our URLs.
 */
static enum kl_code check_name(const char *what, const char *name, struct kl_err *err)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)name[i]) && name[i] != '-')
            n = 0;
    }
    if (n == 0 || n > 127)
        return kl_fail(err, KL_USAGE, NULL, "'%.60s' is no name of a %s: 1-127 of A-Z a-z 0-9 -",
                       name, what);
    return KL_OK;
}

/* ---- vaults ---- */

/* Length of "https://host:port" at the beginning of a URL, 0 when it is none. */
static size_t origin_length(const char *url)
{
    char origin[KL_ORIGIN_MAX];
    const char *rest = NULL;

    return kl_origin_of(url, origin, &rest, NULL) == KL_OK ? (size_t)(rest - url) : 0;
}

static bool first_label_is(const char *url, const char *name)
{
    size_t n = strlen(name);

    return origin_length(url) > 0 && strncasecmp(url + 8, name, n) == 0 && url[8 + n] == '.';
}

/* "https://safe.vault.localhost:8443" beside "https://demo.vault.localhost:8443". */
static enum kl_code sibling_of(const char *vault_url, const char *name, char **ret,
                               struct kl_err *err)
{
    const char *dot = strchr(vault_url, '.');
    size_t n = origin_length(vault_url);
    struct in_addr address;
    KL_AUTO(char) host = strndup(vault_url + 8, strcspn(vault_url + 8, ":/"));

    if (n == 0 || dot == NULL || dot > vault_url + n ||
        (host != NULL && inet_pton(AF_INET, host, &address) == 1))
        return kl_fail(err, KL_NOT_FOUND, NULL, "there is no way to find the vault '%s'", name);
    return kl_target_format(ret, err, "https://%s%.*s", name, (int)(n - (size_t)(dot - vault_url)),
                            dot);
}

/* Set the client up anew with this vault as the one to trust: the configuration named none. */
static enum kl_code trust_vault(struct kl_cmd *cmd, const struct kl_session *session,
                                const char *url, struct kl_err *err)
{
    int64_t timeout_ms = 0;
    enum kl_code code = kl_cmd_timeout(cmd, &timeout_ms, err);

    if (code != KL_OK || session->vault_url != NULL)
        return code;
    if (cmd->client != NULL)
        kl_vault_client_free(kl_take(cmd->client));
    return kl_session_client(session, url, timeout_ms, &cmd->client, err);
}

static enum kl_code ask_service(struct kl_cmd *cmd, const struct kl_session *session,
                                const char *name, char **ret, struct kl_err *err)
{
    KL_AUTO(char) path = NULL;
    KL_AUTO(char) found = NULL;
    KL_AUTO(json) vault = NULL;
    const char *uri = NULL;
    enum kl_code code = kl_target_format(&path, err, "/kluis/v1/vaults/%s", name);

    if (code == KL_OK)
        code = kl_target_call(cmd, "GET", path, NULL, &vault, err);
    if (code == KL_FORBIDDEN && session->vault_url != NULL)
        return sibling_of(session->vault_url, name, ret, err);
    if (code != KL_OK)
        return code;
    code = kl_json_string(vault, "vaultUri", &uri, err);
    if (code == KL_OK && (uri == NULL || origin_length(uri) == 0))
        code = kl_fail(err, KL_CORRUPT, NULL, "the service names no address of vault '%s'", name);
    if (code == KL_OK)
        code = kl_target_format(&found, err, "%.*s", (int)origin_length(uri), uri);
    if (code == KL_OK)
        code = trust_vault(cmd, session, found, err);
    if (code == KL_OK)
        *ret = kl_take(found);
    return code;
}

enum kl_code kl_target_vault(struct kl_cmd *cmd, char **ret, struct kl_err *err)
{
    const char *name = kl_cmd_value(cmd, "vault-name");
    KL_AUTO(session) session = NULL;
    enum kl_code code = kl_session_load(&session, err);

    if (code == KL_OK && name != NULL)
        code = check_name("vault", name, err);
    if (code != KL_OK)
        return code;
    if (name == NULL && session->vault_url == NULL)
        return kl_fail(err, KL_USAGE, NULL, "--vault-name is missing, and KLUIS_VAULT_URL too");
    if (name == NULL || (session->vault_url != NULL && first_label_is(session->vault_url, name))) {
        size_t n = origin_length(session->vault_url);

        if (n == 0)
            return kl_fail(err, KL_USAGE, NULL, "KLUIS_VAULT_URL is no https:// address");
        return kl_target_format(ret, err, "%.*s", (int)n, session->vault_url);
    }
    return ask_service(cmd, session, name, ret, err);
}

/* ---- keys ---- */

static const struct {
    const char *collection, *noun;
    enum kl_target_part active; /* the part where it is while it is not deleted */
} parts[] = {
    [KL_TARGET_KEYS] = {"keys", "key", KL_TARGET_KEYS},
    [KL_TARGET_DELETED] = {"deletedkeys", "key", KL_TARGET_KEYS},
    [KL_TARGET_SECRETS] = {"secrets", "secret", KL_TARGET_SECRETS},
    [KL_TARGET_DELETED_SECRETS] = {"deletedsecrets", "secret", KL_TARGET_SECRETS},
    [KL_TARGET_CERTIFICATES] = {"certificates", "certificate", KL_TARGET_CERTIFICATES},
    [KL_TARGET_DELETED_CERTIFICATES] = {"deletedcertificates", "certificate",
                                        KL_TARGET_CERTIFICATES},
};

const char *kl_target_collection(enum kl_target_part part)
{
    return parts[part].collection;
}

/* The parts of "https://host/keys/NAME[/VERSION]" (or deletedkeys, secrets …). */
struct key_id {
    enum kl_target_part active;
    int origin, name, version; /* lengths; version 0 = none */
    const char *name_at, *version_at;
};

static bool split_id(const char *id, struct key_id *ret)
{
    size_t origin = origin_length(id);
    const char *path = id + origin;
    struct key_id k = {.origin = (int)origin};

    if (origin == 0 || strpbrk(path, "?#%") != NULL)
        return false;
    for (size_t i = 0; i < KL_COUNT(parts) && k.name_at == NULL; i++) {
        size_t n = strlen(parts[i].collection);

        if (path[0] == '/' && strncasecmp(path + 1, parts[i].collection, n) == 0 &&
            path[1 + n] == '/') {
            k.active = parts[i].active;
            k.name_at = path + n + 2;
        }
    }
    if (k.name_at == NULL)
        return false;
    k.name = (int)strcspn(k.name_at, "/");
    k.version_at = k.name_at + k.name + (k.name_at[k.name] == '/');
    k.version = (int)strcspn(k.version_at, "/");
    *ret = k;
    return k.name > 0 && k.version_at[k.version] == '\0';
}

const char *kl_target_key_name(const struct kl_cmd *cmd, char *room, size_t n)
{
    const char *id = kl_cmd_value(cmd, "id");
    struct key_id k;

    if (id == NULL)
        return kl_cmd_value(cmd, "name") != NULL ? kl_cmd_value(cmd, "name") : "";
    if (!split_id(id, &k))
        return "";
    snprintf(room, n, "%.*s", k.name, k.name_at);
    return room;
}

enum kl_code kl_target_confirm(struct kl_cmd *cmd, const char *sentence, struct kl_err *err)
{
    char room[128];

    return kl_cmd_confirm(cmd, kl_target_key_name(cmd, room, sizeof(room)), sentence, err);
}

static bool has_option(const struct kl_cmd *cmd, const char *name)
{
    for (size_t i = 0; i < cmd->command->option_count; i++) {
        if (strcmp(cmd->command->options[i].name, name) == 0)
            return true;
    }
    return false;
}

static enum kl_code key_of_id(struct kl_cmd *cmd, enum kl_target_part part, const char *id,
                              char **ret, struct kl_err *err)
{
    struct key_id k;

    const char *collection = parts[part].collection;
    const char *usual = parts[parts[part].active].collection;

    if (!split_id(id, &k) || k.active != parts[part].active)
        return kl_fail(err, KL_USAGE, NULL,
                       "--id takes https://VAULT/%s/NAME or https://VAULT/%s/NAME/VERSION", usual,
                       usual);
    if (kl_cmd_value(cmd, "name") != NULL)
        return kl_fail(err, KL_USAGE, NULL, "--id and --name exclude each other");
    bool versioned = part == parts[part].active && k.version > 0 && has_option(cmd, "version");

    return kl_target_format(ret, err, "%.*s/%s/%.*s%s%.*s", k.origin, id, collection, k.name,
                            k.name_at, versioned ? "/" : "", versioned ? k.version : 0,
                            k.version_at);
}

/* --id names a vault that the configuration did not: the caller's own word is what makes it
 * trusted. */
static enum kl_code trust_id(struct kl_cmd *cmd, const char *id, struct kl_err *err)
{
    KL_AUTO(session) session = NULL;
    KL_AUTO(char) origin = strndup(id, origin_length(id));
    enum kl_code code = kl_session_load(&session, err);

    if (code == KL_OK && origin == NULL)
        code = kl_fail(err, KL_NO_MEMORY, "strndup", "out of memory");
    return code == KL_OK ? trust_vault(cmd, session, origin, err) : code;
}

static enum kl_code key_of_name(struct kl_cmd *cmd, enum kl_target_part part, char **ret,
                                struct kl_err *err)
{
    const char *name = kl_cmd_value(cmd, "name");
    const char *version = has_option(cmd, "version") ? kl_cmd_value(cmd, "version") : NULL;
    KL_AUTO(char) vault = NULL;
    enum kl_code code;

    if (name == NULL)
        return kl_fail(err, KL_USAGE, NULL, "--name (or --id) is missing");
    code = check_name(parts[part].noun, name, err);
    if (code == KL_OK && version != NULL)
        code = check_name("version", version, err);
    if (code == KL_OK)
        code = kl_target_vault(cmd, &vault, err);
    if (code != KL_OK)
        return code;
    if (part != parts[part].active)
        version = NULL;
    return kl_target_format(ret, err, "%s/%s/%s%s%s", vault, parts[part].collection, name,
                            version != NULL ? "/" : "", version != NULL ? version : "");
}

enum kl_code kl_target_key(struct kl_cmd *cmd, enum kl_target_part part, const char *suffix,
                           char **ret, struct kl_err *err)
{
    const char *id = kl_cmd_value(cmd, "id");
    KL_AUTO(char) key = NULL;
    enum kl_code code =
        id != NULL ? key_of_id(cmd, part, id, &key, err) : key_of_name(cmd, part, &key, err);

    if (code == KL_OK && id != NULL)
        code = trust_id(cmd, id, err);
    if (code != KL_OK)
        return code;
    return kl_target_format(ret, err, "%s%s%s", key, suffix != NULL ? "/" : "",
                            suffix != NULL ? suffix : "");
}

/* ---- calls ---- */

enum kl_code kl_target_call(struct kl_cmd *cmd, const char *method, const char *url,
                            const json_t *body, json_t **ret, struct kl_err *err)
{
    struct kl_vault_client *client = NULL;
    enum kl_code code = kl_cmd_client(cmd, &client, err);

    return code == KL_OK ? kl_vault_call(client, method, url, body, ret, err) : code;
}

enum kl_code kl_target_list(struct kl_cmd *cmd, const char *url, json_t **ret, struct kl_err *err)
{
    enum { MAX_PAGES = 100000 }; /* a service that never ends is not listened to forever */
    KL_AUTO(json) all = json_array();
    KL_AUTO(char) next = strdup(url);
    enum kl_code code = KL_OK;

    for (int page = 0; code == KL_OK && next != NULL && page < MAX_PAGES; page++) {
        KL_AUTO(json) answer = NULL;
        const char *link = NULL;

        code = kl_target_call(cmd, "GET", next, NULL, &answer, err);
        if (code == KL_OK && !json_is_array(json_object_get(answer, "value")))
            code = kl_fail(err, KL_CORRUPT, NULL, "the service's answer is no list");
        if (code == KL_OK && json_array_extend(all, json_object_get(answer, "value")) != 0)
            code = kl_fail(err, KL_NO_MEMORY, "json", "out of memory");
        if (code == KL_OK)
            code = kl_json_string(answer, "nextLink", &link, err);
        free(next);
        next = link != NULL && *link != '\0' ? strdup(link) : NULL;
    }
    if (code == KL_OK)
        *ret = kl_take(all);
    return code;
}
