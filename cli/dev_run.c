/* The development site's daemons. */
#include "base/clock.h"
#include "base/http_client.h"
#include "base/io.h"
#include "cli/command.h"
#include "cli/dev_site.h"
#include "cli/process.h"
#include "cli/target.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* DOWN_MS: kluisd serves without its token, and waits for it longer than a person does. */
enum { READY_MS = 120000, DOWN_MS = 15000, GRACE_MS = 10000 };

/* ---- the first principal ---- */

static enum kl_code note_client(struct kl_dev_site *s, const struct kl_buf *answer,
                                struct kl_err *err)
{
    KL_AUTO(json) client = NULL;
    struct kl_buf copy = KL_BUF_INIT(4096);
    const char *id = NULL;
    enum kl_code code = kl_json_parse(kl_buf_text(answer), answer->len, &client, err);

    if (code == KL_OK)
        code = kl_json_string(client, "clientId", &id, err);
    if (code == KL_OK && id == NULL)
        code = kl_fail(err, KL_CORRUPT, "kluisd", "kluisd --bootstrap named no clientId");
    if (code != KL_OK)
        return kl_err_prefix(err, "kluisd --bootstrap");
    kl_buf_put(&copy, answer->bytes, answer->len);
    code = kl_dev_write(s, "client.json", &copy, err);
    return code == KL_OK ? kl_target_format(&s->client_id, err, "%s", id) : code;
}

static enum kl_code bootstrap_as(struct kl_dev_site *s, const char *name, int *ret_status,
                                 struct kl_err *err)
{
    KL_AUTO(char) program = NULL;
    KL_AUTO(char) config = NULL;
    KL_AUTO(char) secret = NULL;
    struct kl_buf answer = KL_BUF_INIT(4096);
    enum kl_code code = kl_process_beside("kluisd", &program, err);

    if (code == KL_OK)
        code = kl_dev_path(s, KL_DEV_CONFIG, &config, err);
    if (code == KL_OK)
        code = kl_dev_path(s, KL_DEV_SECRET, &secret, err);
    if (code != KL_OK)
        return code;
    char *argv[] = {program,
                    (char[]){"--config"},
                    config,
                    (char[]){"--bootstrap"},
                    (char *)(uintptr_t)name,
                    (char[]){"--secret-file"},
                    secret,
                    NULL};

    (void)unlink(secret); /* left by a call that was killed: nobody knows whose it is */
    code = kl_process_run(argv, &answer, ret_status, err);
    if (code == KL_OK && *ret_status == 0)
        code = note_client(s, &answer, err);
    kl_buf_done(&answer);
    return code;
}

enum kl_code kl_dev_bootstrap(struct kl_dev_site *s, struct kl_err *err)
{
    enum { TAKEN = 4, TRIES = 20 };
    int status = TAKEN;
    char name[24] = "admin";
    enum kl_code code = KL_OK;

    if (s->client_id != NULL)
        return KL_OK;
    /* when an earlier call was killed between the principal and our note of it, the name is taken
     * and its secret lost */
    for (int i = 2; code == KL_OK && status == TAKEN && i < TRIES; i++) {
        code = bootstrap_as(s, name, &status, err);
        snprintf(name, sizeof(name), "admin-%d", i);
    }
    if (code == KL_OK && status != 0)
        code = kl_fail(err, KL_IO, "kluisd",
                       "kluisd could not make the database and the first principal");
    if (code == KL_OK)
        kl_dev_say(s, "database and principal made");
    return code;
}

/* ---- start ---- */

pid_t kl_dev_running(const struct kl_dev_site *s)
{
    KL_AUTO(char) pid = NULL;
    KL_AUTO(char) config = NULL;

    if (kl_dev_path(s, KL_DEV_PID, &pid, NULL) != KL_OK ||
        kl_dev_path(s, KL_DEV_CONFIG, &config, NULL) != KL_OK)
        return 0;
    return kl_process_of_file(pid, config);
}

/* The last lines that kluisd wrote since `from`, to standard error. Its own sentence, if it ended
 * with one, is added to the error. */
static void show_log(const struct kl_dev_site *s, long from, struct kl_err *err)
{
    static const char own[] = "kluisd: ";
    enum { TAIL = 4096 };
    KL_AUTO(char) path = NULL;
    KL_AUTO(file) in = NULL;
    char line[512], said[256] = "";

    if (kl_dev_path(s, KL_DEV_LOG, &path, NULL) != KL_OK)
        return;
    in = fopen(path, "re");
    if (in == NULL || fseek(in, 0, SEEK_END) != 0)
        return;
    if (ftell(in) - from > TAIL)
        from = ftell(in) - TAIL;
    if (fseek(in, from, SEEK_SET) != 0)
        return;
    kl_cmd_say("The last lines of %s:", path);
    while (fgets(line, sizeof(line), in) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        kl_cmd_say("  %s", line);
        if (strncmp(line, own, strlen(own)) == 0)
            snprintf(said, sizeof(said), "%.255s", line + strlen(own));
    }
    if (said[0] != '\0' && err != NULL) {
        const struct kl_err was = *err;

        (void)kl_fail(err, was.code, was.op, "%s: %s", was.text, said);
    }
}

