/* The socket between kluisd and kluis-tokend, both ways: a worker that was taken over against the
 * real client, and a client gone mad against the real worker. What must hold: the honest side never
 * crashes, each call that it accepted ends exactly once, and what it shows of the other side is
 * within bounds. KLUIS_SEED repeats what the hostile worker sends; KLUIS_FULL=1 is the long form.
 */
#include "base/clock.h"
#include "base/encoding.h"
#include "pkcs11/proto.h"
#include "tests/token/site.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static _Atomic uint64_t *lives;
static atomic_uint accepted, ended;

static unsigned rounds(unsigned brief, unsigned full)
{
    return getenv("KLUIS_FULL") != NULL ? full : brief;
}

static uint32_t dice(uint32_t sides)
{
    uint32_t n;
    kl_random(&n, sizeof n);
    return n % sides;
}

static void done(void *arg, struct kl_token_reply *reply)
{
    (void)arg;
    if (reply->code == KL_OK)
        assert_true(kl_secret_len(reply->output) <= KL_TOKEN_MAX_INPUT);
    atomic_fetch_add(&ended, 1);
}

static void ask_something(struct kl_token *t)
{
    static const uint8_t input[256];
    const struct kl_token_request req = {.call = (enum kl_token_call)(1 + dice(KL_CALL_COUNT - 1)),
                                         .alg = KL_ALG_OAEP_SHA256,
                                         .count = 16,
                                         .input = input,
                                         .input_len = sizeof input};
    if (kl_token_submit(t, &req, done, NULL, NULL) == KL_OK)
        atomic_fetch_add(&accepted, 1);
}

static void look(struct kl_token *t)
{
    struct kl_token_status s;
    kl_token_status(t, &s);
    assert_non_null(memchr(s.text, 0, sizeof s.text));
    assert_non_null(memchr(s.caps.label, 0, sizeof s.caps.label));
    assert_non_null(memchr(s.caps.model, 0, sizeof s.caps.model));
    assert_non_null(memchr(s.caps.serial, 0, sizeof s.caps.serial));
    assert_non_null(memchr(s.caps.manufacturer, 0, sizeof s.caps.manufacturer));
    assert_non_null(memchr(s.caps.firmware, 0, sizeof s.caps.firmware));
    if (s.state == KL_TOKEN_PIN_WANTED) {
        KL_AUTO(secret) pin = kl_secret_new(KL_PIN_MAX);
        assert_int_equal(kl_secret_append(pin, "1234", 4), KL_OK);
        (void)!kl_token_login(t, pin, 20, NULL);
    }
}

static void test_fuzz_ipc__a_worker_that_was_taken_over(void **state)
{
    char worker[512];
    (void)state;
    (void)snprintf(worker, sizeof worker, "%s", getenv("KLUIS_HOSTILE"));
    struct kl_token_config config = {.name = (char[]){"hostile"},
                                     .module = (char[]){"/none"},
                                     .uri = (char[]){"pkcs11:token=none"},
                                     .pin_source = (char[]){"prompt"},
                                     .worker = worker,
                                     .workers = 4,
                                     .deadline_ms = 50,
                                     .slow_deadline_ms = 100,
                                     .start_deadline_ms = 50,
                                     .retry_limit_ms = 1,
                                     .max_waiting = 64};
    struct kl_token *t = NULL;
    assert_int_equal(kl_token_open(&config, 0, &t, NULL), KL_OK);
    while (atomic_load(lives) < rounds(400, 40000)) {
        for (int i = 0; i < 8; i++)
            ask_something(t);
        look(t);
        (void)usleep(500);
    }
    kl_token_close(t);
    assert_int_equal(atomic_load(&accepted), atomic_load(&ended));
    print_message("%u calls were accepted and ended\n", atomic_load(&accepted));
}

struct peer {
    pid_t pid;
    int lanes[KL_PROTO_LANES];
};

static struct peer start_worker(const struct site *s)
{
    struct peer p;
    int pairs[KL_PROTO_LANES][2];
    for (int i = 0; i < KL_PROTO_LANES; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pairs[i]), 0);
        p.lanes[i] = pairs[i][0];
    }
    p.pid = fork();
    assert_true(p.pid >= 0);
    if (p.pid == 0) {
        int high[KL_PROTO_LANES];
        for (int i = 0; i < KL_PROTO_LANES; i++)
            high[i] = fcntl(pairs[i][1], F_DUPFD, 50);
        for (int i = 0; i < KL_PROTO_LANES; i++)
            if (dup2(high[i], KL_PROTO_FD_LANE + i) < 0)
                _exit(99);
        (void)execl(s->worker, s->worker, "--worker", (char *)NULL);
        _exit(99);
    }
    for (int i = 0; i < KL_PROTO_LANES; i++)
        (void)close(pairs[i][1]);
    return p;
}

/* It ended by itself, in one of its own ways. */
static void end_worker(struct peer *p)
{
    int status;
    for (int i = 0; i < KL_PROTO_LANES; i++)
        (void)close(p->lanes[i]);
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    if (!WIFEXITED(status))
        fail_msg("the worker was ended by signal %d", WTERMSIG(status));
    assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == KL_EXIT_START ||
                WEXITSTATUS(status) == KL_EXIT_TOKEN || WEXITSTATUS(status) == KL_EXIT_PROTOCOL);
}

