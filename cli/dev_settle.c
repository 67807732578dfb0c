/* What a development site is: its port, tenant and token, chosen once and kept in site.json. */
#include "base/encoding.h"
#include "base/io.h"
#include "cli/dev_site.h"
#include "cli/target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENT_FILE "client.json"

/* Below the range that the kernel hands out to outgoing connections, so that the port is still free
 * tomorrow. */
enum { FIRST_PORT = 8443, LAST_PORT = 9442 };

/* ---- ports ---- */

bool kl_dev_port_taken(int64_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool taken = fd < 0;

    if (fd < 0)
        return true;
    /* as the server does: a connection that is still winding down does not count */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    taken = bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 1) != 0;
    close(fd);
    return taken;
}

static enum kl_code choose_port(struct kl_dev_site *s, int64_t asked, struct kl_err *err)
{
    if (asked != 0) {
        if (kl_dev_port_taken(asked))
            return kl_fail_native(err, KL_EXISTS, KL_DOMAIN_OS, EADDRINUSE, "bind",
                                  "port %lld is taken by another program; choose another with "
                                  "--port, or leave it out",
                                  (long long)asked);
        s->port = asked;
        return KL_OK;
    }
    for (s->port = FIRST_PORT; s->port <= LAST_PORT; s->port++) {
        if (!kl_dev_port_taken(s->port))
            return KL_OK;
    }
    return kl_fail(err, KL_IO, "bind", "no port from %d to %d is free; choose one with --port",
                   FIRST_PORT, LAST_PORT);
}

/* ---- what a site is ---- */

const char *const kl_dev_token_names[] = {"main",  "second", "third",   "fourth",
                                          "fifth", "sixth",  "seventh", "eighth"};
const char *const kl_dev_token_labels[] = {"kluis",   "kluis-2", "kluis-3", "kluis-4",
                                           "kluis-5", "kluis-6", "kluis-7", "kluis-8"};

static const struct {
    const char *member;
    size_t offset;
} texts[] = {{"tenant", offsetof(struct kl_dev_site, tenant)},
             {"module", offsetof(struct kl_dev_site, module)},
             {"uri", offsetof(struct kl_dev_site, uri)},
             {"pinFile", offsetof(struct kl_dev_site, pin_file)},
             {"soPinFile", offsetof(struct kl_dev_site, so_pin_file)},
             {"initArgs", offsetof(struct kl_dev_site, init_args)},
             {"storeDir", offsetof(struct kl_dev_site, store_dir)}};

static char **text_at(struct kl_dev_site *s, size_t i)
{
    return (char **)(void *)((char *)s + texts[i].offset);
}

static enum kl_code load(struct kl_dev_site *s, struct kl_err *err)
{
    KL_AUTO(char) path = NULL;
    KL_AUTO(json) file = NULL;
    enum kl_code code = kl_dev_path(s, KL_DEV_SITE, &path, err);

    if (code == KL_OK)
        code = kl_json_read_file(path, &file, err);
    if (code == KL_OK)
        code = kl_json_int(file, "port", 1, 65535, &s->port, err);
    if (code == KL_OK)
        code = kl_json_bool(file, "ownToken", &s->own_token, err);
    s->tokens = 1; /* a site of before there could be several */
    if (code == KL_OK)
        code = kl_json_int(file, "tokens", 1, KL_DEV_TOKENS_MAX, &s->tokens, err);
    for (size_t i = 0; i < KL_COUNT(texts) && code == KL_OK; i++) {
        const char *value = NULL;

        code = kl_json_string(file, texts[i].member, &value, err);
        if (code == KL_OK && value != NULL)
            code = kl_target_format(text_at(s, i), err, "%s", value);
    }
    if (code == KL_OK)
        s->token_env = json_incref(json_object_get(file, "tokenEnvironment"));
    if (code == KL_OK && (s->port == 0 || s->tenant == NULL || s->module == NULL))
        code = kl_fail(err, KL_CORRUPT, NULL, "%s is not what 'kluis dev up' wrote", path);
    return code;
}

