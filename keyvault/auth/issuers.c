#include "keyvault/auth/issuers.h"

#include "base/clock.h"
#include "base/http_client.h"
#include "base/json.h"
#include "base/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define AT(member)     offsetof(struct kl_issuer_config, member)
#define SECONDS        INT64_C(1000)
#define HOURS          (3600 * SECONDS)
#define RETRY_FIRST_MS (2 * SECONDS)
#define RETRY_MAX_MS   (300 * SECONDS)
#define LOOK_AGAIN_MS  (10 * SECONDS)
#define DOCUMENT_MAX   (256 * 1024)
#define URL_MAX        1024
#define DISCOVERY      "/.well-known/openid-configuration"

static enum kl_code check_issuer(const void *value, struct kl_err *err)
{
    const char *text = *(char *const *)value;
    if (strncmp(text, "https://", 8) == 0 && strlen(text) < URL_MAX / 2 &&
        strpbrk(text, "?# ") == NULL)
        return KL_OK;
    return kl_fail(err, KL_CONFIG, "issuer",
                   "issuer must be an https:// URL without a query, as in the tokens' iss claim");
}

static enum kl_code check_claim(const void *value, struct kl_err *err)
{
    const char *text = *(char *const *)value;
    return strcmp(text, "oid") == 0 || strcmp(text, "sub") == 0
               ? KL_OK
               : kl_fail(err, KL_CONFIG, "object-claim", "object-claim is oid or sub");
}

static const struct kl_conf_row rows[] = {
    {.key = "issuer",
     .type = KL_CONF_TEXT,
     .offset = AT(issuer),
     .required = true,
     .check = check_issuer,
     .help = "The iss claim of its tokens, to the letter; its keys are found by the document "
             "behind " DISCOVERY "."},
    {.key = "tenant",
     .type = KL_CONF_TEXT,
     .offset = AT(tenant),
     .help = "The tid claim that its tokens must carry. Absent: none is asked for."},
    {.key = "audience",
     .type = KL_CONF_LIST,
     .offset = AT(audiences),
     .help = "An aud that its tokens may be for; may be repeated. Absent: the origins of this "
             "service and of its vaults, and https://vault.azure.net."},
    {.key = "ca-file",
     .type = KL_CONF_PATH,
     .offset = AT(ca_file),
     .help = "PEM certificates that its HTTPS certificate must lead to. Absent: the system's."},
    {.key = "object-claim",
     .type = KL_CONF_TEXT,
     .offset = AT(object_claim),
     .preset = "oid",
     .check = check_claim,
     .help = "The claim that says who the caller is: oid (Entra ID) or sub (other providers). What "
             "is no GUID is turned into one; 'kluis principal create --subject' does the same."},
    {.key = "refresh",
     .type = KL_CONF_DURATION,
     .offset = AT(refresh_ms),
     .min = SECONDS,
     .max = 24 * HOURS,
     .preset = "1h",
     .help = "How often its keys are read again. A token with an unknown key asks for it sooner."},
    {.key = "max-stale",
     .type = KL_CONF_DURATION,
     .offset = AT(stale_ms),
     .min = SECONDS,
     .max = 90 * 24 * HOURS,
     .preset = "24h",
     .help = "How long the last keys are good while it cannot be reached."},
};

const struct kl_conf_section *kl_issuer_conf_section(void)
{
    static const struct kl_conf_section section = {
        .kind = "issuer",
        .named = true,
        .size = sizeof(struct kl_issuer_config),
        .rows = rows,
        .row_count = KL_COUNT(rows),
        .help = "An OpenID provider whose access tokens (RS256) are accepted beside those of the "
                "built-in token service. Its users and groups get rights once they are made known "
                "by 'kluis principal create --issuer NAME'."};
    return &section;
}

/* --- the providers --- */

struct provider {
    const struct kl_issuer_config *config;
    struct kl_jwks *keys; /* under kl_issuers.keys_lock; never NULL */
    /* of the thread alone */
    int64_t due_ms, good_ms, retry_ms;
};

struct kl_issuers {
    size_t count;
    struct provider *providers;
    struct kl_jwt_issuer *rows; /* as verification wants them; the keys change under keys_lock */
    pthread_rwlock_t keys_lock;
    atomic_uint_fast64_t generation;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    bool stopping, look_again;
    bool running;
    pthread_t thread;
};

static enum kl_code get_json(struct kl_http_client *client, const char *url, json_t **ret,
                             struct kl_err *err)
{
    struct kl_http_exchange x = {.method = "GET", .url = url};
    enum kl_code code = kl_http_do(client, &x, err);
    if (code == KL_OK && x.status != 200)
        code = kl_fail(err, KL_HTTP_STATUS, "issuer", "%.300s answered %ld", url, x.status);
    if (code == KL_OK)
        code = kl_json_parse((const char *)kl_secret_bytes(x.answer), kl_secret_len(x.answer), ret,
                             err);
    kl_http_exchange_done(&x);
    return code;
}

