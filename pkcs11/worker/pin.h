/* Where a PIN comes from. The worker alone reads it. */
#ifndef KL_PKCS11_WORKER_PIN_H
#define KL_PKCS11_WORKER_PIN_H

#include "pkcs11/token.h"

enum kl_pin_kind {
    KL_PIN_FILE,
    KL_PIN_FD,
    KL_PIN_CREDENTIAL,
    KL_PIN_PROMPT,   /* an administrator hands it over when the token is there */
    KL_PIN_PROTECTED /* the token asks for it on a keypad of its own */
};

/** By the words of the pin-source setting. */
enum kl_pin_kind kl_pin_kind(const char *source);

/** source: an absolute path, "fd:N" (read from pin_fd, from its beginning), or "credential:NAME"
 * (file NAME in $CREDENTIALS_DIRECTORY). KL_CONFIG for another form; else as kl_secret_read_file.
 */
enum kl_code kl_pin_read(const char *source, int pin_fd, struct kl_secret **ret,
                         struct kl_err *err) KL_MUST_USE;

/** Ask the client on lane 1 for a PIN, saying why in one sentence or "", and wait for it without
 * limit. Ends the process when the client is gone or sends anything else. */
enum kl_code kl_pin_ask(int lane, const char *why, struct kl_secret **ret,
                        struct kl_err *err) KL_MUST_USE;

#endif
