/* A kluis-tokend that was taken over: it speaks its protocol, then breaks it. Each life takes the
 * next number of the counter file $KLUIS_IPC_LIVES (8 bytes, shared), which with $KLUIS_SEED
 * decides everything that it sends. */
#include "pkcs11/proto.h"

#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_FRAMES 40

static uint64_t state;

/* xorshift64*: the same everywhere */
static uint32_t dice(uint32_t sides)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * UINT64_C(2685821657736338717)) >> 33) % sides;
}

static void fill(void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)dice(256);
}

static size_t make_hello(uint8_t *frame)
{
    struct kl_hello hello = {.threads = dice(4), .login_tried = dice(2) == 0, .proved = true};
    if (dice(4) == 0) {
        hello.err.code = (enum kl_code)dice(KL_CODE_COUNT);
        (void)snprintf(hello.err.text, sizeof hello.err.text, "no");
        (void)snprintf(hello.err.detail, sizeof hello.err.detail, "/nowhere/%u", dice(10));
    }
    fill(&hello.caps, sizeof hello.caps);
    return kl_proto_put_hello(frame, &hello);
}

static size_t make_reply(uint8_t *frame, uint64_t id)
{
    static uint8_t bytes[KL_TOKEN_MAX_INPUT];
    struct kl_err err = {.code = dice(2) == 0 ? KL_OK : (enum kl_code)dice(KL_CODE_COUNT)};
    size_t n = dice(3) == 0 ? sizeof(struct kl_token_caps) : dice(sizeof bytes);
    fill(bytes, n);
    return kl_proto_put_reply(frame, id, &err, dice(1000), bytes, n);
}

static size_t make_progress(uint8_t *frame)
{
    struct kl_progress p = {.slow = dice(2) == 0};
    (void)snprintf(p.step, sizeof p.step, "step %u", dice(100));
    return kl_proto_put_progress(frame, &p);
}

/* Sometimes bytes are changed, the end is cut, or something stands behind it. */
static size_t damage(uint8_t *frame, size_t n)
{
    for (uint32_t i = dice(3) == 0 ? 1 + dice(4) : 0; i > 0; i--)
        frame[dice((uint32_t)n)] = (uint8_t)dice(256);
    if (dice(12) == 0)
        return dice((uint32_t)n);
    return dice(12) == 0 && n + 8 < KL_PROTO_MAX ? n + dice(8) : n;
}

/* The id of a request that waits on the lane, else one that was never given. */
static uint64_t take_id(int lane, uint8_t *frame)
{
    struct kl_token_request request;
    uint64_t id;
    ssize_t n = recv(lane, frame, KL_PROTO_MAX, MSG_DONTWAIT);
    if (n > 0 && kl_proto_get_request(frame, (size_t)n, &id, &request) == KL_OK)
        return id;
    return (uint64_t)dice(8) << 16 | dice(300);
}

static size_t make(uint8_t *frame, unsigned kind, int lane)
{
    switch (kind) {
    case 0:
        return make_hello(frame);
    case 1:
        return make_progress(frame);
    case 2:
        return kl_proto_put_ask_pin(frame, "Please");
    default:
        return make_reply(frame, take_id(lane, frame));
    }
}

static uint64_t next_life(void)
{
    int fd = open(getenv("KLUIS_IPC_LIVES"), O_RDWR | O_CLOEXEC);
    _Atomic uint64_t *lives = mmap(NULL, sizeof *lives, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return lives == MAP_FAILED ? 0 : atomic_fetch_add(lives, 1) + 1;
}

int main(void)
{
    static uint8_t frame[KL_PROTO_MAX + 64];
    uint64_t seed = strtoull(getenv("KLUIS_SEED"), NULL, 10);
    state = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ next_life() * UINT64_C(0xbf58476d1ce4e5b9);
    (void)recv(KL_PROTO_FD_LANE + KL_LANE_MANAGE, frame, sizeof frame, 0);
    bool polite = dice(4) != 0; /* greets first, so that replies are looked at */
    for (uint32_t i = 0, count = 1 + dice(MOST_FRAMES); i < count; i++) {
        int lane = KL_PROTO_FD_LANE + (int)dice(KL_PROTO_LANES);
        bool first = polite && i == 0;
        size_t n = make(frame, first ? dice(3) : dice(6), lane);
        if (!first)
            n = damage(frame, n);
        if (first)
            lane = KL_PROTO_FD_LANE + KL_LANE_MANAGE;
        if (send(lane, frame, n, MSG_NOSIGNAL) < 0)
            break;
        if (dice(3) == 0) {
            struct pollfd wait = {.fd = lane, .events = POLLIN};
            (void)poll(&wait, 1, 2);
        }
    }
    return 0;
}