static struct kl_worker_config good_config(const struct site *s)
{
    struct kl_worker_config c = {
        .name = "fuzz", .uri = "pkcs11:token=site", .workers = 2, .all_files = true};
    (void)snprintf(c.module, sizeof c.module, "%s", s->module);
    (void)snprintf(c.pin_source, sizeof c.pin_source, "%s", s->pin);
    (void)snprintf(c.store_dir, sizeof c.store_dir, "%s", s->tokens);
    (void)snprintf(c.state_dir, sizeof c.state_dir, "%s", s->dir);
    return c;
}

static size_t damage(uint8_t *frame, size_t n)
{
    for (uint32_t i = dice(4); i > 0; i--)
        frame[dice((uint32_t)n)] = (uint8_t)dice(256);
    return dice(6) == 0 ? 1 + dice((uint32_t)n - 1) : n;
}

static void test_fuzz_ipc__a_client_gone_mad_at_the_start(void **state)
{
    const struct site *s = *state;
    for (unsigned i = 0; i < rounds(60, 3000); i++) {
        uint8_t frame[KL_PROTO_MAX];
        struct kl_worker_config conf = good_config(s);
        struct peer p = start_worker(s);
        size_t n = damage(frame, kl_proto_put_config(frame, &conf));
        (void)!send(p.lanes[KL_LANE_MANAGE], frame, n, MSG_NOSIGNAL);
        end_worker(&p);
    }
}

/* Requests as our client makes them, but for a few bytes; a worker ends at the first that makes no
 * sense. Key generation is left out for its time. */
static void pester(struct peer *p)
{
    uint8_t frame[KL_PROTO_MAX];
    static const uint8_t input[512];
    for (int i = 0; i < 200; i++) {
        struct kl_token_request req = {.call = (enum kl_token_call)(1 + dice(KL_CALL_COUNT - 1)),
                                       .alg = (enum kl_token_alg)dice(KL_ALG_COUNT),
                                       .spec = {.type = KL_KEY_EC, .curve = KL_CURVE_P256},
                                       .count = dice(KL_TOKEN_MAX_INPUT * 2),
                                       .mechanism = dice(0x2000),
                                       .input = input,
                                       .input_len = dice(sizeof input)};
        req.spec.type = (enum kl_key_type)dice(KL_KEY_EC + 1);
        req.spec.profile = (enum kl_profile)dice(KL_PROFILE_DOMAIN + 1);
        kl_random(&req.key, sizeof req.key);
        size_t n = kl_proto_put_request(frame, (uint64_t)i + 1, &req);
        if (dice(40) == 0)
            n = damage(frame, n);
        if (send(p->lanes[dice(KL_PROTO_LANES)], frame, n, MSG_NOSIGNAL) < 0)
            return;
        (void)recv(p->lanes[0], frame, sizeof frame, MSG_DONTWAIT);
        (void)recv(p->lanes[1], frame, sizeof frame, MSG_DONTWAIT);
    }
}

static void test_fuzz_ipc__a_client_gone_mad_later(void **state)
{
    const struct site *s = *state;
    for (unsigned i = 0; i < rounds(15, 600); i++) {
        uint8_t frame[KL_PROTO_MAX];
        struct kl_worker_config conf = good_config(s);
        struct peer p = start_worker(s);
        size_t n = kl_proto_put_config(frame, &conf);
        assert_true(send(p.lanes[KL_LANE_MANAGE], frame, n, MSG_NOSIGNAL) > 0);
        ssize_t got;
        do
            got = recv(p.lanes[KL_LANE_MANAGE], frame, sizeof frame, 0);
        while (got > 0 && kl_proto_kind(frame, (size_t)got) != KL_FRAME_HELLO);
        assert_true(got > 0);
        pester(&p);
        end_worker(&p);
    }
}

static int make(void **state)
{
    static struct site s;
    static char path[] = "/tmp/kluis-ipc-XXXXXX";
    char seed[24];
    int fd = mkstemp(path);
    if (fd < 0 || ftruncate(fd, sizeof *lives) != 0)
        return -1;
    lives = mmap(NULL, sizeof *lives, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)snprintf(seed, sizeof seed, "%u", dice(UINT32_MAX));
    (void)setenv("KLUIS_IPC_LIVES", path, 1);
    (void)setenv("KLUIS_SEED", seed, 0);
    print_message("KLUIS_SEED=%s\n", getenv("KLUIS_SEED"));
    site_make(&s, false);
    *state = &s;
    return 0;
}

static int clean(void **state)
{
    site_remove(*state);
    (void)unlink(getenv("KLUIS_IPC_LIVES"));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fuzz_ipc__a_worker_that_was_taken_over),
        cmocka_unit_test(test_fuzz_ipc__a_client_gone_mad_at_the_start),
        cmocka_unit_test(test_fuzz_ipc__a_client_gone_mad_later),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
