#include "pkcs11/client.h"

#include "base/clock.h"
#include "base/io.h"
#include "pkcs11/copies.h"
#include "pkcs11/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static enum kl_code copy_setting(char *out, size_t room, const char *value, const char *key,
                                 struct kl_err *err)
{
    if (value == NULL)
        return KL_OK;
    if (strlen(value) >= room)
        return kl_fail(err, KL_CONFIG, "token", "%s is longer than %zu bytes", key, room - 1);
    memcpy(out, value, strlen(value) + 1);
    return KL_OK;
}

static enum kl_code check_config(const struct kl_token_config *g, struct kl_err *err)
{
    if (g->name == NULL || g->name[0] == 0)
        return kl_fail(err, KL_CONFIG, "token", "a token needs a name");
    if (g->module == NULL || g->module[0] != '/')
        return kl_fail(err, KL_CONFIG, "token", "module must be an absolute path");
    enum kl_code code = kl_token_check_uri(g->uri, err);
    if (code != KL_OK)
        return code;
    if (g->pin_source == NULL || g->pin_source[0] == 0)
        return kl_fail(
            err, KL_CONFIG, "token",
            "pin-source is missing: a file path, fd:N, credential:NAME, prompt or protected");
    if (g->workers < 1 || g->workers > 64)
        return kl_fail(err, KL_CONFIG, "token", "workers must be 1 to 64");
    if (g->max_waiting < 1 || g->max_waiting > 65535)
        return kl_fail(err, KL_CONFIG, "token", "max-waiting must be 1 to 65535");
    if (g->deadline_ms < 1 || g->slow_deadline_ms < 1)
        return kl_fail(err, KL_CONFIG, "token", "deadline and slow-deadline must be at least 1 ms");
    return KL_OK;
}

static enum kl_code copy_settings(struct kl_client *c, const struct kl_token_config *g,
                                  struct kl_err *err)
{
    struct kl_worker_config *w = &c->conf;
    const struct {
        char *out;
        size_t room;
        const char *value, *key;
    } texts[] = {
        {w->name, sizeof w->name, g->name, "name"},
        {w->module, sizeof w->module, g->module, "module"},
        {w->uri, sizeof w->uri, g->uri, "uri"},
        {w->pin_source, sizeof w->pin_source, g->pin_source, "pin-source"},
        {w->init_args, sizeof w->init_args, g->init_args, "init-args"},
        {w->store_dir, sizeof w->store_dir, g->store_dir, "store-dir"},
        {w->state_dir, sizeof w->state_dir, g->state_dir, "state-dir"},
        {c->worker, sizeof c->worker, g->worker, "worker"},
    };
    for (size_t i = 0; i < KL_COUNT(texts); i++) {
        enum kl_code code =
            copy_setting(texts[i].out, texts[i].room, texts[i].value, texts[i].key, err);
        if (code != KL_OK)
            return code;
    }
    enum kl_code limits = kl_handover_limits(c, g, err);
    if (limits != KL_OK)
        return limits;
    w->workers = (uint32_t)g->workers;
    w->software_oaep = g->software_oaep;
    c->lanes[KL_LANE_SHORT].deadline_ms = g->deadline_ms;
    c->lanes[KL_LANE_MANAGE].deadline_ms = g->slow_deadline_ms;
    c->start_deadline_ms = g->start_deadline_ms > 0 ? g->start_deadline_ms : g->deadline_ms;
    c->keep_alive_ms = g->keep_alive_ms;
    c->retry_limit_ms = g->retry_limit_ms > 0 ? g->retry_limit_ms : 5000;
    w->keep_alive_ms = (uint32_t)g->keep_alive_ms;
    c->token.name = w->name;
    if (c->worker[0] != 0)
        return KL_OK;
    char folder[sizeof c->worker - 16];
    enum kl_code code = kl_io_own_folder(folder, sizeof folder, err);
    if (code == KL_OK)
        (void)snprintf(c->worker, sizeof c->worker, "%s/kluis-tokend", folder);
    return code;
}

static enum kl_code keep_pin(struct kl_client *c, struct kl_err *err)
{
    const char *source = c->conf.pin_source;
    if (strncmp(source, "fd:", 3) != 0)
        return KL_OK;
    char *end;
    long fd = strtol(source + 3, &end, 10);
    if (end == source + 3 || *end != 0 || fd < 0 || fd > 65535)
        return kl_fail(err, KL_CONFIG, "token", "pin-source fd:N needs a descriptor's number");
    return kl_spawn_keep_pin((int)fd, &c->pin_fd, err);
}

static enum kl_code make_slots(struct kl_client *c, size_t count)
{
    c->slots = calloc(count, sizeof *c->slots);
    if (c->slots == NULL)
        return KL_NO_MEMORY;
    c->slot_count = count;
    for (size_t i = 0; i < count; i++)
        c->slots[i].next = i + 1 < count ? i + 1 : KL_SLOT_NONE;
    return KL_OK;
}

