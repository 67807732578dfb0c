/* application/x-www-form-urlencoded bodies and HTTP Basic credentials of the token service. Values
 * may be client secrets, so all of them live in kl_secret. Thread safe: no state. */
#ifndef KL_KEYVAULT_FORM_H
#define KL_KEYVAULT_FORM_H

#include "base/secret.h"

#define KL_FORM_MAX        16384 /* bytes of a body */
#define KL_FORM_MAX_FIELDS 64
#define KL_FORM_VALUE_MAX  12288 /* decoded bytes of a wanted value */

/** A field that the caller wants. `value` is set to NULL when the form lacks it. */
struct kl_form_field {
    const char *name; /* exact */
    struct kl_secret *value;
};

/** Parse n bytes. Fields that are not in the table are passed over undecoded. KL_BAD_INPUT: a
 * broken escape in a wanted field, a wanted field twice (RFC 6749 section 3.2), a value or form
 * beyond the limits. End with kl_form_done, also after a failure. */
enum kl_code kl_form_parse(const char *body, size_t n, struct kl_form_field *fields, size_t count,
                           struct kl_err *err) KL_MUST_USE;
/** Wipe and free the values. */
void kl_form_done(struct kl_form_field *fields, size_t count);

/** The value as text, "" when absent. Borrowed. */
const char *kl_form_text(const struct kl_form_field *field);

/** Split "ID:SECRET" (n bytes) at its first colon; `percent` decodes both halves as RFC 6749
 * section 2.3.1 wants it of Basic. KL_BAD_INPUT without a colon or with an empty half. */
enum kl_code kl_form_split_pair(const char *pair, size_t n, bool percent, struct kl_secret **ret_id,
                                struct kl_secret **ret_secret, struct kl_err *err) KL_MUST_USE;

/** Credentials of an "Authorization: Basic …" value. KL_BAD_INPUT when it is another scheme or
 * malformed. */
enum kl_code kl_form_basic(const char *authorization, struct kl_secret **ret_id,
                           struct kl_secret **ret_secret, struct kl_err *err) KL_MUST_USE;

#endif