/* OpenID Connect Discovery 1.0 section 4.3: the document's issuer must be the one that was asked,
 * or another provider on the same host could speak for it. */
static enum kl_code find_keys_url(struct kl_http_client *client,
                                  const struct kl_issuer_config *config, char ret[static URL_MAX],
                                  struct kl_err *err)
{
    char url[URL_MAX];
    KL_AUTO(json) document = NULL;
    size_t n = strlen(config->issuer);
    if (config->issuer[n - 1] == '/')
        n--;
    (void)snprintf(url, sizeof url, "%.*s" DISCOVERY, (int)n, config->issuer);
    enum kl_code code = get_json(client, url, &document, err);
    if (code != KL_OK)
        return code;
    const char *issuer = json_string_value(json_object_get(document, "issuer"));
    const char *keys = json_string_value(json_object_get(document, "jwks_uri"));
    if (issuer == NULL || strcmp(issuer, config->issuer) != 0)
        return kl_fail(err, KL_CORRUPT, "issuer",
                       "the document at %.300s is of another issuer: %.200s", url,
                       issuer != NULL ? issuer : "(none)");
    if (keys == NULL || strncmp(keys, "https://", 8) != 0 || strlen(keys) >= URL_MAX)
        return kl_fail(err, KL_CORRUPT, "issuer", "the document at %.300s names no https jwks_uri",
                       url);
    memcpy(ret, keys, strlen(keys) + 1);
    return KL_OK;
}

static enum kl_code fetch(const struct kl_issuer_config *config, struct kl_jwks **ret,
                          struct kl_err *err)
{
    char url[URL_MAX];
    KL_AUTO(http_client) client = NULL;
    KL_AUTO(json) document = NULL;
    const struct kl_http_client_config how = {.ca_file = config->ca_file,
                                              .connect_ms = 5 * SECONDS,
                                              .total_ms = 10 * SECONDS,
                                              .max_answer_bytes = DOCUMENT_MAX,
                                              .user_agent = "kluisd"};
    enum kl_code code = kl_http_client_new(&how, &client, err);
    if (code == KL_OK)
        code = find_keys_url(client, config, url, err);
    if (code == KL_OK)
        code = get_json(client, url, &document, err);
    return code == KL_OK ? kl_jwks_parse(document, ret, err) : code;
}

/* Takes `fresh`. The generation makes remembered tokens prove themselves under the new keys. */
static void show_keys(struct kl_issuers *s, size_t i, struct kl_jwks *fresh)
{
    (void)pthread_rwlock_wrlock(&s->keys_lock);
    struct kl_jwks *old = s->providers[i].keys;
    s->providers[i].keys = fresh;
    s->rows[i].keys = fresh;
    (void)atomic_fetch_add(&s->generation, 1);
    (void)pthread_rwlock_unlock(&s->keys_lock);
    kl_jwks_free(old);
}

static void refresh(struct kl_issuers *s, size_t i)
{
    struct provider *p = &s->providers[i];
    struct kl_jwks *fresh = NULL;
    struct kl_err err = {.code = KL_OK};
    enum kl_code code = fetch(p->config, &fresh, &err);
    int64_t now = kl_clock_mono_ms();
    if (code == KL_OK) {
        show_keys(s, i, fresh);
        p->good_ms = now;
        p->retry_ms = RETRY_FIRST_MS;
        p->due_ms = now + p->config->refresh_ms;
        return;
    }
    (void)kl_err_prefix(&err, "issuer %s: its keys cannot be read", p->config->name);
    kl_log_err(KL_LOG_WARNING, "external issuer", &err);
    p->due_ms = now + p->retry_ms;
    p->retry_ms = 2 * p->retry_ms < RETRY_MAX_MS ? 2 * p->retry_ms : RETRY_MAX_MS;
    if (p->good_ms == 0 || now - p->good_ms < p->config->stale_ms)
        return;
    struct kl_jwks *none = kl_jwks_new();
    if (none != NULL) {
        kl_log(KL_LOG_ERROR, "issuer %s: its last keys are too old, its tokens are refused",
               p->config->name);
        show_keys(s, i, none);
        p->good_ms = 0;
    }
}

static int64_t next_due(const struct kl_issuers *s)
{
    int64_t due = kl_clock_mono_ms() + 24 * HOURS;
    for (size_t i = 0; i < s->count; i++)
        due = s->providers[i].due_ms < due ? s->providers[i].due_ms : due;
    return due;
}

