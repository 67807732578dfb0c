#include "pkcs11/worker/oaep.h"

#include "base/secret.h"

#include <openssl/err.h>
#include <openssl/rsa.h>

int kl_oaep_check(const struct kl_mech *m, const uint8_t *em, size_t k, uint8_t *out)
{
    const EVP_MD *md = m->md();
    int n = RSA_padding_check_PKCS1_OAEP_mgf1(out, (int)k, em, (int)k, (int)k, NULL, 0, md, md);
    ERR_clear_error(); /* the queue's content differs between good and bad */
    return n;
}

enum kl_code kl_oaep_unpad(const struct kl_mech *m, const uint8_t *em, size_t k, uint8_t *out,
                           size_t *ret_len)
{
    int n = kl_oaep_check(m, em, k, out);
    if (n < 0) {
        kl_wipe(out, k);
        return KL_DECRYPT_FAILED;
    }
    *ret_len = (size_t)n;
    return KL_OK;
}