static enum kl_code save(struct kl_dev_site *s, struct kl_err *err)
{
    KL_AUTO(json) file = json_object();
    KL_AUTO(char) text = NULL;
    struct kl_buf out = KL_BUF_INIT(65536);

    json_object_set_new(file, "port", json_integer(s->port));
    json_object_set_new(file, "ownToken", json_boolean(s->own_token));
    json_object_set_new(file, "tokens", json_integer(s->tokens));
    for (size_t i = 0; i < KL_COUNT(texts); i++) {
        if (*text_at(s, i) != NULL)
            json_object_set_new(file, texts[i].member, json_string(*text_at(s, i)));
    }
    if (s->token_env != NULL)
        json_object_set(file, "tokenEnvironment", s->token_env);
    text = json_dumps(file, JSON_INDENT(2));
    if (text == NULL)
        return kl_fail(err, KL_BAD_INPUT, "json", "a path is not valid UTF-8");
    kl_buf_printf(&out, "%s\n", text);
    return kl_dev_write(s, KL_DEV_SITE, &out, err);
}

static enum kl_code absolute(const char *path, char **ret, struct kl_err *err)
{
    *ret = realpath(path, NULL);
    return *ret != NULL ? KL_OK : kl_fail_errno(err, "realpath", "cannot find %s", path);
}

/* Debian's places, and those of other distributions. */
static const char *const softhsm_modules[] = {
    "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so"};

static enum kl_code use_own_token(struct kl_dev_site *s, int64_t count, struct kl_err *err)
{
    enum kl_code code = KL_OK;
    size_t i = 0;

    while (i < KL_COUNT(softhsm_modules) && access(softhsm_modules[i], R_OK) != 0)
        i++;
    if (i == KL_COUNT(softhsm_modules))
        return kl_fail(err, KL_CONFIG, NULL,
                       "SoftHSM is not installed (package softhsm2); or name a token with "
                       "--pkcs11-module, --pkcs11-uri and --pin-file");
    s->own_token = true;
    s->tokens = count > 0 ? count : 1;
    code = kl_target_format(&s->module, err, "%s", softhsm_modules[i]);
    if (code == KL_OK)
        code = kl_target_format(&s->uri, err, "pkcs11:token=kluis");
    if (code == KL_OK)
        code = kl_dev_path(s, "pin", &s->pin_file, err);
    return code == KL_OK ? kl_dev_path(s, "so-pin", &s->so_pin_file, err) : code;
}

static enum kl_code use_given_token(struct kl_dev_site *s, const struct kl_dev_token *t,
                                    struct kl_err *err)
{
    enum kl_code code = absolute(t->module, &s->module, err);

    s->tokens = 1;
    if (code == KL_OK)
        code = kl_target_format(&s->uri, err, "%s", t->uri);
    if (code == KL_OK)
        code = absolute(t->pin_file, &s->pin_file, err);
    if (code == KL_OK && t->so_pin_file != NULL)
        code = absolute(t->so_pin_file, &s->so_pin_file, err);
    if (code == KL_OK && t->store_dir != NULL)
        code = absolute(t->store_dir, &s->store_dir, err);
    if (code == KL_OK && t->init_args != NULL)
        code = kl_target_format(&s->init_args, err, "%s", t->init_args);
    return code;
}

static enum kl_code check_same(const struct kl_dev_site *s, int64_t port,
                               const struct kl_dev_token *token, struct kl_err *err)
{
    if (port != 0 && port != s->port)
        return kl_fail(err, KL_CONFLICT, NULL,
                       "this site lives on port %lld, which its vaults' addresses carry; make "
                       "another site for another port",
                       (long long)s->port);
    if (token->uri != NULL && strcmp(token->uri, s->uri) != 0)
        return kl_fail(err, KL_CONFLICT, NULL,
                       "this site's keys live on the token %s; make another site for another token",
                       s->uri);
    if (token->count != 0 && token->count != s->tokens)
        return kl_fail(err, KL_CONFLICT, NULL,
                       "this site has %lld token%s; make another site for another number",
                       (long long)s->tokens, s->tokens == 1 ? "" : "s");
    return KL_OK;
}

