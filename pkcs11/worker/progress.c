#include "pkcs11/worker/progress.h"

#include "pkcs11/proto.h"

#include <sys/socket.h>

static int lane = -1; /* of the starting thread alone */

void kl_progress_open(int fd)
{
    lane = fd;
}

void kl_progress_close(void)
{
    lane = -1;
}

void kl_progress_step(const char *what, bool slow)
{
    uint8_t frame[64];
    struct kl_progress p = {.slow = slow};
    if (lane < 0)
        return;
    (void)snprintf(p.step, sizeof p.step, "%s", what);
    size_t n = kl_proto_put_progress(frame, &p);
    (void)send(lane, frame, n, MSG_NOSIGNAL);
}
