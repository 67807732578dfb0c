/* Bearer tokens as strangers send them: taken apart without a key they are refused or bounded, and
 * a key table without keys vouches for none. */
#include "keyvault/auth/jws.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kl_jws jws;

    if (kl_jws_open((const char *)data, size, &jws, NULL) != KL_OK)
        return 0;
    if (size > KL_JWS_MAX || jws.signed_len >= size || jws.signature_len > KL_JWS_SIGNATURE_MAX ||
        !jws.kid)
        abort();
    kl_jws_done(&jws);
    return 0;
}
