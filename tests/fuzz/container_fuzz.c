/* Header and wrap slots of a container from anywhere: either refused, or written again to the same
 * bytes (the header; a slot's MAC needs the DEK). */
#include "tests/fuzz/fuzz.h"
#include "wrap/container/header.h"
#include "wrap/container/slot.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t block[KL_CORE_BYTES], again[KL_CORE_BYTES];
    struct kl_core core;
    struct kl_slot slot;
    size_t n = size < sizeof block ? size : sizeof block;

    memset(block, 0, sizeof block);
    memcpy(block, data, n);
    if (kl_header_parse(block, &core, NULL) == KL_OK &&
        (kl_header_format(&core, again, NULL) != KL_OK || memcmp(block, again, sizeof block) != 0))
        abort();
    if (kl_slot_parse(block, &slot, NULL) == KL_OK && slot.state == KL_SLOT_USABLE &&
        (slot.wrapped_len > KL_SLOT_WRAPPED_MAX || !kl_key_url_valid(slot.kek, true)))
        abort();
    return 0;
}