void kl_client_free(struct kl_client *c)
{
    if (c->wake_fd >= 0)
        (void)close(c->wake_fd);
    if (c->pin_fd >= 0)
        (void)close(c->pin_fd);
    (void)pthread_cond_destroy(&c->left_starting);
    (void)pthread_mutex_destroy(&c->lock);
    free(c->slots);
    free(c);
}

void kl_slot_release_locked(struct kl_client *c, size_t index, bool answered)
{
    struct kl_call_slot *slot = &c->slots[index];
    struct kl_client_lane *lane = &c->lanes[slot->lane];
    if (slot->started_ms != 0) {
        lane->running--;
    } else {
        *(slot->prev == KL_SLOT_NONE ? &lane->first : &c->slots[slot->prev].next) = slot->next;
        *(slot->next == KL_SLOT_NONE ? &lane->last : &c->slots[slot->next].prev) = slot->prev;
    }
    *slot = (struct kl_call_slot){.next = c->free_slot};
    c->free_slot = index;
    c->in_flight--;
    if (!answered || lane->first == KL_SLOT_NONE || lane->running >= lane->threads)
        return;
    struct kl_call_slot *head = &c->slots[lane->first];
    lane->first = head->next;
    *(head->next == KL_SLOT_NONE ? &lane->last : &c->slots[head->next].prev) = KL_SLOT_NONE;
    head->started_ms = kl_clock_mono_ms();
    lane->running++;
}

static void enqueue_locked(struct kl_client *c, size_t index)
{
    struct kl_call_slot *slot = &c->slots[index];
    struct kl_client_lane *lane = &c->lanes[slot->lane];
    slot->next = slot->prev = KL_SLOT_NONE;
    if (lane->running < lane->threads && lane->first == KL_SLOT_NONE) {
        slot->started_ms = kl_clock_mono_ms();
        lane->running++;
        return;
    }
    slot->prev = lane->last;
    *(lane->last == KL_SLOT_NONE ? &lane->first : &c->slots[lane->last].next) = index;
    lane->last = index;
}

static enum kl_code refuse_locked(struct kl_client *c, struct kl_err *err)
{
    if (c->status.state == KL_TOKEN_PIN_REFUSED)
        return kl_fail(err, KL_TOKEN_PIN, "submit", "%s", c->status.text);
    if (c->status.state != KL_TOKEN_READY || c->closing)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "submit", "token %s is not available: %s",
                       c->conf.name, c->status.text);
    if (c->free_slot == KL_SLOT_NONE)
        return kl_fail(err, KL_TOKEN_BUSY, "submit", "token %s has %zu calls waiting already",
                       c->conf.name, c->in_flight);
    return KL_OK;
}

