/* The operational log: one line per event on standard error, "TIME LEVEL TEXT key=value…". Not the
 * audit log. Only the daemons' edges (keyvault/, tokend's main) log above debug; libraries return
 * errors. Thread safe, one write per line. */
#ifndef KL_BASE_LOG_H
#define KL_BASE_LOG_H

#include "base/err.h"

enum kl_log_level { KL_LOG_DEBUG, KL_LOG_INFO, KL_LOG_WARNING, KL_LOG_ERROR };

/** Lines below `level` are dropped. `program` (static string) opens each line. Default: info,
 * "kluis". */
void kl_log_setup(const char *program, enum kl_log_level level);
/** Write one line; control characters in the result are replaced by '?', so a hostile name cannot
 * forge a line. */
void kl_log(enum kl_log_level level, const char *fmt, ...) KL_PRINTF(2, 3);
/** Write "WHAT: text (code, op, native, detail)". */
void kl_log_err(enum kl_log_level level, const char *what, const struct kl_err *err);

#endif
