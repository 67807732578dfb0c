/* Certificate policies: what a certificate is to be like, as JSON in the form of the API, complete
 * and checked. Private to the model and to whoever parses requests. Not thread safe per policy.
 * Source: reference of the Key Vault data plane, section 3.3.
 *
 * `exportable` decides where the private key is born. false: on the token, which it never leaves.
 * true: in this process, from where a copy goes onto the token, which then does all operations with
 * it, and another is sealed into the secret of the certificate's name. Who says nothing gets false
 * for a new key, and true for an imported one, which has been outside already. */
#ifndef KL_KEYVAULT_MODEL_CERT_POLICY_H
#define KL_KEYVAULT_MODEL_CERT_POLICY_H

#include "base/json.h"
#include "keyvault/model/object.h"

struct kl_cert_policy {
    enum kl_key_type type;
    uint32_t bits;       /* RSA */
    enum kl_curve curve; /* EC */
    bool hsm;            /* RSA-HSM, EC-HSM: refuses to be exportable */
    bool exportable, reuse;
    bool pem;     /* the secret is PEM, else PKCS#12 */
    bool self;    /* the issuer is "Self" */
    int months;   /* validity */
    unsigned ops; /* bits of enum kl_key_op that its key usage allows */
    json_t *json; /* the whole of it, a reference */
};
void kl_cert_policy_done(struct kl_cert_policy *p);

#define KL_CERT_POLICY_PKCS12 "application/x-pkcs12"
#define KL_CERT_POLICY_PEM    "application/x-pem-file"

/** Fill in what `given` (may be NULL) leaves out, from `base` (a complete policy that it changes,
 * or NULL: from the defaults), and check all of it. `imported`: of a certificate that comes from
 * outside. KL_BAD_INPUT naming the member. */
enum kl_code kl_cert_policy_read(const json_t *given, const json_t *base, bool imported,
                                 struct kl_cert_policy *ret, struct kl_err *err) KL_MUST_USE;

#endif