static enum kl_code send_locked(struct kl_client *c, const struct kl_token_request *req,
                                kl_token_done *done, void *arg, struct kl_err *err)
{
    enum kl_code code = refuse_locked(c, err);
    if (code != KL_OK)
        return code;
    size_t index = c->free_slot;
    uint64_t id = ++c->calls_ever << 16 | index;
    unsigned lane = kl_proto_lane(req->call);
    uint8_t frame[KL_PROTO_MAX];
    size_t n = kl_proto_put_request(frame, id, req);
    ssize_t sent = send(c->lanes[lane].fd, frame, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    int why = errno;
    kl_wipe(frame, n);
    if (sent < 0 && (why == EAGAIN || why == ENOBUFS))
        return kl_fail(err, KL_TOKEN_BUSY, "send", "token %s has too much waiting", c->conf.name);
    if (sent < 0) {
        errno = why;
        (void)kl_fail_errno(err, "send", "token %s has lost its worker", c->conf.name);
        if (err != NULL)
            err->code = KL_TOKEN_UNAVAILABLE;
        return KL_TOKEN_UNAVAILABLE;
    }
    struct kl_call_slot *slot = &c->slots[index];
    c->free_slot = slot->next;
    *slot =
        (struct kl_call_slot){.id = id, .done = done, .arg = arg, .call = req->call, .lane = lane};
    enqueue_locked(c, index);
    c->in_flight++;
    c->status.calls++;
    return KL_OK;
}

static enum kl_code client_submit(struct kl_token *t, const struct kl_token_request *req,
                                  kl_token_done *done, void *arg, struct kl_err *err)
{
    struct kl_client *c = (struct kl_client *)t;
    if (req->input_len > KL_TOKEN_MAX_INPUT)
        return kl_fail(err, KL_TOO_BIG, "submit", "a token takes at most %d bytes at once",
                       KL_TOKEN_MAX_INPUT);
    if (req->call <= 0 || req->call >= KL_CALL_COUNT)
        return kl_fail(err, KL_BAD_INPUT, "submit", "no such token call");
    if (req->call == KL_CALL_DESTROY) {
        enum kl_code noted = kl_copies_destroying(c->copies, req->key.id, err);
        if (noted != KL_OK)
            return noted;
    }
    (void)pthread_mutex_lock(&c->lock);
    enum kl_code code = send_locked(c, req, done, arg, err);
    (void)pthread_mutex_unlock(&c->lock);
    return code;
}

static void client_status(struct kl_token *t, struct kl_token_status *ret)
{
    struct kl_client *c = (struct kl_client *)t;
    (void)pthread_mutex_lock(&c->lock);
    *ret = c->status;
    (void)pthread_mutex_unlock(&c->lock);
}

static void client_close(struct kl_token *t)
{
    struct kl_client *c = (struct kl_client *)t;
    kl_copies_stop(c->copies);
    (void)pthread_mutex_lock(&c->lock);
    c->closing = true;
    (void)pthread_mutex_unlock(&c->lock);
    kl_supervisor_wake(c);
    (void)pthread_join(c->supervisor, NULL);
    kl_client_free(c);
}

static const struct kl_token_ops client_ops = {.submit = client_submit,
                                               .status = client_status,
                                               .close = client_close,
                                               .login = kl_handover_login};

static void wait_until_started(struct kl_client *c, int64_t wait_ms)
{
    const struct timespec until = kl_clock_deadline(wait_ms * 1000);
    (void)pthread_mutex_lock(&c->lock);
    while (c->status.state == KL_TOKEN_STARTING &&
           pthread_cond_timedwait(&c->left_starting, &c->lock, &until) == 0)
        ;
    (void)pthread_mutex_unlock(&c->lock);
}

static void init_client(struct kl_client *c)
{
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&c->left_starting, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    (void)pthread_mutex_init(&c->lock, NULL);
    c->token.ops = &client_ops;
    c->pin_fd = c->wake_fd = -1;
    for (size_t i = 0; i < KL_PROTO_LANES; i++) {
        c->lanes[i].fd = -1;
        c->lanes[i].threads = 1;
        c->lanes[i].first = c->lanes[i].last = KL_SLOT_NONE;
    }
    c->status.state = KL_TOKEN_STARTING;
    (void)snprintf(c->status.text, sizeof c->status.text, "The worker is starting");
}

static enum kl_code make_wake(struct kl_client *c, struct kl_err *err)
{
    c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return c->wake_fd >= 0 ? KL_OK : kl_fail_errno(err, "eventfd", "no descriptor for a token");
}

static enum kl_code prepare(struct kl_client *c, const struct kl_token_config *config,
                            struct kl_err *err)
{
    enum kl_code code = check_config(config, err);
    if (code == KL_OK)
        code = copy_settings(c, config, err);
    if (code == KL_OK)
        code = keep_pin(c, err);
    if (code != KL_OK)
        return code;
    if (make_slots(c, (size_t)config->max_waiting) != KL_OK)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for token %s", config->name);
    return make_wake(c, err);
}

enum kl_code kl_client_like(const struct kl_client *c, struct kl_client **ret, struct kl_err *err)
{
    struct kl_client *like = calloc(1, sizeof *like);
    if (like == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for a token");
    init_client(like);
    like->conf = c->conf;
    like->token.name = like->conf.name;
    memcpy(like->worker, c->worker, sizeof like->worker);
    like->start_deadline_ms = c->start_deadline_ms;
    like->retry_limit_ms = c->retry_limit_ms;
    for (size_t i = 0; i < KL_PROTO_LANES; i++)
        like->lanes[i].deadline_ms = c->lanes[i].deadline_ms;
    enum kl_code code = make_wake(like, err);
    if (code == KL_OK && make_slots(like, 64) != KL_OK)
        code = kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for a token");
    if (code == KL_OK && c->pin_fd >= 0 &&
        (like->pin_fd = fcntl(c->pin_fd, F_DUPFD_CLOEXEC, 10)) < 0)
        code = kl_fail_errno(err, "fcntl", "no descriptor for a token");
    if (code != KL_OK) {
        kl_client_free(like);
        return code;
    }
    *ret = like;
    return KL_OK;
}

enum kl_code kl_client_run(struct kl_client *c, struct kl_token **ret, struct kl_err *err)
{
    if (pthread_create(&c->supervisor, NULL, kl_supervisor_run, c) != 0) {
        kl_client_free(c);
        return kl_fail(err, KL_NO_MEMORY, "pthread_create", "no thread for a token");
    }
    *ret = &c->token;
    return KL_OK;
}

enum kl_code kl_token_open(const struct kl_token_config *config, int64_t wait_ms,
                           struct kl_token **ret, struct kl_err *err)
{
    struct kl_client *c = calloc(1, sizeof *c);
    if (c == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for a token");
    init_client(c);
    enum kl_code code = prepare(c, config, err);
    if (code != KL_OK) {
        kl_client_free(c);
        return code;
    }
    struct kl_token *token = NULL;
    code = kl_client_run(c, &token, err);
    if (token == NULL)
        return code; /* and the client is gone */
    code = kl_copies_start(c, (unsigned)config->store_copies, &c->copies, err);
    if (code != KL_OK) {
        kl_token_close(token);
        return code;
    }
    if (wait_ms > 0)
        wait_until_started(c, wait_ms);
    *ret = token;
    return KL_OK;
}
