#include "cli/value.h"

#include "base/clock.h"
#include "base/encoding.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- times ---- */

static bool parse_relative(const char *text, int64_t *ret)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
    char *end = NULL;
    long n;

    if (text[0] != '+')
        return false;
    n = strtol(text + 1, &end, 10);
    if (end == text + 1 || n < 0 || n > 100000000)
        return false;
    for (size_t i = 0; i < KL_COUNT(units); i++) {
        if (end[0] == units[i].unit && end[1] == '\0') {
            *ret = kl_clock_unix() + n * units[i].seconds;
            return true;
        }
    }
    return false;
}

static bool parse_date(const char *text, int64_t *ret)
{
    static const char *const forms[] = {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ",
                                        "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"};

    for (size_t i = 0; i < KL_COUNT(forms); i++) {
        struct tm utc = {0};
        const char *end = strptime(text, forms[i], &utc);

        if (end == NULL || *end != '\0')
            continue;
        struct tm asked = utc;

        *ret = timegm(&utc);
        return utc.tm_mday == asked.tm_mday && utc.tm_mon == asked.tm_mon; /* no 31 February */
    }
    return false;
}

enum kl_code kl_value_time(const char *option, const char *text, int64_t *ret, struct kl_err *err)
{
    char *end = NULL;
    long long n;

    if (parse_relative(text, ret) || parse_date(text, ret))
        return KL_OK;
    errno = 0;
    n = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || n < 0)
        return kl_fail(err, KL_USAGE, NULL,
                       "--%s takes 2026-12-31, 2026-12-31T23:59:59Z, +90d or +12h, not '%.40s'",
                       option, text);
    *ret = n;
    return KL_OK;
}

/* ---- JSON members ---- */

static enum kl_code put(json_t *object, const char *member, json_t *value, struct kl_err *err)
{
    if (value == NULL || json_object_set_new(object, member, value) != 0)
        return kl_fail(err, KL_BAD_INPUT, "json", "'%s' is not valid UTF-8 text", member);
    return KL_OK;
}

enum kl_code kl_value_put_text(json_t *object, const char *member, const char *text,
                               struct kl_err *err)
{
    return put(object, member, json_string(text), err);
}

enum kl_code kl_value_put_time(const struct kl_cmd *cmd, const char *option, const char *member,
                               json_t *object, struct kl_err *err)
{
    const char *text = kl_cmd_value(cmd, option);
    int64_t when = 0;
    enum kl_code code = KL_OK;

    if (text == NULL)
        return KL_OK;
    code = kl_value_time(option, text, &when, err);
    return code == KL_OK ? put(object, member, json_integer(when), err) : code;
}

enum kl_code kl_value_put_tags(const struct kl_cmd *cmd, json_t *object, struct kl_err *err)
{
    const char *const *words;
    bool given = false;
    size_t count = kl_cmd_words(cmd, "tags", &words, &given);
    KL_AUTO(json) tags = json_object();
    enum kl_code code = KL_OK;

    for (size_t i = 0; i < count && code == KL_OK; i++) {
        const char *equals = strchr(words[i], '=');
        KL_AUTO(char) name = NULL;

        if (words[i][0] == '\0') /* az clears by --tags "" */
            continue;
        if (equals == NULL || equals == words[i])
            return kl_fail(err, KL_USAGE, NULL, "--tags takes KEY=VALUE, not '%.60s'", words[i]);
        name = strndup(words[i], (size_t)(equals - words[i]));
        code = name != NULL ? kl_value_put_text(tags, name, equals + 1, err)
                            : kl_fail(err, KL_NO_MEMORY, "strndup", "out of memory");
    }
    if (code == KL_OK && given)
        code = put(object, "tags", kl_take(tags), err);
    return code;
}

enum kl_code kl_value_put_words(const struct kl_cmd *cmd, const char *option, const char *member,
                                json_t *object, struct kl_err *err)
{
    const char *const *words;
    bool given = false;
    size_t count = kl_cmd_words(cmd, option, &words, &given);
    KL_AUTO(json) array = json_array();

    if (!given)
        return KL_OK;
    for (size_t i = 0; i < count; i++) {
        if (json_array_append_new(array, json_string(words[i])) != 0)
            return kl_fail(err, KL_BAD_INPUT, "json", "--%s is not valid UTF-8 text", option);
    }
    return put(object, member, kl_take(array), err);
}

