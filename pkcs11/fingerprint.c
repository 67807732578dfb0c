#include "pkcs11/token.h"

#include <openssl/evp.h>

void kl_spki_hash(const void *spki, size_t n, uint8_t ret[static KL_SPKI_HASH_LEN])
{
    if (EVP_Digest(spki, n, ret, NULL, EVP_sha256(), NULL) != 1)
        abort(); /* SHA-256 fails only without memory; an unset fingerprint must never be compared
                  */
}