static long log_size(const char *path)
{
    KL_AUTO(file) in = fopen(path, "re");

    return in != NULL && fseek(in, 0, SEEK_END) == 0 ? ftell(in) : 0;
}

/* One question; *ret_ready when the answer is 200. Not being reachable yet is no error. */
static enum kl_code ask_ready(struct kl_http_client *c, const char *url, bool *ret_ready,
                              char *ret_why, size_t room)
{
    struct kl_http_exchange x = {.method = "GET", .url = url};
    struct kl_err why = {0};
    enum kl_code code = kl_http_do(c, &x, &why);

    *ret_ready = code == KL_OK && x.status == 200;
    if (code == KL_OK)
        snprintf(ret_why, room, "it answers status %ld: %.200s", x.status,
                 (const char *)kl_secret_bytes(x.answer));
    else
        snprintf(ret_why, room, "%.300s", why.text);
    kl_http_exchange_done(&x);
    return code;
}

/* A person is asked for, so the time begins anew; said once. */
static int64_t wait_for_pin(const struct kl_dev_site *s, bool *told)
{
    if (!*told)
        kl_dev_say(s,
                   "the token waits for its PIN: '. %s/env; kluis token login --name main' in "
                   "another terminal",
                   s->dir);
    *told = true;
    return kl_clock_mono_ms() + READY_MS;
}

static enum kl_code make_client(struct kl_dev_site *s, struct kl_http_client **ret,
                                struct kl_err *err)
{
    KL_AUTO(char) ca = NULL;
    enum kl_code code = kl_dev_path(s, KL_DEV_CA, &ca, err);
    if (code != KL_OK)
        return code;
    struct kl_http_client_config config = {.ca_file = ca,
                                           .connect_ms = 2000,
                                           .total_ms = 5000,
                                           .max_answer_bytes = 65536,
                                           .user_agent = "kluis-dev/" KLUIS_VERSION};
    return kl_http_client_new(&config, ret, err);
}

/* What /readyz last said, and until when it may go on saying so. */
struct waiting {
    char why[400];
    int64_t deadline, up_ms;
    bool told;
};

/* Not ready yet: may it still become so? */
static enum kl_code go_on(struct kl_dev_site *s, struct waiting *w, struct kl_err *err)
{
    if (strstr(w->why, "\"pin-refused\"") != NULL)
        return kl_fail(err, KL_TOKEN_PIN, "readyz",
                       "the token refused its PIN, which will not be sent again before the "
                       "PIN file changes");
    if (strstr(w->why, "\"down\"") == NULL)
        w->up_ms = kl_clock_mono_ms();
    if (kl_clock_mono_ms() > w->up_ms + DOWN_MS)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "readyz",
                       "kluisd runs, but its token is not there (the last lines of its log "
                       "say why); it goes on looking, and serves the token when it comes");
    if (strstr(w->why, "\"pin-wanted\"") != NULL)
        w->deadline = wait_for_pin(s, &w->told);
    if (kl_clock_mono_ms() > w->deadline)
        return kl_fail(err, KL_TIMEOUT, "readyz", "kluisd runs but does not get ready: %s", w->why);
    return KL_OK;
}

static enum kl_code wait_ready(struct kl_dev_site *s, pid_t pid, struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    KL_AUTO(http_client) client = NULL;
    int64_t now = kl_clock_mono_ms();
    struct waiting w = {.why = "", .deadline = now + READY_MS, .up_ms = now};
    bool ready = false;
    enum kl_code code =
        kl_target_format(&url, err, "https://localhost:%lld/readyz", (long long)s->port);

    if (code == KL_OK)
        code = make_client(s, &client, err);
    while (code == KL_OK && !ready) {
        (void)waitpid(pid, NULL, WNOHANG); /* reaped, or kill() would still find it */
        if (ask_ready(client, url, &ready, w.why, sizeof w.why) != KL_OK && kill(pid, 0) != 0)
            return kl_fail(err, KL_IO, "kluisd", "kluisd ended before it was ready");
        if (ready)
            break;
        code = go_on(s, &w, err);
        poll(NULL, 0, 50);
    }
    return code;
}

/* A kluisd that was just killed keeps its port until the kernel has taken it apart. */
static bool port_stays_taken(const struct kl_dev_site *s)
{
    enum { DYING_MS = 3000, PAUSE_MS = 50 };

    for (int left = DYING_MS / PAUSE_MS; kl_dev_port_taken(s->port); left--) {
        if (left == 0)
            return true;
        poll(NULL, 0, PAUSE_MS);
    }
    return false;
}

static enum kl_code launch(struct kl_dev_site *s, const char *log, pid_t *ret, struct kl_err *err)
{
    KL_AUTO(char) program = NULL;
    KL_AUTO(char) config = NULL;
    KL_AUTO(char) pid_file = NULL;
    enum kl_code code = kl_process_beside("kluisd", &program, err);

