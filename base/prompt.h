/* A secret typed by a person, without an echo. */
#ifndef KL_BASE_PROMPT_H
#define KL_BASE_PROMPT_H

#include "base/secret.h"

/** Show `words` on the controlling terminal and read one line of 1 to `ceiling` bytes from it,
 * never from standard input. SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGTSTP act when the echo is
 * back: then KL_USAGE says that it was given up, unless the signal ended the process. KL_CONFIG: no
 * terminal. KL_BAD_INPUT: nothing was typed. KL_TOO_BIG. One thread at a time. */
enum kl_code kl_prompt_secret(const char *words, size_t ceiling, struct kl_secret **ret,
                              struct kl_err *err) KL_MUST_USE;

#endif