static enum kl_code load_client(struct kl_dev_site *s, struct kl_err *err)
{
    KL_AUTO(char) path = NULL;
    KL_AUTO(json) file = NULL;
    const char *id = NULL;
    enum kl_code code = kl_dev_path(s, CLIENT_FILE, &path, err);

    if (code != KL_OK || access(path, F_OK) != 0)
        return code;
    code = kl_json_read_file(path, &file, err);
    if (code == KL_OK)
        code = kl_json_string(file, "clientId", &id, err);
    return code == KL_OK && id != NULL ? kl_target_format(&s->client_id, err, "%s", id) : code;
}

static void forget_token(struct kl_dev_site *s)
{
    for (size_t i = 0; i < KL_COUNT(texts); i++) {
        if (text_at(s, i) == &s->tenant)
            continue;
        free(*text_at(s, i));
        *text_at(s, i) = NULL;
    }
    json_decref(s->token_env);
    s->token_env = NULL;
    s->own_token = false;
}

static enum kl_code read_site(const struct kl_dev_site *s, char **ret, struct kl_err *err)
{
    enum { MOST = 65536 };
    KL_AUTO(char) path = NULL;
    size_t n = 0;
    enum kl_code code = kl_dev_path(s, KL_DEV_SITE, &path, err);

    return code == KL_OK ? kl_io_read_file(path, MOST, ret, &n, err) : code;
}

/* A site that never got ready holds nothing yet that depends on its port or token: who made it may
 * say better ones, and the configuration is then written anew. */
static enum kl_code settle_again(struct kl_dev_site *s, int64_t port,
                                 const struct kl_dev_token *token, struct kl_err *err)
{
    KL_AUTO(char) before = NULL;
    KL_AUTO(char) after = NULL;
    KL_AUTO(char) config = NULL;
    enum kl_code code = read_site(s, &before, err);

    if (code == KL_OK && port != 0 && port != s->port)
        code = choose_port(s, port, err);
    if (code == KL_OK && token->module != NULL) {
        forget_token(s);
        code = use_given_token(s, token, err);
    }
    if (code == KL_OK)
        code = kl_dev_token_environment(s, err);
    if (code == KL_OK)
        code = save(s, err);
    if (code == KL_OK)
        code = read_site(s, &after, err);
    if (code == KL_OK)
        code = kl_dev_path(s, KL_DEV_CONFIG, &config, err);
    if (code == KL_OK && strcmp(before, after) != 0)
        (void)unlink(config);
    return code;
}

static enum kl_code settle_known(struct kl_dev_site *s, int64_t port,
                                 const struct kl_dev_token *token, struct kl_err *err)
{
    enum kl_code code = load(s, err);

    if (code == KL_OK && !kl_dev_has(s, KL_DEV_ENV) && kl_dev_running(s) == 0)
        code = settle_again(s, port, token, err);
    if (code == KL_OK)
        code = check_same(s, port, token, err);
    if (code == KL_OK)
        code = kl_dev_token_environment(s, err);
    if (code == KL_OK && !s->own_token)
        code = save(s, err);
    return code == KL_OK ? load_client(s, err) : code;
}

enum kl_code kl_dev_site_settle(struct kl_dev_site *s, int64_t port,
                                const struct kl_dev_token *token, struct kl_err *err)
{
    char tenant[KL_UUID_LEN + 1];
    enum kl_code code;

    if (kl_dev_has(s, KL_DEV_SITE))
        return settle_known(s, port, token, err);
    s->fresh = true;
    kl_uuid_new(tenant);
    code = choose_port(s, port, err);
    if (code == KL_OK)
        code = kl_target_format(&s->tenant, err, "%s", tenant);
    if (code == KL_OK)
        code = token->module != NULL ? use_given_token(s, token, err)
                                     : use_own_token(s, token->count, err);
    if (code == KL_OK)
        code = kl_dev_token_environment(s, err);
    return code == KL_OK ? save(s, err) : code;
}
