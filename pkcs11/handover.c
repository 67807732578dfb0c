#include "pkcs11/handover.h"

#include "base/clock.h"

#include <string.h>
#include <sys/socket.h>

static enum kl_code copy_text(char *out, size_t room, const char *value, const char *key,
                              struct kl_err *err)
{
    if (snprintf(out, room, "%s", value != NULL ? value : "") >= (int)room)
        return kl_fail(err, KL_CONFIG, "token", "%s is longer than %zu bytes", key, room - 1);
    return KL_OK;
}

/* Absolute paths behind each other, parted by newlines. */
static enum kl_code join(char *out, size_t room, const char *const *paths, size_t count,
                         const char *key, struct kl_err *err)
{
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < count; i++) {
        if (paths[i][0] != '/' || strchr(paths[i], '\n') != NULL)
            return kl_fail(err, KL_CONFIG, "token", "%s must be absolute paths, not %.80s", key,
                           paths[i]);
        int n = snprintf(out + used, room - used, "%s%s", i > 0 ? "\n" : "", paths[i]);
        if (n < 0 || (size_t)n >= room - used)
            return kl_fail(err, KL_CONFIG, "token",
                           "%s: all paths together are longer than %zu bytes", key, room - 1);
        used += (size_t)n;
    }
    return KL_OK;
}

enum kl_code kl_handover_limits(struct kl_client *c, const struct kl_token_config *g,
                                struct kl_err *err)
{
    struct kl_worker_config *w = &c->conf;
    w->relogin = g->relogin;
    w->network = g->network;
    w->all_files = g->files.count == 0;
    enum kl_code code = copy_text(w->module_sha256, sizeof w->module_sha256, g->module_sha256,
                                  "module-sha256", err);
    if (code == KL_OK)
        code = copy_text(w->user, sizeof w->user, g->user, "user", err);
    if (code == KL_OK)
        code = copy_text(w->syscalls, sizeof w->syscalls, g->syscalls, "syscalls", err);
    if (code == KL_OK)
        code = join(w->files, sizeof w->files, (const char *const *)g->files.values, g->files.count,
                    "files", err);
    return code == KL_OK ? join(w->hidden, sizeof w->hidden, g->hidden, g->hidden_count,
                                "the service's own files", err)
                         : code;
}

bool kl_handover_asked(struct kl_client *c, const void *frame, size_t n)
{
    char why[KL_ASK_MAX];
    if (c->greeted || kl_proto_get_ask_pin(frame, n, why) != KL_OK)
        return false;
    (void)pthread_mutex_lock(&c->lock);
    c->status.state = KL_TOKEN_PIN_WANTED;
    (void)snprintf(c->status.text, sizeof c->status.text,
                   "%.100s%sThe token waits for its PIN: kluis token login --name %s", why,
                   why[0] != 0 ? ". " : "", c->conf.name);
    (void)pthread_cond_broadcast(&c->left_starting);
    (void)pthread_mutex_unlock(&c->lock);
    return true;
}

bool kl_handover_waits(struct kl_client *c, int64_t now_ms)
{
    (void)pthread_mutex_lock(&c->lock);
    bool waits = c->status.state == KL_TOKEN_PIN_WANTED;
    (void)pthread_mutex_unlock(&c->lock);
    if (waits)
        c->step_ms = now_ms; /* the step's time begins when the PIN is there */
    return waits;
}

void kl_handover_end_locked(struct kl_client *c, enum kl_token_state state, const char *text)
{
    if (!c->login_pending)
        return;
    c->login_pending = false;
    c->login_err = (struct kl_err){.code = KL_OK};
    if (state == KL_TOKEN_PIN_REFUSED)
        (void)kl_fail(&c->login_err, KL_TOKEN_PIN, "C_Login", "%s", text);
    else if (state != KL_TOKEN_READY)
        (void)kl_fail(&c->login_err, KL_TOKEN_UNAVAILABLE, "login", "%s", text);
    (void)pthread_cond_broadcast(&c->left_starting);
}

static enum kl_code send_pin_locked(struct kl_client *c, struct kl_secret *pin, struct kl_err *err)
{
    uint8_t frame[KL_PIN_MAX + 16];
    if (c->status.state != KL_TOKEN_PIN_WANTED || c->closing)
        return kl_fail(err, KL_CONFLICT, "login", "token %s waits for no PIN: %s", c->conf.name,
                       c->status.text);
    size_t n = kl_proto_put_pin(frame, kl_secret_bytes(pin), kl_secret_len(pin));
    ssize_t sent = send(c->lanes[KL_LANE_MANAGE].fd, frame, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    kl_wipe(frame, sizeof frame);
    if (sent < 0)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "send", "token %s has lost its worker",
                       c->conf.name);
    c->status.state = KL_TOKEN_STARTING;
    (void)snprintf(c->status.text, sizeof c->status.text, "The worker is logging in");
    c->login_pending = true;
    return KL_OK;
}

enum kl_code kl_handover_login(struct kl_token *t, struct kl_secret *pin, int64_t wait_ms,
                               struct kl_err *err)
{
    struct kl_client *c = (struct kl_client *)t;
    const struct timespec until = kl_clock_deadline(wait_ms * 1000);
    if (kl_secret_len(pin) == 0 || kl_secret_len(pin) > KL_PIN_MAX)
        return kl_fail(err, KL_BAD_INPUT, "login", "a PIN has 1 to %d bytes", KL_PIN_MAX);
    (void)pthread_mutex_lock(&c->lock);
    enum kl_code code = send_pin_locked(c, pin, err);
    int rc = 0;
    while (code == KL_OK && c->login_pending && rc == 0)
        rc = pthread_cond_timedwait(&c->left_starting, &c->lock, &until);
    if (code == KL_OK && c->login_pending)
        code = kl_fail(err, KL_TIMEOUT, "login", "token %s is still logging in", c->conf.name);
    else if (code == KL_OK && c->login_err.code != KL_OK) {
        code = c->login_err.code;
        if (err != NULL)
            *err = c->login_err;
    }
    (void)pthread_mutex_unlock(&c->lock);
    return code;
}
