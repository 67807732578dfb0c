/* JSON of the certificates API <-> structs, as wire.h does for keys: no I/O, no model calls. Not
 * thread safe per buffer. Source: reference of the Key Vault data plane, sections 3.3, 4, 5. */
#ifndef KL_KEYVAULT_WIRE_CERTIFICATE_H
#define KL_KEYVAULT_WIRE_CERTIFICATE_H

#include "keyvault/model/certificate.h"
#include "keyvault/wire.h"

/** Append the members of a CertificateBundle but for its closing brace: `policy` and `pending` only
 * where they are wanted (NULL, false). */
void kl_wire_put_certificate(struct kl_buf *out, const struct kl_origin *origin,
                             const struct kl_vault *vault, const struct kl_vault_secret *c,
                             const json_t *policy, bool pending);
/** Append a CertificateItem, or a DeletedCertificateItem where c->purge_at is set. */
void kl_wire_put_certificate_item(struct kl_buf *out, const struct kl_origin *origin,
                                  const struct kl_vault *vault, const struct kl_vault_secret *c,
                                  bool versioned);
/** Append a CertificatePolicy. */
void kl_wire_put_policy(struct kl_buf *out, const struct kl_origin *origin, const char *name,
                        const json_t *policy);
/** Append a CertificateOperation. */
void kl_wire_put_operation(struct kl_buf *out, const struct kl_origin *origin, const char *name,
                           const json_t *op);
/** Append an IssuerBundle; never with the password of its credentials. `item`: as in a list. */
void kl_wire_put_issuer(struct kl_buf *out, const struct kl_origin *origin, const json_t *issuer,
                        bool item);
/** Append Contacts. */
void kl_wire_put_contacts(struct kl_buf *out, const struct kl_origin *origin,
                          const json_t *contacts);

/** Members policy, attributes and tags of a body (may be NULL). `ret` borrows from body and tags.
 * KL_BAD_INPUT. */
enum kl_code kl_wire_parse_certificate(const json_t *body, struct kl_certificate_how *ret,
                                       struct kl_wire_tags *tags, struct kl_err *err) KL_MUST_USE;

struct kl_wire_certificate_patch {
    struct kl_vault_secret_patch patch;
    struct kl_key_attrs attrs;
    struct kl_wire_tags tags;
};
/** End with kl_wire_tags_done(&ret->tags). KL_BAD_INPUT. */
enum kl_code kl_wire_parse_certificate_patch(const json_t *body,
                                             struct kl_wire_certificate_patch *ret,
                                             struct kl_err *err) KL_MUST_USE;
/** Member `value` of import: PEM, or base64 of PEM or PKCS#12. KL_BAD_INPUT. */
enum kl_code kl_wire_parse_bundle(const json_t *body, struct kl_secret **ret,
                                  struct kl_err *err) KL_MUST_USE;
/** An issuer as it is kept, from a body and (on update) what there was; a reference. */
enum kl_code kl_wire_parse_issuer(const json_t *body, const json_t *was, const char *name,
                                  json_t **ret, struct kl_err *err) KL_MUST_USE;
/** Contacts as they are kept: borrowed from the body. */
enum kl_code kl_wire_parse_contacts(const json_t *body, const json_t **ret,
                                    struct kl_err *err) KL_MUST_USE;

#endif
