#include "pkcs11/breaker.h"

#include "base/auto.h"

void kl_breaker_trip(struct kl_breaker *b, bool lived, int64_t now_ms, int64_t limit_ms,
                     uint32_t dice)
{
    static const int64_t steps_ms[] = {0, 1000, 1000, 2000, 5000, 10000, 60000, 300000};
    if (lived)
        b->failures = 0;
    size_t step = b->failures < KL_COUNT(steps_ms) ? b->failures : KL_COUNT(steps_ms) - 1;
    int64_t pause = steps_ms[step] < limit_ms ? steps_ms[step] : limit_ms;
    b->next_ms = now_ms + pause - pause * (int64_t)(dice % 1000) / 5000;
    b->failures++;
}

int64_t kl_breaker_wait_ms(const struct kl_breaker *b, int64_t now_ms)
{
    return b->next_ms > now_ms ? b->next_ms - now_ms : 0;
}