    if (code == KL_OK)
        code = kl_dev_path(s, KL_DEV_CONFIG, &config, err);
    if (code == KL_OK)
        code = kl_dev_path(s, KL_DEV_PID, &pid_file, err);
    if (code == KL_OK && port_stays_taken(s))
        code = kl_fail(err, KL_IO, "bind",
                       "port %lld, where this site lives, is taken by another program: end that "
                       "one, or make another site",
                       (long long)s->port);
    if (code != KL_OK)
        return code;
    char *argv[] = {program, (char[]){"--config"}, config, NULL};

    return kl_process_daemon(argv, s->dir, log, pid_file, ret, err);
}

enum kl_code kl_dev_start(struct kl_dev_site *s, struct kl_err *err)
{
    KL_AUTO(char) log = NULL;
    pid_t pid = kl_dev_running(s);
    long from = 0;
    bool launched = false;
    enum kl_code code = kl_dev_path(s, KL_DEV_LOG, &log, err);

    if (code == KL_OK)
        from = log_size(log);
    if (code == KL_OK && pid == 0) {
        code = launch(s, log, &pid, err);
        launched = code == KL_OK;
    }
    if (launched)
        kl_dev_say(s, "kluisd started (pid %ld)", (long)pid);
    if (pid != 0 && code == KL_OK) {
        code = wait_ready(s, pid, err);
        if (code != KL_OK)
            show_log(s, launched ? from : 0, launched ? err : NULL);
    }
    if (code == KL_OK && launched)
        kl_dev_say(s, "ready at https://localhost:%lld", (long long)s->port);
    return code;
}

enum kl_code kl_dev_stop(struct kl_dev_site *s, struct kl_err *err)
{
    KL_AUTO(char) pid_file = NULL;
    pid_t pid = kl_dev_running(s);
    enum kl_code code = kl_dev_path(s, KL_DEV_PID, &pid_file, err);

    if (code != KL_OK)
        return code;
    if (pid == 0) {
        kl_dev_say(s, "nothing runs here");
        return KL_OK;
    }
    if (!kl_process_end(pid, GRACE_MS))
        return kl_fail(err, KL_IO, "kill", "kluisd (pid %ld) does not end", (long)pid);
    (void)unlink(pid_file);
    kl_dev_say(s, "stopped; the data stays in %s", s->dir);
    return KL_OK;
}

/* ---- vaults ---- */

static const struct {
    const char *name, *other_host;
    bool protect, rsa15;
} vaults[] = {{"demo", "localhost", false, true}, {"safe", "127.0.0.1", true, false}};

static json_t *vault_body(const struct kl_dev_site *s, size_t i)
{
    char first[64], second[64];

    snprintf(first, sizeof(first), "%s.vault.localhost:%lld", vaults[i].name, (long long)s->port);
    snprintf(second, sizeof(second), "%s:%lld", vaults[i].other_host, (long long)s->port);
    return json_pack("{s:[s,s], s:i, s:b, s:b}", "origins", first, second,
                     "softDeleteRetentionInDays", 90, "enablePurgeProtection", vaults[i].protect,
                     "allowRsa15", vaults[i].rsa15);
}

static enum kl_code make_vault(struct kl_dev_site *s, struct kl_vault_client *client, size_t i,
                               struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) there = NULL;
    KL_AUTO(json) body = vault_body(s, i);
    KL_AUTO(json) made = NULL;
    enum kl_code code = kl_target_format(&url, err, "/kluis/v1/vaults/%s", vaults[i].name);

    if (code == KL_OK)
        code = kl_vault_call(client, "GET", url, NULL, &there, err);
    if (code != KL_NOT_FOUND)
        return code;
    code = kl_vault_call(client, "PUT", url, body, &made, err);
    if (code == KL_CONFLICT) { /* deleted by its user: that is theirs to undo */
        kl_dev_say(s, "vault %s is deleted; 'kluis vault recover --name %s' brings it back",
                   vaults[i].name, vaults[i].name);
        return KL_OK;
    }
    if (code == KL_OK)
        kl_dev_say(s, "vault %s made%s", vaults[i].name,
                   vaults[i].protect ? ", with purge protection" : "");
    return code;
}

enum kl_code kl_dev_make_vaults(struct kl_dev_site *s, struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    KL_AUTO(char) ca = NULL;
    KL_AUTO(char) secret = NULL;
    KL_AUTO(vault_client) client = NULL;
    enum kl_code code = kl_target_format(&url, err, "https://localhost:%lld", (long long)s->port);

    if (code == KL_OK)
        code = kl_dev_path(s, KL_DEV_CA, &ca, err);
    if (code == KL_OK)
        code = kl_dev_path(s, KL_DEV_SECRET, &secret, err);
    if (code == KL_OK) {
        struct kl_vault_client_config config = {.url = url,
                                                .ca_file = ca,
                                                .tenant = s->tenant,
                                                .client_id = s->client_id,
                                                .secret_file = secret};

        code = kl_vault_client_new(&config, &client, err);
    }
    for (size_t i = 0; i < KL_COUNT(vaults) && code == KL_OK; i++)
        code = make_vault(s, client, i, err);
    return code;
}
