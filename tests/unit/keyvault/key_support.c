#include "tests/unit/keyvault/key_support.h"

#include <openssl/x509.h>
#include <string.h>

struct kl_key_version *key_on(struct kl_token *t, uint32_t bits, enum kl_curve curve)
{
    struct kl_key_version *k = calloc(1, sizeof *k);
    struct kl_secret *spki = NULL;
    assert_non_null(k);
    k->refs = 1;
    k->type = curve == KL_CURVE_NONE ? KL_KEY_RSA : KL_KEY_EC;
    k->bits = bits;
    k->curve = curve;
    k->ops = k->type == KL_KEY_EC ? KL_OP_SIGN | KL_OP_VERIFY
                                  : KL_OP_ENCRYPT | KL_OP_DECRYPT | KL_OP_SIGN | KL_OP_VERIFY |
                                        KL_OP_WRAP | KL_OP_UNWRAP;
    k->attrs.enabled = true;
    k->token = t;
    k->token_name = strdup(t->name);
    k->profile = KL_PROFILE_FIXED;
    (void)snprintf(k->name, sizeof k->name, "Kek");
    memset(k->version, 'a', KL_VERSION_LEN);
    kl_random(k->ref.id, sizeof k->ref.id);
    const struct kl_token_request req = {.call = KL_CALL_GENERATE,
                                         .key = k->ref,
                                         .spec = {.type = k->type,
                                                  .bits = bits,
                                                  .curve = curve,
                                                  .profile = KL_PROFILE_FIXED,
                                                  .may_decrypt = k->type == KL_KEY_RSA,
                                                  .may_sign = true}};
    assert_int_equal(kl_token_call(t, &req, &spki, NULL, NULL), KL_OK);
    k->spki_len = kl_secret_len(spki);
    k->spki = malloc(k->spki_len);
    memcpy(k->spki, kl_secret_bytes(spki), k->spki_len);
    kl_secret_free(spki);
    kl_spki_hash(k->spki, k->spki_len, k->ref.spki_hash);
    const uint8_t *der = k->spki;
    k->public_key = d2i_PUBKEY(NULL, &der, (long)k->spki_len);
    assert_non_null(k->public_key);
    return k;
}