enum kl_code kl_value_put_list(const struct kl_cmd *cmd, const char *option, const char *member,
                               json_t *object, struct kl_err *err)
{
    const char *at = kl_cmd_value(cmd, option);
    KL_AUTO(json) array = json_array();

    if (at == NULL)
        return KL_OK;
    for (;;) {
        size_t n = strcspn(at, ",");

        if (n == 0)
            return kl_fail(err, KL_USAGE, NULL, "--%s has an empty name in its list", option);
        if (json_array_append_new(array, json_stringn(at, n)) != 0)
            return kl_fail(err, KL_BAD_INPUT, "json", "--%s is not valid UTF-8 text", option);
        if (at[n] == '\0')
            return put(object, member, kl_take(array), err);
        at += n + 1;
    }
}

enum kl_code kl_value_put_bytes(json_t *object, const char *member, struct kl_secret *bytes,
                                struct kl_err *err)
{
    struct kl_buf text = KL_BUF_INIT(KL_B64URL_LEN(KL_VALUE_MAX) + 1);
    enum kl_code code;

    kl_b64url_put(&text, kl_secret_bytes(bytes), kl_secret_len(bytes));
    code = kl_buf_failed(&text) ? kl_fail(err, KL_TOO_BIG, "base64", "the data is too big")
                                : kl_value_put_text(object, member, kl_buf_text(&text), err);
    kl_buf_wipe(&text);
    return code;
}

/* ---- data ---- */

enum kl_code kl_value_read(const char *path, struct kl_secret **ret, struct kl_err *err)
{
    bool standard = path == NULL || strcmp(path, "-") == 0;
    KL_AUTO(secret) data = kl_secret_new(KL_VALUE_MAX);
    uint8_t chunk[4096];
    enum kl_code code = KL_OK;
    ssize_t n = 0;
    int fd;

    if (data == NULL)
        return kl_fail(err, KL_NO_MEMORY, "malloc", "out of memory");
    if (path == NULL && isatty(STDIN_FILENO))
        return kl_fail(err, KL_USAGE, NULL, "give the data by --file FILE or on standard input");
    fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kl_fail_errno(err, "open", "cannot read %s", path);
    while (code == KL_OK && ((n = read(fd, chunk, sizeof(chunk))) > 0 || (n < 0 && errno == EINTR)))
        code = n > 0 ? kl_secret_append(data, chunk, (size_t)n) : KL_OK;
    kl_wipe(chunk, sizeof(chunk));
    if (code != KL_OK)
        kl_fail(err, code, "read", "the data is longer than %d bytes", KL_VALUE_MAX);
    else if (n < 0)
        code = kl_fail_errno(err, "read", "cannot read %s", standard ? "standard input" : path);
    else if (kl_secret_len(data) == 0)
        code =
            kl_fail(err, KL_BAD_INPUT, "read", "%s is empty", standard ? "standard input" : path);
    if (!standard)
        close(fd);
    if (code == KL_OK)
        *ret = kl_take(data);
    return code;
}

enum kl_code kl_value_decode(const char *option, const char *text, struct kl_secret **ret,
                             struct kl_err *err)
{
    KL_AUTO(secret) data = kl_secret_new(KL_VALUE_MAX);
    KL_AUTO(char) url = strdup(text);
    size_t n = strlen(text), got = 0;

    if (data == NULL || url == NULL || n > KL_VALUE_MAX || kl_secret_resize(data, n + 4) != KL_OK)
        return kl_fail(err, KL_USAGE, NULL, "--%s is too long", option);
    for (char *p = url; *p != '\0'; p++)
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
    if (n == 0 ||
        kl_b64url_decode(url, n, kl_secret_bytes(data), kl_secret_len(data), &got) != KL_OK ||
        kl_secret_resize(data, got) != KL_OK)
        return kl_fail(err, KL_USAGE, NULL, "--%s is not base64", option);
    *ret = kl_take(data);
    return KL_OK;
}

enum kl_code kl_value_check_target(const char *path, bool force, struct kl_err *err)
{
    if (!force && access(path, F_OK) == 0)
        return kl_fail_native(err, KL_EXISTS, KL_DOMAIN_OS, EEXIST, "open",
                              "%s is there already; --force replaces it", path);
    return KL_OK;
}

enum kl_code kl_value_write(const char *path, bool force, const void *bytes, size_t n,
                            struct kl_err *err)
{
    enum kl_code code = kl_value_check_target(path, force, err);

    return code == KL_OK ? kl_io_replace_file(path, 0600, bytes, n, err) : code;
}
