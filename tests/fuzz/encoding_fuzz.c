/* Text encodings: the decoders accept one spelling, which the encoder gives back. */
#include "base/encoding.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void base64url(const char *text, size_t n, uint8_t *out)
{
    struct kl_buf again = KL_BUF_INIT(KL_B64URL_LEN(n) + 1);
    size_t len, unpadded = n;

    if (kl_b64url_decode(text, n, out, n, &len) != KL_OK)
        return;
    while (unpadded > 0 && text[unpadded - 1] == '=')
        unpadded--;
    kl_b64url_put(&again, out, len);
    if (again.len != unpadded || (unpadded > 0 && memcmp(again.bytes, text, unpadded) != 0))
        abort();
    kl_buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    uint8_t *out = malloc(size + 1);
    size_t len;

    if (!out)
        abort();
    base64url(text, size, out);
    if (kl_b64_decode(text, size, out, size, &len) == KL_OK && len > size)
        abort();
    if (kl_percent_decode(text, size, size % 2, (char *)out) == KL_OK && strlen((char *)out) > size)
        abort();
    free(out);
    return 0;
}