/* Waits for the next turn; false = stop. */
static bool wait_for_turn(struct kl_issuers *s, int64_t *last_look)
{
    (void)pthread_mutex_lock(&s->lock);
    for (;;) {
        int64_t now = kl_clock_mono_ms(), due = next_due(s);
        int64_t again = *last_look + LOOK_AGAIN_MS;
        if (s->look_again && again < due)
            due = again;
        if (s->stopping || due <= now)
            break;
        const struct timespec until = kl_clock_deadline((due - now) * 1000);
        (void)pthread_cond_timedwait(&s->wake, &s->lock, &until);
    }
    bool go_on = !s->stopping;
    if (s->look_again && kl_clock_mono_ms() >= *last_look + LOOK_AGAIN_MS) {
        for (size_t i = 0; i < s->count; i++)
            s->providers[i].due_ms = 0;
        *last_look = kl_clock_mono_ms();
        s->look_again = false;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return go_on;
}

static void *keep_fresh(void *arg)
{
    struct kl_issuers *s = arg;
    int64_t last_look = kl_clock_mono_ms() - LOOK_AGAIN_MS;
    while (wait_for_turn(s, &last_look))
        for (size_t i = 0; i < s->count; i++)
            if (s->providers[i].due_ms <= kl_clock_mono_ms())
                refresh(s, i);
    return NULL;
}

static enum kl_code fill(struct kl_issuers *s, const struct kl_issuer_config *const *configs,
                         size_t count, struct kl_err *err)
{
    s->providers = calloc(count + 1, sizeof *s->providers);
    s->rows = calloc(count + 1, sizeof *s->rows);
    if (s->providers == NULL || s->rows == NULL)
        return kl_fail(err, KL_NO_MEMORY, "issuers", "out of memory");
    for (; s->count < count; s->count++) {
        const struct kl_issuer_config *c = configs[s->count];
        struct kl_jwks *none = kl_jwks_new();
        if (none == NULL)
            return kl_fail(err, KL_NO_MEMORY, "issuers", "out of memory");
        s->providers[s->count] =
            (struct provider){.config = c, .keys = none, .retry_ms = RETRY_FIRST_MS};
        s->rows[s->count] =
            (struct kl_jwt_issuer){.name = c->issuer,
                                   .tenant = c->tenant,
                                   .keys = none,
                                   .registered = c->name,
                                   .object_claim = c->object_claim,
                                   .audiences = (const char *const *)c->audiences.values,
                                   .audience_count = c->audiences.count};
    }
    return KL_OK;
}

enum kl_code kl_issuers_new(const struct kl_issuer_config *const *configs, size_t count,
                            struct kl_issuers **ret, struct kl_err *err)
{
    struct kl_issuers *fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL)
        return kl_fail(err, KL_NO_MEMORY, "issuers", "out of memory");
    (void)pthread_rwlock_init(&fresh->keys_lock, NULL);
    (void)pthread_mutex_init(&fresh->lock, NULL);
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&fresh->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    KL_AUTO(issuers) s = fresh;
    enum kl_code code = fill(s, configs, count, err);
    if (code != KL_OK)
        return code;
    s->running = count > 0 && pthread_create(&s->thread, NULL, keep_fresh, s) == 0;
    if (count > 0 && !s->running)
        return kl_fail(err, KL_NO_MEMORY, "pthread_create", "no thread for external issuers");
    *ret = kl_take(s);
    return KL_OK;
}

void kl_issuers_free(struct kl_issuers *s)
{
    if (s == NULL)
        return;
    (void)pthread_mutex_lock(&s->lock);
    s->stopping = true;
    (void)pthread_cond_signal(&s->wake);
    (void)pthread_mutex_unlock(&s->lock);
    if (s->running)
        (void)pthread_join(s->thread, NULL);
    for (size_t i = 0; i < s->count; i++)
        kl_jwks_free(s->providers[i].keys);
    free(s->providers);
    free(s->rows);
    (void)pthread_rwlock_destroy(&s->keys_lock);
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_cond_destroy(&s->wake);
    free(s);
}

const struct kl_jwt_issuer *kl_issuers_lock(struct kl_issuers *s, size_t *ret_count)
{
    (void)pthread_rwlock_rdlock(&s->keys_lock);
    *ret_count = s->count;
    return s->rows;
}

void kl_issuers_unlock(struct kl_issuers *s)
{
    (void)pthread_rwlock_unlock(&s->keys_lock);
}

void kl_issuers_look_again(struct kl_issuers *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->look_again = s->count > 0;
    (void)pthread_cond_signal(&s->wake);
    (void)pthread_mutex_unlock(&s->lock);
}

uint64_t kl_issuers_generation(struct kl_issuers *s)
{
    return atomic_load(&s->generation);
}

const char *kl_issuers_find(const struct kl_issuers *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->providers[i].config->name, name) == 0)
            return s->providers[i].config->issuer;
    return NULL;
}
