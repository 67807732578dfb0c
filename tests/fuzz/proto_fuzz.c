/* Frames of the token worker's socket, as either side reads them from the other: nothing points
 * outside the frame, and what decodes encodes to the same bytes. */
#include "pkcs11/proto.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void same(const uint8_t *data, size_t size, const uint8_t *frame, size_t n)
{
    if (n != size || memcmp(data, frame, n) != 0)
        abort();
}

/* A greeting's strings are ended by the reader, whatever the writer sent. */
static void terminated(const struct kl_token_caps *caps)
{
    if (caps->model[sizeof caps->model - 1] || caps->label[sizeof caps->label - 1] ||
        caps->serial[sizeof caps->serial - 1] || caps->firmware[sizeof caps->firmware - 1] ||
        caps->manufacturer[sizeof caps->manufacturer - 1])
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t frame[KL_PROTO_MAX];
    static struct kl_worker_config conf;
    static struct kl_hello hello;
    struct kl_token_request request = {0};
    struct kl_proto_reply reply = {0};
    struct kl_progress progress;
    char why[KL_ASK_MAX];
    const uint8_t *pin;
    size_t pin_len;
    uint64_t id;

    (void)kl_proto_kind(data, size);
    if (kl_proto_get_config(data, size, &conf) == KL_OK)
        same(data, size, frame, kl_proto_put_config(frame, &conf));
    if (kl_proto_get_request(data, size, &id, &request) == KL_OK)
        same(data, size, frame, kl_proto_put_request(frame, id, &request));
    if (kl_proto_get_hello(data, size, &hello) == KL_OK)
        terminated(&hello.caps);
    if (kl_proto_get_progress(data, size, &progress) == KL_OK)
        same(data, size, frame, kl_proto_put_progress(frame, &progress));
    if (kl_proto_get_ask_pin(data, size, why) == KL_OK)
        same(data, size, frame, kl_proto_put_ask_pin(frame, why));
    if (kl_proto_get_pin(data, size, &pin, &pin_len) == KL_OK)
        same(data, size, frame, kl_proto_put_pin(frame, pin, pin_len));
    if (kl_proto_get_reply(data, size, &reply) == KL_OK && reply.output_len > 0 &&
        (reply.output < data || reply.output + reply.output_len > data + size))
        abort();
    return 0;
}
