/* Programs that we start: those of kluis beside our own executable, others from PATH. Standard
 * input is /dev/null; nothing secret goes into arguments. Not thread safe. */
#ifndef KL_CLI_PROCESS_H
#define KL_CLI_PROCESS_H

#include "base/buf.h"

#include <stdbool.h>
#include <sys/types.h>

/** Path of a program beside our own executable (malloc'd). KL_NOT_FOUND when it is not there. */
enum kl_code kl_process_beside(const char *name, char **ret, struct kl_err *err) KL_MUST_USE;

/** Run argv[0] to its end and return its exit code in *ret_status (128 + signal when one ended it).
 * Its standard output is appended to `out` (NULL: ours), the standard error stays ours. KL_IO. */
enum kl_code kl_process_run(char *const *argv, struct kl_buf *out, int *ret_status,
                            struct kl_err *err) KL_MUST_USE;

/** Run argv[0] on a terminal of its own and answer its prompts: every time `prompt` comes, the next
 * of `answers` (NULL at the end) is typed. For programs that insist on asking for a PIN. What it
 * prints is dropped. KL_IO, KL_TIMEOUT after 60 s without an end. */
enum kl_code kl_process_converse(char *const *argv, const char *prompt, const char *const *answers,
                                 int *ret_status, struct kl_err *err) KL_MUST_USE;

/** Start argv[0] as a daemon: own session, standard output and error appended to `log_path` (0600),
 * working folder `folder`, its pid written to `pid_path` before it runs, so that it can be found
 * whatever happens to us. */
enum kl_code kl_process_daemon(char *const *argv, const char *folder, const char *log_path,
                               const char *pid_path, pid_t *ret, struct kl_err *err) KL_MUST_USE;

/** The process of a pid file when it lives and `argument` is one of its arguments, else 0. Not
 * /proc/PID/exe: that of a process that may not be dumped is closed even to its own user. */
pid_t kl_process_of_file(const char *pid_path, const char *argument);

/** End a process that is not our child and everything in its session: SIGTERM, after grace_ms
 * SIGKILL. False: it would not go. */
bool kl_process_end(pid_t pid, int64_t grace_ms);

#endif
