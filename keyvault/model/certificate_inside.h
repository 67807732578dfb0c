/* What the files on certificates share. Private to the model. */
#ifndef KL_KEYVAULT_MODEL_CERTIFICATE_INSIDE_H
#define KL_KEYVAULT_MODEL_CERTIFICATE_INSIDE_H

#include "keyvault/model/certificate.h"
#include "keyvault/model/part.h"
#include "keyvault/model/vault_secret_inside.h"
#include "keyvault/model/x509.h"

#define KL_SELF "Self"

/** A version that is to be: what it is made of, borrowed. */
struct kl_certificate_version {
    struct kl_model *m;
    struct kl_vault *v;
    const char *name;
    char version[KL_VERSION_LEN + 1];
    struct kl_key_version *key;
    const struct kl_cert_policy *policy;
    EVP_PKEY *private_key; /* NULL unless the policy says exportable */
    X509 *leaf;
    STACK_OF(X509) * chain; /* or NULL */
    const char *tags_json;
    bool enabled;
    json_t *op; /* NULL: none was under way */
};
/** Certificate and secret with their rows, the policy, and the end of the operation, in one commit.
 */
enum kl_code kl_certificate_complete(const struct kl_certificate_version *c,
                                     struct kl_vault_secret *ret, struct kl_err *err) KL_MUST_USE;

/** May a certificate have this name: neither a key nor a secret of its own has it, and nothing
 * deleted. */
enum kl_code kl_certificate_check_name(struct kl_model *m, const struct kl_vault *v,
                                       const char *name, struct kl_err *err) KL_MUST_USE;
/** The object of an active certificate. KL_CERTIFICATE_NOT_FOUND. */
enum kl_code kl_certificate_object(struct kl_model *m, const struct kl_vault *v, const char *name,
                                   struct kl_object_row *ret, struct kl_err *err) KL_MUST_USE;

#endif
