/* What a daemon gives up at its start. Call from main before any thread exists. */
#ifndef KL_BASE_SANDBOX_H
#define KL_BASE_SANDBOX_H

#include "base/err.h"

/** No core dumps, not dumpable, no new privileges, umask 077, SIGPIPE ignored. */
enum kl_code kl_sandbox_begin(struct kl_err *err) KL_MUST_USE;

#endif
